"""Fireworks' chat and batches, against a strict stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from pytest_llmeval.engines.batch import BatchEngine
from pytest_llmeval.engines.engine import Endpoint, make_engine, refuse_request
from pytest_llmeval.engines.fireworks import FireworksEngine, root_of
from pytest_llmeval.engines.fireworks_format import request_lines, status_of
from pytest_llmeval.errors import (
    BadAnswer,
    EndpointBusy,
    EndpointUnreachable,
    EngineError,
    JobGone,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import Answer, Message, Request, Sampling, Usage
from tests.standins.fireworks import ACCOUNT, KEY, MODEL, FireworksStandIn

T = TypeVar("T")

ASKED = {
    "s::m::fr": Request((Message("user", "paris"),), Sampling(8, temperature=0, seed=7)),
    "s::m::it": Request(
        (Message("system", "be kind"), Message("user", "rome")), Sampling(8, stop=("\n",))
    ),
}


@pytest.fixture
def service() -> Iterator[FireworksStandIn]:
    with FireworksStandIn().serving() as standin:
        yield standin


class Sleeps:
    """A sleep that takes no time and remembers how long it would have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def run(
    service: FireworksStandIn,
    work: Callable[[FireworksEngine], Awaitable[T]],
    *,
    url: str = "",
    sleeps: Sleeps | None = None,
    **changes: Any,
) -> T:
    """Do something with an engine for the stand-in."""
    given = {"model": MODEL, "api_key": KEY, "timeout": 30.0, "settings": {"account": ACCOUNT}}

    async def working() -> T:
        engine = FireworksEngine(
            Endpoint(url or service.url, **{**given, **changes}), sleep=sleeps or Sleeps()
        )
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(working())


async def ended(engine: FireworksEngine, job: str) -> str:
    """Ask until a job has ended; its state."""
    while not (status := await engine.poll(job)).has_ended:
        pass
    return status.state


async def whole(engine: FireworksEngine, name: str = "llmeval-1") -> Any:
    """A batch from its submission to its results."""
    job = await engine.submit(name, ASKED, "a run, part 1")
    await ended(engine, job)
    return await engine.fetch(job)


# Chat ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/inference/v1", "/inference/v1/"])
def test_a_chat_is_answered_whichever_of_its_addresses_the_config_has(
    service: FireworksStandIn, path: str
) -> None:
    request = ASKED["s::m::fr"]
    answer = run(service, lambda engine: engine.complete(request), url=service.url + path)
    assert answer == Answer("PARIS", "stop", usage=Usage(47, 2, 29, "server"))


def test_sampling_goes_by_the_services_names(service: FireworksStandIn) -> None:
    sampling = Sampling(8, 0.5, 0.9, 40, 0.1, 1.1, 0.2, 0.3, 7, ("END",))
    request = Request((Message("user", "hi"),), sampling, json_schema={"type": "object"})
    run(service, lambda engine: engine.complete(request))
    assert service.asked == [
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 8,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "min_p": 0.1,
            "repetition_penalty": 1.1,
            "presence_penalty": 0.2,
            "frequency_penalty": 0.3,
            "seed": 7,
            "stop": ["END"],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": {"type": "object"}},
            },
            "context_length_exceeded_behavior": "error",
        }
    ]


def test_a_grammar_is_a_format_of_the_answer(service: FireworksStandIn) -> None:
    request = Request((Message("user", "hi"),), Sampling(8), grammar='root ::= "yes"')
    run(service, lambda engine: engine.complete(request))
    (asked,) = service.asked
    assert asked["response_format"] == {"type": "grammar", "grammar": 'root ::= "yes"'}


def test_describing_it_finds_a_key_that_is_not_taken(service: FireworksStandIn) -> None:
    facts = run(service, lambda engine: engine.describe())
    assert (facts.model_name, facts.slots) == (MODEL, None)
    with pytest.raises(RequestRefused, match=r"HTTP 403: The API key you provided is invalid\."):
        run(service, lambda engine: engine.describe(), api_key="fw-wrong")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cache_prompt": False}, "turning the prompt cache off"),
        ({"form": "completion"}, "continuing a text without the chat template"),
        ({"top_logprobs": 2}, "log probabilities"),
    ],
)
def test_what_it_cannot_be_asked_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    request = Request((Message("user", "hi"),), Sampling(8), **changes)
    with pytest.raises(Unsupported, match=f"The engine fireworks has no way of {words}"):
        refuse_request("fireworks", request)


