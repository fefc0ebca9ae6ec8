"""Scorers of likelihoods: nothing is written, asked is how likely given texts are after the prompt.

Of multiple choice the likeliest option is taken: by the likelihood of its whole text (`choice` with
`by: loglikelihood`), by that over its bytes (`choice_per_byte`) or its tokens (`choice_per_token`).
The first is what a model would rather write, and favours short options; the others do not.

Of a text to be modelled, the item's target, `token_likelihood` is the geometric mean of its tokens'
probabilities (1 / perplexity) and `byte_likelihood` that of its bytes (2 ** -bits per byte). Tokens
are the model's own, so that the first compares models of one tokeniser only, the second any.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from pytest_llmeval.records import Answer, Item, Likelihood, Outcome, Score
from pytest_llmeval.scoring.extraction import brief, targets_of, text_of
from pytest_llmeval.scoring.listed import Listed, accepted_in, listed_in
from pytest_llmeval.scoring.scorer import register

OptionsAs = Literal["text", "label"]
Measure = Callable[[Likelihood, str], float]
"""What decides between options: from the likelihood of a text, and the text, to nats."""


def whole_text(likelihood: Likelihood, _: str) -> float:
    """The log likelihood of the text."""
    return likelihood.total


def per_byte(likelihood: Likelihood, text: str) -> float:
    """The same over the text's bytes in UTF-8, without what stands before it."""
    return likelihood.total / len(text.encode("utf-8", "surrogatepass"))


def per_token(likelihood: Likelihood, _: str) -> float:
    """The same over the model's tokens."""
    return likelihood.total / len(likelihood.token_logprobs)


# Multiple choice ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _OfOptions:
    """Scorers that ask how likely each of an item's options is."""

    name: ClassVar[str]
    options_field: str | None = None
    options_as: OptionsAs = "text"
    delimiter: str | None = None

    def continuations(self, item: Item) -> tuple[str, ...]:
        """The options."""
        return options_to_ask(item, self.options_field, self.options_as)


@register("choice_per_byte")
@dataclass(frozen=True, slots=True)
class ChoicePerByte(_OfOptions):
    """The option that is likeliest by the byte is the target.

    lm-eval's `acc_bytes`; its `acc_norm` is the same, but counts characters.
    """

    version: ClassVar[str] = "1"

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge the likelihoods of an item's options."""
        return likeliest(self.name, answer, item, self.options_field, self.options_as, per_byte)


@register("choice_per_token")
@dataclass(frozen=True, slots=True)
class ChoicePerToken(_OfOptions):
    """The option that is likeliest by the token is the target."""

    version: ClassVar[str] = "1"

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge the likelihoods of an item's options."""
        return likeliest(self.name, answer, item, self.options_field, self.options_as, per_token)


def options_to_ask(item: Item, field: str | None, options_as: OptionsAs) -> tuple[str, ...]:
    """The options of an item as continuations.

    Raises:
        ValueError: there are fewer than two, one is empty, two are the same, or none is the target.

    """
    listed = listed_in(item, field)
    texts = _texts(item, listed, options_as)
    accepted_in(item, listed)
    return texts


def likeliest(
    scorer: str,
    answer: Answer,
    item: Item,
    field: str | None,
    options_as: OptionsAs,
    measure: Measure,
) -> Score:
    """Judge by the likeliest option; where several are likeliest, nothing was chosen."""
    listed = listed_in(item, field)
    accepted = accepted_in(item, listed)
    texts = _texts(item, listed, options_as)
    values = [measure(likelihood_of(text, answer), text) for text in texts]
    told = ", ".join(f"{a} {b:.4g}" for a, b in zip(listed.labels, values, strict=True))
    best = [a for a, b in zip(listed.labels, values, strict=True) if b == max(values)]
    stage = f"likelihoods: {told}"
    if len(best) > 1:
        tied = f"choose: {' and '.join(best)} are equally likely"
        return Score(scorer, "no_answer", 0.0, "unparsed", None, (stage, tied))
    (chosen,) = best
    right = chosen in accepted
    expected = " | ".join(sorted(accepted))
    stages = (stage, f"compare: {chosen} {'=' if right else '≠'} {expected}")
    outcome: Outcome = "right" if right else "wrong"
    return Score(scorer, outcome, float(right), "", chosen, stages)


