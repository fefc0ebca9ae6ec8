"""The gates of a suite: what each requires, in one of the forms that a gate can have."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_llmeval.inputs.datasets import slug_of
from pytest_llmeval.inputs.documents import Document, KeyPath
from pytest_llmeval.inputs.mistakes import Mistakes, shown, unknown
from pytest_llmeval.inputs.sections import share
from pytest_llmeval.inputs.suite_file import GateSection, SuiteFile
from pytest_llmeval.records import GateKind, GateSpec, ScorerSpec

#: The metrics of `at_most`: measured at the endpoint, whatever the scorers say.
MEASURED: tuple[GateKind, ...] = ("latency", "tokens", "failures")

#: The keys that say what is required, of which a gate has one, and what may stand beside them.
_REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "at_least": (),
    "not_worse_than": ("margin",),
    "at_most": ("percentile",),
}
_PERCENTILE = 95.0
_MILLISECONDS = {"ms": 1.0, "s": 1000.0, "min": 60_000.0}


def read_gates(
    file: SuiteFile, scorers: Sequence[ScorerSpec], mistakes: Mistakes, document: Document
) -> tuple[GateSpec, ...]:
    """The gates, each on a metric that there is, no two with the same name.

    The first of a kind on a condition has the plain name; on another metric, or percentile, a gate
    has that in its name too. So a gate that is added at the end leaves the names of the others.
    """
    gates: dict[str, GateSpec] = {}
    for index, section in enumerate(file.gates):
        keys = ("gates", index)
        gate = _gate(section, file.inconclusive, scorers, keys, mistakes, document.line_of(keys))
        if gate is None:
            continue
        first = gates.get(gate.name)
        if first is not None and _detail(first) != _detail(gate):
            gate = replace(gate, detail=_detail(gate))
        if gate.name in gates:
            before = gates[gate.name].line
            mistakes.add(keys, f"a gate named {gate.name!r} stands on line {before} already")
        gates.setdefault(gate.name, gate)
    return tuple(gates.values())


def _detail(gate: GateSpec) -> str:
    """What tells a gate from others of its kind on its condition, as a part of a test's name."""
    return slug_of(gate.metric) if gate.percentile is None else f"p{gate.percentile:g}"


def _gate(
    section: GateSection,
    inconclusive: Any,
    scorers: Sequence[ScorerSpec],
    keys: KeyPath,
    mistakes: Mistakes,
    line: int | None,
) -> GateSpec | None:
    """The gate that a section is; None after noting why it is none."""
    try:
        requirement = _requirement(section)
        _check_metric(section, requirement, [scorer.name for scorer in scorers])
        kind, limit = _limit(section, requirement)
    except _Mistake as mistake:
        mistakes.add((*keys, *mistake.keys), mistake.words)
        return None
    return GateSpec(
        section.only,
        section.metric,
        limit,
        line,
        kind,
        (section.percentile or _PERCENTILE) if kind == "latency" else None,
        section.inconclusive or inconclusive,
    )


class _Mistake(Exception):
    """What is wrong with one gate, and under which of its keys."""

    def __init__(self, words: str, *keys: str):
        self.words = words
        self.keys = keys


def _requirement(section: GateSection) -> str:
    """The one key that says what is required, after a look at those beside it."""
    given = [key for key in _REQUIREMENTS if getattr(section, key) is not None]
    if not given:
        raise _Mistake(f"a gate needs one of {', '.join(_REQUIREMENTS)}, found none of them")
    if len(given) > 1:
        raise _Mistake(f"a gate requires one thing, found {' and '.join(given)}: write two gates")
    for requirement, companions in _REQUIREMENTS.items():
        for key in companions:
            if requirement != given[0] and getattr(section, key) is not None:
                raise _Mistake(f"{key} goes with {requirement}, not with {given[0]}", key)
    if section.percentile is not None and section.metric != "latency":
        raise _Mistake("percentile goes with metric: latency", "percentile")
    return given[0]


def _check_metric(section: GateSection, requirement: str, scorers: Sequence[str]) -> None:
    metric = section.metric
    if requirement == "at_most":
        if metric not in MEASURED:
            hint = "; a scorer's mean has at_least" if metric in scorers else ""
            raise _Mistake(unknown("metric of at_most", metric, MEASURED) + hint, "metric")
    # Without readable scorers that mistake is told already.
    elif scorers and metric not in scorers:
        hint = "; a metric is one of the scorers under `score`"
        hint = f"; {metric} goes with at_most" if metric in MEASURED else hint
        raise _Mistake(unknown("metric", metric, scorers) + hint, "metric")


def _limit(section: GateSection, requirement: str) -> tuple[GateKind, float]:
    if requirement == "not_worse_than":
        return "not_worse_than", _margin(section)
    if requirement == "at_least":
        assert section.at_least is not None
        return "at_least", section.at_least
    kind = next(name for name in MEASURED if name == section.metric)
    try:
        return kind, _READ[kind](section.at_most)
    except ValueError as problem:
        raise _Mistake(f"at_most: {problem}", "at_most") from None


def _margin(section: GateSection) -> float:
    margin = section.margin
    if margin is None:
        raise _Mistake("not_worse_than needs a margin: by how much it may be worse, such as 0.03")
    if margin == 0:
        raise _Mistake(
            "margin: 0 asks to prove that nothing is worse by any amount, which no number of items "
            "can; write how much worse you would accept, such as 0.03",
            "margin",
        )
    return margin


def _time(value: Any) -> float:
    """A time in milliseconds; without its unit it could be either, so that it needs one."""
    units = "|".join(_MILLISECONDS)
    text = value if isinstance(value, str) else ""
    found = re.fullmatch(rf"([0-9]+(?:\.[0-9]+)?)\s*({units})", text)
    milliseconds = float(found[1]) * _MILLISECONDS[found[2]] if found else 0.0
    if not milliseconds:
        raise ValueError(f"expected a time such as 2 s or 800 ms, found {shown(value)}")
    return milliseconds


def _tokens(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise ValueError(f"expected a number of tokens, found {shown(value)}")
    return float(value)


_READ: Mapping[GateKind, Callable[[Any], float]] = {
    "latency": _time,
    "tokens": _tokens,
    "failures": share,
}
