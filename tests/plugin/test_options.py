"""The command line's options, seen from the user's side."""

from __future__ import annotations

import time
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project


class TestSet:
    def test_a_key_of_the_config_is_replaced_for_this_run(self, project: Project) -> None:
        project.suite(items=[project.right("a", question="say one two three")])
        project.run("--llm-set", "sampling.max_tokens=2", "--llm-set", "models.m.slots=1")
        config = project.manifest()["plan"]["config"]
        assert config["sampling"][""]["max_tokens"] == 2
        assert config["models"]["m"]["slots"] == 1

    def test_prompts_keeps_the_named_variants_only(self, project: Project) -> None:
        variants = {"plain": "{{ question }}", "terse": "{{ question }}", "long": "{{ question }}"}
        project.suite(items=[project.right("a")], prompts=variants)
        project.run("--llm-set", "prompts=plain,long")
        assert [row["condition"] for row in project.rows("predictions")] == ["m/long", "m/plain"]


class TestLimit:
    def test_asks_the_same_few_items_every_time(self, project: Project) -> None:
        project.suite(items=[project.right(f"i{n}") for n in range(40)])
        chosen = []
        for _ in range(2):
            project.run("--llm-limit", "5")
            chosen.append([row["item_id"] for row in project.rows("predictions")])
        assert chosen[0] == chosen[1]
        assert len(chosen[0]) == 5

    def test_a_larger_limit_adds_to_the_smaller_one(self, project: Project) -> None:
        project.suite(items=[project.right(f"i{n}") for n in range(40)])
        project.run("--llm-limit", "5")
        few = {row["item_id"] for row in project.rows("predictions")}
        project.run("--llm-limit", "9")
        assert few < {row["item_id"] for row in project.rows("predictions")}

    def test_holds_for_every_suite(self, project: Project) -> None:
        project.suite("one", [project.right(f"i{n}") for n in range(5)])
        project.suite("two", [project.right(f"i{n}") for n in range(2)])
        project.run("--llm-limit", "3")
        suites = [row["suite"] for row in project.rows("predictions")]
        assert suites == ["one"] * 3 + ["two"] * 2


class TestParts:
    def test_cuts_each_condition_into_parts_with_files_and_counts_of_their_own(
        self, project: Project
    ) -> None:
        project.suite(items=[project.right(f"i{n}") for n in range(7)])
        assert project.run("--llm-parts", "3").ret == 0
        folder = project.latest_run() / "m--plain" / "parts"
        assert sorted(path.name for path in folder.iterdir()) == [
            f"part-000{number}.{kind}.jsonl"
            for number in (1, 2, 3)
            for kind in ("requests", "results")
        ]
        parts = project.manifest()["parts"]
        counts = [(part["number"], part["trials"], part["answered"]) for part in parts]
        assert counts == [(1, 2, 2), (2, 2, 2), (3, 3, 3)]
        assert {part["job_status"] for part in parts} == {"completed"}

    def test_never_makes_an_empty_part(self, project: Project) -> None:
        project.suite(items=[project.right("a"), project.right("b")])
        project.run("--llm-parts", "5")
        assert [part["trials"] for part in project.manifest()["parts"]] == [1, 1]


class TestPlan:
    @pytest.mark.parametrize("workers", ["-n0", "-n2"])
    def test_says_what_would_run_and_sends_nothing(self, project: Project, workers: str) -> None:
        project.suite(items=[project.right("a"), project.right("b")], repeats=3)
        result = project.run("--llm-plan", workers)
        assert result.ret == 0
        result.stdout.fnmatch_lines(
            ["llmeval plan: 6 trials; nothing is sent", "suite*", "arithmetic*m/plain* 6 *", "m: *"]
        )
        assert not (project.root / "runs").exists()

    def test_speaks_of_what_is_selected_only(self, project: Project) -> None:
        project.suite(items=[project.right("first"), project.right("second")])
        project.run("--llm-plan", "-k", "first").stdout.fnmatch_lines(["llmeval plan: 1 trial*"])

    def test_refuses_what_a_run_would_refuse(self, project: Project) -> None:
        project.suite("broken", text="items: 3\n")
        assert project.run("--llm-plan").ret == pytest.ExitCode.USAGE_ERROR


class TestDryRun:
    def test_takes_the_whole_way_on_the_fake_engine(self, project: Project) -> None:
        project.config(models={"big": {"engine": "llama-server", "gguf": "not-here.gguf"}})
        project.suite(items=[project.right("a"), project.right("b")])
        result = project.run("--llm-dry-run")
        assert result.ret == 0
        result.stdout.fnmatch_lines(["llmeval: *local.yaml, dry run on the fake engine"])
        run = project.latest_run()
        files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
        assert files >= {
            "manifest.json",
            "environment.json",
            "significance.json",
            "costs.json",
            "reports/report.md",
            "reports/report.html",
            "big--plain/parts/part-0001.requests.jsonl",
            "big--plain/parts/part-0001.results.jsonl",
            "big--plain/predictions.csv",
            "big--plain/per_item_scores.csv",
        }
        manifest = project.manifest()
        assert [part["job_status"] for part in manifest["parts"]] == ["completed"]
        assert manifest["warnings"] == ["dry run: every model was played by the fake engine"]

    def test_decides_no_gate(self, project: Project) -> None:
        gate = {"only": "m/plain", "metric": "exact", "at_least": 0.9}
        project.suite(items=[project.right(f"i{n}") for n in range(20)], gates=[gate])
        result = project.run("--llm-dry-run", "-rs")
        assert result.ret == 0
        result.stdout.fnmatch_lines(["SKIPPED*a dry run measures nothing*"])


