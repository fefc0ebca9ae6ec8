"""The lines in which commands tell of instances."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.orchestrator.config import InstanceConfig, ModelConfig, ServerConfig
from pytest_llmeval.orchestrator.telling import (
    description,
    health_lines,
    plain_table,
    reasons,
    waits_for,
)
from pytest_llmeval.orchestrator.views import (
    Event,
    HealthEntry,
    InstanceDetail,
    InstanceView,
    RestartEntry,
)

NOW = 10_000.0
UP = InstanceView(
    name="qwen",
    wanted="up",
    health="healthy",
    detail="ok",
    model="/models/Qwen3-8B.gguf",
    backend="cuda",
    device="CUDA0",
    slots=2,
    aliases=(),
    pid=77,
    port=8080,
    url="http://127.0.0.1:8080",
    started_at=NOW - 3700,
    restarts=1,
    memory=3 * 2**30,
    tokens_per_second=41.25,
)
DOWN = replace(UP, name="a", wanted="down", health="unknown", detail="it is down", pid=None)


def view(**changes: Any) -> InstanceView:
    return replace(UP, **changes)


def test_the_table_for_pipes_has_no_colours_and_aligned_columns() -> None:
    lines = plain_table([DOWN, UP], NOW)
    assert ["|".join(re.split(r"  +", line.strip())) for line in lines] == [
        "Name|PID|Port|Backend|Device|Model|Health|Uptime|Restarts|tokens/s|Memory",
        "a|-|8080|cuda|CUDA0|Qwen3-8B|- down|-|1|41.2|3.0 GiB",
        "qwen|77|8080|cuda|CUDA0|Qwen3-8B|+ healthy|1 h 01 m|1|41.2|3.0 GiB",
    ]
    assert lines[0].index("Model") == lines[2].index("Qwen3")
    assert "\x1b" not in "".join(lines)


def test_only_what_is_not_as_it_should_be_is_explained() -> None:
    ill = view(name="ill", health="error", detail="it died 6 times\x1b[31m", pid=None)
    unread = replace(DOWN, name="unread", backend=None, detail="config.yaml:2: unknown key 'prot'")
    assert list(reasons([UP, DOWN, ill, unread])) == [
        "ill: it died 6 times",
        "unread: config.yaml:2: unknown key 'prot'",
    ]


def test_health_has_a_line_for_each() -> None:
    assert health_lines([UP, DOWN]) == ["qwen  healthy  ok", "a     down     it is down"]


@pytest.mark.parametrize(
    ("shown", "waits"),
    [
        (UP, None),
        (view(health="busy"), None),
        (DOWN, None),
        (view(health="loading"), "its model to be loaded"),
        (view(pid=None, health="unknown"), "the daemon to start it"),
        (view(pid=None, health="unreachable", retry_at=NOW + 12), "its restart in 12 s"),
        (view(wanted="down"), "the end of its server"),
        (
            view(pid=None, health="error"),
            "you: `llama-orch up qwen` tries again once its cause is mended",
        ),
    ],
)
def test_it_says_what_an_instance_waits_for(shown: InstanceView, waits: str | None) -> None:
    assert waits_for(shown, NOW) == waits


DETAIL = InstanceDetail(
    view=UP,
    config=InstanceConfig(
        model=ModelConfig(path="/models/Qwen3-8B.gguf"),
        server=ServerConfig(port=8080, parallel=2),
        args=("--mlock", "--no-mmap"),
        aliases=("gpt",),
        env={"OMP_NUM_THREADS": "4"},
    ),
    config_path=Path("instances/qwen/config.yaml"),
    health=(HealthEntry(9000.0, "healthy", "ok", 0.0021), HealthEntry(8000.0, "loading", "")),
    restarts=(RestartEntry(8000.0, 1, 0.73, "killed by SIGKILL\x1b[0m"),),
    events=(Event(7000.0, "qwen", "up", "asked for"),),
)


def test_a_description_tells_everything() -> None:
    lines = list(description(DETAIL, NOW))
    text = "\n".join(re.sub(r"  +", "  ", line) for line in lines)
    assert lines[0] == "qwen: + healthy (ok)"
    for fact in (
        "  url  http://127.0.0.1:8080",
        "  up for  1 h 01 m",
        "  memory  3.0 GiB",
        f"Config: {Path('instances/qwen/config.yaml')}",
        "  model.context_size  4096",
        "  args  --mlock, --no-mmap",
        "  env.OMP_NUM_THREADS  4",
    ):
        assert fact in text
    assert any(line.endswith("1. in a row, after 0.7 s  killed by SIGKILL") for line in lines)
    assert any(line.endswith("healthy  ok (2 ms)") for line in lines)
    assert any(line.endswith("up  asked for") for line in lines)
    assert "waits for" not in text
    assert "has changed" not in text
    assert "ttl" not in text, "what is not set is not told"


def test_a_description_says_that_the_config_has_changed() -> None:
    lines = list(description(replace(DETAIL, config_changed=True), NOW))
    assert (
        "  It has changed since the server was started: `llama-orch restart qwen` goes by the new "
        "one" in lines
    )


def test_a_description_tells_what_is_wrong_with_the_config() -> None:
    problem = "c.yaml:2: unknown key 'prot'\nc.yaml:3: expected a port"
    lines = list(description(replace(DETAIL, config=None, config_problem=problem), NOW))
    at = lines.index("  It cannot be read:")
    assert lines[at + 1 : at + 3] == [f"  {line}" for line in problem.splitlines()]
    assert any(line.startswith("Health") for line in lines)


def test_empty_histories_are_left_out() -> None:
    lines = list(description(replace(DETAIL, health=(), restarts=(), events=()), NOW))
    assert not any("newest first" in line for line in lines)
