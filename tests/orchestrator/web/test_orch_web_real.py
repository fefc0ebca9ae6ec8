"""The page over a real daemon and a real model: brought up by a click, asked, and brought down."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from pytest_llmeval.orchestrator import daemon
from pytest_llmeval.orchestrator.client import Client
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.servers.identity import identity_of
from tests.browsing import DESKTOP
from tests.orchestrator.web.conftest import Opened, Served, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MODEL = Path(__file__).resolve().parents[3] / "models" / "tiny-l.gguf"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with one instance of a tiny model; its daemon is stopped in the end."""
    found = Home(tmp_path / "home")
    folder = found.instances / "tiny"
    folder.mkdir(parents=True)
    config = {
        "model": {"path": str(MODEL), "context_size": 256},
        "server": {"engine": "embedded"},
        "healthcheck": {"interval": 0.5},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8", newline="\n")
    yield found
    daemon.stop(found)


@pytest.fixture
def really_served(home: Home) -> Iterator[Served]:
    instances = Client.open(home, environ=os.environ)
    with serving(instances, lambda: daemon.running(home) is not None) as one:
        yield one


def test_a_model_is_brought_up_by_a_click_answers_and_is_brought_down(
    really_served: Served, browser: Browser
) -> None:
    with browser.new_context(viewport=DESKTOP) as context:  # type: ignore[arg-type] # a mapping
        tab = Opened(context.new_page()).open(really_served)
        tab.see(tab.row("tiny"), "down")
        tab.see("#daemon", "daemon not running")
        tab.button("tiny", "start").click()
        tab.see(tab.row("tiny"), "healthy", seconds=120)
        assert not tab.page.locator("#daemon").is_visible()

        view = really_served.call("GET", "/instances/tiny").json()["view"]
        body = {"prompt": "2 + 2 =", "max_tokens": 4}
        asked = httpx.post(f"{view['url']}/v1/completions", json=body, trust_env=False, timeout=60)
        assert asked.json()["usage"]["completion_tokens"] >= 1

        tab.button("tiny", "log").click()
        tab.see("#log-text", "model loaded")
        server = identity_of(view["pid"])
        assert server is not None
        tab.button("tiny", "stop").click()
        tab.see(tab.row("tiny"), "down", seconds=60)
        assert not server.lives()
        assert tab.complaints == []


def test_a_model_that_cannot_be_loaded_is_told_in_the_servers_own_words(
    really_served: Served, home: Home, browser: Browser
) -> None:
    broken = home.root / "broken.gguf"
    broken.write_bytes(MODEL.read_bytes()[:5000])
    config = home.instances / "tiny" / "config.json"
    text = config.read_text(encoding="utf-8").replace(
        json.dumps(str(MODEL)), json.dumps(str(broken))
    )
    config.write_text(text, encoding="utf-8", newline="\n")
    with browser.new_context(viewport=DESKTOP) as context:  # type: ignore[arg-type] # a mapping
        tab = Opened(context.new_page()).open(really_served)
        tab.button("tiny", "start").click()
        tab.see("#notices", "start of tiny: ", seconds=120)
        tab.see("#notices", "broken.gguf")
        assert tab.button("tiny", "start").is_enabled()
