"""A model of the config while the run lives: its server if we start one, its engine, its facts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_llmeval.engines.balanced import BalancedEngine, changes
from pytest_llmeval.engines.connection import START_IT
from pytest_llmeval.engines.engine import EndpointFacts, Engine
from pytest_llmeval.engines.tokens import Tokenizer
from pytest_llmeval.errors import (
    EndpointAbsent,
    EndpointBusy,
    EndpointUnreachable,
    EngineError,
    LlmevalError,
    RequestRefused,
    ServerError,
    Unsupported,
)
from pytest_llmeval.records import Answer, Check, Request
from pytest_llmeval.results.manifest import AdapterFacts, weights_digest
from pytest_llmeval.run.counting import TokenCounter
from pytest_llmeval.run.likelihood_answers import answer_of
from pytest_llmeval.run.preflight import Examine
from pytest_llmeval.running.retries import pause_after_hiccup
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.several import ServerGroup
from pytest_llmeval.servers.sharing import SharedServer
from pytest_llmeval.servers.spec import ServerSpec

#: How long a server's process may take to be seen dead after its connections are.
DEATH_SECONDS = 1.0

#: The status of one that is there, and asked too often.
TOO_MANY = 429

#: How long an endpoint that is adopted may go on loading.
LOADING_SECONDS = 600.0


#: Those of a model's weights and of its adapters.
Digests = tuple["str | None", tuple[AdapterFacts, ...]]


@dataclass(frozen=True, slots=True)
class Backing:
    """How a model is reached.

    `make_server` makes a server of ours that logs into a folder, None for an endpoint that is
    adopted at `url`; it may give None itself, where somebody's turns out to answer at `url`.
    `digest` computes that of the weights, and gives up when the function it gets says so;
    `adapters` does the same for what is put on them. `is_loading` asks an adopted endpoint whether
    it is still loading, `unload` has it give back the memory that the model takes there.
    `tokenizer` counts where the endpoint does not. `find_program` looks for what the server needs
    of this machine, and raises MissingExtraError or ServerStartError when it is not there.
    """

    make_server: Callable[[Path], Server | ServerGroup | None] | None
    make_engine: Callable[[str], Engine]
    url: str
    digest: Callable[[Callable[[], bool]], str | None]
    is_loading: Callable[[], bool] | None = None
    unload: Callable[[Engine], Awaitable[None]] | None = None
    tokenizer: Tokenizer | None = None
    adapters: Callable[[Callable[[], bool]], tuple[AdapterFacts, ...]] = lambda _: ()
    find_program: Callable[[], object] = lambda: None

    def weights(self, cancelled: Callable[[], bool]) -> str | None:
        """The digest of the weights together with their adapters."""
        return weights_digest(self.digest(cancelled), self.adapters(cancelled))


class LiveModel:
    """Opens, asks, recovers and closes one model. Its methods belong to the scheduler's loop.

    `place` says where the user wrote it, for messages. `opened` is called when the endpoint has
    said what it is, before anything is asked; what it raises (LlmevalError) refuses the model.
    `examine` is the preflight of its endpoint, None for a model that there is nothing to find out
    about.
    """

    def __init__(
        self,
        name: str,
        backing: Backing,
        logs: Path,
        say: Callable[[str], None],
        place: str,
        opened: Callable[[LiveModel], None] = lambda _: None,
        examine: Examine | None = None,
    ):
        self.name = name
        self._logs = logs
        self._say = say
        self._place = place
        self._backing = backing
        self._opened = opened
        self._examine = examine
        self._counter = TokenCounter(backing.tokenizer)
        self._server: Server | ServerGroup | None = None
        self._ended_by: str | None = None
        self._restarts, self._was_shared = 0, False  # of the servers of earlier turns
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()
        self._recovering = asyncio.Lock()
        self._refused: LlmevalError | None = None
        self._may_be_another = False
        self.facts: EndpointFacts | None = None
        self.digest: str | None = None
        self.adapters: tuple[AdapterFacts, ...] = ()
        self.checks: tuple[Check, ...] = ()

    @property
    def url(self) -> str:
        """Where it answers, once it is open."""
        return self._server.url if self._server is not None else self._backing.url

    @property
    def engine(self) -> Engine:
        """What speaks to it; raises EndpointUnreachable while it is not open."""
        if self._engine is None:
            raise EndpointUnreachable(f"{self.name} is not open")
        return self._engine

    @property
    def slots(self) -> int | None:
        """How many requests it answers at once, as far as it says so."""
        return self.facts.slots if self.facts is not None else None

    @property
    def restarts(self) -> int:
        """How often its server was started again."""
        return self._restarts + (self._server.restarts if self._server is not None else 0)

    @property
    def was_shared(self) -> bool:
        """Whether another run has used its server at the same time."""
        now = isinstance(self._server, SharedServer) and self._server.was_shared
        return self._was_shared or now

    @property
    def spec(self) -> ServerSpec | None:
        """What its server was to be, None for a server that is not ours."""
        return self._server.spec if self._server is not None else None

    @property
    def log_path(self) -> str | None:
        """The file its server writes to, None for a server that is not ours."""
        return str(self._server.spec.log_path) if self._server is not None else None

    async def open(self) -> None:
        """Start the server if there is one, and ask the endpoint what it is.

        The weights' digest is computed while the server loads, and is there before anything is
        asked. Raises LlmevalError; once it has, it does so for good.
        """
        async with self._opening:
            if self._refused is not None:
                raise self._refused
            if self._engine is not None:
                return
            try:
                await self._open()
            except LlmevalError as error:
                self._refused = self._placed(error)
                raise self._refused from error

    def _placed(self, error: LlmevalError) -> LlmevalError:
        """The same trouble with the place where the user wrote this model in front."""
        if isinstance(error, ServerError):
            message = error.message.removeprefix(f"{self.name}: ")  # the place has it already
            return type(error)(f"{self._place}: {message}", log_tail=error.log_tail)
        if isinstance(error, RequestRefused):
            return type(error)(f"{self._place}: {error}", status=error.status)
        return LlmevalError(f"{self._place}: {error}")

    async def _open(self) -> None:
        given_up = threading.Event()
        digests = asyncio.ensure_future(asyncio.to_thread(self._digests, given_up.is_set))
        try:
            if self._backing.make_server is not None:
                server = await asyncio.to_thread(self._backing.make_server, self._logs)
                # What is told of this model is told of all its turns.
                self._restarts, self._was_shared = self.restarts, self.was_shared
                self._server = server
            if self._server is not None:
                await asyncio.to_thread(self._server.start)
            elif self._backing.is_loading is not None:
                await self._outwait_loading(self._backing.is_loading)
            await self._meet(digests)
        finally:
            given_up.set()  # no news to digests that are there
            await asyncio.gather(digests, return_exceptions=True)

    async def _outwait_loading(self, is_loading: Callable[[], bool]) -> None:
        """An adopted endpoint may still be loading its model; anything else shows when asked."""
        for second in range(int(LOADING_SECONDS)):
            if not await asyncio.to_thread(is_loading):
                return
            if second == 0:
                where, most = self._backing.url, int(LOADING_SECONDS)
                self._say(f"llmeval: {self.name} ({where}) is loading: waiting up to {most} s")
            await asyncio.sleep(1.0)

    def _digests(self, given_up: Callable[[], bool]) -> Digests:
        return self._backing.digest(given_up), self._backing.adapters(given_up)

    async def _meet(self, digests: Awaitable[Digests]) -> None:
        """Greet what answers; a server of ours that dies over it is started again."""
        while True:
            try:
                await self._greet(self._backing.make_engine(self.url), digests)
            except EndpointUnreachable:
                if not await self._start_again(DEATH_SECONDS):
                    raise
            else:
                return

    async def _greet(self, engine: Engine, digests: Awaitable[Digests]) -> None:
        try:
            self.facts = await _described(engine)
            digest, self.adapters = await digests
            self.digest = self.facts.digest or digest
            if self._examine is not None:
                found = await self._examine(engine, self.facts, self.digest)
                self._refuse_of_the_dead()
                self.checks = found.checks
            self._opened(self)
        except BaseException:
            await engine.close()
            raise
        self._engine = engine

    def _refuse_of_the_dead(self) -> None:
        """Raise EndpointUnreachable where a server of ours died while it was examined: that says
        nothing of it. The second time it does: a request may be what kills it.
        """
        if self._server is not None and self._ended_by is None and not self._server.alive():
            raise EndpointUnreachable(f"{self.name}: its server ended while it was examined")

    async def ask(self, request: Request) -> Answer:
        """Make one attempt, at an answer or at likelihoods; raises EngineError."""
        engine = self.engine
        await self._know_again(engine)
        with self._noticing():
            if request.continuations:
                return answer_of(await engine.likelihoods(request))
            answer = await engine.complete(request)
        if answer.usage.prompt is not None and answer.usage.completion is not None:
            return answer  # nearly always: what this costs, every trial waits for
        return await self._counter.completed(engine, request, answer)

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Make one attempt at the vectors of some texts; raises EngineError."""
        engine = self.engine
        await self._know_again(engine)
        with self._noticing():
            return await engine.embed(texts)

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        """What was gone, or had no time, may come back as another."""
        try:
            yield
        except (EndpointUnreachable, EndpointBusy) as error:
            self._may_be_another |= error.status != TOO_MANY
            raise

    async def _know_again(self, engine: Engine) -> None:
        """After an adopted endpoint was gone, see that the same is served there before it is asked.

        One of several urls is looked at by their engine. Raises Unsupported when it is another.
        """
        if not self._may_be_another or self.facts is None:
            return
        if self._server is not None or isinstance(engine, BalancedEngine):
            return
        async with self._recovering:
            if not self._may_be_another:
                return
            if changed := changes(self.facts, await engine.describe()):
                raise Unsupported(
                    f"{self.url} came back as something else: {'; '.join(changed)}. Have the same "
                    "served again, and resume the run"
                )
            self._may_be_another = False

    async def recover(self, patience: float = DEATH_SECONDS) -> None:
        """Bring the server back if its process is gone; a live one needs nothing.

        A connection is gone before the process is seen to be: that has `patience` seconds. The new
        process may answer on another port, so the engine is made anew. Raises ServerError.
        """
        async with self._recovering:
            if await self._start_again(patience):
                old, self._engine = self._engine, self._backing.make_engine(self.url)
                if old is not None:
                    await old.close()

    async def _start_again(self, patience: float) -> bool:
        """Restart a server of ours whose process is gone, or will be within `patience` seconds."""
        server = self._server
        if server is None or not await _has_ended(server, patience):
            return False
        self._ended_by = server.exit_description
        self._say(f"llmeval: {self.name}: its server ended ({self._ended_by}); starting again")
        await asyncio.to_thread(server.restart)
        return True

    async def give_way(self) -> None:
        """Close the model so that the next ones have its memory, whoever's the server is."""
        engine, unload = self._engine, self._backing.unload
        if self._server is None and engine is not None and unload is not None:
            try:
                await unload(engine)
            except EngineError as error:
                self._say(f"llmeval: {self.name} was not unloaded and still takes memory: {error}")
        await self.close()

    async def close(self) -> None:
        """Close the connections and stop the server; the model can be opened again."""
        if self._opening.locked() and self._server is not None:
            await asyncio.to_thread(self._server.stop)  # so that a start under way gives up
        async with self._opening:
            engine, self._engine = self._engine, None
            if engine is not None:
                await engine.close()
            if self._server is not None:
                await asyncio.to_thread(self._server.stop)

    def explain(self, error: EngineError) -> str:
        """The error's words, and where it is known what is behind it, that or its log."""
        if isinstance(error, RequestRefused) and _is_of_a_grammar(str(error)):
            where = f": {self.log_path}" if self.log_path is not None else ""
            return f"{error}; the server's log says what is wrong with it{where}"
        if self._server is None or not isinstance(error, EndpointUnreachable):
            return str(error)
        # Its process may not be seen to be dead yet; then it is known what ended the one before.
        ended_by = self._server.exit_description or self._ended_by
        words = str(error).removesuffix(START_IT)
        words = f"{words}; the server ended: {ended_by}" if ended_by else words
        return str(ServerError(words, log_tail=self._server.log_tail()))


