"""Health and restarts under random lives; tools/restart_machine.py plays as many as one likes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.servers import vitals, watching
from tools import restart_machine

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_thousand_steps_of_random_lives_break_no_promise() -> None:
    command = [sys.executable, "tools/restart_machine.py", "--steps", "1000"]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("broken invariants: 0\n")


Change = Callable[..., Any]


def unlimited(after_death: Change) -> Change:
    def changed(history: Any, policy: Any, now: float, draw: float) -> Any:
        return after_death(history, replace(policy, max_retries=10**6), now, draw)

    return changed


def forgetful(after_answer: Change) -> Change:
    def changed(history: Any, policy: Any, now: float, *, ready: bool) -> Any:
        return replace(after_answer(history, policy, now, ready=ready), in_a_row=0)

    return changed


def impatient(after_silence: Change) -> Change:
    def changed(before: Any, silence: Any, policy: Any, now: float) -> Any:
        return after_silence(before, replace(silence, cpu_moved=False), policy, now)

    return changed


def strict(after_failure: Change) -> Change:
    def changed(before: Any, why: Any, state: Any, policy: Any, now: float, took: float) -> Any:
        return after_failure(before, why, state, replace(policy, start_period=0), now, took)

    return changed


@pytest.mark.parametrize(
    ("module", "name", "change"),
    [
        (watching, "after_death", unlimited),
        (watching, "after_answer", forgetful),
        (vitals, "_after_silence", impatient),
        (vitals, "_after_failure", strict),
        (watching, "_is_lost", lambda _right: lambda *_: False),
    ],
)
def test_a_mistake_in_the_rules_is_found(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, change: Callable[[Change], Change]
) -> None:
    monkeypatch.setattr(module, name, change(getattr(module, name)))
    with pytest.raises(AssertionError):
        restart_machine.drive(20_000, first_seed=1)
