"""Instances that are only said to run: a small `Instances` in memory, with real log files."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

from pytest_llmeval.errors import LlmevalError, UnknownInstanceError
from pytest_llmeval.orchestrator.config import InstanceConfig, ModelConfig
from pytest_llmeval.orchestrator.front_door.door import DoorFigures
from pytest_llmeval.orchestrator.views import (
    Event,
    HealthEntry,
    InstanceDetail,
    InstanceView,
    RestartEntry,
    Stream,
)


class StandIn:
    """Its views are changed by actions and by `set`; an action waits while `held` is set, and fails
    with what `fails` has for the name. `door` is what goes on at a front door beside it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.views: dict[str, InstanceView] = {}
        self.configs: dict[str, InstanceConfig] = {}
        self.fails: dict[str, LlmevalError] = {}
        self.bad_configs: dict[str, LlmevalError] = {}
        self.trouble: LlmevalError | None = None
        self.daemon = True
        self.door: DoorFigures | None = None
        self.calls: list[tuple[str, str]] = []
        self.looks = 0
        self.go = threading.Event()
        self.go.set()

    def add(self, name: str, **facts: Any) -> InstanceView:
        """Declare one; it is down, unless the facts say otherwise."""
        plain = InstanceView(
            name, "down", "unknown", "", f"/models/{name}.gguf", "cpu", None, 1, aliases=()
        )
        self.views[name] = dataclasses.replace(plain, **facts)
        self.configs[name] = InstanceConfig(model=ModelConfig(path=f"/models/{name}.gguf"))
        return self.views[name]

    def add_up(self, name: str, **facts: Any) -> InstanceView:
        """Declare one that runs."""
        runs: dict[str, Any] = {"pid": 4711, "port": 8080, "started_at": time.time() - 4000}
        return self.add(name, **{"wanted": "up", "health": "healthy", **runs, **facts})

    def set(self, name: str, **facts: Any) -> None:
        """Something has happened to it."""
        self.views[name] = dataclasses.replace(self.views[name], **facts)

    # Instances ------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.views))

    def overview(self) -> tuple[InstanceView, ...]:
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        return tuple(self.views[name] for name in self.names())

    def view(self, name: str) -> InstanceView:
        if name not in self.views:
            raise UnknownInstanceError(
                f"no instance {name!r}; there are: {', '.join(self.names())}"
            )
        return self.views[name]

    def describe(self, name: str) -> InstanceDetail:
        return InstanceDetail(
            self.view(name),
            self.configs[name],
            self.folder / name / "config.yaml",
            (HealthEntry(2.0, "healthy", "", 0.01), HealthEntry(1.0, "loading", "Loading model")),
            (RestartEntry(1.5, 1, 0.7, "exit status 1"),),
            (Event(1.0, name, "started", "pid 4711"),),
        )

    def config(self, name: str) -> InstanceConfig:
        self.view(name)
        if name in self.bad_configs:
            raise self.bad_configs[name]
        return self.configs[name]

    def up(self, name: str) -> InstanceView:
        return self._do(name, "up", wanted="up", health="healthy", pid=4711, port=8080)

    def down(self, name: str) -> InstanceView:
        return self._do(name, "down", wanted="down", health="unknown", pid=None, port=None)

    def restart(self, name: str) -> InstanceView:
        return self._do(name, "restart", wanted="up", health="healthy", pid=4712)

    def reset(self, name: str) -> InstanceView:
        return self._do(name, "reset", restarts=0, health="unknown")

    def check(self, name: str) -> InstanceView:
        return self.view(name)

    def log(self, name: str, stream: Stream) -> Path:
        self.view(name)
        return self.folder / f"{name}.{stream}.log"

    def _do(self, name: str, call: str, **facts: Any) -> InstanceView:
        self.calls.append((call, name))
        self.go.wait(60)
        if name in self.fails:
            raise self.fails[name]
        self.set(name, **facts)
        return self.view(name)
