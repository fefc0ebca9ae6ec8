"""Which ids make in and out differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.results.strays import Strays, named, strays

ids = st.lists(st.sampled_from("abcdefg"))


@given(ids)
def test_what_comes_out_as_it_went_in_leaves_no_stray_whatever_the_order(asked: list[str]) -> None:
    unique = list(dict.fromkeys(asked))
    assert not strays(unique, unique[::-1])
    assert strays(unique, unique[::-1]).words() == ""


@given(ids.map(lambda each: list(dict.fromkeys(each))), ids)
def test_every_difference_has_a_name_and_nothing_else_has(
    asked: list[str], answered: list[str]
) -> None:
    odd = strays(asked, answered)
    assert set(odd.missing) == set(asked) - set(answered)
    assert set(odd.unknown) == set(answered) - set(asked)
    assert set(odd.doubled) == {id_ for id_ in asked if answered.count(id_) > 1}


def test_the_first_few_are_named_and_the_others_counted() -> None:
    odd = strays(["a", "b", "c", "d", "e"], ["e", "e", "x"])
    assert odd == Strays(("a", "b", "c", "d"), ("e",), ("x",))
    assert odd.words() == "missing a, b, c and 1 more; twice e; unknown x"
    assert named(["a"]) == "a"
    assert named([str(n) for n in range(1203)]) == "0, 1, 2 and 1,200 more"
