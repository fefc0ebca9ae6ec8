"""The broker that serves the run in xdist's controller to the workers, and its client."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from typing import Any

import pytest

from pytest_llmeval.errors import EndpointBusy, LlmevalError, MissingExtraError
from pytest_llmeval.pulses import Patience, PulseWatch
from pytest_llmeval.records import Answer, Message, Prediction, Request, Sampling, Settled
from pytest_llmeval.reporting import NotJudged
from pytest_llmeval.run import Selection
from pytest_llmeval.workers import Broker, BrokerClient

REQUEST = Request((Message("user", "hello"),), Sampling(max_tokens=4))


def predicted(trial_id: str) -> Prediction:
    return Prediction(trial_id, Answer(f"answer to {trial_id}", "stop"), None)


class Owner:
    """A run whose predictions are put in by hand, and which remembers what it was asked."""

    def __init__(self) -> None:
        self.log: list[Settled] = []
        self.waited: list[str] = []
        self.begun: list[Selection] = []
        self.trouble: Exception | None = None

    def begin(self, selection: Selection) -> None:
        self.begun.append(selection)

    def wait(self, trial_id: str) -> Settled | None:
        self.waited.append(trial_id)
        if trial_id == "never":
            raise LlmevalError("never is not part of this run's plan")
        return next((p for p in self.log if p.trial_id == trial_id), None)

    def news(self, since: int) -> list[Settled]:
        return self.log[since:]

    def under_way(self, trial_id: str) -> float:
        return 1.5

    def chat(self, model: str, request: Request) -> Answer:
        if self.trouble is not None:
            raise self.trouble
        return Answer(f"{model}: {request.messages[0].content}", "stop")

    def describe(self, model: str | None) -> dict[str, Any]:
        return {"model": model}


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def broker(owner: Owner) -> Iterator[Broker]:
    broker = Broker(owner, PulseWatch(print, Patience()))
    yield broker
    broker.close()


@pytest.fixture
def client(broker: Broker) -> Iterator[BrokerClient]:
    client = BrokerClient(broker.address, broker.key)
    yield client
    client.close()


class TestPredictions:
    def test_one_that_is_not_there_yet_is_none_and_tells_how_long_it_is_under_way(
        self, client: BrokerClient
    ) -> None:
        assert client.wait("a") is None
        assert client.under_way("a") == 1.5
        assert client.under_way("b") == 0.0

    def test_one_reply_brings_everything_that_is_new(
        self, owner: Owner, client: BrokerClient
    ) -> None:
        owner.log += [predicted("a"), predicted("b"), predicted("c")]
        assert client.wait("b") == predicted("b")
        assert client.wait("a") == predicted("a")
        assert client.wait("c") == predicted("c")
        assert owner.waited == ["b"]

    def test_a_trial_may_be_asked_for_twice(self, owner: Owner, client: BrokerClient) -> None:
        owner.log += [predicted("a"), predicted("b")]
        for trial_id in ("a", "a", "b", "b", "a"):
            assert client.wait(trial_id) == predicted(trial_id)

    def test_what_comes_between_two_asks_is_not_lost(
        self, owner: Owner, client: BrokerClient
    ) -> None:
        owner.log.append(predicted("a"))
        assert client.wait("b") is None
        owner.log += [predicted("b"), predicted("c")]
        assert [client.wait(each) for each in "abc"] == [predicted(each) for each in "abc"]

    def test_when_the_session_ends_what_is_there_is_given_and_nothing_is_waited_for(
        self, owner: Owner
    ) -> None:
        words = "stopping after 1 failures"
        broker = Broker(owner, PulseWatch(print, Patience()), lambda: words)
        with (
            contextlib.closing(broker),
            contextlib.closing(BrokerClient(broker.address, broker.key)) as client,
        ):
            owner.log.append(predicted("a"))
            assert client.wait("a") == predicted("a")
            with pytest.raises(NotJudged, match="not judged: stopping after 1 failures"):
                client.wait("b")
            assert owner.waited == []  # which would have it sent next

    def test_one_that_will_never_come_is_told_why(self, client: BrokerClient) -> None:
        with pytest.raises(LlmevalError, match="never is not part of this run's plan"):
            client.wait("never")

    def test_every_worker_gets_all_of_them(self, owner: Owner, broker: Broker) -> None:
        owner.log += [predicted("a"), predicted("b")]
        for _ in range(3):
            client = BrokerClient(broker.address, broker.key)
            assert [client.wait(each) for each in "ab"] == owner.log
            client.close()


class TestSelection:
    def test_only_the_first_worker_hands_over_what_it_collected(
        self, owner: Owner, broker: Broker
    ) -> None:
        for number in range(3):
            client = BrokerClient(broker.address, broker.key)
            client.begin(Selection(mistakes=[f"mistake {number}"]))
            client.close()
        assert [selection.mistakes for selection in owner.begun] == [["mistake 0"]]


class TestChat:
    def test_an_answer_and_a_description_come_back(self, client: BrokerClient) -> None:
        assert client.chat("m", REQUEST).text == "m: hello"
        assert client.describe("m") == {"model": "m"}
        assert client.describe(None) == {"model": None}

    def test_an_error_comes_back_as_what_it_is(self, owner: Owner, client: BrokerClient) -> None:
        owner.trouble = EndpointBusy("come again", status=503, retry_after=2.5)
        with pytest.raises(EndpointBusy, match="come again") as busy:
            client.chat("m", REQUEST)
        assert (busy.value.status, busy.value.retry_after) == (503, 2.5)
        owner.trouble = MissingExtraError("engine: embedded", package="xllamacpp", extra="embedded")
        with pytest.raises(MissingExtraError, match='pip install "pytest-llmeval-local') as missing:
            client.chat("m", REQUEST)
        assert (missing.value.package, missing.value.extra) == ("xllamacpp", "embedded")
        assert client.describe("m") == {"model": "m"}

    def test_an_error_nobody_expected_comes_back_in_its_words_and_the_broker_goes_on(
        self, owner: Owner, client: BrokerClient
    ) -> None:
        owner.trouble = OSError(28, "No space left on device")
        with pytest.raises(LlmevalError, match=r"broke off: OSError: .*No space left on device"):
            client.chat("m", REQUEST)
        assert client.describe("m") == {"model": "m"}


def question(words: str) -> Request:
    return Request((Message("user", words),), Sampling(max_tokens=4))


class TestInterrupts:
    """A test's time limit, or Ctrl-C, while a worker waits for a reply."""

    def test_the_next_question_gets_its_own_answer_and_not_the_one_before(
        self, owner: Owner, client: BrokerClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Connection, "poll", interrupt)
            with pytest.raises(KeyboardInterrupt):
                client.chat("m", question("first"))
        assert client.chat("m", question("second")).text == "m: second"
        owner.log += [predicted("a"), predicted("b")]
        with monkeypatch.context() as patched:
            patched.setattr(Connection, "poll", interrupt)
            with pytest.raises(KeyboardInterrupt):
                client.wait("a")
        assert [client.wait("b"), client.wait("a")] == [predicted("b"), predicted("a")]


