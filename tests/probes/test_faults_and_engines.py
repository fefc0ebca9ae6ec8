"""Every fault before a real llama.cpp server: the true answer or a named failure, nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from pytest_llmeval.engines.engine import Endpoint, make_engine
from pytest_llmeval.errors import (
    BadAnswer,
    EndpointAbsent,
    EndpointBusy,
    EndpointTimeout,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
)
from pytest_llmeval.probes.faults import KINDS, FaultProxy
from pytest_llmeval.records import Answer, Message, Request, Sampling, ToolCall
from tests.standins.upstream import Upstream, event, stream, whole

Stand = Callable[..., FaultProxy]
Outcome = None | tuple[type[EngineError], str]

RIGHT = None
BREAKS = (EndpointUnreachable, "the connection")
BUSY = (EndpointBusy, "")
LATE = (EndpointTimeout, "gave no complete answer within")

#: What becomes of an answer that comes whole, and of a stream; RIGHT is the undisturbed one.
OUTCOMES: Mapping[str, tuple[Outcome, Outcome]] = {
    "latency:latency=20,jitter=10": (RIGHT, RIGHT),
    "latency:latency=20,stream=upstream": (RIGHT, RIGHT),
    "bandwidth:rate=50": (RIGHT, RIGHT),
    "slow_close:delay=20": (RIGHT, RIGHT),
    "timeout": (LATE, LATE),
    "timeout:timeout=20": (BREAKS, BREAKS),
    "timeout:timeout=20,stream=upstream": (BREAKS, BREAKS),
    "reset_peer": (BREAKS, BREAKS),
    "reset_peer:stream=upstream": (BREAKS, BREAKS),
    "slicer:average_size=7,size_variation=6,delay=10": (RIGHT, RIGHT),
    "slicer:average_size=1,stream=upstream": (RIGHT, RIGHT),
    "limit_data:bytes=0": (BREAKS, BREAKS),
    "limit_data:bytes=90": (BREAKS, BREAKS),
    "limit_data:bytes=400": (BREAKS, BREAKS),
    "down": ((EndpointAbsent, "connection refused"), (EndpointAbsent, "connection refused")),
    "loading": ((EndpointBusy, "HTTP 503: Loading model"),) * 2,
    "rate_limit": ((EndpointBusy, "it asks to be left alone for 1 s"),) * 2,
    "rate_limit:retry_after=30,form=date": ((EndpointBusy, "it asks to be left alone for"),) * 2,
    "server_error": ((RequestRefused, "HTTP 500: Internal server error"),) * 2,
    "server_error:status=502": ((EndpointBusy, "HTTP 502"),) * 2,
    "html": (
        (BadAnswer, "it is not JSON. It begins: <!doctype"),
        (BadAnswer, "what came is text/h"),
    ),
    "invalid_json": ((BadAnswer, "it is not JSON"), (BadAnswer, "it is not JSON")),
    "garbage_utf8": ((BadAnswer, "it is not UTF-8"), (BadAnswer, "it is not UTF-8")),
    "cut_arguments": (RIGHT, RIGHT),  # nobody has called a tool
    "duplicate_index": (RIGHT, (BadAnswer, "it has a second choice, and one was asked for")),
    "empty_deltas": (RIGHT, RIGHT),
    "missing_done": (RIGHT, (BadAnswer, "its stream ended without data: [DONE]")),
    "ping_flood": (LATE, LATE),
    "ping_flood:interval=0": (LATE, LATE),
    "ping_flood:count=20": (RIGHT, RIGHT),
    "hang": (LATE, LATE),
    "hang:events=2": (LATE, LATE),
}

QUESTION = Request((Message("user", "17 + 25 ="),), Sampling(8, temperature=0, seed=7))


def ask(url: str, *, streamed: bool, late: bool, request: Request = QUESTION) -> Answer:
    """One attempt; what never answers is given up soon."""

    async def main() -> Answer:
        engine = make_engine(
            "openai", Endpoint(url, "m", None, 0.4 if late else 60, {"stream": streamed})
        )
        try:
            return await engine.complete(request)
        finally:
            await engine.close()

    return asyncio.run(main())


def tokens_of(answer: Answer) -> tuple[int | None, int | None]:
    return answer.usage.prompt, answer.usage.completion


@pytest.fixture(scope="module")
def truth(tiny_s: str) -> Answer:
    """What the model answers when nothing disturbs it."""
    return ask(tiny_s, streamed=False, late=False)


def test_every_fault_is_tried() -> None:
    assert {fault.partition(":")[0] for fault in OUTCOMES} == set(KINDS)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", OUTCOMES)
def test_the_outcome_is_the_true_answer_or_a_named_failure(
    tiny_s: str, truth: Answer, llm_faults: Stand, fault: str, *, streamed: bool
) -> None:
    outcome = OUTCOMES[fault][streamed]
    proxy = llm_faults(tiny_s, fault)
    if outcome is None:
        answer = ask(proxy.url, streamed=streamed, late=False)
        assert (answer.text, answer.finish_reason) == (truth.text, truth.finish_reason)
        assert tokens_of(answer) == tokens_of(truth)
        return
    kind, words = outcome
    with pytest.raises(EngineError) as failed:
        ask(proxy.url, streamed=streamed, late=outcome is LATE)
    assert type(failed.value) is kind
    assert words in str(failed.value)
    assert proxy.injected


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_fault_that_has_passed_leaves_nothing_behind(
    tiny_s: str, truth: Answer, llm_faults: Stand, *, streamed: bool
) -> None:
    """One client, its connections kept alive, meets one fault after the other, and the truth."""
    faults = [f"{fault}{',' if ':' in fault else ':'}times=1" for fault in OUTCOMES]
    faults = [each for each in faults if not each.startswith(("down", "timeout:times"))]
    faults = [each for each in faults if not each.startswith(("hang", "ping_flood"))]
    proxy = llm_faults(tiny_s)

    async def main() -> list[str]:
        engine = make_engine("openai", Endpoint(proxy.url, "m", None, 60, {"stream": streamed}))
        texts = []
        try:
            for fault in faults:
                await asyncio.to_thread(proxy.change, fault)
                with contextlib.suppress(EngineError):
                    texts.append((await engine.complete(QUESTION)).text)
                texts.append((await engine.complete(QUESTION)).text)
        finally:
            await engine.close()
        return texts

    texts = asyncio.run(main())
    assert set(texts) == {truth.text}
    assert len(texts) >= len(faults)


@pytest.mark.parametrize("name", ["invalid_json", "garbage_utf8"])
def test_wherever_an_answer_is_spoiled_it_is_no_answer(
    tiny_s: str, llm_faults: Stand, name: str
) -> None:
    for seed in range(12):
        proxy = llm_faults(tiny_s, name, seed=seed)
        with pytest.raises(BadAnswer):
            ask(proxy.url, streamed=seed % 2 == 0, late=False)


def test_wherever_a_reply_is_cut_it_is_the_whole_answer_or_none(
    upstream: Upstream, before: Stand
) -> None:
    """Every byte of a whole reply and of a stream; the last ones of a stream hold no answer."""
    complete = {"whole": WHOLE_CALL, "streamed": STREAMED_CALL}
    for name, reply in complete.items():
        upstream.reply = reply
        proxy = before()
        enough = reply.find(b"[DONE]\n\n") + 8 if name == "streamed" else len(reply)
        for size in range(0, len(reply), 3):
            proxy.change(f"limit_data:bytes={size}")
            try:
                answer = ask(proxy.url, streamed=name == "streamed", late=False, request=CALLING)
            except EndpointUnreachable:
                assert size < enough
            else:
                assert size >= enough
                assert answer.tool_calls[0].arguments == {"city": "Oslo"}


# Tool calls, of a server that surely makes them ---------------------------------------------------

USAGE = {"prompt_tokens": 21, "completion_tokens": 9}
FUNCTION = {"name": "weather", "arguments": '{"city": "Oslo"}'}
WHOLE_CALL = whole(
    json.dumps(
        {
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "content": None,
                        "tool_calls": [{"id": "1", "type": "function", "function": FUNCTION}],
                    },
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": USAGE,
        }
    ).encode(),
    "Content-Type: application/json",
)


def piece(finish: str | None = None, **function: str) -> bytes:
    call = {"index": 0, **({"id": "1"} if "name" in function else {}), "function": function}
    delta = {"tool_calls": [call]} if function else {}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


STREAMED_CALL = stream(
    piece(name="weather", arguments=""),
    piece(arguments='{"city'),
    piece(arguments='": "Oslo"}'),
    piece("tool_calls"),
    event({"choices": [], "usage": USAGE}),
    event(b"[DONE]"),
)
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALLING = replace(QUESTION, tools=(TOOL,))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_cut_arguments_are_no_arguments_and_kept_as_they_came(
    upstream: Upstream, before: Stand, *, streamed: bool
) -> None:
    upstream.reply = STREAMED_CALL if streamed else WHOLE_CALL
    proxy = before("cut_arguments:times=1")
    cut = ask(proxy.url, streamed=streamed, late=False, request=CALLING)
    [call] = cut.tool_calls
    assert call.arguments is None
    assert FUNCTION["arguments"].startswith(call.raw)
    [call] = ask(proxy.url, streamed=streamed, late=False, request=CALLING).tool_calls
    assert call == ToolCall("weather", {"city": "Oslo"}, FUNCTION["arguments"])


def test_a_call_that_begins_twice_is_refused(upstream: Upstream, before: Stand) -> None:
    upstream.reply = STREAMED_CALL
    with pytest.raises(BadAnswer, match="tool call 0 begins a second time"):
        ask(before("duplicate_index").url, streamed=True, late=False, request=CALLING)
