"""`llmeval judge-check`, as a user meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.judge_check import lines
from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.run.judge_check import Checked, JudgeReport, agreement_of
from pytest_llmeval.statistics.agreement import position_consistency


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = {
        "models": {
            "m": {"engine": "fake"},
            "wise": {"engine": "fake", "script": "wise.json", "role": "judge"},
            "mute": {"engine": "fake", "script": "mute.json", "role": "judge"},
        },
        "judge": "wise",
    }
    rules = [
        {"when": "compare two", "text": '{"verdict": "tie"}'},
        {"when": "Lyon", "text": "Hm\u001b[2J."},
        {"text": '{"reason": "so", "verdict": "pass"}'},
    ]
    (tmp_path / "config").mkdir()
    for name, content in (
        ("judged.yaml", config),
        ("wise.json", rules),
        ("mute.json", [{"text": ""}]),
    ):
        text = json.dumps(content)
        (tmp_path / "config" / name).write_text(text, encoding="utf-8", newline="\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["judge-check", "--llm-config", "judged.yaml", *arguments])


def test_it_says_how_far_a_judge_can_be_trusted(folder: Path) -> None:
    result = check()
    assert result.exit_code == 0
    told = result.stdout.splitlines()
    assert told[0] == "wise (fake)"
    assert told[1].startswith("answers, judged alone: agrees on 36/108, 33.3 % [")
    assert "kappa" in told[1]
    assert told[1].endswith("; 4 without a verdict")  # those that hold Lyon
    assert told[2] == (
        "  no better than always saying the same, which agrees on 72/108, 66.7 %: "
        "do not use it for judge"
    )
    assert "  right                            12/12" in told
    assert any(line.startswith("same in both orders: 36/36, 100.0 % [") for line in told)
    assert "france-wrong: is fail; wise gave no verdict that can be read" in result.stdout
    assert any(re.fullmatch(r"  \S+: is fail; wise says pass, because: so", line) for line in told)
    assert "\x1b" not in result.stdout
    assert "all of them with --json" in told[-1]


@pytest.mark.parametrize(
    ("agreed", "words"),
    [
        (12, "no better than always saying the same, which agrees on 12/36, 33.3 %: do not use it"),
        (13, "not clearly better than always saying the same, which agrees on 12/36, 33.3 %: do"),
        (18, "better than always saying the same, which agrees on 12/36, 33.3 %"),
    ],
)
def test_what_agreement_is_worth_is_told_against_one_who_does_not_look(
    agreed: int, words: str
) -> None:
    known = ("won", "lost", "tie") * 12
    checks = [
        Checked(str(place), "k", verdict, verdict if place < agreed else None, "")
        for place, verdict in enumerate(known)
    ]
    found = agreement_of(checks)
    report = JudgeReport("j", "fake", None, found, found, position_consistency([], []))
    told = list(lines(report))
    assert told[2].strip().startswith(words)
    assert told[2].endswith("for judge") is (agreed < 18)


def test_nothing_is_left_in_the_folder(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    check()
    assert sorted(folder.rglob("*")) == before


def test_the_same_as_json_with_every_check(folder: Path) -> None:
    found = json.loads(check("--json", "--judge", "m").stdout)
    assert found["judge"] == "m"
    assert len(found["answers"]["checks"]) == 108
    assert found["answers"]["by_kind"]["wrong"] == {"agreed": 12, "checks": 12}
    assert found["pairs"]["interval"]["method"] == "wilson"


def test_a_judge_that_says_nothing_at_all_is_no_result(folder: Path) -> None:
    result = check("--judge", "mute")
    assert result.exit_code == 1
    assert "108 without a verdict" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--judge", "who"), "unknown model 'who'"),
        (("--llm-config", "no.yaml"), "no config 'no.yaml'"),
    ],
)
def test_a_mistake_is_told(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    result = check(*arguments)
    assert result.exit_code == 1
    assert words in result.stderr
