"""How numbers and names are said: the only place where anything is rounded."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_llmeval.atomic import plain
from pytest_llmeval.records import Comparison, Corpus, GateResult, Interval, Metric, Sensitivity
from pytest_llmeval.results.manifest import ScorerPlan
from pytest_llmeval.results.report import StoppedSuite

SHOWN_PAIRS = 3
"""So many pairs stand in the terminal; the report has them all."""

UNKNOWN = "-"

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

_AS_GOOD_AS_NONE = 1e-9
"""A share this near to 0 or 1 got there by rounding: no run has so many trials."""


@dataclass(frozen=True, slots=True)
class PairWords:
    """A comparison told with the better side first. Figures are in points, None where undefined.

    `label` names what differs, then what both share: `tiny-l over tiny-s, plain`.
    """

    suite: str
    label: str
    difference: float | None
    low: float | None
    high: float | None
    p: str
    verdict: str
    advice: str
    real: bool
    only_first: int | None
    only_second: int | None
    fixed_set: str = ""
    sensitivity: str = ""


def pair_words(comparison: Comparison) -> PairWords:
    """Turn a comparison so that the better condition comes first, and put it into words."""
    turned = comparison.difference is not None and comparison.difference < 0
    first, second = comparison.first, comparison.second
    low, high = comparison.interval.low, comparison.interval.high
    difference = comparison.difference
    alone = comparison.only_first, comparison.only_second
    fixed = comparison.fixed_set
    if turned:
        first, second = second, first
        alone = alone[1], alone[0]
        low, high = _negated(high), _negated(low)
        difference = _negated(difference)
        fixed = fixed and replace(fixed, low=_negated(fixed.high), high=_negated(fixed.low))
    return PairWords(
        suite=comparison.suite,
        label=pair_label(first, second, "level with" if difference == 0 else "over"),
        difference=_points(difference),
        low=_points(low),
        high=_points(high),
        p=p_words(comparison.p_adjusted),
        verdict=_verdict(comparison),
        advice=_advice(comparison),
        real=comparison.real,
        only_first=alone[0],
        only_second=alone[1],
        fixed_set=fixed_set_words(fixed, signed=True),
        sensitivity=sensitivity_words(comparison.sensitivity),
    )


def _verdict(comparison: Comparison) -> str:
    if comparison.real:
        return "REAL"
    return "not shown" if comparison.p_adjusted is not None else "no test possible"


def _advice(comparison: Comparison) -> str:
    """What a difference that is not shown would need; why an interval seems to deny one that is."""
    needed, interval = comparison.items_needed, comparison.interval
    if not comparison.real:
        return f"needs about {needed:,} items" if needed else ""
    if interval.method != "betting" or interval.low is None or interval.high is None:
        return ""
    return "its interval is of a wider procedure" if interval.low <= 0 <= interval.high else ""


def difference_words(difference: float | None, interval: Interval) -> str:
    """A difference in points with its interval: `+2.5 [-3.8, +9.1]`."""
    points, low, high = map(_points, (difference, interval.low, interval.high))
    if points is None:
        return UNKNOWN
    if low is None or high is None:
        return f"{points:+.1f}"
    return f"{points:+.1f} [{low:+.1f}, {high:+.1f}]"


def sensitivity_words(sensitivity: Sensitivity | None) -> str:
    """Whether the items without a judged answer could change a verdict; "" where there are none."""
    if sensitivity is None:
        return ""
    unjudged = f"{counted(sensitivity.missing, 'item')} without a judged answer on some side"
    if sensitivity.conclusion_robust:
        return f"holds whatever became of the {unjudged}"
    if sensitivity.tipping_count is None:
        return f"its sign hangs on the {unjudged}"
    return f"{sensitivity.tipping_count:,} of the {unjudged} could change it"


def basis_words(comparison: Comparison, items: int | None) -> str:
    """On how many of its suite's `items` a pair rests, "" where it is on all of them.

    Dropped are those that only one side has answered.
    """
    answered = comparison.items + comparison.dropped
    told = [f"{comparison.items:,} of {items:,} items"] if items not in (None, answered) else []
    if comparison.dropped:
        told.append(f"{comparison.dropped:,} of {answered:,} items dropped")
    return ", ".join(told)


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _points(value: float | None) -> float | None:
    return None if value is None else 100 * value


def pair_label(first: str, second: str, between: str = "over") -> str:
    """Name two conditions by what differs, and after a comma by what they share."""
    left, right = first.split("/"), second.split("/")
    if len(left) != len(right):
        return f"{first} {between} {second}"
    parts = list(zip(left, right, strict=True))
    better = "/".join(a for a, b in parts if a != b)
    worse = "/".join(b for a, b in parts if a != b)
    shared = "/".join(a for a, b in parts if a == b)
    return f"{better} {between} {worse}" + (f", {shared}" if shared else "")


def p_words(p: float | None) -> str:
    """Say a p value with two digits that mean something."""
    if p is None:
        return "p " + UNKNOWN
    if p < 0.001:
        return "p < 0.001"
    return f"p {p:.3f}" if p < 0.1 else f"p {p:.2f}"


def telling_pairs(
    comparisons: Sequence[Comparison], limit: int = SHOWN_PAIRS
) -> tuple[Comparison, ...]:
    """Choose the pairs to show where not all fit: the best of each suite, then the next best.

    Within a suite models under the same prompt come before prompts under the same model, those
    before pairs that differ in both; within these the smaller p first. What could not be tested
    comes last.
    """
    ranked = sorted(range(len(comparisons)), key=lambda place: _rank(comparisons[place]))
    turn_of: Counter[str] = Counter()
    turns = []
    for place in ranked:
        suite = comparisons[place].suite
        turns.append((turn_of[suite], place))
        turn_of[suite] += 1
    chosen = [place for _, place in sorted(turns, key=lambda turn: turn[0])][:limit]
    return tuple(comparisons[place] for place in sorted(chosen))


def _rank(comparison: Comparison) -> tuple[int, float]:
    left, right = comparison.first.split("/"), comparison.second.split("/")
    p = comparison.p_adjusted
    if p is None:
        return 3, 0.0
    if left[1:] == right[1:]:
        return 0, p
    return (1, p) if left[0] == right[0] else (2, p)


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
    return abs(metric.mean * metric.answered - metric.right) > _AS_GOOD_AS_NONE


def several_methods(metrics: Iterable[Metric]) -> bool:
    """Whether each row of a table has to name the method of its interval."""
    return len({m.interval.method for m in metrics if m.interval.low is not None}) > 1


def interval_words(interval: Interval, *, named: bool) -> str:
    """An interval's bounds, and behind them its method where it has to be `named`."""
    told = bounds(interval)
    return f"{told} {procedure(interval.method)}" if named and told != UNKNOWN else told


