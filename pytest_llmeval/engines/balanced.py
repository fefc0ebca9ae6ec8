"""Several endpoints that serve one model, as one engine: each request goes where most is free.

It wraps engines of any kind. An endpoint that fails in a way that is worth asking again (it could
not be reached, was busy, or took too long) is taken out until it describes itself again, and as
the same as before; the attempt itself fails as it would with one endpoint, so that the scheduler
asks again, elsewhere, and every attempt is recorded.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

from pytest_llmeval.engines.engine import EndpointFacts, Engine
from pytest_llmeval.errors import EngineError, Unsupported
from pytest_llmeval.records import Answer, Likelihood, Request

FIRST_PROBE = 0.5
"""Seconds until an endpoint that was taken out is asked whether it is back; doubled each time."""

RELAPSE_PROBE = 8.0
"""The same for one that came back and failed again before it gave any answer: longer than all waits
between the attempts at one trial, so that it cannot use them up.
"""

LAST_PROBE = 30.0
"""The longest that an endpoint waits between two of these questions."""

T = TypeVar("T")


class BalancedEngine:
    """Speaks to several endpoints as if they were one. `engines` are by url, in the config's order.

    `slots` is how many requests an endpoint takes at once that does not say so itself, `most` how
    many one gets whatever it says; `pause` waits between probes.
    """

    def __init__(
        self,
        engines: Sequence[tuple[str, Engine]],
        slots: int,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most: int | None = None,
    ) -> None:
        self._members = [_Member(url, engine, slots, most) for url, engine in engines]
        self._pause = pause
        self._probes: set[asyncio.Task[None]] = set()
        self._failures = itertools.count(1)

    @property
    def members(self) -> tuple[tuple[str, Engine, EndpointFacts], ...]:
        """Each endpoint by itself, with its url and what it has said of itself (`describe`)."""
        return tuple((m.url, m.engine, m.facts) for m in self._members if m.facts is not None)

    async def describe(self) -> EndpointFacts:
        """Ask all of them, and refuse by name those that do not serve the same.

        The slots are those of all together. At this point every one must answer: whatever is wrong
        with one of them is raised with its url.
        """
        await asyncio.gather(*(member.greet() for member in self._members))
        first, *others = self._members
        for other in others:
            _refuse_differing(first, other)
        assert first.facts is not None
        slots = sum(member.slots for member in self._members)
        return dataclasses.replace(first.facts, slots=slots)

    async def complete(self, request: Request) -> Answer:
        """Make one attempt at the endpoint with the most free slots."""
        return await self._on_one(lambda engine: engine.complete(request))

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """Make one attempt at the endpoint with the most free slots."""
        return await self._on_one(lambda engine: engine.likelihoods(request))

    async def tokenize(self, text: str) -> tuple[int, ...]:
        """Ask one of them: they serve the same model."""
        return await self._on_one(lambda engine: engine.tokenize(text))

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Ask one of them: they serve the same model."""
        return await self._on_one(lambda engine: engine.embed(texts))

    async def close(self) -> None:
        """Close the connections to all of them."""
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        await asyncio.gather(*(member.engine.close() for member in self._members))

    async def _on_one(self, ask: Callable[[Engine], Awaitable[T]]) -> T:
        member = freest(self._members)
        member.busy += 1
        try:
            if member.out:
                await member.greet()  # all are out: it may be back, and may not be the same
            answer = await ask(member.engine)
        except EngineError as error:
            if error.retryable:
                self._take_out(member)
            _place(error, member.url)
            raise
        else:
            member.proven = True
            return answer
        finally:
            member.busy -= 1

    def _take_out(self, member: _Member) -> None:
        member.last_failure = next(self._failures)
        if not member.out:
            member.out = True
            wait = FIRST_PROBE if member.proven else RELAPSE_PROBE
            member.proven = False
            probe = asyncio.ensure_future(self._bring_back(member, wait))
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)

    async def _bring_back(self, member: _Member, wait: float) -> None:
        while member.out:
            await self._pause(wait)
            wait = min(LAST_PROBE, 2 * wait)
            try:
                await member.greet()
            except EngineError:
                continue  # it is still out; what is wrong shows when all are


class _Member:
    """One endpoint: how many requests it has, whether it is taken out, whether it has answered
    since, and the number of its last failure among all.
    """

    def __init__(self, url: str, engine: Engine, slots: int, most: int | None) -> None:
        self.url = url
        self.engine = engine
        self.facts: EndpointFacts | None = None
        self.busy = 0
        self.out = False
        self.proven = True
        self.last_failure = 0
        self._slots = slots
        self._most = most

    @property
    def slots(self) -> int:
        """How many requests it takes at once."""
        slots = (self.facts.slots if self.facts else None) or self._slots
        return slots if self._most is None else min(slots, self._most)

    @property
    def free(self) -> int:
        """How many more it should get: one in all until it is proven; negative for too many."""
        return (self.slots if self.proven else 1) - self.busy

    async def greet(self) -> None:
        """Have it describe itself; it is in again if that is what it was before."""
        try:
            facts = await self.engine.describe()
        except EngineError as error:
            _place(error, self.url)
            raise
        if self.facts is not None and (changed := differences(self.facts, facts)):
            raise Unsupported(f"{self.url} came back as something else: {'; '.join(changed)}")
        self.facts, self.out = facts, False


def freest(members: Sequence[_Member]) -> _Member:
    """The member to ask: of those that are in the one with the most free slots, before any that has
    to prove itself, and of equal ones the one whose last failure is the longest ago. Where all are
    out each is tried in turn.
    """
    inside = [member for member in members if not member.out]
    if not inside:
        return min(members, key=lambda member: member.last_failure)
    return max(inside, key=lambda m: (m.free > 0, m.proven, m.free, -m.last_failure))


def differences(first: EndpointFacts, other: EndpointFacts) -> list[str]:
    """What two endpoints say differently of what they serve, in words; not what only one says."""
    pairs = (
        ("model", file_name(first.model_path), file_name(other.model_path)),
        ("model's name", first.model_name, other.model_name),
        ("build", first.build, other.build),
        ("context", first.context, other.context),
        ("chat template", first.template_sha256, other.template_sha256),
        ("weights", first.digest, other.digest),
    )
    return [
        f"{what} {one} and {two}"
        for what, one, two in pairs
        if one is not None and two is not None and one != two
    ]


def changes(before: EndpointFacts, now: EndpointFacts) -> list[str]:
    """What one endpoint serves otherwise than before, in words. Its context may be another: an
    answer that has no room in it is a failure, and no other answer.
    """
    found = differences(dataclasses.replace(before, context=None), now)
    if before.served and now.served and not set(before.served) & set(now.served):
        found.append(f"models {', '.join(before.served)} and {', '.join(now.served)}")
    return found


def _refuse_differing(first: _Member, other: _Member) -> None:
    assert first.facts is not None
    assert other.facts is not None
    found = differences(first.facts, other.facts)
    if found:
        raise Unsupported(
            f"{first.url} and {other.url} do not serve the same: {'; '.join(found)}. Endpoints "
            f"that share a model's requests must be alike; give each a model of its own."
        )


def file_name(path: str | None) -> str | None:
    """The name of a model's file: its folder may be another one on another machine."""
    return None if path is None else PurePosixPath(path.replace("\\", "/")).name


def _place(error: EngineError, url: str) -> None:
    """Put the endpoint's url in front of an error's words, where it is not there yet."""
    if not str(error).startswith(url):
        error.args = (f"{url}: {error}",)
