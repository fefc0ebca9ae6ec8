"""A run that watches the machine, with an endpoint that counts no tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tools.real_runs import MODELS

if TYPE_CHECKING:
    from tools.real_runs import Project


class Uncounting(BaseHTTPRequestHandler):
    """Answers chats, counts nothing, and has nothing else."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.reply(404, {"error": {"message": "not here"}})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": "4"}
        self.reply(200, {"choices": [{"message": message, "finish_reason": "stop"}]})

    def reply(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def uncounting() -> Iterator[str]:
    """The url of an endpoint that answers everything with 4."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Uncounting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_the_machine_is_watched_and_every_answer_has_its_tokens(
    project: Project, uncounting: str
) -> None:
    plain = {"engine": "openai", "url": uncounting, "price": {"prompt": 1.5, "completion": 3}}
    project.config(models={"counted": MODELS["tiny-s"], "plain": plain}, telemetry=True)
    items = [{"id": f"i{n}", "x": n, "answer": str(2 * n)} for n in range(4)]
    project.suite(items=items, prompts={"plain": "{{ x }} + {{ x }} ="})
    status, text = project.run()
    assert status == 0, text
    sources = {row["model"]: row["usage_source"] for row in project.rows("predictions")}
    assert sources == {"counted": "server", "plain": "characters"}
    samples = [
        json.loads(line)
        for line in (project.folder / "telemetry.jsonl").read_text("utf-8").splitlines()
    ]
    assert len(samples) >= 2
    assert all(sample["rss"] > 2**20 and 0 <= sample["cpu"] <= 1 for sample in samples)
    costs = json.loads((project.folder / "costs.json").read_text("utf-8"))
    assert {part["condition"] for part in costs["parts"]} == {"counted/plain", "plain/plain"}
    by_condition = {row["condition"]: row for row in costs["conditions"]}
    assert by_condition["counted/plain"]["price"] is None
    its = by_condition["plain/plain"]
    expected = (its["prompt_tokens"] * 1.5 + its["completion_tokens"] * 3) / 1e6
    assert its["price"] == pytest.approx(expected)
    if not samples[0]["gpus"]:
        assert "telemetry: no figures of a GPU: " in text
        assert costs["total"]["joules"] is None
