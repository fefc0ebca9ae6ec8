"""`ollama serve` as a server of ours; the stand-in plays the executable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_llmeval.errors import EndpointUnreachable, ServerStartError
from pytest_llmeval.servers.ollama import OllamaServer, is_ollama
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import RestartPolicy, ServerSpec
from tests.standins.ollama import Model, write_executable, write_store

Fetch = Callable[[str, str | None], tuple[int, bytes]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of Ollama's with one model."""
    return write_store(tmp_path / "store", Model())


@pytest.fixture
def serve(tmp_path: Path, store: Path, fetch: Fetch) -> Iterator[Callable[..., Server]]:
    """Make an `ollama serve` of two slots that is not started yet."""
    made: list[Server] = []
    folder = write_executable(tmp_path / "bin").parent

    def make(**changes: Any) -> Server:
        keys: dict[str, Any] = {
            "name": "llama",
            "kind": "ollama",
            "gguf": None,
            "slots": 2,
            "context": 2048,
            "log_path": tmp_path / "logs" / "llama.log",
            **changes,
        }
        path = os.pathsep.join([str(folder), os.environ["PATH"]])
        users = {"OLLAMA_HOST": "0.0.0.0:1", "OLLAMA_KEEP_ALIVE": "5m", "OLLAMA_DEBUG": "1"}
        environ = {**os.environ, **users, "PATH": path, "OLLAMA_MODELS": str(store)}
        made.append(Server(ServerSpec(**keys), fetch, environ=environ))
        return made[-1]

    yield make
    for server in made:
        server.stop(0)


def record_of(server: Server, store: Path) -> dict[str, Any]:
    """What a stand-in that has ended leaves of itself."""
    path = store / f"served-{server.url.rpartition(':')[2]}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_it_is_started_as_asked_for_and_ended_without_a_trace(
    serve: Callable[..., Server], store: Path, fetch: Fetch, running: Callable[[int], bool]
) -> None:
    server = serve(variables={"OLLAMA_NO_CLOUD": "1"})
    server.start()
    pids = [server.pid, server.guard_pid]
    assert is_ollama(*fetch(f"{server.url}/api/version", None))
    assert server.log_tail()[-1].startswith("Listening on 127.0.0.1:")
    server.stop()
    assert not any(running(pid) for pid in pids if pid is not None)
    record = record_of(server, store)
    assert record["environment"] == {
        "OLLAMA_HOST": server.url.removeprefix("http://"),
        "OLLAMA_NUM_PARALLEL": "2",
        "OLLAMA_CONTEXT_LENGTH": "2048",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_DEBUG": "1",
        "OLLAMA_MODELS": str(store),
    }


def test_one_that_was_killed_is_started_again(
    serve: Callable[..., Server], fetch: Fetch, becomes_true: Callable[..., bool]
) -> None:
    server = serve(restart=RestartPolicy(initial=0.0))
    server.start()
    psutil.Process(server.pid).kill()
    assert becomes_true(lambda: not server.alive())
    server.restart()
    assert is_ollama(*fetch(f"{server.url}/api/version", None))
    assert server.restarts == 1


def test_an_executable_that_is_not_there_is_told_with_every_way_out(
    serve: Callable[..., Server],
) -> None:
    with pytest.raises(ServerStartError) as refusal:
        serve(executable="ollama-that-is-not-there").start()
    words = str(refusal.value)
    assert "model llama needs Ollama, but no executable `ollama-that-is-not-there` in the" in words
    for way_out in ("ollama serve", "brew install ollama", "winget install", "`executable:`"):
        assert way_out in words


def test_one_that_dies_at_its_start_is_told_with_its_last_words(
    serve: Callable[..., Server], store: Path
) -> None:
    write_store(store, dies="could not find the models folder")
    with pytest.raises(ServerStartError) as refusal:
        serve().start()
    assert refusal.value.message == "llama: the server ended while it started: exit code 1"
    assert refusal.value.log_tail == ("Error: could not find the models folder",)


def test_what_is_started_must_be_ollama(tmp_path: Path) -> None:
    kind = OllamaServer(ServerSpec("m", "ollama", None, 1, 1, tmp_path / "m.log"))
    for status, body in ((404, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"version": 1}')):
        answer = (status, body)
        fault = kind.find_fault(lambda *_, answer=answer: answer, "http://127.0.0.1:1")
        assert fault == "what was started is not Ollama"
    assert kind.find_fault(lambda *_: (200, b'{"version": "0.14.2"}'), "http://x") is None


def test_one_that_does_not_answer_yet_is_unreachable(tmp_path: Path) -> None:
    def refuse(_url: str, _key: str | None) -> tuple[int, bytes]:
        raise EndpointUnreachable("refused")

    kind = OllamaServer(ServerSpec("m", "ollama", None, 1, 1, tmp_path / "m.log"))
    assert kind.check_health(refuse, "http://x").state == "unreachable"
    assert kind.check_health(lambda *_: (200, b'{"version": "1"}'), "http://x").ready
