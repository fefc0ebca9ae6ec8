"""`llmeval cache`: how many answers are kept, and letting them go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pytest_llmeval.commands.cache import answers_file
from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.running.cache import AnswerStore

Said = Callable[..., str]


@pytest.fixture
def said() -> Said:
    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, ["cache", *arguments])
        assert result.exit_code == status, result.output
        return result.output

    return run


def keep(count: int) -> None:
    store = AnswerStore(
        answers_file().parent, 2**24, writes=True, tell=pytest.fail, clock=lambda: 1_700_000_000
    )
    for number in range(count):
        store.put(number.to_bytes(32, "big"), b"x" * 3000)
    store.close()


def test_stats_say_how_many_answers_lie_where_and_when_they_were_used(said: Said) -> None:
    assert said("stats") == f"file      {answers_file()}\nanswers   0\n"
    keep(1200)
    first, answers, use = said("stats").splitlines()
    assert first == f"file      {answers_file()}"
    assert answers.startswith("answers   1,200 in ")
    assert answers.endswith(" MB")
    hour = "within the hour from 2023-11-14 22:13 UTC"
    assert use == f"last use  {hour}; of the one that goes first: {hour}"


def test_the_variable_says_where_answers_are_kept(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMEVAL_CACHE", str(tmp_path / "other"))
    assert str(tmp_path / "other" / "answers") in said("stats")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMEVAL_CACHE", "relative")  # servers' guards work in other folders
    assert str(tmp_path / "relative" / "answers") in said("stats")


def test_prune_leaves_no_more_than_the_size(said: Said) -> None:
    assert said("prune", "1MB") == "no answers are kept\n"
    keep(1200)
    told = said("prune", "1MB")
    gone, _, rest = told.partition(" answers let go; ")
    assert int(gone.replace(",", "")) > 500
    left = float(rest.partition(" are left in ")[2].removesuffix(" MB\n"))
    assert left <= 1.0
    assert said("prune", "1MB").startswith("0 answers let go; ")


def test_clear_lets_all_go_a_damaged_file_too(said: Said) -> None:
    assert said("clear") == "no answers are kept\n"
    keep(3)
    assert said("clear") == "3 answers let go\n"
    assert not answers_file().exists()
    answers_file().write_bytes(b"no database" * 1000)
    assert "llmeval cache clear begins a new one" in said("stats", status=1)
    assert said("clear") == "all answers let go\n"
    answers_file().with_name("answers-1.sqlite3.damaged").write_bytes(b"set aside by a run")
    assert said("clear") == "all answers let go\n"
    assert said("clear") == "no answers are kept\n"
    assert not list(answers_file().parent.glob("*.damaged"))


def test_a_size_without_its_unit_is_told(said: Said) -> None:
    assert said("prune", "200", status=1) == (
        "llmeval: SIZE: expected a size with its unit (kB, MB, GB, KiB, MiB or GiB), such as "
        "6 GiB, found '200'\n"
    )


def test_sizes_are_read_as_they_are_shown(said: Said) -> None:
    keep(3)
    shown = said("stats").splitlines()[1].partition(" in ")[2]
    assert shown.endswith(" kB")
    assert said("prune", shown).startswith("0 answers let go; 3 are left")
