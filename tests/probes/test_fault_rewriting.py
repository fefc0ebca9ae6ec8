"""What faults make of real answers, whole and streamed."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.engines.sse import EventParser
from pytest_llmeval.probes.faults.rewriting import REWRITERS, WHOLE, Blocks
from tests.standins.upstream import event

TEXT = {"choices": [{"index": 0, "message": {"content": "Zürich 🎈"}, "finish_reason": "stop"}]}
CALL = {"name": "weather", "arguments": '{"city": "Oslo"}'}
CALLS = {
    "choices": [{"index": 0, "message": {"content": None, "tool_calls": [{"function": CALL}]}}]
}

objects = st.dictionaries(st.text(), st.recursive(st.none() | st.text(), st.lists), max_size=4)
chances = st.integers(0, 10**6).map(random.Random)


def dumped(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode()


def rewritten(name: str, body: bytes, chance: random.Random | None = None) -> bytes | None:
    return WHOLE[name](body, chance or random.Random(1))


@given(objects, chances)
def test_cut_json_is_json_no_more(data: object, chance: random.Random) -> None:
    cut = rewritten("invalid_json", dumped(data), chance)
    assert cut is not None
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        json.loads(cut.decode("utf-8", "replace"))


@pytest.mark.parametrize("body", [b"", b"12", b"true", b" \n", b"<html>"])
def test_what_was_no_object_becomes_no_json_either(body: bytes) -> None:
    assert rewritten("invalid_json", body) == b"{"


@given(objects, chances)
def test_garbage_is_no_utf8(data: object, chance: random.Random) -> None:
    spoiled = rewritten("garbage_utf8", dumped(data), chance)
    assert spoiled is not None
    with pytest.raises(UnicodeDecodeError):
        spoiled.decode("utf-8")


@given(chances)
def test_cut_arguments_are_no_json_and_all_else_stays(chance: random.Random) -> None:
    body = rewritten("cut_arguments", dumped(CALLS), chance)
    assert body is not None
    message = json.loads(body)["choices"][0]["message"]
    function = message["tool_calls"][0].pop("function")
    assert function["name"] == "weather"
    assert CALL["arguments"].startswith(function["arguments"])
    assert 0 < len(function["arguments"]) < len(CALL["arguments"])


@pytest.mark.parametrize("body", [dumped(TEXT), b"[]", b"{broken", b"", b"\xff"])
def test_where_no_tool_is_called_no_argument_is_cut(body: bytes) -> None:
    assert rewritten("cut_arguments", body) is None


def test_a_doubled_choice_has_the_same_index_and_words() -> None:
    body = rewritten("duplicate_index", dumped(TEXT))
    assert body is not None
    assert json.loads(body)["choices"] == [TEXT["choices"][0]] * 2
    assert rewritten("duplicate_index", b'{"data": []}') is None


# Streams ------------------------------------------------------------------------------------------


def delta(finish: str | None = None, **fields: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


def call(**function: str) -> bytes:
    return delta(tool_calls=[{"index": 0, "function": function}])


STREAM = [
    delta(role="assistant", content=""),
    delta(content="4"),
    delta(content="2"),
    delta("stop"),
    event({"choices": [], "usage": {"prompt_tokens": 1}}),
    event(b"[DONE]"),
]
CALLING = [
    call(name="weather", arguments=""),
    call(arguments='{"city"'),
    call(arguments=': "Oslo"}'),
]


def through(name: str, blocks: list[bytes], seed: int = 1) -> tuple[list[bytes], bool]:
    """The blocks that are sent, and whether anything was done to them."""
    rewriter = REWRITERS[name](random.Random(seed))
    written = [(block, rewriter.feed(block)) for block in blocks]
    sent = [each for block, its in written for each in ([block] if its is None else its)]
    return sent, any(its is not None for _, its in written)


def data_of(blocks: list[bytes]) -> list[Any]:
    events = EventParser().feed(b"".join(blocks))
    return [json.loads(each.data) for each in events if each.data != b"[DONE]"]


def content(blocks: list[bytes]) -> str:
    deltas = [choice["delta"] for data in data_of(blocks) for choice in data["choices"]]
    return "".join(each.get("content") or "" for each in deltas)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5), st.sampled_from("\n\r"))
def test_where_a_stream_is_cut_makes_no_difference(data: bytes, cuts: list[int], end: str) -> None:
    whole = data.replace(b"\r", b"") + end.encode() * 2 + b"data: x\n\n" + b"rest"
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    blocks = Blocks()
    found = [
        block
        for start, stop in itertools.pairwise(places)
        for block in blocks.feed(whole[start:stop])
    ]
    assert b"".join(found) + blocks.rest() == whole
    at_once = Blocks()
    assert found == list(at_once.feed(whole))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["invalid_json", "garbage_utf8"])
def test_one_event_of_a_stream_is_spoiled(name: str, seed: int) -> None:
    sent, done = through(name, STREAM, seed)
    assert done
    differing = [
        number for number, pair in enumerate(zip(sent, STREAM, strict=True)) if len(set(pair)) > 1
    ]
    assert len(differing) == 1
    assert differing[0] in {0, 1}
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        json.loads(sent[differing[0]].removeprefix(b"data: ").decode("utf-8"))


def test_a_stream_without_its_end_has_everything_else() -> None:
    assert through("missing_done", STREAM) == (STREAM[:-1], True)
    stop = b"event: message_stop\n" + event({"type": "message_stop"})
    assert through("missing_done", [delta(content="4"), stop]) == ([delta(content="4")], True)
    assert through("missing_done", STREAM[:-1]) == (STREAM[:-1], False)


def test_empty_chunks_say_nothing_and_come_before_the_end_only() -> None:
    sent, done = through("empty_deltas", STREAM)
    assert done
    assert len(sent) == len(STREAM) + 2 * 3
    assert content(sent) == "42"
    assert sent[-3:] == STREAM[-3:]


def test_a_call_that_begins_twice_does_so_once_in_a_stream() -> None:
    assert through("duplicate_index", [*CALLING, *CALLING]) == (
        [CALLING[0], CALLING[0], *CALLING[1:], *CALLING],
        True,
    )


def test_without_calls_a_choice_stands_twice_in_one_chunk() -> None:
    sent, done = through("duplicate_index", STREAM)
    assert done
    assert [len(data["choices"]) for data in data_of(sent)] == [1, 2, 1, 1, 0]


@pytest.mark.parametrize("seed", range(5))
def test_the_arguments_of_a_streamed_call_end_too_early(seed: int) -> None:
    sent, done = through("cut_arguments", [*CALLING, delta("tool_calls")], seed)
    assert done
    functions = [
        data["choices"][0]["delta"]["tool_calls"][0]["function"] for data in data_of(sent)[:3]
    ]
    arguments = "".join(function["arguments"] for function in functions)
    assert CALL["arguments"].startswith(arguments)
    assert 0 < len(arguments) < len('{"city"')
    assert through("cut_arguments", STREAM) == (STREAM, False)
