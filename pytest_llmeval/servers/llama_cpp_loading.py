"""Loading a model with llama-cpp-python, and why that fails, in words that name the way out."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_llmeval.servers.llama_cpp_model import LoadedModel

NO_GPU = (
    "gpu_layers were asked for, and this llama-cpp-python is built for the CPU only. Build it for "
    'your GPU, for NVIDIA: CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall '
    "--no-cache-dir llama-cpp-python; or leave gpu_layers out; or use engine: llama-server"
)

REINSTALL = "pip install --force-reinstall --no-cache-dir llama-cpp-python"

ADVICE = {
    r"cuda|cublas|nvrtc|nvidia": "it is built for CUDA: install the CUDA runtime of the version in "
    "that name and have it found (LD_LIBRARY_PATH; on Windows the toolkit's bin folder on PATH), "
    f"or build it for the CPU: {REINSTALL}",
    r"hip|rocblas|hsa": "it is built for ROCm: install ROCm of that version, or build it for the "
    f"CPU: {REINSTALL}",
    r"vulkan": "install the Vulkan loader, which comes with the graphics driver (on Debian the "
    "package libvulkan1)",
    r"libgomp": "apt-get install libgomp1, or your system's package of libgomp",
    r"GLIBC": f"it is built for a newer system than this one; build it here: {REINSTALL}",
    r"\.dll|one of its dependencies": "install the Microsoft Visual C++ Redistributable, and for a "
    "CUDA build the CUDA Toolkit of its version with its bin folder on PATH; or build it here: "
    f"{REINSTALL}",
}
"""What to do, by the words of a loader's complaint; the first that fits."""

_OWN_PATH = re.compile(r"'[^']*[/\\][^']*'")
_MODULE = re.compile(r"No module named '([\w.]+)'")
_LIBRARY = re.compile(r"[\w+-]+(?:\.so(?:\.\d+)*|\.dylib|[\w.-]*\.dll)", re.IGNORECASE)


class CannotServe(Exception):
    """The model cannot be served here; the text says why, and what to do."""


def load(gguf: Path, *, context: int, gpu_layers: int, threads: int | None) -> LoadedModel:
    """Load a model. Raises CannotServe."""
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:  # it wraps what ctypes raises
        raise CannotServe(explain_import(str(error))) from error
    if gpu_layers and not llama_cpp.llama_supports_gpu_offload():
        raise CannotServe(NO_GPU)
    try:
        return LoadedModel(gguf, context=context, gpu_layers=gpu_layers, threads=threads)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise CannotServe(f"llama-cpp-python cannot load it: {error}") from error


def explain_import(problem: str) -> str:
    """Say which library keeps llama-cpp-python from being imported, and how to get it."""
    module = _MODULE.search(problem)
    if module and module[1].partition(".")[0] != "llama_cpp":  # one that it needs, not its own
        package = module[1].partition(".")[0]
        return f"llama-cpp-python cannot be loaded ({problem.strip()}): pip install {package}"
    complaint = _OWN_PATH.sub("", problem)  # where llama-cpp-python lies is not what is wrong
    missing = _LIBRARY.findall(complaint)
    subject = f"; what is missing is {missing[0]}" if missing else ""
    fitting = (
        words for about, words in ADVICE.items() if re.search(about, complaint, re.IGNORECASE)
    )
    advice = next(fitting, f"reinstall it: {REINSTALL}")
    return f"llama-cpp-python cannot be loaded ({problem.strip()}){subject}: {advice}"