def test_it_says_how_likely_a_text_is_to_nobody(service: FireworksStandIn) -> None:
    request = Request((Message("user", "hi"),), Sampling(8), continuations=("a",))
    with pytest.raises(Unsupported, match="The engine fireworks cannot say how likely"):
        run(service, lambda engine: engine.likelihoods(request))


def test_it_is_an_engine_with_a_second_face() -> None:
    async def look() -> None:
        engine = make_engine("fireworks", Endpoint("http://127.0.0.1:1", model="m"))
        assert isinstance(engine, BatchEngine)
        openai = make_engine("openai", Endpoint("http://127.0.0.1:1", model="m"))
        assert not isinstance(openai, BatchEngine)
        await engine.close()
        await openai.close()

    asyncio.run(look())


# Batches ------------------------------------------------------------------------------------------


def test_a_batch_is_uploaded_run_and_brought_back_by_custom_id(service: FireworksStandIn) -> None:
    results = run(service, whole)
    assert {id_: answer.text for id_, answer in results.outcomes.items()} == {
        "s::m::fr": "PARIS",
        "s::m::it": "ROME",
    }
    assert (results.doubled, results.unreadable) == ((), ())
    assert service.jobs["llmeval-1"].label == "a run, part 1"
    assert service.asked[0]["messages"][0] == {"role": "system", "content": "be kind"}
    assert "model" not in service.asked[0]


def test_a_job_goes_through_its_states(service: FireworksStandIn) -> None:
    service.polls = 3

    async def watch(engine: FireworksEngine) -> list[str]:
        job = await engine.submit("llmeval-1", ASKED, "x")
        return [(await engine.poll(job)).told() for _ in range(3)]

    assert run(service, watch) == ["running", "running", "completed, 2 answered of 2"]


def test_submitting_twice_makes_one_job_and_uploads_once(service: FireworksStandIn) -> None:
    async def twice(engine: FireworksEngine) -> tuple[str, str]:
        first = await engine.submit("llmeval-1", ASKED, "x")
        return first, await engine.submit("llmeval-1", ASKED, "x")

    assert run(service, twice) == ("llmeval-1", "llmeval-1")
    assert (len(service.jobs), service.did("upload")) == (1, 1)


def test_an_upload_that_was_cut_is_made_again_on_the_same_dataset(
    service: FireworksStandIn,
) -> None:
    service.faults.cut_uploads = 1
    with pytest.raises(EndpointUnreachable, match="failed"):
        run(service, whole)
    assert len(run(service, whole).outcomes) == 2
    assert (service.did("upload"), len(service.jobs)) == (2, 1)


def test_a_dataset_that_takes_its_time_is_waited_for(service: FireworksStandIn) -> None:
    service.faults.slow_ready = 3
    sleeps = Sleeps()
    assert len(run(service, whole, sleeps=sleeps).outcomes) == 2
    assert sleeps.seconds == [1.0, 2.0]
    service.faults.slow_ready = 99
    with pytest.raises(EndpointBusy, match="llmeval-2-in does not become READY"):
        run(service, lambda engine: whole(engine, "llmeval-2"))


@pytest.mark.parametrize(
    "operation", ["create dataset", "upload", "get dataset", "create job", "get job"]
)
def test_a_service_that_is_busy_is_worth_asking_again(
    service: FireworksStandIn, operation: str
) -> None:
    service.faults.busy[operation] = 1
    with pytest.raises(EndpointBusy, match="HTTP 429: slow down") as busy:
        run(service, whole)
    assert busy.value.retryable
    assert busy.value.retry_after == 0
    assert len(run(service, whole).outcomes) == 2


def test_a_job_that_nobody_made_is_gone(service: FireworksStandIn) -> None:
    with pytest.raises(JobGone, match="the service knows no batch job llmeval-9"):
        run(service, lambda engine: engine.poll("llmeval-9"))


def test_a_job_that_failed_says_why_and_has_no_results(service: FireworksStandIn) -> None:
    service.faults.end, service.faults.why = "JOB_STATE_FAILED", "invalid role bananas"

    async def fail(engine: FireworksEngine) -> tuple[str, Any]:
        job = await engine.submit("llmeval-1", ASKED, "x")
        await ended(engine, job)
        return (await engine.poll(job)).told(), await engine.fetch(job)

    told, results = run(service, fail)
    assert told == "failed: invalid role bananas"
    assert results.outcomes == {}


def test_what_an_expired_job_has_done_is_kept(service: FireworksStandIn) -> None:
    service.faults.end = "JOB_STATE_EXPIRED"
    service.faults.missing = frozenset({"s::m::it"})
    assert list(run(service, whole).outcomes) == ["s::m::fr"]