class TestStrangers:
    @pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x08pickled!"])
    def test_one_without_the_key_gets_nothing_and_keeps_nobody_waiting(
        self, owner: Owner, broker: Broker, words: bytes
    ) -> None:
        with socket.create_connection(broker.address, timeout=30) as stranger:
            stranger.sendall(words)
            client = BrokerClient(broker.address, broker.key)
            owner.log.append(predicted("secret"))
            assert client.wait("secret") == predicted("secret")
            client.close()
            with contextlib.suppress(OSError):  # it may have been thrown out already
                stranger.shutdown(socket.SHUT_WR)
                assert b"secret" not in stranger.makefile("rb").read()

    def test_one_with_a_wrong_key_is_refused(self, broker: Broker) -> None:
        with pytest.raises(AuthenticationError):
            BrokerClient(broker.address, b"wrong")


class TestEnd:
    def test_a_worker_whose_owner_has_gone_is_told_so(self) -> None:
        with Listener(("127.0.0.1", 0), authkey=b"key") as listener:
            thread = threading.Thread(target=lambda: listener.accept().close())
            thread.start()
            client = BrokerClient(listener.address, b"key")
            thread.join()
        with pytest.raises(LlmevalError, match="the process that owns the run has gone"):
            client.wait("a")
        client.close()

    def test_closed_it_accepts_nobody_and_its_thread_ends(self, broker: Broker) -> None:
        broker.close()
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system has it
            BrokerClient(broker.address, broker.key)
        ours = [t for t in threading.enumerate() if t.name == "llmeval-broker"]
        for thread in ours:
            thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in ours)
