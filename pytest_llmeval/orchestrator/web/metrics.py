"""What monitoring reads: the text format 0.0.4 of Prometheus. Pure.

What nobody can tell has no sample: a 0 would be a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pytest_llmeval.orchestrator.front_door.door import DoorFigures
from pytest_llmeval.orchestrator.front_door.fleet import LaneFigures
from pytest_llmeval.orchestrator.views import InstanceView
from pytest_llmeval.servers.health import HealthState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STATES: tuple[HealthState, ...] = get_args(HealthState)

Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all its samples."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: Sequence[Sample]


def metrics(
    views: Sequence[InstanceView],
    door: DoorFigures | None = None,
    *,
    daemon: bool,
    version: str,
    now: float,
) -> list[Family]:
    """Everything that is measured; one instance is one value of the label `instance`."""
    return [*_of_instances(views, daemon=daemon, version=version, now=now), *_of_door(door)]


def _of_instances(
    views: Sequence[InstanceView], *, daemon: bool, version: str, now: float
) -> list[Family]:
    return [
        Family("llama_orch_info", "gauge", "The version.", [({"version": version}, 1)]),
        Family("llama_orch_daemon_up", "gauge", "Whether the daemon runs.", [({}, daemon)]),
        Family(
            "llama_orch_instance_info",
            "gauge",
            "What an instance runs.",
            [(_described(view), 1) for view in views],
        ),
        _each("wanted", "Whether it is wanted up.", views, lambda view: view.wanted == "up"),
        _each("up", "Whether its process runs.", views, lambda view: view.pid is not None),
        _each("ready", "Whether requests may be sent.", views, lambda view: view.ready),
        Family(
            "llama_orch_instance_health",
            "gauge",
            "1 for the state that its health is in, 0 for the others.",
            [
                ({"instance": view.name, "state": state}, view.health == state)
                for view in views
                for state in STATES
            ],
        ),
        _each(
            "restarts_total",
            "Restarts since it was last brought up by hand.",
            views,
            lambda view: view.restarts,
            kind="counter",
        ),
        _each(
            "memory_bytes",
            "Resident memory of its whole process tree.",
            views,
            lambda view: view.memory,
        ),
        _each(
            "tokens_per_second",
            "What it has generated lately.",
            views,
            lambda view: view.tokens_per_second,
        ),
        _each("uptime_seconds", "Since its process was started.", views, _uptime(now)),
    ]


def _of_door(door: DoorFigures | None) -> list[Family]:
    """The front door's own; one that is not open has none."""
    if door is None:
        return []
    clients = Family(
        "llama_orch_front_door_connections",
        "gauge",
        "Connections of clients to the front door.",
        [({}, door.clients)],
    )
    return [
        clients,
        *(
            Family(
                f"llama_orch_front_door_{name}",
                kind,
                text,
                [({"instance": lane.name}, value(lane)) for lane in door.instances],
            )
            for name, kind, text, value in _AT_THE_DOOR
        ),
    ]


_AT_THE_DOOR: tuple[
    tuple[str, Literal["gauge", "counter"], str, Callable[[LaneFigures], float]], ...
] = (
    ("in_flight", "gauge", "Requests that are with an instance.", lambda lane: lane.in_flight),
    ("queued", "gauge", "Requests that wait for an instance.", lambda lane: lane.queued),
    (
        "requests_total",
        "counter",
        "Requests for an instance, also those that were refused.",
        lambda lane: lane.counts.requests,
    ),
    (
        "failures_total",
        "counter",
        "Requests without a whole answer from the instance.",
        lambda lane: lane.counts.failures,
    ),
    (
        "refused_total",
        "counter",
        "Requests refused because too many waited.",
        lambda lane: lane.counts.refused,
    ),
    (
        "starts_total",
        "counter",
        "Starts of an instance because a request asked for it.",
        lambda lane: lane.counts.starts,
    ),
    (
        "unloads_total",
        "counter",
        "Instances taken down: unused for their ttl, or in the way of another.",
        lambda lane: lane.counts.unloads,
    ),
    (
        "answer_seconds_total",
        "counter",
        "What whole answers of an instance took, waiting left out.",
        lambda lane: lane.counts.seconds,
    ),
)


def as_text(families: Iterable[Family]) -> str:
    """The metrics in the text format; those without samples are left out."""
    return "".join(f"{line}\n" for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterable[str]:
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.samples:
        given = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{family.name}{f'{{{given}}}' if given else ''} {float(value)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _each(
    name: str,
    help_text: str,
    views: Sequence[InstanceView],
    value: Callable[[InstanceView], float | None],
    kind: Literal["gauge", "counter"] = "gauge",
) -> Family:
    found = ((view.name, value(view)) for view in views)
    samples = [({"instance": each}, known) for each, known in found if known is not None]
    return Family(f"llama_orch_instance_{name}", kind, help_text, samples)


def _described(view: InstanceView) -> Mapping[str, str]:
    return {
        "instance": view.name,
        "model": view.model,
        "backend": view.backend or "",
        "device": view.device or "",
    }


def _uptime(now: float) -> Callable[[InstanceView], float | None]:
    def seconds(view: InstanceView) -> float | None:
        running = view.pid is not None and view.started_at is not None
        return max(0.0, now - view.started_at) if running and view.started_at else None

    return seconds
