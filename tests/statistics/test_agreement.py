"""Agreement: published tables, statsmodels, missing ratings, judges that never vary."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import (
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    position_consistency,
    wilson,
)

Scale = Literal["nominal", "ordinal", "interval"]

LABELS = st.integers(1, 4)
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30)
RATINGS = st.lists(st.tuples(*[st.none() | LABELS] * 3), max_size=15)


def sides(pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


# Cohen --------------------------------------------------------------------------------------------


def test_cohens_kappa_by_hand() -> None:
    """20 times both yes, 15 both no, 5 and 10 mixed: agreement 0.7, by chance 0.5."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
@given(PAIRS)
def test_cohens_kappa_is_statsmodels(weights: str | None, pairs: list[tuple[int, int]]) -> None:
    table = np.zeros((4, 4))
    for a, b in pairs:
        table[a - 1, b - 1] += 1
    kappa = cohen_kappa(*sides(pairs), weights)  # type: ignore[arg-type]  # of parametrize
    if kappa is None:
        assert len({label for pair in pairs for label in pair}) == 1
    else:
        theirs = inter_rater.cohens_kappa(table, wt=weights, return_results=False)
        assert kappa == pytest.approx(float(theirs), abs=1e-9)


def test_weights_measure_by_the_numbers_themselves() -> None:
    """An unused grade between two others does not bring them nearer."""
    first, second = [1, 1, 3, 3, 10, 10], [1, 3, 3, 10, 10, 1]
    distances = [0, 4, 0, 49, 0, 81]
    expected = sum((a - b) ** 2 for a in first for b in second) / 36
    assert cohen_kappa(first, second, "quadratic") == pytest.approx(
        1 - sum(distances) / 6 / expected
    )


def test_judges_that_always_say_the_same_show_no_agreement() -> None:
    assert cohen_kappa(["good"] * 9, ["good"] * 9) is None
    assert cohen_kappa([], []) is None
    assert cohen_kappa(["good"] * 4, ["good", "bad", "good", "good"]) == pytest.approx(0.0)


def test_items_that_one_did_not_rate_are_left_out() -> None:
    first, second = [1, 2, None, 1, 2], [1, 2, 1, None, 1]
    assert cohen_kappa(first, second) == cohen_kappa([1, 2, 2], [1, 2, 1])


def test_bad_ratings_are_told() -> None:
    with pytest.raises(ValueError, match="same items, got 1 and 2 ratings"):
        cohen_kappa(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="got 'good'; use no weights and the nominal scale"):
        cohen_kappa(["good", "bad"], ["good", "good"], "linear")
    with pytest.raises(ValueError, match="finite numbers, got inf"):
        krippendorff_alpha([[1.0, math.inf]], "interval")
    nan = [[1.0, math.nan], [1.0, 2.0]]
    for call in (fleiss_kappa, krippendorff_alpha, lambda rows: cohen_kappa(*rows)):
        with pytest.raises(ValueError, match="a rating is NaN; mark what is missing by None"):
            call(nan)


# Fleiss -------------------------------------------------------------------------------------------

#: How many of 14 raters gave each of 5 labels to 10 items.
COUNTS = """
0 0 0 0 14, 0 2 6 4 2, 0 0 3 5 6, 0 3 9 2 0, 2 2 8 1 1,
7 7 0 0 0, 3 2 6 3 0, 2 5 3 2 2, 6 5 2 1 0, 0 2 2 3 7
"""


def test_fleiss_kappa_of_the_well_known_example() -> None:
    """The worked example of the Wikipedia article on Fleiss' kappa."""
    rows = [[int(count) for count in row.split()] for row in COUNTS.split(",")]
    ratings = [[label for label, count in enumerate(row) for _ in range(count)] for row in rows]
    assert {len(row) for row in ratings} == {14}
    assert fleiss_kappa(ratings) == pytest.approx(0.210, abs=5e-4)


@given(st.lists(st.tuples(*[LABELS] * 4), min_size=1, max_size=20))
def test_fleiss_kappa_is_statsmodels(ratings: list[tuple[int, ...]]) -> None:
    kappa = fleiss_kappa(ratings)
    if kappa is None:
        assert len(set(itertools.chain(*ratings))) == 1
    else:
        table, _ = inter_rater.aggregate_raters(np.array(ratings))
        assert kappa == pytest.approx(float(inter_rater.fleiss_kappa(table)), abs=1e-9)


