"""What a run ran on, for `environment.json`: everything that may explain a number.

Nothing here is required: what cannot be found out is null, and nothing is raised for it. Of the
environment only the switches that change what a model computes are taken, and no names of the
machine or its user.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

DISTRIBUTIONS = (
    *("pytest-llmeval-local", "pytest", "pytest-xdist", "xllamacpp", "llama-cpp-python"),
    *("httptools", "httpx", "jinja2", "numpy", "psutil", "pyarrow", "pydantic", "ruamel.yaml"),
    "scipy",
)
"""The packages whose version may explain a number."""

SWITCHES = ("CUDA", "GGML", "LLAMA_ARG", "OLLAMA")
"""What the names of the environment variables that are recorded start with."""

SECRETS = ("KEY", "TOKEN", "SECRET")
"""What the names of those whose value is not recorded contain."""

SECONDS = 5.0
"""The patience with a program that is asked something."""


def describe_environment(
    folder: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    distributions: Iterable[str] = DISTRIBUTIONS,
) -> dict[str, Any]:
    """Describe Python, its packages, system, CPU, memory, GPUs and the git state of `folder`.

    Every value can be written as JSON.
    """
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
        },
        "packages": {name: package_version(name) for name in sorted(distributions)},
        "system": {
            "name": platform.system(),
            "release": platform.release(),
            "version": platform.version(),
            "machine": platform.machine(),
        },
        "cpu": {
            "model": cpu_model(),
            "cores": psutil.cpu_count(logical=False),
            "threads": psutil.cpu_count(),
            "usable": usable_cpus(),
        },
        "memory": psutil.virtual_memory().total,
        "gpus": gpus(),
        "git": None if folder is None else git_state(folder),
        "switches": switches(environ),
    }


def what_computes() -> dict[str, Any]:
    """What of a machine decides how its sums come out: another one may round otherwise."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": computing_cores(),
        "gpus": gpus(),
        "packages": {name: package_version(name) for name in ("xllamacpp", "llama-cpp-python")},
    }


def package_version(distribution: str) -> str | None:
    """The installed version of a package; None when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str | None:
    """The CPU's name as its maker writes it."""
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else None
    if sys.platform == "darwin":
        return ask(["sysctl", "-n", "machdep.cpu.brand_string"])
    return platform.processor() or None


def usable_cpus() -> int | None:
    """How many CPUs this process may run on: in a container, often fewer than there are."""
    if sys.platform in ("linux", "win32"):
        return len(psutil.Process().cpu_affinity())
    return os.cpu_count()


def computing_cores() -> int:
    """How many threads compute at full speed in this process: cores, not their second threads."""
    cores = psutil.cpu_count(logical=False) or 1
    return max(1, min(cores, usable_cpus() or cores))


def gpus() -> list[dict[str, Any]]:
    """The NVIDIA GPUs that the driver's own tool lists; other makers have no such tool."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total"]
    answer = ask([*query, "--format=csv,noheader,nounits"])
    return read_gpus(answer or "")


def read_gpus(answer: str) -> list[dict[str, Any]]:
    """Read `name, driver, MiB` lines; `memory` is in bytes, None where the tool has none."""
    found = []
    for line in answer.splitlines():
        name, *rest = (part.strip() for part in line.split(","))
        if len(rest) == 2:
            memory = int(rest[1]) * 2**20 if rest[1].isdecimal() else None
            found.append({"name": name, "driver": rest[0], "memory": memory})
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit of the work tree that `folder` is in, and whether it has other changes.

    None when it is in none, or git is not there.
    """
    git = ["git", "--no-optional-locks", "-C", str(folder)]
    commit = ask([*git, "rev-parse", "HEAD"])
    if commit is None:
        return None
    changes = ask([*git, "status", "--porcelain"])
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def switches(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that change what a model computes, secrets hidden."""
    return {
        name: "[redacted]" if any(word in name.upper() for word in SECRETS) else value
        for name, value in sorted(environ.items())
        if name.startswith(SWITCHES)
    }


def ask(command: Sequence[str]) -> str | None:
    """What a program prints; None if it is not there, fails or takes too long."""
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode("utf-8", "replace").strip()
