"""Scorers by name: the Protocol and the registry.

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
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pytest_llmeval.errors import MissingExtraError, ScorerError
from pytest_llmeval.records import Answer, Item, Outcome, Score, ScorerSpec
from pytest_llmeval.scoring.options import checked_options

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
    "choice_per_byte": "pytest_llmeval.scoring.likelihood",
    "choice_per_token": "pytest_llmeval.scoring.likelihood",
    "token_likelihood": "pytest_llmeval.scoring.likelihood",
    "byte_likelihood": "pytest_llmeval.scoring.likelihood",
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
    "judge": "pytest_llmeval.scoring.judge",
    "pairwise": "pytest_llmeval.scoring.pairwise",
    "embedding_similarity": "pytest_llmeval.scoring.similarity",
}

_registered: dict[str, type[Scorer]] = {}

#: Cut off, so that nobody looks in it for words that decline.
_ANY_ANSWER = Answer("-", "length")


class NeedsModelError(Exception):
    """Only a model can say something about this answer: see `second_wave`."""


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
    """Make a frozen dataclass available to suites under a name, and give it that name.

    A file that is run again registers its scorers again. Raises ScorerError when something is no
    scorer, and when a name, or a class, has been given away already: scores would be another's.
    """

    def add(scorer_class: ScorerClass) -> ScorerClass:
        _check_class(scorer_class, name)
        _check_name(scorer_class, name)
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

    They look at the target first, so any answer will do; one of likelihoods says what it would ask.
    A scorer of somebody else's is not called for nothing: it may be slow.

    Raises:
        ScorerError: an item has no target, or one that the scorer cannot use.

    """
    own = [scorer for scorer in scorers if is_built_in(scorer)]
    for item in items:
        for scorer in own:
            try:
                if not asked_by(scorer, item):
                    scorer(_ANY_ANSWER, item)
            except NeedsModelError:
                continue
            except ValueError as error:
                raise ScorerError(f"score: {scorer.name}: {error}", path=path) from error


def asked_by(scorer: Scorer, item: Item) -> tuple[str, ...]:
    """The texts whose likelihood a scorer asks of an item; none for one that judges an answer.

    Raises:
        ValueError: the item lacks what would be asked.

    """
    continuations: Callable[[Item], tuple[str, ...]] | None
    continuations = getattr(scorer, "continuations", None)
    return () if continuations is None else continuations(item)


def needs_callers_thread(scorer: Scorer) -> bool:
    """Whether a scorer may only be called where tests are: one of somebody else's without a limit.

    It may rely on that thread, as `signal` does.
    """
    return not is_built_in(scorer) and getattr(scorer, "time_limit", TIME_LIMIT) is None


def is_built_in(scorer: Scorer) -> bool:
    """Say whether a scorer is one of this package."""
    return type(scorer).__module__ == BUILT_IN.get(scorer.name)


def score_of(scorer: str, value: float) -> Score:
    """Make the score of a plain value: 1 (or True) is right, 0 wrong, anything between graded.

    Raises:
        ValueError: the value is NaN or outside [0, 1].

    """
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"a score lies between 0 and 1, {scorer} gave {value!r}")
    outcome: Outcome = "right" if value == 1 else "wrong" if value == 0 else "graded"
    return Score(scorer, outcome, float(value))


def _check_time_limit(scorer: Scorer) -> None:
    limit = getattr(scorer, "time_limit", TIME_LIMIT)
    if limit is not None and not (isinstance(limit, int | float) and 0 < limit < math.inf):
        raise ValueError(f"time_limit must be more than 0 seconds, or None, got {limit!r}")


# Registering --------------------------------------------------------------------------------------


