"""Evidence that may be looked at after every item: formulas, edges, and what peeking costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from pytest_llmeval.records import Interval
from pytest_llmeval.statistics import (
    anytime_p,
    betting_interval,
    e_process,
    mcnemar_midp,
    robbins_interval,
    running_anytime_p,
)
from pytest_llmeval.statistics.sequential import log_e_process, log_robbins

COUNTS = st.integers(0, 400)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


# Two conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("b", "c"), [(1, 0), (3, 1), (10, 2), (25, 25), (60, 30)])
def test_the_e_process_is_the_mixture_of_all_bets(b: int, c: int) -> None:
    """By numerical integration of the likelihood ratio over Beta(1/2, 1/2)."""
    prior = stats.beta(0.5, 0.5)
    mixed, _ = integrate.quad(
        lambda q: math.exp(b * math.log(2 * q) + c * math.log(2 * (1 - q))) * prior.pdf(q),
        0,
        1,
        limit=500,
    )
    assert e_process(b, c) == pytest.approx(mixed, rel=1e-4)


@pytest.mark.parametrize(
    ("b", "c", "evidence"),
    # One after the other: bets at (1/2 + won) / (1 + all) on each side, paid double.
    [(0, 0, 1), (1, 0, 1), (2, 0, 2 * 1.5 / 2), (1, 1, 2 * 0.5 / 2), (3, 0, 1.5 * 2 * 2.5 / 3)],
)
def test_the_e_process_counts_bets_one_after_the_other(b: int, c: int, evidence: float) -> None:
    assert e_process(b, c) == pytest.approx(evidence)
    assert e_process(c, b) == e_process(b, c)


def test_more_evidence_than_a_float_holds_is_infinite_and_its_p_is_0() -> None:
    assert e_process(5000, 0) == math.inf
    assert anytime_p(5000, 0) == 0


def test_counts_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="counts cannot be negative, got -1 and 2"):
        e_process(-1, 2)


@given(COUNTS, COUNTS)
def test_the_e_process_is_a_fair_game(b: int, c: int) -> None:
    """What the next discordant item brings is, on average, what there is."""
    average = (e_process(b + 1, c) + e_process(b, c + 1)) / 2
    assert average == pytest.approx(e_process(b, c), rel=1e-9)


@given(COUNTS, COUNTS)
def test_its_p_is_a_probability_and_more_careful_than_that_of_a_fixed_number(
    b: int, c: int
) -> None:
    assert 0 <= anytime_p(b, c) <= 1
    assert anytime_p(b, c) >= mcnemar_midp(b, c) / 2


def test_the_running_p_never_rises() -> None:
    found = running_anytime_p([1, 1, 0, 1, 1, 1, 1, 1, -1, -1, -1])
    assert found[0] == 1
    assert found[7] == found[10] == anytime_p(7, 0)
    assert list(found) == sorted(found, reverse=True)
    assert running_anytime_p([]) == ()


def test_graded_differences_count_by_their_size() -> None:
    assert running_anytime_p([0.5, 0.5, -0.25])[1] == pytest.approx(anytime_p(1, 0))


def test_looking_50_times_costs_mcnemar_its_error_rate_and_the_e_process_nothing() -> None:
    """1,000 items, a fifth of them discordant, no difference: looked at after every 20."""
    rng = np.random.default_rng(7)
    fooled, bettors = 0, 0
    for _ in range(400):
        side = rng.random(1000)
        first = np.cumsum(side < 0.1)[19::20]
        second = np.cumsum((side >= 0.1) & (side < 0.2))[19::20]
        looks = [(int(b), int(c)) for b, c in zip(first, second, strict=True)]
        assert len(looks) == 50
        fooled += min(mcnemar_midp(b, c) for b, c in looks) < 0.05
        bettors += min(anytime_p(b, c) for b, c in looks) < 0.05
    assert fooled / 400 > 0.2
    assert bettors / 400 <= 0.05


def test_with_graded_differences_the_error_rate_is_kept_after_every_item() -> None:
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(400):
        # Mean 0, and far from symmetric: -0.1 nine times in ten, else 0.9.
        differences = np.where(rng.random(300) < 0.1, 0.9, -0.1)
        hits += running_anytime_p(differences.tolist())[-1] < 0.05
    assert hits / 400 <= 0.05


# One proportion -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 1, 0.0, 0.975), (1, 1, 0.025, 1.0), (0, 2, 0.0, 1 - math.sqrt(1 / 60))],
)
def test_robbins_for_few_items(successes: int, n: int, low: float, high: float) -> None:
    """In closed form: B(2, 1) / p = 20 at p = 1 / 40, B(1, 3) / (1 - p)^2 = 20."""
    assert bounds(robbins_interval(successes, n)) == pytest.approx((low, high))


@pytest.mark.parametrize(("successes", "n"), [(70, 100), (3, 10), (995, 1000)])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_robbins_bounds_are_where_the_mixture_reaches_one_over_alpha(
    successes: int, n: int, alpha: float
) -> None:
    failures = n - successes
    for bound in bounds(robbins_interval(successes, n, alpha)):
        likelihood = successes * math.log(bound) + failures * math.log(1 - bound)

        def ratio(q: float, constant: float = likelihood) -> float:
            return math.exp(successes * math.log(q) + failures * math.log(1 - q) - constant)

        capital, _ = integrate.quad(ratio, 0, 1, points=[successes / n])
        assert capital == pytest.approx(1 / alpha, rel=1e-4)


def test_nothing_asked_has_no_bounds() -> None:
    assert robbins_interval(0, 0) == Interval(None, None, "robbins", 0.95)
    assert betting_interval([]) == Interval(None, None, "betting", 0.95)


@given(st.integers(1, 300), st.data())
def test_robbins_holds_the_proportion_and_mirrors(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = bounds(robbins_interval(successes, n))
    assert 0 <= low <= successes / n <= high <= 1
    assert bounds(robbins_interval(n - successes, n)) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_robbins_holds_the_truth_at_every_item_at_once(p: float) -> None:
    """The truth is outside where the capital against it has reached 1 / alpha on either side."""
    rng, limit = np.random.default_rng(3), math.log(1 / 0.05)
    missed = 0
    for _ in range(1000):
        right = np.cumsum(rng.random(120) < p).tolist()
        missed += any(
            log_robbins(p, s, n - s) >= limit or log_robbins(1 - p, n - s, s) >= limit
            for n, s in enumerate(right, 1)
        )
    assert 0.01 < missed / 1000 <= 0.05


def test_successes_lie_between_0_and_n() -> None:
    with pytest.raises(ValueError, match="successes lie between 0 and n, got 3 of 2"):
        robbins_interval(3, 2)


# One mean of bounded scores -----------------------------------------------------------------------


def by_the_book(
    scores: Sequence[float], alpha: float, grid: Sequence[float], population: int | None = None
) -> list[float]:
    """The means on a grid that the hedged capital does not exclude.

    Literally as in Waudby-Smith & Ramdas 2024: predictable plug-in bets, truncated at a half; drawn
    without replacement, against the mean of what is left.
    """
    kept = []
    for m in grid:
        up = down = 1.0
        seen: list[float] = []
        possible = True
        for t, x in enumerate(scores, 1):
            mean = m
            if population is not None:
                mean = (population * m - math.fsum(seen)) / (population - t + 1)
            if not 0 <= mean <= 1:
                possible = False
                break
            estimates = [(0.5 + math.fsum(seen[:i])) / (i + 1) for i in range(1, t)]
            squares = math.fsum((s - e) ** 2 for s, e in zip(seen, estimates, strict=True))
            variance = (0.25 + squares) / t
            bet = math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(1 + t)))
            up *= 1 + min(bet, 0.5 / mean if mean else math.inf) * (x - mean)
            down *= 1 - min(bet, 0.5 / (1 - mean) if mean < 1 else math.inf) * (x - mean)
            seen.append(x)
        if population is not None:  # all that is left being 0, or 1
            left = population - len(scores)
            possible = possible and math.fsum(scores) <= population * m <= math.fsum(scores) + left
        if possible and max(up, down) / 2 < 1 / alpha:
            kept.append(m)
    return kept


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("population", [None, 60, 45])
@pytest.mark.parametrize("shape", [(2, 5), (0.3, 0.1)])
def test_betting_is_what_the_book_says(
    shape: tuple[float, float], population: int | None, alpha: float
) -> None:
    scores = np.random.default_rng(5).beta(*shape, 40).tolist()
    grid = [step / 400 for step in range(401)]
    kept = by_the_book(scores, alpha, grid, population)
    assert len(kept) > 5
    low, high = bounds(betting_interval(scores, alpha, population=population))
    assert kept[0] - 1 / 400 <= low <= kept[0] + 1e-9
    assert kept[-1] - 1e-9 <= high <= kept[-1] + 1 / 400


@given(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=40))
def test_betting_stays_in_the_unit_interval_and_mirrors(scores: list[float]) -> None:
    low, high = bounds(betting_interval(scores))
    assert 0 <= low <= high <= 1
    mirrored = bounds(betting_interval([1 - score for score in scores]))
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_one_score_says_nothing_by_betting() -> None:
    assert bounds(betting_interval([0.7])) == (0, 1)


def test_betting_knows_the_variance() -> None:
    """Scores near 0.6 are known much better than those that are 0 or 1 with the same mean."""
    low, high = bounds(betting_interval([0.55, 0.65] * 50))
    wide = bounds(betting_interval([1, 0, 1, 0, 1] * 20))
    assert high - low < 0.25 * (wide[1] - wide[0])


def test_of_a_population_that_was_asked_in_full_the_mean_is_known() -> None:
    scores = [1.0, 0.25, 0.0, 1.0, 0.75]
    assert bounds(betting_interval(scores, population=5)) == pytest.approx((0.6, 0.6))


def test_without_replacement_the_interval_is_narrower_and_holds_what_is_possible() -> None:
    scores = np.random.default_rng(1).beta(2, 5, 200).tolist()
    low, high = bounds(betting_interval(scores))
    within = bounds(betting_interval(scores, population=250))
    assert low < within[0] < within[1] < high
    assert bounds(betting_interval([1.0, 1.0], population=4)) == (0.5, 1.0)


def test_a_population_is_not_smaller_than_what_was_drawn() -> None:
    with pytest.raises(ValueError, match="2 scores cannot be drawn from a population of 1"):
        betting_interval([0.5, 0.5], population=1)


@pytest.mark.parametrize("score", [1.5, -0.1, math.nan])
def test_scores_outside_of_0_and_1_are_refused(score: float) -> None:
    with pytest.raises(ValueError, match=r"scores lie between 0 and 1, got .*; rescale them first"):
        betting_interval([0.5, score])


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, math.nan])
def test_alpha_lies_between_0_and_1(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha lies between 0 and 1"):
        robbins_interval(1, 2, alpha)
    with pytest.raises(ValueError, match="alpha lies between 0 and 1"):
        betting_interval([1], alpha)


def test_betting_holds_the_truth_whenever_one_looks() -> None:
    """The capital against the true mean reaches 1 / alpha in at most alpha of all sequences."""
    rng = np.random.default_rng(9)
    missed = 0
    for _ in range(200):
        scores = rng.beta(0.3, 0.1, 200)
        looks = [bounds(betting_interval(scores[:n].tolist())) for n in range(20, 201, 30)]
        missed += not all(low <= 0.75 <= high for low, high in looks)
    assert missed / 200 <= 0.05


def test_the_log_is_there_where_the_number_is_too_large() -> None:
    assert log_e_process(5000, 0) == pytest.approx(5000 * math.log(2) - 4.83, abs=0.01)
