"""The examination of an endpoint: its order, its budget, and that nothing breaks it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection

import pytest

from pytest_llmeval.errors import (
    EndpointBusy,
    EndpointUnreachable,
    EngineError,
    RequestRefused,
    Unsupported,
)
from pytest_llmeval.records import Answer, Check, CheckName, Likelihood, Request, Usage
from pytest_llmeval.running.checks import Subject
from pytest_llmeval.running.preflight import ALL, Budget, Examined, Way, examine, lacking

Says = Callable[[Request], Answer]


class Engine:
    """Answers at once with what a function says; `seconds` tells how long a request takes."""

    def __init__(
        self,
        says: Says | None = None,
        seconds: Callable[[Request], float] = lambda _: 0.0,
        *,
        error: EngineError | None = None,
    ):
        self.requests: list[Request] = []
        self.busy = self.busiest = self.given_up = 0
        self._says = says or _words
        self._seconds = seconds
        self._error = error

    async def complete(self, request: Request) -> Answer:
        self.requests.append(request)
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        try:
            await asyncio.sleep(self._seconds(request))
            if self._error is not None:
                raise self._error
            return self._says(request)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.busy -= 1

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        self.requests.append(request)
        raise Unsupported("It cannot say how likely a text is.")


def _words(request: Request) -> Answer:
    words = sum(len(message.content.split()) for message in request.messages)
    return Answer("Paris", "length", usage=Usage(words, 1, None, "server"))


def looked_at(engine: Engine, wanted: Collection[CheckName] = ALL, **way: object) -> Examined:
    made = Way(tag_in=lambda _: "", **way)  # type: ignore[arg-type] # whatever a test gives
    return asyncio.run(examine(engine, Subject(), wanted, made))


def verdicts(found: Examined) -> dict[str, str]:
    return {check.name: check.verdict for check in found.checks}


def test_checks_are_told_in_one_order_whatever_is_answered_first() -> None:
    engine = Engine(seconds=lambda request: 0.01 if request.tools else 0.0)
    told = [check.name for check in looked_at(engine, width=8).checks]
    assert told == [name for name in ALL if name != "adapters"]  # which nobody has asked for


def test_where_a_plain_question_is_refused_nothing_else_is_asked() -> None:
    engine = Engine(error=RequestRefused("HTTP 401: Invalid API Key", status=401))
    found = looked_at(engine)
    assert len(engine.requests) == 1
    assert found.checks[0] == Check(
        "alive",
        "lacking",
        "it is refused",
        "user: What is the capital of France?, max_tokens 16",
        "HTTP 401: Invalid API Key",
    )
    assert {c.verdict for c in found.checks if c.name not in {"alive", "model"}} == {"skipped"}


def test_an_endpoint_that_is_gone_makes_checks_and_no_error() -> None:
    found = looked_at(Engine(error=EndpointUnreachable("refused")), budget=Budget(total=0.2))
    assert verdicts(found)["alive"] == "unknown"


@pytest.mark.parametrize(
    "hiccup", [EndpointUnreachable("reset"), EndpointBusy("HTTP 503", status=503)]
)
def test_a_hiccup_shows_nothing_and_the_request_is_sent_again(hiccup: EngineError) -> None:
    failed: set[Request] = set()

    def once(request: Request) -> Answer:
        if request not in failed and len(failed) < 3:
            failed.add(request)
            raise hiccup
        return _words(request)

    engine, calm = Engine(once), Engine()
    wanted: set[CheckName] = {"alive", "usage", "max_tokens", "reasoning"}
    found = looked_at(engine, wanted, width=4, budget=Budget(total=600.0))
    assert verdicts(found) == verdicts(looked_at(calm, wanted, width=4))
    assert found.requests == len(engine.requests) == len(calm.requests) + 3


def test_a_hiccup_is_not_waited_for_beyond_the_budget() -> None:
    busy = EndpointBusy("HTTP 429", status=429, retry_after=60.0)
    engine = Engine(error=busy)
    found = looked_at(engine, ["alive"], budget=Budget(total=30.0))
    assert verdicts(found) == {"alive": "unknown"}
    assert len(engine.requests) == 1


def test_what_the_budget_does_not_allow_is_skipped_and_said() -> None:
    engine = Engine(seconds=lambda _: 0.06)
    found = looked_at(engine, budget=Budget(total=0.1, each=0.09))
    assert verdicts(found)["alive"] == "ok"
    skipped = [check for check in found.checks if check.verdict == "skipped"]
    assert {"system", "tools", "seed"} <= {check.name for check in skipped}
    assert {check.found for check in skipped} == {"the 0.1 s for all checks were over"}
    assert engine.busy == 0


def test_a_request_that_takes_too_long_is_given_up_and_costs_no_other_check() -> None:
    engine = Engine(seconds=lambda request: 600.0 if request.tools else 0.0)
    found = looked_at(engine, budget=Budget(total=600.0, each=0.05), width=4)
    tools = next(check for check in found.checks if check.name == "tools")
    assert (tools.verdict, tools.found) == ("unknown", "no answer within 0.05 s")
    assert engine.given_up == 1
    assert "skipped" not in verdicts(found).values()


def test_the_plain_question_may_take_all_the_time_there_is() -> None:
    engine = Engine(seconds=lambda _: 0.02)
    found = looked_at(engine, ["alive"], budget=Budget(total=600.0, each=0.001))
    assert verdicts(found) == {"alive": "ok"}


def test_a_plain_question_that_outlasts_the_budget_leaves_all_open() -> None:
    engine = Engine(seconds=lambda _: 600.0)
    found = looked_at(engine, budget=Budget(total=0.02, each=0.01))
    assert found.checks[0].found == "no answer within 0.02 s"
    assert verdicts(found)["system"] == "skipped"


@pytest.mark.parametrize("width", [1, 3])
def test_as_many_requests_are_under_way_as_there_are_slots(width: int) -> None:
    engine = Engine(seconds=lambda _: 0.001)
    looked_at(engine, width=width)
    assert engine.busiest == width


def test_seeds_are_compared_alone_and_without_a_cache_where_that_can_be_said() -> None:
    for uncached in (True, False):
        engine = Engine(seconds=lambda _: 0.001)
        looked_at(engine, ["seed", "tools", "system"], width=8, uncached=uncached)
        seeded = [request for request in engine.requests if request.sampling.seed is not None]
        assert engine.requests[-5:] == seeded
        assert {request.cache_prompt for request in seeded} == {not uncached}


def test_a_seed_is_found_lacking_twice_before_it_is() -> None:
    texts = iter("abcxx abcab")
    flicker = Engine(lambda request: Answer(next(texts) if request.sampling.seed else "P", "stop"))
    assert verdicts(looked_at(flicker, ["seed"]))["seed"] == "lacking"
    texts = iter("abcxxabcab")
    flicker = Engine(lambda request: Answer(next(texts) if request.sampling.seed else "P", "stop"))
    assert verdicts(looked_at(flicker, ["seed"]))["seed"] == "ok"


def test_what_is_wanted_is_all_that_is_asked() -> None:
    engine = Engine()
    found = looked_at(engine, ["stop"])
    assert (list(verdicts(found)), len(engine.requests), found.requests) == (
        ["alive", "stop"],
        2,
        2,
    )


def test_what_may_be_in_a_cache_from_before_begins_with_the_salt() -> None:
    engine = Engine()
    looked_at(engine, ["usage", "template", "system"], salt="2026-11-26")
    begun = [request for request in engine.requests if "2026-11-26" in repr(request)]
    assert len(begun) == 3
    assert all(re.match("2026-11-26 one two", each.messages[0].content) for each in begun)


def test_an_endpoint_that_wants_more_room_than_a_token_lacks_nothing_but_that() -> None:
    def says(request: Request) -> Answer:
        if request.sampling.max_tokens < 16:
            raise RequestRefused("max_tokens must be at least 16", status=400)
        return _words(request)

    engine = Engine(says)
    found = verdicts(looked_at(engine, ["usage", "template", "system", "max_tokens"]))
    assert found["max_tokens"] == "unknown"
    assert {found[name] for name in ("usage", "template", "system")} == {"ok"}
    subject = Subject(context=64)
    context = asyncio.run(examine(engine, subject, ["context"], Way(tag_in=lambda _: ""))).checks[
        -1
    ]
    assert context.verdict == "ok"  # it took the long one: room was not what was refused
    assert "more than 64" in context.found


def test_only_what_is_needed_and_lacking_stands_in_the_way() -> None:
    found = [
        Check("usage", "lacking", ""),
        Check("system", "unknown", ""),
        Check("stop", "lacking", ""),
    ]
    assert lacking(found, ["system", "stop"]) == found[2]
    assert lacking(found, ["system", "tools"]) is None
