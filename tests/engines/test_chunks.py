"""Chunks of a streamed completion, into the answer that would have come whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmeval.engines.chat import chat_answer
from pytest_llmeval.engines.chunks import Chunks, LlamaCppPieces
from pytest_llmeval.engines.completion import llama_cpp_answer
from pytest_llmeval.engines.reading import Unexpected
from pytest_llmeval.engines.sse import Event
from pytest_llmeval.errors import (
    ContextOverflow,
    EndpointBusy,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
)
from pytest_llmeval.records import Answer, ToolCall, Usage

DONE = "[DONE]"


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def call(index: int | None, name: str | None = None, arguments: object = None, **more: Any) -> Any:
    """A chunk with a piece of a tool call."""
    function = {"name": name, "arguments": arguments}
    kept = {key: value for key, value in function.items() if value is not None}
    place = {} if index is None else {"index": index}
    return delta(tool_calls=[{**place, **more, "function": kept}])


def chunks_of(*chunks: Any) -> Chunks:
    """An assembler that has taken these; only the last of them may have been the last."""
    assembler = Chunks(chat_answer, "sk-secret")
    for chunk in chunks:
        data = chunk if isinstance(chunk, str) else json.dumps(chunk)
        assert assembler.add(Event("", data.encode())) is (chunk == DONE)
    return assembler


def problem_of(*chunks: Any) -> str:
    """What is wrong with a stream that is no answer."""
    with pytest.raises(Unexpected) as told:
        chunks_of(*chunks).answer()
    return str(told.value)


def test_an_answer_of_llama_cpp_is_put_together_with_tokens_and_times() -> None:
    answer = chunks_of(
        delta(role="assistant", content=None),
        delta(reasoning_content="17 +"),
        delta(reasoning_content=" 25"),
        delta(content="4"),
        delta(content="2"),
        delta("stop"),
        {
            "choices": [],
            "usage": {"prompt_tokens": 21, "completion_tokens": 3},
            "timings": {"cache_n": 16, "prompt_ms": 1.25, "predicted_ms": 2.5},
        },
        DONE,
    ).answer()
    assert answer == Answer(
        "42",
        "stop",
        reasoning="17 + 25",
        usage=Usage(21, 3, 16, "server"),
        first_token_ms=1.25,
        service_ms=3.75,
    )


def test_usage_may_come_with_the_last_piece_and_nobody_needs_to_count() -> None:
    assert chunks_of(delta("length", content="4"), DONE).answer() == Answer("4", "length")
    told = {**delta("stop", content="4"), "usage": {"prompt_tokens": 2}}
    assert chunks_of(told, DONE).answer().usage == Usage(2, None, None, "server")


def test_an_error_that_is_null_is_none() -> None:
    chunks = [delta(content="4", error=None), {**delta("stop"), "error": None}, DONE]
    assert chunks_of(*chunks).answer() == Answer("4", "stop")


def test_it_has_begun_with_the_first_piece_that_holds_something() -> None:
    assert not chunks_of(delta(role="assistant", content=""), {"choices": []}).begun
    assert not chunks_of(delta("stop")).begun
    assert chunks_of(delta(content="4")).begun
    assert chunks_of(delta(reasoning_content="hm")).begun
    assert chunks_of(delta(reasoning="hm")).begun
    assert chunks_of(call(0, "f", "")).begun


@pytest.mark.parametrize("pieces", [['{"city": "Zürich"}'], list('{"city": "Zürich"}')])
def test_a_call_is_the_same_in_one_piece_or_letter_by_letter(pieces: list[str]) -> None:
    chunks = [call(0, "weather", "", id="a", type="function"), *(call(0, None, p) for p in pieces)]
    answer = chunks_of(*chunks, delta("tool_calls"), DONE).answer()
    assert answer.tool_calls == (ToolCall("weather", {"city": "Zürich"}, '{"city": "Zürich"}'),)
    assert answer.finish_reason == "tool_calls"


def test_calls_may_be_interleaved_and_keep_the_order_of_their_index() -> None:
    answer = chunks_of(
        call(0, "a", '{"n":', id="1"),
        call(1, "b", "{}", id="2"),
        call(0, None, " 1}", id="1"),
        delta("tool_calls"),
        DONE,
    ).answer()
    assert answer.tool_calls == (ToolCall("a", {"n": 1}, '{"n": 1}'), ToolCall("b", {}, "{}"))


def test_arguments_that_are_no_json_are_kept_as_written() -> None:
    answer = chunks_of(call(0, "f", '{"city": "Ro'), delta("length"), DONE).answer()
    assert answer.tool_calls == (ToolCall("f", None, '{"city": "Ro'),)


def test_the_log_probabilities_of_all_pieces_stand_in_one_list() -> None:
    token = {"token": "4", "logprob": -0.1, "top_logprobs": []}
    piece = {"choices": [{"delta": {"content": "4"}, "logprobs": {"content": [token]}}]}
    whole = chunks_of(piece, piece, delta("stop"), DONE).whole()
    assert whole["choices"][0]["logprobs"] == {"content": [token, token]}


def test_log_probabilities_side_by_side_are_put_together_list_by_list() -> None:
    lists: dict[str, list[Any]] = {"tokens": ["4"], "token_logprobs": [-0.1], "text_offset": [0]}
    piece = {"choices": [{"text": "4", "logprobs": lists}]}
    last = {"choices": [{"text": "", "logprobs": None, "finish_reason": "stop"}]}
    (choice,) = chunks_of(piece, piece, last, DONE).whole()["choices"]
    assert choice["logprobs"] == {key: 2 * value for key, value in lists.items()}


def test_a_raw_completion_may_be_empty() -> None:
    last = {"choices": [{"text": "", "finish_reason": "stop"}]}
    (choice,) = chunks_of(last, DONE).whole()["choices"]
    assert choice["text"] == ""


def test_a_raw_completion_has_its_text_in_the_choice() -> None:
    pieces = [{"choices": [{"text": text, "index": 0, "finish_reason": None}]} for text in " 42"]
    last = {"choices": [{"text": "", "index": 0, "finish_reason": "stop"}]}
    (choice,) = chunks_of(*pieces, last, DONE).whole()["choices"]
    assert (choice["text"], choice["finish_reason"]) == (" 42", "stop")


@pytest.mark.parametrize(
    ("chunks", "problem"),
    [
        (["{not json"], "it is not JSON"),
        (['{"choices": [], "n": NaN}'], "it holds NaN, which is not JSON"),
        (["[1]"], "it is a list, not an object"),
        ([{"object": "chat.completion.chunk"}], "it has no choices"),
        ([{"choices": {}}], "choices is an object, not a list"),
        ([{"choices": ["4"]}], "an entry of choices is a string, not an object"),
        ([{"choices": [{"index": 1, "delta": {}}]}], "it has a second choice, and one was asked"),
        ([{"choices": [{"delta": "4"}]}], "delta is a string, not an object"),
        ([delta(content=["4"])], "content is a list, not a string"),
        ([delta("stop", content="4")], "its stream ended without data: [DONE]"),
        ([delta("stop"), delta(content="more")], "it goes on behind its finish_reason"),
        ([delta("stop"), call(0, "f")], "it goes on behind its finish_reason"),
        ([delta("stop"), delta("length")], "it has a second finish_reason, another one"),
        ([delta("eos", content="4"), DONE], "finish_reason is \"eos\", not one of stop"),
        ([call(None, "f")], "a piece of a tool call has no index"),
        ([call(1, "f")], "tool call 1 comes after 0 others"),
        ([call(-1, "f")], "tool call -1 comes after 0 others"),
        ([call(0, "f", "{}"), call(0, "g", "{}")], "tool call 0 begins a second time"),
        ([call(0, "f", id="1"), call(0, None, id="2")], "tool call 0 begins a second time"),
        ([call(0, "f", {"a": 1})], "arguments is an object, not a string"),
        ([call(0, None, "{}"), delta("tool_calls"), DONE], "has no function with a name"),
        ([delta("stop", content="4"), {"choices": [], "usage": {"prompt_tokens": -1}}, DONE],
         "prompt_tokens is -1, which cannot be"),
    ],
    ids=range(22),
)  # fmt: skip
def test_what_breaks_the_format_is_named(chunks: list[Any], problem: str) -> None:
    assert problem in problem_of(*chunks)


@pytest.mark.parametrize("chunks", [[], [delta(content="4")], [delta(content="4"), DONE]])
def test_a_stream_without_a_finish_reason_was_cut(chunks: list[Any]) -> None:
    with pytest.raises(EndpointUnreachable, match="ended in the middle of an answer"):
        chunks_of(*chunks).answer()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ({"code": 500, "message": "Compute error"}, RequestRefused, "Compute error"),
        ({"code": 503, "message": "Loading model"}, EndpointBusy, "Loading model"),
        ({"type": "overloaded_error", "message": "Overloaded"}, EndpointBusy, "Overloaded"),
        ({"type": "rate_limit_exceeded", "message": "slow down"}, EndpointBusy, "slow down"),
        ("out of memory", RequestRefused, "out of memory"),
        ({"message": "bad key sk-secret"}, RequestRefused, "bad key [redacted]"),
        (
            {"type": "exceed_context_size_error", "message": "n", "n_prompt_tokens": 9, "n_ctx": 8},
            ContextOverflow,
            "n (the prompt has 9 tokens, the context 8: give the model a larger context",
        ),
    ],
)
def test_an_error_in_the_middle_is_what_it_stands_for(
    error: object, kind: type[EngineError], words: str
) -> None:
    with pytest.raises(kind) as told:
        chunks_of(delta(content="4"), {"error": error})
    assert f"HTTP 200, and then an error in the stream: {words}" in str(told.value)
    assert "sk-secret" not in str(told.value)
    assert told.value.status == 200


# llama.cpp's own completions ----------------------------------------------------------------------


def pieces_of(*pieces: Any) -> LlamaCppPieces:
    """An assembler that has taken these."""
    assembler = LlamaCppPieces(lambda data: llama_cpp_answer(data, 8), "sk-secret")
    for piece in pieces:
        done = assembler.add(Event("", json.dumps(piece).encode()))
        assert done is (piece.get("stop") is True)
    return assembler


def test_the_last_piece_of_llama_cpp_holds_all_but_the_text() -> None:
    last = {"content": "", "stop": True, "stop_type": "eos", "tokens_evaluated": 7}
    pieces = ({"content": text, "stop": False} for text in " 42")
    assembler = pieces_of(*pieces, last)
    assert assembler.begun
    assert assembler.answer() == Answer(" 42", "stop", usage=Usage(7, None, None, "server"))


def test_without_its_last_piece_it_was_cut() -> None:
    with pytest.raises(EndpointUnreachable, match="ended in the middle"):
        pieces_of({"content": "4", "stop": False}).answer()


def test_what_is_no_piece_is_named_and_an_error_is_what_it_stands_for() -> None:
    with pytest.raises(Unexpected, match="it has no content"):
        pieces_of({"stop": False})
    with pytest.raises(EndpointBusy, match=r"an error in the stream: no, \[redacted\]"):
        pieces_of({"error": {"code": 503, "message": "no, sk-secret"}})