def _texts(item: Item, listed: Listed, options_as: OptionsAs) -> tuple[str, ...]:
    if not listed.texts:
        raise ValueError(f"item {item.id} has no options whose likelihoods could be asked")
    texts = listed.labels if options_as == "label" else listed.texts
    if len(texts) < 2:
        raise ValueError(f"item {item.id} has a single option, and one of one is no choice")
    for place, text in enumerate(texts):
        label = listed.labels[place]
        if not text:
            raise ValueError(f"option {label} of item {item.id} is empty: it has no likelihood")
        if text in texts[:place]:
            other = listed.labels[texts.index(text)]
            raise ValueError(
                f"options {other} and {label} of item {item.id} are the same, {text!r}, so that "
                f"neither can be the likelier one"
            )
    return texts


# Texts to be modelled -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _OfTarget:
    """Scorers that ask how likely an item's target is."""

    name: ClassVar[str]
    delimiter: str | None = None

    def continuations(self, item: Item) -> tuple[str, ...]:
        """The target."""
        return (_target_text(item),)


@register("token_likelihood")
@dataclass(frozen=True, slots=True)
class TokenLikelihood(_OfTarget):
    """The geometric mean of the probabilities of the target's tokens: 1 / perplexity."""

    version: ClassVar[str] = "1"

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge the likelihood of an item's target."""
        measured = measured_text(answer, item)
        perplexity = math.exp(-measured.nats / measured.tokens)
        told = f"perplexity {perplexity:.4g}: {measured.nats:.4g} nats in {measured.tokens} tokens"
        return _graded(self.name, math.exp(measured.nats / measured.tokens), told)


@register("byte_likelihood")
@dataclass(frozen=True, slots=True)
class ByteLikelihood(_OfTarget):
    """The geometric mean of the probabilities of the target's bytes: 2 ** -bits per byte."""

    version: ClassVar[str] = "1"

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge the likelihood of an item's target."""
        measured = measured_text(answer, item)
        bits = -measured.nats / math.log(2) / measured.bytes
        told = f"{bits:.4g} bits per byte: {measured.nats:.4g} nats in {measured.bytes} bytes"
        return _graded(self.name, math.exp(measured.nats / measured.bytes), told)


@dataclass(frozen=True, slots=True)
class MeasuredText:
    """How likely a text is, in nats, and how long; what stands between prompt and text counts."""

    nats: float
    tokens: int
    bytes: int


def measured_text(answer: Answer, item: Item) -> MeasuredText:
    """Measure an item's target.

    Raises:
        ValueError: the item has no target that is one text, or its likelihood was not asked.

    """
    found = likelihood_of(_target_text(item), answer)
    size = len(found.continuation.encode("utf-8", "surrogatepass"))
    return MeasuredText(found.total, len(found.token_logprobs), size)


def _target_text(item: Item) -> str:
    targets = targets_of(item)
    if len(targets) > 1:
        what = f"item {item.id} has {len(targets)} targets"
        raise ValueError(f"{what}, and a likelihood is that of one text; give it one")
    text = text_of(targets[0])
    if not text:
        raise ValueError(f"the target of item {item.id} is empty: it has no likelihood")
    return text


def _graded(scorer: str, value: float, told: str) -> Score:
    # Beyond the digits of a float: certain, or impossible.
    outcome: Outcome = "right" if value == 1 else "wrong" if value == 0 else "graded"
    return Score(scorer, outcome, value, "", None, (told,))


# What was asked -----------------------------------------------------------------------------------


def likelihood_of(text: str, answer: Answer) -> Likelihood:
    """The likelihood of a text among those of an answer, whatever stands before it there.

    Raises:
        ValueError: it was not asked.

    """
    # What is before them is the same for all, so that no other one ends with this text as soon.
    ending = [each for each in answer.likelihoods if each.continuation.endswith(text)]
    if not ending:
        raise ValueError(f"how likely {brief(repr(text))} is was not asked")
    return min(ending, key=lambda each: len(each.continuation))
