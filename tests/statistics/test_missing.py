"""What the items without a score could do to a verdict."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

import pytest

from pytest_llmeval.records import Sensitivity
from pytest_llmeval.statistics import compare_all, unsupported_sensitivity
from pytest_llmeval.statistics.missing import MaybeScores

Pairs = list[tuple[float | None, float | None]]


def sides(pairs: Pairs) -> tuple[MaybeScores, MaybeScores]:
    first = {f"i{place:03}": one for place, (one, _) in enumerate(pairs)}
    second = {f"i{place:03}": other for place, (_, other) in enumerate(pairs)}
    return first, second


def table(b: int, c: int, same: int, missing: Pairs) -> tuple[MaybeScores, MaybeScores]:
    return sides([(1, 0)] * b + [(0, 1)] * c + [(1, 1)] * same + missing)


def verdict(first: Mapping[str, float], second: Mapping[str, float]) -> str | None:
    """Which side is shown to be better, read from `compare_all`."""
    (found,) = compare_all("s", "x", {"first": first, "second": second}, binary=("first", "second"))
    if found.p is None or found.p >= 0.05 or not found.difference:
        return None
    return "first" if found.difference > 0 else "second"


def test_the_four_readings_of_a_table_worked_out_by_hand() -> None:
    """12 to 2 in the complete case; 3 items lack the first, 2 the second, 1 both."""
    missing: Pairs = [(None, 1), (None, 1), (None, 0), (1, None), (0, None), (None, None)]
    found = unsupported_sensitivity(*table(12, 2, 36, missing))
    assert [
        (r.items, round(r.difference * r.items) if r.difference is not None else None)
        for r in (
            found.complete_case,
            found.missing_is_zero,
            found.worst_for_first,
            found.best_for_first,
        )
    ] == [(50, 10), (56, 9), (56, 6), (56, 13)]
    # Worst: (0,1) (0,1) (0,0) (1,1) (0,1) (0,1); best: (1,1) (1,1) (1,0) (1,0) (0,0) (1,0).
    assert found.complete_case.p == pytest.approx(121 / 2**14)
    assert found.complete_case.interval.low == pytest.approx(0.0611, abs=1e-4)
    assert found.complete_case.test == "mcnemar mid-p"
    assert (found.missing, found.missing_first, found.missing_second) == (6, 4, 3)
    assert found.best_for_first.p == pytest.approx(172 / 2**17)
    assert found.worst_for_first.p == pytest.approx(43_796 / 2**18)


def test_different_missing_sets_meet_on_the_intersection_and_both_sides_are_counted() -> None:
    first: MaybeScores = {"a": 1, "b": None, "c": 0}
    second: MaybeScores = {"b": 1, "c": 1, "d": 1}  # no entry is no score either
    found = unsupported_sensitivity(first, second)
    assert found.complete_case.items == 1
    assert (found.missing, found.missing_first, found.missing_second) == (3, 2, 1)
    assert found.missing_is_zero.items == 4


def test_a_conclusion_is_robust_when_all_four_agree_in_sign_and_significance() -> None:
    robust = unsupported_sensitivity(*table(40, 5, 100, [(None, 1)] * 3))
    assert robust.conclusion_robust
    assert robust.tipping_count is None


def test_a_conclusion_is_not_robust_when_one_reading_loses_significance() -> None:
    found = unsupported_sensitivity(*table(12, 2, 36, [(None, 1)] * 4))
    assert found.complete_case.significant
    assert not found.worst_for_first.significant
    assert found.worst_for_first.sign == 1
    assert not found.conclusion_robust


def test_a_conclusion_is_not_robust_when_only_the_sign_turns() -> None:
    found = unsupported_sensitivity(*table(3, 2, 20, [(None, 1)] * 2))
    readings = (found.complete_case, found.missing_is_zero, found.worst_for_first)
    assert [reading.significant for reading in readings] == [False] * 3
    assert (found.complete_case.sign, found.worst_for_first.sign) == (1, -1)
    assert not found.conclusion_robust


def test_nothing_missing_leaves_four_equal_readings() -> None:
    found = unsupported_sensitivity(*table(12, 2, 36, []))
    assert found.complete_case == found.missing_is_zero == found.worst_for_first
    assert found.conclusion_robust
    assert (found.missing, found.tipping_count) == (0, None)


def test_no_items_give_no_figures_and_no_conclusion() -> None:
    found = unsupported_sensitivity({}, {})
    assert (found.complete_case.p, found.complete_case.difference) == (None, None)
    assert found.complete_case.sign is None
    assert not found.conclusion_robust


def test_all_missing_on_one_side_leaves_no_complete_case_and_bounds_that_contradict() -> None:
    found = unsupported_sensitivity(
        {f"i{n}": None for n in range(20)}, {f"i{n}": 0 for n in range(20)}
    )
    assert (found.complete_case.items, found.complete_case.p) == (0, None)
    assert (found.best_for_first.significant, found.best_for_first.sign) == (True, 1)
    assert found.worst_for_first.sign == 0
    assert not found.conclusion_robust
    assert found.tipping_count == 5  # 5 to 0 is p = 0.031, 4 to 0 is 0.0625


def test_swapping_the_sides_mirrors_the_readings() -> None:
    first, second = table(12, 3, 20, [(None, 1), (1, None), (None, None)])
    one, other = unsupported_sensitivity(first, second), unsupported_sensitivity(second, first)
    assert one.worst_for_first.difference == pytest.approx(-(other.best_for_first.difference or 0))
    assert one.tipping_count == other.tipping_count
    assert (one.missing_first, one.missing_second) == (other.missing_second, other.missing_first)


# The tipping count --------------------------------------------------------------------------------


def tipping_by_all_completions(first: MaybeScores, second: MaybeScores) -> int | None:
    """Every way to fill every missing item for one side or the other."""
    items = sorted(first)
    missing = [i for i in items if first[i] is None or second[i] is None]
    complete = {i for i in items if i not in missing}

    def filled(scores: MaybeScores, value: Mapping[str, float]) -> dict[str, float]:
        return {i: value[i] if score is None else score for i, score in scores.items()}

    held = verdict({i: first[i] or 0.0 for i in complete}, {i: second[i] or 0.0 for i in complete})
    counts = []
    for for_first in itertools.product((0.0, 1.0), repeat=len(missing)):
        favour = dict(zip(missing, for_first, strict=True))
        against = {i: 1.0 - value for i, value in favour.items()}
        found = verdict(filled(first, favour), filled(second, against))
        ones = int(sum(for_first))
        if held is not None and found != held:
            counts.append(len(missing) - ones if held == "first" else ones)
        elif held is None and found is not None:
            counts.append(ones if found == "first" else len(missing) - ones)
    return min((count for count in counts if count), default=None)


@pytest.mark.parametrize("seed", range(40))
def test_the_tipping_count_is_the_fewest_over_all_completions(seed: int) -> None:
    rng = random.Random(seed)
    kinds: Pairs = [(None, 0), (None, 1), (0, None), (1, None), (None, None)]
    b, c = rng.choice([(9, 1), (1, 9), (12, 4), (3, 2), (5, 0), (2, 6)])
    first, second = table(b, c, 5, rng.choices(kinds, k=rng.randint(1, 7)))
    found = unsupported_sensitivity(first, second).tipping_count
    assert found == tipping_by_all_completions(first, second)


def test_the_tipping_count_says_how_many_items_a_verdict_hangs_on() -> None:
    """10 to 2 is p 0.022, 10 to 3 is 0.057; 12 to 4 is 0.049, 12 to 5 is 0.096."""
    found = unsupported_sensitivity(*table(10, 2, 20, [(None, 1)] * 10))
    assert (found.complete_case.significant, found.complete_case.sign) == (True, 1)
    assert found.tipping_count == 1
    assert unsupported_sensitivity(*table(12, 2, 20, [(None, 1)] * 10)).tipping_count == 3


# Graded scores ------------------------------------------------------------------------------------


def graded(seed: int, missing: int) -> Sensitivity:
    rng = random.Random(seed)
    pairs: Pairs = [
        (min(1, 0.55 + 0.4 * rng.random()), 0.3 + 0.5 * rng.random()) for _ in range(30)
    ]
    return unsupported_sensitivity(*sides(pairs + [(None, 0.6)] * missing))


def test_graded_scores_are_read_by_sign_flip_and_t_as_compare_all_does() -> None:
    found = graded(1, 2)
    assert (found.complete_case.test, found.complete_case.interval.method) == (
        "sign-flip",
        "paired t",
    )
    assert found.conclusion_robust
    assert found.tipping_count is None


def test_the_complete_case_has_the_p_of_the_comparison_whatever_else_was_compared() -> None:
    rng = random.Random(4)
    first = {f"i{n}": round(rng.random(), 3) for n in range(90)}
    second = {f"i{n}": round(rng.random(), 3) for n in range(20, 110)}
    third = {f"h{n}": round(rng.random(), 3) for n in range(200)}
    conditions = {"first": first, "second": second, "third": third}
    found = next(iter(compare_all("s", "x", conditions, binary=())))
    (alone,) = compare_all("s", "x", {"first": first, "second": second}, binary=())
    assert found.p is not None
    assert 0.001 < found.p < 0.999  # drawn, not counted out
    assert found.p == alone.p == unsupported_sensitivity(first, second).complete_case.p


def test_many_missing_graded_scores_can_undo_a_verdict() -> None:
    found = graded(1, 20)
    assert not found.conclusion_robust
    assert found.tipping_count is not None
    assert 1 < found.tipping_count <= 20


def test_repeats_that_all_came_out_0_or_1_can_still_be_read_as_graded() -> None:
    first, second = table(8, 1, 5, [(None, 1)])
    assert unsupported_sensitivity(first, second, binary=False).complete_case.test == "sign-flip"


@pytest.mark.parametrize("score", [1.5, float("nan")])
def test_a_score_outside_the_range_is_told_with_its_item(score: float) -> None:
    with pytest.raises(ValueError, match=r"item a under first: .* is not between 0 and 1"):
        unsupported_sensitivity({"a": score, "b": 0.5}, {"a": 1, "b": 1})


def test_a_graded_score_that_was_said_to_be_binary_is_told() -> None:
    with pytest.raises(ValueError, match=r"0\.5 is not 0 or 1"):
        unsupported_sensitivity({"a": 0.5}, {"a": 1}, binary=True)
