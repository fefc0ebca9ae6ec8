"""The run under pytest-xdist: a broker in the controller, its client in each worker.

The controller owns the run: scheduler, servers, journal and summary exist once. Workers collect,
ask for predictions by trial id, score and report. They talk over a connection of
`multiprocessing.connection` on the loopback interface, authenticated by a key that reaches the
worker through xdist's own channel. The first worker that has collected hands over the selection;
each reply to a worker carries every prediction that is new to it, so that it rarely has to ask.
Whoever connects proves that it has the key in a thread of its own, so that a stranger on the
machine who says nothing, or nonsense, keeps nobody waiting.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from typing import Any, Protocol

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.parcels import (
    Ask,
    Chat,
    Collected,
    Describe,
    HasBegun,
    News,
    ParcelError,
    Pulse,
    Welcome,
    packed,
    unpacked,
    words_for,
)
from pytest_llmeval.pulses import SECOND, PulseWatch
from pytest_llmeval.records import Answer, Request, Settled
from pytest_llmeval.reporting import NotJudged
from pytest_llmeval.run import Selection, Settings
from pytest_llmeval.servers.identity import identity_of

#: So many seconds a worker goes on without a word from the controller about withdrawn tests.
FRESH = 0.01

#: How long a worker waits for a reply before it looks around, so that Ctrl-C is quick.
SLICE = 0.2


class Owner(Protocol):
    """What the broker needs of the run."""

    def begin(self, selection: Selection) -> None:
        """Start with this selection, the first time it is called."""

    def wait(self, trial_id: str) -> Settled | None:
        """See the scheduler."""

    def news(self, since: int) -> list[Settled]:
        """See the scheduler."""

    def under_way(self, trial_id: str) -> float:
        """See the scheduler."""

    def chat(self, model: str, request: Request) -> Answer:
        """Ask a model something outside the plan."""

    def describe(self, model: str | None) -> dict[str, Any]:
        """The run, or the server of a model."""


class Broker:
    """Serves the controller's run to the workers, one thread per connection.

    `withdrawn` are the tests that no worker shall run any more, by node id, and why. `stopping`
    says why the session ends before its tests do, "" while it goes on.
    """

    def __init__(self, owner: Owner, watch: PulseWatch, stopping: Callable[[], str] = lambda: ""):
        self._owner = owner
        self._stopping = stopping
        self._watch = watch
        self._begun = False
        self._closing = threading.Event()
        self.withdrawn: Mapping[str, str] = {}
        self.key = secrets.token_bytes(32)
        self._listener = Listener(("127.0.0.1", 0), backlog=64)
        self.address: tuple[str, int] = self._listener.address
        threading.Thread(target=self._accept, name="llmeval-broker", daemon=True).start()
        watch.start()

    def close(self) -> None:
        """Accept nobody any more; connections end with their workers."""
        self._watch.stop()
        self._closing.set()
        with contextlib.suppress(OSError):
            Client(self.address).close()  # closing a listener does not wake the one who waits at it
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection = self._listener.accept()
            except OSError:  # somebody hung up too early, or there are too many open files
                self._closing.wait(SLICE)
                continue
            threading.Thread(
                target=self._serve, args=(connection,), name="llmeval-broker-worker", daemon=True
            ).start()

    def _serve(self, connection: Connection[Any, Any]) -> None:
        with connection, contextlib.suppress(EOFError, OSError, AuthenticationError):
            deliver_challenge(connection, self.key)
            answer_challenge(connection, self.key)
            while True:  # what is suppressed is the connection's: _answer raises none of these
                content = connection.recv_bytes()
                connection.send_bytes(self._answer(content))

    def _answer(self, content: bytes) -> bytes:
        """The reply to a message; trouble travels as the error it is."""
        try:
            return packed(self._reply(unpacked(content)))
        except LlmevalError as error:
            return packed(error)
        except Exception as error:  # noqa: BLE001 - unsaid, it would look as if the run had gone
            return packed(LlmevalError(f"the run broke off: {type(error).__name__}: {error}"))

    def _reply(self, message: object) -> object:
        if isinstance(message, Ask):
            return self._news(message)
        if isinstance(message, Pulse):
            self._watch.heard(message)
            return None
        if isinstance(message, Chat):
            return self._owner.chat(message.model, message.request)
        if isinstance(message, Describe):
            return self._owner.describe(message.model)
        if isinstance(message, HasBegun):
            return Welcome(self._begun, self.withdrawn)
        if isinstance(message, Collected):
            self._owner.begin(message.selection)
            self._begun = True
            return None
        raise LlmevalError(f"the broker does not know what {message!r} means")

    def _news(self, ask: Ask) -> News:
        found, never, stopped = None, None, self._stopping()
        try:
            # A worker goes through all that it holds when a session stops: then nothing is waited
            # for, nor sent before its turn. What is there is among the news.
            found = None if stopped else self._owner.wait(ask.trial_id)
        except LlmevalError as error:
            never = str(error)
        under_way, news = self._owner.under_way(ask.trial_id), self._owner.news(ask.seen)
        return News(found, news, under_way, never, self.withdrawn, stopped)


class BrokerClient:
    """A worker's way to the run in the controller."""

    def __init__(self, address: tuple[str, int], key: bytes):
        self._address, self._key = address, key
        self._connection: Connection[Any, Any] | None = Client(address, authkey=key)
        self._lock = threading.Lock()
        self._known: dict[str, Settled] = {}
        self._seen = 0
        self._under_way: dict[str, float] = {}
        self._last_reply: float | None = time.perf_counter()
        self.withdrawn: Mapping[str, str] = {}

    def close(self) -> None:
        """Let go of the broker."""
        if self._connection is not None:
            self._connection.close()

    def begin(self, selection: Selection) -> None:
        """Hand over what this worker collected, if it is the first: a selection may be large."""
        welcome: Welcome = self._call(HasBegun())
        self.withdrawn = welcome.withdrawn
        if welcome.begun:
            return
        try:
            self._call(Collected(selection))
        except ParcelError as error:
            mistakes = [*selection.mistakes, words_for(selection, error)]
            self._call(Collected(Selection(mistakes=mistakes)))

    def is_withdrawn(self, nodeid: str) -> bool:
        """Whether a test has ended two workers meanwhile. Who has all answers already asks for
        none, and would not hear of it.
        """
        if self.seconds_since(0.0) > FRESH:
            with contextlib.suppress(LlmevalError):  # the test itself says that the run has gone
                welcome: Welcome = self._call(HasBegun())
                self.withdrawn = welcome.withdrawn
        return nodeid in self.withdrawn

    def wait(self, trial_id: str) -> Settled | None:
        """As the scheduler's wait, and nothing is kept of a prediction that was handed out."""
        found = self._known.pop(trial_id, None)
        if found is not None:
            return found
        news: News = self._call(Ask(trial_id, self._seen))
        self._seen += len(news.settled)
        self._known.update((settled.trial_id, settled) for settled in news.settled)
        self._under_way = {trial_id: news.under_way}
        told = self._known.pop(trial_id, None)
        self.withdrawn = news.withdrawn
        if news.never is not None:
            raise LlmevalError(news.never)
        if told is None and news.found is None and news.stopped:
            raise NotJudged(f"not judged: {news.stopped}")
        return news.found or told

    def under_way(self, trial_id: str) -> float:
        """As the scheduler knew it at the last ask."""
        return self._under_way.get(trial_id, 0.0)

    def chat(self, model: str, request: Request) -> Answer:
        """Ask a model something outside the plan."""
        answer: Answer = self._call(Chat(model, request))
        return answer

    def describe(self, model: str | None) -> dict[str, Any]:
        """The run, or the server of a model."""
        about: dict[str, Any] = self._call(Describe(model))
        return about

    def feel(self, pulse: Pulse) -> None:
        """Tell the controller that this worker lives."""
        self._call(pulse)

    def seconds_since(self, moment: float) -> float:
        """Seconds since a moment of time.perf_counter() that were not spent with the controller:
        those since its last reply, and none while it is waited for.
        """
        last = self._last_reply
        return 0.0 if last is None else time.perf_counter() - max(moment, last)

    def _call(self, message: object) -> Any:
        """Send, then wait for the reply in slices.

        A connection is only used again after a whole reply: a test's time limit may interrupt the
        wait at any point, and the next question must not get the answer to this one.
        """
        with self._lock:
            content = packed(message)
            self._last_reply = None
            connection, self._connection = self._connection, None
            try:
                connection = connection or Client(self._address, authkey=self._key)
                connection.send_bytes(content)
                while not connection.poll(SLICE):
                    pass
                received = connection.recv_bytes()
                self._connection = connection
            except (EOFError, OSError, AuthenticationError) as error:
                raise LlmevalError("the process that owns the run has gone") from error
            finally:
                self._last_reply = time.perf_counter()
                if connection is not None and self._connection is None:
                    connection.close()
        reply = unpacked(received)
        if isinstance(reply, LlmevalError):
            raise reply
        return reply


