"""Two commands and a daemon at once: whatever they ask for, there is one server at most."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.orch_homes import OrchHome

ROUNDS = 8
WISHES = ("up", "down", "restart")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[OrchHome]:
    home = OrchHome(tmp_path / "home", "tiny")
    yield home
    home.end()


def test_two_commands_at_once_never_make_two_servers(home: OrchHome) -> None:
    draw = random.Random(7)
    ended: list[tuple[str, int, str]] = []

    def ask(wishes: list[str]) -> None:
        ended.extend((wish, *home.run(wish, "tiny")) for wish in wishes)

    askers = [
        threading.Thread(target=ask, args=(draw.choices(WISHES, k=ROUNDS),)) for _ in range(2)
    ]
    for asker in askers:
        asker.start()
    most = daemons = 0
    while any(asker.is_alive() for asker in askers):
        most = max(most, len(home.processes("server")))
        daemons = max(daemons, len(home.processes("daemon")))
    assert (most, daemons) == (1, 1), "at most one at any time, and there was one"

    assert len(ended) == 2 * ROUNDS
    for wish, status, text in ended:
        if status:  # the other one was quicker, and that is said
            assert (status, wish) in {(1, "up"), (1, "restart")}, (wish, text)
            assert f"llama-orch: {wish} tiny: it was brought down before it was up" in text
    assert home.state.requests_after(0) == ()

    assert home.run("up", "tiny")[0] == 0
    (server,) = home.processes("server")
    row = home.row("tiny")
    assert row.server is not None
    assert (row.wanted, row.server.pid, row.port) == ("up", server.pid, server.port)
    assert home.run("down", "tiny")[0] == 0
    assert home.processes("server") == []
