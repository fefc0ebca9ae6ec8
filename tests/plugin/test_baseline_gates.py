"""Gates on a baseline: accepted once, and every later run is held to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

GATE = "suites/arithmetic.yaml::gates::m/plain.not_worse_than"
FILE = "baselines/arithmetic/m--plain.json"
COMMAND = "pytest --llm-config local.yaml suites/arithmetic.yaml --snapshot-update"
REQUIRED = {"only": "m/plain", "metric": "exact", "not_worse_than": "baseline", "margin": "10%"}


def suite(project: Project, *, items: int = 40, **keys: Any) -> None:
    """A suite whose items are called `0` to `39`, each asking the model to say yes."""
    questions = [
        {"id": f"{n:02}", "question": f"say {n:02}", "answer": "yes"} for n in range(items)
    ]
    project.suite(items=keys.pop("rows", questions), **{"gates": [REQUIRED], **keys})


def answers(project: Project, *, right: int, broken: int = 0) -> None:
    """The model answers the first `right` items well, the last `broken` ones not at all."""
    rules = [{"when": f"{n:02}$", "text": "yes"} for n in range(right)]
    rules += [{"when": f"{39 - n:02}$", "fail": "refused"} for n in range(broken)]
    project.script([*rules, {"text": "no"}])


def run(project: Project, *args: str) -> pytest.RunResult:
    return project.run(*args, plugins=["syrupy"])


def accept(project: Project, *args: str) -> pytest.RunResult:
    return run(project, "--snapshot-update", *args)


def baseline(project: Project) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project.root / FILE).read_text(encoding="utf-8"))
    return content


def summary(result: pytest.RunResult) -> str:
    """The gates as the end of the run tells them, each on one line."""
    text = result.stdout.str()
    return " ".join(text[text.rindex("\nGates\n") :].split())


@pytest.fixture
def accepted(project: Project) -> Project:
    """A project with a baseline: 30 of 40 items are right."""
    suite(project)
    answers(project, right=30)
    assert accept(project).ret == 0
    return project


# Accepting ----------------------------------------------------------------------------------------


def test_without_a_baseline_a_gate_is_inconclusive_and_names_the_command_that_accepts_one(
    project: Project,
) -> None:
    suite(project)
    answers(project, right=30)
    result = run(project, "-rs")
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 30, "wrong": 10, "skipped": 1}
    words = "not worse than baseline by 10 points: there is no baseline yet; accept these outcomes"
    assert f"INCONCLUSIVE arithmetic m/plain {words} as one with {COMMAND}" in summary(result)
    assert not (project.root / "baselines").exists()


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_snapshot_update_accepts_the_outcomes(project: Project, workers: str) -> None:
    suite(project)
    answers(project, right=30)
    result = accept(project, workers)
    assert result.ret == 0
    words = f"not worse than baseline by 10 points: accepted as the baseline, {FILE}"
    assert f"PASS arithmetic m/plain {words}" in summary(result)
    content = baseline(project)
    assert (content["suite"], content["condition"]) == ("arithmetic", "m/plain")
    assert content["values"] == {f"{n:02}": int(n < 30) for n in range(40)}
    assert content["scorer"] == {"name": "exact", "options": {}, "version": "1"}
    again = run(project, workers)
    assert again.ret == 0
    assert "NO CHANGE arithmetic m/plain" in summary(again)
    assert "none of 40 items has changed" in summary(again)


def test_the_same_outcomes_give_the_same_bytes(accepted: Project) -> None:
    before = (accepted.root / FILE).read_bytes()
    assert b"\r" not in before
    result = accept(accepted)
    assert (accepted.root / FILE).read_bytes() == before
    assert "NO CHANGE" in summary(result)


def test_a_new_baseline_says_what_the_one_before_would_have_said(accepted: Project) -> None:
    answers(accepted, right=10)
    result = accept(accepted)
    assert result.ret == 0
    assert f"accepted as the baseline, {FILE} against the one before: -50.0 [" in summary(result)
    assert sum(baseline(accepted)["values"].values()) == 10
    assert "NO CHANGE" in summary(run(accepted))


# Held to it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_model_that_has_become_worse_fails_with_its_numbers(
    accepted: Project, workers: str
) -> None:
    answers(accepted, right=15)
    result = run(accepted, "-rf", workers, "--junitxml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"failed": 1, "passed": 15, "wrong": 25}
    words = "m/plain not worse than baseline by 10 points: -37.5 [-50.6, -26.0], 15 lost and 0 won"
    result.stdout.fnmatch_lines([f"FAILED {GATE}*"])
    assert f"gate fail: {words} of 40 items" in result.stdout.str()
    assert f"FAIL arithmetic {words}" in summary(result)
    cases = ElementTree.parse(accepted.root / "junit.xml").iter("testcase")
    case = next(case for case in cases if case.get("name") == "m/plain.not_worse_than")
    assert words in str(case.findtext("failure"))
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert properties["llm_verdict"] == "fail"
    assert float(properties["llm_smallest_margin"] or 0) == pytest.approx(0.2408, abs=1e-4)


def test_a_small_loss_is_inconclusive_and_says_which_margin_could_be_proved(
    accepted: Project,
) -> None:
    answers(accepted, right=28)
    result = run(accepted, "-rs")
    assert result.ret == 0
    words = "40 items can prove 8.8 points where nothing has changed; about 120 items would decide"
    assert words in summary(result)
    result.stdout.fnmatch_lines([f"SKIPPED*2 lost and 0 won of 40 items; {words}"])


def test_a_model_that_has_become_better_passes(accepted: Project) -> None:
    answers(accepted, right=38)
    result = run(accepted)
    assert result.ret == 0
    assert "PASS arithmetic m/plain not worse" in summary(result)
    assert "0 lost and 8 won of 40 items: better than the baseline" in summary(result)


def test_an_inconclusive_gate_fails_only_where_the_suite_says_so(accepted: Project) -> None:
    answers(accepted, right=28)
    suite(accepted, inconclusive="fail")
    result = run(accepted, "-rf")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["gate inconclusive: m/plain not worse*", f"FAILED {GATE}*"])
    assert "(inconclusive: fail)" in summary(result)
    assert run(accepted, "--llm-dry-run").ret == 0
    suite(accepted, inconclusive="fail", gates=[{**REQUIRED, "inconclusive": "skip"}])
    assert run(accepted).ret == 0


def test_failures_that_could_turn_the_verdict_leave_it_open(accepted: Project) -> None:
    answers(accepted, right=30, broken=1)
    assert "PASS" not in summary(run(accepted))
    told = summary(run(accepted))
    assert "NO CHANGE" in told
    assert "(even with 1 trial of 40 without an outcome all wrong)" in told
    answers(accepted, right=25, broken=10)
    told = summary(run(accepted))
    assert "INCONCLUSIVE" in told


def test_the_reports_and_significance_json_have_the_verdict_and_its_numbers(
    accepted: Project,
) -> None:
    answers(accepted, right=15)
    run(accepted)
    folder = accepted.latest_run()
    content = json.loads((folder / "significance.json").read_text(encoding="utf-8"))
    (gate,) = content["gates"]
    assert (gate["kind"], gate["threshold"], gate["verdict"]) == ("not_worse_than", 0.1, "fail")
    assert (gate["value"], gate["n"], gate["interval"]["method"]) == (-0.375, 40, "tango")
    assert gate["interval"]["level"] == 0.9
    assert gate["fails"] is True
    for name in ("report.md", "report.html"):
        assert "15 lost and 0 won" in (folder / "reports" / name).read_text(encoding="utf-8")


def test_a_resumed_run_is_held_to_the_baseline_and_can_be_accepted(accepted: Project) -> None:
    answers(accepted, right=15)
    run(accepted)
    resumed = run(accepted, "--llm-resume", "last")
    assert resumed.ret == pytest.ExitCode.TESTS_FAILED
    assert "15 lost and 0 won" in summary(resumed)
    assert accept(accepted, "--llm-resume", "last").ret == 0
    assert sum(baseline(accepted)["values"].values()) == 15


def test_a_resumed_run_is_held_by_the_scorer_it_has_now(accepted: Project) -> None:
    run(accepted)
    suite(accepted, score={"exact": {"ignore_case": True}})
    refused(run(accepted, "--llm-resume", "last"), "exact: ignore_case was null, is true")
    suite(accepted, score=["exact", "includes"], gates=[{**REQUIRED, "metric": "includes"}])
    again = run(accepted, "--llm-resume", "last")
    refused(again, "the scorer was exact, is includes", subject="m/plain includes")


# Refused ------------------------------------------------------------------------------------------


def refused(result: pytest.RunResult, *words: str, subject: str = "m/plain") -> None:
    """The gate has failed, with these words and the command to accept what is meant."""
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = summary(result)
    assert f"FAIL arithmetic {subject} not worse than baseline by 10 points" in told
    for each in words:
        assert each in told


def test_another_prompt_is_refused(accepted: Project) -> None:
    suite(accepted, prompts={"plain": "Please: {{ question }}"})
    words = "the baseline asked something else: the prompt has changed. If that is meant, accept"
    refused(run(accepted), words, COMMAND)


def test_another_sampling_is_refused_by_its_key(accepted: Project) -> None:
    suite(accepted, sampling={"max_tokens": 9})
    refused(run(accepted), "sampling: max_tokens was 16, is 9")


def test_other_options_of_the_scorer_are_refused(accepted: Project) -> None:
    suite(accepted, score={"exact": {"ignore_case": True}})
    refused(run(accepted), "the scorer exact: ignore_case was null, is true")


def test_another_scorer_is_refused(accepted: Project) -> None:
    suite(accepted, score="includes", gates=[{**REQUIRED, "metric": "includes"}])
    refused(run(accepted), "the scorer was exact, is includes")


def test_new_items_and_other_ones_are_refused_by_their_ids(accepted: Project) -> None:
    rows = [{"id": f"{n:02}", "question": f"say {n:02}", "answer": "yes"} for n in range(2, 42)]
    rows[5]["answer"] = "no"
    suite(accepted, rows=rows)
    words = "2 items new: 40, 41; 2 items gone: 00, 01; 1 item changed: 07"
    refused(run(accepted), words)


SCORER = """
from dataclasses import dataclass
from typing import ClassVar

