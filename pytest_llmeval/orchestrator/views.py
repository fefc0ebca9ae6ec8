"""What is known of instances at a moment, as data: what every face of the orchestrator shows.

Times are seconds since 1970. None is what nobody can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pytest_llmeval.orchestrator.config import Backend, InstanceConfig
from pytest_llmeval.servers.health import HealthState

Wanted = Literal["up", "down"]
"""What the user has asked for; the daemon brings it about."""

Stream = Literal["out", "err"]


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance now.

    An instance that is down, and whose server is gone, has no `pid` and the health `unknown`.
    `detail` says in words why its health is what it is. `model` is "" and `backend` None when its
    config cannot be read. `memory` is resident bytes of the whole
    process tree; `tokens_per_second` what it has generated lately. `restarts` counts those since
    it was last brought up by hand. `retry_at` is when it is started again, if it waits for that.
    """

    name: str
    wanted: Wanted
    health: HealthState
    detail: str
    model: str
    backend: Backend | None
    device: str | None
    slots: int
    aliases: tuple[str, ...]
    pid: int | None = None
    port: int | None = None
    url: str | None = None
    started_at: float | None = None
    restarts: int = 0
    retry_at: float | None = None
    memory: int | None = None
    tokens_per_second: float | None = None

    @property
    def ready(self) -> bool:
        """Whether requests may be sent."""
        return self.pid is not None and self.health in {"healthy", "busy"}


@dataclass(frozen=True, slots=True)
class HealthEntry:
    """Its health changed, or was looked at by hand; `seconds` is how long the answer took."""

    at: float
    health: HealthState
    detail: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RestartEntry:
    """The `number`-th restart in a row, for which it waited `delay` seconds because of `reason`."""

    at: float
    number: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an instance, or (name None) to the daemon, in words."""

    at: float
    name: str | None
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class InstanceDetail:
    """Everything about one instance; histories have the newest first.

    `config_changed` is whether its server was started with another config than the file has now. Of
    a config that cannot be read there is `config_problem`, with all its mistakes, instead.
    """

    view: InstanceView
    config: InstanceConfig | None
    config_path: Path
    health: tuple[HealthEntry, ...]
    restarts: tuple[RestartEntry, ...]
    events: tuple[Event, ...]
    config_changed: bool = False
    config_problem: str | None = None


class Instances(Protocol):
    """All that can be asked of the instances of a home, from any process. Every call may block.

    Names that do not exist raise UnknownInstanceError, which tells those that do. What changes
    something returns once it is so: `up` and `restart` when requests may be sent.
    """

    def names(self) -> tuple[str, ...]:
        """All instances that have a config, in the order of their names."""
        ...

    def overview(self) -> tuple[InstanceView, ...]:
        """All of them now. Cheap enough to be called every second."""
        ...

    def view(self, name: str) -> InstanceView:
        """One of them now."""
        ...

    def describe(self, name: str) -> InstanceDetail:
        """Everything about one of them; `name` may be an alias nowhere but in the front door."""
        ...

    def config(self, name: str) -> InstanceConfig:
        """What it is to be; raises InstanceConfigError."""
        ...

    def up(self, name: str) -> InstanceView:
        """Have it running. Raises ServerError with its last words when it does not come up."""
        ...

    def down(self, name: str) -> InstanceView:
        """Have it stopped, and back when its process is gone."""
        ...

    def restart(self, name: str) -> InstanceView:
        """End it and start it again at once, whatever the restart policy says."""
        ...

    def reset(self, name: str) -> InstanceView:
        """Forget its restarts: one that was given up may be started again."""
        ...

    def check(self, name: str) -> InstanceView:
        """Ask its server for its health now, and note the answer."""
        ...

    def log(self, name: str, stream: Stream) -> Path:
        """The file that its server's stdout or stderr goes to, or went to last."""
        ...
