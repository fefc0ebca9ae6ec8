"""Not worse than the baseline by a margin: four verdicts, and their words."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from pytest_llmeval.records import GateVerdict
from pytest_llmeval.statistics import paired_t_interval, tango_interval
from pytest_llmeval.statistics.gates import Decision
from pytest_llmeval.statistics.regression import (
    graded_verdict,
    margin_words,
    not_worse,
    not_worse_verdict,
)
from pytest_llmeval.statistics.stretched import skewed_wilson

Sides = tuple[dict[str, list[float]], dict[str, list[float | None]]]


def outcomes(
    *, both: int = 0, neither: int = 0, lost: int = 0, won: int = 0, **missing: int
) -> Sides:
    """Items by what became of them; `missing_right` were right before and have no outcome now."""
    kinds: list[tuple[int, float, float | None]] = [
        (both, 1.0, 1.0),
        (neither, 0.0, 0.0),
        (lost, 1.0, 0.0),
        (won, 0.0, 1.0),
        (missing.get("missing_right", 0), 1.0, None),
        (missing.get("missing_wrong", 0), 0.0, None),
    ]
    pairs = [(was, is_) for count, was, is_ in kinds for _ in range(count)]
    before = {f"item-{n}": [was] for n, (was, _) in enumerate(pairs)}
    return before, {f"item-{n}": [is_] for n, (_, is_) in enumerate(pairs)}


def decided(margin: float, **counts: int) -> Decision:
    return not_worse(*outcomes(**counts), margin)


# The verdict --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("won", "lost", "n", "margin", "verdict"),
    [
        (0, 0, 200, 0.03, "no_change"),
        (0, 0, 1, 0.03, "no_change"),
        (3, 3, 200, 0.03, "pass"),  # [-2.4, 2.4]
        (9, 11, 200, 0.03, "inconclusive"),  # [-5.0, 2.9]
        (9, 11, 200, 0.05, "pass"),
        (7, 23, 200, 0.03, "fail"),  # [-12.8, -3.6]
        (10, 20, 200, 0.05, "fail"),  # [-9.8, -0.5], by the mid-p of 0.035 alone
        (10, 19, 200, 0.05, "inconclusive"),  # the mid-p is 0.049, and -4.5 is above -5
        (0, 1, 1, 0.03, "inconclusive"),
        (0, 0, 0, 0.03, "inconclusive"),
        (200, 0, 200, 0.03, "pass"),
        (0, 200, 200, 0.9, "fail"),
        (0, 200, 200, 1.0, "fail"),
    ],
)
def test_a_verdict_follows_from_the_counts(
    won: int, lost: int, n: int, margin: float, verdict: GateVerdict
) -> None:
    assert not_worse_verdict(won, lost, n, margin) == verdict


@pytest.mark.parametrize("margin", [0.0, -0.1, 1.01, math.nan])
def test_a_margin_outside_its_range_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="a margin lies above 0"):
        not_worse_verdict(1, 1, 10, margin)
    with pytest.raises(ValueError, match="a margin lies above 0"):
        decided(margin, both=10)


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit into 10"):
        not_worse_verdict(6, 5, 10, 0.1)


def probability(n: int, discordance: float, difference: float, margin: float, word: str) -> float:
    """The exact chance of a verdict when the items are drawn from this trinomial."""
    better, worse = (discordance + difference) / 2, (discordance - difference) / 2
    same = 1 - discordance
    total = []
    for won in range(n + 1):
        for lost in range(n + 1 - won):
            weight = (
                math.comb(n, won)
                * math.comb(n - won, lost)
                * better**won
                * worse**lost
                * same ** (n - won - lost)
            )
            if weight > 1e-9 and not_worse_verdict(won, lost, n, margin) == word:
                total.append(weight)
    return math.fsum(total)


@pytest.mark.parametrize(
    ("n", "discordance", "margin"),
    [(50, 0.2, 0.1), (100, 0.1, 0.05), (100, 0.3, 0.05), (200, 0.1, 0.03), (200, 0.05, 0.05)],
)
def test_a_model_that_is_worse_by_the_margin_passes_in_at_most_5_5_percent(
    n: int, discordance: float, margin: float
) -> None:
    assert probability(n, discordance, -margin, margin, "pass") <= 0.055


@pytest.mark.parametrize(
    ("n", "discordance", "margin"),
    [(20, 0.3, 0.01), (50, 0.2, 0.01), (100, 0.1, 0.01), (100, 0.3, 0.03)],
)
def test_the_same_model_twice_fails_in_at_most_5_5_percent(
    n: int, discordance: float, margin: float
) -> None:
    assert probability(n, discordance, 0.0, margin, "fail") <= 0.055


# Words --------------------------------------------------------------------------------------------


def test_no_item_has_changed() -> None:
    words = "not worse than baseline by 3 points: none of 200 items has changed"
    assert decided(0.03, both=190, neither=10)[:2] == ("no_change", words)


def test_a_pass_says_the_difference_its_interval_and_the_counts() -> None:
    words = "not worse than baseline by 3 points: +0.0 [-2.4, +2.4], 3 lost and 3 won of 200 items"
    assert decided(0.03, both=180, neither=14, lost=3, won=3)[:2] == ("pass", words)


def test_a_pass_that_is_better_says_so() -> None:
    verdict, message, _ = decided(0.03, both=180, neither=10, lost=1, won=9)
    assert verdict == "pass"
    assert message.endswith("1 lost and 9 won of 200 items: better than the baseline")


def test_bounds_are_rounded_outwards_and_stay_on_their_side_of_the_margin() -> None:
    low = tango_interval(9, 11, 200, 0.90).low
    assert low == pytest.approx(-0.04903, abs=1e-5)
    assert "-1.0 [-4.91, +2.9]" in decided(0.05, both=170, neither=10, lost=11, won=9).message
    assert "-1.0 [-5.0, +2.9]" in decided(0.03, both=170, neither=10, lost=11, won=9).message


def test_a_fail_by_the_test_alone_says_its_p() -> None:
    verdict, message, _ = decided(0.05, both=160, neither=10, lost=20, won=10)
    assert verdict == "fail"
    assert message.endswith("20 lost and 10 won of 200 items, one-sided mid-p 0.035")
    assert "mid-p" not in decided(0.03, both=150, neither=20, lost=23, won=7).message


def test_an_open_gate_says_which_margin_its_items_can_prove() -> None:
    verdict, message, evidence = decided(0.03, both=172, neither=18, lost=6, won=4)
    assert verdict == "inconclusive"
    assert message.splitlines()[1] == (
        "200 items can prove 4 points; try margin: 0.04, or about 350 items"
    )
    assert evidence is not None
    assert evidence.smallest_margin == pytest.approx(2.4865 * math.sqrt(0.05 / 200), abs=1e-4)


def test_where_the_items_could_prove_the_margin_more_of_them_decide() -> None:
    verdict, message, _ = decided(0.1, both=28, neither=10, lost=2)
    assert verdict == "inconclusive"
    assert message.splitlines()[1] == (
        "40 items can prove 8.8 points where nothing has changed; about 120 items would decide"
    )


def test_few_items_that_all_differ_can_prove_nothing() -> None:
    _, message, _ = decided(0.03, lost=1, won=1)
    assert "2 items can prove no margin at all; at this rate about 6,900 items would" in message


def test_exactly_at_the_margin_no_number_decides() -> None:
    before = {f"i{n}": [0.5] for n in range(400)}
    now: dict[str, list[float | None]] = {f"i{n}": [0.5 - (n % 2) / 8] for n in range(400)}
    verdict, message, _ = not_worse(before, now, 0.0625)
    assert verdict == "inconclusive"
    assert message.endswith("the difference is exactly the margin: no number of items decides")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "nothing was asked"),
        ({"missing_right": 4}, "nothing was answered, 4 trials without an outcome"),
        ({"both": 1}, "1 item is too few to tell, at least two are needed"),
        ({"both": 1, "missing_wrong": 1}, "at least two are needed, 1 trial without an outcome"),
    ],
)
def test_fewer_than_two_items_decide_nothing(counts: dict[str, int], words: str) -> None:
    verdict, message, evidence = decided(0.03, **counts)
    assert (verdict, evidence) == ("inconclusive", None)
    assert message.startswith("not worse than baseline by 3 points: ")
    assert message.endswith(words)


@pytest.mark.parametrize(
    ("margin", "points"), [(0.03, "3 points"), (0.01, "1 point"), (0.005, "0.5 points")]
)
def test_a_margin_is_told_in_points(margin: float, points: str) -> None:
    assert margin_words(margin) == f"not worse than baseline by {points}"


# Pairing ------------------------------------------------------------------------------------------


def test_items_are_paired_by_id_whatever_their_order() -> None:
    before, now = outcomes(both=20, lost=3, won=5)
    turned = dict(reversed(now.items()))
    assert not_worse(before, turned, 0.1) == not_worse(before, now, 0.1)


def test_items_of_one_side_only_are_left_out() -> None:
    before, now = outcomes(both=20, lost=3, won=5)
    more: dict[str, list[float]] = {**before, "gone": [1.0]}
    assert not_worse(more, {**now, "new": [0.0]}, 0.1) == not_worse(before, now, 0.1)


# Graded scores and repeats ------------------------------------------------------------------------


def test_graded_scores_are_judged_by_the_stretched_and_skewed_wilson_interval() -> None:
    before = {f"i{n}": [0.5] for n in range(90)}
    now: dict[str, list[float | None]] = {f"i{n}": [0.5 - (n % 3) / 20] for n in range(90)}
    verdict, message, evidence = not_worse(before, now, 0.1)
    assert verdict == "pass"
    assert evidence is not None
    expected = skewed_wilson([-(n % 3) / 20 for n in range(90)], 0.90)
    assert evidence.interval.method == expected.method == "skewed wilson"
    assert evidence.interval.low == pytest.approx(expected.low)
    assert evidence.interval.high == pytest.approx(expected.high)
    assert message.endswith("-5.0 [-7.7, -2.1] over 90 items")
    assert not_worse(before, now, 0.01).verdict == "fail"
    assert not_worse(before, now, 0.05).verdict == "inconclusive"


def test_few_large_losses_among_graded_scores_do_not_pass() -> None:
    """One of 100 lost and another moved a little: Student's interval ended at -2.7 points."""
    assert graded_verdict([-1.0, 0.01, *[0.0] * 98], 0.03) == "inconclusive"
    low = paired_t_interval([-1.0, 0.01, *[0.0] * 98], 0.90).low
    assert low is not None
    assert low > -0.03


