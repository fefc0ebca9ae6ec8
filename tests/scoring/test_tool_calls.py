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


WEATHER = {
    "name": "weather",
    "arguments": {"city": "San Francisco, CA", "days": 3, "units": "metric"},
    "alternatives": {"city": ["SF", "San Francisco"], "days": ["three"]},
    "optional": ["units"],
}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"city": "San Francisco, CA", "days": 3, "units": "metric"}, None),
        ({"city": "san francisco CA", "days": 3}, None),
        ({"city": "SF", "days": 3.0}, None),
        ({"city": "San Francisco", "days": "Three"}, None),
        ({"city": "SF"}, "missing argument: days"),
        ({"city": "SF", "days": 3, "when": "now"}, "unexpected argument: when"),
        ({"city": "Oslo", "days": 3}, 'wrong value: city: "Oslo", wanted "San Francisco, CA" or'),
        ({"city": "SF", "days": 4}, 'wrong value: days: 4, wanted 3 or "three"'),
        ({"city": "SF", "days": True}, "wrong type: days: true is a boolean, wanted a number or"),
        ({"city": None, "days": 3}, "wrong type: city: null is null, wanted a string"),
        ({"city": ["SF"], "days": 3}, 'wrong type: city: ["SF"] is an array, wanted a string'),
        ({"city": {}, "days": 3}, "wrong type: city: {} is an object, wanted a string"),
        ({"city": "SF", "days": 3, "units": "imperial"}, "wrong value: units: "),
    ],
)
def test_what_is_wrong_with_a_call_is_told_in_the_leaderboards_categories(
    arguments: dict[str, Any], error: str | None
) -> None:
    score = judged([WEATHER], call("weather", arguments))
    assert score.outcome == ("wrong" if error else "right")
    if error:
        assert score.stages[1].startswith(f"error: {error}")


def test_all_that_is_wrong_is_told() -> None:
    score = judged([WEATHER], call("weather", {"city": 5, "x": 1}))
    assert [stage.partition(":")[2].split(":")[0].strip() for stage in score.stages[1:]] == [
        "missing argument",
        "unexpected argument",
        "wrong type",
    ]


@pytest.mark.parametrize(
    ("calls", "errors"),
    [
        ([call("timr", {"minutes": 5})], ["wrong function: timr, wanted timer"]),
        ([], ["wrong count: no call, 1 wanted"]),
        ([MADE_TIMER, MADE_TIMER], ["wrong count: 2 calls, 1 wanted"]),
        (
            [call("timer", {"minutes": 6}), MADE_OSLO],
            ["wrong count: 2 calls, 1 wanted", "wrong value: minutes: 6, wanted 5"],
        ),
    ],
)
def test_a_wrong_count_and_a_wrong_function_are_told(
    calls: list[ToolCall], errors: list[str]
) -> None:
    score = judged([TIMER], *calls, text="" if calls else "Done.")
    assert score.stages[1:] == tuple(f"error: {error}" for error in errors)


def test_of_several_calls_the_one_that_was_meant_is_compared() -> None:
    two = [{"name": "add", "arguments": {"a": 1, "b": 2}}, {"name": "add", "arguments": {"a": 9}}]
    score = judged(two, call("add", {"a": 9}), call("add", {"a": 1, "b": 3}))
    assert score.stages[1:] == ("error: wrong value: b: 3, wanted 2",)


def test_calls_are_paired_so_that_as_many_as_possible_fit() -> None:
    """Taking the first that fits would give the wide one to Oslo, and leave Bergen without."""
    wide = {"name": "go", "arguments": {"to": "Oslo"}, "alternatives": {"to": ["Bergen"]}}
    narrow = {"name": "go", "arguments": {"to": "Oslo"}}
    oslo, bergen = call("go", {"to": "Oslo"}), call("go", {"to": "Bergen"})
    for target in ([wide, narrow], [narrow, wide]):
        assert judged(target, oslo, bergen).outcome == "right"
        assert judged(target, bergen, oslo).outcome == "right"
        assert judged(target, bergen, bergen).outcome == "wrong"


@pytest.mark.parametrize(
    ("wanted", "given", "loose", "exact"),
    [
        ("Oslo", "oslo", "right", "wrong"),
        ("April 1, 2024", "april 1 2024", "right", "wrong"),
        ("it's", 'it"s', "right", "wrong"),
        (["Oslo", {"a": "B"}], ["oslo", {"a": "b"}], "right", "wrong"),
        ({"A": "x"}, {"a": "x"}, "wrong", "wrong"),  # keys are keys
        ("Oslo", "Bergen", "wrong", "wrong"),
        ("Oslo", "Oslo", "right", "right"),
        ("", "", "right", "right"),
        ("New York", "new-york", "right", "wrong"),
        ("room 5", "Room5", "right", "wrong"),
        ("-1", "1", "wrong", "wrong"),
        ("3.14", "314", "wrong", "wrong"),
        ("1.2.3.4", "12.34", "wrong", "wrong"),
        ("2024-1-11", "2024-11-1", "wrong", "wrong"),
        ("x^2", "x2", "wrong", "wrong"),
        ("x - 1", "X-1", "right", "wrong"),
        ("12 5", "125", "wrong", "wrong"),
        (".", "", "wrong", "wrong"),
        ("*", "/", "wrong", "wrong"),
        ("café", "cafe\u0301", "right", "wrong"),
    ],
)
def test_case_and_some_signs_in_strings_count_only_if_asked(
    wanted: Any, given: Any, loose: str, exact: str
) -> None:
    item = Item("one", "one", {}, [{"name": "go", "arguments": {"to": wanted}}])
    answer = Answer("", "tool_calls", (call("go", {"to": given}),))
    for options, outcome in (({}, loose), ({"exact_strings": True}, exact)):
        assert make_scorer(ScorerSpec("tool_call", options))(answer, item).outcome == outcome


