"""Holm, Benjamini-Hochberg and Benjamini-Yekutieli."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from pytest_llmeval.statistics import benjamini_hochberg, benjamini_yekutieli, holm

P = st.floats(0, 1)
UNDEFINED = st.none() | st.just(math.nan)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.6, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


def test_benjamini_hochberg() -> None:
    # The 15 p-values of Benjamini & Hochberg 1995: four are below 5 %, of nine unadjusted.
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p_values += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    adjusted = benjamini_hochberg(p_values)
    assert sum(p is not None and p < 0.05 for p in adjusted) == 4
    assert adjusted[:5] == pytest.approx([0.0015, 0.003, 0.0095, 0.035625, 0.0603])
    assert benjamini_hochberg([]) == ()


def test_benjamini_yekutieli_costs_the_harmonic_sum() -> None:
    # m = 3: (1 + 1/2 + 1/3) times 0.03, 0.04 and 0.04.
    assert benjamini_yekutieli([0.01, 0.04, 0.03]) == pytest.approx([0.055, 0.22 / 3, 0.22 / 3])
    assert benjamini_yekutieli([0.4, 0.9]) == (1.0, 1.0)
    assert benjamini_yekutieli([0.02]) == (0.02,)
    assert benjamini_yekutieli([]) == ()


@pytest.mark.parametrize(
    ("correct", "theirs"),
    [(holm, "holm"), (benjamini_hochberg, "fdr_bh"), (benjamini_yekutieli, "fdr_by")],
)
@given(st.lists(P, min_size=1, max_size=12))
def test_corrections_are_statsmodels(correct, theirs: str, p_values: list[float]) -> None:  # type: ignore[no-untyped-def]  # as below
    expected = multipletests(p_values, method=theirs)[1]
    assert correct(p_values) == pytest.approx(list(expected), abs=1e-12)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg, benjamini_yekutieli])
@given(st.lists(P | UNDEFINED, max_size=12))
def test_undefined_p_values_stay_and_do_not_count(correct, p_values) -> None:  # type: ignore[no-untyped-def]  # hypothesis and parametrize
    adjusted = correct(p_values)
    defined = [p for p in p_values if p is not None and not math.isnan(p)]
    assert [p for p in adjusted if p is not None] == list(correct(defined))
    assert [p is None for p in adjusted] == [p is None or math.isnan(p) for p in p_values]


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg, benjamini_yekutieli])
@given(st.lists(P, min_size=1, max_size=12), st.randoms())
def test_the_order_does_not_matter_and_no_p_falls(correct, p_values, rng: random.Random) -> None:  # type: ignore[no-untyped-def]  # as above
    adjusted = correct(p_values)
    order = rng.sample(range(len(p_values)), len(p_values))
    assert [adjusted[i] for i in order] == list(correct([p_values[i] for i in order]))
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    ranked = sorted(zip(p_values, adjusted, strict=True))
    assert [q for _, q in ranked] == sorted(q for _, q in ranked)


@given(st.lists(P, max_size=12))
def test_holm_is_never_bolder_than_bh(p_values: list[float]) -> None:
    pairs = zip(holm(p_values), benjamini_hochberg(p_values), strict=True)
    assert all(h is not None and b is not None and h >= b - 1e-12 for h, b in pairs)


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_what_is_no_probability_is_refused(p: float) -> None:
    for correct in (holm, benjamini_hochberg, benjamini_yekutieli):
        with pytest.raises(ValueError, match="p-value lies between 0 and 1"):
            correct([0.5, p])
