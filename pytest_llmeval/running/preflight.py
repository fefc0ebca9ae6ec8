"""Preflight: whether an endpoint can do what will be asked of it, found out before the first item.

A few small requests, each answered in milliseconds by a small model, and all of them within a
budget. None is journaled or counted. What they show is decided in `checks.py`. A connection that
breaks shows nothing: as any other, a request that met one is sent again while there is time.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

from pytest_llmeval.errors import EngineError
from pytest_llmeval.records import Answer, Check, CheckName, Likelihood, Request

from . import checks, probes
from .checks import Reply, Subject
from .retries import pause_after_hiccup

ALL: tuple[CheckName, ...] = get_args(CheckName)

ALWAYS: frozenset[CheckName] = frozenset(
    ("alive", "model", "context", "usage", "template", "max_tokens", "truncation", "reasoning")
)
"""What is looked at whatever the suites need: four requests beside the plain one."""

_SEEDS = 11, 12, 13, 11, 12


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds for all checks of an endpoint together, and for one request."""

    total: float = 5.0
    each: float = 2.0


class Probed(Protocol):
    """What preflight needs of an engine."""

    async def complete(self, request: Request) -> Answer:
        """Make one attempt at an answer."""
        ...

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """Make one attempt at the likelihoods of the request's continuations, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Examined:
    """What an examination found, in the order of `CheckName`, and what it took."""

    checks: tuple[Check, ...]
    requests: int
    seconds: float


_WORST = ("lacking", "unknown", "skipped", "ok")
"""Verdicts, the worst first."""


def worst_of(found: Mapping[str, Examined]) -> Examined:
    """What holds of several endpoints that share the requests, by url: of each check the worst.

    Where that is not ok, the url that showed it stands in front: a request may go to any of them.
    """
    checks: dict[CheckName, Check] = {}
    for url, examined in found.items():
        for check in examined.checks:
            worst = checks.get(check.name)
            if worst is None or _WORST.index(check.verdict) < _WORST.index(worst.verdict):
                is_ok = check.verdict == "ok"
                checks[check.name] = dataclasses.replace(
                    check, found=check.found if is_ok else f"{url}: {check.found}"
                )
    return Examined(
        tuple(checks[name] for name in ALL if name in checks),
        sum(examined.requests for examined in found.values()),
        max(examined.seconds for examined in found.values()),
    )


@dataclass(frozen=True, slots=True)
class Way:
    """How an endpoint is examined.

    `width` is how many requests it gets at once; `salt` begins some prompts, so that no other
    examination has left them in its prompt cache; `cache` is whether it may keep ours, and
    `uncached` whether its engine has a way to ask that it does not. `tag_in` gives the first tag of
    reasoning in a text, "" without one.
    """

    tag_in: Callable[[str], str]
    budget: Budget = Budget()
    width: int = 1
    salt: str = ""
    cache: bool = True
    uncached: bool = False


async def examine(
    engine: Probed, subject: Subject, wanted: Collection[CheckName], way: Way
) -> Examined:
    """Look at what is wanted of an endpoint. Whatever it does makes a check, and no error."""
    began = asyncio.get_running_loop().time()
    examination = _Examination(engine, subject, way, began + way.budget.total)
    found = await examination.run({*wanted, "alive"})
    return Examined(
        tuple(sorted(found, key=lambda check: ALL.index(check.name))),
        examination.requests,
        asyncio.get_running_loop().time() - began,
    )


class _OutOfTimeError(Exception):
    """The budget was spent before a request could be sent, or answered."""


class _Examination:
    """Asks one endpoint. A check that the budget does not allow is skipped."""

    def __init__(self, engine: Probed, subject: Subject, way: Way, deadline: float):
        self._engine = engine
        self._subject = subject
        self._way = way
        self._deadline = deadline
        self._free = asyncio.Semaphore(way.width)
        self._replies: list[Reply] = []
        self._wanted: set[CheckName] = set()
        self.requests = 0

    async def run(self, wanted: set[CheckName]) -> list[Check]:
        """All checks that are wanted: first the plainest request, then the others side by side.

        The seed comes last and alone: what else is under way moves the last digits.
        """
        self._wanted = wanted
        try:
            plain = await self._ask(probes.plain(), patience=self._way.budget.total)
        except _OutOfTimeError:
            plain = Reply(probes.plain(), late=self._way.budget.total)
        found = [checks.alive(plain)]
        if "model" in wanted:
            found.append(checks.model(self._subject))
        if self._subject.adapters:
            found.append(checks.adapters(self._subject))
        left = wanted - {"alive", "model", "adapters"}
        if found[0].verdict != "ok":
            return found + [_skipped(name, "a plain question was not answered") for name in left]
        groups: list[tuple[set[CheckName], Callable[[Reply], Awaitable[list[Check]]]]] = [
            ({"usage", "template", "system"}, self._counts),
            ({"max_tokens", "truncation"}, self._cut),
            ({"context"}, self._context),
            ({"tools"}, self._tools),
            ({"stop"}, self._stop),
            ({"json_schema"}, self._json_schema),
            ({"grammar"}, self._grammar),
            ({"logprobs"}, self._logprobs),
            ({"likelihoods"}, self._likelihoods),
        ]
        works = [self._within(names & left, work, plain) for names, work in groups if names & left]
        for more in await asyncio.gather(*works):
            found += more
        if "seed" in left:
            found += await self._within({"seed"}, self._seed, plain)
        if "reasoning" in left:
            found.append(checks.reasoning(self._replies, self._way.tag_in))
        return found

    async def _within(
        self,
        names: set[CheckName],
        work: Callable[[Reply], Awaitable[list[Check]]],
        plain: Reply,
    ) -> list[Check]:
        """These checks of a group, or that there was no time for them."""
        try:
            return [check for check in await work(plain) if check.name in names]
        except _OutOfTimeError:
            why = f"the {self._way.budget.total:g} s for all checks were over"
            return [_skipped(name, why) for name in names]

    async def _ask(
        self, request: Request, *, patience: float | None = None, cache: bool = True
    ) -> Reply:
        """What comes of a request, sent again after a hiccup while there is time."""
        request = dataclasses.replace(request, cache_prompt=cache and self._way.cache)
        patience = self._way.budget.each if patience is None else patience
        async with self._free:
            for made in itertools.count(1):
                reply = await self._once(request, patience)
                pause = pause_after_hiccup(reply.error, made, self._left())
                if pause is None:
                    break
                await asyncio.sleep(pause)
            self._replies.append(reply)
            return reply

    def _left(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    async def _once(self, request: Request, patience: float) -> Reply:
        """One attempt, within its own time and that of all."""
        left = self._left()
        limit = min(patience, left)
        if left <= 0:
            raise _OutOfTimeError
        self.requests += 1
        try:
            return await asyncio.wait_for(self._attempt(request), limit)
        except asyncio.TimeoutError:
            if limit == left:
                raise _OutOfTimeError from None
            return Reply(request, late=limit)

    async def _attempt(self, request: Request) -> Reply:
        try:
            if request.continuations:
                return Reply(request, likelihoods=await self._engine.likelihoods(request))
            return Reply(request, await self._engine.complete(request))
        except EngineError as error:
            return Reply(request, error=error)

    # The checks -----------------------------------------------------------------------------------

    async def _counts(self, plain: Reply) -> list[Check]:
        asked: dict[CheckName, Request] = {
            "usage": probes.longer(self._way.salt),
            "template": probes.conversation(self._way.salt),
            "system": probes.with_system(self._way.salt),
        }
        wanted = [name for name in asked if name == "usage" or name in self._wanted]
        gathered = await asyncio.gather(*(self._count(asked[name]) for name in wanted))
        replies = dict(zip(wanted, gathered, strict=True))
        subject = self._subject
        counts = checks.usage(subject, plain, replies.pop("usage"))
        judges = {"template": checks.template, "system": checks.system}
        return [counts, *(judges[name](subject, plain, replies[name], counts) for name in replies)]

    async def _count(self, request: Request) -> Reply:
        """Have a prompt counted, for which an answer of one token will do. Some refuse so little
        room: what is refused for that reason shows no lack.
        """
        reply = await self._ask(request)
        refused = reply.error is not None and not reply.error.retryable
        return await self._ask(probes.roomier(request)) if refused else reply

    async def _cut(self, plain: Reply) -> list[Check]:
        reply = await self._ask(probes.cut())
        return [checks.max_tokens(reply), checks.truncation(plain, reply)]

    async def _context(self, _: Reply) -> list[Check]:
        size = self._subject.context
        request = None if size is None else probes.overlong(size, self._way.salt)
        reply = None if request is None else await self._ask(request)
        return [checks.context(self._subject, reply)]

    async def _tools(self, _: Reply) -> list[Check]:
        asked = await self._ask(probes.with_tools(self._way.salt))
        called = asked.answer is None or asked.answer.tool_calls
        without = None if called else await self._ask(probes.without_tools())
        return [checks.tools(asked, without)]

    async def _stop(self, plain: Reply) -> list[Check]:
        piece = probes.stop_within(plain.text)
        if not piece:
            return [checks.no_stop(plain)]
        return [checks.stop(plain, await self._ask(probes.with_stop(piece)))]

    async def _json_schema(self, _: Reply) -> list[Check]:
        return [checks.json_schema(await self._ask(probes.with_schema()))]

    async def _grammar(self, _: Reply) -> list[Check]:
        return [checks.grammar(await self._ask(probes.with_grammar()))]

    async def _logprobs(self, _: Reply) -> list[Check]:
        return [checks.logprobs(await self._ask(probes.with_logprobs()))]

    async def _likelihoods(self, _: Reply) -> list[Check]:
        return [checks.likelihoods(await self._ask(probes.with_continuations()))]

    async def _seed(self, _: Reply) -> list[Check]:
        """Whether it decides; asked without a prompt cache where that can be said."""
        found = await self._seeds_once()
        # One token near the edge may fall otherwise, rarely twice in a row.
        return found if found[0].verdict != "lacking" else await self._seeds_once()

    async def _seeds_once(self) -> list[Check]:
        cache = not self._way.uncached
        replies = [await self._ask(probes.with_seed(seed), cache=cache) for seed in _SEEDS]
        return [checks.seed(replies)]


def _skipped(name: CheckName, why: str) -> Check:
    return Check(name, "skipped", why)


def lacking(found: Sequence[Check], needed: Collection[CheckName]) -> Check | None:
    """The first check that is needed and lacking, None where nothing stands in the way."""
    return next((c for c in found if c.name in needed and c.verdict == "lacking"), None)
