"""The interface as its callers meet it: a real server on a port of its own, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pytest_llmeval.orchestrator.front_door.door import DoorFigures
from pytest_llmeval.orchestrator.front_door.fleet import LaneFigures
from pytest_llmeval.orchestrator.front_door.lane import Counts
from pytest_llmeval.orchestrator.listening import listen, serve
from pytest_llmeval.orchestrator.views import Instances
from pytest_llmeval.orchestrator.web.access import access_to
from pytest_llmeval.orchestrator.web.app import Door, Office, make_app, no_door
from pytest_llmeval.orchestrator.web.server import HEAD_SECONDS, WebServer
from tests.browsing import launched
from tests.standins.instances import StandIn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

TOKEN = "a-token-of-the-tests-0123456789"
RIGHT = {"X-Llama-Orch-Token": TOKEN}


@dataclass
class Served:
    """An interface that answers, and the instances behind it."""

    url: str
    office: Office
    instances: Any
    client: httpx.Client

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask it as a program does."""
        return self.client.request(method, self.url + path, **options)

    def begin_anew(self, folder: Path) -> None:
        """As for somebody who comes first: nothing under way, nobody who watches, no instances."""
        self.instances.go.set()
        until(lambda: not self.office.jobs.pending and not self.office.feed.watchers)
        vars(self.instances).update(vars(StandIn(folder)))


@contextlib.contextmanager
def serving(
    instances: Instances,
    daemon: Callable[[], bool],
    *,
    door: Door = no_door,
    host: str = "127.0.0.1",
    head_seconds: float = HEAD_SECONDS,
) -> Iterator[Served]:
    """Serve these instances until the block ends."""
    listening = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    begun = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, WebServer, Office]] = []

    async def answer() -> None:
        access = access_to(host, TOKEN, ["desk"])
        app = make_app(instances, access=access, daemon=daemon, door=door, interval=0.05)
        web = WebServer(app, listening, head_seconds)
        loops.append((asyncio.get_running_loop(), web, app.state.office))
        begun.set()
        await serve([web])

    thread = threading.Thread(target=lambda: asyncio.run(answer()), daemon=True)
    thread.start()
    begun.wait()
    loop, web, office = loops[0]
    try:
        with httpx.Client(timeout=60, trust_env=False) as client:
            yield Served(url, office, instances, client)
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended already
            loop.call_soon_threadsafe(web.stop)
        thread.join(60)
    assert not thread.is_alive()


def door(**requests: tuple[int, int]) -> DoorFigures:
    """A front door with so many requests in flight, and waiting, for each instance."""
    lanes = tuple(
        LaneFigures(name, "ready", in_flight, queued, Counts(requests=in_flight + queued))
        for name, (in_flight, queued) in requests.items()
    )
    return DoorFigures(sum(map(sum, requests.values())), lanes)


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


@contextlib.contextmanager
def serving_stand_in(host: str) -> Iterator[Served]:
    """An interface over a stand-in, which tests use one after the other."""
    instances = StandIn(Path())
    with serving(
        instances, lambda: instances.daemon, door=lambda: instances.door, host=host
    ) as one:
        yield one


@pytest.fixture(scope="module")
def standing() -> Iterator[Served]:
    with serving_stand_in("127.0.0.1") as one:
        yield one


@pytest.fixture(scope="module")
def standing_remotely() -> Iterator[Served]:
    with serving_stand_in("0.0.0.0") as one:
        yield one


@pytest.fixture
def served(standing: Served, tmp_path: Path) -> Served:
    """An interface over a stand-in, for this machine alone."""
    standing.begin_anew(tmp_path)
    return standing


@pytest.fixture
def served_remotely(standing_remotely: Served, tmp_path: Path) -> Served:
    """The same as for other machines: it listens on 127.0.0.1, but has the rules of 0.0.0.0."""
    standing_remotely.begin_anew(tmp_path)
    return standing_remotely


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's own Chromium."""
    with launched() as one:
        yield one


class Opened:
    """The page in a tab, and what the browser had to complain of."""

    def __init__(self, page: Page):
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type == "error" else None,
        )

    def open(self, served: Served, token: str | None = TOKEN) -> Opened:
        self.page.goto(f"{served.url}/{f'#token={token}' if token else ''}")
        return self

    def row(self, name: str) -> Locator:
        return self.page.locator(f'tr[data-name="{name}"]')

    def button(self, name: str, action: str) -> Locator:
        return self.row(name).locator(f'[data-action="{action}"]')

    def see(self, where: Locator | str, text: str, *, seconds: float = 30) -> None:
        """Wait until it is to be seen there."""
        from playwright.sync_api import expect

        locator = self.page.locator(where) if isinstance(where, str) else where
        expect(locator).to_contain_text(text, timeout=1000 * seconds)