def test_no_ratings_and_equal_ratings_have_no_kappa() -> None:
    assert fleiss_kappa([]) is None
    assert fleiss_kappa([["good", "good"]] * 5) is None


@pytest.mark.parametrize(
    "ratings", [[["a", "b"], ["a"]], [["a"], ["b"]], [["a", None], ["a", "b"]], [[]]]
)
def test_fleiss_needs_equally_many_ratings(ratings: list[list[str | None]]) -> None:
    with pytest.raises(ValueError, match="where some are missing, use krippendorff_alpha"):
        fleiss_kappa(ratings)


# Krippendorff -------------------------------------------------------------------------------------


def published() -> list[list[int | None]]:
    """Four observers, twelve units: Krippendorff 2011, example C."""
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    return [list(unit) for unit in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorffs_published_alphas(scale: Scale, alpha: float) -> None:
    assert krippendorff_alpha(published(), scale) == pytest.approx(alpha, abs=5e-4)


def slow_alpha(ratings: list[tuple[int | None, ...]], scale: Scale) -> float | None:
    """By the coincidence matrix, as Krippendorff writes it."""
    units = [[r for r in row if r is not None] for row in ratings]
    units = [unit for unit in units if len(unit) > 1]
    labels = sorted({label for unit in units for label in unit})
    found = {(a, b): 0.0 for a in labels for b in labels}
    for unit in units:
        for i, j in itertools.permutations(range(len(unit)), 2):
            found[unit[i], unit[j]] += 1 / (len(unit) - 1)
    n = {a: sum(found[a, b] for b in labels) for a in labels}
    total = sum(n.values())

    def delta(a: int, b: int) -> float:
        if scale == "nominal":
            return float(a != b)
        if scale == "interval":
            return float((a - b) ** 2)
        low, high = min(a, b), max(a, b)
        return (sum(n[g] for g in labels if low <= g <= high) - (n[a] + n[b]) / 2) ** 2

    expected = sum(n[a] * n[b] * delta(a, b) for a in labels for b in labels if a != b)
    observed = sum(found[a, b] * delta(a, b) for a in labels for b in labels)
    return 1 - (total - 1) * observed / expected if expected else None


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
@given(RATINGS, st.randoms())
def test_alpha_is_the_coincidence_matrix_written_out(
    scale: Scale, ratings: list[tuple[int | None, ...]], rng: random.Random
) -> None:
    alpha = krippendorff_alpha(ratings, scale)
    assert alpha == pytest.approx(slow_alpha(ratings, scale), abs=1e-9)
    moved = [rng.sample(row, len(row)) for row in rng.sample(ratings, len(ratings))]
    assert krippendorff_alpha(moved, scale) == alpha


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
def test_alpha_without_variation_or_pairs_is_undefined(scale: Scale) -> None:
    assert krippendorff_alpha([], scale) is None
    assert krippendorff_alpha([[1, None], [None, 2]], scale) is None
    assert krippendorff_alpha([[0.1, 0.1, 0.1], [0.1, 0.1, None]], scale) is None


def test_an_interval_scale_of_many_values_is_quick() -> None:
    rng = random.Random(2)
    ratings = [[truth + rng.gauss(0, 1), truth + rng.gauss(0, 1)] for truth in range(20_000)]
    alpha = krippendorff_alpha(ratings, "interval")
    assert alpha == pytest.approx(1.0, abs=1e-6)


# Position -----------------------------------------------------------------------------------------


def test_the_share_of_verdicts_that_stay_when_the_order_is_swapped() -> None:
    verdicts = ["a", "a", "tie", "b", None, "a", "b"]
    swapped = ["a", "b", "tie", "b", "a", None, "tie"]
    found = position_consistency(verdicts, swapped, 0.9)
    assert (found.consistent, found.pairs, found.missing) == (3, 5, 2)
    assert found.share == 0.6
    assert found.interval == wilson(3, 5, 0.9)


def test_no_pair_judged_twice_has_no_consistency() -> None:
    found = position_consistency(["a", None], [None, "a"])
    assert (found.share, found.pairs, found.missing) == (None, 0, 2)
    assert found.interval == Interval(None, None, "wilson")
    with pytest.raises(ValueError, match="same items, got 0 and 1"):
        position_consistency([], ["a"])