@pytest.mark.parametrize(("n", "discordance", "margin"), [(100, 0.05, 0.03), (300, 0.05, 0.03)])
def test_repeats_that_differ_let_through_at_most_5_5_percent(
    n: int, discordance: float, margin: float
) -> None:
    """Of three repeats each, 3 % of the items waver; the t interval let through 9 and 7 %."""
    random = np.random.default_rng([3, n])
    kinds = random.choice(
        [1.0, -1.0, 0.0, 2.0],
        p=[(discordance - margin) / 2, (discordance + margin) / 2, 0.97 - discordance, 0.03],
        size=(6000, n),
    )
    noise = (random.binomial(3, 0.8, kinds.shape) - random.binomial(3, 0.8, kinds.shape)) / 3
    differences = np.where(kinds == 2, noise, kinds)
    verdicts = Counter(graded_verdict(row.tolist(), margin) for row in differences)
    assert verdicts["pass"] + verdicts["no_change"] <= 330


def test_repeats_that_all_agree_are_right_or_wrong() -> None:
    """As at temperature 0: three times the same answer decides like one answer."""
    once, now_once = outcomes(both=170, neither=16, lost=10, won=4)
    thrice = {item: values * 3 for item, values in once.items()}
    now_thrice = {item: values * 3 for item, values in now_once.items()}
    assert not_worse(thrice, now_thrice, 0.05) == not_worse(once, now_once, 0.05)
    assert not_worse(thrice, now_once, 0.05) == not_worse(once, now_once, 0.05)
    now_thrice["item-0"] = [1.0, 1.0, 0.0]
    evidence = not_worse(thrice, now_thrice, 0.05).evidence
    assert evidence is not None
    assert evidence.interval.method == "skewed wilson"


