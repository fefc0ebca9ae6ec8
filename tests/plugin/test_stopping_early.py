"""`stop: {when: decided}` as a user sees it: what is asked, what is shown, what is left behind."""

from __future__ import annotations

import fnmatch
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Item, Project

STOP = {"when": "decided"}
GATE = {"only": "m/plain", "metric": "exact", "at_least": 0.5}
NOT_NEEDED = "not_needed"


def many(count: int, question: str = "say yes") -> list[Item]:
    return [{"id": f"i{n:03}", "question": question, "answer": "yes"} for n in range(count)]


def gated(project: Project, count: int = 60, **keys: Any) -> None:
    """One condition that gets everything right, and a gate that 8 right answers decide."""
    made = {"gates": [GATE], "stop": STOP, **keys}
    project.suite("arithmetic", many(count), **made)


def paired(project: Project, count: int = 60, **keys: Any) -> None:
    """Two models that differ in everything."""
    project.write("yes.json", json.dumps([{"text": "yes"}]))
    project.write("no.json", json.dumps([{"text": "no"}]))
    models = {
        "good": {"engine": "fake", "script": "yes.json", "slots": 4},
        "bad": {"engine": "fake", "script": "no.json", "slots": 2},
    }
    project.config(models=models)
    project.suite("arithmetic", many(count), **{"stop": STOP, **keys})


def lines_of(result: pytest.RunResult, pattern: str) -> list[str]:
    return [line for line in result.stdout.lines if fnmatch.fnmatch(line, pattern)]


def significance(project: Project) -> dict[str, Any]:
    text = (project.latest_run() / "significance.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    content.pop("run")
    return content


def fates(project: Project) -> Counter[tuple[str, str]]:
    return Counter((row["outcome"], row["reason"]) for row in project.rows("predictions"))


# Gates --------------------------------------------------------------------------------------------


def test_a_gate_that_is_decided_ends_the_asking(project: Project) -> None:
    gated(project)
    result = project.run("-v")
    result.assert_outcomes(passed=9)  # eight trials and the gate
    assert result.ret == 0
    assert result.parseoutcomes()["not"] == 52  # "52 not needed"
    result.stdout.fnmatch_lines(
        [
            "suites/arithmetic.yaml::m/plain::i* NOT NEEDED*",
            "PASS *arithmetic m/plain at least 0.5: lower bound 0.522, mean 1.000,",
            " *decided after 8 items",
            "stopped early: * of 60 trials were not asked (* %)*",
            "*9 passed, 52 not needed in *",
        ]
    )
    assert fates(project) == {("right", ""): 8, ("", NOT_NEEDED): 52}
    assert len(project.journal()) <= 8 + 5  # four slots, and one request ahead


def test_the_letter_of_a_trial_that_is_not_needed_is_a_dash(project: Project) -> None:
    gated(project, count=38)
    letters = "".join(line.split()[1] for line in lines_of(project.run(), "suites/*.yaml *"))
    assert letters == "........" + "-" * 30


def test_a_gate_that_fails_ends_the_asking_too(project: Project) -> None:
    gated(project, gates=[{**GATE, "at_least": 0.9}], prompts={"plain": "say no {{ id }}"})
    result = project.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["gate fail: m/plain at least 0.9: upper bound 0.871, mean 0.000, decided after 2 items"]
    )
    assert fates(project) == {("wrong", ""): 2, ("", NOT_NEEDED): 58}


def test_without_stop_everything_is_asked_in_the_order_of_the_file(project: Project) -> None:
    project.suite("arithmetic", many(60), gates=[GATE])
    result = project.run()
    result.assert_outcomes(passed=61)
    assert "stopped early" not in str(result.stdout)
    assert [row["item_id"] for row in project.rows("predictions")] == [
        f"i{n:03}" for n in range(60)
    ]
    assert significance(project)["stopping"] == []


