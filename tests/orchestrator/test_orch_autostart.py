"""Which instances the daemon brings up when it starts."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_llmeval.errors import InstanceConfigError, OrchestratorError, UnknownInstanceError
from pytest_llmeval.orchestrator.autostart import (
    add_autostart,
    read_autostart,
    remove_autostart,
    write_autostart,
)
from pytest_llmeval.orchestrator.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    for name in ("a", "b", "c"):
        (home.instances / name).mkdir(parents=True)
        config = home.instances / name / "config.yaml"
        config.write_text("model: {path: m.gguf}\n", encoding="utf-8", newline="\n")
    return home


def test_a_home_that_cannot_be_written_is_told_with_the_way_out(home: Home) -> None:
    home.autostart.mkdir()
    with pytest.raises(InstanceConfigError, match="it is a folder"):
        read_autostart(home)
    home.autostart.rmdir()
    home.autostart.with_suffix(".lock").mkdir()
    with pytest.raises(OrchestratorError) as told:
        add_autostart(home, ["a"])
    assert str(told.value).startswith(f"{home.autostart}: cannot be written: ")
    assert str(told.value).endswith(
        "; its folder must be yours to write, or name another home with --home or LLAMA_ORCH_HOME"
    )
    assert read_autostart(home) == ()


def test_none_are_brought_up_unless_asked_for(home: Home) -> None:
    assert read_autostart(home) == ()


def test_those_added_are_brought_up_in_that_order_each_once(home: Home) -> None:
    assert add_autostart(home, ["b", "a"]) == ("b", "a")
    assert add_autostart(home, ["c", "b"]) == ("b", "a", "c")
    assert read_autostart(home) == ("b", "a", "c")
    assert remove_autostart(home, ["a"]) == ("b", "c")
    assert json.loads(home.autostart.read_text(encoding="utf-8")) == {"instances": ["b", "c"]}


def test_an_instance_that_is_not_there_is_not_added(home: Home) -> None:
    with pytest.raises(UnknownInstanceError, match=r"no instance 'bb'; did you mean 'b'\?"):
        add_autostart(home, ["a", "bb"])
    assert read_autostart(home) == ()


def test_one_whose_config_is_gone_can_still_be_removed(home: Home) -> None:
    write_autostart(home, ["gone", "a"])
    assert read_autostart(home) == ("gone", "a")
    assert remove_autostart(home, ["gone"]) == ("a",)


def test_removing_what_is_not_there_says_what_is(home: Home) -> None:
    write_autostart(home, ["a", "b"])
    with pytest.raises(OrchestratorError) as caught:
        remove_autostart(home, ["a", "c"])
    assert str(caught.value) == (
        "'c' is not brought up when the daemon starts (those that are: a, b)"
    )
    assert read_autostart(home) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "autostart.json:1: not valid YAML"),
        ('["a"]', "autostart.json:1: a mapping such as 'key: value' is expected, found a list"),
        ('{\n"instances": "a"}', "autostart.json:2: instances: expected a list, found 'a'"),
        ('{"instance": []}', "unknown key 'instance'; did you mean 'instances'?"),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_its_line(
    home: Home, text: str, words: str
) -> None:
    home.autostart.write_text(text, encoding="utf-8", newline="\n")
    with pytest.raises(InstanceConfigError) as caught:
        read_autostart(home)
    assert words in str(caught.value)


def test_many_that_add_at_once_undo_nothing_of_each_other(home: Home) -> None:
    names = [f"n{number}" for number in range(16)]
    for name in names:
        (home.instances / name).mkdir()
        config = home.instances / name / "config.json"
        config.write_text('{"model": {"path": "m"}}', encoding="utf-8", newline="\n")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: add_autostart(home, [name]), names))
    assert set(read_autostart(home)) == set(names)
