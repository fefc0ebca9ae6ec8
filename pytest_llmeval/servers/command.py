"""The command that starts a server: pure, but for looking for the executable."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_llmeval.errors import MissingExtraError, ServerStartError
from pytest_llmeval.servers.adapters import as_argument
from pytest_llmeval.servers.placement import device_flags, device_variables
from pytest_llmeval.servers.spec import ServerSpec

CONTEXT_STEP = 256
"""llama.cpp rounds a slot's context *down* to a multiple of this (seen: 1600 in 4 slots gave 256
each), so we ask for it rounded up."""

ALL_LAYERS = 999
"""More layers than any model has. Only newer builds of llama-server know the word `all`."""

API_KEYS = frozenset({"LLAMA_API_KEY", "LLAMA_ARG_API_KEY"})
"""Variables from which builds of llama-server take the key that requests must carry."""

EMBEDDED = (sys.executable, "-m", "pytest_llmeval.servers.embedded", "--lifeline")
"""Our own launcher around xllamacpp, which takes llama-server's flags."""

WORKER = (sys.executable, "-m", "pytest_llmeval.servers.llama_cpp_worker", "--lifeline")
"""Our worker around llama-cpp-python, which takes them too."""


@dataclass(frozen=True, slots=True)
class Need:
    """An executable that a model needs, in words, and how to come to it."""

    what: str
    ways_out: str


LLAMA_SERVER = Need(
    "llama-server",
    "Get it with `brew install llama.cpp` or `winget install llama.cpp`, or from the page "
    "called `llama.cpp releases`, and name it with `executable:`; "
    "or write `engine: embedded`, which needs no executable",
)


def build_command(spec: ServerSpec, port: int, program: Sequence[str]) -> tuple[str, ...]:
    """The argument list that starts `spec` on `port`; the spec's own `args` come last and win.

    `-np` is always said: without it llama-server lets its slots share one context, and one long
    request takes the others' share.
    """
    return (
        *program,
        *("-m", str(spec.gguf)),
        *("--alias", ",".join([spec.name, *spec.aliases])),
        *("--host", spec.host),
        *("--port", str(port)),
        *("-np", str(spec.slots)),
        *("-c", str(spec.slots * round_up(spec.context))),
        *device_flags(spec),
        *_layer_flags(spec),
        *(() if spec.threads is None else ("-t", str(spec.threads))),
        *(flag for adapter in spec.lora for flag in ("--lora", as_argument(adapter))),
        *_embedding_flags(spec),
        *_batch_flags(spec),
        *(() if spec.timeout is None else ("--timeout", str(math.ceil(spec.timeout)))),
        *(("--metrics",) if spec.metrics else ()),
        *spec.args,
    )


def _layer_flags(spec: ServerSpec) -> tuple[str, ...]:
    if spec.gpu_layers is None:
        return ()
    return ("-ngl", str(ALL_LAYERS if spec.gpu_layers == "all" else spec.gpu_layers))


def _embedding_flags(spec: ServerSpec) -> tuple[str, ...]:
    if not spec.embeddings:
        return ()
    return ("--embeddings", *(() if spec.pooling is None else ("--pooling", spec.pooling)))


def _batch_flags(spec: ServerSpec) -> tuple[str, ...]:
    """Batches as asked for. A text's embedding is computed in one, which must hold all of a slot's
    context, whatever the server's own default is.
    """
    usual = round_up(spec.context) if spec.embeddings else None
    batch, ubatch = spec.batch or usual, spec.ubatch or usual
    return (
        *(() if batch is None else ("-b", str(batch))),
        *(() if ubatch is None else ("-ub", str(ubatch))),
    )


def build_environment(spec: ServerSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that the server gets: ours, the spec's own variables, its device, its key.

    A key of ours that the spec does not name is left out: nobody's requests would carry it.
    Raises ServerStartError when the variables hide the device.
    """
    merged = {**environ, **spec.variables}
    merged = {name: value for name, value in merged.items() if name not in API_KEYS}
    key = {} if spec.api_key is None else {"LLAMA_API_KEY": spec.api_key}
    return {**merged, **device_variables(spec, merged), **key}


def round_up(context: int) -> int:
    """Round tokens up to what llama.cpp can give to a slot."""
    return -(-context // CONTEXT_STEP) * CONTEXT_STEP


def find_program(spec: ServerSpec, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The program that serves `spec`, with the arguments that make it a llama-server.

    Raises MissingExtraError (Python packages) or ServerStartError (llama-server) when it is not
    there.
    """
    return locate(spec, environ).program


@dataclass(frozen=True, slots=True)
class Located:
    """The program that serves, and the files that make it what it is: another build has others."""

    program: tuple[str, ...]
    files: tuple[str, ...]


def locate(spec: ServerSpec, environ: Mapping[str, str]) -> Located:
    """Find the program as `find_program` does, and what it is made of."""
    if spec.kind not in _IN_PYTHON:
        name = spec.executable or "llama-server"
        found = find_executable(name, environ.get("PATH", os.defpath), model=spec.name)
        return Located((found,), (found,))
    module, package, extra, program = _IN_PYTHON[spec.kind]
    found_module = importlib.util.find_spec(module)
    if found_module is None:
        raise MissingExtraError(
            f"engine: {spec.kind} (model {spec.name})", package=package, extra=extra
        )
    origin = found_module.origin
    return Located(program, (program[0], *(() if origin is None else (origin,))))


_IN_PYTHON = {
    "embedded": ("xllamacpp", "xllamacpp", "embedded", EMBEDDED),
    "llama-cpp-python": ("llama_cpp", "llama-cpp-python", "llama-cpp", WORKER),
}
"""Of servers that are Python packages: module, distribution, extra and program."""


def find_executable(name: str, search_path: str, *, model: str, need: Need = LLAMA_SERVER) -> str:
    """The path of an executable: a bare name is looked up on the search path, a path is taken.

    Raises ServerStartError, which says what was looked for, where, and the ways out.
    """
    place = os.path.expanduser(name)  # noqa: PTH111 - a Path would lose the "./" that says: a path
    found = shutil.which(place, path=search_path)
    if found is not None:
        return found
    if os.path.dirname(name):  # noqa: PTH120 - as above
        reason = "is no executable file" if Path(place).exists() else "does not exist"
        looked = f"{name} {reason}"
    else:
        folders = [folder for folder in search_path.split(os.pathsep) if folder]
        looked = f"no executable `{name}` in the {len(folders)} folders of PATH"
    raise ServerStartError(f"model {model} needs {need.what}, but {looked}. {need.ways_out}")
