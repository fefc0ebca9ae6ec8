"""Real llama.cpp servers, from start to end."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_llmeval.errors import (
    MissingExtraError,
    ModelFileError,
    ServerLostError,
    ServerStartError,
)
from pytest_llmeval.servers import ports
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import RestartPolicy

MakeServer = Callable[..., Server]
Running = Callable[[int], bool]
BecomesTrue = Callable[..., bool]
Fetch = Callable[[str, str | None], tuple[int, bytes]]

AT_ONCE = RestartPolicy(initial=0.0)


def pids(server: Server) -> tuple[int, int]:
    assert server.pid is not None
    assert server.guard_pid is not None
    return server.pid, server.guard_pid


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def kill(pid: int) -> None:
    psutil.Process(pid).kill()


def props_of(server: Server, fetch: Fetch) -> Any:
    return json.loads(fetch(f"{server.url}/props", None)[1])


def failure_of(server: Server) -> ServerStartError:
    with pytest.raises(ServerStartError) as caught:
        server.start()
    return caught.value


# Starting and ending --------------------------------------------------------------------------


def test_a_started_server_is_healthy_and_has_what_was_asked_for(
    make_server: MakeServer, fetch: Fetch
) -> None:
    server = make_server(slots=4, context=400)
    server.start()
    assert fetch(f"{server.url}/health", None) == (200, b'{"status":"ok"}')
    props = props_of(server, fetch)
    assert props["total_slots"] == 4
    assert props["default_generation_settings"]["n_ctx"] == 512  # 400, rounded up by 256
    assert server.alive()
    assert server.exit_description is None


def test_a_stopped_server_leaves_no_process_and_no_port(
    make_server: MakeServer, running: Running
) -> None:
    server = make_server()
    server.start()
    server.stop()
    assert not any(map(running, pids(server)))
    assert ports.is_free("127.0.0.1", port_of(server))
    assert not server.alive()
    assert server.exit_description == "exit code 0" or sys.platform == "win32"


def test_stopping_again_or_before_the_start_is_harmless(make_server: MakeServer) -> None:
    server = make_server()
    server.stop()
    server.stop()
    assert "a stopped server does not start again" in failure_of(server).message


def test_starting_and_stopping_leaks_no_descriptor(make_server: MakeServer) -> None:
    process = psutil.Process()
    count = getattr(process, "num_handles" if sys.platform == "win32" else "num_fds")

    def round_trip() -> int:
        server = make_server()
        server.start()
        server.stop()
        return int(count())

    first = round_trip()
    assert [round_trip() for _ in range(3)][-1] <= first


def test_a_stop_from_another_thread_ends_a_start_that_waits(
    make_server: MakeServer, llama_server: Callable[..., str], becomes_true: BecomesTrue
) -> None:
    server = make_server(kind="llama-server", executable=llama_server("exec sleep 600"))

    def stop() -> None:
        assert becomes_true(server.alive)
        server.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert failure_of(server).message == "tiny: it was stopped while it started"
    stopper.join()
    assert not server.alive()


def test_a_real_executable_takes_our_command_line(
    make_server: MakeServer, llama_server: Callable[..., str], fetch: Fetch
) -> None:
    server = make_server(kind="llama-server", executable=llama_server(), gpu_layers="all")
    server.start()
    assert props_of(server, fetch)["model_alias"] == "tiny"


def test_an_executable_is_found_on_the_path(
    make_server: MakeServer, llama_server: Callable[..., str]
) -> None:
    folder = str(Path(llama_server()).parent)
    server = make_server(kind="llama-server", outside={"environ": {**os.environ, "PATH": folder}})
    server.start()
    assert server.alive()


# Keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LLAMA_API_KEY", "LLAMA_ARG_API_KEY"])
def test_a_key_for_the_users_own_servers_is_not_asked_for_by_ours(
    make_server: MakeServer, llama_server: Callable[..., str], name: str
) -> None:
    refuses = f'[ -z "${name}" ] || {{ echo "a key is needed: ${name}"; exit 9; }}'
    launch = f'exec "{sys.executable}" -m pytest_llmeval.servers.embedded "$@"'
    executable = llama_server(f"{refuses}\n{launch}")
    environ = {**os.environ, name: "the-users"}
    server = make_server(kind="llama-server", executable=executable, outside={"environ": environ})
    server.start()
    assert server.alive()


@pytest.mark.parametrize("real", [False, True], ids=["embedded", "executable"])
def test_a_key_of_its_own_opens_a_server_to_us_and_to_nobody_without(
    make_server: MakeServer, fetch: Fetch, request: pytest.FixtureRequest, real: bool
) -> None:
    program: dict[str, Any] = {}
    if real:
        executable = str(request.getfixturevalue("real_llama_server"))
        program = {"kind": "llama-server", "executable": executable}
    server = make_server(api_key="open-sesame", metrics=True, aliases=("a", "b"), **program)
    server.start()
    assert fetch(f"{server.url}/props", None)[0] == 401
    assert fetch(f"{server.url}/props", "open-sesame")[0] == 200
    assert b"llamacpp:" in fetch(f"{server.url}/metrics", "open-sesame")[1]
    models = json.loads(fetch(f"{server.url}/v1/models", "open-sesame")[1])
    assert sorted(models["data"][0]["aliases"]) == ["a", "b", "tiny"]


# What may be wrong -----------------------------------------------------------------------------


def test_a_truncated_model_is_named_with_its_sizes_and_nothing_is_started(
    make_server: MakeServer, model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(model.read_bytes()[:100_000])
    server = make_server(gguf=path)
    with pytest.raises(ModelFileError, match=r"cut\.gguf: is truncated .* 100,000 bytes"):
        server.start()
    assert server.pid is None


def test_a_server_that_dies_while_loading_is_reported_with_its_last_words(
    make_server: MakeServer, unloadable: Path, running: Running
) -> None:
    server = make_server(gguf=unloadable)
    error = failure_of(server)
    assert error.message == "tiny: the server ended while it started: exit code 1"
    assert any("cannot find tokenizer merges" in line for line in error.log_tail)
    assert "its last words:" in str(error)
    assert not any(map(running, pids(server)))


def test_a_server_that_does_nothing_is_given_up_and_ended(
    make_server: MakeServer, llama_server: Callable[..., str], running: Running
) -> None:
    executable = llama_server("echo thinking; exec sleep 600")
    server = make_server(kind="llama-server", executable=executable, start_timeout=0.5)
    error = failure_of(server)
    assert "it used no CPU, took no memory and logged nothing" in error.message
    assert "`start_timeout`" in error.message
    assert error.log_tail == ("thinking",)
    assert not any(map(running, pids(server)))


def test_a_program_that_cannot_be_run_is_reported_and_leaves_no_guard(
    make_server: MakeServer, tmp_path: Path, llama_server: Callable[..., str]
) -> None:
    executable = Path(llama_server())
    executable.write_text("#!/no/such/interpreter\n", encoding="utf-8")
    server = make_server(kind="llama-server", executable=str(executable))
    before = psutil.Process().children()
    assert "could not be started: No such file or directory" in failure_of(server).message
    assert psutil.Process().children() == before


def test_a_context_beyond_the_model_is_refused_with_both_numbers(
    make_server: MakeServer, running: Running
) -> None:
    server = make_server(context=4096)
    message = failure_of(server).message
    assert "a context of 4,096 tokens per slot was asked for and the server gives 2,048" in message
    assert "the model was trained for 2,048" in message
    assert not any(map(running, pids(server)))


def test_arguments_that_change_the_slots_are_noticed(make_server: MakeServer) -> None:
    message = failure_of(make_server(args=("-np", "3"))).message
    assert "2 slots were asked for and the server has 3" in message


def test_a_named_port_in_use_is_reported_with_its_holder(make_server: MakeServer) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        message = failure_of(make_server(port=port)).message
    assert f"port {port} is in use" in message
    assert f"(pid {os.getpid()})" in message or sys.platform == "darwin"
    assert "to have a free one chosen" in message


@pytest.mark.parametrize("port", [None, 1234])
def test_a_host_that_is_not_of_this_machine_is_told_with_the_way_out(
    make_server: MakeServer, port: int | None
) -> None:
    message = failure_of(make_server(host="192.0.2.1", port=port)).message
    assert "nobody can listen at host '192.0.2.1' (" in message
    assert "name an address of this machine" in message


def test_a_free_port_lost_to_somebody_else_is_replaced(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quicker = make_server(log_path=tmp_path / "quicker.log")
    quicker.start()
    offers = [port_of(quicker), ports.free_port("127.0.0.1")]
    monkeypatch.setattr(ports, "free_port", lambda _host: offers.pop(0))
    server = make_server()
    server.start()
    assert server.url != quicker.url
    assert ports.listener(port_of(server)) in {None, server.pid}
    assert server.restarts == 0


def test_a_free_port_lost_again_and_again_is_an_error(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quicker = make_server(log_path=tmp_path / "quicker.log")
    quicker.start()
    monkeypatch.setattr(ports, "free_port", lambda _host: port_of(quicker))
    assert "each of 3 free ports was taken" in failure_of(make_server()).message


def test_a_missing_package_is_named_with_its_pip_line(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "pytest-llmeval-local\[embedded\]"'):
        make_server().start()


# Restarting -----------------------------------------------------------------------------------


def test_a_killed_server_comes_back_where_it_was(
    make_server: MakeServer, becomes_true: BecomesTrue
) -> None:
    server = make_server(restart=AT_ONCE)
    server.start()
    url, (first, _) = server.url, pids(server)
    kill(first)
    assert becomes_true(lambda: not server.alive())
    assert "SIGKILL" in str(server.exit_description) or sys.platform == "win32"
    server.restart()
    assert server.alive()
    assert server.url == url
    assert server.pid != first
    assert server.restarts == 1


def test_the_log_keeps_every_start_and_its_tail_tells_of_the_last(make_server: MakeServer) -> None:
    server = make_server(restart=AT_ONCE)
    server.start()
    server.restart()
    log = server.spec.log_path.read_text(encoding="utf-8")
    titles = [line for line in log.splitlines() if line.startswith("===")]
    assert len(titles) == 2
    assert all(line.startswith("=== llmeval: tiny, started 2") for line in titles)
    assert not any(line.startswith("===") for line in server.log_tail(1000))
    assert any("listening on" in line for line in server.log_tail(2))


def test_a_restart_asked_for_by_many_threads_happens_once(
    make_server: MakeServer, becomes_true: BecomesTrue
) -> None:
    server = make_server(restart=RestartPolicy(initial=0.3, jitter=(1, 1)))
    server.start()
    kill(pids(server)[0])
    assert becomes_true(lambda: not server.alive())
    threads = [threading.Thread(target=server.restart) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.restarts == 1
    assert server.alive()


def test_a_server_that_keeps_dying_is_given_up_with_its_last_words(
    make_server: MakeServer,
    model: Path,
    unloadable: Path,
    tmp_path: Path,
    becomes_true: BecomesTrue,
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(model.read_bytes())
    server = make_server(gguf=path, restart=RestartPolicy(initial=0.0, max_retries=2))
    server.start()
    kill(pids(server)[0])
    assert becomes_true(lambda: not server.alive())
    path.write_bytes(unloadable.read_bytes())
    for _ in range(2):
        with pytest.raises(ServerLostError) as caught:
            server.restart()
        assert "given up after 2 restarts within 10 minutes" in caught.value.message
        assert any("merges" in line for line in caught.value.log_tail)
    assert server.restarts == 2
    assert not server.alive()


def test_back_off_waits_as_the_policy_says_in_slices(make_server: MakeServer) -> None:
    slept: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    outside = {"clock": lambda: now[0], "sleep": sleep, "random": lambda: 0.5}
    server = make_server(outside=outside, restart=RestartPolicy(initial=8, jitter=(0.5, 1.5)))
    server.start()
    slept.clear()
    server.restart()
    assert slept[:40] == pytest.approx([0.2] * 40)
    assert server.alive()


def test_a_stop_ends_a_back_off(make_server: MakeServer, becomes_true: BecomesTrue) -> None:
    server = make_server(restart=RestartPolicy(initial=600))
    server.start()

    def stop() -> None:
        assert becomes_true(lambda: server.restarts == 1)
        server.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(ServerStartError, match="it was stopped"):
        server.restart()
    stopper.join()