def _check_class(scorer_class: Any, name: str) -> None:
    what = f"{name} cannot be registered: "
    if not (isinstance(scorer_class, type) and is_dataclass(scorer_class)):
        what += "a scorer is a class decorated with @dataclass, its fields being its options"
        raise ScorerError(f"{what}; got {scorer_class!r}.")
    if not any("__call__" in vars(each) for each in scorer_class.__mro__):
        what += (
            f"{scorer_class.__qualname__} has no __call__(self, answer, item) that gives a Score"
        )
        raise ScorerError(f"{what}.")
    version = getattr(scorer_class, "version", None)
    if not (isinstance(version, str) and version):
        what += f'{scorer_class.__qualname__} needs a line version: ClassVar[str] = "1"'
        raise ScorerError(f"{what}, to be changed whenever it may judge otherwise.")


def _check_name(scorer_class: type[Scorer], name: str) -> None:
    theirs = f"{scorer_class.__module__}.{scorer_class.__qualname__}"
    if name in BUILT_IN and scorer_class.__module__ != BUILT_IN[name]:
        what = f"{theirs} cannot be registered as {name}, a scorer of this package"
        raise ScorerError(f"{what}. Give it another name.")
    before = _registered.get(name)
    if before is not None and _stands_beside(before, scorer_class):
        what = f"two scorers are called {name}: {before.__module__}.{before.__qualname__} ("
        what += f"{_origin(before)[1]}) and {theirs} ({_origin(scorer_class)[1]})"
        raise ScorerError(f"{what}. Rename one.")
    for other, registered in _registered.items():
        if registered is scorer_class and other != name:
            what = f"{theirs} is registered already, as {other}, and cannot be {name} too"
            raise ScorerError(f"{what}. Make a subclass for the second name.")


def _origin(scorer_class: type[Scorer]) -> tuple[str, str]:
    """What a class is called, and the file that defines it."""
    code = getattr(scorer_class.__call__, "__code__", None)
    return scorer_class.__qualname__, code.co_filename if code else scorer_class.__module__


def _stands_beside(before: type[Scorer], scorer_class: type[Scorer]) -> bool:
    """Say whether another class has a name, and is not the same one of a file that was run again.

    What belongs to a module that is gone, the conftest of an earlier session, has none any more.
    """
    module = sys.modules.get(before.__module__)
    its_own = getattr(before.__call__, "__globals__", None)
    is_loaded = module is not None and (its_own is None or its_own is vars(module))
    return is_loaded and _origin(before) != _origin(scorer_class)


# Finding a scorer by its name ---------------------------------------------------------------------


def _find(name: str) -> Callable[..., Scorer]:
    if name in BUILT_IN:
        _check_not_shadowed(name)
        import_module(BUILT_IN[name])
    elif name not in _registered:
        _load_entry_point(name)
    return _registered[name]


@lru_cache
def _check_not_shadowed(name: str) -> None:
    """See that no installed package offers a scorer under the name of one of this package."""
    for point in metadata.entry_points(group=ENTRY_POINTS):
        if point.name == name:
            what = f"{_package(point)} offers a scorer called {name}, as one of pytest-llmeval is"
            raise ScorerError(f"{what}; which one is meant nobody can tell. Rename or remove it.")


def _load_entry_point(name: str) -> None:
    points = list(metadata.entry_points(group=ENTRY_POINTS))
    found = [point for point in points if point.name == name]
    if not found:
        known = sorted({*BUILT_IN, *_registered, *(point.name for point in points)})
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ScorerError(f"no scorer is called {name!r}.{hint} There are: {', '.join(known)}.")
    if len({point.value for point in found}) > 1:
        offers = " and ".join(f"{_package(point)} ({point.value})" for point in found)
        raise ScorerError(f"two packages offer a scorer called {name}: {offers}. Remove one.")
    try:
        loaded: Any = found[0].load()
    except Exception as error:
        where = f"{found[0].value} (entry point of another package)"
        raise ScorerError(f"scorer {name} cannot be loaded from {where}: {error}") from error
    register(name)(loaded)


def _package(point: metadata.EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist else point.value
