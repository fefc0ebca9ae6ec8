"""Under pytest-xdist the controller sends, workers judge, and what comes out is the same."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

TIMES = {"queued_ms", "first_token_ms", "total_ms"}

OWN_TESTS = """
import pytest

ITEMS = [{"id": f"f{n}", "question": f"say {n}"} for n in range(6)]


@pytest.mark.parametrize("style", ["loose", "strict"])
@pytest.mark.llmeval(items=ITEMS, prompt="{{ question }}", score="includes", target="id")
def test_marked(llm_item, llm_prediction, llm_score, style):
    llm_score("quarter", 0.25)
    assert style == "loose" or llm_prediction.text in "024"


@pytest.fixture(scope="session")
def greeting(llm):
    return llm.chat("say hello").text


def test_ordinary(greeting, llm, llm_server, llm_run):
    assert greeting == "hello"
    assert llm.on("n").chat("say bye").text == "bye"
    assert llm_server.healthy()
    assert (llm_run.folder / "manifest.json").is_file()


def test_of_something_else():
    assert True
"""


def everything(project: Project) -> None:
    """Two models, two suites with every outcome, a gate, marked functions and ordinary tests."""
    models = {name: {"engine": "fake", "script": "script.json"} for name in ("m", "n")}
    project.config(models=models)
    items = [project.right(f"r{n}") for n in range(8)]
    items += [project.wrong("w"), project.silent("s"), project.broken("b")]
    gate = {"only": "n/plain", "metric": "exact", "at_least": 0.2}
    project.suite("one", items, prompts={"plain": "{{ question }}", "long": "{{ question }} "})
    project.suite("two", items, score=["exact", "includes"], repeats=2, gates=[gate])
    project.write("test_own.py", OWN_TESTS)


def found(project: Project) -> Mapping[str, Any]:
    """All that a run leaves, but for times and its own id."""
    run = project.latest_run()
    manifest = project.manifest()
    significance = json.loads((run / "significance.json").read_text(encoding="utf-8"))
    costs = json.loads((run / "costs.json").read_text(encoding="utf-8"))
    return {
        "predictions": [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in project.rows("predictions")
        ],
        "scores": project.rows("per_item_scores"),
        "journal": sorted(line["custom_id"] for line in project.journal()),
        "requests": sorted(
            (path.relative_to(run).as_posix(), path.read_bytes())
            for path in run.glob("*/parts/*.requests.jsonl")
        ),
        "plan": (manifest["plan"], manifest["plan_hash"]),
        "parts": manifest["parts"],
        "significance": {key: value for key, value in significance.items() if key != "run"},
        "costs": [
            {k: v for k, v in row.items() if isinstance(v, int | str) and not k.endswith("_ms")}
            for row in costs["conditions"]
        ],
    }


def test_a_run_leaves_the_same_as_without(project: Project) -> None:
    everything(project)
    plain = project.run("-n0")
    without = found(project)
    distributed = project.run("-n2", "-rfEs")
    within = found(project)
    for what, expected in without.items():
        assert within[what] == expected, what
    assert distributed.parseoutcomes() == plain.parseoutcomes()
    assert distributed.ret == plain.ret == pytest.ExitCode.TESTS_FAILED
    assert len(without["journal"]) == len(set(without["journal"])) == 2 * (2 * 11 + 2 * 11 + 6)
    assert len([path for path in (project.root / "runs").iterdir() if path.is_dir()]) == 2
    assert summary(distributed) == summary(plain)


def summary(result: pytest.RunResult) -> list[str]:
    """What is printed of the run, but for its time and its id."""
    lines = [str(line) for line in result.outlines]
    begin = next(n for n, line in enumerate(lines) if "= llmeval: " in line)
    end = next(n for n, line in enumerate(lines) if line.startswith("report: "))
    assert end < len(lines) - 1
    assert not any("= llmeval: " in line for line in lines[end:])
    return [re.sub(r"^[0-9.]+ s, |runs/[0-9-]+", "", line) for line in lines[begin:end]]


@pytest.mark.parametrize(
    "args",
    [
        ("-n4", "--dist=worksteal"),
        ("-n2", "--dist=loadscope"),
        ("-n2", "--dist=loadfile"),
        ("-n2", "--dist=loadgroup"),
        ("-n2", "--dist=no"),
        ("-nauto",),
        ("-nlogical",),
        ("-n0", "--dist=worksteal"),
    ],
    ids=" ".join,
)
def test_every_way_of_distributing_asks_each_trial_once(
    project: Project, args: tuple[str, ...]
) -> None:
    project.suite("one", [project.right(f"r{n}") for n in range(15)])
    project.suite("two", [project.wrong(f"w{n}") for n in range(15)])
    project.run(*args).assert_outcomes(passed=15)
    asked = [line["custom_id"] for line in project.journal()]
    assert len(asked) == len(set(asked)) == 30
    outcomes = [row["outcome"] for row in project.rows("predictions")]
    assert outcomes == ["right"] * 15 + ["wrong"] * 15


def test_a_random_order_of_tests_changes_no_order_of_sending(project: Project) -> None:
    pytest.importorskip("pytest_randomly", reason="needs pytest-randomly")
    project.config(models={"m": {"engine": "fake", "script": "script.json", "slots": 1}})
    project.suite("one", [project.right(f"r{n:02}") for n in range(30)])
    result = project.run("-n2", "-p", "no:cacheprovider", plugins=["randomly"])
    result.assert_outcomes(passed=30)
    asked = [line["custom_id"].rpartition("::")[2] for line in project.journal()]
    ahead = [before < after for before, after in itertools.pairwise(asked)]
    # A worker that waits goes first, so neighbours may change places, and no more than that.
    assert sum(ahead) > 20


def test_collecting_only_sends_nothing(project: Project) -> None:
    project.suite("one", [project.right("a")])
    result = project.run("-n2", "--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["suites/one.yaml::m/plain::a"])
    assert not (project.root / "runs").exists()
