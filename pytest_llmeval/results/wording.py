"""How metrics, gates and what is missing are said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_llmeval.atomic import plain
from pytest_llmeval.records import Comparison, Corpus, GateResult, Interval, Metric
from pytest_llmeval.results.plan import ScorerPlan
from pytest_llmeval.results.report import StoppedSuite
from pytest_llmeval.results.rounding import (
    AS_GOOD_AS_NONE,
    UNKNOWN,
    bounds,
    counted,
    percent,
    significant,
    significant_bounds,
    whole,
)

FIXED_SET = "these items, asked again"
"""What an interval speaks of that holds run-to-run noise only."""


_NAMES = {
    "wilson": "Wilson",
    "scaled wilson": "scaled Wilson",
    "skewed wilson": "skewed Wilson",
    "clopper-pearson": "Clopper-Pearson",
    "mcnemar mid-p": "McNemar mid-p",
    "tango": "Tango",
    "newcombe": "Newcombe",
    "holm": "Holm",
    "robbins": "Robbins",
}
"""Procedures named after people; what is missing here is called as the records call it."""


def headline(metrics: Iterable[Metric]) -> list[Metric]:
    """The metrics that stand for their suite and condition."""
    return [metric for metric in metrics if metric.headline]


def by_suite(metrics: Iterable[Metric]) -> dict[str, list[Metric]]:
    """The metrics of each suite, headline first, suites in the order in which they first appear."""
    suites: dict[str, list[Metric]] = {}
    for metric in metrics:
        suites.setdefault(metric.suite, []).append(metric)
    return {suite: sorted(found, key=lambda m: not m.headline) for suite, found in suites.items()}


def method_words(intervals: Iterable[Interval]) -> str:
    """`95 % Wilson` where all intervals are of one kind, `95 % interval` where they are not."""
    kinds = {(i.level, i.method) for i in intervals if i.low is not None}
    levels = {level for level, _ in kinds}
    level = f"{100 * levels.pop():g} % " if len(levels) == 1 else ""
    if len(kinds) != 1:
        return f"{level}interval"
    return f"{level}{procedure(next(iter(kinds))[1])}"


def shows_items(metrics: Iterable[Metric]) -> bool:
    """Whether some interval rests on another number than its row shows: repeats are no items."""
    return any(metric.items != metric.answered for metric in metrics)


def shows_fixed_set(metrics: Iterable[Metric]) -> bool:
    """Whether some items were asked repeatedly, which gives a second interval."""
    return any(metric.fixed_set is not None for metric in metrics)


def scorers_note(metrics: Sequence[Metric]) -> str:
    """By which scorer a suite's row is, where that does not go without saying; "" where it does.

    It does where there is only one, and a row's percentage is its right of answered.
    """
    told = []
    for suite, its in by_suite(metrics).items():
        first = its[0]
        names = list(dict.fromkeys(metric.scorer for metric in its))
        graded = any(_is_graded(metric) for metric in its if metric.scorer == first.scorer)
        words = [f"{suite} by {first.scorer}"]
        words += [f"{counted(len(names) - 1, 'other scorer')} in the report"] if names[1:] else []
        words += ["% is the mean of graded scores"] if graded else []
        told += [", ".join(words)] if words[1:] else []
    return f"shown: {'; '.join(told)}" if told else ""


def _is_graded(metric: Metric) -> bool:
    """Whether some score lies between right and wrong: the mean is then not right of answered."""
    if metric.mean is None or metric.items != metric.answered:
        return False
    return abs(metric.mean * metric.answered - metric.right) > AS_GOOD_AS_NONE


def several_methods(metrics: Iterable[Metric]) -> bool:
    """Whether each row of a table has to name the method of its interval."""
    return len({m.interval.method for m in metrics if m.interval.low is not None}) > 1


def interval_words(interval: Interval, *, named: bool) -> str:
    """An interval's bounds, and behind them its method where it has to be `named`."""
    told = bounds(interval)
    return f"{told} {procedure(interval.method)}" if named and told != UNKNOWN else told


def right_words(metric: Metric) -> str:
    """How many were right of those that were answered: `3/4`."""
    return UNKNOWN if _is_given(metric) else f"{metric.right}/{metric.answered}"


def _is_given(metric: Metric) -> bool:
    """Whether its scores are ties with itself, being what others are held against: nothing was
    measured, so that there is no interval of any kind, and nothing right or wrong.
    """
    return not metric.interval.method


