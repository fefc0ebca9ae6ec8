"""The real llama-server, from start to end: what the stand-in and the embedded one cannot show."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from pytest_llmeval.engines.engine import Endpoint
from pytest_llmeval.engines.llama_server import LlamaServerEngine
from pytest_llmeval.errors import RequestRefused, ServerStartError
from pytest_llmeval.records import Message, Request, Sampling
from pytest_llmeval.servers import ports
from pytest_llmeval.servers.health import read_health
from pytest_llmeval.servers.process import GuardedProcess
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import RestartPolicy

Fetch = Callable[[str, "str | None"], "tuple[int, bytes]"]
Found = TypeVar("Found")

HELLO = Request((Message("user", "Hello"),), Sampling(max_tokens=4, temperature=0.0, seed=7))


@pytest.fixture
def make_real(make_server: Callable[..., Server], real_llama_server: Path) -> Callable[..., Server]:
    """Make servers of the real executable that are not started yet, with two slots."""

    def make(**spec: Any) -> Server:
        return make_server(kind="llama-server", executable=str(real_llama_server), **spec)

    return make


def failure_of(server: Server) -> ServerStartError:
    with pytest.raises(ServerStartError) as caught:
        server.start()
    return caught.value


def with_engine(
    url: str, work: Callable[[LlamaServerEngine], Coroutine[Any, Any, Found]], **endpoint: Any
) -> Found:
    async def use() -> Found:
        engine = LlamaServerEngine(Endpoint(url, **endpoint))
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(use())


# Starting and ending ------------------------------------------------------------------------------


def test_it_is_refused_then_loading_then_healthy(
    make_server: Callable[..., Server], real_llama_server: Path, fetch: Fetch, tmp_path: Path
) -> None:
    """The three states that health waits through, as the executable itself gives them: on a busy
    machine one may pass between two looks, and none ever comes back.
    """
    port = ports.free_port("127.0.0.1")
    model = Path(__file__).parents[2] / "models" / "tiny-l.gguf"
    command = [str(real_llama_server), "-m", str(model), "--port", str(port)]
    process = GuardedProcess.start(command, tmp_path / "log.txt", environ=os.environ)
    states: list[str] = []
    try:
        while states[-1:] != ["healthy"]:
            try:
                state = read_health(*fetch(f"http://127.0.0.1:{port}/health", None)).state
            except OSError:
                state = "unreachable"
            if states[-1:] != [state]:
                states.append(state)
            assert process.alive()
    finally:
        process.stop(0)
    assert states == sorted(set(states), key=["unreachable", "loading", "healthy"].index)


def test_it_has_the_slots_and_the_context_that_were_asked_for(
    make_real: Callable[..., Server],
) -> None:
    server = make_real(slots=4, context=400)
    server.start()
    facts = with_engine(server.url, LlamaServerEngine.describe)
    assert (facts.slots, facts.context) == (4, 512)  # 400, rounded up by 256
    assert facts.build
    assert facts.model_path == str(server.spec.gguf)
    assert len(facts.template_sha256 or "") == 64


def test_all_its_slots_answer_at_once_and_say_their_times(make_real: Callable[..., Server]) -> None:
    server = make_real(slots=4)
    server.start()

    async def ask(engine: LlamaServerEngine) -> list[Any]:
        return await asyncio.gather(*[engine.complete(HELLO) for _ in range(8)])

    answers = with_engine(server.url, ask)
    assert {answer.finish_reason for answer in answers} == {"length"}
    assert all(answer.usage.completion == 4 for answer in answers)
    assert all(answer.service_ms >= answer.first_token_ms > 0 for answer in answers)


def test_asked_to_end_it_ends_by_itself_and_frees_its_port(
    make_real: Callable[..., Server],
) -> None:
    server = make_real()
    server.start()
    server.stop()
    assert server.exit_description == "exit code 0" or sys.platform == "win32"
    assert ports.is_free("127.0.0.1", int(server.url.rpartition(":")[2]))


def test_killed_it_comes_back_where_it_was(
    make_real: Callable[..., Server], becomes_true: Callable[..., bool]
) -> None:
    server = make_real(restart=RestartPolicy(initial=0.0))
    server.start()
    url, pid = server.url, server.pid
    psutil.Process(pid).kill()
    assert becomes_true(lambda: not server.alive())
    server.restart()
    assert (server.url, server.restarts) == (url, 1)
    assert server.pid != pid
    assert with_engine(url, lambda engine: engine.complete(HELLO)).usage.completion == 4


# What may be wrong --------------------------------------------------------------------------------


def test_a_model_it_cannot_load_is_reported_with_its_own_words(
    make_real: Callable[..., Server], unloadable: Path
) -> None:
    error = failure_of(make_real(gguf=unloadable))
    assert error.message == "tiny: the server ended while it started: exit code 1"
    assert any("cannot find tokenizer merges" in line for line in error.log_tail)


def test_a_context_beyond_the_model_is_refused_with_both_numbers(
    make_real: Callable[..., Server],
) -> None:
    message = failure_of(make_real(context=4096)).message
    assert "a context of 4,096 tokens per slot was asked for and the server gives 2,048" in message
    assert "the model was trained for 2,048" in message


def test_slots_that_share_one_context_are_noticed(make_real: Callable[..., Server]) -> None:
    message = failure_of(make_real(args=("-kvu",))).message
    assert "its 2 slots share one: remove `-kvu`" in message


def test_arguments_that_change_the_slots_are_noticed(make_real: Callable[..., Server]) -> None:
    message = failure_of(make_real(args=("-np", "3"))).message
    assert "2 slots were asked for and the server has 3" in message


def test_an_argument_that_it_does_not_know_is_reported_in_its_words(
    make_real: Callable[..., Server],
) -> None:
    error = failure_of(make_real(args=("--no-such-flag",)))
    assert "the server ended while it started: exit code 1" in error.message
    assert any("--no-such-flag" in line for line in error.log_tail)


def test_a_port_that_another_one_of_them_holds_is_reported_with_its_holder(
    make_real: Callable[..., Server], tmp_path: Path
) -> None:
    first = make_real(log_path=tmp_path / "first.log")
    first.start()
    port = int(first.url.rpartition(":")[2])
    message = failure_of(make_real(port=port)).message
    assert f"port {port} is in use" in message
    assert f"(pid {first.pid})" in message or sys.platform == "darwin"


def test_a_port_taken_between_our_look_and_its_start_is_replaced_by_another(
    make_real: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with 1 then, and its log says that it could not bind."""
    with socket.socket() as quicker:
        quicker.bind(("127.0.0.1", 0))
        quicker.listen()
        taken = quicker.getsockname()[1]
        offers = [taken, ports.free_port("127.0.0.1")]
        monkeypatch.setattr(ports, "free_port", lambda _host: offers.pop(0))
        server = make_real()
        server.start()
    assert int(server.url.rpartition(":")[2]) != taken


