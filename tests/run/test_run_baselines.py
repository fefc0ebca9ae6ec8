"""The command that accepts baselines, and which of them no gate uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.results.baselines import Baseline, baseline_path, write_baseline
from pytest_llmeval.results.plan import ScorerPlan
from pytest_llmeval.run import Selection
from pytest_llmeval.run.baselines import accepting, unused_baselines

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

GATE = {"only": "m", "metric": "exact", "not_worse_than": "baseline", "margin": 0.1}


def selected(bench: Workbench, **keys: Any) -> Selection:
    """All trials of a suite with these keys."""
    return Selection(bench.trials(bench.settings(), bench.suite(**keys)))


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({}, "pytest --llm-config local.yaml suites/sums.yaml --snapshot-update"),
        (
            {"limit": 2, "overrides": ("sampling.max_tokens=9", "sampling.stop=[a, b]")},
            (
                "pytest --llm-config local.yaml --llm-set sampling.max_tokens=9 "
                '--llm-set "sampling.stop=[a, b]" --llm-limit 2 suites/sums.yaml --snapshot-update'
            ),
        ),
    ],
)
def test_the_command_repeats_what_decides_the_questions(
    bench: Workbench, options: dict[str, Any], command: str
) -> None:
    assert accepting(bench.settings(**options).options, selected(bench).trials[0].suite) == command


def kept(bench: Workbench, suite: str, condition: str, detail: str = "") -> str:
    """A baseline in the store; its path as a message tells it."""
    baseline = Baseline(
        suite=suite,
        origin=f"suites/{suite}.yaml",
        condition=condition,
        dataset="",
        prompt="",
        tools="",
        sampling={},
        scorer=ScorerPlan(detail or "exact", {}, "1"),
        content={"a": "1"},
        values={"a": (1.0,)},
        weights=None,
        made_by="0",
    )
    path = baseline_path(bench.root, suite, condition, detail)
    write_baseline(path, baseline)
    return path.relative_to(bench.root).as_posix()


def test_a_baseline_with_a_gate_is_used(bench: Workbench) -> None:
    kept(bench, "sums", "m")
    assert unused_baselines(bench.root, selected(bench, gates=[GATE])) == []


def test_a_baseline_without_a_gate_of_its_kind_is_not(bench: Workbench) -> None:
    path = kept(bench, "sums", "m")
    selection = selected(bench, gates=[{"only": "m", "metric": "exact", "at_least": 0.5}])
    assert unused_baselines(bench.root, selection) == [
        f"{path} is not used: suite sums has no gate not_worse_than: baseline for m; delete it"
    ]
    selection.deselected = True
    assert unused_baselines(bench.root, selection) == []


def test_a_baseline_of_a_further_scorer_needs_a_gate_of_its_own(bench: Workbench) -> None:
    kept(bench, "sums", "m")
    path = kept(bench, "sums", "m", "includes")
    keys: dict[str, Any] = {"score": ["exact", "includes"]}
    both = selected(bench, gates=[GATE, {**GATE, "metric": "includes"}], **keys)
    assert unused_baselines(bench.root, both) == []
    words = "suite sums has no gate not_worse_than: baseline for m by includes; delete it"
    alone = selected(bench, gates=[GATE], **keys)
    assert unused_baselines(bench.root, alone) == [f"{path} is not used: {words}"]


def test_of_a_suite_that_is_not_asked_nothing_is_known(bench: Workbench) -> None:
    kept(bench, "sums", "m")
    bench.suite("sums")
    assert unused_baselines(bench.root, Selection()) == []
    assert unused_baselines(bench.root, selected(bench, name="other")) == []


def test_a_baseline_whose_suite_is_gone_is_not_used(bench: Workbench) -> None:
    path = kept(bench, "gone", "m")
    assert unused_baselines(bench.root, Selection()) == [
        f"{path} is not used: suites/gone.yaml is gone; delete it"
    ]