from pytest_llmeval.scoring.scorer import register, score_of


@register("polite")
@dataclass(frozen=True, slots=True)
class Polite:
    name: ClassVar[str]
    version: ClassVar[str] = "VERSION"

    def __call__(self, answer, item):
        return score_of(self.name, answer.text == "yes")
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("conftest", ["conftest.py", "suites/conftest.py"])
def test_another_version_of_the_scorer_is_refused(
    project: Project, conftest: str, workers: str
) -> None:
    """Also where only xdist's workers know the scorer: a conftest.py beside the suites."""
    suite(project, score=["polite", "exact"], gates=[{**REQUIRED, "metric": "polite"}])
    answers(project, right=30)
    project.write(conftest, SCORER.replace("VERSION", "1"))
    assert accept(project, workers).ret == 0
    assert baseline(project)["scorer"]["version"] == "1"
    project.write(conftest, SCORER.replace("VERSION", "1.1"))
    refused(run(project, workers), "the scorer polite was version 1, is version 1.1")


def test_another_number_of_repeats_is_refused(accepted: Project) -> None:
    suite(accepted, repeats=2)
    refused(run(accepted), "the baseline asked something else: repeats was 1, is 2. If that is")


def test_a_baseline_that_was_edited_by_hand_is_refused_and_can_be_accepted_anew(
    accepted: Project,
) -> None:
    path = accepted.root / FILE
    text = path.read_text(encoding="utf-8").replace('"35": 0', '"35": 1')
    accepted.write(FILE, text)
    words = f"{FILE} cannot be used: its checksum does not fit its content: it was edited by hand"
    refused(run(accepted), words, COMMAND)
    assert accept(accepted).ret == 0
    assert "NO CHANGE" in summary(run(accepted))