def test_the_margin_that_graded_scores_can_prove_is_that_of_their_interval() -> None:
    """Even where hardly anything varies: 100 items cannot exclude losses they do not show."""
    before = {f"i{n}": [0.5] for n in range(100)}
    now: dict[str, list[float | None]] = {f"i{n}": [0.5 + (n % 2) / 100] for n in range(100)}
    verdict, message, _ = not_worse(before, now, 0.01)
    assert verdict == "inconclusive"
    assert "100 items can prove 3.6 points; try margin: 0.04" in message
    assert not_worse(before, now, 0.04).verdict == "pass"


def test_graded_verdicts_of_edges() -> None:
    assert graded_verdict([], 0.1) == "inconclusive"
    assert graded_verdict([-1.0], 0.1) == "inconclusive"
    assert graded_verdict([0.0], 0.1) == "no_change"
    with pytest.raises(ValueError, match="a margin lies above 0"):
        graded_verdict([0.1], 0)


def test_an_item_counts_once_however_often_it_was_asked() -> None:
    before = {f"i{n}": [1.0, 0.0] for n in range(20)}
    now: dict[str, list[float | None]] = {f"i{n}": [1.0, float(n % 4 > 0)] for n in range(20)}
    evidence = not_worse(before, now, 0.1).evidence
    assert evidence is not None
    assert evidence.n == 20
    assert evidence.value == pytest.approx(0.375)


