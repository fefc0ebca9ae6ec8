"""What listens, listens to this machine alone, unless somebody says otherwise."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from pytest_llmeval.commands.llama_orch.serve_command import serve
from pytest_llmeval.orchestrator.config import ServerConfig
from pytest_llmeval.orchestrator.front_door.door import open_front_door
from pytest_llmeval.orchestrator.listening import listen
from pytest_llmeval.probes.faults import FaultProxy
from pytest_llmeval.pulses import Patience, PulseWatch
from pytest_llmeval.servers import embedded, llama_cpp_worker
from pytest_llmeval.servers.command import build_command
from pytest_llmeval.servers.ollama import OllamaServer
from pytest_llmeval.servers.spec import ServerSpec
from pytest_llmeval.workers import Broker

PACKAGE = Path(__file__).parents[1] / "pytest_llmeval"
LOOPBACK = "127.0.0.1"

#: What opens a listening socket, by module; each is held to its address below.
OPENS = re.compile(
    r"\.create_server\(|start_server\(|\bListener\(\(|\(ThreadingHTTPServer\)|\.bind\(|uvicorn\.Server"
)
KNOWN = {
    "orchestrator/front_door/door.py": "the socket it is given, of listening.py",
    "orchestrator/listening.py": "the host it is given",
    "orchestrator/web/server.py": "the socket it is given, of listening.py",
    "probes/faults/proxy.py": "the socket it is given, of sides.py",
    "probes/faults/sides.py": "the fault proxy",
    "servers/llama_cpp_worker.py": "the worker of llama-cpp-python",
    "servers/ports.py": "finds a free port, and listens at none",
    "workers.py": "the broker",
}


def test_no_other_module_opens_a_listening_socket() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if OPENS.search(path.read_text(encoding="utf-8"))
    }
    assert found <= set(KNOWN)


def listening() -> set[str]:
    """The addresses at which this process listens now."""
    connections = psutil.Process().net_connections("inet")
    return {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}


def proxy(stack: ExitStack) -> None:
    upstream = stack.enter_context(listen(LOOPBACK, 0))
    stack.enter_context(FaultProxy(f"http://127.0.0.1:{upstream.getsockname()[1]}"))


def broker(stack: ExitStack) -> None:
    watch = PulseWatch(print, Patience())
    stack.callback(Broker(None, watch).close)  # type: ignore[arg-type]  # nobody asks it anything


@pytest.mark.parametrize("opened", [proxy, broker])
def test_what_a_run_opens_is_on_the_loopback_interface(
    opened: Callable[[ExitStack], None],
) -> None:
    before = listening()
    with ExitStack() as stack:
        opened(stack)
        assert LOOPBACK in listening()
        assert listening() - before <= {LOOPBACK}


def test_what_the_orchestrator_opens_is_where_it_is_told_to() -> None:
    with listen(LOOPBACK, 0) as opened:
        assert opened.getsockname()[0] == LOOPBACK


def test_front_door_dashboard_and_instances_have_it_as_their_default() -> None:
    for opening in (serve, open_front_door):
        assert inspect.signature(opening).parameters["host"].default == LOOPBACK
    assert ServerConfig.model_fields["host"].default == LOOPBACK


@pytest.mark.parametrize("kind", ["llama-server", "embedded", "llama-cpp-python"])
def test_each_server_is_told_to_listen_there(kind: str) -> None:
    command = build_command(spec(kind), 1234, ("program",))
    assert command[command.index("--host") + 1] == LOOPBACK


def test_ollama_is_told_so_by_its_environment_whatever_ours_says() -> None:
    environment = OllamaServer(spec("ollama")).environment(1234, {"OLLAMA_HOST": "0.0.0.0"})
    assert environment["OLLAMA_HOST"] == f"{LOOPBACK}:1234"


@pytest.mark.parametrize("server", [embedded, llama_cpp_worker])
def test_our_own_servers_listen_there_when_nobody_says_where(
    server: object,
) -> None:
    parser = server.build_parser()  # type: ignore[attr-defined]
    assert parser.get_default("host") == LOOPBACK


def spec(kind: str) -> ServerSpec:
    return ServerSpec(
        name="m",
        kind=kind,  # type: ignore[arg-type]
        gguf=Path("m.gguf"),
        slots=1,
        context=256,
        log_path=Path("m.log"),
    )
