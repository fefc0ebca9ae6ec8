"""Several endpoints as one engine: who gets which request, and what becomes of one that dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.engines.balanced import (
    FIRST_PROBE,
    LAST_PROBE,
    RELAPSE_PROBE,
    BalancedEngine,
    differences,
)
from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, Refusing, make_engine
from pytest_llmeval.errors import (
    EndpointBusy,
    EndpointTimeout,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import Answer, Message, Request, Sampling
from pytest_llmeval.running.retries import RetryPolicy

if TYPE_CHECKING:
    from tests.engines.conftest import FaultServer, RealServer

ASKED = Request((Message("user", "?"),), Sampling(8))
SAME = EndpointFacts(slots=2, context=256, model_path="/m/a.gguf", build="b1", template_sha256="t")


class Place(Refusing):
    """An endpoint in the process: it answers with its name once it is let, or fails as told."""

    kind = "place"

    def __init__(self, name: str, facts: EndpointFacts = SAME) -> None:
        self.name = name
        self.facts = facts
        self.fails: EngineError | None = None
        self.asked = 0
        self.described = 0
        self.closed = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def describe(self) -> EndpointFacts:
        self.described += 1
        if self.fails is not None:
            raise self.fails
        return self.facts

    async def complete(self, request: Request) -> Answer:
        self.asked += 1
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return Answer(self.name, "stop")

    async def close(self) -> None:
        self.closed = True


class Pauses:
    """Stands for waiting: each pause is noted and lasts until the test ends it."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self._over: list[asyncio.Event] = []

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        over = asyncio.Event()
        self._over.append(over)
        await over.wait()

    async def end(self) -> None:
        """End all pauses, those about to begin too, and let what waited for them go on."""
        await settle()
        for over in self._over:
            over.set()
        await settle()


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(use: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(use())


def balanced(*places: Place, slots: int = 1, pause: Any = None) -> BalancedEngine:
    return BalancedEngine(
        [(f"http://{place.name}", place) for place in places], slots, pause or Pauses()
    )


async def texts(engine: BalancedEngine, number: int) -> list[str]:
    """Ask so many times at once."""
    answers = await asyncio.gather(*(engine.complete(ASKED) for _ in range(number)))
    return [answer.text for answer in answers]


# Who gets a request -------------------------------------------------------------------------------


def test_each_request_goes_where_most_slots_are_free() -> None:
    async def use() -> None:
        large = Place("large", replace(SAME, slots=4))
        engine = balanced(Place("small"), large)
        assert (await engine.describe()).slots == 6
        assert sorted(await texts(engine, 6)) == ["large"] * 4 + ["small"] * 2

    run(use)


def test_a_request_that_is_over_frees_its_slot() -> None:
    async def use() -> None:
        first, second = Place("first"), Place("second")
        engine = balanced(first, second)
        await engine.describe()
        second.gate.clear()
        waiting = [asyncio.ensure_future(engine.complete(ASKED)) for _ in range(4)]
        await settle()
        assert (first.asked, second.asked) == (2, 2)
        assert await texts(engine, 2) == ["first", "first"]
        second.gate.set()
        await asyncio.gather(*waiting)

    run(use)


def test_a_request_given_up_frees_its_slot() -> None:
    async def use() -> None:
        first, second = Place("first"), Place("second")
        engine = balanced(first, second)
        await engine.describe()
        first.gate.clear()
        asking = asyncio.ensure_future(engine.complete(ASKED))
        await settle()
        asking.cancel()
        await settle()
        first.gate.set()
        assert await texts(engine, 1) == ["first"]

    run(use)


def test_slots_are_those_of_the_config_where_an_endpoint_does_not_tell() -> None:
    async def use() -> None:
        silent = EndpointFacts()
        engine = balanced(Place("a", silent), Place("b", silent), Place("c"), slots=3)
        assert (await engine.describe()).slots == 3 + 3 + 2

    run(use)


def test_what_the_engines_refuse_is_refused() -> None:
    async def use() -> None:
        engine = balanced(Place("a"), Place("b"))
        asked: Sequence[Awaitable[Any]] = (
            engine.likelihoods(ASKED),
            engine.tokenize("a"),
            engine.embed(["a"]),
        )
        for each in asked:
            with pytest.raises(Unsupported, match="The engine place"):
                await each

    run(use)


# Whether they are the same ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(SAME, model_path="/m/b.gguf"), "model a.gguf and b.gguf"),
        (replace(SAME, build="b2"), "build b1 and b2"),
        (replace(SAME, context=512), "context 256 and 512"),
        (replace(SAME, template_sha256="u", build="b2"), "build b1 and b2; chat template t and u"),
    ],
)
def test_endpoints_that_differ_are_refused_by_name(other: EndpointFacts, words: str) -> None:
    async def use() -> None:
        engine = balanced(Place("a"), Place("same"), Place("b", other))
        with pytest.raises(Unsupported) as told:
            await engine.describe()
        assert str(told.value) == (
            f"http://a and http://b do not serve the same: {words}. Endpoints that share a model's "
            "requests must be alike; give each a model of its own."
        )

    run(use)


