"""What a suite asks follows from its scorers: answers, or how likely given texts are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_llmeval.errors import ScorerError
from pytest_llmeval.records import Item, Suite
from pytest_llmeval.scoring.scorer import Scorer, asked_by


def with_continuations(suite: Suite, scorers: Sequence[Scorer]) -> Suite:
    """The suite with the texts whose likelihood its scorers ask, and what stands before them.

    `scorers` are those of its specs, in their order. Raises ScorerError, with the line, where some
    ask for likelihoods and some for answers, and where they want other things before one text.
    """
    if not suite.items or not scorers:
        return suite
    asking = [bool(_asked_by(scorer, suite.items[0], suite)) for scorer in scorers]
    if not any(asking):
        return suite
    _refuse_mixtures(suite, asking)
    _refuse_idle_keys(suite)
    return replace(
        suite,
        continuations={item.id: _asked(scorers, item, suite) for item in suite.items},
        delimiter=_delimiter(suite, scorers),
    )


def _asked(scorers: Sequence[Scorer], item: Item, suite: Suite) -> tuple[str, ...]:
    """Each text once, whoever asks for it."""
    texts = (text for scorer in scorers for text in _asked_by(scorer, item, suite))
    return tuple(dict.fromkeys(texts))


def _asked_by(scorer: Scorer, item: Item, suite: Suite) -> tuple[str, ...]:
    try:
        return asked_by(scorer, item)
    except ValueError as error:
        raise ScorerError(f"score: {scorer.name}: {error}", path=suite.origin) from error


def _refuse_mixtures(suite: Suite, asking: Sequence[bool]) -> None:
    for spec, asks in zip(suite.scorers, asking, strict=True):
        if asks != asking[0]:
            first = suite.scorers[0].name
            wants = {True: "likelihoods", False: "an answer that is written"}
            raise ScorerError(
                f"scorer {spec.name} judges {wants[asks]}, and {first}, the first of the suite, "
                f"{wants[asking[0]]}: a suite asks for one of the two. Give the other scorers a "
                f"suite file of their own over the same items",
                path=suite.origin,
                line=spec.line,
            )


def _refuse_idle_keys(suite: Suite) -> None:
    """Keys that speak of an answer that is written, in a suite that asks for none."""
    keys = ("json_schema", "grammar", "logprobs")
    for key in keys:
        if getattr(suite, key) is not None:
            spec = suite.scorers[0]
            raise ScorerError(
                f"scorer {spec.name} asks for likelihoods, and nothing is written that {key} could "
                f"be about: remove {key}",
                path=suite.origin,
                line=spec.line,
            )


def _delimiter(suite: Suite, scorers: Sequence[Scorer]) -> str | None:
    found = [getattr(scorer, "delimiter", None) for scorer in scorers]
    for spec, delimiter in zip(suite.scorers, found, strict=True):
        if delimiter != found[0]:
            raise ScorerError(
                f"scorer {spec.name} has the delimiter {delimiter!r}, and {suite.scorers[0].name} "
                f"{found[0]!r}: all scorers of a suite judge the same texts, so give them the same",
                path=suite.origin,
                line=spec.line,
            )
    return found[0]
