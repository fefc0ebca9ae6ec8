"""A finished run as data, small and with everything in it that a report has to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmeval.records import (
    Answer,
    Attempt,
    Comparison,
    Condition,
    Failure,
    GateResult,
    GateSpec,
    Interval,
    Item,
    Message,
    Metric,
    Prediction,
    PromptVariant,
    Sampling,
    Score,
    ScorerSpec,
    Suite,
    Trial,
    Usage,
)
from pytest_llmeval.results.manifest import ModelFacts
from pytest_llmeval.results.plan import plan_of
from pytest_llmeval.results.report import ConditionFigures, Example, RunReport


class Samples:
    """Builders of records that hold something to see."""

    @staticmethod
    def suite_of(name: str, ids: Sequence[str], prompts: Sequence[str] = ("plain",)) -> Suite:
        return Suite(
            name=name,
            origin=f"suites/{name}.yaml",
            items=tuple(Item(id=i, slug=i, fields={}, target=f"target of {i}") for i in ids),
            dataset_hash=f"dataset-{name}",
            prompts=tuple(
                PromptVariant(prompt, (Message("user", "Say {{ id }}"),), f"hash-{prompt}")
                for prompt in prompts
            ),
            scorers=(ScorerSpec("exact"), ScorerSpec("includes")),
        )

    @staticmethod
    def trials_of(
        suite: Suite, models: Sequence[str] = ("tiny-l",), repeats: int = 1
    ) -> list[Trial]:
        trials = []
        for model in models:
            for prompt in suite.prompts:
                condition = Condition(
                    f"{model}/{prompt.name}", model, prompt, Sampling(8, seed=7), repeats=repeats
                )
                for item in suite.items:
                    for repeat in range(1, repeats + 1):
                        name = item.slug if repeat == 1 else f"{item.slug}.{repeat}"
                        trial_id = f"{suite.name}::{condition.name}::{name}"
                        trials.append(Trial(suite, condition, item, repeat, name, trial_id))
        return trials

    @staticmethod
    def answered(trial_id: str, text: str = "42", **fields: Any) -> Prediction:
        answer = Answer(text, "stop", usage=Usage(31, 9, 12, "server"), first_token_ms=3.25)
        made: dict[str, Any] = {"attempts": (Attempt(21.5),), "started": 0.5, "total_ms": 21.5}
        return Prediction(trial_id, answer, None, **(made | fields))

    @staticmethod
    def failed(
        trial_id: str, reason: str = "timeout", message: str = "no answer in 60 s"
    ) -> Prediction:
        return Prediction(trial_id, None, Failure(reason, message), (Attempt(60.0, message),))

    @staticmethod
    def right() -> tuple[Score, ...]:
        return (Score("exact", "right", 1.0, extracted="42", stages=("strip", "compare")),)

    @staticmethod
    def wrong() -> tuple[Score, ...]:
        return (Score("exact", "wrong", 0.0, extracted="41", stages=("strip", "compare")),)

    @staticmethod
    def metric_of(suite: str, condition: str, right: int, items: int, **fields: Any) -> Metric:
        bounds = fields.pop("bounds", (0.5, 0.9))
        made: dict[str, Any] = {
            "scorer": "exact",
            "headline": True,
            "trials": items,
            "answered": items,
            "items": items,
            "mean": right / items,
            "complete_case": right / items,
            "interval": Interval(bounds[0], bounds[1], "wilson"),
        }
        return Metric(suite=suite, condition=condition, right=right, **(made | fields))

    @staticmethod
    def comparison_of(suite: str, first: str, second: str, **fields: Any) -> Comparison:
        made: dict[str, Any] = {
            "scorer": "exact",
            "items": 200,
            "dropped": 0,
            "difference": 0.285,
            "interval": Interval(0.215, 0.358, "tango"),
            "test": "mcnemar mid-p",
            "p": 1e-9,
            "p_adjusted": 3e-9,
            "correction": "holm",
            "family": 8,
            "only_first": 60,
            "only_second": 3,
        }
        return Comparison(suite=suite, first=first, second=second, **(made | fields))

    @staticmethod
    def gate_of(verdict: Any, message: str) -> GateResult:
        return GateResult("arithmetic", GateSpec("tiny-l/plain", "exact", 0.85), verdict, message)

    @staticmethod
    def report(**fields: Any) -> RunReport:
        """The run of the design's example; keywords replace what it holds."""
        models = ("tiny-l", "tiny-s")
        suites = [
            Samples.suite_of("arithmetic", ["add-1", "add-2"], ("plain", "terse")),
            Samples.suite_of("capitals", ["fr", "de"], ("plain", "terse")),
        ]
        trials = [trial for suite in suites for trial in Samples.trials_of(suite, models)]
        plan = plan_of({"models": {"tiny-l": {"engine": "embedded"}}}, trials, {"items": 7})
        # Of many items here are two: the numbers below speak of 200.
        plan = replace(plan, suites=tuple(replace(suite, items=200) for suite in plan.suites))
        figures = ConditionFigures(
            "tiny-l/plain", "arithmetic", 38_211, 17.0, 2140.4, 0.71, 0.97, 30_000, 8_211, 21_300
        )
        made: dict[str, Any] = {
            "id": "2026-11-23-0412",
            "started": "2026-11-23T03:12:09Z",
            "seconds": 41.2,
            "folder": "runs/2026-11-23-0412",
            "path": "runs/2026-11-23-0412/reports/report.html",
            "plan": plan,
            "models": (
                ModelFacts(
                    "tiny-l",
                    "embedded",
                    "5e" * 32,
                    3_900_000,
                    "xllamacpp 2026.10",
                    "7a" * 32,
                    4,
                    1024,
                    "CPU only",
                ),
                ModelFacts("tiny-s", "openai"),
            ),
            "versions": {"pytest-llmeval-local": "0.1.0", "git commit": "abc1234"},
            "metrics": (
                Samples.metric_of("arithmetic", "tiny-l/plain", 188, 200, bounds=(0.898, 0.965)),
                Samples.metric_of(
                    "arithmetic",
                    "tiny-s/terse",
                    118,
                    200,
                    bounds=(0.5207, 0.6557),
                    no_answer={"empty": 9},
                ),
                Samples.metric_of("capitals", "tiny-l/plain", 90, 100, bounds=(0.826, 0.945)),
                Samples.metric_of(
                    "arithmetic", "tiny-l/plain", 190, 200, headline=False, scorer="includes"
                ),
            ),
            "comparisons": (
                Samples.comparison_of(
                    "arithmetic",
                    "tiny-s/plain",
                    "tiny-l/plain",
                    difference=-0.285,
                    interval=Interval(-0.358, -0.215, "tango"),
                ),
                Samples.comparison_of(
                    "capitals",
                    "tiny-l/plain",
                    "tiny-s/plain",
                    difference=0.025,
                    interval=Interval(-0.038, 0.091, "tango"),
                    p=0.14,
                    p_adjusted=0.42,
                    items_needed=1360,
                ),
                Samples.comparison_of("arithmetic", "tiny-l/plain", "tiny-s/terse"),
                Samples.comparison_of(
                    "arithmetic", "tiny-l/plain", "tiny-l/terse", p=0.03, p_adjusted=0.06
                ),
            ),
            "gates": (
                Samples.gate_of("pass", "at least 0.85: lower bound 0.898"),
                Samples.gate_of(
                    "inconclusive",
                    "at least 0.92: 0.898..0.965 holds it\nmore items would tell",
                ),
            ),
            "figures": (figures,),
            "wrong": 94,
            "no_answer": 9,
            "slots_busy": 0.97,
            "examples": (
                Example(
                    "arithmetic",
                    "tiny-l/plain",
                    "add-1",
                    "wrong",
                    "",
                    (Message("user", "17 + 25 ="),),
                    "<script>alert('41')</script>",
                    "41",
                    "42",
                ),
            ),
        }
        return RunReport(**(made | fields))


@pytest.fixture(scope="session")
def samples() -> type[Samples]:
    return Samples
