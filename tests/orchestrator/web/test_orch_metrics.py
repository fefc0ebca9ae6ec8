"""The metrics, read by a parser that takes nothing but the text format 0.0.4."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from pytest_llmeval.orchestrator.front_door.door import DoorFigures
from pytest_llmeval.orchestrator.front_door.fleet import LaneFigures
from pytest_llmeval.orchestrator.front_door.lane import Counts
from pytest_llmeval.orchestrator.views import InstanceView
from pytest_llmeval.orchestrator.web.metrics import STATES, as_text, metrics
from tests.orchestrator.web.conftest import Served, door

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Labels = tuple[tuple[str, str], ...]


@dataclass
class Parsed:
    """A metric as a scraper has it."""

    kind: str
    help: str
    samples: dict[Labels, float] = field(default_factory=dict)


def parse(text: str) -> dict[str, Parsed]:
    """Read an exposition; an AssertionError for whatever the format does not have."""
    assert text.endswith("\n")
    found: dict[str, Parsed] = {}
    helped = current = ""
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            _, _, helped, help_text = line.split(" ", 3)
            assert helped not in found, "a family stands in one place"
            assert re.fullmatch(r"(?:[^\\]|\\[\\n])+", help_text)
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current == helped
            assert kind in {"counter", "gauge"}
            found[current] = Parsed(kind, help_text)
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample[1] == current, "samples stand below their family"
            labels = labels_of(sample[2] or "")
            assert labels not in found[current].samples, "each sample once"
            found[current].samples[labels] = float(sample[3])
    return found


def labels_of(text: str) -> Labels:
    labels, at = [], 0
    while at < len(text):
        label = LABEL.match(text, at)
        assert label is not None, text[at:]
        value = re.sub(r"\\.", lambda escape: UNESCAPED[escape[0]], label[2])
        labels.append((label[1], value))
        at = label.end()
    assert len(dict(labels)) == len(labels)
    return tuple(labels)


def view(name: str, **facts: object) -> InstanceView:
    plain = {"wanted": "down", "health": "unknown", "detail": "", "model": "m.gguf"}
    more = {"backend": "cpu", "device": None, "slots": 1, "aliases": ()}
    return InstanceView(name, **{**plain, **more, **facts})  # type: ignore[arg-type] # by name


UP = view(
    "qwen",
    wanted="up",
    health="busy",
    pid=1,
    started_at=100.0,
    restarts=2,
    memory=2**30,
    tokens_per_second=41.5,
)


def exposed(
    *views: InstanceView, daemon: bool = True, door: DoorFigures | None = None
) -> dict[str, Parsed]:
    return parse(as_text(metrics(views, door, daemon=daemon, version="1.2", now=160.0)))


def value(found: dict[str, Parsed], name: str, **labels: str) -> float | None:
    family = found.get(f"llama_orch_{name}")
    return family.samples.get(tuple(labels.items())) if family else None


def test_what_is_known_of_an_instance_is_measured() -> None:
    found = exposed(UP, daemon=False)
    assert value(found, "instance_up", instance="qwen") == 1
    assert value(found, "instance_ready", instance="qwen") == 1
    assert value(found, "instance_wanted", instance="qwen") == 1
    assert value(found, "instance_restarts_total", instance="qwen") == 2
    assert value(found, "instance_memory_bytes", instance="qwen") == 2**30
    assert value(found, "instance_tokens_per_second", instance="qwen") == 41.5
    assert value(found, "instance_uptime_seconds", instance="qwen") == 60
    assert value(found, "daemon_up") == 0
    assert value(found, "info", version="1.2") == 1
    assert found["llama_orch_instance_restarts_total"].kind == "counter"


def test_what_goes_on_at_the_front_door_is_measured() -> None:
    counts = Counts(requests=90, failures=4, refused=3, starts=2, unloads=1, seconds=61.5)
    lanes = (
        LaneFigures("qwen", "ready", 5, 7, counts),
        LaneFigures("llama", "down", 0, 0, Counts()),
    )
    found = exposed(UP, door=DoorFigures(13, lanes))
    expected = {
        "in_flight": 5,
        "queued": 7,
        "requests_total": 90,
        "failures_total": 4,
        "refused_total": 3,
        "starts_total": 2,
        "unloads_total": 1,
        "answer_seconds_total": 61.5,
    }
    for name, number in expected.items():
        assert value(found, f"front_door_{name}", instance="qwen") == number
        assert value(found, f"front_door_{name}", instance="llama") == 0
        kind = "counter" if name.endswith("_total") else "gauge"
        assert found[f"llama_orch_front_door_{name}"].kind == kind
    assert value(found, "front_door_connections") == 13


def test_without_a_front_door_nothing_is_said_of_one() -> None:
    assert [name for name in exposed(UP) if "front_door" in name] == []


def test_health_is_one_of_all_states() -> None:
    found = exposed(UP)
    states = {
        state: value(found, "instance_health", instance="qwen", state=state) for state in STATES
    }
    assert states == {state: float(state == "busy") for state in STATES}
    assert len(STATES) == 7


def test_what_nobody_can_tell_has_no_sample() -> None:
    found = exposed(view("down"), UP)
    for name in ("memory_bytes", "tokens_per_second", "uptime_seconds"):
        assert value(found, f"instance_{name}", instance="down") is None
        assert value(found, f"instance_{name}", instance="qwen") is not None
    assert value(found, "instance_up", instance="down") == 0


def test_without_instances_only_the_daemon_is_told_of() -> None:
    assert set(exposed()) == {"llama_orch_info", "llama_orch_daemon_up"}


@pytest.mark.parametrize("path", ['C:\\models\\new "x".gguf', "a\nb", "ü\\n", 'x"} 1', "\\"])
def test_labels_come_through_as_they_are(path: str) -> None:
    found = exposed(view("qwen", model=path, device="CUDA0"))
    labels = {"instance": "qwen", "model": path, "backend": "cpu", "device": "CUDA0"}
    assert value(found, "instance_info", **labels) == 1


def test_a_clock_that_went_back_makes_no_negative_uptime() -> None:
    found = exposed(view("qwen", pid=1, started_at=200.0))
    assert value(found, "instance_uptime_seconds", instance="qwen") == 0


def test_the_interface_serves_them_as_prometheus_asks(served: Served) -> None:
    served.instances.add_up("qwen")
    answer = served.call("GET", "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert value(parse(answer.text), "instance_up", instance="qwen") == 1
    served.instances.door = door(qwen=(3, 2))
    told = parse(served.call("GET", "/metrics").text)
    assert value(told, "front_door_in_flight", instance="qwen") == 3
    assert value(told, "front_door_queued", instance="qwen") == 2
