"""Every kind of failure over a real socket, held to the table in `tests/standins`.

`tests/end_to_end/test_e2e_failure_kinds.py` shows the same table through a whole run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pytest_llmeval import errors
from pytest_llmeval.engines.engine import Endpoint, make_engine
from pytest_llmeval.errors import EngineError
from pytest_llmeval.records import Answer, Message, Request, Sampling
from pytest_llmeval.running.retries import RetryPolicy
from tests.standins.failure_kinds import (
    ANSWERS,
    CALLS_WITHOUT_JSON,
    FAILURES,
    STREAM_ANSWERS,
    STREAM_FAILURES,
    TIMEOUT,
    Kind,
    unreachable,
)
from tests.standins.faulty import PLAIN, STREAMED, Faulty, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Faulty]:
    yield from serve()


def ask(url: str, fault: str, *, stream: bool = False, times: int = 1) -> Answer:
    """Ask for a fault; the last answer. What never answers is given up soon."""
    endless = (STREAM_FAILURES if stream else FAILURES).get(fault) is TIMEOUT

    async def main() -> Answer:
        endpoint = Endpoint(url, "m", "sk-1", 0.5 if endless else 60, {"stream": stream})
        engine = make_engine("openai", endpoint)
        request = Request((Message("user", f"17 + 25 = ? fault:{fault}"),), Sampling(8))
        try:
            for _ in range(times):
                answer = await engine.complete(request)
            return answer
        finally:
            await engine.close()

    return asyncio.run(main())


def check(error: EngineError, kind: Kind) -> None:
    """Hold an error to the table."""
    assert kind.words in str(error)
    assert (error.reason, error.retryable) == (kind.reason, kind.again)
    assert (RetryPolicy().delay(error, 1, 0.5) is not None) == kind.again


def test_there_are_at_least_forty_kinds_and_each_that_can_be_played_is_in_the_table() -> None:
    assert len({*FAILURES, *STREAM_FAILURES}) >= 40
    assert {*FAILURES, *ANSWERS, "call_without_json"} == set(PLAIN)
    assert {*STREAM_FAILURES, *STREAM_ANSWERS, "stream_call_without_json"} == set(STREAMED)


def test_every_reason_of_a_server_is_met() -> None:
    met = {kind.reason for kind in (*FAILURES.values(), *STREAM_FAILURES.values())}
    kinds = (errors.EndpointUnreachable, errors.EndpointTimeout, errors.EndpointBusy)
    refusals = (errors.RequestRefused, errors.WrongKey, errors.UnknownModel, errors.ContextOverflow)
    assert met == {kind.reason for kind in (*kinds, *refusals, errors.BadAnswer)}


@pytest.mark.parametrize(("fault", "kind"), FAILURES.items(), ids=FAILURES)
def test_a_failure_has_its_reason(server: Faulty, fault: str, kind: Kind) -> None:
    with pytest.raises(EngineError) as told:
        ask(server.url, fault)
    check(told.value, kind)


@pytest.mark.parametrize(("fault", "kind"), STREAM_FAILURES.items(), ids=STREAM_FAILURES)
def test_a_failure_of_a_stream_has_its_reason(server: Faulty, fault: str, kind: Kind) -> None:
    with pytest.raises(EngineError) as told:
        ask(server.url, fault, stream=True)
    check(told.value, kind)


def test_a_port_where_nobody_listens_is_unreachable(dead_port: int) -> None:
    for stream in (False, True):
        with pytest.raises(EngineError) as told:
            ask(f"http://127.0.0.1:{dead_port}", "none", stream=stream)
        check(told.value, unreachable(f"Cannot connect to 127.0.0.1:{dead_port}"))


def test_what_a_server_asks_for_is_obeyed(server: Faulty) -> None:
    with pytest.raises(EngineError) as told:
        ask(server.url, "retry_after_429")
    assert RetryPolicy().delay(told.value, 1, 0.0) == 1.0


@pytest.mark.parametrize(("fault", "answer"), ANSWERS.items(), ids=ANSWERS)
def test_what_is_odd_and_an_answer_is_taken(server: Faulty, fault: str, answer: Answer) -> None:
    assert ask(server.url, fault, times=2) == answer


@pytest.mark.parametrize(("fault", "answer"), STREAM_ANSWERS.items(), ids=STREAM_ANSWERS)
def test_a_stream_that_is_odd_and_an_answer_is_taken(
    server: Faulty, fault: str, answer: Answer
) -> None:
    assert replace(ask(server.url, fault, stream=True), first_token_ms=None) == answer


@pytest.mark.parametrize("fault", CALLS_WITHOUT_JSON)
def test_arguments_without_json_are_none_and_kept_as_written(server: Faulty, fault: str) -> None:
    (call,) = ask(server.url, fault, stream=fault.startswith("stream")).tool_calls
    assert (call.arguments, call.raw) == (None, '{"city": "Os')


def test_the_server_that_plays_faults_takes_proper_requests_only(server: Faulty) -> None:
    assert server.complaints == []