def test_a_baseline_that_was_cut_short_can_be_accepted_anew(accepted: Project) -> None:
    text = (accepted.root / FILE).read_text(encoding="utf-8")
    accepted.write(FILE, text[:900])
    refused(run(accepted), f"{FILE} cannot be used: it was cut short, or a merge has", COMMAND)
    assert accept(accepted).ret == 0
    assert (accepted.root / FILE).read_text(encoding="utf-8") == text


def never_overwritten(project: Project, text: str, words: str) -> None:
    """What stands there is refused with a way out other than to accept, and is left alone."""
    project.write(FILE, text)
    for result in (run(project), accept(project)):
        refused(result, f"{FILE} cannot be used: {words}")
        assert "--snapshot-update" not in summary(result)
        assert (project.root / FILE).read_text(encoding="utf-8") == text
    assert "not accepted as the baseline: only a damaged baseline is overwritten" in summary(result)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 1, "checksum": "x"}', '{"my": "notes"}']
)
def test_a_file_that_is_no_baseline_is_refused_and_never_overwritten(
    accepted: Project, text: str
) -> None:
    never_overwritten(accepted, text, "it is no baseline: ")


def test_a_baseline_of_a_newer_version_is_refused_and_never_overwritten(accepted: Project) -> None:
    text = json.dumps({**baseline(accepted), "schema": 2})
    words = "it was written by a newer version (schema 2, this one reads up to 1); upgrade pytest-"
    never_overwritten(accepted, text, words)