def test_items_come_in_a_random_order_whose_seed_is_recorded(project: Project) -> None:
    orders = []
    for seed in (0, 0, 5):
        gated(project, seed=seed)
        project.run()
        orders.append([row["item_id"] for row in project.rows("predictions")])
        assert project.manifest()["plan"]["suites"][0]["seeds"] == {"order": seed}
        assert project.manifest()["plan"]["suites"][0]["stop"] == {"when": "decided", "alpha": 0.05}
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) != orders[0]


def test_a_stricter_alpha_asks_more(project: Project) -> None:
    gated(project, stop={"when": "decided", "alpha": 0.001})
    project.run()
    assert fates(project)["right", ""] == 14
    (metric,) = significance(project)["metrics"]
    assert metric["interval"]["level"] == 0.999
    assert metric["interval"]["method"] == "robbins"


def test_what_is_open_to_the_end_is_asked_in_full(project: Project) -> None:
    items = [project.right(f"r{n}") for n in range(10)] + [
        project.wrong(f"w{n}") for n in range(10)
    ]
    project.suite("arithmetic", items, gates=[GATE], stop=STOP)
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            "INCONCLUSIVE *0.500 [[]0.204, 0.796], 20 items",
            " *leave it open",
            "not stopped early: all 20 trials were needed",
        ]
    )
    assert len(project.journal()) == 20


def test_a_failure_counts_against_the_verdict_and_leaves_the_number_incomplete(
    project: Project,
) -> None:
    project.config(failures={"at_most": "50%"})
    items = [*many(60), project.broken("broken")]
    project.suite("arithmetic", items, gates=[GATE], stop=STOP, seed=25)  # it comes fifth
    result = project.run()
    assert fates(project)["failure", "refused"] == 1
    result.stdout.fnmatch_lines([" *decided after 12 items (1 without an outcome counted wrong)"])
    (metric,) = significance(project)["metrics"]
    assert metric["incomplete"]
    assert (metric["trials"], metric["answered"]) == (12, 11)


def test_a_condition_without_a_gate_stops_with_the_suites_gates(project: Project) -> None:
    prompts = {"plain": "{{ question }}", "other": "{{ question }} "}
    gated(project, prompts=prompts)
    project.run()
    counts = Counter(
        (row["condition"], row["reason"] == NOT_NEEDED) for row in project.rows("predictions")
    )
    assert counts["m/plain", False] == counts["m/other", False] == 8


def test_repeats_are_one_item(project: Project) -> None:
    gated(project, repeats=3)
    project.run()
    rows = project.rows("predictions")
    asked = Counter(row["item_id"] for row in rows if row["reason"] != NOT_NEEDED)
    assert set(asked.values()) == {3}
    assert len(asked) == 8


# Pairs --------------------------------------------------------------------------------------------


def test_without_gates_it_is_the_pairs_that_are_decided(project: Project) -> None:
    paired(project)
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            "Is it real? (same items, e-process, Holm; 1 pair)",
            "arithmetic  good over bad, plain  +100.0 *REAL",
            "stopped early: * of 120 trials were not asked (* %)*",
        ]
    )
    assert fates(project) == {("right", ""): 7, ("wrong", ""): 7, ("", NOT_NEEDED): 106}
    (comparison,) = significance(project)["comparisons"]
    assert (comparison["test"], comparison["items"], comparison["real"]) == ("e-process", 7, True)
    assert comparison["interval"]["method"] == "betting"


def test_conditions_that_do_not_differ_are_asked_in_full(project: Project) -> None:
    prompts = {"plain": "{{ question }}", "other": "{{ question }} "}
    project.suite("arithmetic", many(30), prompts=prompts, stop=STOP)
    project.run().assert_outcomes(passed=60)
    assert len(project.journal()) == 60


