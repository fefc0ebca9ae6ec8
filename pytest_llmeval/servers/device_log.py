"""The log of a server that has just become healthy, read for the devices that it uses."""

from __future__ import annotations

from collections.abc import Callable

from pytest_llmeval.servers.device_use import DeviceUse, read_use
from pytest_llmeval.servers.logs import read_section
from pytest_llmeval.servers.process import SLICE_SECONDS
from pytest_llmeval.servers.spec import ServerSpec

SECONDS = 1.0
"""How long to wait for the log: its lines may arrive a moment after the server has answered."""


def await_use(
    spec: ServerSpec, clock: Callable[[], float], sleep: Callable[[float], None]
) -> DeviceUse:
    """What it has logged of its devices since its start, waited for only where it may have some."""
    use = read_use(read_section(spec.log_path))
    deadline = clock() + SECONDS
    while not use.told and spec.backend not in {None, "cpu"} and clock() < deadline:
        sleep(SLICE_SECONDS)
        use = read_use(read_section(spec.log_path))
    return use