def test_graded_scores_that_are_all_the_same_have_not_changed() -> None:
    before = {f"i{n}": [0.25, 0.5] for n in range(5)}
    now: dict[str, list[float | None]] = {f"i{n}": [0.5, 0.25] for n in range(5)}
    assert not_worse(before, now, 0.01).verdict == "no_change"


def test_equal_differences_do_not_give_an_interval_of_width_0() -> None:
    before = {f"i{n}": [0.5] for n in range(3)}
    now: dict[str, list[float | None]] = {f"i{n}": [0.49] for n in range(3)}
    verdict, _, evidence = not_worse(before, now, 0.03)
    assert verdict == "inconclusive"
    assert evidence is not None
    assert evidence.interval.method == "skewed wilson"
    assert evidence.interval.low is not None
    assert evidence.interval.low < -0.1


# Trials without an outcome ------------------------------------------------------------------------


def test_failures_that_cannot_change_the_verdict_are_named() -> None:
    counts = {"both": 150, "neither": 20, "lost": 40, "missing_right": 2, "missing_wrong": 1}
    verdict, message, _ = decided(0.03, **counts)
    assert verdict == "fail"
    assert message.endswith("(even with 3 trials of 213 without an outcome all right)")


def test_failures_that_could_undo_a_verdict_make_it_inconclusive() -> None:
    verdict, message, _ = decided(0.03, both=180, neither=10, lost=2, won=2, missing_right=6)
    assert verdict == "inconclusive"
    assert message.endswith(
        "but 6 trials of 200 without an outcome: 2 of them wrong would undo the pass"
    )


def test_no_change_is_undone_by_failures_too() -> None:
    verdict, message, _ = decided(0.03, both=40, missing_right=3)
    assert verdict == "inconclusive"
    words = "but 3 trials of 43 without an outcome: 1 of them wrong would undo the no change"
    assert f"none of 40 items has changed, {words}" in message


def test_a_right_answer_could_undo_a_pass_by_the_spread_it_brings() -> None:
    """Where the baseline was wrong, a wrong answer changes nothing and a right one everything."""
    before = {f"i{n}": [0.5] for n in range(20)} | {"missing": [0.0]}
    now: dict[str, list[Any]] = {f"i{n}": [0.5 + (-1) ** n / 1000] for n in range(20)}
    assert not_worse(before, {**now, "missing": [1.0]}, 0.03).verdict == "inconclusive"
    assert not_worse(before, {**now, "missing": [None]}, 0.03).verdict == "inconclusive"


@pytest.mark.parametrize(
    "counts",
    [
        {"both": 180, "neither": 8, "lost": 2, "won": 2, "missing_right": 4, "missing_wrong": 4},
        {"both": 100, "neither": 70, "lost": 18, "won": 4, "missing_right": 4, "missing_wrong": 4},
    ],
    ids=["pass", "fail"],
)
def test_the_tipping_count_is_the_fewest_of_any_choice(counts: dict[str, int]) -> None:
    without = {key: value for key, value in counts.items() if "missing" not in key}
    verdict = decided(0.05, **without).verdict
    against = {"pass": 0, "fail": 1}[verdict]

    def filled(right: int, wrong: int) -> GateVerdict:
        """So many of those that were right, and wrong, go against; the others support."""
        right, wrong = (right, wrong) if against == 0 else (4 - right, 4 - wrong)
        n = sum(counts.values())
        return not_worse_verdict(counts["won"] + 4 - wrong, counts["lost"] + right, n, 0.05)

    undoing = [
        right + wrong for right in range(5) for wrong in range(5) if filled(right, wrong) != verdict
    ]
    _, message, _ = decided(0.05, **counts)
    if undoing:
        assert f": {min(undoing)} of them" in message
    else:
        assert "even with" in message


def test_a_missing_repeat_is_less_than_a_missing_item() -> None:
    before = {f"i{n}": [1.0] * 5 for n in range(60)}
    now: dict[str, list[Any]] = {f"i{n}": [1.0] * 5 for n in range(60)}
    now["i0"] = [1.0, 1.0, 1.0, 1.0, None]
    assert not_worse(before, now, 0.05).verdict == "no_change"
    now["i0"] = [None] * 5
    assert not_worse(before, now, 0.05).verdict == "inconclusive"
