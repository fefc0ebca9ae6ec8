"""Scores are worse when a paired test says so, and not when they merely flicker."""

from __future__ import annotations

import random

import pytest

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics.decline import Decline, decline
from pytest_llmeval.statistics.paired import (
    mcnemar_midp,
    paired_t_interval,
    sign_flip_test,
    tango_interval,
)


def counted(won: int, lost: int, same: int, margin: float = 0.0) -> Decline:
    """Items that were won, lost, or stayed right."""
    then = [0.0] * won + [1.0] * (lost + same)
    now = [1.0] * won + [0.0] * lost + [1.0] * same
    return decline(dict(enumerate_ids(then)), dict(enumerate_ids(now)), margin)


def enumerate_ids(scores: list[float]) -> list[tuple[str, float]]:
    return [(f"i{n}", score) for n, score in enumerate(scores)]


def test_right_and_wrong_are_judged_by_tango_and_mcnemars_mid_p() -> None:
    found = counted(won=2, lost=9, same=29)
    assert found.items == 40
    assert found.difference == pytest.approx(-7 / 40)
    assert found.interval == tango_interval(2, 9, 40, 0.9)
    assert (found.test, found.p) == ("mcnemar mid-p", mcnemar_midp(2, 9) / 2)
    assert found.is_worse


def test_graded_scores_are_judged_by_paired_t_and_sign_flips() -> None:
    then = {f"i{n}": 0.5 + n / 100 for n in range(12)}
    now = {item: score - 0.1 + n / 40 for n, (item, score) in enumerate(then.items())}
    found = decline(then, now)
    differences = [now[item] - then[item] for item in sorted(then)]
    assert found.interval == paired_t_interval(differences, 0.9)
    two_sided = sign_flip_test(differences)
    assert two_sided is not None
    assert (found.test, found.p) == ("sign-flip", 1 - two_sided / 2)
    assert not found.is_worse


@pytest.mark.parametrize(
    ("lost", "worse"), [(1, False), (2, False), (3, False), (4, True), (9, True)]
)
def test_of_items_that_are_all_lost_it_takes_four(lost: int, worse: bool) -> None:
    """Mid-p, one-sided, of n lost and none won is (1/2) ** (n + 1): 0.0625 for 3, 0.031 for 4."""
    found = counted(won=0, lost=lost, same=0)
    assert found.p == pytest.approx(0.5 ** (lost + 1))
    assert found.is_worse is worse


def test_better_is_never_worse_and_its_p_is_large() -> None:
    found = counted(won=9, lost=0, same=0)
    assert not found.is_worse
    assert found.p == pytest.approx(1 - 0.5**10)


def test_no_change_is_not_worse() -> None:
    found = counted(won=0, lost=0, same=5)
    assert (found.difference, found.p, found.is_worse) == (0.0, 0.5, False)


def test_a_margin_tolerates_what_is_smaller_though_it_is_real() -> None:
    assert counted(won=0, lost=12, same=288).is_worse
    assert not counted(won=0, lost=12, same=288, margin=0.05).is_worse
    assert counted(won=0, lost=30, same=270, margin=0.05).is_worse


def test_a_decline_that_just_reaches_the_margin_is_not_tolerated() -> None:
    assert counted(won=0, lost=15, same=285, margin=0.05).is_worse
    assert not counted(won=0, lost=14, same=286, margin=0.05).is_worse


def test_differences_that_are_all_the_same_have_an_interval_all_the_same() -> None:
    found = decline(dict.fromkeys("abcdefgh", 0.9), dict.fromkeys("abcdefgh", 0.5))
    assert found.interval.method == "scaled wilson"
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert found.interval.low < -0.4 < found.interval.high
    assert found.p == pytest.approx(1 / 2**8)
    assert found.is_worse


def test_one_graded_item_has_no_interval_and_is_not_worse() -> None:
    found = decline({"a": 0.9}, {"a": 0.1})
    assert found.interval == Interval(None, None, "paired t", 0.9)
    assert (found.p, found.is_worse) == (0.5, False)


def test_without_items_there_is_no_difference() -> None:
    found = decline({"a": 1.0}, {"b": 1.0})
    assert (found.items, found.difference, found.p, found.is_worse) == (0, None, None, False)
    assert found.interval == Interval(None, None, "", 0.9)


def test_items_of_one_side_only_count_nowhere() -> None:
    assert decline({"a": 1.0, "b": 1.0}, {"b": 1.0, "c": 0.0}).items == 1


def test_the_order_of_the_items_makes_no_difference() -> None:
    then = {f"i{n}": n / 40 for n in range(40)}
    now = {item: score * 0.9 for item, score in then.items()}
    mixed = list(now.items())
    random.Random(1).shuffle(mixed)
    assert decline(then, dict(mixed)) == decline(dict(reversed(then.items())), now)


@pytest.mark.parametrize("margin", [-0.01, 1.0, 3.0, float("nan")])
def test_what_is_no_margin_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="a margin is a share from 0 to below 1"):
        decline({"a": 1.0}, {"a": 1.0}, margin)


def test_equal_models_are_called_worse_at_most_as_often_as_five_percent_allow() -> None:
    """2,000 pairs of runs of one model at 80 %, 60 items: 5 % and three standard errors."""
    draw = random.Random(11)
    runs = 2000
    worse = 0
    for _ in range(runs):
        then, now = ({f"i{n}": float(draw.random() < 0.8) for n in range(60)} for _ in range(2))
        worse += decline(then, now).is_worse
    assert worse / runs < 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert worse / runs > 0.02  # and the test is not asleep
