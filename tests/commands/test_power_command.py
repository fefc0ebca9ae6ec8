"""`llmeval power` says how many items it takes, and what the items at hand can show."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.atomic import write_text
from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.records import Metric
from pytest_llmeval.results.manifest import read_manifest, write_manifest
from pytest_llmeval.results.report import StoppedSuite
from pytest_llmeval.results.significance import write_significance
from pytest_llmeval.statistics import (
    compare_all,
    compare_anytime,
    items_general,
    measure,
    minimum_detectable_effect,
)

FIRST, SECOND = "l/plain", "m/plain"


def power(*words: str) -> Result:
    return CliRunner().invoke(app, ["power", *words])


def flat(text: str) -> str:
    """An error without the frame it is drawn in."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def test_two_points_at_the_usual_disagreements() -> None:
    lines = power().stdout.splitlines()
    assert lines[0] == "To see a difference of 2 points with 80 % power at 5 %:"
    assert lines[3].split() == ["disagree", "5.0", "%", "10.0", "%", "20.0", "%", "30.0", "%"]
    assert lines[4].split() == ["items", "979", "1,960", "3,923", "5,885"]
    assert "different items for each, 70.0 against 72.0 % right (Fleiss)" in lines
    assert "     items    8,080 each" in lines
    assert max(map(len, lines)) < 80


def test_so_many_items_show_a_difference_and_prove_a_margin() -> None:
    text = power("--disagreement", "0.1").stdout
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["100"] == ["8.8", "(7.9)"]
    assert rows["30"] == ["-", "(14.4)"]  # more than the two disagree on
    assert rows["1,000"] == ["2.8", "(2.5)"]


def test_repeats_help_at_best_as_if_all_disagreement_were_noise() -> None:
    text = power("--disagreement", "0.1", "--repeats", "5").stdout
    assert "     items         1,960\n   at best           391" in text
    assert "temperature 0 has none" in flat(text)


def test_a_large_difference_is_planned_at_disagreements_that_allow_it() -> None:
    lines = power("--points", "30").stdout.splitlines()
    assert lines[3].split() == ["disagree", "30.0", "%", "50.0", "%", "100.0", "%"]
    assert power("--points", "7", "--disagreement", "0.07").exit_code == 0
    assert "0.0 against 100.0 %" in power("--points", "100").stdout


def test_a_stricter_question_needs_more() -> None:
    stricter = power("--power", "0.9", "--alpha", "0.01", "--disagreement", "0.1").stdout
    assert "with 90 % power at 1 %" in stricter
    assert "3,715" in stricter


def test_json_says_the_same_unrounded() -> None:
    data = json.loads(power("--json").stdout)
    assert [need["items"] for need in data["needs"]] == [979, 1960, 3923, 5885]
    assert data["unpaired"]["items"] == 8080
    (reach,) = [r for r in data["reach"] if (r["items"], r["disagreement"]) == (100, 0.1)]
    assert reach["margin"] == pytest.approx(0.078629, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--points", "0"], "no number of items shows a difference of 0 points: give --points 2"),
        (["--points", "-2"], "--points lies between 0 and 100, such as 2; got -2"),
        (["--points", "nan"], "--points lies between 0 and 100"),
        (["--power", "80"], "--power lies between 0 and 1, such as 0.8; got 80"),
        (["--alpha", "0"], "--alpha lies between 0 and 1, such as 0.05; got 0"),
        (["--disagreement", "10"], "--disagreement is a share of the items, such as 0.1; got 10"),
        (
            ["--points", "5", "--disagreement", "0.03"],
            "disagree on 3.0 % of the items cannot differ by 5 points: raise --disagreement",
        ),
        (["--run", "last", "--disagreement", "0.1"], "give --run or --disagreement, not both"),
    ],
)
def test_a_question_that_has_no_answer_is_refused_in_words(words: list[str], message: str) -> None:
    found = power(*words)
    assert found.exit_code == 2
    assert message in flat(found.output)


# From a run ---------------------------------------------------------------------------------------


