"""`llmeval doctor`: what is here, what is missing, and how to get it.

It starts nothing, and asks nothing but an Ollama on this machine for its version.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pytest_llmeval import __version__
from pytest_llmeval.servers.llama_cpp_loading import explain_import

PACKAGES = ("pytest", "pytest-xdist", "pydantic", "numpy", "scipy", "httpx", "httptools")
"""What the plugin runs on, by the names of the distributions."""

EXTRAS = (
    (
        "metrics",
        ("math-verify", "rapidfuzz", "rouge-score", "sacrebleu"),
        "all scorers can be used",
    ),
    ("parquet", ("pyarrow",), "datasets may be Parquet files"),
    (
        "tokens",
        ("gguf", "sentencepiece", "tiktoken", "tokenizers"),
        "the key tokenizer counts where an endpoint does not",
    ),
    ("gpu", ("nvidia-ml-py",), "the memory and the load of NVIDIA cards are seen"),
    ("dashboard", ("textual",), "llama-orch dashboard fills the screen and takes keys"),
    ("web", ("fastapi", "uvicorn"), "llama-orch serve has an interface and a web page"),
)
"""Extras by name: the distributions they bring, and what they are good for. The extras of engines
are looked for with their engines.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for: whether it can be used, what was found, else what it needs."""

    name: str
    usable: bool
    found: str
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything the doctor found out."""

    facts: tuple[tuple[str, str], ...]
    engines: tuple[Finding, ...]
    extras: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "facts": dict(self.facts),
            "engines": [asdict(finding) for finding in self.engines],
            "extras": [asdict(finding) for finding in self.extras],
        }

    def lines(self) -> list[str]:
        """As lines to read."""
        width = max(len(name) for name, _ in self.facts)
        lines = [f"{name.ljust(width)}  {value}" for name, value in self.facts]
        lines += ["", "Engines", *_finding_lines(self.engines)]
        lines += ["", "Extras", *_finding_lines(self.extras)]
        return lines


def examine(
    *,
    version_of: Callable[[str], str | None] | None = None,
    which: Callable[[str], str | None] = shutil.which,
    problem_of: Callable[[str], str] | None = None,
    ollama_version: Callable[[], str | None] | None = None,
) -> Examination:
    """Look around.

    `version_of` gives a distribution's version or None, `which` the path of an executable,
    `problem_of` says why a module cannot be imported, "" when it can; `ollama_version` is that of
    an Ollama that answers.
    """
    version_of = version_of or _version_of
    problem_of = problem_of or _problem_of
    facts = [
        ("llmeval", __version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("gpu", _gpu(which)),
        *((name, version_of(name) or "not installed") for name in PACKAGES),
    ]
    engines = (
        _embedded(version_of, problem_of),
        _llama_server(which),
        _llama_cpp_python(version_of, problem_of),
        _ollama(which, ollama_version or _ollama_version),
        Finding("openai", True, "any server you started yourself, by its url"),
        Finding("anthropic", True, "the same, where it has Anthropic's Messages API"),
        Finding("fireworks", True, "a service elsewhere, by its url and your key"),
        Finding("fake", True, "no model at all: for dry runs and for your own tests"),
    )
    extras = tuple(_extra(name, packages, use, version_of) for name, packages, use in EXTRAS)
    return Examination(tuple(facts), engines, extras)


def _gpu(which: Callable[[str], str | None]) -> str:
    if which("nvidia-smi"):
        return "nvidia-smi found; engine: llama-server with gpu_layers: all uses it"
    return "no nvidia-smi on PATH: models will run on the CPU, or on what llama-server finds"


def _embedded(version_of: Callable[[str], str | None], problem_of: Callable[[str], str]) -> Finding:
    version = version_of("xllamacpp")
    if version is None:
        needs = 'pip install "pytest-llmeval-local[embedded]"'
        return Finding("embedded", False, "xllamacpp is not installed", needs)
    problem = problem_of("xllamacpp")
    if not problem:
        return Finding("embedded", True, f"xllamacpp {version}, CPU only")
    needs = "pip install --force-reinstall xllamacpp"
    if "libgomp" in problem:
        needs = "apt-get install libgomp1 (or your system's package of libgomp)"
    return Finding("embedded", False, f"xllamacpp {version} does not load: {problem}", needs)


def _llama_server(which: Callable[[str], str | None]) -> Finding:
    path = which("llama-server")
    if path:
        return Finding("llama-server", True, path)
    needs = (
        "brew install llama.cpp, winget install llama.cpp, or a build from llama.cpp's releases; "
        "then put it on PATH or name it in the config with executable:"
    )
    return Finding("llama-server", False, "not on PATH", needs)


def _llama_cpp_python(
    version_of: Callable[[str], str | None], problem_of: Callable[[str], str]
) -> Finding:
    version = version_of("llama-cpp-python")
    if version is None:
        needs = (
            'pip install "pytest-llmeval-local[llama-cpp]", which builds it and needs a C++ '
            'compiler; for an NVIDIA GPU with CMAKE_ARGS="-DGGML_CUDA=on" set'
        )
        return Finding("llama-cpp-python", False, "not installed", needs)
    problem = problem_of("llama_cpp")
    if not problem:
        return Finding("llama-cpp-python", True, f"{version}, in a process of its own")
    found = f"{version} does not load"
    return Finding("llama-cpp-python", False, found, explain_import(problem))


def _ollama(which: Callable[[str], str | None], version: Callable[[], str | None]) -> Finding:
    running, path = version(), which("ollama")
    if running:
        return Finding("ollama", True, f"version {running} is running")
    if path:
        return Finding("ollama", True, f"{path}, not running: a run starts one of its own")
    needs = (
        "brew install ollama, winget install Ollama.Ollama, or a download of Ollama; "
        "then ollama pull NAME, or pull: true in the config"
    )
    return Finding("ollama", False, "not running, and no executable on PATH", needs)


def _ollama_version() -> str | None:
    from pytest_llmeval.run.ollama import usual_url, version_there

    return version_there(usual_url(os.environ))


def _extra(
    name: str,
    packages: Sequence[str],
    good_for: str,
    version_of: Callable[[str], str | None],
) -> Finding:
    missing = [package for package in packages if version_of(package) is None]
    if not missing:
        return Finding(name, True, f"{', '.join(packages)}: {good_for}")
    needs = f'pip install "pytest-llmeval-local[{name}]"'
    return Finding(name, False, f"not installed: {', '.join(missing)}", needs)


def _finding_lines(findings: tuple[Finding, ...]) -> Iterator[str]:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "yes" if finding.usable else "no "
        yield f"  {mark}  {finding.name.ljust(width)}  {finding.found}"
        if finding.needs:
            yield f"       {' ' * width}  needs: {finding.needs}"


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _problem_of(module: str) -> str:
    try:
        importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:  # what ctypes raises, bare or wrapped
        return str(error)
    return ""