def fixed_set_words(interval: Interval | None, *, signed: bool = False) -> str:
    """The interval for these very items, in percent or signed points; "" without repeats."""
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return "no repeat differed"
    if signed:
        return f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
    return bounds(interval)


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


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage without its sign.

    What is neither 0 nor 100 is not rounded to them: 2999 of 3000 are `99.97`.
    """
    if share is None:
        return UNKNOWN
    if _AS_GOOD_AS_NONE < share < 1 - _AS_GOOD_AS_NONE:
        while float(f"{100 * share:.{digits}f}") in (0.0, 100.0):
            digits += 1
    return f"{100 * share:.{digits}f}"


def bounds(interval: Interval) -> str:
    """An interval of shares in percent: `89.8..96.5`."""
    if interval.low is None or interval.high is None:
        return UNKNOWN
    return f"{percent(interval.low)}..{percent(interval.high)}"


def whole(number: float | None) -> str:
    """A whole number with its thousands set apart."""
    return UNKNOWN if number is None else f"{round(number):,}"


def duration(seconds: float) -> str:
    """A length of time as one says it: `0.8 s`, `41 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest} s"


def kept_words(kept: int, answers: int) -> str:
    """How many of the answers nobody was asked for."""
    return f"{kept:,} of {counted(answers, 'answer')} from the cache"


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 model`, `2 models`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


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
        _significant_bounds(corpus.perplexity_interval),
        significant(corpus.bits_per_byte),
        _significant_bounds(corpus.bits_per_byte_interval),
        whole(corpus.tokens),
    ]


def significant(number: float | None, digits: int = 4) -> str:
    """A positive number with so many digits that mean something: `12.34`, `1,234`, `0.01234`."""
    if number is None:
        return UNKNOWN
    behind = digits - 1 - math.floor(math.log10(number)) if number > 0 else 0
    return f"{number:,.{max(0, behind)}f}"


def _significant_bounds(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return UNKNOWN
    return f"{significant(interval.low)}..{significant(interval.high)}"


def likelihood_lines(likelihoods: Iterable[tuple[str, float]]) -> list[str]:
    """Texts with their log likelihoods in nats, in their order: `-0.6142  Paris`."""
    told = list(likelihoods)
    figures = [f"{total:.4f}" for _, total in told]
    width = max(map(len, figures), default=0)
    texts = [" ".join(text.split()) or repr(text) for text, _ in told]
    return [f"{f.rjust(width)}  {text}" for f, text in zip(figures, texts, strict=True)]


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
        told.append(f"{missing - failed:,} never asked")
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
