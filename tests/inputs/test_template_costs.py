"""What a template pays for entries that may have one hash: all of them with each other."""

from typing import Any

import pytest

from pytest_llmeval.inputs.template_costs import slow_cost

LARGE = 2**61 - 1
ROWS = [{"a": number, "b": {"c": number}} for number in range(9)]


@pytest.mark.parametrize(
    ("value", "given", "cost"),
    [
        ([*range(9)], (), 9),
        (["a", None, 1.5] * 3, (), 9),
        ([*{str(number): number for number in range(9)}.items()], (), 9),
        (ROWS, ("a",), 9),
        (ROWS, (False, "a"), 9),
        ([LARGE] * 9, (), 81),
        (range(0, 9 * LARGE, LARGE), (), 81),
        ([(1, 2)] * 9, (), 81),
        (ROWS, ("b.c",), 81),
        (ROWS, ("x", "a"), 81),
        (ROWS, (0,), 81),
        (ROWS, ("missing",), 81),
    ],
)
def test_only_entries_whose_hashes_nobody_chooses_are_looked_at_once(
    value: Any, given: tuple[Any, ...], cost: int
) -> None:
    assert slow_cost("unique", value, given) == cost


def test_keys_of_a_new_mapping_are_entries_too() -> None:
    assert slow_cost("fromkeys", dict, ([*range(9)],)) == 9
    assert slow_cost("fromkeys", dict, ([LARGE] * 9,)) == 81
