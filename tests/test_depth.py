"""How deep JSON is nested, found without parsing it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.depth import DEEPEST, too_deep_at

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('"\\[]{}a'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('"\\[]{}a'), inner),
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


@given(VALUES, st.integers(0, 6))
def test_it_is_too_deep_exactly_where_the_value_is(value: Any, deepest: int) -> None:
    assert (too_deep_at(json.dumps(value), deepest) is not None) == (depth(value) > deepest)


def test_the_place_is_that_of_the_bracket_too_many() -> None:
    assert too_deep_at("[" * (DEEPEST + 3)) == DEEPEST
    assert too_deep_at('["[[[[", {"a": [1]}]', 2) == 15


@pytest.mark.parametrize("text", ['"' + '\\"' * 200_000, '["' + "[" * 200_000, "\\" * 200_000])
def test_a_text_that_is_not_closed_hides_its_brackets(text: str) -> None:
    assert too_deep_at(text) is None
