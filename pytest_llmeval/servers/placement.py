"""Which device a llama.cpp server computes on: the flags and variables that say so (pure).

A card is chosen twice over. A variable of its backend hides all others, which also keeps other
libraries in the process from touching them; and `--device` names the one that is left, so that a
build of several backends takes no other's, and one that does not see the card ends with an error
instead of computing on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_llmeval.errors import ServerStartError
from pytest_llmeval.servers.spec import Backend, ServerSpec

DEVICE_NAMES: Mapping[Backend, str] = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan"}
"""What llama.cpp calls the devices of a backend, followed by their number."""

HIDING: Mapping[Backend, tuple[str, ...]] = {
    "cuda": ("CUDA_VISIBLE_DEVICES",),
    "rocm": ("HIP_VISIBLE_DEVICES",),
    "vulkan": ("GGML_VK_VISIBLE_DEVICES", "GGML_VULKAN_DEVICE"),
}
"""The variables that leave a backend some of its devices, the one that counts first.

Older builds know only Vulkan's second. ROCm also has ROCR_VISIBLE_DEVICES, one layer below: it
renumbers what HIP_VISIBLE_DEVICES chooses from, so that the same number in both may leave no device
at all. It stays as it is, and so do the numbers of devices seen with it.
"""

CUDA_ORDER = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
"""Has CUDA number its devices as nvidia-smi and NVML do; by itself it puts the fastest first."""

LOG_EVERYTHING_LOADED = ("LLAMA_ARG_LOG_VERBOSITY", "4")
"""Has newer builds log which device got what, as older ones, which do not know it, always do."""


def device_flags(spec: ServerSpec) -> tuple[str, ...]:
    """What tells the server its device; nothing where that is left to it."""
    if spec.backend == "cpu":
        # The embedded engine has no flag for devices, and needs none to stay off them.
        return ("--device", "none") if spec.kind == "llama-server" else ("-ngl", "0")
    name = None if spec.backend is None else DEVICE_NAMES.get(spec.backend)
    if name is None or spec.device is None:
        return ()
    return ("--device", f"{name}0")  # all others are hidden


def device_variables(spec: ServerSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """What is added to a server's environment for the sake of its device.

    Raises ServerStartError when `environ` already hides so many that there is none of the number.
    """
    if spec.backend is None or spec.backend == "cpu":
        return {}
    added = {**numbering(environ)} if spec.backend == "cuda" else {}
    name, level = LOG_EVERYTHING_LOADED
    added[name] = environ.get(name, level)
    names = HIDING.get(spec.backend, ())
    if spec.device is not None and names:
        chosen = _nth_visible(spec, names[0], environ)
        added |= dict.fromkeys(names, chosen)
    return added


def numbering(environ: Mapping[str, str]) -> dict[str, str]:
    """What must be in the environment wherever CUDA's devices are counted, to count them alike."""
    name, order = CUDA_ORDER
    return {name: environ.get(name, order)}


def _nth_visible(spec: ServerSpec, variable: str, environ: Mapping[str, str]) -> str:
    """The device of the spec's number, as the variable must name it: of those it shows already."""
    given = environ.get(variable)
    if given is None:
        return str(spec.device)
    visible = [entry.strip() for entry in given.split(",") if entry.strip()]
    assert spec.device is not None
    if spec.device < len(visible):
        return visible[spec.device]
    raise ServerStartError(
        f"{spec.name}: device {spec.device} was asked for, but {variable}={given} shows "
        f"{len(visible)}, numbered from 0; ask for another device, or unset {variable}"
    )