def significance(
    run: Path,
    first: dict[str, float],
    second: dict[str, float],
    binary: bool,
    not_needed: int | None = None,
) -> None:
    """Put what a run of two conditions would say into its folder.

    `not_needed` are the trials that a suite which might stop has saved, None for any other.
    """
    names = (FIRST, SECOND)
    means, ones = {FIRST: first, SECOND: second}, names if binary else ()
    stopped = []
    if not_needed is None:
        comparisons = compare_all("capitals", "exact", means, binary=ones)
    else:
        comparisons = compare_anytime("capitals", "exact", means, 0.05, binary=ones)
        stopped = [StoppedSuite("capitals", "decided", 0.05, 0, 200, not_needed, 0)]
    blank = measure("capitals", "", "exact", headline=True, planned=0, scores=[])
    metrics: list[Metric] = [
        dataclasses.replace(blank, condition=name, mean=sum(scores.values()) / len(scores))
        for name, scores in zip(names, (first, second), strict=True)
        if scores
    ]
    path = run / "significance.json"
    write_significance(path, run.name, metrics, comparisons, stopped=stopped)


def from_run(run: Path, *words: str) -> Result:
    return power("--run", run.name, "--run-dir", str(run.parent), *words)


def answers(right: str) -> dict[str, float]:
    return {f"i{place}": float(answer) for place, answer in enumerate(right)}


#: Of 100 items the first alone has ten right, the second alone five.
TEN_TO_FIVE = answers("1" * 70 + "0" * 30), answers("1" * 60 + "0" * 35 + "1" * 5)


def test_a_run_says_how_often_its_conditions_disagree(run: Path) -> None:
    significance(run, *TEN_TO_FIVE, binary=True)
    found = from_run(run)
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        f"To see a difference of 2 points with 80 % power at 5 %, by what {run.name} tells:",
        "",
        "capitals, exact: l against m, plain",
        "  100 items: disagree on 15 (15.0 %, Wilson 9.3..23.3)",
        "  2 points: 2,941 items",
        "  these 100 items: show 10.7 points, prove a gate's margin of 9.6 points",
        "  different items for each: 8,806 each",
    ]


def test_repeats_of_a_run_that_asked_once_are_a_range(run: Path) -> None:
    significance(run, *TEN_TO_FIVE, binary=True)
    text = from_run(run, "--repeats", "4").stdout
    needed = "734 items, 4 repeats each, if they disagree by noise only, to 2,941"
    assert f"  2 points: {needed}\n" in text


def test_a_pair_that_never_disagreed_says_so_and_how_to_plan(run: Path) -> None:
    significance(run, answers("1101"), answers("1101"), binary=True)
    text = from_run(run).stdout
    assert "  4 items: disagree on 0 (0.0 %, Wilson 0.0..49.0)\n" in text
    assert "  2 points: more than they disagree; plan with --disagreement\n" in text
    assert "these 4 items" not in text


def test_graded_scores_are_planned_by_their_variance(run: Path) -> None:
    first = {f"i{n}": 0.5 + 0.4 * (n % 3 - 1) for n in range(60)}
    second = {f"i{n}": 0.5 + 0.2 * (n % 5 - 2) for n in range(60)}
    significance(run, first, second, binary=False)
    spread = [first[i] - second[i] for i in first]
    mean = sum(spread) / 60
    variance = sum((d - mean) ** 2 for d in spread) / 59
    data = json.loads(from_run(run, "--json").stdout)["pairs"][0]
    assert data["pair"]["variance"] == pytest.approx(variance)
    assert data["pair"]["disagreement"] == pytest.approx(sum(d * d for d in spread) / 60)
    assert data["need"]["items"] == items_general(0.02, variance=variance)
    effect = minimum_detectable_effect(60, variance=variance)
    assert data["reach"]["difference"] == pytest.approx(effect)
    text = from_run(run).stdout
    assert f"  60 items: differences spread by {100 * variance**0.5:.3g} points\n" in text


def asked_repeatedly(run: Path, repeats: int) -> None:
    """Make the run one whose items were asked repeatedly: l wavers on each item, m on none."""
    manifest = read_manifest(run)
    asked = tuple(dataclasses.replace(each, repeats=repeats) for each in manifest.plan.asked)
    plan = dataclasses.replace(manifest.plan, asked=asked)
    write_manifest(run, dataclasses.replace(manifest, plan=plan))
    for name, wavers in ((FIRST, True), (SECOND, False)):
        rows = [
            f'"capitals","{name}","i{item}",{n + 1},"exact",{float(n % 2 if wavers else item % 2)}'
            for item in range(40)
            for n in range(repeats)
        ]
        folder = next(c.folder for c in plan.conditions if c.name == name)
        text = "\n".join(["suite,condition,item_id,repeat,scorer,value", *rows, ""])
        write_text(run / folder / "per_item_scores.csv", text)


