from __future__ import annotations

import pytest

from pytest_llmeval.servers.health import Health
from pytest_llmeval.servers.vitals import (
    Answered,
    Ended,
    Failed,
    HealthPolicy,
    NoAnswer,
    Observation,
    Started,
    Stopped,
    Vitals,
    next_vitals,
    observed,
)

POLICY = HealthPolicy(interval=10, timeout=5, retries=3, start_period=120)
OK = Answered(Health("healthy", "ok"), 0.01)
FULL = Answered(Health("busy", "no slot available"), 0.01)
LOADING = Answered(Health("loading", "loading model"), 0.01)
BROKEN = Answered(Health("error", "HTTP 500"), 0.01)
REFUSED = NoAnswer("connection refused", cpu_moved=False, refused=True)
SILENT = NoAnswer("no answer within 5 s", cpu_moved=False)
COMPUTING = NoAnswer("no answer within 5 s", cpu_moved=True)


def life(*moments: tuple[float, Observation], policy: HealthPolicy = POLICY) -> Vitals:
    """The vitals after a life whose clock is written beside each observation."""
    vitals = Vitals()
    for now, observation in moments:
        vitals = next_vitals(vitals, observation, policy, now)
    return vitals


def up(*later: tuple[float, Observation], policy: HealthPolicy = POLICY) -> Vitals:
    """Likewise, of a server that was started at 0 and healthy at 1."""
    return life((0, Started()), (1, OK), *later, policy=policy)


# Docker's HEALTHCHECK ------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [REFUSED, SILENT, BROKEN, LOADING])
def test_failures_inside_the_start_period_do_not_count(failure: Observation) -> None:
    vitals = life((0, Started()), *((second, failure) for second in range(1, 120)))
    assert (vitals.health, vitals.failures) == ("loading", 0)


@pytest.mark.parametrize("failure", [REFUSED, SILENT, BROKEN, LOADING])
def test_after_the_start_period_as_many_as_retries_make_it_unhealthy(failure: Observation) -> None:
    late = ((second, failure) for second in (121, 131))
    vitals = life((0, Started()), (60, failure), *late)
    assert vitals.failures == 2
    assert vitals.health != "unhealthy"
    assert next_vitals(vitals, failure, POLICY, 141).health == "unhealthy"


def test_a_question_that_was_asked_inside_the_start_period_belongs_to_it() -> None:
    slow = NoAnswer("no answer within 5 s", cpu_moved=False, seconds=5.0)
    assert life((0, Started()), (124.9, slow)).failures == 0
    assert life((0, Started()), (125.0, slow)).failures == 1


def test_the_first_success_ends_the_start_period() -> None:
    assert up((2, REFUSED)).failures == 1
    assert up((2, REFUSED), (3, REFUSED), (4, REFUSED)).health == "unhealthy"


@pytest.mark.parametrize("failures", [1, 2, 3, 50])
@pytest.mark.parametrize("success", [OK, FULL])
def test_one_success_makes_it_healthy_whatever_it_was(failures: int, success: Answered) -> None:
    vitals = up(*((second, REFUSED) for second in range(2, 2 + failures)), (100, success))
    assert (vitals.health, vitals.failures) == (success.health.state, 0)
    assert vitals.ready


def test_only_failures_in_a_row_count() -> None:
    on_and_off = [(10 * n, REFUSED if n % 3 else OK) for n in range(1, 100)]
    assert up(*on_and_off).health != "unhealthy"


def test_retries_of_one_make_the_first_failure_the_last() -> None:
    assert up((2, SILENT), policy=HealthPolicy(retries=1)).health == "unhealthy"


def test_without_a_start_period_failures_count_at_once() -> None:
    eager = HealthPolicy(retries=2, start_period=0)
    assert life((0, Started()), (0, REFUSED), policy=eager).health == "unreachable"
    assert life((0, Started()), (0, REFUSED), (1, REFUSED), policy=eager).health == "unhealthy"


# What each state means -----------------------------------------------------------------------


def test_a_healthy_server_that_gives_no_answer_is_unreachable_until_it_is_too_often() -> None:
    states = [up(*[(2, REFUSED)] * count).health for count in range(5)]
    assert states == ["healthy", "unreachable", "unreachable", "unhealthy", "unhealthy"]


