"""What the front door needs of the instances, as calls that do not block its event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pytest_llmeval.errors import OrchestratorError
from pytest_llmeval.orchestrator.front_door.room import Fits, Occupant, Room, make_room
from pytest_llmeval.orchestrator.views import Instances, InstanceView
from pytest_llmeval.orchestrator.web.threads import in_thread


@dataclass(frozen=True, slots=True)
class Terms:
    """What an instance's config says about asking it: see `InstanceConfig`."""

    ttl: float | None
    timeout: float
    api_key: str | None = field(default=None, repr=False)


class Keeping(Protocol):
    """The instances, seen from an event loop."""

    async def overview(self) -> tuple[InstanceView, ...]:
        """All of them now."""
        ...

    async def up(self, name: str) -> tuple[InstanceView, Terms]:
        """Have one running, or raise why not."""
        ...

    async def terms(self, name: str) -> Terms:
        """How one that runs is to be asked."""
        ...

    async def down(self, name: str) -> None:
        """Have one stopped."""
        ...

    async def room(self, wanted: str, occupants: Sequence[Occupant]) -> Room:
        """What must go before another can start."""
        ...


class ThreadedKeeping:
    """`Instances` behind threads; `environ` has the keys of the servers."""

    def __init__(self, instances: Instances, fits: Fits, environ: Mapping[str, str]) -> None:
        self._instances = instances
        self._fits = fits
        self._environ = environ

    async def overview(self) -> tuple[InstanceView, ...]:
        """All of them now."""
        return await in_thread(self._instances.overview)

    async def up(self, name: str) -> tuple[InstanceView, Terms]:
        """Have one running, or raise why not."""
        return await in_thread(self._up, name)

    async def terms(self, name: str) -> Terms:
        """How one that runs is to be asked."""
        return await in_thread(self._terms, name)

    async def down(self, name: str) -> None:
        """Have one stopped."""
        await in_thread(self._instances.down, name)

    async def room(self, wanted: str, occupants: Sequence[Occupant]) -> Room:
        """What must go before another can start."""
        return await in_thread(make_room, wanted, occupants, self._fits)

    def _up(self, name: str) -> tuple[InstanceView, Terms]:
        terms = self._terms(name)  # first: one that cannot be asked needs not be started
        return self._instances.up(name), terms

    def _terms(self, name: str) -> Terms:
        config = self._instances.config(name)
        variable = config.server.api_key_env
        key = {**self._environ, **config.env}.get(variable) if variable else None
        if variable and not key:
            raise OrchestratorError(
                f"it asks for the key that the variable {variable} holds, and the front door has "
                f"none: set {variable} where `llama-orch serve` is started"
            )
        return Terms(config.ttl, config.server.timeout, key)