# Keys ---------------------------------------------------------------------------------------------


def test_a_key_opens_it_and_a_wrong_one_is_refused_without_being_repeated(
    real_llama_server: Path,
    model: Path,
    fetch: Fetch,
    tmp_path: Path,
    becomes_true: Callable[..., bool],
) -> None:
    port = ports.free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    command = [str(real_llama_server), "-m", str(model), "--port", str(port), "-c", "256"]
    process = GuardedProcess.start(
        command, tmp_path / "log.txt", environ={**os.environ, "LLAMA_API_KEY": "open-sesame"}
    )

    def healthy() -> bool:
        try:
            return fetch(f"{url}/health", None)[0] == 200
        except OSError:
            return False

    try:
        assert becomes_true(healthy)  # which needs no key
        answer = with_engine(url, lambda engine: engine.complete(HELLO), api_key="open-sesame")
        assert answer.usage.completion == 4
        with pytest.raises(RequestRefused, match=r"HTTP 401: .*check the API key") as refused:
            with_engine(url, lambda engine: engine.complete(HELLO), api_key="guessed-wrong")
        assert "guessed-wrong" not in str(refused.value)
    finally:
        process.stop(0)


def test_a_server_of_ours_that_its_arguments_close_with_a_key_is_refused_with_the_way_out(
    make_real: Callable[..., Server],
) -> None:
    message = failure_of(make_real(args=("--api-key", "mine"))).message
    assert "it gives no /props: HTTP 401: it asks for a key" in message
    assert "remove `--api-key` from its `args`" in message


# What it says -------------------------------------------------------------------------------------


def test_a_prompt_longer_than_its_context_is_refused_in_its_words(
    make_real: Callable[..., Server],
) -> None:
    server = make_real(slots=1, context=256)
    server.start()
    long = Request((Message("user", "much " * 200),), HELLO.sampling)
    with pytest.raises(RequestRefused, match="exceeds the available context size"):
        with_engine(server.url, lambda engine: engine.complete(long))
