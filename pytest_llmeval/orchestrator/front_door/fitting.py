"""Whether instances fit into memory side by side, by what is free now and what would become so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.orchestrator.admission import judge
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.estimates import Estimate, estimate_instance
from pytest_llmeval.orchestrator.sight import Sight
from pytest_llmeval.orchestrator.views import Instances, InstanceView
from pytest_llmeval.servers.gguf import read_gguf


@dataclass(frozen=True, slots=True)
class Known:
    """An instance's config, and what its model is estimated to need."""

    config: InstanceConfig
    estimate: Estimate


def fits_after(coming: Iterable[Known], going: Iterable[Known], sight: Sight) -> bool | None:
    """Whether those that come fit once those that go have given back what they need (pure).

    None where nobody can tell. What one gives back of a device is counted for each device.
    """
    freed = _sum(known.estimate.total for known in going)
    coming = tuple(coming)
    verdicts = set()
    for number, known in enumerate(coming):
        before = _sum(each.estimate.total for each in coming[:number])
        room = Memory(freed.ram - before.ram, (freed.vram or 0) - (before.vram or 0))
        verdicts.add(judge(known.config, known.estimate, _with(sight, room)).verdict)
    if "does_not_fit" in verdicts:
        return False
    return None if "unknown" in verdicts else True


def _with(sight: Sight, room: Memory) -> Sight:
    """The same machine with so much more free, or less."""
    devices = tuple(
        replace(device, free=max(0, device.free + (room.vram or 0))) for device in sight.devices
    )
    return replace(sight, devices=devices, ram=max(0, sight.ram + room.ram))


def _sum(needs: Iterable[Memory]) -> Memory:
    needs = tuple(needs)
    return Memory(sum(need.ram for need in needs), sum(need.vram or 0 for need in needs))


class MachineFits:
    """`Fits` for the instances of this machine; what cannot be read or looked at is unknown."""

    def __init__(
        self,
        instances: Instances,
        look: Callable[[InstanceConfig], Sight],
        environ: Mapping[str, str],
    ) -> None:
        self._instances = instances
        self._look = look
        self._environ = environ

    def __call__(self, names: frozenset[str]) -> bool | None:
        """Whether they fit side by side."""
        try:
            up = {view.name for view in self._instances.overview() if _has_memory(view)}
            coming = [self._known(name) for name in sorted(names - up)]
            going = [self._known(name) for name in sorted(up - names)]
            if not coming:
                return True
            return fits_after(coming, going, self._look(coming[0].config))
        except (LlmevalError, OSError):
            return None

    def _known(self, name: str) -> Known:
        config = self._instances.config(name)
        header = read_gguf(Path(config.model.path))
        return Known(config, estimate_instance(config, header, self._environ))


def _has_memory(view: InstanceView) -> bool:
    """Its model is loaded; of one that is loading nobody knows how much is still to come."""
    return view.pid is not None and view.health != "loading"