def test_a_list_as_argument_is_one_value_and_no_choice() -> None:
    target = [{"name": "go", "arguments": {"to": ["Oslo", "Bergen"]}}]
    assert judged(target, call("go", {"to": ["Oslo", "Bergen"]})).outcome == "right"
    assert judged(target, call("go", {"to": ["Bergen", "Oslo"]})).outcome == "wrong"
    assert judged(target, call("go", {"to": "Oslo"})).outcome == "wrong"


@pytest.mark.parametrize("raw", ['{"minutes": 5}', json.dumps('{"minutes": 5}')])
def test_arguments_may_be_a_text_that_holds_them(raw: str) -> None:
    assert judged([TIMER], ToolCall("timer", None, raw)).outcome == "right"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"optional": ["minute"]}, "unknown argument in optional 'minute', did you mean minutes"),
        ({"alternatives": {"x": [6]}}, "unknown argument in alternatives 'x', known: minutes"),
        ({"alternatives": {"minutes": 6}}, "alternatives: a list of further values"),
        ({"alternative": {}}, "unknown key 'alternative', did you mean alternatives"),
        ({"optional": "minutes"}, "is no list of calls"),
    ],
)
def test_what_further_values_and_optional_arguments_cannot_be(
    more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        judged([{**TIMER, **more}], MADE_TIMER)


def test_a_refusal_where_a_call_was_due_is_no_answer() -> None:
    assert judged([TIMER], text="I'm sorry, I can't do that.").reason == "refusal"


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
        ("", "content_filter", "refusal"),
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


@pytest.mark.parametrize("raw", ["", "  ", "null", " null\n", "{}", '"{}"'])
def test_no_arguments_may_be_written_as_nothing_where_none_are_due(raw: str) -> None:
    assert judged([{"name": "now"}], ToolCall("now", None, raw)).outcome == "right"
    optional = [{"name": "now", "arguments": {"zone": "UTC"}, "optional": ["zone"]}]
    assert judged(optional, ToolCall("now", None, raw)).outcome == "right"


@pytest.mark.parametrize("raw", ["", "null", '{"minutes": 1e999}', '{"minutes": NaN}'])
def test_arguments_that_are_due_and_cannot_be_read_are_no_answer(raw: str) -> None:
    assert judged([TIMER], ToolCall("timer", None, raw)).reason == "unparsed"


def test_arguments_that_were_read_too_loosely_are_no_json() -> None:
    made = ToolCall("timer", {"minutes": float("inf")}, '{"minutes": 1e999}')
    assert judged([TIMER], made).reason == "unparsed"


@pytest.mark.parametrize(
    "text",
    [
        "In HTML, <function> is not a tag.",
        "Use <function foo> here.",
        "The model writes <tool_call> and </tool_call> around a call.",
        "To call a function in C, write `f()`.",
    ],
)
def test_speaking_of_a_tag_is_no_call(text: str) -> None:
    assert judged([], text=text).outcome == "right"
    assert judged([TIMER], text=text).outcome == "wrong"


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{HELD}\n</tool_call>",
        f"<function_call>[{HELD}]",
        f"<tool_call>```json\n{HELD}```",
        '<function=timer>{"minutes": 5}</function>',
        "<tool_call>\n<function=timer>\n<parameter=minutes>\n5\n</parameter>",
        "<tool_call>timer\n<arg_key>minutes</arg_key>",
        '<function_calls><invoke name="timer">',
        "[TOOL_CALLS] [",
        "<|python_tag|>timer(minutes=5)",
        "Let me see. <tool_call>",
    ],
)
def test_a_call_in_a_models_own_format_is_a_call_that_was_not_read(text: str) -> None:
    assert judged([], text=text).reason == judged([TIMER], text=text).reason == "unparsed"


def test_a_text_of_many_lines_without_a_call_is_read_in_one_pass() -> None:
    """Tried again from every line, this would take minutes."""
    for _ in range(5):
        assert judged([], text="\n" * 40_000 + "x").outcome == "right"


def test_calls_that_the_content_filter_ended_are_a_refusal() -> None:
    assert judged([OSLO, TIMER], MADE_OSLO, finish_reason="content_filter").reason == "refusal"
    cut = ToolCall("timer", None, '{"min')
    assert judged([TIMER], cut, finish_reason="content_filter").reason == "refusal"


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
