"""`llmeval compare` says of two runs what is better, what is worse, and what is noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llmeval import app

if TYPE_CHECKING:
    from tests.commands.conftest import Evaluate


@pytest.fixture(autouse=True)
def there(evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands are given in the user's folder."""
    monkeypatch.chdir(evaluate.root)
    return evaluate.root


def command(*words: str) -> Result:
    return CliRunner().invoke(app, ["compare", *words])


#: Without the blanks that align it.
TABLE = """\
suite    condition items before after gained lost difference            p
capitals l/plain   4     0.0    0.0   0      0    +0.0 [-49.0, +49.0]   1.00 not shown
capitals m/plain   4     75.0   50.0  1      2    -25.0 [-77.8, +50.5]  1.00 not shown; \
needs about 92 items
"""


def test_a_table_says_what_changed_and_whether_it_is_real(evaluate: Evaluate) -> None:
    before, after = evaluate("Peru"), evaluate("France", "Spain")
    done = command(before.name, "last")
    assert done.exit_code == 0, done.output
    first, second, *table, how = done.stdout.splitlines()
    assert (first, second) == (f"before: {before.name}", f"after:  {after.name}")
    assert [line.split() for line in table] == [line.split() for line in TABLE.splitlines()]
    assert how == (
        "(exact; in points, after minus before, on the same items; McNemar mid-p, Holm, Tango)"
    )


def test_a_real_difference_says_which_way(evaluate: Evaluate) -> None:
    rows = "".join(f"  - {{id: n{n}, country: France, answer: Paris}}\n" for n in range(20))
    suite = (evaluate.root / "suites" / "capitals.yaml").read_text(encoding="utf-8")
    evaluate.write("suites/capitals.yaml", suite.replace("target:", f"{rows}target:"))
    worse, better = evaluate("France"), evaluate()
    assert verdict(command(worse.name, better.name)) == "REAL, better"
    assert verdict(command(better.name, worse.name)) == "REAL, worse"


def verdict(done: Result) -> str:
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("capitals  m/plain")]
    return row.rpartition("  ")[2]


def test_what_was_dropped_and_what_else_differs_stands_below(evaluate: Evaluate) -> None:
    before = evaluate(broken="Peru")
    evaluate(broken="Italy", repeats=2)
    lines = command(before.name, "last").stdout.splitlines()
    assert "dropped: capitals m/plain: 1 item scored only before (1 failed after)" in lines
    assert "dropped: capitals m/plain: 1 item scored only after (1 failed before)" in lines
    assert "warning: condition m/plain in suite capitals: repeats was 1, is 2" in lines
    assert any(
        line.startswith("not judged: capitals m/plain: ") and "2 items without a judged" in line
        for line in lines
    )


def test_items_that_have_changed_are_told_and_can_be_left_out(evaluate: Evaluate) -> None:
    before = evaluate()
    path = evaluate.root / "suites" / "capitals.yaml"
    text = path.read_text(encoding="utf-8").replace("answer: Lima", "answer: Cusco")
    evaluate.write("suites/capitals.yaml", text)
    evaluate()
    refused = command(before.name, "last")
    assert refused.exit_code == 1
    assert refused.output.startswith("llmeval: capitals: 1 item is not the same in both runs")
    done = command(before.name, "last", "--changed-items", "drop")
    assert done.exit_code == 0, done.output
    assert "dropped: capitals m/plain: 1 item not the same in both runs" in done.stdout
    assert "warning: suite capitals: its dataset has changed" in done.stdout
    paired = command(before.name, "last", "--changed-items", "pair")
    assert (
        "paired all the same: capitals m/plain: 1 item not the same in both runs" in paired.stdout
    )


def test_conditions_of_two_names_stand_with_both(evaluate: Evaluate) -> None:
    evaluate()
    done = command("last", "last", "--condition", "l/plain", "--with", "m/plain")
    assert done.exit_code == 0, done.output
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("capitals")]
    assert row.split()[1:4] == ["l/plain", "->", "m/plain"]
    assert "+100.0" in row


def test_json_has_every_number_and_what_is_not_defined_is_null(evaluate: Evaluate) -> None:
    before, after = evaluate("Peru", broken="France"), evaluate(broken="France")
    found = json.loads(command(before.name, after.name, "--json").stdout)
    assert (found["before"], found["after"]) == (before.name, after.name)
    (row,) = (row for row in found["pairings"] if row["before"] == "m/plain")
    assert (row["mean_before"], row["mean_after"]) == (pytest.approx(2 / 3), 1.0)
    comparison = row["comparison"]
    assert comparison["only_first"] == 1
    assert comparison["real"] is False
    assert comparison["interval"]["method"] == "tango"
    assert row["only_before"] == row["only_after"] == {"failed": 0, "absent": 0}
    assert found["refused"] == found["warnings"] == found["context"] == []


def test_mistakes_are_messages(evaluate: Evaluate) -> None:
    run = evaluate().name
    missing = command(run, "2020-01-01-0000")
    assert missing.exit_code == 1
    assert "llmeval: there is no run '2020-01-01-0000' in runs; " in missing.output
    same = command(run, "last")
    assert same.exit_code == 1
    assert f"llmeval: both are the run {run}" in same.output
    alone = command(run, "last", "--with", "m/plain")
    assert alone.exit_code == 2
    assert "--with needs --condition" in alone.output
    typo = command(run, "last", "--changed-items", "dropp")
    assert typo.exit_code == 2
