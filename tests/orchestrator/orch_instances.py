"""Instances in memory, for tests of what shows them: they obey at once, or when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pytest_llmeval.errors import LlmevalError, UnknownInstanceError
from pytest_llmeval.orchestrator.config import InstanceConfig, ModelConfig
from pytest_llmeval.orchestrator.views import InstanceDetail, InstanceView, Stream

NOW = 1_800_000_000.0
QWEN = InstanceView(
    name="qwen",
    wanted="up",
    health="healthy",
    detail="ok",
    model=r"D:\models\Qwen3-8B-Instruct-Q4_K_M.gguf",
    backend="vulkan",
    device="AMD Radeon RX 9060 XT",
    slots=4,
    aliases=(),
    pid=51234,
    port=9931,
    url="http://127.0.0.1:9931",
    started_at=NOW - 11_100,
    restarts=2,
    memory=9_876_543_210,
    tokens_per_second=48.27,
)
EMBEDDER = InstanceView(
    "embedder-for-search", "down", "unknown", "", "/m/bge-m3.gguf", "cpu", None, 1, ()
)
BROKEN = replace(
    EMBEDDER,
    name="broken",
    wanted="up",
    health="error",
    restarts=5,
    detail="given up after 5 restarts within 10 minutes; the last time: exit code 1",
)
CRASHING = replace(EMBEDDER, name="crashing", wanted="up", retry_at=NOW + 12.4, restarts=1)
ALL = (BROKEN, CRASHING, EMBEDDER, QWEN)


class HeldInstances:
    """`Instances` without servers. `asked` is what was done; `held` makes deeds wait for it."""

    def __init__(self, folder: Path, views: tuple[InstanceView, ...] = ALL) -> None:
        self.folder = folder
        self.views = {view.name: view for view in views}
        self.asked: list[str] = []
        self.looks = 0
        self.look_error: LlmevalError | None = None
        self.deed_error: LlmevalError | None = None
        self.held = threading.Event()
        self.held.set()

    def names(self) -> tuple[str, ...]:
        return tuple(self.views)

    def overview(self) -> tuple[InstanceView, ...]:
        self.looks += 1
        if self.look_error is not None:
            raise self.look_error
        return tuple(self.views.values())

    def view(self, name: str) -> InstanceView:
        if name not in self.views:
            raise UnknownInstanceError(f"no instance is called {name}")
        return self.views[name]

    def describe(self, name: str) -> InstanceDetail:
        return InstanceDetail(self.view(name), self.config(name), Path(), (), (), ())

    def config(self, name: str) -> InstanceConfig:
        return InstanceConfig(model=ModelConfig(path=self.view(name).model))

    def up(self, name: str) -> InstanceView:
        return self._do(
            "up", name, lambda view: replace(QWEN, name=view.name, model=view.model, restarts=0)
        )

    def down(self, name: str) -> InstanceView:
        return self._do("down", name, lambda view: replace(EMBEDDER, name=view.name))

    def restart(self, name: str) -> InstanceView:
        return self._do("restart", name, lambda view: replace(view, pid=1, restarts=0))

    def reset(self, name: str) -> InstanceView:
        return self._do("reset", name, lambda view: replace(view, health="unknown", restarts=0))

    def check(self, name: str) -> InstanceView:
        return self._do("check", name, lambda view: view)

    def log(self, name: str, stream: Stream) -> Path:
        self.view(name)
        return self.folder / f"{name}.{stream}.log"

    def _do(
        self, deed: str, name: str, change: Callable[[InstanceView], InstanceView]
    ) -> InstanceView:
        self.asked.append(f"{deed} {name}")
        self.held.wait()
        if self.deed_error is not None:
            raise self.deed_error
        self.views[name] = change(self.view(name))
        return self.views[name]
