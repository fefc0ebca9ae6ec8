"""All pairs of conditions on the same items."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_llmeval.records import Comparison
from pytest_llmeval.statistics import (
    compare_all,
    fixed_set_difference,
    holm,
    items_for_paired_binary,
    mcnemar_midp,
    sign_flip_test,
    tango_interval,
)


def scores(text: str) -> dict[str, float]:
    """One character an item: 1 and 0 are scores, other digits tenths, - is not answered."""
    values = {"1": 1.0, **{str(k): k / 10 for k in (0, 2, 3, 4, 5, 6, 7, 8, 9)}}
    return {f"item-{n:03}": values[mark] for n, mark in enumerate(text) if mark != "-"}


def compared(
    binary: bool = True, **conditions: str | Mapping[str, float]
) -> tuple[Comparison, ...]:
    by_condition = {
        name: scores(each) if isinstance(each, str) else each for name, each in conditions.items()
    }
    named = by_condition if binary else ()
    return compare_all("sums", "numeric", by_condition, binary=named, seed=7)


def test_a_binary_pair_is_mcnemar_and_tango_on_the_common_items() -> None:
    (pair,) = compared(a="1111111100--", b="1000000110-1")
    assert (pair.suite, pair.scorer, pair.first, pair.second) == ("sums", "numeric", "a", "b")
    assert (pair.items, pair.dropped) == (10, 1)
    assert (pair.only_first, pair.only_second) == (6, 1)
    assert pair.difference == 0.5
    assert pair.interval == tango_interval(6, 1, 10)
    assert (pair.test, pair.correction, pair.family) == ("mcnemar mid-p", "holm", 1)
    assert pair.p == pair.p_adjusted == mcnemar_midp(6, 1)
    assert not pair.real
    assert pair.items_needed == items_for_paired_binary(0.7, 0.5)


def test_pairs_are_made_by_item_id_and_never_by_row() -> None:
    first = {"x": 1.0, "y": 0.0, "z": 1.0}
    second = {"z": 1.0, "y": 0.0, "x": 1.0}
    (pair,) = compared(a=first, b=second)
    assert (pair.only_first, pair.only_second, pair.difference) == (0, 0, 0.0)
    assert (pair.p, pair.items_needed) == (1.0, None)


def test_a_real_difference_needs_no_more_items() -> None:
    (pair,) = compared(a="1" * 40, b="1" * 20 + "0" * 20)
    assert pair.real
    assert pair.items_needed is None


def test_all_pairs_are_one_family_and_holm_corrects_for_it() -> None:
    pairs = compared(a="1" * 30, b="1" * 20 + "0" * 10, c="1" * 24 + "0" * 6, d="1" * 29 + "0")
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("a", "b"),
        ("a", "c"),
        ("a", "d"),
        ("b", "c"),
        ("b", "d"),
        ("c", "d"),
    ]
    assert {pair.family for pair in pairs} == {6}
    assert tuple(pair.p_adjusted for pair in pairs) == holm([pair.p for pair in pairs])


def test_benjamini_hochberg_may_be_asked_for() -> None:
    by_condition = {"a": scores("1111"), "b": scores("1000"), "c": scores("0000")}
    pairs = compare_all(
        "sums", "numeric", by_condition, binary=by_condition, correction="benjamini-hochberg"
    )
    assert {pair.correction for pair in pairs} == {"benjamini-hochberg"}


def test_a_pair_without_common_items_has_no_p_and_is_not_in_the_family() -> None:
    pairs = compared(a="1100----", b="1010----", c="----1100")
    undefined = [pair for pair in pairs if pair.p is None]
    assert [(pair.first, pair.second) for pair in undefined] == [("a", "c"), ("b", "c")]
    for pair in undefined:
        assert (pair.items, pair.dropped, pair.difference) == (0, 8, None)
        assert (pair.interval.low, pair.interval.high) == (None, None)
        assert (pair.p_adjusted, pair.real, pair.items_needed) == (None, False, None)
    assert {pair.family for pair in pairs} == {1}


def test_a_graded_pair_without_common_items_has_no_p() -> None:
    (pair,) = compared(binary=False, a="52--", b="--52")
    assert (pair.p, pair.difference, pair.interval.low) == (None, None, None)


def test_a_graded_pair_is_the_sign_flip_test_with_the_paired_t_interval() -> None:
    (pair,) = compared(binary=False, a="15587296", b="04585252")
    assert (pair.test, pair.interval.method) == ("sign-flip", "paired t")
    differences = [1.0, 0.1, 0.0, 0.0, 0.2, 0.0, 0.4, 0.4]
    assert pair.difference == pytest.approx(sum(differences) / 8)
    assert pair.p == sign_flip_test(differences) == 2 / 32
    assert (pair.only_first, pair.only_second) == (None, None)


def test_a_constant_difference_is_no_certainty() -> None:
    """A t test gives p = 0 here, and its interval has no width."""
    (pair,) = compared(binary=False, a="999", b="888")
    assert pair.difference == pytest.approx(0.1)
    assert pair.p == 0.25
    assert pair.interval.method == "scaled wilson"
    assert pair.interval.low is not None
    assert pair.interval.high is not None
    assert -1 < pair.interval.low < 0
    assert 0.1 < pair.interval.high < 1
    assert pair.items_needed is not None


def test_differences_that_only_rounding_keeps_apart_are_one() -> None:
    """Thirds of repeats: 2/3 - 1/3, 1/3 - 0 and 1 - 2/3 are three different numbers."""
    first = {f"item-{n}": value for n, value in enumerate([2 / 3, 1 / 3, 1.0] * 10)}
    second = {f"item-{n}": value for n, value in enumerate([1 / 3, 0.0, 2 / 3] * 10)}
    assert len({first[item] - second[item] for item in first}) > 1
    (pair,) = compared(binary=False, a=first, b=second)
    assert pair.interval.method == "scaled wilson"
    assert pair.interval.low is not None
    assert pair.interval.high is not None
    assert pair.interval.high - pair.interval.low > 0.1
    assert pair.p == 2 / 2**30


def test_each_pair_has_the_test_that_its_own_two_conditions_allow() -> None:
    conditions = {"a": "1" * 30, "b": "1" * 20 + "0" * 10, "c": "9" * 10 + "1" * 12 + "0" * 8}
    by_condition = {name: scores(each) for name, each in conditions.items()}
    pairs = compare_all("sums", "numeric", by_condition, binary={"a", "b"}, seed=7)
    assert [(pair.first, pair.second, pair.test) for pair in pairs] == [
        ("a", "b", "mcnemar mid-p"),
        ("a", "c", "sign-flip"),
        ("b", "c", "sign-flip"),
    ]
    (alone,) = compared(a=conditions["a"], b=conditions["b"])
    assert (pairs[0].p, pairs[0].interval) == (alone.p, alone.interval)
    assert {pair.family for pair in pairs} == {3}
    assert tuple(pair.p_adjusted for pair in pairs) == holm([pair.p for pair in pairs])


def test_more_items_are_needed_than_those_that_have_not_shown_it() -> None:
    (pair,) = compared(a="1111", b="0000")
    assert not pair.real
    assert pair.items_needed == 5


def test_one_graded_item_has_no_interval() -> None:
    (pair,) = compared(binary=False, a="9", b="8")
    assert (pair.p, pair.interval.low, pair.interval.high) == (1.0, None, None)


def test_when_only_the_correction_stands_between_more_items_than_there_are_are_needed() -> None:
    conditions = {f"c{k}": "1" * (40 - k) + "0" * k for k in range(12)}
    by_condition = {name: scores(each) for name, each in conditions.items()}
    for pair in compare_all("sums", "numeric", by_condition, binary=by_condition):
        if not pair.real and pair.difference:
            assert pair.items_needed is not None
            assert pair.items_needed > pair.items


@pytest.mark.parametrize(
    ("binary", "score", "words"),
    [
        (True, 0.5, "item item-000 under b: 0.5 is not 0 or 1"),
        (False, 1.5, "1.5 is not between 0 and 1"),
        (False, float("nan"), "nan is not between 0 and 1"),
    ],
)
def test_a_score_that_cannot_be_is_refused(binary: bool, score: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compared(binary, a="1", b={"item-000": score})


def shuffled(by_condition: Mapping[str, Mapping[str, float]], rng: random.Random) -> dict[str, Any]:
    names = rng.sample(sorted(by_condition), len(by_condition))
    return {
        name: dict(rng.sample(sorted(by_condition[name].items()), len(by_condition[name])))
        for name in names
    }


@pytest.mark.parametrize("binary", [True, False])
@settings(max_examples=15)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_the_result_is_the_same_to_the_byte_for_any_order(
    binary: bool, seed: int, rng: random.Random
) -> None:
    draw = random.Random(seed)
    by_condition = {
        name: {
            f"item-{n}": float(draw.random() < 0.6) if binary else round(draw.random(), 3)
            for n in range(25)
            if draw.random() < 0.9
        }
        for name in ("b", "a", "c")
    }
    named = by_condition if binary else ()
    results = {
        repr(compare_all("s", "x", shuffled(by_condition, rng), binary=named, seed=3))
        for _ in range(3)
    }
    assert len(results) == 1


@given(st.integers(0, 10**6))
def test_renaming_the_sides_mirrors_the_comparison(seed: int) -> None:
    draw = random.Random(seed)
    one = {f"item-{n}": float(draw.random() < 0.7) for n in range(20)}
    other = {f"item-{n}": float(draw.random() < 0.5) for n in range(20)}
    (pair,), (mirrored,) = compared(a=one, b=other), compared(a=other, b=one)
    assert (pair.p, pair.items_needed) == (mirrored.p, mirrored.items_needed)
    assert pair.difference == -(mirrored.difference or 0.0)
    assert (pair.only_first, pair.only_second) == (mirrored.only_second, mirrored.only_first)
    assert pair.interval.low == pytest.approx(-(mirrored.interval.high or 0.0))


def test_the_same_model_four_times_is_seldom_called_different() -> None:
    """Holm holds the chance of one or more false alarms among six pairs at 5 %."""
    draw = random.Random(31)
    alarms = 0
    for _ in range(300):
        difficulty = [draw.random() for _ in range(60)]
        by_condition = {
            name: {f"i{n}": float(draw.random() < p) for n, p in enumerate(difficulty)}
            for name in "abcd"
        }
        alarms += any(pair.real for pair in compare_all("s", "x", by_condition, binary="abcd"))
    assert alarms / 300 < 0.07


def test_a_summary_loads_neither_scipy_stats_nor_pandas() -> None:
    """They cost more than a second, and all summaries but the largest take less."""
    code = (
        "import sys\n"
        "from pytest_llmeval.records import Score\n"
        "from pytest_llmeval.statistics import at_least, compare_all, measure\n"
        "compare_all('s', 'x', {'a': {'i': 1.0}, 'b': {'i': 0.0}}, binary='ab')\n"
        "scores = [('i', 1, Score('x', 'right', 1.0))]\n"
        "metric = measure('s', 'a', 'x', headline=True, planned=1, scores=scores)\n"
        "at_least(metric, 0.5, scores)\n"
        "print([name for name in ('scipy.stats', 'pandas') if name in sys.modules])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, encoding="utf-8"
    )
    assert run.stdout.strip() == "[]"


def test_a_pair_of_right_and_wrong_tells_exact_p_odds_and_cohens_h() -> None:
    """6 against 2 of 20: 2 P(X <= 2) of Binomial(8, 1/2), and the odds of exact bounds of 6/8."""
    one = {f"i{n:02}": float(n < 14) for n in range(20)}
    other = {f"i{n:02}": float(n >= 6 and n < 16) for n in range(20)}
    (pair,) = compare_all("s", "x", {"a": one, "b": other}, binary="ab")
    assert (pair.only_first, pair.only_second) == (6, 2)
    assert pair.p_exact == pytest.approx(0.2890625)
    assert pair.effect.odds_ratio == 3.0
    assert pair.effect.odds_ratio_interval is not None
    assert pair.effect.odds_ratio_interval.low == pytest.approx(0.5363, abs=1e-3)
    assert pair.effect.cohen_h == pytest.approx(2 * (math.asin(0.7**0.5) - math.asin(0.5**0.5)))
    assert (pair.effect.d_z, pair.fixed_set) == (None, None)


def test_a_pair_of_graded_scores_tells_d_z() -> None:
    one, other = {"i": 0.9, "j": 0.5, "k": 0.6}, {"i": 0.5, "j": 0.4, "k": 0.5}
    (pair,) = compare_all("s", "x", {"a": one, "b": other}, binary=())
    assert pair.effect.d_z == pytest.approx(0.2 / 0.03**0.5)
    assert (pair.effect.odds_ratio, pair.p_exact) == (None, None)


def test_repeats_on_both_sides_add_the_interval_for_this_fixed_set() -> None:
    """The items differ a lot and their repeats little: these items are known much better."""
    repeats = {
        "a": {
            f"i{n}": [1.0, 1.0, 1.0, float(n % 5 > 0)] if n % 2 else [0.0] * 4 for n in range(40)
        },
        "b": {f"i{n}": [1.0, 0.0, 1.0, 1.0] if n % 2 else [0.0] * 4 for n in range(40)},
    }
    means = {
        side: {item: math.fsum(values) / 4 for item, values in its.items()}
        for side, its in repeats.items()
    }
    (pair,) = compare_all("s", "x", means, binary=(), repeats=repeats)
    assert (
        pair.fixed_set
        == fixed_set_difference(
            [repeats["a"][item] for item in sorted(means["a"])],
            [repeats["b"][item] for item in sorted(means["b"])],
        ).interval
    )
    (alone,) = compare_all("s", "x", means, binary=(), repeats={"a": repeats["a"]})
    assert alone.fixed_set is None
