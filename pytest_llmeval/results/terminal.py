"""The end of a run as the terminal shows it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Literal

from pytest_llmeval.records import Corpus, GateResult, GateVerdict, Metric
from pytest_llmeval.results.judges import JUDGES_ERR, judge_lines, judge_trials_words
from pytest_llmeval.results.pairs import PairWords, basis_words, pair_words, telling_pairs
from pytest_llmeval.results.part_words import telling_lines
from pytest_llmeval.results.report import RunReport
from pytest_llmeval.results.rounding import counted, duration, percent, whole
from pytest_llmeval.results.wording import (
    CORPUS_HEAD,
    asked_again_words,
    corpus_words,
    gate_words,
    headline,
    incomplete_note,
    interval_words,
    kept_words,
    method_words,
    procedures,
    right_words,
    scorers_note,
    several_methods,
    shows_items,
    stopped_words,
)
from pytest_llmeval.visible import visible

Paint = Literal["red", "green", "yellow", "bold"]
_CODES: dict[Paint, str] = {"red": "31", "green": "32", "yellow": "33", "bold": "1"}
_VERDICTS: dict[GateVerdict, tuple[str, Paint]] = {
    "pass": ("PASS", "green"),
    "fail": ("FAIL", "red"),
    "inconclusive": ("INCONCLUSIVE", "yellow"),
    "no_change": ("NO CHANGE", "green"),
}
_VERDICT_WIDTH = 14
_GAP = "  "
_SHOWN_PARTS = 5
_NARROWEST = 16
"""What a condition's name is given at least; a longer one is shortened to it."""


def summary_lines(
    report: RunReport, width: int, *, colour: bool = False, encoding: str = "utf-8"
) -> list[str]:
    """Give the lines that end a run: scores, what is real, gates, and where to read on.

    Made for `width` columns, at least 80. What `encoding` cannot write is given as an escape.
    """
    lines = [
        _title(report, width),
        *_scores(report, width),
        *_corpora(report.corpora, width),
        *_pairs(report, width, colour),
        *_judges(report, width),
        *_gates(report.gates, width, colour),
        *_wrapped(_parts(report), width),
        *_wrapped([f"warning: {warning}" for warning in report.warnings], width),
        *_footer(report, width),
    ]
    return [line.rstrip().encode(encoding, "backslashreplace").decode(encoding) for line in lines]


def _title(report: RunReport, width: int) -> str:
    told = ", ".join(
        (
            counted(report.plan.trials, "trial"),
            *judge_trials_words(report.plan),
            counted(len(report.plan.models), "model"),
            counted(len(report.plan.suites), "suite"),
        )
    )
    return f" llmeval: {told} ".center(width, "=")


# Scores -------------------------------------------------------------------------------------------