class TestFolders:
    def test_archive_zips_the_whole_folder(self, project: Project) -> None:
        project.suite(items=[project.right("a")])
        project.run("--llm-archive")
        run = project.latest_run()
        with zipfile.ZipFile(run.with_name(f"{run.name}.zip")) as archive:
            assert archive.testzip() is None
            names = {name for name in archive.namelist() if not name.endswith("/")}
        assert {f"{run.name}/manifest.json", f"{run.name}/m--plain/predictions.csv"} <= names

    def test_run_dir_keeps_runs_elsewhere(self, project: Project) -> None:
        project.suite(items=[project.right("a")])
        assert project.run("--llm-run-dir", "elsewhere/runs").ret == 0
        assert list((project.root / "elsewhere" / "runs").glob("*/manifest.json"))
        assert not (project.root / "runs").exists()


class TestResume:
    def test_asks_only_what_has_no_answer_yet(self, project: Project) -> None:
        project.suite(items=[project.right("a"), project.broken("b")])
        project.run()
        first = project.latest_run()
        project.script([{"text": "yes"}])
        result = project.run("--llm-resume", first.name)
        assert result.ret == 0
        assert project.latest_run() == first
        asked = [line["custom_id"] for line in project.journal()]
        assert sorted(asked) == [
            "arithmetic::m/plain::a",
            "arithmetic::m/plain::b",
            "arithmetic::m/plain::b",
        ]
        assert [row["outcome"] for row in project.rows("predictions")] == ["right", "right"]

    def test_a_run_that_is_complete_asks_nothing_and_reports_again(self, project: Project) -> None:
        project.suite(items=[project.right("a"), project.wrong("b")])
        project.run()
        before = project.journal()
        result = project.run("--llm-resume", "last")
        assert result.ret == 0
        result.stdout.fnmatch_lines(["*1 passed, 1 wrong*"])
        assert project.journal() == before

    def test_a_resumed_run_keeps_its_parts(self, project: Project) -> None:
        project.suite(items=[project.right("a"), project.broken("b"), project.right("c")])
        project.run("--llm-parts", "3")
        project.script([{"text": "yes"}])
        assert project.run("--llm-resume", "last").ret == 0
        assert [part["job_status"] for part in project.manifest()["parts"]] == ["completed"] * 3

    def test_a_dry_run_is_not_continued_by_a_real_one(self, project: Project) -> None:
        project.suite(items=[project.right("a")])
        project.run("--llm-dry-run")
        result = project.run("--llm-resume", "last")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*was a dry run, and this is none: a --llm-dry-run has*"])

    @pytest.mark.parametrize("workers", ["-n0", "-n2"])
    def test_a_run_killed_in_the_middle_goes_on_where_it_was(
        self, project: Project, workers: str
    ) -> None:
        project.script([{"when": "say", "text": "yes", "latency": 0.2}])
        project.config(models={"m": {"engine": "fake", "script": "script.json", "slots": 1}})
        project.suite(items=[project.right(f"i{n}") for n in range(20)])
        _kill_after(project, 5, workers)
        killed = project.latest_run()
        answered = [line["custom_id"] for line in project.journal()]
        assert 5 <= len(answered) < 20
        project.script([{"when": "say", "text": "yes"}])
        result = project.run("--llm-resume", "last", workers)
        assert result.ret == 0
        assert project.latest_run() == killed
        asked = [line["custom_id"] for line in project.journal()]
        assert asked[: len(answered)] == answered
        assert len(asked) == len(set(asked)) == 20
        assert {row["attempts"] for row in project.rows("predictions")} == {"1"}
        assert project.manifest()["exit_reason"] == "finished"


def _kill_after(project: Project, answers: int, workers: str) -> None:
    """Run pytest, and kill it as soon as so many answers are written down."""
    process = project.spawn(workers)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if _whole_lines(project) >= answers:
                return
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    pytest.fail(f"not even {answers} answers within a minute")


def _whole_lines(project: Project) -> int:
    paths = (project.root / "runs").glob("*/*/parts/*.results.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in paths)


def test_the_summary_speaks_of_the_run_as_it_is_found_from_where_pytest_was_called(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.suite(items=[project.wrong("a")])
    below = project.root / "suites"
    monkeypatch.chdir(below)
    result = project.run("--llm-config", str(project.root / "local.yaml"))
    (line,) = [line for line in result.outlines if line.startswith("report: ")]
    report = line.removeprefix("report: ")
    assert report.startswith("../runs/")
    assert (below / report).is_file()
    shown = project.latest_run().name
    result.stdout.fnmatch_lines([f"*llmeval show ../runs/{shown} --wrong"])
