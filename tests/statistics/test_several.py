"""Cochran's Q and Friedman's test against statsmodels and scipy, and where neither is defined."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import cochrans_q

from pytest_llmeval.statistics import Omnibus, cochran_q, friedman

Rows = list[list[float]]


def rows_of(score: st.SearchStrategy[float]) -> st.SearchStrategy[Rows]:
    return st.integers(3, 5).flatmap(
        lambda k: st.lists(st.lists(score, min_size=k, max_size=k), min_size=1, max_size=20)
    )


BINARY = rows_of(st.sampled_from([0.0, 1.0]))
GRADED = rows_of(st.sampled_from([0.0, 0.3, 0.5, 1.0]) | st.floats(0, 1))


def test_cochrans_q_of_two_conditions_is_mcnemars_chi_square() -> None:
    """Of b = 10 and c = 4: (b - c)^2 / (b + c)."""
    scores = [[1, 0]] * 10 + [[0, 1]] * 4 + [[1, 1]] * 7 + [[0, 0]] * 5
    found = cochran_q(scores)
    assert found.statistic == pytest.approx(36 / 14)
    assert found.p == pytest.approx(math.erfc(math.sqrt(36 / 14 / 2)))
    assert (found.degrees, found.items, found.dropped) == (1, 26, 0)


@given(BINARY)
def test_cochrans_q_is_statsmodels(scores: Rows) -> None:
    assume(any(len(set(row)) > 1 for row in scores))
    found, theirs = cochran_q(scores), cochrans_q(np.array(scores))
    assert found.statistic == pytest.approx(float(theirs.statistic), abs=1e-9)
    assert found.p == pytest.approx(float(theirs.pvalue), rel=1e-6)
    assert found.degrees == theirs.df


@given(GRADED)
def test_friedmans_statistic_is_scipys(scores: Rows) -> None:
    assume(any(len(set(row)) > 1 for row in scores))
    theirs = scipy.stats.friedmanchisquare(*np.array(scores).T)
    found = friedman(scores)
    assert found.statistic == pytest.approx(float(theirs.statistic), rel=1e-6, abs=1e-6)
    assert found.p == pytest.approx(float(theirs.pvalue), rel=1e-6, abs=1e-9)


@given(BINARY)
def test_friedman_of_right_and_wrong_is_cochrans_q(scores: Rows) -> None:
    assert friedman(scores).p == pytest.approx(cochran_q(scores).p)


@given(GRADED, st.randoms())
def test_the_order_of_items_and_conditions_does_not_matter(
    scores: Rows, rng: random.Random
) -> None:
    order = rng.sample(range(len(scores[0])), len(scores[0]))
    moved = [[row[place] for place in order] for row in rng.sample(scores, len(scores))]
    assert friedman(moved).p == pytest.approx(friedman(scores).p)


def test_items_that_lack_an_answer_are_dropped_and_counted() -> None:
    whole: list[list[float | None]] = [[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1]]
    for test in (cochran_q, friedman):
        found = test([*whole, [None, 1, 0], [1, None, None]])
        assert (found.items, found.dropped) == (4, 2)
        assert found.p == test(whole).p


@pytest.mark.parametrize(("test", "name"), [(cochran_q, "cochran q"), (friedman, "friedman")])
def test_where_no_item_tells_conditions_apart_nothing_is_defined(
    test: Callable[..., Omnibus], name: str
) -> None:
    """Both libraries give NaN here, and raise without items."""
    assert test([[1, 1, 1], [0, 0, 0]]) == Omnibus(name, None, 2, None, 2, 0)
    assert test([[1, None, 1]]) == Omnibus(name, None, 2, None, 0, 1)
    assert test([]) == Omnibus(name, None, 0, None, 0, 0)


def test_bad_input_is_told() -> None:
    with pytest.raises(ValueError, match=r"same two conditions or more, got rows of \[2, 3\]"):
        friedman([[1, 0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"two conditions or more, got rows of \[1\]"):
        cochran_q([[1], [0]])
    with pytest.raises(ValueError, match="scores that are 0 or 1; friedman takes graded ones"):
        cochran_q([[1, 0.5]])
    with pytest.raises(ValueError, match="finite numbers, got nan"):
        friedman([[1, math.nan]])
