"""`llama-orch serve` as its user meets it: what it says, whom it refuses, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llama_orch import serve_command
from pytest_llmeval.commands.llama_orch.app import app
from pytest_llmeval.commands.llama_orch.serve_command import Place
from pytest_llmeval.orchestrator.home import Home
from tools.orch_homes import OrchHome

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def refused(home: Home, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["--home", str(home.root), "serve", *arguments])
    assert result.exit_code == 1
    return result


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_any_other_host_is_refused_without_a_token(home: Home, host: str) -> None:
    said = refused(home, "--host", host, "--port", "0").output
    assert said.startswith(f"llama-orch: --host {host} opens the interface to other machines")
    assert "--token-env NAME" in said
    assert not home.token.exists()


def test_a_variable_without_a_token_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    said = refused(home, "--host", "0.0.0.0", "--token-env", "NOWHERE").output
    assert "--token-env NOWHERE: the environment has no such variable" in said


def test_a_port_in_use_is_told_with_who_has_it(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(home, "--port", str(port)).output
    assert f"llama-orch: port {port} is in use by " in said or f"127.0.0.1:{port} (" in said
    assert "--port" in said


def test_a_missing_extra_names_its_pip_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    said = refused(home, "--port", "0").output
    assert "llama-orch serve needs the package uvicorn" in said
    assert 'pip install "pytest-llmeval-local[web]"' in said


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_is_a_wrong_command_line(home: Home, port: str) -> None:
    result = CliRunner().invoke(app, ["--home", str(home.root), "serve", "--port", port])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:9640/"),
        ("0.0.0.0", "http://127.0.0.1:9640/"),
        ("::", "http://[::1]:9640/"),
        ("::1", "http://[::1]:9640/"),
        ("desk.lan", "http://desk.lan:9640/"),
    ],
)
def test_the_address_is_one_that_a_browser_can_open(host: str, address: str) -> None:
    assert Place(host, 9640, None).page == address
    assert Place(host, 9640, "abc").page == f"{address}#token=abc"


def test_a_token_that_was_given_is_not_shown() -> None:
    said = "\n".join(Place("127.0.0.1", 9640, None).lines())
    assert "token=" not in said
    assert "it asks for the token that you gave" in said


def test_a_browser_is_given_the_token_by_a_file_of_the_user_not_by_its_command_line(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.root.mkdir()
    opened: list[tuple[str, str, int]] = []

    def browse(address: str) -> bool:
        way = home.root / "open-page.html"
        opened.append((address, way.read_text(encoding="utf-8"), way.stat().st_mode & 0o777))
        return True

    monkeypatch.setattr("webbrowser.open", browse)
    with serve_command._opened(home, Place("127.0.0.1", 9640, "s3cret")):
        ((address, text, mode),) = opened
    assert address.startswith("file:")
    assert "s3cret" not in address
    assert 'url=http://127.0.0.1:9640/#token=s3cret"' in text
    assert mode == 0o600 or os.name == "nt"
    assert not (home.root / "open-page.html").exists()


# As a process of its own --------------------------------------------------------------------------


class Running:
    """The command, with what it has said so far."""

    def __init__(self, home: Home, *arguments: str, environ: Mapping[str, str] = os.environ):
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest_llmeval.commands.llama_orch"),
                *("--home", str(home.root), "serve", "--port", "0", *arguments),
            ],
            cwd=ROOT,
            env={**environ, "PYTHONUNBUFFERED": "1", "MY_TOKEN": "0123456789-abcdef"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self.said: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if "Ctrl-C" in line:
                break

    @property
    def page(self) -> str:
        return self.address("page")

    def address(self, what: str) -> str:
        """The address on the line that begins like this."""
        (line,) = (line for line in self.said if line.startswith(f"{what}: "))
        found = re.search(r"http://\S+", line)
        assert found is not None, line
        return found[0]

    def end(self, how: int) -> tuple[int, str]:
        """Its exit status, and what it said in the end."""
        self.process.send_signal(how)
        rest, _ = self.process.communicate(timeout=60)
        return self.process.returncode, rest


@pytest.fixture
def running(home: Home) -> Iterator[Running]:
    one = Running(home)
    yield one
    one.process.kill()
    one.process.communicate()


def test_it_says_where_the_page_is_and_the_token_is_the_kept_one(
    home: Home, running: Running
) -> None:
    address, _, token = running.page.partition("#token=")
    assert token == home.token.read_text(encoding="utf-8").strip()
    assert running.said[1].strip() == ("(whoever has this address may start and stop instances)")
    assert httpx.get(address, trust_env=False).text.startswith("<!doctype html>")
    seen = httpx.get(f"{address}instances", trust_env=False).json()
    assert (seen["instances"], seen["daemon"]) == ([], False)
    action = f"{address}instances/nobody/start"
    assert httpx.post(action, trust_env=False).status_code == 401
    mine = {"X-Llama-Orch-Token": token}
    assert httpx.post(action, headers=mine, trust_env=False).status_code == 404


@pytest.mark.skipif(sys.platform == "win32", reason="a test can press no Ctrl-C on Windows")
def test_interrupted_it_ends_at_once_though_somebody_watches(running: Running) -> None:
    address = running.page.partition("#")[0]
    ended = threading.Event()

    def watch() -> None:
        with httpx.stream("GET", f"{address}events", timeout=60, trust_env=False) as events:
            for _ in events.iter_lines():
                watching.set()
        ended.set()

    watching = threading.Event()
    threading.Thread(target=watch, daemon=True).start()
    assert watching.wait(60)
    status, said = running.end(signal.SIGINT)
    assert (status, said) == (0, "")
    assert ended.wait(60)  # the stream was closed, not cut


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal on Windows")
def test_a_service_manager_ends_it_in_the_same_way(running: Running) -> None:
    assert running.end(signal.SIGTERM) == (0, "")


def test_a_token_of_the_environment_is_neither_shown_nor_kept(home: Home) -> None:
    running = Running(home, "--token-env", "MY_TOKEN")
    try:
        assert "0123456789-abcdef" not in "\n".join(running.said)
        assert not home.token.exists()
        action = f"{running.page}instances/nobody/start"
        mine = {"Authorization": "Bearer 0123456789-abcdef"}
        assert httpx.post(action, headers=mine, trust_env=False).status_code == 404
    finally:
        running.process.kill()
        running.process.communicate()


# With the front door ------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[OrchHome]:
    """A home with one instance that nobody has brought up."""
    one = OrchHome(tmp_path / "home", "tiny")
    yield one
    one.end()


def streamed(url: str, content: str) -> list[str]:
    """The data of a streamed answer's events."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 8,
        "stream": True,
    }
    with httpx.stream(
        "POST", f"{url}/chat/completions", json=body, timeout=90, trust_env=False
    ) as answer:
        assert answer.status_code == 200, answer.read()
        return [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]