def test_of_three_conditions_each_is_asked_until_all_its_pairs_are_decided(
    project: Project,
) -> None:
    project.script([{"when": "^wrong", "text": "no"}, {"text": "yes"}])
    prompts = {"one": "right", "two": "right ", "three": "wrong"}
    project.suite("arithmetic", many(30), prompts=prompts, stop=STOP)
    project.run()
    needed = Counter(
        row["condition"] for row in project.rows("predictions") if row["reason"] != NOT_NEEDED
    )
    # Two that are the same need everything of each other; the third is told apart from both.
    assert needed == {"m/one": 30, "m/two": 30, "m/three": 9}


# The same, whatever the way -----------------------------------------------------------------------


def uneven(project: Project) -> None:
    """Several suites and models, answers of very different speed, every outcome."""
    slow: dict[str, Any] = {"when": "7", "text": "yes", "latency": 0.02}
    rules: list[dict[str, Any]] = [
        {"when": "^break", "fail": "refused"},
        {"when": "hard [0-4]", "text": "no"},
        slow,
    ]
    project.script([*rules, {"text": "yes"}])
    models = {
        name: {"engine": "fake", "script": "script.json", "slots": slots}
        for name, slots in (("m", 3), ("n", 5))
    }
    project.config(models=models, failures={"at_most": "90%"})
    items: list[Item] = [
        {"id": f"i{n}", "question": f"{n}", "answer": "yes"} for n in range(80)
    ] + [{"id": "b", "question": "break", "answer": "yes"}]
    gates = [
        {"only": "m/plain", "metric": "exact", "at_least": 0.6},
        {"only": "n/hard", "metric": "exact", "at_least": 0.3},
    ]
    prompts = {"plain": "{{ question }}", "hard": "hard {{ question }}"}
    project.suite("gated", items, prompts=prompts, gates=gates, stop=STOP)
    project.suite("pairs", items, prompts=prompts, stop=STOP, repeats=2)
    project.suite("plain", items[:10])


@pytest.mark.parametrize("args", [("-n2",), ("-n4", "--dist=worksteal")], ids=" ".join)
def test_with_workers_it_is_the_same_as_without(project: Project, args: tuple[str, ...]) -> None:
    uneven(project)
    alone = project.run("-n0")
    expected = significance(project), fates(project), project.rows("per_item_scores")
    assert expected[1]["", NOT_NEEDED] > 50
    workers = project.run(*args)
    assert (significance(project), fates(project), project.rows("per_item_scores")) == expected
    assert workers.parseoutcomes() == alone.parseoutcomes()
    assert workers.ret == alone.ret


def test_slots_and_speed_change_nothing(project: Project) -> None:
    uneven(project)
    project.run()
    expected = significance(project)
    for slots in (1, 16):
        models = {
            name: {"engine": "fake", "script": "script.json", "slots": slots} for name in "mn"
        }
        project.config(models=models, failures={"at_most": "90%"})
        project.run()
        assert significance(project) == expected


def test_every_trial_is_accounted_for(project: Project) -> None:
    uneven(project)
    project.run()
    for part in project.manifest()["parts"]:
        assert part["job_status"] == "completed"
        assert part["answered"] + part["failed"] + part["not_needed"] == part["trials"]
    assert sum(part["not_needed"] for part in project.manifest()["parts"]) > 50


def test_a_resumed_run_reaches_the_same_decision(project: Project) -> None:
    gated(project)
    project.run()
    before, lines = significance(project), len(project.journal())
    result = project.run("--llm-resume", "last")
    result.assert_outcomes(passed=9)
    assert result.parseoutcomes()["not"] == 52
    assert significance(project) == before
    assert len(project.journal()) == lines  # nothing was sent
    assert project.manifest()["exit_reason"] == "finished"


def test_a_run_that_was_cut_short_goes_on_to_the_decision(project: Project) -> None:
    gated(project)
    project.run()
    expected = significance(project)
    journal = next(project.latest_run().glob("*/parts/*.results.jsonl"))
    lines = journal.read_bytes().splitlines(keepends=True)
    # Answers that came in before their turn, and of the others the first three only.
    journal.write_bytes(b"".join([*lines[:3], *lines[6:8]]))
    project.run("--llm-resume", "last").assert_outcomes(passed=9)
    assert significance(project) == expected


