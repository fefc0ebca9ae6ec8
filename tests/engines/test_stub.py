"""The stub of the benchmarks: what it counts is what the benchmarks claim."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_llmeval.engines.engine import Endpoint, EndpointFacts, make_engine
from pytest_llmeval.engines.fetch import fetch
from pytest_llmeval.errors import ContextOverflow
from pytest_llmeval.records import Answer, Message, Request, Sampling

BARE_CLIENT = Path(__file__).resolve().parents[2] / "benchmarks" / "bare_client.py"
StartStub = Callable[..., int]


def complete(port: int, texts: list[str]) -> list[Answer]:
    """Ask everything at once."""

    async def main() -> list[Answer]:
        engine = make_engine("llama-server", Endpoint(f"http://127.0.0.1:{port}"))
        asked = [Request((Message("user", text),), Sampling(8)) for text in texts]
        answers = await asyncio.gather(*[engine.complete(request) for request in asked])
        await engine.close()
        return list(answers)

    return asyncio.run(main())


def stats(port: int) -> dict[str, float]:
    counted: dict[str, float] = json.loads(fetch(f"http://127.0.0.1:{port}/stats", 5).body)
    return counted


def test_it_refuses_what_its_context_cannot_hold(start_stub: StartStub) -> None:
    port = start_stub()
    with pytest.raises(ContextOverflow, match="exceeds the available context"):
        complete(port, ["1 " * 4096])
    assert [answer.text for answer in complete(port, ["1 " * 4000])] == ["ok"]


@pytest.mark.parametrize("latency", ["0", "1"])
def test_it_adds_the_last_sum_it_is_asked(start_stub: StartStub, latency: str) -> None:
    port = start_stub("--latency-ms", latency)
    texts = ["17 + 25 =", "1 + 1 = 2\n10 + 90 =", "Hello", "What is 5 plus 6?"]
    assert [answer.text for answer in complete(port, texts)] == ["42", "100", "ok", "ok"]


def test_it_describes_itself_like_llama_server(start_stub: StartStub) -> None:
    port = start_stub("--slots", "3")

    async def main() -> EndpointFacts:
        engine = make_engine("llama-server", Endpoint(f"http://127.0.0.1:{port}"))
        facts = await engine.describe()
        await engine.close()
        return facts

    facts = asyncio.run(main())
    assert (facts.slots, facts.context, facts.model_name) == (3, 4096, "stub")
    assert fetch(f"http://127.0.0.1:{port}/health", 5).body == b'{"status": "ok"}'
    assert fetch(f"http://127.0.0.1:{port}/nowhere", 5).status == 404


def test_requests_beyond_its_slots_wait_for_one(start_stub: StartStub) -> None:
    port = start_stub("--slots", "2", "--latency-ms", "40")
    complete(port, ["1 + 1"] * 6)
    counted = stats(port)
    assert counted["requests"] == 6
    assert counted["busy_slot_seconds"] >= 6 * 0.04
    assert counted["last_answer"] - counted["first_request"] >= 3 * 0.04
    assert 0.5 < counted["utilisation"] <= 1.0


def test_one_request_at_a_time_leaves_slots_idle(start_stub: StartStub) -> None:
    port = start_stub("--slots", "4", "--latency-ms", "20")
    for _ in range(3):
        complete(port, ["1 + 1"])
    assert stats(port)["utilisation"] <= 0.25


def test_a_reset_starts_the_count_anew(start_stub: StartStub) -> None:
    port = start_stub()
    complete(port, ["1 + 1"])
    fetch(f"http://127.0.0.1:{port}/reset", 5)
    assert stats(port) == {
        "requests": 0,
        "busy_slot_seconds": 0.0,
        "first_request": None,
        "last_answer": None,
        "utilisation": None,
    }


def test_the_bare_client_asks_every_request_once(start_stub: StartStub) -> None:
    port = start_stub("--slots", "2")
    options = ["--port", str(port), "--requests", "50", "--connections", "3"]
    shown = subprocess.run(
        [sys.executable, str(BARE_CLIENT), *options], capture_output=True, check=True
    )
    printed = json.loads(shown.stdout)
    assert printed["requests"] == stats(port)["requests"] == 50
    assert printed["wall_s"] > 0
    assert printed["cpu_s"] > 0