def test_a_damaged_baseline_of_another_suite_is_not_overwritten(accepted: Project) -> None:
    text = (accepted.root / FILE).read_text(encoding="utf-8")
    text = text.replace('"suite": "arithmetic"', '"suite": "sums"')
    accepted.write(FILE, text)
    told = summary(accept(accepted))
    assert "it is the baseline of m/plain in suite sums, not of m/plain in suite arithmetic" in told
    assert (accepted.root / FILE).read_text(encoding="utf-8") == text


def test_a_baseline_of_another_suite_is_refused_and_never_overwritten(accepted: Project) -> None:
    suites = accepted.root / "suites"
    (suites / "arithmetic.yaml").rename(suites / "sums.yaml")
    stray = accepted.root / FILE
    moved = accepted.root / "baselines" / "sums" / stray.name
    moved.parent.mkdir()
    stray.rename(moved)
    content = moved.read_bytes()
    for result in (run(accepted), accept(accepted)):
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        told = summary(result)
        assert "it is the baseline of m/plain in suite arithmetic, not of m/plain in suite" in told
        assert "Move it away: nothing overwrites the baseline of something else" in told
        assert moved.read_bytes() == content
    assert "not accepted as the baseline" in told


# Not accepted -------------------------------------------------------------------------------------


def unchanged(project: Project, result: pytest.RunResult, words: str) -> None:
    """The baseline is what it was, and these words say why."""
    assert words in summary(result)
    assert sum(baseline(project)["values"].values()) == 30


def test_a_run_with_failures_is_not_accepted(accepted: Project) -> None:
    answers(accepted, right=15, broken=2)
    words = "not accepted as the baseline: 2 of 40 trials of the suite have no outcome (m/plain 2)"
    unchanged(accepted, accept(accepted), words)


