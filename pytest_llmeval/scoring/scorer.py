"""Scorers by name: the Protocol, the registry, and judging a prediction with several of them.

A scorer of one's own is a frozen dataclass, its fields being its options:

    @register("shouts")
    @dataclass(frozen=True, slots=True)
    class Shouts:
        name: ClassVar[str]
        version: ClassVar[str] = "1"
        at_least: int = 1

        def __call__(self, answer: Answer, item: Item) -> Score:
            return score_of(self.name, answer.text.count("!") >= self.at_least)

It may live in a `conftest.py`, or in a package that declares it in the entry-point group
`pytest_llmeval.scorers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pytest_llmeval.errors import MissingExtraError, ScorerError
from pytest_llmeval.records import Answer, Item, Outcome, Prediction, Score, ScorerSpec
from pytest_llmeval.scoring.options import checked_options
from pytest_llmeval.scoring.time_limits import within

ENTRY_POINTS = "pytest_llmeval.scorers"

#: Seconds that a scorer of somebody else's has for one answer, unless it says otherwise.
TIME_LIMIT = 60.0

#: Where the scorers of this package are defined; a module is imported when one of its is wanted.
BUILT_IN: Mapping[str, str] = {
    "exact": "pytest_llmeval.scoring.text",
    "normalized_exact": "pytest_llmeval.scoring.text",
    "includes": "pytest_llmeval.scoring.text",
    "regex": "pytest_llmeval.scoring.pattern",
    "numeric": "pytest_llmeval.scoring.numeric",
    "choice": "pytest_llmeval.scoring.choice",
    "tool_call": "pytest_llmeval.scoring.tool_calls",
    "token_f1": "pytest_llmeval.scoring.overlap",
    "rouge": "pytest_llmeval.scoring.overlap",
    "edit_similarity": "pytest_llmeval.scoring.overlap",
    "bleu": "pytest_llmeval.scoring.translation",
    "chrf": "pytest_llmeval.scoring.translation",
    "ter": "pytest_llmeval.scoring.translation",
    "json_valid": "pytest_llmeval.scoring.structured",
    "json_schema": "pytest_llmeval.scoring.structured",
    "json_fields": "pytest_llmeval.scoring.structured",
    "math": "pytest_llmeval.scoring.mathematics",
    "refusal": "pytest_llmeval.scoring.refusals",
    "abstention": "pytest_llmeval.scoring.refusals",
}

_registered: dict[str, type[Scorer]] = {}

_ANY_ANSWER = Answer("-", "stop")


class Scorer(Protocol):
    """Judges answers. `version` changes whenever the same answer may be judged differently.

    A scorer may have a `time_limit` too, in seconds, as a class variable or as one of its options;
    without it `TIME_LIMIT` holds. It is called in a thread of its own, so that the run goes on when
    it does not come back; with a limit of None it is called in pytest's own thread, and bounds
    itself.
    """

    name: ClassVar[str]
    version: ClassVar[str]

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item; raise what you like when the item itself is at fault."""
        ...


ScorerClass = TypeVar("ScorerClass", bound="type[Scorer]")


def register(name: str) -> Callable[[ScorerClass], ScorerClass]:
    """Make a frozen dataclass available to suites under a name, and give it that name."""

    def add(scorer_class: ScorerClass) -> ScorerClass:
        if not (isinstance(scorer_class, type) and is_dataclass(scorer_class)):
            what = f"{name} cannot be registered: a scorer is a class decorated with @dataclass"
            raise ScorerError(f"{what}, its fields being its options; got {scorer_class!r}.")
        scorer_class.name = name
        _registered[name] = scorer_class
        return scorer_class

    return add


def make_scorer(spec: ScorerSpec, *, path: Path | str | None = None) -> Scorer:
    """Build the scorer that a suite names; `path` is the suite file, for messages.

    Raises:
        ScorerError: no scorer has this name, or it does not take such an option.
        MissingExtraError: it needs a package that is not installed.

    """
    try:
        scorer_class = _find(spec.name)
        scorer = scorer_class(**checked_options(scorer_class, spec.name, spec.options))
        _check_time_limit(scorer)
    except MissingExtraError as error:
        place = f"{path}:{spec.line}: " if path and spec.line else f"{path}: " if path else ""
        what = f"{place}{error.what}"
        raise MissingExtraError(what, package=error.package, extra=error.extra) from None
    except ScorerError as error:
        raise ScorerError(error.message, path=path, line=spec.line) from None
    except ValueError as error:
        message = f"scorer {spec.name}: {error}"
        raise ScorerError(message, path=path, line=spec.line) from error
    return scorer


def make_scorers(specs: Sequence[ScorerSpec], path: Path | str | None = None) -> tuple[Scorer, ...]:
    """Build the scorers of a suite, the headline first. A name stands once: it names the metric."""
    seen: set[str] = set()
    for spec in specs:
        if spec.name in seen:
            message = (
                f"scorer {spec.name} is listed twice, and its name is the name of its metric. "
                "List it once; a second suite file over the same items can hold other options."
            )
            raise ScorerError(message, path=path, line=spec.line)
        seen.add(spec.name)
    return tuple(make_scorer(spec, path=path) for spec in specs)


