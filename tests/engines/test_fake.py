"""The fake engine and its scripts."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_llmeval.engines.engine import EndpointFacts
from pytest_llmeval.engines.fake import FakeEngine, Rule, load_script
from pytest_llmeval.errors import (
    ConfigError,
    EndpointBusy,
    EndpointTimeout,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import Answer, Likelihood, Message, Request, Sampling, ToolCall, Usage


def request(text: str, max_tokens: int = 64) -> Request:
    """A question behind a system message."""
    return Request((Message("system", "Be brief."), Message("user", text)), Sampling(max_tokens))


def ask(engine: FakeEngine, text: str, max_tokens: int = 64) -> Answer:
    return asyncio.run(engine.complete(request(text, max_tokens)))


def texts(engine: FakeEngine, questions: Sequence[str]) -> list[str]:
    return [ask(engine, question).text for question in questions]


# Answers ------------------------------------------------------------------------------------------


def test_without_rules_the_answer_is_plainly_fake_and_always_the_same() -> None:
    expected = Answer("fake answer to: What is it?", "stop", usage=Usage(5, 6, source="server"))
    assert ask(FakeEngine(), "What is  it?") == expected
    assert ask(FakeEngine(), "What is  it?") == expected


def test_a_fake_answer_ends_at_max_tokens_words() -> None:
    answer = ask(FakeEngine(), "What is it?", max_tokens=4)
    assert (answer.text, answer.finish_reason) == ("fake answer to: What", "length")
    assert answer.usage.completion == 4


def likely(engine: FakeEngine, question: str, *continuations: str) -> tuple[Likelihood, ...]:
    asked = dataclasses.replace(request(question), continuations=continuations)
    return asyncio.run(engine.likelihoods(asked))


def test_likelihoods_are_made_up_from_the_question_and_always_the_same() -> None:
    found = likely(FakeEngine(), "Which?", "Rome", "the city of Paris")
    assert found == likely(FakeEngine(), "Which?", "Rome", "the city of Paris")
    assert [len(each.token_logprobs) for each in found] == [1, 4]
    assert all(-5 < logprob < -2 for each in found for logprob in each.token_logprobs)
    assert len({each.total for each in (*found, *likely(FakeEngine(), "What?", "Rome"))}) == 3
    assert [each.usage for each in found] == [
        Usage(4, 0, source="server"),
        Usage(7, 0, source="server"),
    ]


def test_the_text_that_a_rule_would_answer_is_likely() -> None:
    engine = FakeEngine([Rule("France", "the city of Paris"), Rule("busy", fail="busy")])
    rome, paris = likely(engine, "France?", " Rome", " the city of Paris")
    assert all(-0.11 < logprob < 0 for logprob in paris.token_logprobs)
    assert paris.total > rome.total
    with pytest.raises(EndpointBusy):
        likely(engine, "busy?", " Rome", " Paris")


def test_likelihoods_may_be_given_by_the_answer_function() -> None:
    told = (Likelihood("Rome", (-0.5,)), Likelihood("Oslo", (-2.5,)))
    engine = FakeEngine(answer=lambda _: Answer("", "stop", likelihoods=told))
    assert likely(engine, "Which?", "Rome", "Oslo") == told


def test_the_first_rule_that_matches_the_last_user_message_wins() -> None:
    engine = FakeEngine([Rule("France", "Paris"), Rule("capital", "?"), Rule(text="default")])
    asked = ["The capital of France", "The capital of Peru", "Hello", "brief"]
    assert texts(engine, asked) == ["Paris", "?", "default", "default"]
    turns = (Message("user", "France"), Message("assistant", "Paris"), Message("user", "capital"))
    assert asyncio.run(engine.complete(Request(turns, Sampling(8)))).text == "?"


def test_groups_of_the_pattern_fill_the_text() -> None:
    engine = FakeEngine([Rule(r"(\d+) \+ (?P<zero>0)( !)?", r"\1 and \g<zero>\3, \\frac \d")])
    assert ask(engine, "17 + 0 =").text == r"17 and 0, \\frac \d"


def test_a_rule_holds_as_often_as_it_says() -> None:
    engine = FakeEngine([Rule("a", "1", times=2), Rule("a", "2", times=1)])
    assert texts(engine, ["a", "b", "a", "a", "a"]) == [
        "1",
        "fake answer to: b",
        "1",
        "2",
        "fake answer to: a",
    ]


def test_a_rule_may_call_tools() -> None:
    call = ToolCall("weather", {"city": "Rome"}, '{"city": "Rome"}')
    answer = ask(FakeEngine([Rule(tool_calls=(call,))]), "Weather in Rome?")
    assert (answer.tool_calls, answer.finish_reason) == ((call,), "tool_calls")


def test_a_rule_may_say_how_its_answer_ends() -> None:
    answer = ask(FakeEngine([Rule(text="cut off in mid", finish_reason="length")]), "?")
    assert answer.finish_reason == "length"


@pytest.mark.parametrize(
    ("rule", "error", "status"),
    [
        (Rule(fail="timeout"), EndpointTimeout, None),
        (Rule(fail="busy"), EndpointBusy, 503),
        (Rule(fail="unreachable"), EndpointUnreachable, None),
        (Rule(fail="refused"), RequestRefused, 400),
        (Rule(fail="unsupported"), Unsupported, None),
    ],
)
def test_a_rule_may_fail_in_every_way(
    rule: Rule, error: type[EngineError], status: int | None
) -> None:
    with pytest.raises(error, match=f"told to fail: {rule.fail}") as told:
        ask(FakeEngine([rule]), "?")
    assert told.value.status == status


def test_an_endpoint_may_be_busy_once_and_then_answer() -> None:
    engine = FakeEngine([Rule("a", fail="busy", times=1), Rule("a", "yes")])
    with pytest.raises(EndpointBusy):
        ask(engine, "a")
    assert ask(engine, "a").text == "yes"


def test_a_function_may_answer_what_no_rule_does() -> None:
    engine = FakeEngine(
        [Rule("a", "rule")],
        answer=lambda asked: str(len(asked.messages)) if asked.sampling.max_tokens > 8 else OTHER,
    )
    assert texts(engine, ["a", "b"]) == ["rule", "2"]
    assert ask(engine, "b", max_tokens=8) is OTHER


OTHER = Answer("whole", "content_filter")


def test_a_function_that_breaks_is_a_failure_of_the_request() -> None:
    def broken(_: Request) -> str:
        raise KeyError("city")

    with pytest.raises(EngineError, match="answer function raised KeyError: 'city'"):
        ask(FakeEngine(answer=broken), "?")


def test_a_function_may_raise_an_engines_error() -> None:
    def busy(_: Request) -> str:
        raise EndpointBusy("later", retry_after=2.0)

    with pytest.raises(EndpointBusy, match="later"):
        ask(FakeEngine(answer=busy), "?")


# What it saw --------------------------------------------------------------------------------------


def test_it_remembers_its_requests_in_order() -> None:
    engine = FakeEngine()
    texts(engine, ["a", "b"])
    assert engine.requests == [request("a"), request("b")]


def test_it_can_be_told_not_to_remember() -> None:
    engine = FakeEngine([Rule("b", "yes", times=1), Rule("b", "no")], remember=False)
    assert texts(engine, ["b", "b"]) == ["yes", "no"]
    assert engine.requests == []
    assert engine.busiest == 1


def test_it_counts_the_most_requests_at_once_also_when_they_fail_or_are_cancelled() -> None:
    engine = FakeEngine([Rule("fail", fail="busy", latency=0.01), Rule(text="ok", latency=0.01)])

    async def main() -> None:
        for words in (["ok", "fail", "ok"], ["fail", "ok"]):
            asked = [engine.complete(request(word)) for word in words]
            await asyncio.gather(*asked, return_exceptions=True)
        given_up = asyncio.ensure_future(engine.complete(request("ok")))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        await asyncio.gather(engine.complete(request("ok")), engine.complete(request("ok")))

    asyncio.run(main())
    assert engine.busiest == 3
    assert len(engine.requests) == 8


def test_it_says_that_it_is_the_fake_and_how_many_slots_it_was_given() -> None:
    facts = asyncio.run(FakeEngine(slots=4).describe())
    assert facts == EndpointFacts(slots=4, model_name="fake", build="fake")


# Scripts ------------------------------------------------------------------------------------------

SCRIPT = r"""
- when: '(\d+) \+ 0'
  text: \1