def test_a_healthy_server_that_answers_badly_stays_healthy_until_it_is_too_often() -> None:
    states = [up(*[(2, BROKEN)] * count).health for count in range(5)]
    assert states == ["healthy", "healthy", "healthy", "unhealthy", "unhealthy"]


def test_a_detail_says_what_was_wrong_and_how_often() -> None:
    assert up((2, BROKEN)).detail == "HTTP 500 (1 of 3 failures that make it unhealthy)"
    assert up(*[(2, BROKEN)] * 4).detail == "HTTP 500 (4 failures in a row)"


def test_an_end_inside_the_start_period_is_an_end_at_once() -> None:
    vitals = life((0, Started()), (1, LOADING), (2, Ended("exit code 1")))
    assert vitals == Vitals("unknown", "exit code 1", since=2)


def test_answers_after_the_end_are_somebody_elses() -> None:
    gone = up((2, Ended("killed by SIGKILL")))
    for late in (OK, FULL, LOADING, BROKEN, REFUSED, COMPUTING):
        assert next_vitals(gone, late, POLICY, 3) == gone


@pytest.mark.parametrize("late", [OK, REFUSED, Ended("killed by SIGTERM")])
def test_an_error_is_terminal_until_it_is_started_or_looked_after(late: Observation) -> None:
    failed = up((2, Failed("given up after 5 restarts within 10 minutes")))
    assert failed.health == "error"
    assert not failed.ready
    assert next_vitals(failed, late, POLICY, 3) == failed
    assert next_vitals(failed, Started(), POLICY, 3).health == "loading"
    assert next_vitals(failed, Stopped(), POLICY, 3).health == "unknown"


def test_a_start_forgets_the_process_before_it() -> None:
    again = up((2, SILENT), (3, SILENT), (4, Ended("exit code 1")), (5, Started()))
    assert again == Vitals("loading", "started", since=5, started_at=5)


def test_since_is_when_it_became_what_it_is() -> None:
    assert up((10, OK), (20, OK)).since == 1
    assert up((10, FULL), (20, FULL)).since == 10


# A server that computes is alive -------------------------------------------------------------


def test_silence_while_it_computes_is_busy_and_never_unhealthy() -> None:
    vitals = up(*((second, COMPUTING) for second in range(2, 4000)))
    assert (vitals.health, vitals.failures) == ("busy", 0)
    assert vitals.detail == "computing: no answer within 5 s"
    assert vitals.ready


def test_computing_breaks_a_row_of_failures() -> None:
    vitals = up((2, SILENT), (3, SILENT), (4, COMPUTING), (5, SILENT), (6, SILENT))
    assert (vitals.health, vitals.failures) == ("unreachable", 2)


def test_whoever_refuses_is_not_busy_whatever_it_computes() -> None:
    refusing = NoAnswer("connection refused", cpu_moved=True, refused=True)
    assert up(*[(2, refusing)] * 3).health == "unhealthy"


@pytest.mark.parametrize(
    "progress",
    [
        NoAnswer("connection refused", cpu_moved=True, refused=True),
        COMPUTING,
        Answered(Health("loading", "loading model"), 0.01, cpu_moved=True),
    ],
)
def test_a_start_that_shows_progress_may_take_longer_than_its_period(
    progress: Observation,
) -> None:
    hours = life((0, Started()), *((10.0 * n, progress) for n in range(1, 2000)))
    assert (hours.health, hours.failures, hours.ready) == ("loading", 0, False)


# From what was asked to what was seen --------------------------------------------------------


def test_what_a_question_has_shown_keeps_its_words_and_its_time() -> None:
    ok = Health("healthy", "ok")
    assert observed(ok, 0.2, cpu_moved=True) == Answered(ok, 0.2, cpu_moved=True)
    silent = Health("unreachable", "no answer within 5 s", silent=True)
    assert observed(silent, 5.0, cpu_moved=True) == NoAnswer(silent.detail, True, False, 5.0)
    refused = Health("unreachable", "refused")
    assert observed(refused, 0.0, cpu_moved=False) == NoAnswer("refused", False, True, 0.0)
