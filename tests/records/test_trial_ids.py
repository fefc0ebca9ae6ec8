"""A trial's id, made and taken apart: the `custom_id` that everything comes back by."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.inputs.datasets import slug_of
from pytest_llmeval.records import (
    Condition,
    Item,
    PromptVariant,
    Sampling,
    Suite,
    TrialId,
    parse_trial_id,
)
from pytest_llmeval.running.plan import trials_of

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]*", fullmatch=True)
conditions = st.lists(names, min_size=1, max_size=3).map("/".join)
suites = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
item_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
prompt = PromptVariant("", (), "hash")


def trial_ids(suite: str, condition: str, item_id: str, repeats: int = 1) -> list[str]:
    """The ids that the plan gives to an item's trials, its slug made as a dataset makes it."""
    item = Item(item_id, slug_of(item_id), {}, None)
    asked = Suite(suite, "suites/s.yaml", (item,), "hash", (prompt,), ())
    under = Condition(condition, "m", prompt, Sampling(8), repeats=repeats)
    return [trial.id for trial in trials_of(asked, under)]


@given(suites, conditions, item_ids, st.integers(1, 3))
def test_an_id_of_the_plan_gives_its_parts_back_whatever_the_item_is_called(
    suite: str, condition: str, item_id: str, repeats: int
) -> None:
    slug = slug_of(item_id)
    found = [parse_trial_id(each) for each in trial_ids(suite, condition, item_id, repeats)]
    assert found == [
        TrialId(suite, condition, slug if repeat == 1 else f"{slug}.{repeat}")
        for repeat in range(1, repeats + 1)
    ]


@given(st.text())
def test_whatever_can_be_taken_apart_is_put_together_as_it_was(text: str) -> None:
    try:
        found = parse_trial_id(text)
    except ValueError:
        assert text.count("::") < 2 or not all(text.rsplit("::", 2))
    else:
        assert str(found) == text
        assert parse_trial_id(str(found)) == found


@given(suites, conditions, item_ids)
def test_an_id_is_the_same_after_its_way_through_json(
    suite: str, condition: str, item_id: str
) -> None:
    (trial_id,) = trial_ids(suite, condition, item_id)
    assert json.loads(json.dumps(trial_id)) == trial_id


def test_a_suite_may_have_the_mark_between_the_parts_in_its_name() -> None:
    found = parse_trial_id("test_sums::test_it::m/plain::add-1")
    assert found == TrialId("test_sums::test_it", "m/plain", "add-1")
    assert str(replace(found, name="add-1.2")) == "test_sums::test_it::m/plain::add-1.2"


@pytest.mark.parametrize("text", ["", "request-1", "a::b", "a::b::", "::b::c", "a::::c", "::"])
def test_an_id_of_somebody_else_is_none_and_the_words_say_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"no trial's id: expected suite::condition::item"):
        parse_trial_id(text)
