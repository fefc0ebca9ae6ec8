"""Events of a streamed message, into the answer that would have come whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmeval.engines.message_events import MessageEvents
from pytest_llmeval.engines.reading import Unexpected
from pytest_llmeval.engines.sse import Event
from pytest_llmeval.errors import (
    EndpointBusy,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
    UnknownModel,
    WrongKey,
)
from pytest_llmeval.records import Answer, ToolCall, Usage

START = {
    "type": "message_start",
    "message": {"content": [], "stop_reason": None, "usage": {"input_tokens": 9}},
}
STOP = {"type": "message_stop"}


def begin(index: Any, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(index: Any, kind: str, **fields: Any) -> dict[str, Any]:
    delta = {"type": kind, **fields}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def end(index: Any) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def closing(reason: str | None = "end_turn", **usage: Any) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 4, **usage}}


TEXT = [begin(0, type="text", text=""), more(0, "text_delta", text="42"), end(0)]


def events_of(*events: Any) -> MessageEvents:
    """An assembler that has taken these."""
    assembler = MessageEvents("sk-secret")
    for each in events:
        data = each if isinstance(each, str) else json.dumps(each)
        assert assembler.add(Event("", data.encode())) is (each == STOP)
    return assembler


def test_a_message_is_put_together_from_its_blocks() -> None:
    answer = events_of(
        START,
        {"type": "ping"},
        begin(0, type="thinking", thinking="", signature=""),
        more(0, "thinking_delta", thinking="17 "),
        more(0, "thinking_delta", thinking="+ 25"),
        more(0, "signature_delta", signature="abc"),
        end(0),
        begin(1, type="text", text="T"),
        more(1, "text_delta", text="he "),
        {"type": "an_event_of_next_year", "index": 99},
        more(1, "text_delta", text="sum"),
        more(1, "citations_delta", citation={}),
        end(1),
        begin(2, type="tool_use", id="t", name="weather", input={}),
        more(2, "input_json_delta", partial_json=""),
        more(2, "input_json_delta", partial_json='{"city": "Zü'),
        more(2, "input_json_delta", partial_json='rich"}'),
        end(2),
        closing("tool_use", cache_read_input_tokens=3),
        STOP,
    ).answer()
    assert answer == Answer(
        "The sum",
        "tool_calls",
        (ToolCall("weather", {"city": "Zürich"}, '{"city":"Z\\u00fcrich"}'),),
        reasoning="17 + 25",
        usage=Usage(12, 4, 3, "server"),
    )


def test_tokens_told_at_the_end_win_and_null_tells_nothing() -> None:
    told = closing(input_tokens=11, cache_read_input_tokens=None)
    answer = events_of(START, *TEXT, closing(), told, STOP).answer()
    assert answer.usage == Usage(11, 4, None, "server")


def test_without_a_beginning_nobody_has_counted_the_prompt() -> None:
    answer = events_of(*TEXT, closing(), STOP).answer()
    assert answer == Answer("42", "stop", usage=Usage(None, 4, None, "server"))


def test_a_call_without_arguments_has_none() -> None:
    block = begin(0, type="tool_use", id="t", name="now", input={})
    (call,) = events_of(START, block, end(0), closing("tool_use"), STOP).answer().tool_calls
    assert call == ToolCall("now", {}, "{}")


def test_a_call_that_a_limit_has_cut_is_kept_as_written() -> None:
    block = begin(0, type="tool_use", id="t", name="f", input={})
    cut = more(0, "input_json_delta", partial_json='{"city": "Ro')
    (call,) = events_of(START, block, cut, end(0), closing("max_tokens"), STOP).answer().tool_calls
    assert call == ToolCall("f", None, '{"city": "Ro')


def test_it_has_begun_with_the_first_piece_that_holds_something() -> None:
    assert not events_of(START, begin(0, type="text", text="")).begun
    assert not events_of(START, begin(0, type="text"), more(0, "text_delta", text="")).begun
    assert events_of(START, begin(0, type="text"), more(0, "text_delta", text="4")).begun
    assert events_of(START, begin(0, type="tool_use", name="f")).begun


@pytest.mark.parametrize("events", [[], [START], [START, *TEXT], [START, *TEXT, STOP]])
def test_a_stream_without_a_stop_reason_was_cut(events: list[Any]) -> None:
    with pytest.raises(EndpointUnreachable, match="ended in the middle of an answer"):
        events_of(*events).answer()


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        (["{not json"], "it is not JSON"),
        ([{"type": "message_start"}], "message_start brings no message, or comes too late"),
        ([START, START], "message_start brings no message, or comes too late"),
        ([*TEXT, START], "message_start brings no message, or comes too late"),
        ([{"type": "content_block_start", "index": 0}], "content_block_start brings no block"),
        ([begin(1, type="text")], "content block 1 is not the next one"),
        ([begin(0, type="text"), begin(0, type="text")], "content block 0 is not the next one"),
        ([begin(None, type="text")], "content block None is not the next one"),
        ([more(0, "text_delta")], "content_block_delta is about content block 0, unknown"),
        ([end(0)], "content_block_stop is about content block 0, unknown"),
        ([*TEXT, more(0, "text_delta", text="4")], "content block 0 goes on behind its end"),
        ([begin(0, type="text"), more(0, "thinking_delta", thinking="")],
         "a 'thinking_delta' belongs to no block of 'text'"),
        ([begin(0, type="text"), more(0, "new_delta")], "a 'new_delta' belongs to no block of"),
        ([begin(0, type="text"), more(0, "text_delta", text=4)], "text is a whole number, not a"),
        ([START, *TEXT, closing()], "its stream ended without a message_stop"),
        ([START, *TEXT, closing("pause_turn"), STOP], "the server paused in mid-answer"),
        ([START, begin(0, type="image"), closing(), STOP], "of the type 'image', unasked"),
        ([START, *TEXT, closing(output_tokens=-4), STOP], "output_tokens is -4, which cannot be"),
    ],
    ids=range(18),
)  # fmt: skip
def test_what_breaks_the_format_is_named(events: list[Any], problem: str) -> None:
    with pytest.raises(Unexpected) as told:
        events_of(*events).answer()
    assert problem in str(told.value)


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("overloaded_error", EndpointBusy),
        ("rate_limit_error", EndpointBusy),
        ("timeout_error", EndpointBusy),
        ("authentication_error", WrongKey),
        ("permission_error", WrongKey),
        ("api_error", RequestRefused),
        ("invalid_request_error", RequestRefused),
    ],
)
def test_an_error_in_the_middle_is_what_it_stands_for(type_: str, kind: type[EngineError]) -> None:
    error = {"type": "error", "error": {"type": type_, "message": "no, sk-secret"}}
    with pytest.raises(kind) as told:
        events_of(START, *TEXT, error)
    assert type(told.value) is kind
    assert "an error in the stream: no, [redacted]" in str(told.value)


def test_an_unknown_model_may_show_in_the_middle_too() -> None:
    error = {"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}
    with pytest.raises(UnknownModel, match="check the model's `name` in the config"):
        events_of(error)
