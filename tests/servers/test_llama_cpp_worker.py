"""The worker around llama-cpp-python: as a process among servers, and what it does with clients."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from pytest_llmeval.errors import MissingExtraError, ServerStartError
from pytest_llmeval.servers import llama_cpp_worker as worker_module
from pytest_llmeval.servers.llama_cpp_model import Abandoned, Refused
from pytest_llmeval.servers.llama_cpp_worker import Handler, LoopbackServer, Worker
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import RestartPolicy
from tools.real_runs import becomes_true

MakeServer = Callable[..., Server]
Post = Callable[[str, Mapping[str, Any]], "tuple[int, Any]"]

ROOT = Path(__file__).resolve().parents[2]
REQUEST = {
    "messages": [{"role": "user", "content": "Hello"}],
    "sampling": dict.fromkeys(
        (
            *("temperature", "top_p", "top_k", "min_p", "repeat_penalty"),
            *("presence_penalty", "frequency_penalty", "seed"),
        )
    )
    | {"max_tokens": 4, "stop": []},
    "form": "chat",
    "cache_prompt": True,
    "json_schema": None,
    "grammar": None,
    "top_logprobs": None,
}


def post(url: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def words_of(reply: tuple[int, Any]) -> str:
    return str(reply[1]["error"]["message"])


@pytest.fixture
def make_worker(
    make_server: MakeServer, llama_cpp_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeServer:
    """Make workers that are not started yet; `library` is the folder that llama_cpp comes from."""

    def make(*, library: Path = llama_cpp_folder, **spec: Any) -> Server:
        monkeypatch.syspath_prepend(library)
        path = os.pathsep.join([str(library), str(ROOT)])
        environ = {**os.environ, "PYTHONPATH": path}
        asked = {"kind": "llama-cpp-python", "slots": 1, **spec}
        return make_server(outside={"environ": environ}, **asked)

    return make


def failure_of(server: Server) -> ServerStartError:
    with pytest.raises(ServerStartError) as caught:
        server.start()
    return caught.value


# As a process -------------------------------------------------------------------------------------


def test_a_started_worker_is_healthy_and_has_what_was_asked_for(
    make_worker: MakeServer, fetch: Callable[[str, str | None], tuple[int, bytes]]
) -> None:
    server = make_worker(context=400)
    server.start()
    assert fetch(f"{server.url}/health", None) == (200, b'{"status": "ok"}')
    props = json.loads(fetch(f"{server.url}/props", None)[1])
    assert props["total_slots"] == 1
    assert props["default_generation_settings"]["n_ctx"] == 512  # 400, rounded up by 256
    assert fetch(f"{server.url}/nothing", None)[0] == 404
    assert post(f"{server.url}/nothing", {})[0] == 404
    assert post(f"{server.url}/complete", REQUEST)[1]["usage"]["completion"] == 4


def test_asked_to_end_it_ends_by_itself_and_leaves_nothing(
    make_worker: MakeServer, running: Callable[[int], bool]
) -> None:
    server = make_worker()
    server.start()
    server.stop()
    assert server.exit_description == "exit code 0" or sys.platform == "win32"
    assert server.pid is not None
    assert not running(server.pid)


def test_a_worker_ends_with_its_guard(
    make_worker: MakeServer, running: Callable[[int], bool], becomes_true: Callable[..., bool]
) -> None:
    server = make_worker()
    server.start()
    pid, guard = server.pid, server.guard_pid
    assert pid is not None
    psutil.Process(guard).kill()
    assert becomes_true(lambda: not running(pid), 5)


def test_a_killed_worker_is_told_by_what_ended_it_and_comes_back(
    make_worker: MakeServer, becomes_true: Callable[..., bool]
) -> None:
    server = make_worker(restart=RestartPolicy(initial=0.0))
    server.start()
    psutil.Process(server.pid).kill()
    assert becomes_true(lambda: not server.alive())
    assert "for want of memory" in str(server.exit_description) or sys.platform == "win32"
    server.restart()
    assert post(f"{server.url}/tokenize", {"text": "ab"}) == (200, {"tokens": [97, 98]})


def test_a_model_it_cannot_load_is_reported_with_the_librarys_words(
    make_worker: MakeServer, unloadable: Path
) -> None:
    error = failure_of(make_worker(gguf=unloadable))
    assert error.message == "tiny: the server ended while it started: exit code 1"
    assert any("cannot find tokenizer merges" in line for line in error.log_tail)
    assert "worker: cannot serve no-merges.gguf: llama-cpp-python cannot load it" in str(error)


def test_a_context_beyond_the_model_is_refused_with_both_numbers(make_worker: MakeServer) -> None:
    message = failure_of(make_worker(context=4096)).message
    assert "a context of 4,096 tokens per slot was asked for and the server gives 2,048" in message
    assert "the model was trained for 2,048" in message


def test_layers_on_a_gpu_are_refused_by_a_library_that_has_none(make_worker: MakeServer) -> None:
    words = str(failure_of(make_worker(gpu_layers="all")))
    assert "gpu_layers were asked for, and this llama-cpp-python is built for the CPU only" in words
    assert "-DGGML_CUDA=on" in words


def test_a_library_that_cannot_be_loaded_is_reported_with_what_it_misses(
    make_worker: MakeServer, tmp_path: Path
) -> None:
    package = tmp_path / "broken" / "llama_cpp" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text(
        "raise RuntimeError(\"Failed to load shared library '/x/libllama.so': "
        'libcudart.so.12: cannot open shared object file: No such file or directory")',
        encoding="utf-8",
        newline="\n",
    )
    words = str(failure_of(make_worker(library=package.parents[1])))
    assert "what is missing is libcudart.so.12: it is built for CUDA" in words


def test_a_missing_package_is_named_with_its_pip_line(make_server: MakeServer) -> None:
    if "llama_cpp" in sys.modules:
        pytest.skip("llama-cpp-python is loaded here")
    server = make_server(kind="llama-cpp-python", slots=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda _name: None)
        with pytest.raises(MissingExtraError) as missing:
            server.start()
    assert 'pip install "pytest-llmeval-local[llama-cpp]"' in str(missing.value)
    assert "needs the package llama-cpp-python" in str(missing.value)


def test_without_a_chat_template_a_chat_is_unsupported_and_a_completion_is_not(
    make_worker: MakeServer, without_template: Path
) -> None:
    """The library would take Llama 2's template, and measure that."""
    server = make_worker(gguf=without_template)
    server.start()
    status, refusal = post(f"{server.url}/complete", REQUEST)
    assert status == 501
    assert "no-template.gguf holds no chat template" in refusal["error"]["message"]
    status, _ = post(f"{server.url}/complete", {**REQUEST, "form": "completion"})
    assert status == 200


