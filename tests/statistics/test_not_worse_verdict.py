"""The verdict of "not worse by a margin"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.statistics import not_worse_verdict, tango_interval


@pytest.mark.parametrize(
    ("now", "before", "n", "margin", "verdict"),
    [
        (0, 0, 200, 0.03, "no_change"),
        (0, 0, 3, 0.03, "no_change"),
        (0, 0, 0, 0.03, "inconclusive"),
        (10, 8, 400, 0.03, "pass"),
        (8, 10, 400, 0.03, "pass"),
        (2, 4, 30, 0.03, "inconclusive"),
        (2, 30, 200, 0.03, "fail"),
        (20, 10, 50, 0.01, "pass"),
    ],
)
def test_verdicts(now: int, before: int, n: int, margin: float, verdict: str) -> None:
    assert not_worse_verdict(now, before, n, margin) == verdict


def test_a_clear_loss_fails_although_its_interval_reaches_the_margin() -> None:
    """2 won, 9 lost of 100: d = -0.07, U = -0.017, one-sided mid-p 0.019."""
    interval = tango_interval(2, 9, 100, level=0.9)
    assert interval.high is not None
    assert interval.high > -0.03
    assert not_worse_verdict(2, 9, 100, 0.03) == "fail"


def test_a_loss_smaller_than_the_margin_does_not_fail_however_clear_it_is() -> None:
    assert not_worse_verdict(0, 20, 1000, 0.03) == "pass"
    assert not_worse_verdict(5, 30, 1000, 0.03) == "inconclusive"


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60))
def test_one_item_more_that_is_right_now_never_makes_it_worse(b: int, c: int, same: int) -> None:
    if b + c:
        rank = ("fail", "inconclusive", "pass")
        less = not_worse_verdict(b, c, b + c + same, 0.05)
        more = not_worse_verdict(b + 1, c, b + c + same, 0.05)
        assert rank.index(more) >= rank.index(less)


@pytest.mark.parametrize("margin", [0, -0.03, 1.5, 3, float("nan")])
def test_a_margin_outside_the_range_is_refused_in_words(margin: float) -> None:
    with pytest.raises(ValueError, match=r"above 0 and at most 1, as 0\.03 for 3 points; got"):
        not_worse_verdict(1, 2, 30, margin)
