"""`llama-orch daemon`, as its user meets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.orch_homes import OrchHome


@pytest.fixture
def home(tmp_path: Path) -> Iterator[OrchHome]:
    """A home with one instance."""
    home = OrchHome(tmp_path / "home", "one")
    yield home
    home.end()


def test_a_day_of_a_daemon(home: OrchHome) -> None:
    root = str(home.home.root)
    status, text = home.run("daemon", "status")
    assert (status, text.strip()) == (
        1,
        f"No daemon runs in {root}. Start it with: llama-orch daemon start",
    )
    assert home.run("daemon", "start")[1].startswith("The daemon has started, pid ")
    assert home.run("daemon", "start")[1].startswith("The daemon runs already, pid ")
    assert home.run("up", "one")[0] == 0
    said = home.json("daemon", "status")
    assert (said["home"], said["answers"], said["wanted"], said["up"]) == (
        root,
        True,
        ["one"],
        ["one"],
    )
    status, text = home.run("daemon", "status")
    assert status == 0
    assert f"The daemon of {root} runs: pid {said['pid']}, since 2" in text
    assert "  up: one" in text
    assert home.run("daemon", "stop")[1].strip() == (
        f"The daemon (pid {said['pid']}) and all its servers have ended."
    )
    assert home.run("daemon", "stop")[1].strip() == "No daemon runs: there is nothing to stop."


def test_what_starts_with_it_is_listed_added_and_removed(home: OrchHome) -> None:
    assert home.run("daemon", "autostart")[1].strip() == (
        "None is brought up when the daemon starts."
    )
    assert home.json("daemon", "autostart", "one") == {"instances": ["one"]}
    assert home.run("daemon", "autostart")[1].strip() == "Brought up when the daemon starts: one"
    status, text = home.run("daemon", "autostart", "onw")
    assert status == 1
    assert "no instance 'onw'" in text
    assert home.json("daemon", "autostart", "--remove", "one") == {"instances": []}