def judged_words(metric: Metric) -> str:
    """The score without what gave nothing to judge, and how many were judged: `100.0 (1/1)`."""
    if metric.complete_case is None or _is_given(metric):
        return UNKNOWN
    judged = metric.answered - sum(metric.no_answer.values())
    return f"{percent(metric.complete_case)} ({metric.right}/{judged})"


def scorer_words(scorer: ScorerPlan) -> str:
    """A scorer with its version and options: `numeric, version 1, tolerance 0.01`."""
    version = [f"version {scorer.version}"] if scorer.version else []
    options = [f"{name} {json_words(value)}" for name, value in scorer.options.items()]
    return ", ".join([scorer.name, *version, *options])


def json_words(value: Any) -> str:
    """A setting's value: itself when it is a text, JSON for anything else."""
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)


def procedure(name: str) -> str:
    """A procedure's name as one writes it."""
    return _NAMES.get(name, name)


def procedures(comparisons: Iterable[Comparison]) -> list[str]:
    """The tests and corrections that comparisons rest on, tests first."""
    used = list(comparisons)
    tests = sorted({procedure(comparison.test) for comparison in used if comparison.test})
    return tests + sorted({procedure(c.correction) for c in used if c.correction})


def gate_words(result: GateResult) -> str:
    """A gate's outcome as one sentence: which suite, which condition, what and why."""
    forbidden = result.fails and result.verdict == "inconclusive"
    return f"{result.suite} {result.gate.subject} {result.message}" + (
        " (inconclusive: fail)" if forbidden else ""
    )


def kept_words(kept: int, answers: int) -> str:
    """How many of the answers nobody was asked for."""
    return f"{kept:,} of {counted(answers, 'answer')} from the cache"


def asked_again_words(counts: Mapping[str, int]) -> str:
    """How many answers did not come at the first request, and what did; "" when all did."""
    if not counts:
        return ""
    told = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
    return f"{counted(sum(counts.values()), 'answer')} took more than one request ({told})"


def reasons(counts: Mapping[str, int]) -> str:
    """Counts by reason, the most frequent first: `timeout 2, error 1`."""
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{reason} {count:,}" for reason, count in ordered if count)


CORPUS_HEAD = ("perplexity", "95 % bootstrap", "bits/byte", "95 % bootstrap", "tokens")
"""What is said of the texts of a suite, all taken together."""


def corpus_words(corpus: Corpus) -> list[str]:
    """The figures of a corpus in the order of `CORPUS_HEAD`."""
    return [
        significant(corpus.perplexity),
        significant_bounds(corpus.perplexity_interval),
        significant(corpus.bits_per_byte),
        significant_bounds(corpus.bits_per_byte_interval),
        whole(corpus.tokens),
    ]


def incomplete_note(metrics: Iterable[Metric]) -> str:
    """Say in plain words what is missing from incomplete numbers; "" when nothing is."""
    failures: Counter[str] = Counter()
    missing = trials = 0
    for metric in metrics:
        if metric.incomplete:
            failures.update(metric.failures)
            missing += metric.trials - metric.answered
            trials += metric.trials
    if not missing:
        return ""
    failed = sum(failures.values())
    told = [f"{failed:,} failed ({reasons(failures)})"] if failed else []
    if missing > failed:
        told.append(f"{missing - failed:,} not asked or not scored")
    return (
        f"incomplete: of {trials:,} trials {' and '.join(told)}. That says nothing about the "
        "model: they are left out of the number, not counted as wrong."
    )


def stopped_words(suites: Sequence[StoppedSuite]) -> str:
    """What stopping early has saved, of the suites that might; "" when none might.

    Saved is what was never asked: an answer that nobody needs has taken its time all the same.
    """
    if not suites:
        return ""
    trials = sum(suite.trials for suite in suites)
    in_vain = sum(suite.asked_in_vain for suite in suites)
    saved = sum(suite.not_needed for suite in suites) - in_vain
    told = []
    if saved or in_vain:
        more = f", and {in_vain:,} more were asked in vain" if in_vain else ""
        share = percent(saved / trials, 0)
        told.append(
            f"stopped early: {saved:,} of {trials:,} trials were not asked ({share} %){more}"
        )
    undecided = [suite.suite for suite in suites if suite.left]
    if undecided:
        told.append(f"{', '.join(undecided)} had not decided when the run was cut short")
    return "; ".join(told) or f"not stopped early: all {trials:,} trials were needed"
