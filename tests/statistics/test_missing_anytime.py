"""What the items without a score could do to a verdict of a suite that might stop at any item."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Sensitivity
from pytest_llmeval.statistics.missing import anytime_sensitivity
from pytest_llmeval.statistics.sequential import running_anytime_p


def anytime(first: list[float | None], second: list[float | None]) -> Sensitivity:
    named = ({f"i{n:02}": score for n, score in enumerate(side)} for side in (first, second))
    return anytime_sensitivity(*named, alpha=0.05, alpha_alone=0.05)


def test_readings_of_a_pair_that_might_stop_are_by_the_e_process() -> None:
    found = anytime([1.0] * 7, [0.0] * 6 + [None])
    complete, best = found.complete_case, found.best_for_first
    assert (complete.items, complete.test, complete.interval.method) == (6, "e-process", "betting")
    assert complete.p == running_anytime_p([1.0] * 6)[-1]
    assert best.p == running_anytime_p([1.0] * 7)[-1]
    assert (complete.significant, best.significant) == (False, True)
    assert (found.missing, found.missing_first, found.missing_second) == (1, 0, 1)
    assert found.tipping_count == 1
    assert not found.conclusion_robust


def test_evidence_that_was_there_once_stays_whatever_came_to_be_missing_later() -> None:
    """The largest E along the way counts, in the order in which the items were asked."""
    late = anytime([1.0] * 8 + [None], [0.0] * 9)
    early = anytime([None, *[1.0] * 8], [0.0] * 9)
    assert late.worst_for_first.p == running_anytime_p([1.0] * 8)[-1]
    assert (
        early.worst_for_first.p
        == running_anytime_p([0.0, *[1.0] * 8])[-1]
        == late.worst_for_first.p
    )
    assert late.conclusion_robust
    both = anytime([None] * 3 + [1.0] * 8, [None] * 3 + [0.0] * 8)
    assert both.worst_for_first.p == running_anytime_p([-1.0] * 3 + [1.0] * 8)[-1] > 0.05
    assert both.tipping_count == 1
    after = anytime([1.0] * 8 + [None] * 3, [0.0] * 8 + [None] * 3)
    assert (after.tipping_count, after.conclusion_robust) == (None, True)


def test_only_items_that_both_were_asked_are_read() -> None:
    found = anytime_sensitivity(
        {"a": 1.0, "b": None, "c": 1.0}, {"a": 0.0, "b": 0.0}, alpha=0.05, alpha_alone=0.05
    )
    assert (found.missing, found.complete_case.items) == (1, 1)


def test_no_item_that_both_were_asked_gives_undefined_readings() -> None:
    found = anytime([], [])
    assert found.complete_case.p is found.complete_case.difference is None
    assert (found.missing, found.tipping_count) == (0, None)


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, None])] * 2), max_size=9))
def test_as_many_as_the_tipping_count_says_undo_the_verdict_and_none_where_none_can(
    pairs: list[tuple[float | None, float | None]],
) -> None:
    """Against every choice of the missing that speak one way, the others speaking the other."""
    found = anytime_sensitivity(
        {str(n): one for n, (one, _) in enumerate(pairs)},
        {str(n): other for n, (_, other) in enumerate(pairs)},
        alpha=0.05,
        alpha_alone=0.3,
    )
    missing = [n for n, pair in enumerate(pairs) if None in pair]

    def verdict(against: Collection[int], sign: int) -> int:
        """The side that is ahead, or 0, with the missing in `against` as bad as can be for one."""
        differences = []
        for n, (one, other) in enumerate(pairs):
            good = (sign > 0) != (n in against)
            first, second = (1.0, 0.0) if good else (0.0, 1.0)
            differences.append(
                (first if one is None else one) - (second if other is None else other)
            )
        p = running_anytime_p(differences)[-1] if differences else 1.0
        total = sum(differences)
        return 0 if p >= 0.3 or not total else 1 if total > 0 else -1

    complete = found.complete_case
    shown = (complete.sign or 0) if complete.significant else 0
    # Shown: kept for that side, some taken from it. Not shown: for the other side, some given.
    tried = [shown] if shown else [1, -1]
    fewest = min(
        (
            count
            for side in tried
            for count in range(1, len(missing) + 1)
            for some in combinations(missing, count)
            if (verdict(some, side if shown else -side) == side) != bool(shown)
        ),
        default=None,
    )
    assert (found.tipping_count is None) == (fewest is None)
    assert (found.tipping_count or 0) >= (fewest or 0)