# With its clients ---------------------------------------------------------------------------------


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Listen with a worker whose model is nothing, and whose work is the given function."""
    servers: list[LoopbackServer] = []

    def listen(work: worker_module.Work, load: Callable[[], Any] = lambda: None) -> str:
        monkeypatch.setattr(worker_module, "WORKS", {"/work": work})
        monkeypatch.setattr(worker_module, "LOOK_SECONDS", 0.01)
        handler = type("Bound", (Handler,), {"worker": Worker(load)})
        servers.append(LoopbackServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield listen
    for server in servers:
        server.shutdown()
        server.server_close()


def leave_after_asking(url: str) -> None:
    """Send a request, and go away before it is answered."""
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
        client.sendall(b"POST /work HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")


def test_work_that_nobody_waits_for_is_told_so(listening: Callable[..., str]) -> None:
    ended = threading.Event()

    def work(_model: Any, _body: Any, abandoned: Callable[[], bool]) -> dict[str, Any]:
        while not abandoned():
            threading.Event().wait(0.005)
        ended.set()
        raise Abandoned

    leave_after_asking(listening(work))
    assert ended.wait(30)


def test_work_that_nobody_waits_for_and_that_does_not_end_ends_the_process(
    listening: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_with: list[int] = []
    over, go_on = threading.Event(), threading.Event()

    def end(status: int) -> NoReturn:
        ended_with.append(status)
        over.set()
        go_on.set()
        raise Abandoned  # nobody comes back from the real one

    monkeypatch.setattr(worker_module, "end", end)
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.05)

    def work(_model: Any, _body: Any, _abandoned: Callable[[], bool]) -> dict[str, Any]:
        go_on.wait()
        raise Abandoned

    leave_after_asking(listening(work))
    assert over.wait(30)
    assert ended_with == [1]


def test_one_thread_does_all_the_work_in_turn(listening: Callable[..., str]) -> None:
    loaded_by: list[int] = []
    worked_by: list[int] = []
    at_once: list[bool] = []
    busy = threading.Lock()

    def load() -> None:
        loaded_by.append(threading.get_ident())

    def work(_model: Any, _body: Any, _abandoned: Any) -> dict[str, Any]:
        at_once.append(not busy.acquire(blocking=False))
        worked_by.append(threading.get_ident())
        threading.Event().wait(0.01)
        busy.release()
        return {}

    url = listening(work, load)
    clients = [threading.Thread(target=post, args=(f"{url}/work", {})) for _ in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert set(worked_by) == set(loaded_by)
    assert len(worked_by) == 8
    assert not any(at_once)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Refused("not this one"), 400, "not this one"),
        (Refused("never", unsupported=True), 501, "never"),
        (RuntimeError("llama_decode returned 1"), 500, "RuntimeError: llama_decode returned 1"),
    ],
)
def test_what_goes_wrong_has_a_status_of_its_own(
    listening: Callable[..., str], error: Exception, status: int, words: str
) -> None:
    def work(*_: Any) -> dict[str, Any]:
        raise error

    url = listening(work)
    assert post(f"{url}/work", {}) == (status, {"error": {"message": words}})


@pytest.mark.parametrize("length", ["abc", "-1", ""])
def test_a_request_of_no_known_length_is_refused_and_holds_nobody_up(
    listening: Callable[..., str], length: str
) -> None:
    url = listening(lambda *_: {})
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
        client.sendall(f"POST /work HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())
        with client.makefile("rb") as reply:
            assert b" 411 " in reply.readline()
            assert reply.read().endswith(b'has to be a number of bytes"}}')
    assert post(f"{url}/work", {}) == (200, {})


def test_clients_that_go_away_leave_no_traceback_in_the_log(
    listening: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = listening(lambda *_: {})
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            client.sendall(b"POST /work HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            client.recv(1)  # what is not read yet makes the system reset the connection
    serving = "process_request_thread"  # in the names that socketserver gives its threads
    assert becomes_true(lambda: not any(serving in t.name for t in threading.enumerate()))
    assert capsys.readouterr().err == ""


def test_a_number_that_json_cannot_hold_is_a_failure_and_no_answer(
    listening: Callable[..., str],
) -> None:
    reply = post(f"{listening(lambda *_: {'logprob': float('nan')})}/work", {})
    assert reply[0] == 500
    assert "JSON" in words_of(reply)


def test_it_says_that_it_is_loading(listening: Callable[..., str]) -> None:
    loaded = threading.Event()
    url = listening(lambda *_: {}, loaded.wait)
    with pytest.raises(urllib.error.HTTPError, match="503") as loading:
        urllib.request.urlopen(f"{url}/health")
    loading.value.close()
    loaded.set()
    assert post(f"{url}/work", {}) == (200, {})
    with urllib.request.urlopen(f"{url}/health") as answer:
        assert answer.status == 200
