"""What trials without an outcome could do to a verdict, and the words for it."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from pytest_llmeval.records import GateVerdict
from pytest_llmeval.statistics.tipping import Extreme, taken_back, trials_words

WITHOUT = "9 trials of 90 without an outcome"


def told(
    verdict: GateVerdict, wrong: Collection[int], right: Collection[int] | None = None
) -> tuple[GateVerdict, str]:
    """What is left of a verdict that 9 trials undo, if so many of them are wrong, or right."""
    extremes = [Extreme("wrong", lambda count: count in wrong)]
    if right is not None:
        extremes.append(Extreme("right", lambda count: count in right))
    return taken_back(verdict, WITHOUT, 9, extremes)


def test_nothing_missing_adds_nothing() -> None:
    assert taken_back("pass", "", 0, []) == ("pass", "")


def test_where_nothing_was_decided_the_missing_are_named() -> None:
    assert told("inconclusive", range(10)) == ("inconclusive", f" ({WITHOUT})")


def test_a_verdict_that_nothing_undoes_stands() -> None:
    assert told("fail", (), ()) == ("fail", f" (even with {WITHOUT} all wrong)")


@pytest.mark.parametrize("first", range(1, 10))
def test_the_fewest_that_speak_against_a_verdict_undo_it(first: int) -> None:
    words = f", but {WITHOUT}: {first} of them wrong would undo the pass"
    assert told("pass", range(first, 10), range(10)) == ("inconclusive", words)


@pytest.mark.parametrize("undoing", [range(1, 2), range(2, 4), range(1, 10), range(9, 10)])
def test_where_those_do_not_the_fewest_that_speak_for_it_may(undoing: range) -> None:
    words = f", but {WITHOUT}: {undoing[0]} of them right would undo the fail"
    assert told("fail", (), undoing) == ("inconclusive", words)


def test_a_bound_that_follows_the_values_is_not_asked_of_the_other_extreme() -> None:
    assert told("pass", ()) == ("pass", f" (even with {WITHOUT} all wrong)")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("pass", "the pass"), ("fail", "the fail"), ("no_change", "the no change")],
)
def test_a_verdict_that_is_taken_back_is_named(verdict: GateVerdict, words: str) -> None:
    assert told(verdict, range(1, 10))[1].endswith(f"1 of them wrong would undo {words}")


def test_trials_are_counted_in_words() -> None:
    assert [trials_words(count) for count in (1, 2, 1200)] == [
        "1 trial",
        "2 trials",
        "1,200 trials",
    ]
