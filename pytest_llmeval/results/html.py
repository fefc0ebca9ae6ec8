"""reports/report.html: one file that needs nothing else, for a phone and for a wide screen.

What models wrote is untrusted: whatever the template puts in is made visible and escaped, and the
page's own policy forbids scripts, requests and all styles but its own.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources

from pytest_llmeval.atomic import plain
from pytest_llmeval.records import Comparison, Metric
from pytest_llmeval.results import pairs, rounding, wording
from pytest_llmeval.results.judges import JUDGES_ERR, judge_head, judge_rows
from pytest_llmeval.results.part_words import part_lines, shows_parts
from pytest_llmeval.results.report import Example, RunReport
from pytest_llmeval.results.trust import preflight_words
from pytest_llmeval.visible import visible

_VERDICTS = {
    "pass": "pass",
    "fail": "fail",
    "inconclusive": "inconclusive",
    "no_change": "no change",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval drawn on a scale from 0 to 100: where it begins, how long it is, its estimate."""

    start: float
    length: float
    middle: float


def html_report(report: RunReport) -> str:
    """Render the page. Pure: the same report gives the same text."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        finalize=_seen,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": rounding.percent,
        "whole": rounding.whole,
        "duration": rounding.duration,
        "counted": rounding.counted,
        "reasons": wording.reasons,
        "gate_words": wording.gate_words,
        "judged_words": wording.judged_words,
        "right_words": wording.right_words,
        "fixed_set_words": rounding.fixed_set_words,
        "preflight_words": preflight_words,
        "procedure": wording.procedure,
        "likelihood_lines": rounding.likelihood_lines,
        "scorer_words": wording.scorer_words,
        "verdict": _VERDICTS.__getitem__,
        "size": megabytes,
        "pretty": lambda value: json.dumps(plain(value), indent=2, ensure_ascii=False),
    }
    source = resources.files(__package__).joinpath("report.html.jinja").read_text("utf-8")
    scale = difference_scale(report.comparisons)
    return environment.from_string(source).render(
        style_hash=_style_hash(source),
        report=report,
        suites=[
            (suite, [(m, metric_bar(m), report.figures_of(suite, m.condition)) for m in metrics])
            for suite, metrics in wording.by_suite(report.metrics).items()
        ],
        interval=wording.method_words(m.interval for m in report.metrics),
        shows_items=wording.shows_items(report.metrics),
        several_methods=wording.several_methods(report.metrics),
        several_tests=len({c.test for c in report.comparisons}) > 1,
        several_scorers=any(not metric.headline for metric in report.metrics),
        saved=wording.stopped_words(report.stopped),
        note=wording.incomplete_note(wording.headline(report.metrics)),
        pairs=[(pairs.pair_words(c), c, difference_bar(c, scale)) for c in report.comparisons],
        scale=scale,
        fixed_set=wording.FIXED_SET,
        how=wording.procedures(report.comparisons),
        parts=part_lines(report.parts) if shows_parts(report.parts) else [],
        examples=example_groups(report.examples),
        judges=judge_rows(report),
        judge_head=judge_head(),
        judges_err=JUDGES_ERR,
        corpora=[(corpus, wording.corpus_words(corpus)) for corpus in report.corpora],
        corpus_head=wording.CORPUS_HEAD,
    )


def _seen(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


def _style_hash(source: str) -> str:
    """What allows the style of the template, and no other, in a policy."""
    style = source.partition("<style>")[2].partition("</style>")[0]
    return f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}"


def metric_bar(metric: Metric) -> Bar | None:
    """Draw a metric's interval on the scale from 0 to 100 %."""
    low, high, mean = metric.interval.low, metric.interval.high, metric.mean
    if low is None or high is None or mean is None:
        return None
    return Bar(100 * low, 100 * (high - low), 100 * mean)


def difference_scale(comparisons: Iterable[Comparison]) -> int:
    """How many points lie between zero and either end of the scale: one scale for all pairs."""
    ends = [abs(end) for c in comparisons for end in (c.interval.low, c.interval.high) if end]
    widest = 100 * max(ends, default=0.1)
    return min(100, max(10, 10 * int(widest / 10 + 0.999)))


def difference_bar(comparison: Comparison, scale: int) -> Bar | None:
    """Draw a difference's interval with zero in the middle, the better side first."""
    pair = pairs.pair_words(comparison)
    if pair.low is None or pair.high is None or pair.difference is None:
        return None
    return Bar(
        start=50 + 50 * pair.low / scale,
        length=50 * (pair.high - pair.low) / scale,
        middle=50 + 50 * pair.difference / scale,
    )


def megabytes(size: int) -> str:
    """A file's size as people say it."""
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.2f} GB"


def example_groups(
    examples: Sequence[Example],
) -> list[tuple[tuple[str, str], list[Example]]]:
    """The examples of each suite and condition, in the order in which they first appear."""
    groups: dict[tuple[str, str], list[Example]] = {}
    for example in examples:
        groups.setdefault((example.suite, example.condition), []).append(example)
    return list(groups.items())
