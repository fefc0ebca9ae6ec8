"""The scorer tool_call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.records import Answer, FinishReason, Item, Score, ScorerSpec, ToolCall
from pytest_llmeval.scoring.json_reading import same_json
from pytest_llmeval.scoring.scorer import make_scorer

OSLO = {"name": "weather", "arguments": {"city": "Oslo", "days": 3}}
TIMER = {"name": "timer", "arguments": {"minutes": 5}}


def call(name: str, arguments: Any) -> ToolCall:
    is_object = isinstance(arguments, dict)
    return ToolCall(name, arguments if is_object else None, json.dumps(arguments))


def judged(
    target: Any, *calls: ToolCall, text: str = "", finish_reason: FinishReason | None = None
) -> Score:
    scorer = make_scorer(ScorerSpec("tool_call"))
    reason: FinishReason = finish_reason or ("tool_calls" if calls else "stop")
    return scorer(Answer(text, reason, calls), Item("one", "one", {}, target))


MADE_OSLO = call("weather", {"days": 3, "city": "Oslo"})
MADE_TIMER = call("timer", {"minutes": 5})


@pytest.mark.parametrize(
    "target",
    [
        [OSLO],
        OSLO,
        json.dumps([OSLO]),
        [{"name": "weather", "arguments": json.dumps(OSLO["arguments"])}],
        [{"type": "function", "function": OSLO}],
    ],
)
def test_a_target_is_a_list_of_calls_or_one_or_the_json_of_them(target: Any) -> None:
    assert judged(target, MADE_OSLO).outcome == "right"
    assert judged(target, MADE_TIMER).outcome == "wrong"


@pytest.mark.parametrize(
    ("calls", "outcome"),
    [
        ([MADE_OSLO, MADE_TIMER], "right"),
        ([MADE_TIMER, MADE_OSLO], "right"),
        ([MADE_OSLO], "wrong"),
        ([MADE_OSLO, MADE_TIMER, MADE_TIMER], "wrong"),
        ([MADE_OSLO, MADE_OSLO], "wrong"),
    ],
)
def test_several_calls_come_in_any_order_but_each_once(calls: list[ToolCall], outcome: str) -> None:
    assert judged([OSLO, TIMER], *calls).outcome == outcome


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        ({"minutes": 5.0}, "right"),
        ({"minutes": "5"}, "wrong"),
        ({"minutes": 5, "unit": "min"}, "wrong"),
        ({}, "wrong"),
    ],
)
def test_arguments_are_compared_as_json(arguments: Any, outcome: str) -> None:
    assert judged([TIMER], call("timer", arguments)).outcome == outcome


@pytest.mark.parametrize("text", ["Good morning!", '{"name": "Ann"}'])
def test_no_call_is_right_where_none_is_wanted(text: str) -> None:
    assert judged([], text=text).outcome == "right"
    assert judged("[]", text=text).outcome == "right"
    assert judged([], text=text, finish_reason="length").outcome == "right"


def test_a_call_where_none_is_wanted_is_wrong_even_an_unreadable_one() -> None:
    assert judged([], MADE_OSLO).outcome == "wrong"
    assert judged([], call("weather", ["Oslo"])).outcome == "wrong"


def test_a_text_where_a_call_was_due_is_wrong() -> None:
    score = judged([TIMER], text="I have set a timer.")
    assert (score.outcome, score.stages) == (
        "wrong",
        (
            'compare: no call ≠ timer({"minutes": 5})',
            "error: wrong count: no call, 1 wanted",
        ),
    )


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("", "stop", "empty"),
        ("I will now", "length", "truncated"),
        ("<think>which tool", "length", "truncated"),
        ("<think>which tool", "stop", "unparsed"),
    ],
)
def test_nothing_or_half_a_text_where_a_call_was_due_is_no_answer(
    text: str, finish_reason: FinishReason, reason: str
) -> None:
    score = judged([TIMER], text=text, finish_reason=finish_reason)
    assert (score.outcome, score.reason) == ("no_answer", reason)


HELD = '{"name": "timer", "arguments": {"minutes": 5}}'


@pytest.mark.parametrize("target", [[], [TIMER]])
@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        ("", "stop", "empty"),
        ("", "content_filter", "empty"),
        ("<|im_end|>", "stop", "empty"),
        ("<think>hm", "stop", "unparsed"),
        (f"<tool_call>{HELD}</tool_call>", "stop", "unparsed"),
        (f"Let me. <tool_call>{HELD}", "stop", "unparsed"),
        (HELD, "stop", "unparsed"),
        (f"```json\n[{HELD}]\n```", "stop", "unparsed"),
        ('{"name": "timer", "argu', "length", "truncated"),
    ],
)
def test_nothing_and_a_call_left_in_the_text_are_no_answer_whatever_was_due(
    target: Any, text: str, finish_reason: FinishReason, reason: str
) -> None:
    score = judged(target, text=text, finish_reason=finish_reason)
    assert (score.outcome, score.value, score.reason) == ("no_answer", 0.0, reason)


def test_some_of_the_calls_wanted_are_truncated_where_the_limit_ended_them() -> None:
    two = [OSLO, TIMER]
    assert judged(two, MADE_OSLO, finish_reason="length").reason == "truncated"
    assert judged(two, MADE_OSLO, MADE_OSLO, finish_reason="length").outcome == "wrong"
    assert judged(two, MADE_OSLO, MADE_TIMER, finish_reason="length").outcome == "right"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"name": "timer", "args": {"minutes": 5}}, "unknown key 'args', did you mean arguments"),
        ({"name": "timer", "parameters": {}}, "unknown key 'parameters'"),
        ({"type": "function", "function": TIMER, "args": {}}, "unknown key 'args'"),
    ],
)
def test_a_key_that_calls_do_not_have_is_refused_with_the_nearest(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        judged([call], MADE_TIMER)


def test_reasoning_cut_off_is_no_credit_for_calling_nothing() -> None:
    score = judged([], text="<think>which tool", finish_reason="length")
    assert (score.outcome, score.reason) == ("no_answer", "truncated")


@pytest.mark.parametrize(
    ("finish_reason", "reason"), [("tool_calls", "unparsed"), ("length", "truncated")]
)
def test_arguments_that_are_no_object_are_no_answer(
    finish_reason: FinishReason, reason: str
) -> None:
    broken = ToolCall("timer", None, '{"minutes": 5')
    score = judged([TIMER], broken, finish_reason=finish_reason)
    assert (score.outcome, score.value, score.reason) == ("no_answer", 0.0, reason)
    assert score.extracted == 'timer({"minutes": 5)'


@pytest.mark.parametrize("target", [None, "weather", 3, [3], [{"arguments": {}}], "[{]"])
def test_a_target_that_is_no_list_of_calls_is_the_items_fault(target: Any) -> None:
    with pytest.raises(ValueError, match=r"of item one is no list of calls: .* looks like \[\{"):
        judged(target, MADE_OSLO)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(JSON, JSON)
def test_json_equality_is_that_of_the_canonical_text(one: Any, other: Any) -> None:
    def text(value: Any) -> str:
        return json.dumps(value, sort_keys=True)

    assert same_json(one, json.loads(text(one)))
    assert same_json(one, other) == same_json(other, one) == (text(one) == text(other))


def test_true_is_not_one() -> None:
    assert not same_json({"a": [True]}, {"a": [1]})
    assert same_json({"a": [1.0]}, {"a": [1]})
