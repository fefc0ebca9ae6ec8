"""Kept answers in a run: who is asked, who is not, and what an answer from the cache is."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from pytest_llmeval.engines.engine import EndpointFacts
from pytest_llmeval.engines.template_clock import Clock
from pytest_llmeval.errors import EndpointBusy, EngineError
from pytest_llmeval.inputs.config import CacheMode, load_config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import (
    Answer,
    Condition,
    Item,
    Likelihood,
    PromptVariant,
    Request,
    Sampling,
    Suite,
    TokenLogprob,
    ToolCall,
    Trial,
    Usage,
)
from pytest_llmeval.results.manifest import AdapterFacts
from pytest_llmeval.run.caching import (
    OUR_CODE,
    PACKAGE,
    AnswerCache,
    cache_of,
    from_cache,
    is_ours,
    read_answer,
    written_answer,
)
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.running.cache import AnswerStore
from pytest_llmeval.servers.spec import ServerSpec

KEY = b"k" * 32

Make = Callable[[CacheMode], AnswerCache]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[AnswerCache] = []
    told: list[str] = []

    def cache(mode: CacheMode) -> AnswerCache:
        while made:  # what was kept is on the disk by then
            made.pop().close()
        store = AnswerStore(tmp_path, 2**20, writes=mode != "read", tell=told.append)
        made.append(AnswerCache(store, mode))
        return made[0]

    yield cache
    for each in made:
        each.close()
    assert told == []


class Model:
    """Counts how often it was asked; it answers once it may."""

    def __init__(self, *errors: EngineError) -> None:
        self.asked = 0
        self.may = asyncio.Event()
        self._errors = list(errors)

    async def __call__(self) -> Answer:
        self.asked += 1
        number = self.asked
        await self.may.wait()
        if self._errors:
            raise self._errors.pop(0)
        return Answer(f"answer {number}", "stop")


def ready(*errors: EngineError) -> Model:
    model = Model(*errors)
    model.may.set()
    return model


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        ("read-write", "read-write", 0),
        ("read-write", "read", 0),
        ("refresh", "read", 0),
        ("read-write", "refresh", 1),
        ("read", "read-write", 1),
    ],
)
def test_each_mode_takes_and_keeps_what_it_says(
    make: Make, first: CacheMode, second: CacheMode, asked: int
) -> None:
    asyncio.run(make(first).answer(KEY, ready()))
    model = ready()
    found = asyncio.run(make(second).answer(KEY, model))
    assert model.asked == asked
    assert found.origin == ("cache" if not asked else "asked")


def test_equal_requests_under_way_are_sent_once(make: Make) -> None:
    async def both() -> tuple[list[Answer], int]:
        model, cache = Model(), make("read-write")
        waiting = [asyncio.ensure_future(cache.answer(KEY, model)) for _ in range(3)]
        other = asyncio.ensure_future(cache.answer(b"o" * 32, model))
        await asyncio.sleep(0)
        model.may.set()
        await other
        return await asyncio.gather(*waiting), model.asked

    answers, asked = asyncio.run(both())
    assert asked == 2, "one for the three, and one for the other question"
    assert [answer.origin for answer in answers] == ["asked", "cache", "cache"]
    assert len({answer.text for answer in answers}) == 1


def test_a_failure_is_nobodys_answer_and_the_next_in_line_asks(make: Make) -> None:
    async def both() -> tuple[list[object], int]:
        model, cache = Model(EndpointBusy("later", status=503)), make("read-write")
        waiting = [asyncio.ensure_future(cache.answer(KEY, model)) for _ in range(3)]
        await asyncio.sleep(0)
        model.may.set()
        return list(await asyncio.gather(*waiting, return_exceptions=True)), model.asked

    found, asked = asyncio.run(both())
    assert isinstance(found[0], EndpointBusy)
    assert [isinstance(each, Answer) for each in found[1:]] == [True, True]
    assert asked == 2


def test_one_that_is_given_up_leaves_the_question_to_those_who_wait(make: Make) -> None:
    async def both() -> Answer:
        model, cache = Model(), make("read-write")
        first = asyncio.ensure_future(cache.answer(KEY, model))
        second = asyncio.ensure_future(cache.answer(KEY, model))
        await asyncio.sleep(0)
        first.cancel()
        model.may.set()
        return await second

    assert asyncio.run(both()).text == "answer 2"


def test_thousands_of_kept_answers_let_others_have_their_turn(make: Make) -> None:
    async def hits() -> bool:
        cache, model = make("read-write"), ready()
        await cache.answer(KEY, model)
        had_a_turn = asyncio.Event()
        asyncio.get_running_loop().call_soon(had_a_turn.set)
        await cache.answer(KEY, model)
        return had_a_turn.is_set()

    assert asyncio.run(hits())


def test_an_answer_comes_back_as_it_was_but_for_times_that_were_not_measured() -> None:
    usage = Usage(7, 3, 5, "server")
    answer = Answer(
        'text "\ud800 \u2028',
        "tool_calls",
        (ToolCall("f", {"a": 1}, '{"a": 1}'), ToolCall("g", None, "{broken")),
        "thought",
        usage,
        12.0,
        30.0,
        (TokenLogprob("a", -0.1, (("b", -2.0),)),),
        (Likelihood("yes", (-1.0, -2.0), usage, 9.0),),
    )
    kept = read_answer(written_answer(answer))
    assert kept is not None
    assert kept == from_cache(answer)
    assert (kept.text, kept.tool_calls, kept.reasoning) == (
        answer.text,
        answer.tool_calls,
        "thought",
    )
    assert kept.usage == Usage(7, 3, None, "server")
    assert (kept.first_token_ms, kept.service_ms, kept.origin) == (None, None, "cache")
    assert kept.likelihoods == (Likelihood("yes", (-1.0, -2.0), Usage(7, 3, None, "server"), None),)


@pytest.mark.parametrize("line", [b"no line", b"{}", b'{"custom_id": 3}'])
def test_what_is_no_answer_is_asked_for(make: Make, line: bytes) -> None:
    cache, model = make("read-write"), ready()
    cache._store.put(KEY, line)
    assert read_answer(line) is None
    assert asyncio.run(cache.answer(KEY, model)).origin == "asked"


@dataclasses.dataclass
class Opened:
    """A model whose server says what it is."""

    facts: EndpointFacts
    spec: ServerSpec
    digest: str = "d" * 64
    adapters: tuple[AdapterFacts, ...] = ()


def days_asked(
    make: Make, clock: Clock, request: Request, executable: str = sys.executable
) -> list[str]:
    """Which of five requests on three days are asked, each with its day."""
    spec = ServerSpec("m", "llama-server", Path("m.gguf"), 2, 256, Path("log"))
    opened = Opened(EndpointFacts(clock=clock), dataclasses.replace(spec, executable=executable))
    settings = ModelConfig("m", "llama-server", "m", 2, exact=False, timeout=1, start_timeout=1)
    asked, days = [], ["Monday", "Monday", "Tuesday", "Tuesday", "Monday"]
    prompt = PromptVariant("", (), "")
    trial = Trial(
        Suite("s", "s.yaml", (), "", (prompt,), ()),
        Condition("c", "m", prompt, request.sampling),
        Item("i", "i", {}, None),
        *(1, "i", "i"),
    )

    async def all_days() -> None:
        reached: list[str] = []
        through = make("read-write").of_model(
            cast(LiveModel, opened), settings, measured=False, today=lambda: reached[-1]
        )

        async def fresh() -> Answer:
            asked.append(reached[-1])
            return Answer(reached[-1], "stop")

        for day in days:
            reached.append(day)
            await through(trial, request, fresh, 2)

    asyncio.run(all_days())
    return asked


CHAT = Request((), Sampling(8, temperature=0))


def test_what_a_model_says_that_is_told_the_date_counts_for_its_day(make: Make) -> None:
    assert days_asked(make, "day", CHAT) == ["Monday", "Tuesday"]
    completion = dataclasses.replace(CHAT, form="completion")
    assert days_asked(make, "day", completion) == ["Monday"], "no template, no date"


def test_what_a_model_says_that_is_told_the_time_of_day_counts_for_nothing(make: Make) -> None:
    assert len(days_asked(make, "moment", CHAT)) == 5


def test_a_model_that_is_told_no_time_says_the_same_on_any_day(make: Make) -> None:
    assert days_asked(make, "none", CHAT) == ["Monday"]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is executable by its mode there")
def test_what_a_script_starts_is_not_known_and_counts_for_nothing(
    make: Make, tmp_path: Path
) -> None:
    script = tmp_path / "llama-server"
    script.write_text('#!/bin/sh\nexec /opt/llama/llama-server "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    assert len(days_asked(make, "none", CHAT, str(script))) == 5


def test_all_code_between_a_request_and_its_answer_is_there() -> None:
    for pattern in OUR_CODE:
        assert [*PACKAGE.glob(pattern)], pattern


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "models: {a: {engine: embedded, gguf: a.gguf}}\ncache: {mode: off}\n",
        "models: {a: {engine: embedded, gguf: a.gguf}}\nredact: predictions\n",
        "models: {a: {engine: openai, url: 'http://127.0.0.1:1/v1'}}\n",
        "models: {a: {engine: fake}}\n",
    ],
    ids=["off", "redacted", "adopted", "fake"],
)
def test_there_is_no_cache_where_nothing_may_or_can_be_kept(tmp_path: Path, text: str) -> None:
    loaded = load_config(config(tmp_path, text))
    assert cache_of(loaded, dry_run=False, tell=pytest.fail) is None


def test_a_dry_run_neither_takes_nor_keeps_answers(tmp_path: Path) -> None:
    loaded = load_config(
        config(tmp_path, "models: {a: {engine: embedded, gguf: a.gguf}}\n"),
    )
    assert loaded.cache.mode == "read-write", "without a word about it answers are kept"
    assert is_ours(loaded.models["a"])
    assert cache_of(loaded, dry_run=True, tell=pytest.fail) is None
