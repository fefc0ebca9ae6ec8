"""Guessing, held against scipy's binomial test and against all outcomes counted one by one."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from scipy.stats import binom, binomtest

from pytest_llmeval.statistics.chance import guessing


@pytest.mark.parametrize("options", [2, 3, 4, 10])
@pytest.mark.parametrize(("right", "n"), [(0, 20), (5, 20), (11, 20), (20, 20), (260, 1000)])
def test_with_equal_chances_it_is_the_exact_binomial_test(right: int, n: int, options: int) -> None:
    found = guessing(right, [1 / options] * n)
    expected = binomtest(right, n, 1 / options, alternative="greater").pvalue
    assert found.p == pytest.approx(expected, rel=1e-9)
    assert found.expected == pytest.approx(n / options)


@pytest.mark.parametrize("right", range(9))
def test_with_different_chances_it_counts_all_outcomes(right: int) -> None:
    chances = [0.5, 0.25, 0.25, 1 / 3, 0.2, 0.9, 1.0, 0.0]
    total = 0.0
    for hits in itertools.product((0, 1), repeat=len(chances)):
        if sum(hits) >= right:
            total += math.prod(c if hit else 1 - c for c, hit in zip(chances, hits, strict=True))
    assert guessing(right, chances).p == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("options", [2, 3, 4, 5])
def test_too_few_items_tell_nothing_and_the_least_that_do_keep_their_promise(options: int) -> None:
    chance = 1 / options
    told = [guessing(0, [chance] * n).tells for n in range(1, 150)]
    least = told.index(True) + 1
    assert least >= 8
    critical = next(k for k in range(least + 2) if binom.sf(k - 1, least, chance) <= 0.05)
    assert binom.sf(critical - 1, least, chance + (1 - chance) / 2) >= 0.99


def test_no_items_tell_nothing() -> None:
    found = guessing(0, [])
    assert (found.expected, found.p, found.tells) == (0.0, 1.0, False)


def test_who_guesses_is_told_and_who_knows_half_is_not() -> None:
    rng = random.Random(7)
    alarms = {"guesses": 0, "knows half": 0}
    for _ in range(1000):
        chances = [1 / rng.choice((3, 4, 5)) for _ in range(60)]
        for who, knows in (("guesses", 0.0), ("knows half", 0.5)):
            right = sum(rng.random() < knows + (1 - knows) * chance for chance in chances)
            found = guessing(right, chances)
            alarms[who] += found.tells and found.p > 0.05
    assert alarms["guesses"] >= 930  # 950 in the mean, 3 standard deviations below
    assert alarms["knows half"] <= 10


@pytest.mark.parametrize(
    ("right", "chances", "words"),
    [
        (3, [0.5, 0.5], "of 2 items so many cannot be right: 3"),
        (-1, [0.5], "of 1 items so many cannot be right: -1"),
        (1, [25.0], "a chance lies between 0 and 1"),
    ],
)
def test_what_is_no_count_or_no_chance_is_refused(
    right: int, chances: list[float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        guessing(right, chances)