def _scores(report: RunReport, width: int) -> list[str]:
    metrics = headline(report.metrics)
    if not metrics:
        return []
    items, named = shows_items(metrics), several_methods(metrics)
    head = ["suite", "condition", "right", *(["items"] if items else []), "%"]
    head += [method_words(m.interval for m in metrics), "no answer", "failed", "tok/s"]
    rows = [_score_row(report, metric, items=items, named=named) for metric in metrics]
    if all(row[-1] == "-" for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    lines = _table(*_spared(head, rows, width), width)
    note, by_which = incomplete_note(metrics), scorers_note(report.metrics)
    lines += _wrapped([f"* {note}"], width) if note else []
    return lines + (_wrapped([by_which], width) if by_which else [])


def _score_row(report: RunReport, metric: Metric, *, items: bool, named: bool) -> list[str]:
    figures = report.figures_of(metric.suite, metric.condition)
    return [
        visible(metric.suite),
        visible(metric.condition),
        right_words(metric),
        *([whole(metric.items)] if items else []),
        percent(metric.mean) + ("*" if metric.incomplete else " "),
        interval_words(metric.interval, named=named),
        whole(sum(metric.no_answer.values())),
        whole(sum(metric.failures.values())),
        whole(figures.tokens_per_second if figures else None),
    ]


def _corpora(corpora: Sequence[Corpus], width: int) -> list[str]:
    """The texts of each suite taken together, where their likelihood was asked."""
    if not corpora:
        return []
    head = ["texts", "condition", *CORPUS_HEAD]
    rows = [[visible(c.suite), visible(c.condition), *corpus_words(c)] for c in corpora]
    return _table(head, rows, width)


def _spared(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Leave out the last columns, `tok/s` and failures that there are none of, where room is short.

    Methods and numbers of items say what an interval is worth, so that they stay.
    """
    while True:
        numbers = [size + len(_GAP) for size in _widths(head, rows)[2:]]
        spare = head[-1] == "tok/s" or (head[-1] == "failed" and all(r[-1] == "0" for r in rows))
        if _NARROWEST + sum(numbers) <= width or not spare:
            return head, rows
        head, rows = head[:-1], [row[:-1] for row in rows]


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lay rows out under their head; where that is too wide, a suite gets a line of its own."""
    widths = _widths(head, rows)
    if sum(widths) + len(_GAP) * (len(widths) - 1) <= width:
        shown = [row[0] for row in rows]
        firsts = ["" if index and shown[index - 1] == s else s for index, s in enumerate(shown)]
        lines = [(first, *row[1:]) for first, row in zip(firsts, rows, strict=True)]
        return [_line(line, widths, 2) for line in (head, *lines)]
    numbers = sum(widths[2:]) + len(_GAP) * len(widths[2:])
    narrow = [f"{head[0]}, {head[1]}", *head[2:]]
    needed = max(widths[1] + len(_GAP), len(narrow[0]))
    widths[1] = min(needed, max(width - numbers, _NARROWEST))
    lines_out = [_line(narrow, widths[1:], 1)]
    for index, row in enumerate(rows):
        if not index or rows[index - 1][0] != row[0]:
            lines_out.append(row[0])
        name = _shortened(row[1], widths[1] - len(_GAP))
        lines_out.append(_line([_GAP + name, *row[2:]], widths[1:], 1))
    return lines_out


def _line(cells: Sequence[str], widths: Sequence[int], names: int) -> str:
    """One line: the first `names` cells to the left, numbers to the right."""
    return _GAP.join(
        cell.ljust(size) if column < names else cell.rjust(size)
        for column, (cell, size) in enumerate(zip(cells, widths, strict=True))
    )


def _shortened(text: str, width: int) -> str:
    """Take letters from the middle: the ends of a condition's name tell most."""
    if len(text) <= width:
        return text
    kept = width - 2
    return f"{text[: (kept + 1) // 2]}..{text[len(text) - kept // 2 :]}"


# Is it real? --------------------------------------------------------------------------------------


def _pairs(report: RunReport, width: int, colour: bool) -> list[str]:
    names = {(m.suite, m.scorer) for m in headline(report.metrics)}
    comparisons = [
        c for c in report.comparisons if (c.suite, c.scorer) in names and c.difference is not None
    ]
    if not comparisons:
        return []
    shown = telling_pairs(comparisons)
    how = ["same items", *procedures(comparisons)]
    told = f"{len(shown)} of {counted(len(comparisons), 'pair')}, all in the report"
    if len(shown) == len(comparisons):
        told = counted(len(shown), "pair")
    items = {suite.name: suite.items for suite in report.plan.suites}
    pairs = [(pair_words(c), basis_words(c, items.get(c.suite))) for c in shown]
    title = _wrapped([f"Is it real? ({', '.join(how)}; {told})"], width, "    ")
    return title + _pair_lines(pairs, width, colour)


def _pair_lines(told: Sequence[tuple[PairWords, str]], width: int, colour: bool) -> list[str]:
    pairs = [pair for pair, _ in told]
    figures = [_difference(pair) for pair in pairs]
    widths = [
        max(len(visible(pair.suite)) for pair in pairs),
        max(len(visible(pair.label)) for pair in pairs),
        max(map(len, figures)),
        max(len(pair.p) for pair in pairs),
    ]
    verdict = max(len(pair.verdict) for pair in pairs)
    own_line = sum(widths) + 4 * len(_GAP) + verdict > width
    lines = []
    for (pair, basis), figure in zip(told, figures, strict=True):
        start = [visible(pair.suite), visible(pair.label)]
        if own_line:
            lines.append(_line(start, widths[:2], 2))
            start = ["  "]
        row = [*start, figure, pair.p]
        sizes = [2, *widths[2:]] if own_line else widths
        line = _line(row, sizes, len(row))
        line += _GAP + _painted(pair.verdict, "bold" if pair.real else None, colour)
        taken = len(line) - (len(_painted("", "bold", True)) if colour and pair.real else 0)
        lines += _advised(line, pair.advice, basis, taken, width)
    return lines


def _advised(line: str, advice: str, basis: str, taken: int, width: int) -> list[str]:
    """Put advice and basis behind a line of `taken` columns, or under it where they do not fit."""
    if not advice and not basis:
        return [line]
    behind = (f"; {advice}" if advice else "") + (f", {basis}" if basis else "")
    if taken + len(behind) <= width:
        return [line + behind]
    indent = " " * 12
    return [line, *(indent + more for more in _wrapped([behind[2:]], width - len(indent), ""))]


def _difference(pair: PairWords) -> str:
    if pair.difference is None:
        return "-"
    if pair.low is None or pair.high is None:
        return f"{pair.difference:+5.1f}"
    return f"{pair.difference:+5.1f} [{pair.low:+5.1f}, {pair.high:+5.1f}]"


def _judges(report: RunReport, width: int) -> list[str]:
    if not report.judges:
        return []
    return _wrapped([f"Judges ({JUDGES_ERR})", *judge_lines(report.judges)], width)


# Gates, and the end -------------------------------------------------------------------------------


def _gates(gates: Sequence[GateResult], width: int, colour: bool) -> list[str]:
    if not gates:
        return []
    lines = ["Gates"]
    for result in gates:
        word, paint = _VERDICTS[result.verdict]
        paint = "red" if result.fails else paint
        indent = " " * _VERDICT_WIDTH
        first, *rest = [
            line
            for told in gate_words(result).splitlines()
            for line in _told(told, width - _VERDICT_WIDTH)
        ]
        lines.append(_painted(word, paint, colour) + indent[len(word) :] + first)
        lines += [indent + line for line in rest]
    return lines


def _told(line: str, width: int) -> list[str]:
    """A line of a gate's message; a command is never wrapped: it is there to be copied."""
    return [visible(line)] if line.startswith("pytest ") else _wrapped([line], width)


def _parts(report: RunReport) -> list[str]:
    """The parts that did not go well, as many as fit below the scores."""
    lines = telling_lines(report.parts)
    more = len(lines) - _SHOWN_PARTS
    rest = f"{more:,} more parts with failures: {_show(report, '--parts')}"
    return lines[:_SHOWN_PARTS] + ([rest] if more > 0 else [])


def _footer(report: RunReport, width: int) -> list[str]:
    facts = [duration(report.seconds)]
    if report.slots_busy is not None:
        facts.append(f"slots busy {percent(report.slots_busy, 0)} %")
    if report.cache_hit is not None:
        facts.append(f"prompt cache {percent(report.cache_hit, 0)} %")
    if report.tokens:
        facts.append(counted(report.tokens, "token"))
    line, hint = ", ".join(facts), _hint(report)
    if hint and len(line) + 3 + len(hint) <= width:
        lines = [f"{line} | {hint}"]
    else:
        lines = [line, *([hint] if hint else [])]
    if report.kept:
        words = kept_words(report.kept, report.answers)
        lines.append(f"{words}; asked again with --llm-set cache.mode=refresh")
    paragraphs = asked_again_words(report.asked_again), stopped_words(report.stopped)
    lines += _wrapped(paragraphs, width)
    # A path is never wrapped: it is there to be clicked or copied.
    return [*lines, *([f"report: {visible(report.path)}"] if report.path else [])]


def _hint(report: RunReport) -> str:
    beside = "; failed ones: --failed" if report.failed else ""
    if report.wrong:
        return f"wrong ones: {_show(report, '--wrong')}{beside}"
    if report.no_answer:
        return f"no answer: {_show(report, '--no-answer')}{beside}"
    return f"failed ones: {_show(report, '--failed')}" if report.failed else ""


def _show(report: RunReport, filter_: str) -> str:
    """The command that shows some of this very run, which need not be the last one any more."""
    folder = visible(report.folder)
    run = f'"{folder}"' if " " in folder else folder
    return f"llmeval show {run} {filter_}"


def _wrapped(paragraphs: Iterable[str], width: int, indent: str = "  ") -> list[str]:
    return [
        visible(line)  # once more: a runner's command may begin a line only now
        for paragraph in paragraphs
        for line in textwrap.wrap(
            visible(paragraph), width, subsequent_indent=indent, break_on_hyphens=False
        )
    ]


def _painted(text: str, paint: Paint | None, colour: bool) -> str:
    return f"\033[{_CODES[paint]}m{text}\033[0m" if colour and paint else text
