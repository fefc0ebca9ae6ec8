"""One run of two real models over three suites: every file of its folder, and what it prints."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import socket
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import jsonschema
import pytest

from pytest_llmeval.results.significance import significance_schema
from tools.real_runs import MODELS, REPOSITORY, Project, shipped

CONDITIONS = {f"{model}/{prompt}" for model in MODELS for prompt in ("plain", "terse")}
TERSE = [{"system": "Answer with the number only."}, {"user": "What is {{ a }} plus {{ b }}?"}]
TRIALS = 2 * (2 * 16 + 16 + 16)
SELECTED = ("-k", "not gates or sums")
"""The gates of the shipped suites are about all of their items."""

SCORES = 2 * (2 * 2 * 16 + 16 + 16)


@dataclass(frozen=True)
class Run:
    """The run as its user has it: the project, the exit status, the output."""

    project: Project
    status: int
    text: str

    def json(self, name: str) -> Any:
        return json.loads((self.project.folder / name).read_bytes())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Sums under two prompts and two scorers, comparisons, and tool calls; 16 items of each."""
    project = Project(tmp_path_factory.mktemp("whole"))
    gate = {"only": "tiny-l/plain", "metric": "numeric", "at_least": 0.4}
    project.suite(
        "sums",
        items=shipped("arithmetic", 16),
        prompts={"plain": "{{ a }} + {{ b }} =", "terse": TERSE},
        score=["numeric", "includes"],
        gates=[gate],
    )
    for suite in ("compare", "tools"):
        name = f"suites/{suite}.yaml"
        project.write(name, (REPOSITORY / name).read_text(encoding="utf-8"))
        items = "".join(f"{json.dumps(item)}\n" for item in shipped(suite, 16))
        project.write(f"suites/data/{suite}.jsonl", items)
    sampling = {"temperature": 0, "max_tokens": 40, "seed": 7}
    project.config(sampling=sampling, server={"slots": 2, "context": 1024, "threads": 1})
    status, text = project.run(*SELECTED, "--llm-archive")
    yield Run(project, status, text)
    project.end()


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Iterator[Project]:
    """The same project once more, with its run, to go on with."""
    root = tmp_path / "copy"
    shutil.copytree(run.project.root, root)
    content = (root / "local.yaml").read_text(encoding="utf-8")
    project = Project(root)
    project.write("local.yaml", content)
    yield project
    project.end()


def test_wrong_answers_are_results_and_the_session_succeeds(run: Run) -> None:
    assert run.status == 0, run.text
    outcomes = Counter(row["outcome"] for row in run.project.rows("predictions"))
    assert outcomes["wrong"] > 0
    assert outcomes["right"] > 0
    assert outcomes["failure"] == 0
    assert f"{outcomes['wrong']} wrong" in run.text.splitlines()[-1]


def test_the_summary_says_how_good_each_condition_is_and_whether_differences_are_real(
    run: Run,
) -> None:
    assert f"llmeval: {TRIALS} trials, 2 models, 3 suites" in run.text
    assert all(condition in run.text for condition in CONDITIONS)
    assert "Is it real?" in run.text
    assert "PASS" in run.text
    assert "report: runs/" in run.text


def test_predictions_have_a_row_for_each_trial(run: Run) -> None:
    rows = run.project.rows("predictions")
    assert len({row["trial_id"] for row in rows}) == len(rows) == TRIALS
    assert {row["condition"] for row in rows} == CONDITIONS
    assert all(row["attempts"] == "1" and not row["error"] for row in rows)


def test_scores_have_a_row_for_each_trial_and_scorer(run: Run) -> None:
    rows = run.project.rows("per_item_scores")
    assert len(rows) == SCORES
    assert len({(r["suite"], r["condition"], r["item_id"], r["scorer"]) for r in rows}) == SCORES
    assert Counter(row["scorer"] for row in rows)["includes"] == 2 * 2 * 16


def test_requests_journal_and_combined_results_speak_of_the_same_trials(run: Run) -> None:
    def ids(pattern: str) -> list[str]:
        paths = run.project.folder.glob(pattern)
        lines = [line for path in paths for line in path.read_text("utf-8").splitlines()]
        return sorted(json.loads(line)["custom_id"] for line in lines)

    trials = sorted(row["trial_id"] for row in run.project.rows("predictions"))
    assert ids("*/parts/*.requests.jsonl") == trials
    assert ids("*/parts/*.results.jsonl") == trials
    assert ids("*/results_combined.jsonl") == trials


def test_the_servers_own_token_counts_add_up(run: Run) -> None:
    rows = run.project.rows("predictions")
    assert {row["usage_source"] for row in rows} == {"server"}
    sums = {
        kind: sum(int(row[f"{kind}_tokens"]) for row in rows)
        for kind in ("prompt", "completion", "total", "cached")
    }
    total = run.json("costs.json")["total"]
    assert sums["prompt"] + sums["completion"] == sums["total"] == total["tokens"]
    assert sums["prompt"] == total["prompt_tokens"]
    assert sums["completion"] == total["completion_tokens"]
    assert sums["cached"] == total["cached_tokens"]
    assert 0 < sums["cached"] < sums["prompt"]


