"""What is shown of an instance: what its config says, and what the daemon has seen."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmeval.orchestrator.config import (
    GpuConfig,
    InstanceConfig,
    ModelConfig,
    ServerConfig,
)
from pytest_llmeval.orchestrator.joined import has_changed, left_over, view_of, without_config
from pytest_llmeval.orchestrator.rows import InstanceRow
from pytest_llmeval.orchestrator.views import InstanceView
from pytest_llmeval.servers.identity import Identity

CONFIG = InstanceConfig(
    model=ModelConfig(path="/models/q.gguf"),
    server=ServerConfig(parallel=4, port=8080),
    gpu=GpuConfig(backend="vulkan"),
    aliases=("gpt",),
)
RUNNING = InstanceRow(
    name="q",
    wanted="up",
    health="healthy",
    detail="ok",
    server=Identity(7, 1.5),
    port=8080,
    url="http://127.0.0.1:8080",
    device="Vulkan0",
    started_at=1.5,
    restarts=2,
    memory=1000,
    tokens_per_second=3.5,
    fingerprint="abc",
)
DECLARED = InstanceView(
    name="q",
    wanted="down",
    health="unknown",
    detail="it has not been brought up yet",
    model="/models/q.gguf",
    backend="vulkan",
    device=None,
    slots=4,
    aliases=("gpt",),
    port=8080,
)


def row(**changes: Any) -> InstanceRow:
    return dataclasses.replace(RUNNING, **changes)


def test_a_reason_does_not_begin_with_the_name_that_it_stands_beside() -> None:
    row = replace(RUNNING, health="error", server=None, detail=f"{RUNNING.name}: it has no GGUF")
    for watched in (True, False):
        assert view_of(row.name, None, row, watched=watched).detail == "it has no GGUF"


def test_an_instance_without_a_row_is_what_its_config_says() -> None:
    assert view_of("q", CONFIG, None, watched=True) == DECLARED


def test_a_running_one_is_what_the_daemon_has_seen() -> None:
    assert view_of("q", CONFIG, RUNNING, watched=True) == dataclasses.replace(
        DECLARED,
        wanted="up",
        health="healthy",
        detail="ok",
        device="Vulkan0",
        pid=7,
        url="http://127.0.0.1:8080",
        started_at=1.5,
        restarts=2,
        memory=1000,
        tokens_per_second=3.5,
    )


def test_without_a_daemon_nothing_runs_and_that_is_said() -> None:
    view = view_of("q", CONFIG, RUNNING, watched=False)
    assert (view.wanted, view.health, view.pid, view.url, view.memory) == (
        "up",
        "unknown",
        None,
        None,
        None,
    )
    assert view.detail == (
        "the daemon has ended, and its servers with it; `llama-orch daemon start` brings back what "
        "is wanted up"
    )
    assert not view.ready


def test_without_a_daemon_one_that_is_wanted_down_is_just_down() -> None:
    view = view_of("q", CONFIG, row(wanted="down"), watched=False)
    assert (view.health, view.detail) == ("unknown", "it is down")


def test_that_one_was_given_up_is_known_without_a_daemon() -> None:
    given_up = row(health="error", detail="it died 6 times in 600 s", server=None)
    view = view_of("q", CONFIG, given_up, watched=False)
    assert (view.health, view.detail) == ("error", "it died 6 times in 600 s")


def test_one_whose_config_cannot_be_read_shows_what_runs() -> None:
    view = view_of("q", None, RUNNING, watched=True)
    assert (view.model, view.backend, view.slots) == ("", None, 0)
    assert (view.pid, view.health) == (7, "healthy")


@pytest.mark.parametrize(
    ("left", "is_left"),
    [
        (row(), True),
        (row(wanted="down"), True),
        (row(server=None), True),
        (row(wanted="down", server=None), False),
    ],
)
def test_one_whose_config_is_gone_is_shown_while_there_is_something_left_of_it(
    left: InstanceRow, is_left: bool
) -> None:
    assert left_over([left], ["other"]) == ((left,) if is_left else ())
    assert left_over([left], ["q"]) == ()


def test_one_whose_config_is_gone_says_how_it_is_stopped() -> None:
    view = without_config(RUNNING, watched=True)
    assert view.detail == ("its config is gone; `llama-orch down` stops what is left of it; ok")
    assert view.pid == 7


def test_a_config_has_changed_when_the_server_runs_with_another_one() -> None:
    assert has_changed("new", RUNNING)
    assert not has_changed("abc", RUNNING)
    assert not has_changed("new", row(server=None))
    assert not has_changed("new", row(fingerprint=None))
    assert not has_changed("new", None)