def test_failures_under_another_condition_of_the_suite_keep_it_from_being_accepted(
    accepted: Project,
) -> None:
    suite(accepted, prompts={"plain": "{{ question }}", "terse": "Now {{ question }}"})
    broken = [{"when": "^Now say 0[123]$", "fail": "refused"}]
    rules = json.loads((accepted.root / "script.json").read_text(encoding="utf-8"))
    accepted.script([*broken, {"when": "29$", "text": "no"}, *rules])
    words = "not accepted as the baseline: 3 of 80 trials of the suite have no outcome (m/terse 3)"
    unchanged(accepted, accept(accepted), words)
    picked = accept(accepted, "-k", "m/plain")
    assert "accepted as the baseline" in summary(picked)
    assert sum(baseline(accepted)["values"].values()) == 29


def test_a_dry_run_is_not_accepted(accepted: Project) -> None:
    words = "a dry run measures nothing; no baseline was accepted"
    unchanged(accepted, accept(accepted, "--llm-dry-run"), words)


def test_picked_trials_are_not_accepted(accepted: Project) -> None:
    answers(accepted, right=15)
    words = "only 2 of its 40 trials were selected; no baseline was accepted"
    unchanged(accepted, accept(accepted, "-k", "not_worse or 01 or 02"), words)


def test_a_run_that_stopped_is_not_accepted(accepted: Project) -> None:
    answers(accepted, right=15, broken=1)
    result = accept(accepted, "-x")
    unchanged(accepted, result, "; no baseline was accepted")


def test_a_limited_run_is_held_to_its_items_of_the_baseline_and_not_accepted_over_it(
    accepted: Project,
) -> None:
    told = summary(run(accepted, "--llm-limit", "20"))
    assert "none of 20 items has changed (20 of the baseline's 40 items)" in told
    answers(accepted, right=15)
    words = "not accepted as the baseline: --llm-limit 20 has left out items that the baseline has"
    unchanged(accepted, accept(accepted, "--llm-limit", "20"), words)


def test_a_limited_run_does_not_replace_a_damaged_baseline_of_unknown_items(
    accepted: Project,
) -> None:
    text = (accepted.root / FILE).read_text(encoding="utf-8").replace('"35": 0', '"35": 1')
    accepted.write(FILE, text)
    result = accept(accepted, "--llm-limit", "5")
    words = "--llm-limit 5 may have left out items of the damaged baseline"
    refused(result, f"Restore the file, or accept a new one with {COMMAND}", words)
    assert (accepted.root / FILE).read_text(encoding="utf-8") == text


def test_a_baseline_of_a_limited_run_is_for_that_limit(project: Project) -> None:
    suite(project)
    answers(project, right=30)
    first = run(project, "--llm-limit", "20")
    command = COMMAND.replace("suites", "--llm-limit 20 suites")
    assert command in summary(first)
    assert "accepted as the baseline" in summary(accept(project, "--llm-limit", "20"))
    answers(project, right=10)
    assert "accepted as the baseline" in summary(accept(project, "--llm-limit", "20"))
    refused(run(project), "20 items new: ")


def test_a_store_that_cannot_be_written_says_so(project: Project) -> None:
    suite(project)
    answers(project, right=30)
    project.write("baselines/arithmetic", "a file where a folder should be")
    told = summary(accept(project))
    assert f"not accepted as the baseline: {FILE} cannot be written: " in told