def test_the_manifest_counts_as_many_out_as_in(run: Run) -> None:
    manifest = run.project.manifest()
    parts = {part["condition"]: part for part in manifest["parts"]}
    rows = Counter(row["condition"] for row in run.project.rows("predictions"))
    assert {name: part["trials"] for name, part in parts.items()} == rows
    assert {name: part["answered"] for name, part in parts.items()} == rows
    assert {part["job_status"] for part in parts.values()} == {"completed"}
    assert manifest["exit_reason"] == "finished"


@pytest.mark.parametrize("model", MODELS)
def test_the_manifest_names_the_weights_the_server_and_the_template(run: Run, model: str) -> None:
    path = Path(MODELS[model]["gguf"])
    (facts,) = (facts for facts in run.project.manifest()["models"] if facts["name"] == model)
    assert facts["digest"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["size"] == path.stat().st_size
    template = gguf.GGUFReader(path).fields["tokenizer.chat_template"].contents()
    assert facts["template_digest"] == hashlib.sha256(template.encode()).hexdigest()
    assert (facts["slots"], facts["context"]) == (2, 1024)
    assert facts["server"]
    assert "CPU only" in facts["computes"]


def test_the_manifest_holds_config_seeds_and_hashes(run: Run) -> None:
    plan = run.project.manifest()["plan"]
    assert plan["seeds"] == {"sampling": 7}
    assert plan["config"]["models"]["tiny-l"]["engine"] == "embedded"
    assert {suite["name"]: suite["items"] for suite in plan["suites"]} == dict.fromkeys(
        ("sums", "compare", "tools"), 16
    )
    assert all(len(suite["dataset_hash"]) == 64 for suite in plan["suites"])
    assert sum(asked["trials"] for asked in plan["asked"]) == TRIALS


def test_the_environment_is_described_without_naming_the_machine(run: Run) -> None:
    environment = run.json("environment.json")
    assert environment["python"]["version"] == platform.python_version()
    assert environment["packages"]["xllamacpp"]
    assert environment["packages"]["pytest-llmeval-local"]
    assert environment["system"]["name"] == platform.system()
    assert environment["cpu"]["usable"] >= 1
    assert environment["memory"] > 0
    assert {"gpus", "git", "switches"} <= environment.keys()
    assert socket.gethostname() not in json.dumps(environment)


@pytest.mark.parametrize("model", MODELS)
def test_each_server_was_started_once_and_has_a_log(run: Run, model: str) -> None:
    log = (run.project.folder / "logs" / f"{model}.log").read_text("utf-8", "replace")
    assert log.count("=== llmeval: ") == 1
    assert "listening on" in log


def test_significance_holds_to_its_published_shape(run: Run) -> None:
    content = run.json("significance.json")
    jsonschema.Draft202012Validator(significance_schema()).validate(content)
    assert len(content["metrics"]) == 2 * 2 * 2 + 2 + 2
    assert all(metric["answered"] == 16 for metric in content["metrics"])
    pairs = {(pair["suite"], pair["first"], pair["second"]) for pair in content["comparisons"]}
    assert ("compare", "tiny-l/plain", "tiny-s/plain") in pairs


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_reports_name_every_condition_and_suite(run: Run, name: str) -> None:
    report = (run.project.folder / "reports" / name).read_text(encoding="utf-8")
    assert all(word in report for word in (*CONDITIONS, "sums", "compare", "tools"))


def test_a_real_server_returns_tool_calls_and_they_are_scored(run: Run) -> None:
    rows = [row for row in run.project.rows("predictions") if row["suite"] == "tools"]
    called = [row for row in rows if row["tool_calls"]]
    assert called
    for row in called:
        (call, *_) = json.loads(row["tool_calls"])
        assert isinstance(call["arguments"], dict)
        assert row["finish_reason"] == "tool_calls"
    assert any(row["outcome"] == "right" for row in called)
    assert any(row["outcome"] == "right" and not row["tool_calls"] for row in rows)


def test_the_archive_holds_the_whole_folder(run: Run) -> None:
    folder = run.project.folder
    with zipfile.ZipFile(folder.with_name(f"{folder.name}.zip")) as archive:
        names = set(archive.namelist())
    files = {path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}
    assert {path.relative_to(folder.parent).as_posix() for path in files} <= names


def test_resuming_a_run_that_is_complete_asks_nothing_and_starts_no_server(
    copied: Project,
) -> None:
    before, rows = copied.journals(), copied.rows("predictions")
    scores = copied.rows("per_item_scores")
    status, text = copied.run(*SELECTED, "--llm-resume", "last")
    assert status == 0, text
    assert copied.journals() == before
    assert copied.rows("predictions") == rows
    assert copied.rows("per_item_scores") == scores
    for model in MODELS:
        log = (copied.folder / "logs" / f"{model}.log").read_text("utf-8", "replace")
        assert log.count("=== llmeval: ") == 1


def test_resuming_with_another_config_is_refused_with_what_is_different(copied: Project) -> None:
    before = copied.journals()
    status, text = copied.run(
        *SELECTED, "--llm-resume", "last", "--llm-set", "sampling.max_tokens=41"
    )
    assert status == 4
    words = " ".join(text.split())
    assert f"the run {copied.folder.name} asked something else" in words
    assert "max_tokens was 40, is 41" in words
    assert "nothing was sent" in words
    assert copied.journals() == before