class Heart:
    """Tells the controller every second that this worker lives, and at which test it is.

    `at` is that test with the moment of time.perf_counter() at which it began.
    """

    def __init__(self, address: tuple[str, int], key: bytes, worker: str):
        self._address, self._key, self._worker = address, key, worker
        self._stopped = threading.Event()
        self.at: tuple[str, float] | None = None

    def beat(self, client: BrokerClient) -> None:
        """Begin, over a connection of its own; `client` knows how long it has waited for others."""
        run = threading.Thread(target=self._run, args=(client,), name="llmeval-heart", daemon=True)
        run.start()

    def stop(self) -> None:
        """Tell no more."""
        self._stopped.set()

    def _run(self, client: BrokerClient) -> None:
        process = identity_of(os.getpid())
        if process is None:
            return  # it cannot be ended by who it is
        with (
            contextlib.suppress(LlmevalError, OSError, EOFError, AuthenticationError),
            contextlib.closing(BrokerClient(self._address, self._key)) as own,
        ):
            while not self._stopped.is_set():
                nodeid, began = self.at or ("", 0.0)
                seconds = client.seconds_since(began) if nodeid else 0.0
                own.feel(Pulse(self._worker, process, nodeid, seconds))
                self._stopped.wait(SECOND)


class WorkerEvaluation:
    """The run as an xdist worker sees it."""

    def __init__(self, settings: Settings, client: BrokerClient):
        self.settings = settings
        self.client = client

    def wait(self, trial_id: str) -> Settled | None:
        """As the scheduler's wait."""
        return self.client.wait(trial_id)

    def under_way(self, trial_id: str) -> float:
        """Seconds since the trial was sent, 0 if it was not."""
        return self.client.under_way(trial_id)

    def chat(self, model: str, request: Request) -> Answer:
        """Ask a model something outside the plan."""
        return self.client.chat(model, request)

    def describe(self, model: str | None) -> dict[str, Any]:
        """The run, or the server of a model."""
        return self.client.describe(model)