def test_a_request_at_the_front_door_starts_the_instance_and_is_answered(tiny: OrchHome) -> None:
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`")
    running = Running(tiny.home, "--proxy", "--proxy-port", "0", environ=tiny.environ)
    url, metrics = running.address("front door"), running.address("metrics")
    (model,) = httpx.get(f"{url}/models", trust_env=False).json()["data"]
    assert (model["id"], model["state"]) == ("tiny", "unknown")
    *chunks, done = streamed(url, "1 + 2 =")
    assert done == "[DONE]"
    assert all(json.loads(chunk)["object"] == "chat.completion.chunk" for chunk in chunks)
    told = httpx.get(metrics, trust_env=False).text
    assert 'llama_orch_front_door_requests_total{instance="tiny"} 1.0\n' in told
    assert 'llama_orch_front_door_starts_total{instance="tiny"} 1.0\n' in told
    if sys.platform != "win32":  # where a test can press no Ctrl-C
        assert running.end(signal.SIGINT) == (0, "")
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, trust_env=False)
        assert tiny.is_up("tiny")  # as it has said: the instances are left as they are
    running.process.kill()
    running.process.communicate()
    assert tiny.run("daemon", "stop")[0] == 0
    assert tiny.processes() == []


def test_a_front_door_for_other_machines_needs_the_token_as_its_key(home: Home) -> None:
    running = Running(
        home, "--host", "0.0.0.0", "--token-env", "MY_TOKEN", "--proxy", "--proxy-port", "0"
    )
    try:
        url = running.address("front door")
        assert any(line.endswith("/v1   (clients with the key)") for line in running.said)
        assert httpx.get(f"{url}/models", trust_env=False).status_code == 401
        mine = {"Authorization": "Bearer 0123456789-abcdef"}
        assert httpx.get(f"{url}/models", headers=mine, trust_env=False).json()["data"] == []
    finally:
        running.process.kill()
        running.process.communicate()


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org"])
def test_a_front_door_for_other_machines_is_refused_without_a_token(home: Home, host: str) -> None:
    said = refused(home, "--host", host, "--port", "0", "--proxy", "--proxy-port", "0").output
    assert said.startswith(f"llama-orch: --host {host} opens the interface to other machines")


def test_one_port_for_both_is_told(home: Home) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    said = refused(home, "--port", port, "--proxy", "--proxy-port", port).output
    assert said == f"llama-orch: --port and --proxy-port are both {port}: give each its own\n"