def test_a_rule_that_was_changed_is_no_rule_and_the_run_is_not_resumed(project: Project) -> None:
    gated(project)
    project.run()
    gated(project, stop={"when": "decided", "alpha": 0.1})
    result = project.run("--llm-resume", "last")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ['*suite arithmetic: stop was {"when": "decided", "alpha": 0.05}, is *"alpha": 0.1}*']
    )


# Beside the rest of pytest ------------------------------------------------------------------------


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["alone", "workers"])
def test_junit_has_them_as_skipped_with_their_reason(
    project: Project, args: tuple[str, ...]
) -> None:
    gated(project)
    project.run("--junitxml=junit.xml", *args)
    cases = list(ElementTree.parse(project.root / "junit.xml").iter("testcase"))
    skipped = [case for case in cases if case.find("skipped") is not None]
    assert (len(cases), len(skipped)) == (61, 52)
    element = skipped[0].find("skipped")
    assert element is not None
    assert element.get("message") == "not needed: the suite has decided without it"
    properties = {p.get("name"): p.get("value") for p in skipped[0].iter("property")}
    assert properties == {"llm_outcome": NOT_NEEDED}


def test_where_pytest_runs_its_own_protocol_it_is_the_same(project: Project) -> None:
    gated(project)
    result = project.run("--setup-show")
    assert result.parseoutcomes()["passed"] == 9
    assert result.parseoutcomes()["not"] == 52


def test_must_pass_and_x_mind_only_what_was_needed(project: Project) -> None:
    gated(project, each_item="must_pass")
    result = project.run("-x")
    assert result.ret == 0
    assert result.parseoutcomes()["not"] == 52


def test_last_failed_runs_none_of_them_again(project: Project) -> None:
    gated(project, gates=[{**GATE, "at_least": 0.9}], prompts={"plain": "say no {{ id }}"})
    project.run()
    result = project.run("--lf", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["suites/arithmetic.yaml::gates::m/plain.at_least"])
    result.stdout.no_fnmatch_line("*::i0*")


def test_the_reports_say_what_was_saved(project: Project) -> None:
    gated(project)
    project.run()
    for name in ("report.md", "report.html"):
        text = (project.latest_run() / "reports" / name).read_text(encoding="utf-8")
        told = re.search(
            r"Stopped early: (\d+) of 60 trials were not asked.*?(?:(\d+) more|$)", text
        )
        assert told is not None
        assert int(told[1]) + int(told[2] or 0) == 52
    (saved,) = significance(project)["stopping"]
    assert saved == {
        "suite": "arithmetic",
        "when": "decided",
        "alpha": 0.05,
        "seed": 0,
        "trials": 60,
        "not_needed": 52,
    }


