"""Snapshots of scores for syrupy: a test fails when they became worse, not when they flicker.

    def test_quality(llm_snapshot):
        assert {"fr": 1, "de": 0} == llm_snapshot      # item id -> score

The fixture is `snapshot.use_extension(LlmevalSnapshotExtension)`. `--snapshot-update` accepts the
scores of a test that fails. It leaves a snapshot that is matched as it is: what is tolerated today
does not become what tomorrow is measured by. To accept such scores all the same, delete the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from syrupy.extensions.json import JSONSnapshotExtension

from pytest_llmeval.results.rounding import counted, difference_words, p_words, percent
from pytest_llmeval.results.wording import procedure
from pytest_llmeval.statistics.decline import Decline, decline

_OUTCOMES = {"right": 1.0, "wrong": 0.0, "no_answer": 0.0}

_NAMED = 20
"""So many items are named in a message."""


class LlmevalSnapshotExtension(JSONSnapshotExtension):
    """Scores by item id, one file for each assertion, matched by a paired test.

    `margin` is the share by which scores may become worse without being called so.
    """

    file_extension = "scores"
    margin: ClassVar[float] = 0.0

    @classmethod
    def with_margin(cls, margin: float) -> type[LlmevalSnapshotExtension]:
        """The extension with a margin: 0.02 tolerates two points more than chance explains."""
        decline({}, {}, margin)  # refuses what is no margin
        # syrupy's controller finds the extensions of its workers by their names.
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "margin": margin}
        return type(cls.__name__, (cls,), names)

    def serialize(self, data: Any, **filters: Any) -> str:
        """The scores as JSON, sorted by item id.

        Raises ValueError for a score that is missing or outside [0, 1], TypeError for a list.
        """
        return str(super().serialize({"scores": scores_by_item(data)}, **filters))

    def matches(self, *, serialized_data: Any, snapshot_data: Any) -> bool:
        """The same items, and not significantly worse."""
        then, now = _read(snapshot_data), _read(serialized_data)
        if then is None or now is None or then.keys() != now.keys():
            return False
        return not decline(then, now, self.margin).is_worse

    def diff_lines(self, serialized_data: Any, snapshot_data: Any) -> Iterator[str]:
        """Why it does not match: other items, or the difference, its interval, p, and the items."""
        now, then = _read(serialized_data) or {}, _read(snapshot_data)
        if then is None:
            if snapshot_data:
                yield "the snapshot holds no scores"
            yield f"accept these scores with --snapshot-update: {_average(now)}"
            return
        if then.keys() != now.keys():
            yield "not the same items as in the snapshot; accept them with --snapshot-update"
            yield from _named("new", now.keys() - then.keys())
            yield from _named("gone", then.keys() - now.keys())
        yield f"then {_average(then)}, now {_average(now)}"
        yield from _difference(decline(then, now, self.margin), self.margin)
        both = then.keys() & now.keys()
        yield from _named("worse", [item for item in both if now[item] < then[item]])
        yield from _named("better", [item for item in both if now[item] > then[item]])


def scores_by_item(data: Any) -> dict[str, float]:
    """The score of every item as a number, sorted by id; 0 and 1 are whole.

    `data` maps ids to scores: numbers from 0 to 1, truth values, the outcomes right, wrong and
    no_answer, `Score` records, or a list of these for an item that was asked several times.
    """
    if not isinstance(data, Mapping):
        raise TypeError(
            f"a snapshot of scores maps item ids to scores, got {type(data).__name__}: without ids "
            f"nobody can tell which score belongs to which"
        )
    if not data:
        raise ValueError("a snapshot of scores needs at least one item")
    found = {str(item): _score(item, value) for item, value in data.items()}
    if len(found) < len(data):
        raise ValueError("two items have the same id once it is written as text")
    return dict(sorted(found.items()))


def _score(item: object, value: Any) -> float:
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError(f"item {item}: an empty list is no score")
        scores = [_score(item, each) for each in value]
        return math.fsum(scores) / len(scores)
    if hasattr(value, "outcome") and hasattr(value, "value"):
        value = value.outcome if value.value is None else value.value
    if value is None or value == "failure":
        raise ValueError(
            f"item {item} has no score: a failure says nothing about the answer, and a snapshot "
            f"needs an outcome for every item"
        )
    score = _OUTCOMES.get(value, math.nan) if isinstance(value, str) else _number(value)
    if not 0 <= score <= 1:
        allowed = ", ".join(_OUTCOMES)
        raise ValueError(f"item {item}: a score is from 0 to 1, or {allowed}; got {value!r}")
    return int(score) if score in (0, 1) else score


def _number(value: Any) -> float:
    """As a float, whatever library it is from; NaN for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _read(text: Any) -> dict[str, float] | None:
    """The scores that a snapshot holds; None for what is none."""
    try:
        return scores_by_item(json.loads(text)["scores"])
    except (ValueError, TypeError, KeyError):
        return None


# Words --------------------------------------------------------------------------------------------


def _average(scores: Mapping[str, float]) -> str:
    mean = math.fsum(scores.values()) / len(scores) if scores else None
    return f"{percent(mean)} % of {counted(len(scores), 'item')}"


def _difference(found: Decline, margin: float) -> Iterator[str]:
    if found.difference is None:
        return
    verdict = "significantly worse" if found.is_worse else "not significantly worse"
    beyond = f" than the margin of {percent(margin)} points" if margin else ""
    yield (
        f"difference {difference_words(found.difference, found.interval)} points (90 %, "
        f"{procedure(found.interval.method)}), one-sided {p_words(found.p)} "
        f"({procedure(found.test)}): {verdict}{beyond}"
    )


def _named(what: str, items: Iterable[str]) -> Iterator[str]:
    names: Sequence[str] = sorted(items)
    if names:
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        yield f"{what}: {', '.join(names[:_NAMED])}{more}"
