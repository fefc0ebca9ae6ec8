"""New instances: a config with comments, for what the model is to compute on."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_llmeval.atomic import write_text
from pytest_llmeval.errors import InstanceConfigError, ModelFileError, OrchestratorError
from pytest_llmeval.inputs.paths import located
from pytest_llmeval.orchestrator.config import Engine
from pytest_llmeval.orchestrator.configs import config_files, instance_names, name_problem
from pytest_llmeval.orchestrator.consistency import PLACEHOLDER
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.servers.gguf import read_gguf

Profile = Literal["cpu", "vulkan", "cuda", "metal"]


@dataclass(frozen=True, slots=True)
class Begun:
    """An instance that was begun: its config's path, and what its user does next, in words."""

    name: str
    path: Path
    next_steps: tuple[str, ...]


_HEAD = """\
# An instance of llama-orch. Every key, and its default: docs/llama-orch.md.
# Check it with: llama-orch config lint

model:
  path: {model}
  # Tokens of context for each request. More takes memory: llama-orch estimate MODEL tells how much.
  context_size: {context}

server:
  # Requests that are answered at the same time; each has a context of its own.
  parallel: {parallel}
  # A free port is chosen, and `llama-orch ps` shows it; a number here makes it always the same.
  port: auto
"""

_GPU = """
gpu:
  backend: {backend}
  # How many of the model's layers lie on the GPU. A number, where they do not all fit.
  layers: all
"""

_DEVICE = """\
  # Which GPU, where there are several; `llama-orch devices` shows them.
  # device_id: 0
"""

_ON_CPU: dict[Engine, str] = {
    "llama-server": """\
  # Needs no llama-server, but: pip install "pytest-llmeval-local[embedded]"
  # engine: embedded
""",
    "embedded": """\
  # llama.cpp's server in a Python package: there was no llama-server on PATH.
  # With one, remove this line, or name it with `executable:`.
  engine: embedded
""",
}

_CPU = """
gpu:
  backend: cpu
"""

_TAIL = """
# Further names that requests may call the model by.
# aliases: [my-model]

# Seconds without a request after which the front door unloads it.
# ttl: 600
"""

_SLOTS: dict[Profile, tuple[int, int]] = {
    "cpu": (4096, 1),
    "vulkan": (8192, 2),
    "cuda": (8192, 4),
    "metal": (8192, 2),
}
"""Context and slots. A CPU that answers two at once makes both wait; `cuda` batches best."""


def engine_here(profile: Profile, environ: Mapping[str, str]) -> Engine:
    """What serves a new instance: llama-server, or the package where only that is here."""
    if profile != "cpu" or shutil.which("llama-server", path=environ.get("PATH", os.defpath)):
        return "llama-server"
    return "embedded" if importlib.util.find_spec("xllamacpp") else "llama-server"


def config_text(profile: Profile, model: str, trained: int | None, engine: Engine) -> str:
    """The config of a new instance, of a model `trained` for so many tokens."""
    context, parallel = _SLOTS[profile]
    context = min(context, trained or context)
    head = _HEAD.format(model=_quoted(model), context=context, parallel=parallel)
    if profile == "cpu":
        return head + _ON_CPU[engine] + _CPU + _TAIL
    # A Mac has one GPU.
    device = "" if profile == "metal" else _DEVICE
    return head + _GPU.format(backend=profile) + device + _TAIL


def begin_instance(
    home: Home, name: str, profile: Profile, model: str | None, *, engine: Engine = "llama-server"
) -> Begun:
    """Write the config of a new instance.

    A `model` is seen from the folder we are in. Raises OrchestratorError when the instance has a
    config already, which is left as it is, InstanceConfigError for a name that none can have.
    """
    problem = name_problem(name)
    if problem:
        raise InstanceConfigError(problem)
    folder = home.instances / name
    _refuse_existing(home, name, folder)
    path = folder / "config.yaml"
    gguf = None if model is None else located(model, Path.cwd())
    trained = None if gguf is None else _trained(gguf)
    text = config_text(profile, str(gguf or PLACEHOLDER), trained, engine)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise OrchestratorError(f"{path}: cannot be written: {error.strerror or error}") from error
    return Begun(name, path, _next_steps(name, path, text, model))


def _trained(model: Path) -> int | None:
    """What `config lint` says of a model that cannot be read needs not be said here as well."""
    try:
        return read_gguf(model).context_length
    except ModelFileError:
        return None


def _refuse_existing(home: Home, name: str, folder: Path) -> None:
    existing = config_files(folder)
    if existing:
        raise OrchestratorError(
            f"{existing[0]} is there already, and was left as it is; choose another --name, or "
            "edit that file"
        )
    twin = next((each for each in instance_names(home) if each.lower() == name.lower()), None)
    if twin is not None:
        raise OrchestratorError(
            f"there is an instance {twin!r} already, and {name!r} differs from it by case only; "
            "choose another --name"
        )


def _next_steps(name: str, path: Path, text: str, model: str | None) -> tuple[str, ...]:
    line = next(n for n, each in enumerate(text.splitlines(), 1) if each.startswith("  path:"))
    steps = [f"edit line {line} of {path}: the path of your GGUF"] if model is None else []
    return (*steps, "llama-orch config lint", f"llama-orch up {name}")


def _quoted(text: str) -> str:
    """A text as YAML that holds whatever it holds; `$` would begin a variable."""
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)