def test_a_run_with_repeats_tells_what_more_of_them_would_save(run: Path) -> None:
    """L gives each item 1 and 0 in turn (variance 1/3 of four askings), m is sure."""
    asked_repeatedly(run, 4)
    first = {f"i{item}": 0.5 for item in range(40)}
    second = {f"i{item}": float(item % 2) for item in range(40)}
    significance(run, first, second, binary=False)
    variance = 0.25 * 40 / 39
    as_asked = from_run(run).stdout
    assert "  40 items, asked 4 times: differences spread by 50.6 points\n" in as_asked
    needed = items_general(0.02, variance=variance)
    assert f"  2 points: {needed:,} items, 4 repeats each\n" in as_asked
    own = variance - 1 / 3 / 4
    ten = items_general(0.02, variance=own, noise_first=1 / 3, repeats_first=10)
    assert (
        f"  2 points: {ten:,} items, 10 repeats each\n" in from_run(run, "--repeats", "10").stdout
    )
    once = items_general(0.02, variance=own, noise_first=1 / 3)
    assert f"  2 points: {once:,} items\n" in from_run(run, "--repeats", "1").stdout


def test_a_run_that_stopped_early_says_that_its_pairs_are_biased(run: Path) -> None:
    significance(run, *TEN_TO_FIVE, binary=True, not_needed=0)
    assert "biased" not in from_run(run).stdout
    significance(run, *TEN_TO_FIVE, binary=True, not_needed=30)
    lines = from_run(run).stdout.splitlines()
    assert lines[4:6] == [
        "  biased: the suite stopped early, at an item that these answers chose;",
        "  ask it without stop for a plan to rely on",
    ]
    (plan,) = json.loads(from_run(run, "--json").stdout)["pairs"]
    assert plan["pair"]["stopped"] is True


def test_graded_scores_of_a_suite_that_might_stop_vary_as_they_do(run: Path) -> None:
    """Their interval is no t interval, and says nothing of the variance."""
    asked_repeatedly(run, 4)
    first = {f"i{item}": 0.5 for item in range(40)}
    second = {f"i{item}": float(item % 2) for item in range(40)}
    significance(run, first, second, binary=False, not_needed=0)
    (plan,) = json.loads(from_run(run, "--json").stdout)["pairs"]
    assert plan["pair"]["variance"] == pytest.approx(0.25 * 40 / 39)


def test_a_run_without_pairs_says_what_a_pair_takes(run: Path) -> None:
    significance(run, answers("1"), answers("0"), binary=True)
    found = from_run(run)
    assert found.exit_code == 1
    assert f"the run {run.name} has no pairs to plan by: that takes two conditions" in found.stderr
    assert "--disagreement 0.1" in found.stderr


def test_a_run_that_has_not_ended_says_how_to_go_on(run: Path) -> None:
    found = from_run(run)
    assert found.exit_code == 1
    assert "has no significance.json, although it has ended" in found.stderr
    assert f"the same command with --llm-resume {run.name}" in found.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "significance.json: cannot be read"),
        ("[]", "significance.json: cannot be read"),
        ('{"schema": 99}', "written by a newer version (schema 99"),
        ('{"schema": 1, "metrics": []}', "significance.json: is none of ours: KeyError"),
    ],
)
def test_a_significance_json_that_is_none_is_told(run: Path, text: str, words: str) -> None:
    write_text(run / "significance.json", text)
    found = from_run(run)
    assert found.exit_code == 1
    assert words in found.stderr


def test_no_such_run_is_told_as_everywhere(tmp_path: Path) -> None:
    found = power("--run", "last", "--run-dir", str(tmp_path))
    assert (found.exit_code, found.stderr.startswith("llmeval: there is no run in")) == (1, True)


def test_a_constant_difference_has_no_variance_to_plan_by(run: Path) -> None:
    significance(run, {"a": 0.5, "b": 0.7}, {"a": 0.25, "b": 0.45}, binary=False)
    (plan,) = json.loads(from_run(run, "--json").stdout)["pairs"]
    assert plan["pair"]["variance"] == 0.0
    assert plan["pair"]["disagreement"] == pytest.approx(0.0625)
    assert (plan["need"]["items"], plan["reach"]["difference"], plan["reach"]["margin"]) == (
        None,
        None,
        None,
    )
    text = from_run(run).stdout
    assert "  2 points: the pilot shows no variance; plan with --disagreement\n" in text
    assert "these 2 items" not in text
    repeated = from_run(run, "--repeats", "3").stdout
    assert "the pilot shows no variance; plan with --disagreement" in repeated
