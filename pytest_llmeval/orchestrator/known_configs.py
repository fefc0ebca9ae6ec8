"""Configs that are read once for as long as their files stay as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_llmeval.errors import InstanceConfigError
from pytest_llmeval.orchestrator.configs import (
    CONFIG_NAMES,
    LoadedInstance,
    instance_names,
    load_folder,
)
from pytest_llmeval.orchestrator.home import Home

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """What a file held when it had this stamp."""

    stamp: Stamp
    found: LoadedInstance | InstanceConfigError


class KnownConfigs:
    """The configs of a home. Any thread may ask; whoever looks every second reads no file twice."""

    def __init__(self, home: Home, environ: Mapping[str, str]) -> None:
        self._home = home
        self._environ = environ
        self._read: dict[str, _Read] = {}

    def names(self) -> tuple[str, ...]:
        """All instances that have a config, in the order of their names."""
        return instance_names(self._home)

    def find(self, name: str) -> LoadedInstance | InstanceConfigError:
        """What an instance that is there is to be, or what is wrong with its file."""
        stamp = self._stamp(name)  # before it is read: what comes later is seen the next time
        read = self._read.get(name)
        if read is None or read.stamp != stamp:
            read = _Read(stamp, self._load(name))
            self._read[name] = read
        return read.found

    def _load(self, name: str) -> LoadedInstance | InstanceConfigError:
        try:
            return load_folder(self._home.instances / name, self._environ)
        except InstanceConfigError as error:
            return error

    def _stamp(self, name: str) -> Stamp:
        found: list[tuple[int, int, int] | None] = []
        for file in CONFIG_NAMES:
            found.append(None)
            with contextlib.suppress(OSError):
                status = (self._home.instances / name / file).stat()
                found[-1] = (status.st_mtime_ns, status.st_size, status.st_ino)
        return tuple(found)