# Several scorers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_gates_of_two_scorers_on_a_condition_have_a_baseline_each(
    project: Project, workers: str
) -> None:
    gates = [{**REQUIRED, "metric": metric} for metric in ("exact", "includes")]
    suite(project, score=["exact", "includes"], gates=gates)
    rules: list[dict[str, Any]] = [{"when": f"{n:02}$", "text": "yes"} for n in range(20)]
    project.script([*rules, {"when": "2.$", "text": "oh yes"}, {"text": "no"}])
    told = summary(accept(project, workers))
    assert f"m/plain not worse than baseline by 10 points: accepted as the baseline, {FILE}" in told
    second = FILE.replace(".json", "@includes.json")
    words = "m/plain includes not worse than baseline by 10 points: accepted as the baseline"
    assert f"{words}, {second}" in told
    values = json.loads((project.root / second).read_text(encoding="utf-8"))["values"]
    assert (sum(baseline(project)["values"].values()), sum(values.values())) == (20, 30)
    project.script([*rules, {"text": "no"}])
    result = run(project, workers, "-rf")
    result.stdout.fnmatch_lines([f"FAILED {GATE}.includes*"])
    told = summary(result)
    assert "NO CHANGE arithmetic m/plain not worse" in told
    assert "FAIL arithmetic m/plain includes not worse than baseline by 10 points: -25.0 [" in told
    assert "is not used" not in result.stdout.str()
    again = run(project, workers, "--lf", "-rs")
    words = "m/plain includes was not measured: none of its trials was selected"
    again.stdout.fnmatch_lines([f"SKIPPED*gate inconclusive: {words}"])
    assert again.parseoutcomes().keys() <= {"skipped", "deselected"}


# Other gates' baselines ---------------------------------------------------------------------------


@pytest.fixture
def two_suites(accepted: Project) -> Project:
    """Another suite with a baseline of its own."""
    rows = [accepted.right(f"r{n}") for n in range(12)]
    accepted.suite("other", items=rows, gates=[REQUIRED])
    accepted.script(
        [{"when": "yes$", "text": "yes"}, *json.loads((accepted.root / "script.json").read_text())]
    )
    assert accept(accepted, "suites/other.yaml").ret == 0
    return accepted


def kept(project: Project) -> dict[str, bytes]:
    files = sorted((project.root / "baselines").rglob("*.json"))
    return {path.relative_to(project.root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    "args", [("-k", "arithmetic"), ("suites/arithmetic.yaml",), ("--deselect", "suites/other.yaml")]
)
def test_accepting_one_leaves_the_baselines_of_others(two_suites: Project, args: Any) -> None:
    before = kept(two_suites)
    assert len(before) == 2
    answers(two_suites, right=10)
    accept(two_suites, *args)
    after = kept(two_suites)
    assert [name for name in before if before[name] != after[name]] == [FILE]


def test_a_gate_that_was_not_selected_accepts_nothing(two_suites: Project) -> None:
    before = kept(two_suites)
    answers(two_suites, right=10)
    accept(two_suites, "-k", "not not_worse")
    assert kept(two_suites) == before


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_baseline_that_no_gate_uses_is_named_and_kept(two_suites: Project, workers: str) -> None:
    suite(two_suites, gates=[])
    before = kept(two_suites)
    words = f"warning: {FILE} is not used: suite arithmetic has no gate not_worse_than: baseline"
    assert words in " ".join(accept(two_suites, workers).stdout.str().split())
    assert kept(two_suites) == before


def test_nothing_is_called_unused_when_something_was_left_out(two_suites: Project) -> None:
    suite(two_suites, gates=[])
    assert "is not used" not in run(two_suites, "-k", "not 01").stdout.str()
    assert "is not used" not in run(two_suites, "suites/other.yaml").stdout.str()


def test_a_baseline_whose_suite_is_gone_is_named(two_suites: Project) -> None:
    (two_suites.root / "suites" / "arithmetic.yaml").unlink()
    text = " ".join(run(two_suites).stdout.str().split())
    assert f"{FILE} is not used: suites/arithmetic.yaml is gone; delete it" in text


def test_without_gates_on_a_baseline_snapshot_update_writes_nothing(project: Project) -> None:
    project.suite(items=[project.right("a")])
    assert accept(project).ret == 0
    assert not (project.root / "baselines").exists()


def test_without_syrupy_gates_are_held_to_their_baselines(accepted: Project) -> None:
    assert "NO CHANGE" in summary(accepted.run())