async def _described(engine: Engine) -> EndpointFacts:
    """What an endpoint says it is, asked again after a hiccup as any request is: one connection
    that breaks must not cost all the model's trials. Where nobody listens, nobody is waited for.
    """
    made = 0
    while True:
        try:
            return await engine.describe()
        except EngineError as error:
            made += 1
            pause = pause_after_hiccup(error, made)
            if pause is None or isinstance(error, EndpointAbsent):
                raise
        await asyncio.sleep(pause)


def _is_of_a_grammar(words: str) -> bool:
    """llama.cpp answers no more than that it cannot parse it: rule and place are in its log."""
    return "parse grammar" in words.lower() or "parse this grammar" in words


async def _has_ended(server: Server | ServerGroup, patience: float) -> bool:
    while server.alive() and patience > 0:
        await asyncio.sleep(0.05)
        patience -= 0.05
    return not server.alive()


def shared_words(name: str) -> str:
    """What a reader of a run's times should know."""
    return (
        f"{name}: another run has used its server at the same time, so that both waited for each "
        f"other's requests: times, tok/s and slots busy are of both. One of its own has a run with "
        "--llm-set server.shared=false"
    )


async def close_all(models: list[LiveModel]) -> None:
    """Close every model, whatever one of them says; the first trouble is raised at the end."""
    work: list[Awaitable[None]] = [model.close() for model in models]
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
