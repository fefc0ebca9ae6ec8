"""Which of pytest-xdist's ways of distributing tests an evaluation can take.

Workers run on the controller's machine with the controller's packages: they ask its broker on the
loopback interface, and what they say to each other are records of one version. What cannot work is
refused in words before anything is started.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence

import pytest_llmeval

#: Modes in which each test is run once.
MODES = "load, loadscope, loadfile, loadgroup or worksteal"

#: Keys of an execnet spec that lead away from this machine, or from the folder of the tests.
_ELSEWHERE = ("ssh", "socket", "via", "vagrant_ssh")


def refusal(dist: str, specs: Sequence[str]) -> str | None:
    """Why tests cannot be distributed like this, None when they can.

    `dist` and `specs` are xdist's --dist and --tx as they are in force.
    """
    if dist == "no" or not specs:
        return None
    if dist == "each":
        return (
            "--dist each runs every test in every worker, and a trial is asked and counted once: "
            f"use --dist {MODES}"
        )
    return next(filter(None, map(_refusal_of, specs)), None)


def _refusal_of(spec: str) -> str | None:
    given = dict(part.partition("=")[::2] for part in spec.rpartition("*")[2].split("//"))
    if "popen" not in given or any(key in given for key in _ELSEWHERE):
        return (
            f"--tx {spec}: a worker asks the process that owns the run on 127.0.0.1, so it has to "
            "run on this machine: use -n N, or --tx popen//python=PYTHON for another interpreter"
        )
    if "chdir" in given:
        return (
            f"--tx {spec}: a worker reads the config and the suites where they are, so it cannot "
            "have another folder: leave chdir out"
        )
    python = given.get("python")
    if python and shutil.which(_program(python)) is None:
        return f"--tx {spec}: there is no program {python}: name a Python interpreter"
    return None


def _program(python: str) -> str:
    """The program of a `python=`, which execnet splits like a shell's line; "" for none."""
    line = python.replace("\\", "/") if sys.platform == "win32" else python
    try:
        return next(iter(shlex.split(line)), "")
    except ValueError:  # a quotation without its end
        return ""


def version() -> str:
    """What has to be the same in all processes of a run."""
    python = ".".join(map(str, sys.version_info[:2]))
    return f"pytest-llmeval {pytest_llmeval.__version__} on Python {python}"


def version_refusal(controller: str) -> str | None:
    """Why this process cannot be a worker of a controller, given the controller's version."""
    own = version()
    if own == controller:
        return None
    return (
        f"the worker has {own} ({sys.executable}), its controller {controller}: they exchange "
        "records of one version. Install the same one for both, or leave --tx out"
    )
