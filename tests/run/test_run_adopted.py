"""Models behind addresses that somebody else keeps: one or several, by each engine's rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.engines.balanced import BalancedEngine
from pytest_llmeval.engines.engine import Engine
from pytest_llmeval.results.manifest import read_manifest
from pytest_llmeval.run.backing import backing_of, in_flight, is_healthy, what_computes
from pytest_llmeval.run.requests import request_bodies
from tests.standins.anthropic import KEY, MODEL, AnthropicStandIn
from tests.standins.anthropic import serve as serve_messages
from tests.standins.deficient import serving
from tests.standins.faulty import Faulty, serve

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

NOWHERE = ["http://127.0.0.1:9/v1", "http://127.0.0.2:9"]


@pytest.fixture
def servers() -> Iterator[list[Faulty]]:
    """Two endpoints that answer 42."""
    first, second = serve(), serve()
    yield [next(first), next(second)]
    for each in (first, second):
        next(each, None)


@pytest.fixture
def messages() -> Iterator[AnthropicStandIn]:
    yield from serve_messages()


def engine_of(bench: Workbench, **keys: Any) -> Engine:
    """The engine of the model m with these keys."""
    bench.config(models={"m": keys})
    config = bench.settings().config
    backing = backing_of(config.models["m"], config, bench.root, print)
    return backing.make_engine(backing.url)


def test_several_urls_have_no_request_ahead(bench: Workbench) -> None:
    bench.config(models={"m": {"engine": "openai", "url": NOWHERE, "slots": 3}})
    model = bench.settings().config.models["m"]
    assert in_flight(model, 6, timed=False, dry_run=False) == 6
    assert what_computes(model) == (
        "openai at http://127.0.0.1:9/v1, http://127.0.0.2:9, adopted: never started or stopped "
        "here"
    )


def test_several_urls_are_one_engine_and_one_url_is_none_of_these(bench: Workbench) -> None:
    assert isinstance(engine_of(bench, engine="openai", url=NOWHERE), BalancedEngine)
    assert not isinstance(engine_of(bench, engine="openai", url=NOWHERE[0]), BalancedEngine)


def test_it_is_healthy_where_all_endpoints_are(bench: Workbench, servers: list[Faulty]) -> None:
    urls = [server.url for server in servers]
    for both, healthy in ((urls, True), ([urls[0], NOWHERE[0]], False)):
        bench.config(models={"m": {"engine": "openai", "url": both}})
        assert is_healthy(bench.settings().config, "m", both[0]) == healthy


def eight_items(bench: Workbench) -> Path:
    """A suite whose requests can be told from those of the preflight: 42 comes as HTML."""
    return bench.suite(
        items=[{"id": f"{n}", "a": n, "answer": "42"} for n in range(8)],
        prompt="{{ a }} + 1 = fault:wrong_content_type",
    )


def test_a_run_asks_all_endpoints(bench: Workbench, servers: list[Faulty]) -> None:
    urls = [server.url for server in servers]
    bench.config(models={"m": {"engine": "openai", "url": urls, "slots": 1}})
    folder = bench.run(eight_items(bench))
    asked = [server.asked["wrong_content_type"] for server in servers]
    assert sum(asked) == 8
    assert min(asked) >= 1
    (model,) = json.loads((folder / "manifest.json").read_bytes())["models"]
    assert model["slots"] == 2


def test_a_run_goes_on_where_one_endpoint_breaks(bench: Workbench, servers: list[Faulty]) -> None:
    urls = [server.url for server in servers]
    bench.config(models={"m": {"engine": "openai", "url": urls, "slots": 1}})
    broken, _ = servers
    broken.instead = {"wrong_content_type": "closed_at_once"}
    folder = bench.run(eight_items(bench))
    lines = (folder / "m" / "results_combined.jsonl").read_text(encoding="utf-8").splitlines()
    attempts = [json.loads(line)["llmeval"]["attempts"] for line in lines]
    assert all(each[-1]["error"] is None for each in attempts)
    failed = [each[0]["error"] for each in attempts if len(each) > 1]
    assert all(urls[0] in error for error in failed)
    assert broken.asked["closed_at_once"]  # by an item, or by preflight, which breaks nothing


@pytest.mark.parametrize("engine", ["openai", "llama-server"])
def test_a_run_warns_of_a_server_with_fewer_slots_than_asked_for(
    bench: Workbench, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving() as standin:
        bench.config(models={"m": {"engine": engine, "url": standin.url, "slots": 6}})
        folder = bench.run(bench.suite())
    words = f"m: 6 slots were asked for, and the server at {standin.url} has 4: "
    assert capsys.readouterr().out.count(f"llmeval: {words}") == 1
    warnings = read_manifest(folder).warnings
    assert sum(words in warning for warning in warnings) == 1


def test_streaming_and_the_key_reach_the_engine(
    bench: Workbench, messages: AnthropicStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESSAGES_KEY", KEY)
    keys = {"name": MODEL, "api_key_env": "MESSAGES_KEY", "stream": True}
    bench.config(
        models={"m": {"engine": "anthropic", "url": messages.url, **keys}},
        sampling={"max_tokens": 16, "seed": None},
    )
    bench.run(bench.suite())
    assert len(messages.seen) == 4
    assert all(seen["stream"] for seen in messages.seen)
    assert messages.complaints == []


def test_the_requests_of_anthropic_are_kept_without_keys_of_llama_cpp(bench: Workbench) -> None:
    bench.config(models={"m": {"engine": "anthropic", "url": NOWHERE[0]}})
    settings = bench.settings()
    trials = bench.trials(settings, bench.suite())
    bodies = [body for _, body in request_bodies(trials, settings.config.models)]
    assert all("cache_prompt" not in body for body in bodies)


def test_an_engine_of_several_is_closed_with_all_it_holds(
    bench: Workbench, servers: list[Faulty]
) -> None:
    async def use() -> None:
        engine = engine_of(bench, engine="openai", url=[server.url for server in servers])
        assert (await engine.describe()).slots == 8
        await engine.close()

    asyncio.run(use())
