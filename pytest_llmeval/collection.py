"""Suites and marked functions as pytest nodes.

    suites/arithmetic.yaml                          SuiteFile
    suites/arithmetic.yaml::tiny-l/plain            ConditionNode
    suites/arithmetic.yaml::tiny-l/plain::add-0017  TrialTest
    suites/arithmetic.yaml::gates                   GatesNode
    suites/arithmetic.yaml::gates::tiny-l/plain.at_least  GateTest

How a trial runs without pytest's per-test hooks is in `lean`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.records import Condition, GateSpec, Prediction, Scored, Suite, Trial, Unneeded
from pytest_llmeval.reporting import (
    EndedWorkers,
    Judged,
    MachineryFailure,
    MustPass,
    NotNeeded,
    attach,
    mark_broken,
    mark_unneeded,
)
from pytest_llmeval.run import Evaluation, crash_scores


class SuiteFile(pytest.File):
    """A suite: one YAML file."""

    evaluation: Evaluation
    suite: Suite
    conditions: Sequence[Condition]

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path, evaluation: Evaluation) -> SuiteFile:
        """The node for a suite file."""
        node: SuiteFile = cls.from_parent(parent, path=path)
        node.evaluation = evaluation
        return node

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """One node per condition, and one for the gates."""
        self.suite = suite = self._load()
        for condition in self.conditions:
            yield ConditionNode.of(self, condition)
        if suite.gates:
            yield GatesNode.from_parent(self, name="gates")

    def _load(self) -> Suite:
        settings = self.evaluation.settings
        try:
            suite = settings.load_suite(self.path, self.nodeid)
            self.conditions = settings.conditions(suite)
        except LlmevalError as error:
            settings.mistakes.append(str(error))
            raise
        register_tags(self.config, suite)
        return suite

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: object) -> Any:
        """A mistake of the user is shown as its message, never as a traceback of ours."""
        if isinstance(excinfo.value, LlmevalError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


class ConditionNode(pytest.Collector):
    """The trials of a suite under one condition."""

    parent: SuiteFile
    condition: Condition
    place: str

    @classmethod
    def of(cls, parent: SuiteFile, condition: Condition) -> ConditionNode:
        """The node for a condition of the suite."""
        node: ConditionNode = cls.from_parent(parent, name=condition.name)
        node.condition = condition
        node.place = str(Path(parent.nodeid))
        return node

    def collect(self) -> Iterable[TrialTest]:
        """One test per trial. Their names differ: of items that could meet, one was refused."""
        suite, evaluation = self.parent.suite, self.parent.evaluation
        for tag in suite.tags:
            self.add_marker(tag)
        for trial in evaluation.settings.trials(suite, self.condition):
            yield TrialTest.of(self, trial, evaluation)


class TrialTest(pytest.Item):
    """A trial as a test."""

    parent: ConditionNode
    trial: Trial
    evaluation: Evaluation
    number: int
    judged: Judged | None = None
    timeout_seconds: float | None = None

    @classmethod
    def of(cls, parent: ConditionNode, trial: Trial, evaluation: Evaluation) -> TrialTest:
        """The test for a trial."""
        node: TrialTest = cls.from_parent(
            parent, name=trial.name, nodeid=f"{parent.nodeid}::{trial.name}"
        )
        node.trial = trial
        node.evaluation = evaluation
        node.number = next(evaluation.settings.sequence)
        for tag in trial.item.tags:
            node.add_marker(tag)
        return node

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where a reader finds it: the suite's file."""
        return self.path, 0, self._headline()

    @property
    def location(self) -> tuple[str, int | None, str]:
        """The same as pytest shows it, without making the path relative for every trial anew."""
        return self.parent.place, 0, self._headline()

    def _headline(self) -> str:
        """With blanks: in the end of a node id pytest would write `::` for the `.` of a repeat."""
        return f"{self.trial.suite.name} {self.trial.condition.name} {self.name}"

    def runtest(self) -> None:
        """Judge the trial, under pytest's own protocol; again when a plugin runs it again."""
        self.judged = judged = self.judge()
        others = [entry for entry in self.user_properties if not entry[0].startswith("llm_")]
        self.user_properties = [*others, *judged.properties()]
        problem = self.problem_of(self.judged)
        if problem is not None:
            raise problem

    def problem_of(self, judged: Judged) -> Exception | None:
        """What makes an error or a failing test of it; xfail is a way of saying must_pass."""
        must_pass = self.trial.suite.each_item == "must_pass"
        return judged.problem(
            must_be_right=must_pass or self.get_closest_marker("xfail") is not None,
            tolerate_failures=self.evaluation.settings.tolerate_failures,
        )

    def judge(self) -> Judged:
        """Wait for the trial's prediction and score it, unless a decision rests on its scores."""
        settled = await_settled(self.evaluation, self.trial.id, self.timeout_seconds)
        if isinstance(settled, Scored):
            return Judged(self.trial, settled.prediction, settled.scores)
        return Judged(self.trial, settled, self.evaluation.settings.score(self.trial, settled))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: object) -> Any:
        """What broke in its own words; a traceback only for what nobody expected."""
        if isinstance(excinfo.value, (MachineryFailure, MustPass, LlmevalError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


def attach_judgement(
    item: TrialTest, call: pytest.CallInfo[None], report: pytest.TestReport
) -> None:
    """Complete the report of a trial that ran under pytest's own protocol."""
    if call.excinfo is not None and isinstance(call.excinfo.value, EndedWorkers):
        attach(report, item.trial.id, crash_scores(item.trial, str(call.excinfo.value)), "failure")
    if call.when != "call":
        return
    if item.judged is None:
        mark_unneeded(report, call)
        mark_broken(report, call)
        return
    report.duration = item.judged.prediction.total_ms / 1000
    attach(report, item.trial.id, item.judged.scores, item.judged.outcome)


class GatesNode(pytest.Collector):
    """The gates of a suite."""

    parent: SuiteFile

    def collect(self) -> Iterable[GateTest]:
        """One silent node per gate."""
        for gate in self.parent.suite.gates:
            node: GateTest = GateTest.from_parent(self, name=gate.name)
            node.gate = gate
            node.suite = self.parent.suite
            yield node


class GateTest(pytest.Item):
    """A gate as a test: it can be selected like one and says nothing when its turn comes.

    Its verdict needs all scores; the process that owns the run reports it after the loop.
    """

    gate: GateSpec
    suite: Suite

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where a reader finds it: the line of the suite's file."""
        return self.path, (self.gate.line or 1) - 1, f"{self.suite.name} gate {self.name}"

    def runtest(self) -> None:
        """Nothing to do here: see the class."""


def register_tags(config: pytest.Config, suite: Suite) -> None:
    """Make tags known as markers, so that --strict-markers lets them pass."""
    tags = {*suite.tags, *(tag for item in suite.items for tag in item.tags)}
    for tag in sorted(tags):
        config.addinivalue_line("markers", f"{tag}: a tag of {suite.origin}")


def await_settled(
    evaluation: Evaluation, trial_id: str, limit: float | None = None
) -> Prediction | Scored:
    """Wait for a prediction in slices; raises NotNeeded for a trial that is not asked any more.

    `limit` is what pytest-timeout allows a test. It counts from the moment the trial was sent: the
    time it queued for a free slot is not the answer's fault.
    """
    while True:
        settled = evaluation.wait(trial_id)
        if isinstance(settled, Unneeded):
            raise NotNeeded
        if settled is not None:
            return settled
        if limit is not None and evaluation.under_way(trial_id) > limit:
            pytest.fail(f"Timeout (>{limit}s) from pytest-timeout: still no answer", pytrace=False)