# Where it cannot work -----------------------------------------------------------------------------


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["alone", "workers"])
def test_nothing_to_decide_is_refused(project: Project, args: tuple[str, ...]) -> None:
    project.suite("arithmetic", many(5), stop=STOP)
    result = project.run(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (result.stderr if result.stderr.lines else result.stdout).fnmatch_lines(
        ["*stop: there is nothing to decide: no gate, and only one condition, m/plain. Add a gate*"]
    )
    assert not (project.root / "runs").exists()


def test_picked_items_decide_nothing_so_that_all_of_them_are_asked(project: Project) -> None:
    gated(project)
    result = project.run("-k", "i00 or i01 or i02 or gates")
    result.stdout.fnmatch_lines(
        [
            "llmeval: arithmetic is asked in full*: only some of its trials were selected*",
            "INCONCLUSIVE *only 30 of its 60 trials were selected",
        ]
    )
    assert fates(project) == {("right", ""): 30}
    (metric,) = significance(project)["metrics"]
    assert metric["interval"]["method"] == "wilson"


def test_one_condition_of_a_pair_is_asked_in_full(project: Project) -> None:
    paired(project)
    result = project.run("-k", "good")
    result.stdout.fnmatch_lines(
        ["llmeval: arithmetic is asked in full, although it has stop: nothing*"]
    )
    assert len(project.journal()) == 60


def test_a_scorer_that_only_the_workers_know_cannot_stop_anything(project: Project) -> None:
    project.write(
        "suites/conftest.py",
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from pytest_llmeval.scoring.scorer import register, score_of\n"
        "@register('only_there')\n"
        "@dataclass(frozen=True)\n"
        "class OnlyThere:\n"
        "    name: ClassVar[str]\n"
        "    version: ClassVar[str] = '1'\n"
        "    def __call__(self, answer, item):\n"
        "        return score_of(self.name, answer.text == item.target)\n",
    )
    project.suite(
        "arithmetic",
        many(60),
        score="only_there",
        gates=[{**GATE, "metric": "only_there"}],
        stop=STOP,
    )
    result = project.run("-n2", ".")
    result.assert_outcomes(passed=61)
    result.stdout.fnmatch_lines(["llmeval: arithmetic is asked in full*only the workers know*"])
    assert len(project.journal()) == 60


# Scorers of the user's own ------------------------------------------------------------------------

SCORER = """
import pathlib, threading
from dataclasses import dataclass
from typing import ClassVar
from pytest_llmeval.scoring.scorer import register, score_of
@register('own')
@dataclass(frozen=True)
class Own:
    name: ClassVar[str]
    version: ClassVar[str] = '1'
    time_limit: ClassVar[float | None] = LIMIT
    def __call__(self, answer, item):
        if self.time_limit is None and threading.current_thread() is not threading.main_thread():
            raise ValueError('signal only works in main thread')
        with pathlib.Path(CALLS).open('a', encoding='utf-8') as file:
            file.write(f'{item.id}\\n')
        return score_of(self.name, answer.text == item.target)
"""


def own_scorer(project: Project, limit: float | None) -> list[dict[str, Any]]:
    calls = str(project.root / "calls.txt")
    text = SCORER.replace("LIMIT", repr(limit), 1).replace("CALLS", repr(calls))
    project.write("conftest.py", "from __future__ import annotations\n" + text)
    return [{**GATE, "metric": "own"}]


def calls_of(project: Project) -> list[str]:
    return (project.root / "calls.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("args", [("-n0",), ("-n2",)], ids=["alone", "workers"])
def test_an_answer_is_judged_once_and_the_test_shows_what_decided(
    project: Project, args: tuple[str, ...]
) -> None:
    gated(project, score="own", gates=own_scorer(project, 30.0))
    result = project.run(*args)
    result.assert_outcomes(passed=9)
    calls = calls_of(project)
    assert len(calls) == len(set(calls)) >= 8
    assert fates(project) == {("right", ""): 8, ("", NOT_NEEDED): 52}


def test_a_scorer_that_is_bound_to_pytests_thread_lets_nothing_stop(project: Project) -> None:
    gated(project, score="own", gates=own_scorer(project, None))
    result = project.run()
    result.assert_outcomes(passed=61)
    result.stdout.fnmatch_lines(
        ["llmeval: arithmetic is asked in full, although it has stop: own has no time_limit*"]
    )
    assert fates(project) == {("right", ""): 60}
    assert len(calls_of(project)) == 60


def test_a_run_that_was_cut_short_says_that_it_had_not_decided(project: Project) -> None:
    items = [*many(30), *({**item, "id": f"n{item['id']}"} for item in many(30, "say no"))]
    project.suite("arithmetic", items, gates=[GATE], stop=STOP, each_item="must_pass")
    result = project.run("-x")
    result.stdout.fnmatch_lines(["arithmetic had not decided when the run was cut short"])
    result.stdout.no_fnmatch_line("*trials were needed*")