- {when: weather, tool_calls: [{name: weather, arguments: {city: Rome, days: 2}}]}
- {when: late, fail: busy, times: 1, latency: 0.25}
- text: No
  finish_reason: length
"""
RULES = (
    Rule(r"(\d+) \+ 0", r"\1"),
    Rule(
        "weather",
        tool_calls=(
            ToolCall("weather", {"city": "Rome", "days": 2}, '{"city": "Rome", "days": 2}'),
        ),
    ),
    Rule("late", fail="busy", times=1, latency=0.25),
    Rule(text="No", finish_reason="length"),
)


def written(folder: Path, text: str, name: str = "script.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def test_a_script_in_yaml_holds_the_same_rules(tmp_path: Path) -> None:
    assert load_script(written(tmp_path, SCRIPT)) == RULES


def test_a_script_in_json_holds_the_same_rules(tmp_path: Path) -> None:
    data = [
        {"when": r"(\d+) \+ 0", "text": r"\1"},
        {"when": "weather", "tool_calls": [RULES_CALL]},
        {"when": "late", "fail": "busy", "times": 1, "latency": 0.25},
        {"text": "No", "finish_reason": "length"},
    ]
    path = written(tmp_path, json.dumps(data, indent="\t"), "script.json")
    assert load_script(path) == RULES


RULES_CALL = {"name": "weather", "arguments": {"city": "Rome", "days": 2}}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("when: a", None, "is a list of rules, for instance"),
        ("- text: a\n- whne: b", 2, "rule 2: key: 'whne' is not one of when, text, finish_reason"),
        ("- whne: b", 1, "Did you mean 'when'?"),
        ("- hello", 1, "rule 1: must be an object with keys of when, text"),
        ("\n- when: '('", 2, "rule 1: when: '(' is no regular expression: missing )"),
        ("- {when: a, text: '\\1'}", 1, "rule 1: text: \\1 names a group that 'a' lacks"),
        ("- {when: a, text: '\\g<b>'}", 1, "text: \\g<b> names a group that 'a' lacks"),
        ("- when: 5", 1, "rule 1: when: must be a text, not 5"),
        ("- times: 0", 1, "rule 1: times: must be 1 or more, not 0"),
        ("- times: true", 1, "rule 1: times: must be a whole number, not True"),
        ("- latency: -1", 1, "rule 1: latency: must be 0 or more seconds, not -1"),
        ("- latency: .inf", 1, "latency: must be 0 or more seconds, not inf"),
        ("- latency: soon", 1, "latency: must be a number of seconds, not 'soon'"),
        ("- fail: bussy", 1, "fail: 'bussy' is not one of timeout, busy"),
        ("- finish_reason: eos", 1, "finish_reason: 'eos' is not one of stop, length"),
        ("- tool_calls: [{nme: f}]", 1, "tool_calls: must be {name: ..., arguments: {...}}"),
        ("- tool_calls: [{name: f, arguments: x}]", 1, "arguments an object"),
        ("- when: a\n  when: b", 2, "not YAML: found duplicate key"),
        ("- when: [", 1, "not YAML: "),
        ("- !!python/none x: 1\n- when", 1, ""),
    ],
)
def test_a_mistake_in_a_script_is_told_with_its_place(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as told:
        load_script(path)
    place = f"{path}:{line}" if line else f"{path}"
    assert str(told.value).startswith(f"{place}: ")
    assert words in str(told.value)


def test_a_script_that_is_no_json_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, '[\n{"when": }]', "script.json")
    with pytest.raises(ConfigError, match=r"script\.json:2: not JSON: Expecting value"):
        load_script(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_script_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "script.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"script\.yaml: The fake engine's script cannot be read"):
        load_script(path)


def test_a_rule_in_python_is_checked_in_the_same_words() -> None:
    with pytest.raises(ConfigError, match="times: must be 1 or more, not 0"):
        Rule(times=0)


# Schemas and vectors ------------------------------------------------------------------------------


def test_where_a_schema_is_asked_for_the_least_that_keeps_to_it_is_said() -> None:
    schema = {
        "type": "object",
        "properties": {
            "why": {"type": "string"},
            "verdict": {"enum": ["fail", "pass"]},
            "count": {"type": "integer"},
            "more": {"type": "array"},
            "left": {"type": "string"},
        },
        "required": ["why", "verdict", "count", "more"],
    }
    asked = Request((Message("user", "?"),), Sampling(64), json_schema=schema)
    answer = asyncio.run(FakeEngine().complete(asked))
    assert json.loads(answer.text) == {"why": "fake", "verdict": "fail", "count": 0, "more": []}
    assert answer.finish_reason == "stop"


def test_a_rule_goes_before_the_schema() -> None:
    asked = Request((Message("user", "?"),), Sampling(64), json_schema={"type": "object"})
    assert asyncio.run(FakeEngine([Rule("", "No.")]).complete(asked)).text == "No."


def test_texts_that_share_words_have_vectors_that_are_near_each_other() -> None:
    one, same, other, empty = asyncio.run(FakeEngine().embed(["a b", "B  a", "c d", ""]))
    assert one == same
    assert sum(x * y for x, y in zip(one, other, strict=True)) == 0
    assert len({len(vector) for vector in (one, same, other, empty)}) == 1
    assert any(empty)
