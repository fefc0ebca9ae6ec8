"""What a finished run says about the spread of its comparisons, for planning the next one."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.folder import SIGNIFICANCE
from pytest_llmeval.results.manifest import read_manifest
from pytest_llmeval.results.significance import read_significance
from pytest_llmeval.results.tables import read_table

_Key = tuple[str, str, str]
"""Suite, scorer and condition."""

_Values = Mapping[_Key, Mapping[str, Sequence[float]]]
"""The scores of each item, one a repeat."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a run tells beside its comparisons: repeats by suite and condition, means, the variance
    of repeats, the suites that stopped early. `values` are read where something rests on them.
    """

    repeats: Mapping[tuple[str, str], int]
    shares: Mapping[_Key, float | None]
    noise: Mapping[_Key, float]
    stopped: Collection[str]
    values: _Values


@dataclass(frozen=True, slots=True)
class Pair:
    """Two conditions of a run on the items both answered.

    `disagreement` is the share of items on which they disagree, or the mean squared difference of
    graded scores; `disagreed` counts these items, None for graded ones. `variance` is that of the
    differences. `noise` is the variance of one answer to an item, first and second, None where
    every item was asked once; `repeats` says how often. `shares` are the two means. `stopped`: the
    suite did so early, at an item that these very answers chose.
    """

    suite: str
    scorer: str
    first: str
    second: str
    items: int
    disagreement: float
    disagreed: int | None
    variance: float
    repeats: int
    noise: tuple[float, float] | None
    shares: tuple[float | None, float | None]
    stopped: bool


def pairs_of(run: Path) -> list[Pair]:
    """All pairs of a run that share two items or more.

    Raises `RunError` when there are none, and when the run cannot be read or has not ended.
    """
    data = read_significance(run)
    try:
        told = _told(run, data)
        found = [_pair(row, told) for row in data["comparisons"] if row["items"] > 1]
    except (KeyError, TypeError) as error:
        raise RunError(f"{run / SIGNIFICANCE}: is none of ours: {error!r}") from error
    if not found:
        raise RunError(
            f"the run {run.name} has no pairs to plan by: that takes two conditions (models, "
            "prompts or samplings) that answered two items or more in common. Say instead how "
            "often they may disagree: --disagreement 0.1"
        )
    return found


def _told(run: Path, data: Mapping[str, Any]) -> _Told:
    repeats = {(a.suite, a.condition): a.repeats for a in read_manifest(run).plan.asked}
    wanted = any(count > 1 for count in repeats.values()) or data.get("stopping")
    values = _values(run) if wanted else {}
    return _Told(
        repeats=repeats,
        shares={(m["suite"], m["scorer"], m["condition"]): m["mean"] for m in data["metrics"]},
        noise=_noise(values),
        stopped=[each["suite"] for each in data.get("stopping", []) if each["not_needed"]],
        values=values,
    )


def _pair(row: Mapping[str, Any], told: _Told) -> Pair:
    suite, scorer, n, difference = row["suite"], row["scorer"], row["items"], row["difference"]
    first, second = ((suite, scorer, row[side]) for side in ("first", "second"))
    if row["only_first"] is None:
        disagreed, variance = None, _variance(row["interval"], n, told.values, first, second)
        disagreement = difference**2 + variance * (n - 1) / n
    else:
        disagreed = row["only_first"] + row["only_second"]
        disagreement = disagreed / n
        variance = disagreement - difference**2
    known = first in told.noise and second in told.noise
    return Pair(
        suite=suite,
        scorer=scorer,
        first=row["first"],
        second=row["second"],
        items=n,
        disagreement=disagreement,
        disagreed=disagreed,
        variance=variance,
        repeats=min(told.repeats.get((suite, row[side]), 1) for side in ("first", "second")),
        noise=(told.noise[first], told.noise[second]) if known else None,
        shares=(told.shares.get(first), told.shares.get(second)),
        stopped=suite in told.stopped,
    )


def _variance(
    interval: Mapping[str, Any], n: int, values: _Values, first: _Key, second: _Key
) -> float:
    """The variance of graded differences, taken back from their t interval.

    Of a suite that might stop early it is counted again, since its interval does not tell. They
    have none where all are the same: then the interval is another procedure's.
    """
    if interval["method"] == "betting":
        one, other = values.get(first, {}), values.get(second, {})
        return _spread([_mean(one[item]) - _mean(other[item]) for item in one if item in other])
    if interval["method"] != "paired t":
        return 0.0
    from scipy.special import stdtrit

    reach = (interval["high"] - interval["low"]) / 2
    return float(n * (reach / stdtrit(n - 1, (1 + interval["level"]) / 2)) ** 2)


def _values(run: Path) -> _Values:
    values: dict[_Key, dict[str, list[float]]] = {}
    for path in sorted(run.glob("*/per_item_scores.csv")):
        for row in read_table(path):
            if row["value"]:
                items = values.setdefault((row["suite"], row["scorer"], row["condition"]), {})
                items.setdefault(row["item_id"], []).append(float(row["value"]))
    return values


def _noise(values: _Values) -> dict[_Key, float]:
    """The mean variance of the repeats of an item, for each scorer and condition of a suite."""
    found = {
        key: [each for each in items.values() if len(each) > 1] for key, items in values.items()
    }
    return {
        key: math.fsum(map(_spread, repeated)) / len(repeated)
        for key, repeated in found.items()
        if repeated
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _spread(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
