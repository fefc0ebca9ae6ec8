"""How far parts are, by requests sent and answers written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.records import Prediction, Trial
from pytest_llmeval.run.progress import Part, Progress

if TYPE_CHECKING:
    from tests.run.conftest import Make, Workbench


@pytest.fixture
def trials(bench: Workbench) -> list[Trial]:
    return bench.trials(bench.settings(), bench.suite())


def progress_of(trials: list[Trial], *known: Prediction) -> Progress:
    parts = [Part("m", 1, trials[:2]), Part("m", 2, trials[2:])]
    return Progress(parts, {p.trial_id: p for p in known})


def statuses(progress: Progress) -> list[str]:
    return [facts.job_status for facts in progress.facts]


def test_only_a_change_of_status_is_one(trials: list[Trial], make: type[Make]) -> None:
    progress = progress_of(trials)
    assert statuses(progress) == ["pending", "pending"]
    assert progress.sending(trials[0])
    assert not progress.sending(trials[1])
    assert statuses(progress) == ["running", "pending"]
    assert not progress.recorded(make.answer(trials[0].id))
    assert progress.recorded(make.answer(trials[1].id))
    assert statuses(progress) == ["completed", "pending"]
    assert progress.facts[0].answered == 2


def test_an_answer_takes_the_place_of_an_earlier_failure(
    trials: list[Trial], make: type[Make]
) -> None:
    known = (make.failure(trials[0].id, "busy"), make.answer(trials[1].id))
    progress = progress_of(trials, *known)
    first = progress.facts[0]
    assert (first.job_status, first.failures) == ("completed", {"unreachable": 1})
    assert first.first_failure == f"{trials[0].id}: busy"
    progress.recorded(make.answer(trials[0].id))
    first = progress.facts[0]
    assert (first.job_status, first.answered, first.failed) == ("completed", 2, 0)
    assert first.first_failure is None


def test_a_part_whose_failures_are_asked_again_is_running_until_they_are_through(
    trials: list[Trial], make: type[Make]
) -> None:
    known = (make.failure(trials[0].id, "busy"), make.answer(trials[1].id))
    progress = progress_of(trials, *known)
    assert progress.sending(trials[0])
    first = progress.facts[0]
    assert (first.job_status, first.answered, first.failed) == ("running", 1, 0)
    assert progress.recorded(make.failure(trials[0].id, "busy still"))
    first = progress.facts[0]
    assert (first.job_status, first.failures) == ("completed", {"unreachable": 1})


def test_a_part_all_of_which_failed_has_failed(trials: list[Trial], make: type[Make]) -> None:
    progress = progress_of(trials)
    for trial in trials[2:]:
        progress.recorded(make.failure(trial.id))
    assert statuses(progress) == ["pending", "failed"]


def test_what_is_in_no_part_changes_nothing(trials: list[Trial], make: type[Make]) -> None:
    progress = progress_of(trials[:3])
    assert not progress.sending(trials[3])
    assert not progress.recorded(make.answer(trials[3].id))
    assert statuses(progress) == ["pending", "pending"]