def test_errors_lie_in_a_file_of_their_own(service: FireworksStandIn) -> None:
    service.faults.errors = {"s::m::it": {"message": "too long", "code": 400}}
    results = run(service, whole)
    assert str(results.outcomes["s::m::it"]) == "HTTP 400: too long"
    assert results.outcomes["s::m::fr"].text == "PARIS"


def test_doubled_unknown_and_torn_lines_are_told(service: FireworksStandIn) -> None:
    service.faults.doubled = frozenset({"s::m::fr"})
    service.faults.differing = frozenset({"s::m::it"})
    service.faults.unknown = ("who",)
    results = run(service, whole)
    assert set(results.doubled) == {"s::m::fr", "s::m::it"}
    assert "who" in results.outcomes
    assert isinstance(results.outcomes["s::m::it"], BadAnswer)
    service.faults.torn = True
    torn = run(service, lambda engine: whole(engine, "llmeval-2"))
    assert len(torn.unreadable) == 1
    assert "who" not in torn.outcomes


@pytest.mark.parametrize(
    ("fault", "words"),
    [("expired_links", "HTTP 403 for a download"), ("cut_downloads", "The connection to")],
)
def test_a_download_that_breaks_is_asked_for_again_by_a_new_link(
    service: FireworksStandIn, fault: str, words: str
) -> None:
    setattr(service.faults, fault, 1)
    with pytest.raises(EndpointUnreachable, match=words) as broken:
        run(service, whole)
    assert broken.value.retryable
    assert len(run(service, whole).outcomes) == 2
    assert service.did("download endpoint") == 2


def test_a_download_from_elsewhere_must_be_encrypted(
    service: FireworksStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = {"filenameToSignedUrls": {"a.jsonl": "http://192.0.2.1/a.jsonl?x=1"}}
    monkeypatch.setattr(service, "download_endpoint", lambda _: (200, urls))
    with pytest.raises(BadAnswer, match=r"a download at 192\.0\.2\.1:80 over plain http"):
        run(service, whole)


def test_a_wrong_key_is_refused_without_being_repeated(service: FireworksStandIn) -> None:
    with pytest.raises(RequestRefused) as refused:
        run(service, whole, api_key="fw-wrong")
    assert refused.value.status == 403
    assert "fw-wrong" not in str(refused.value)
    assert not refused.value.retryable


def test_a_batch_beyond_one_upload_is_refused_with_the_way_out() -> None:
    long = Request((Message("user", "x" * 1_000_000),), Sampling(8))
    with pytest.raises(Unsupported, match=r"take 160 MB, .* more parts: --llm-parts"):
        request_lines({f"s::m::{n}": long for n in range(160)})


@pytest.mark.parametrize(
    ("job", "state", "words"),
    [
        ({"state": "JOB_STATE_VALIDATING"}, "pending", "validating"),
        ({"state": "JOB_STATE_CREATING", "jobProgress": None}, "pending", "creating"),
        ({"state": "JOB_STATE_WRITING_RESULTS"}, "running", "writing results"),
        ({"state": "JOB_STATE_SOMETHING_NEW"}, "running", "something new"),
        ({"state": "COMPLETED"}, "completed", "completed"),
        ({"state": "JOB_STATE_EXPIRED"}, "failed", "expired"),
        ({"state": "JOB_STATE_DELETING_CLEANING_UP"}, "failed", "deleting cleaning up"),
    ],
)
def test_every_state_of_the_service_is_one_of_ours(
    job: dict[str, Any], state: str, words: str
) -> None:
    status = status_of(job)
    assert (status.state, status.words) == (state, words)


def test_counts_may_come_as_texts() -> None:
    progress = {
        "totalInputRequests": "50",
        "successfullyProcessedRequests": 3,
        "failedRequests": "x",
    }
    status = status_of({"state": "JOB_STATE_RUNNING", "jobProgress": progress})
    assert (status.total, status.answered, status.failed) == (50, 3, None)


@pytest.mark.parametrize("job", [{}, {"state": 4}, {"state": None}])
def test_a_job_without_a_state_is_none(job: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer, match="tells no state of the job"):
        status_of(job)


def test_an_unreachable_service_is_an_error_of_ours(dead_port: int) -> None:
    service = FireworksStandIn()
    service.port = dead_port
    with pytest.raises(EngineError, match=f"127.0.0.1:{dead_port}"):
        run(service, whole)


def test_the_root_is_what_stands_before_the_path_of_its_guides() -> None:
    assert root_of(" https://host/inference/v1/ ") == "https://host"
    assert root_of("https://host/sub") == "https://host/sub"
