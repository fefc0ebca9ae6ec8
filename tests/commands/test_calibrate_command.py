"""`llmeval calibrate` shows how the procedures do where the truth is known."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from pytest_llmeval.commands.calibrate import lines
from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.statistics.simulation import Rate


def calibrate(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["calibrate", *words])
    return found.exit_code, found.output


def test_the_tables_name_each_default_its_promise_and_how_it_was_measured() -> None:
    status, text = calibrate("--simulations", "100")
    for words in (
        "Right or wrong: how often a 95 % interval holds the true share",
        "  items           Wilson  Clopper-Pearson      t",
        "     30  worst      83.7             95.1   14.0",
        "  promised: Wilson at least 94.5 % on average",
        "  100 simulations: a rate near 5 or 95 % is known to +-4.4",
        "False alarms of McNemar mid-p",
        "  items      2 %    3 %    5 %   10 %   20 %   30 %",
        "  1,000      4.6    4.5    4.9    4.9    5.0    5.0",
        "False alarms REAL after Holm",
        "Errors of the gate not_worse_than, Tango 90 %",
        "  promised: first two at most 5.5 % from 100 items on, if 5 % or more change",
        "  2 and 3 % change: the same where that is all; of few items, or of rare",
        "  changes, often none is seen: no_change lets that through, by decision",
        "    100           5.0         5.3          5.8        13.3         8.3",
        "Errors of the gate not_worse_than, graded: skewed Wilson 90 %\n",
        "    100           2.2         5.3          5.8        13.3         8.3",
        "Errors of the gate not_worse_than, graded: skewed Wilson 90 %, margin 5",
    ):
        assert words in text, words
    kept = "All 55 promised rates are kept. Figures are in percent." in text
    assert status == (0 if kept else 1)
    assert max(map(len, text.splitlines())) < 80


def test_json_has_every_rate_unrounded_and_says_which_are_exact() -> None:
    status, text = calibrate("--simulations", "100", "--seed", "3", "--json")
    data = json.loads(text)
    assert (data["simulations"], data["seed"]) == (100, 3)
    assert (
        (status == 0) == data["kept"] == all(rate["kept"] in (True, None) for rate in data["rates"])
    )
    questions = {rate["question"]: rate["simulations"] for rate in data["rates"]}
    assert questions == {
        "coverage of shares": None,
        "coverage of means": 100,
        "mcnemar": None,
        "sign-flip": 100,
        "real": 100,
        "gate": None,
        "graded gate": None,
        "shaped gate": 100,
    }
    (wilson,) = [
        rate["rate"]
        for rate in data["rates"]
        if (rate["method"], rate["items"], rate["setting"]) == ("wilson", 30, "average")
    ]
    assert wilson != round(wilson, 4)


def told(*rates: Rate) -> str:
    return "\n".join(lines(rates, []))


def test_a_rate_outside_its_promise_is_marked_and_named() -> None:
    text = told(
        Rate("mcnemar", "mcnemar mid-p", 30, "5 %", 0.031, at_most=0.055),
        Rate("mcnemar", "mcnemar mid-p", 30, "10 %", 0.0561, at_most=0.055),
        Rate("gate", "tango", 30, "false fail", 0.2),
    )
    assert "    3.1   5.6!" in text
    assert text.endswith(
        "1 of 2 promised rates are outside (marked !):\n"
        "  False alarms of McNemar mid-p, p < 5 %:\n"
        "    30 items, 10 %: 5.61 %, promised at most 5.5 %"
    )


def test_a_simulated_rate_outside_may_be_chance_and_says_what_to_do() -> None:
    rate = Rate(
        "coverage of means", "scaled wilson", 10, "average", 0.94, at_least=0.945, simulations=100
    )
    text = told(rate)
    assert "10 items, average: 94.00 %, promised at least 94.5 %" in text
    assert text.endswith("may be outside by chance: take more --simulations to know.")


def test_a_rate_without_a_promise_breaks_none() -> None:
    measured: list[Rate] = []
    rate = Rate("gate", "tango", 30, "only losses", 0.21)
    text = list(lines([rate], measured))
    assert measured == [rate]
    assert text[-1] == "All 0 promised rates are kept. Figures are in percent."


def test_too_few_simulations_are_a_usage_error() -> None:
    status, text = calibrate("--simulations", "10")
    assert status == 2
    assert "100" in text