def test_folders_slots_and_what_only_one_tells_are_no_difference() -> None:
    elsewhere = replace(SAME, model_path="D:\\models\\a.gguf", slots=8, build=None)
    assert differences(SAME, elsewhere) == []
    assert differences(SAME, EndpointFacts()) == []


def test_at_first_every_endpoint_must_answer() -> None:
    async def use() -> None:
        dead = Place("b")
        dead.fails = EndpointUnreachable("refused")
        with pytest.raises(EndpointUnreachable, match="http://b: refused"):
            await balanced(Place("a"), dead).describe()

    run(use)


# One that dies ------------------------------------------------------------------------------------

DEATHS = [
    EndpointUnreachable("gone"),
    EndpointBusy("loading", status=503, retry_after=2.0),
    EndpointTimeout("slow"),
]


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: type(death).__name__)
def test_an_endpoint_that_dies_gets_no_more_requests_until_it_is_back(death: EngineError) -> None:
    async def use() -> None:
        first, second, pauses = Place("first"), Place("second"), Pauses()
        engine = balanced(first, second, pause=pauses)
        await engine.describe()
        first.fails = death
        with pytest.raises(type(death), match=f"http://first: {death}"):
            await engine.complete(ASKED)
        assert await texts(engine, 3) == ["second"] * 3
        await pauses.end()
        assert await texts(engine, 1) == ["second"]  # it did not describe itself
        first.fails = None
        await pauses.end()
        assert "first" in await texts(engine, 3)
        assert pauses.waited == [FIRST_PROBE, 2 * FIRST_PROBE]
        await engine.close()

    run(use)


def test_one_that_is_back_gets_one_request_until_it_has_answered() -> None:
    async def use() -> None:
        first, second, pauses = Place("first"), Place("second"), Pauses()
        engine = balanced(first, second, pause=pauses)
        await engine.describe()
        first.fails = EndpointUnreachable("gone")
        with pytest.raises(EndpointUnreachable):
            await engine.complete(ASKED)
        first.fails = None
        await pauses.end()
        first.gate.clear()
        second.gate.clear()
        waiting = [asyncio.ensure_future(engine.complete(ASKED)) for _ in range(4)]
        await settle()
        assert (first.asked, second.asked) == (1 + 1, 3)
        first.gate.set()
        second.gate.set()
        await asyncio.gather(*waiting)
        assert sorted(await texts(engine, 4)) == ["first"] * 2 + ["second"] * 2

    run(use)


def test_one_that_only_seems_to_be_back_cannot_use_up_a_trials_attempts() -> None:
    """It describes itself and answers nothing: from the second time on it stays out for longer than
    all the waits between the attempts at one trial.
    """

    async def use() -> None:
        place, pauses = Place("a"), Pauses()
        engine = balanced(place, pause=pauses)
        await engine.describe()
        for _ in range(3):
            place.fails = EndpointUnreachable("gone")
            with pytest.raises(EndpointUnreachable):
                await engine.complete(ASKED)
            place.fails = None
            await pauses.end()
        policy = RetryPolicy()
        longest = [policy.delay(EndpointUnreachable(""), made, 1.0) or 0.0 for made in (1, 2, 3)]
        assert pauses.waited == [FIRST_PROBE, RELAPSE_PROBE, RELAPSE_PROBE]
        assert sum(longest) < RELAPSE_PROBE
        assert (await engine.complete(ASKED)).text == "a"
        place.fails = EndpointUnreachable("gone")
        with pytest.raises(EndpointUnreachable):
            await engine.complete(ASKED)
        await settle()
        assert pauses.waited[-1] == FIRST_PROBE
        await engine.close()

    run(use)


