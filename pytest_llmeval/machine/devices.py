"""What a llama-server of this machine can compute on beside the CPU, as it lists it itself."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import psutil

SECONDS = 15.0
"""The patience with `--list-devices`: a driver that wakes its card up takes seconds."""

_LINE = re.compile(r"^\s+(\S+): (.+) \((\d+) MiB, (\d+) MiB free\)\s*$")
_INTEGRATED = re.compile(
    r"\bU?HD Graphics\b|\bIris\b|\bArc\(\w+\) Graphics\b|\bRadeon(\(\w+\))? (Vega \d+ )?Graphics\b"
    r"|\bRadeon(\(\w+\))? \d{3,4}[MS]\b|\bApple M\d|\bAdreno\b|\bMali\b|\bGB10\b|\bOrin\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Device:
    """What llama.cpp can compute on beside the CPU: its name there, what it is called, bytes."""

    name: str
    description: str
    total: int
    free: int

    @property
    def family(self) -> str:
        """Its name without its number: one card may be a device of several backends."""
        return self.name.rstrip("0123456789")

    @property
    def number(self) -> int | None:
        """The number at the end of its name."""
        digits = self.name.removeprefix(self.family)
        return int(digits) if digits else None

    @property
    def integrated(self) -> bool:
        """Whether it seems to share main memory with the CPU, by what it is called."""
        return _INTEGRATED.search(self.description) is not None


@dataclass(frozen=True, slots=True)
class Listing:
    """The devices that an executable has listed; `trouble` says why it could not, in words."""

    devices: tuple[Device, ...] = ()
    trouble: str = ""


def ask_devices(executable: str, environ: Mapping[str, str], seconds: float = SECONDS) -> Listing:
    """Have llama-server list its devices, in the environment that a server would have."""
    # Into a file: a wrapper's children may hold a pipe open for longer than anybody waits.
    with tempfile.TemporaryFile() as answer:
        try:
            code = _run([executable, "--list-devices"], answer, environ, seconds)
        except OSError as error:
            words = error.strerror or error
            return Listing(trouble=f"{executable} cannot be run: {words}")
        answer.seek(0)
        text = answer.read().decode("utf-8", "replace")
    if code is None:
        return Listing(trouble=f"{executable} --list-devices did not end within {seconds:g} s")
    if code:
        words = f"{executable} --list-devices ended with exit code {code}"
        return Listing(trouble=f"{words}: builds before December 2024 do not know it")
    return Listing(read_listing(text))


def _run(
    command: Sequence[str], answer: IO[bytes], environ: Mapping[str, str], seconds: float
) -> int | None:
    """Its exit code; None if it did not end in time, and is killed with all that it started."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=subprocess.DEVNULL,
        env=dict(environ),
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    ) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                _kill_tree(process)


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    process.kill()


def read_listing(text: str) -> tuple[Device, ...]:
    """The devices in what `--list-devices` prints, whatever their backends are called."""
    found = map(_LINE.match, text.splitlines())
    return tuple(
        Device(match[1], match[2], int(match[3]) * 2**20, int(match[4]) * 2**20)
        for match in found
        if match is not None
    )


def suggest(devices: Iterable[Device], need: int) -> Device | None:
    """The device for a model of `need` bytes: the one with the most memory free of those that it
    fits on, and one of its own memory before one that shares the CPU's; None where it fits on none.
    """
    fitting = [device for device in devices if device.free >= need]
    return max(fitting, key=lambda device: (not device.integrated, device.free), default=None)


def suggest_several(devices: Sequence[Device], need: int) -> tuple[Device, ...]:
    """The device for a model of `need` bytes; where it fits on none, those of one backend, which
    share it: the ones that have the most memory free together.
    """
    one = suggest(devices, need)
    if one is not None:
        return (one,)
    own = [device for device in devices if not device.integrated] or devices
    families = {device.family: tuple(d for d in own if d.family == device.family) for device in own}
    return max(families.values(), key=lambda each: sum(d.free for d in each), default=())