def check_targets(scorers: Iterable[Scorer], items: Iterable[Item], path: Path | str) -> None:
    """See that the scorers of this package can judge every item, before anything is asked.

    They look at the target first, so any answer will do. A scorer of somebody else's is not called
    for nothing: it may be slow.

    Raises:
        ScorerError: an item has no target, or one that the scorer cannot use.

    """
    own = [scorer for scorer in scorers if _is_built_in(scorer)]
    for item in items:
        for scorer in own:
            try:
                scorer(_ANY_ANSWER, item)
            except ValueError as error:
                raise ScorerError(f"score: {scorer.name}: {error}", path=path) from error


def score_prediction(
    scorers: Iterable[Scorer], prediction: Prediction, item: Item
) -> tuple[Score, ...]:
    """Judge one stored prediction with every scorer, in their order.

    A failed prediction is a failure under every scorer, with its own reason. A scorer that raises,
    that gives something which is no score, or that takes longer than its time limit, is a failure
    with the reason `scorer`: it says nothing about the answer. What went wrong is the last of the
    score's stages.
    """
    return tuple(_score(scorer, prediction, item) for scorer in scorers)


def needs_callers_thread(scorer: Scorer) -> bool:
    """Whether a scorer may only be called where tests are: one of somebody else's without a limit.

    It may rely on that thread, as `signal` does.
    """
    return not _is_built_in(scorer) and getattr(scorer, "time_limit", TIME_LIMIT) is None


def close_scorers(scorers: Iterable[Scorer]) -> None:
    """Let go of what scorers of this package keep beside themselves, such as a process."""
    for scorer in scorers:
        if _is_built_in(scorer) and hasattr(scorer, "close"):
            scorer.close()


def score_of(scorer: str, value: float) -> Score:
    """Make the score of a plain value: 1 (or True) is right, 0 wrong, anything between graded.

    Raises:
        ValueError: the value is NaN or outside [0, 1].

    """
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"a score lies between 0 and 1, {scorer} gave {value!r}")
    outcome: Outcome = "right" if value == 1 else "wrong" if value == 0 else "graded"
    return Score(scorer, outcome, float(value))


def _score(scorer: Scorer, prediction: Prediction, item: Item) -> Score:
    if prediction.answer is None:
        failure = prediction.failure
        reason, message = (failure.reason, failure.message) if failure else ("error", "no answer")
        return Score(scorer.name, "failure", None, reason, stages=(message,))
    try:
        score = _called(scorer, prediction.answer, item)
        _check(score)
    except Exception as error:  # noqa: BLE001 - a scorer may raise anything; the run goes on
        message = f"{type(error).__name__}: {error}"
        return Score(scorer.name, "failure", None, "scorer", stages=(message,))
    return score


def _called(scorer: Scorer, answer: Answer, item: Item) -> Score:
    """What a scorer says; one of somebody else's within its time limit.

    Those of this package are bounded by themselves, and spared the thread.
    """
    limit = None if _is_built_in(scorer) else getattr(scorer, "time_limit", TIME_LIMIT)
    if limit is None:
        return scorer(answer, item)
    message = f"scorer {scorer.name} took longer than its time_limit of {limit:g} s"
    return within(limit, partial(scorer, answer, item), message)


def _is_built_in(scorer: Scorer) -> bool:
    return type(scorer).__module__ == BUILT_IN.get(scorer.name)


def _check_time_limit(scorer: Scorer) -> None:
    limit = getattr(scorer, "time_limit", TIME_LIMIT)
    if limit is not None and not (isinstance(limit, int | float) and 0 < limit < math.inf):
        raise ValueError(f"time_limit must be more than 0 seconds, or None, got {limit!r}")


def _check(score: Score) -> None:
    """Refuse what would corrupt a mean: no Score, NaN, or a value that denies its outcome."""
    if not isinstance(score, Score):
        raise TypeError(f"a scorer gives a Score, got {score!r}")
    value = score.value
    if score.outcome == "failure":
        agrees = value is None
    elif value is None or not math.isfinite(value):
        agrees = False
    elif score.outcome == "graded":
        agrees = 0.0 < value < 1.0
    else:
        agrees = value == (1.0 if score.outcome == "right" else 0.0)
    if not agrees:
        raise ValueError(f"outcome {score.outcome} does not go with the value {value!r}")


# Finding a scorer by its name ---------------------------------------------------------------------


def _find(name: str) -> Callable[..., Scorer]:
    if name not in _registered:
        if name in BUILT_IN:
            import_module(BUILT_IN[name])
        else:
            _load_entry_point(name)
    return _registered[name]


def _load_entry_point(name: str) -> None:
    found = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
    if name not in found:
        known = sorted({*BUILT_IN, *_registered, *found})
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ScorerError(f"no scorer is called {name!r}.{hint} There are: {', '.join(known)}.")
    try:
        loaded: Any = found[name].load()
    except Exception as error:
        where = f"{found[name].value} (entry point of another package)"
        raise ScorerError(f"scorer {name} cannot be loaded from {where}: {error}") from error
    register(name)(loaded)
