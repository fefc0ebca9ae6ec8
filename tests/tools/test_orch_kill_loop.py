"""The kill loop of llama-orch, in short: what it promises holds, and what is broken is told."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_llmeval.orchestrator.rows import InstanceRow
from tools import orch_kill_loop
from tools.orch_homes import ORCH_ROLES, OrchHome, OrchRole
from tools.orch_kill_loop import NAMES, OrchLoop


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[OrchLoop]:
    """A loop over a home of its own."""
    loop = OrchLoop(OrchHome(tmp_path, *NAMES), random.Random(7))
    loop.home.run("up", *NAMES)
    yield loop
    loop.home.end()


def test_nothing_is_left_and_all_comes_back_whoever_is_killed(loop: OrchLoop) -> None:
    victims: tuple[OrchRole, ...] = (*ORCH_ROLES, *ORCH_ROLES)
    for victim in victims:
        loop.round(victim)
    loop.finish()
    assert loop.broken == 0, "the lines above say what"
    assert "0 promises broken" in loop.summary()


def test_what_is_not_as_wanted_is_told(
    loop: OrchLoop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(orch_kill_loop, "SETTLING", 8.0)
    loop.home.state.put(InstanceRow("four", health="healthy"))
    loop.round("server")
    assert loop.broken == 1
    assert "BROKEN: after 8 s: not as wanted" in capsys.readouterr().out
