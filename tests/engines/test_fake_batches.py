"""The fake engine takes batches too, so that a dry run goes every way a run can go."""

from __future__ import annotations

import asyncio

import pytest

from pytest_llmeval.engines.batch import BatchEngine
from pytest_llmeval.engines.fake import FakeEngine, Rule
from pytest_llmeval.errors import EndpointBusy, JobGone
from pytest_llmeval.records import Answer, Message, Request, Sampling


def asked(text: str) -> Request:
    return Request((Message("user", text),), Sampling(8))


def test_a_job_of_the_fake_ends_after_three_looks_with_what_its_rules_say() -> None:
    engine = FakeEngine([Rule("break", fail="busy"), Rule("(.*)", r"\1!")])
    assert isinstance(engine, BatchEngine)

    async def batch() -> None:
        job = await engine.submit("llmeval-1", {"a": asked("hi"), "b": asked("break")}, "label")
        assert await engine.submit("llmeval-1", {}, "label") == job
        states = [(await engine.poll(job)).state for _ in range(4)]
        assert states == ["pending", "running", "completed", "completed"]
        outcomes = (await engine.fetch(job)).outcomes
        assert isinstance(outcomes["a"], Answer)
        assert outcomes["a"].text == "hi!"
        assert isinstance(outcomes["b"], EndpointBusy)

    asyncio.run(batch())


def test_a_job_of_another_process_is_gone() -> None:
    with pytest.raises(JobGone, match="the fake engine knows no batch job llmeval-9"):
        asyncio.run(FakeEngine().poll("llmeval-9"))
