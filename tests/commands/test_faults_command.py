"""`llmeval faults`: a process that stands before an endpoint until Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.probes.faults import KINDS, SELECTORS
from tests.standins.upstream import Upstream, endpoint


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    yield from endpoint()


def run(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["faults", *words])
    return found.exit_code, " ".join(found.output.split())


def test_the_list_has_every_fault_every_attribute_and_every_choice() -> None:
    status, text = run("--list")
    assert status == 0
    for kind in KINDS.values():
        assert f"{kind.name} {kind.about}" in text
        assert all(f"{each.name} {each.about}" in text for each in kind.attributes)
    assert all(f"{name} {about}" in text for name, about in SELECTORS.items())


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ([], 2, "name the url of an endpoint, or ask for the --list of faults"),
        (["http://127.0.0.1:1"], 2, "name a --fault or a --script of them; --list shows all"),
        (["http://127.0.0.1:1", "--fault", "latncy"], 1, "llmeval: unknown fault 'latncy'; did"),
        (
            ["http://127.0.0.1:1", "--script", "none.yaml"],
            1,
            "llmeval: none.yaml: no such file",
        ),
        (["https://a.b", "--fault", "html"], 1, "llmeval: https://a.b is https, and the fault pr"),
        (["http://127.0.0.1:1", "--fault", "html", "--port", "70000"], 2, "--port"),
    ],
)
def test_a_mistake_is_told_in_words(words: list[str], status: int, told: str) -> None:
    found, text = run(*words)
    assert found == status
    assert told in text.replace("│ ", "")


def test_a_log_that_cannot_be_written_is_a_message(tmp_path: Path, dead_port: int) -> None:
    log = str(tmp_path / "none" / "x.jsonl")
    words = ["faults", f"http://127.0.0.1:{dead_port}", "--fault", "loading", "--log", log]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "x.jsonl: cannot be written: No such file or directory" in done.output


def test_an_endpoint_that_is_not_there_is_a_message(dead_port: int) -> None:
    status, text = run(f"http://127.0.0.1:{dead_port}", "--fault", "html")
    assert status == 1
    assert f"llmeval: nothing answers at 127.0.0.1:{dead_port} (" in text


@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM"])
def test_it_stands_before_an_endpoint_until_it_is_ended_and_tells_what_it_injects(
    upstream: Upstream, tmp_path: Path, ending: str
) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("seed: 7\nfaults:\n  - loading: {after: 1, times: 1}\n", encoding="utf-8")
    log = tmp_path / "faults.jsonl"
    command = [sys.executable, "-m", "pytest_llmeval.commands.llmeval", "faults"]
    command += [f"{upstream.url}/v1", "--script", str(script), "--log", str(log)]
    process = subprocess.Popen(
        [*command, "--fault", "latency:latency=1,only=chat"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert [status_of(f"{url}/chat/completions") for _ in range(3)] == [200, 503, 200]
    if sys.platform == "win32":
        process.terminate()  # a console's Ctrl-C cannot be sent to one child
    else:
        process.send_signal(getattr(signal, ending))
    _, said = process.communicate()
    lines = said.splitlines()
    assert lines[0] == (
        f"before {upstream.url}/v1, seed 7: latency:latency=1,only=chat, loading:after=1,times=1. "
        "Ctrl-C ends it."
    )
    assert any(
        line.endswith("request 2  POST /v1/chat/completions  loading:after=1,times=1")
        for line in lines
    )
    if sys.platform != "win32":
        assert process.returncode == 0
        assert lines[-1] == "3 requests, 4 faults injected"
    written = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [(each["request"], each["fault"].partition(":")[0]) for each in written] == [
        *((1, "latency"), (2, "loading"), (2, "latency"), (3, "latency")),
    ]
    assert all(each["seconds"] >= 0 and each["method"] == "POST" for each in written)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=b"{}")) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