def test_what_the_server_asked_for_is_kept() -> None:
    async def use() -> None:
        place = Place("a")
        engine = balanced(place, Place("b"))
        await engine.describe()
        place.fails = EndpointBusy("later", status=429, retry_after=2.0)
        with pytest.raises(EndpointBusy) as told:
            await engine.complete(ASKED)
        assert (told.value.status, told.value.retry_after) == (429, 2.0)
        await engine.close()

    run(use)


def test_a_refusal_is_about_the_request_and_takes_nobody_out() -> None:
    async def use() -> None:
        place = Place("a")
        engine = balanced(place, Place("b"))
        await engine.describe()
        place.fails = RequestRefused("no", status=400)
        for _ in range(2):
            with pytest.raises(RequestRefused, match="http://a: no"):
                await engine.complete(ASKED)

    run(use)


def test_where_all_are_out_each_is_tried_in_turn() -> None:
    async def use() -> None:
        places = [Place("a"), Place("b"), Place("c")]
        engine = balanced(*places)
        await engine.describe()
        for place in places:
            place.fails = EndpointUnreachable("gone")
        for name in "abcab":
            with pytest.raises(EndpointUnreachable, match=f"http://{name}: gone"):
                await engine.complete(ASKED)
        places[2].fails = None
        assert (await engine.complete(ASKED)).text == "c"
        await engine.close()

    run(use)


def test_one_that_comes_back_as_something_else_stays_out() -> None:
    async def use() -> None:
        first, second, pauses = Place("first"), Place("second"), Pauses()
        engine = balanced(first, second, pause=pauses)
        await engine.describe()
        first.fails = EndpointUnreachable("gone")
        with pytest.raises(EndpointUnreachable):
            await engine.complete(ASKED)
        first.fails, first.facts = None, replace(SAME, model_path="/m/other.gguf")
        await pauses.end()
        assert await texts(engine, 2) == ["second"] * 2
        second.fails = EndpointUnreachable("gone")
        with pytest.raises(EndpointUnreachable):
            await engine.complete(ASKED)
        with pytest.raises(Unsupported, match="http://first came back as something else: model a"):
            await engine.complete(ASKED)
        await engine.close()

    run(use)


def test_probes_become_rare_and_end_with_the_engine() -> None:
    async def use() -> None:
        place, pauses = Place("a"), Pauses()
        engine = balanced(place, Place("b"), pause=pauses)
        await engine.describe()
        place.fails = EndpointUnreachable("gone")
        with pytest.raises(EndpointUnreachable):
            await engine.complete(ASKED)
        for _ in range(9):
            await pauses.end()
        assert pauses.waited[-2:] == [LAST_PROBE, LAST_PROBE]
        described = place.described
        await engine.close()
        await pauses.end()
        assert place.described == described
        assert place.closed

    run(use)


# Over sockets -------------------------------------------------------------------------------------


def test_a_real_server_goes_on_where_another_one_dies(
    llama_server: RealServer, server: FaultServer
) -> None:
    server.scripts = [[server.reply({}, "404 Not Found")], [server.reply({"data": []})], ["close"]]

    async def use() -> None:
        engines = [
            (url, make_engine("openai", Endpoint(url, "x", llama_server.api_key)))
            for url in (server.url, llama_server.url)
        ]
        engine = BalancedEngine(engines, slots=llama_server.slots)
        assert (await engine.describe()).slots == 2 * llama_server.slots
        with pytest.raises(EndpointUnreachable, match=f"{server.url}: 127.0.0.1:.* closed the con"):
            await engine.complete(ASKED)
        assert len(await texts(engine, 4)) == 4
        await engine.close()

    run(use)
