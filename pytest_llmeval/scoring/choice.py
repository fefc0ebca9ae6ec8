"""The scorer choice: which option of a multiple-choice question an answer picks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.commitment import committed_option
from pytest_llmeval.scoring.declining import declines
from pytest_llmeval.scoring.extraction import (
    Finding,
    Reading,
    judge,
    read,
)
from pytest_llmeval.scoring.likelihood import OptionsAs, likeliest, options_to_ask, whole_text
from pytest_llmeval.scoring.listed import accepted_in, listed_in
from pytest_llmeval.scoring.scorer import register
from pytest_llmeval.scoring.text import composed

#: One word, or a phrase of up to three: no sentence, no list.
_SHORT = re.compile(r"""["'“‘*`(]*[^\W_][\w.'’-]*(?:[ ][\w.'’-]+){0,2}["'”’*`).]*""")
#: Words that decline to answer, or answer in a way that no single option does.
_DECLINING = frozenset((
    "none", "neither", "nor", "both", "all", "any", "every", "either", "not", "no", "yes",
    "nothing", "unknown", "unsure", "unclear", "sorry", "idk", "i", "it", "cannot",
    "can't", "don't", "can’t", "don’t", "maybe", "perhaps", "hm", "hmm", "ok", "okay",
    "well", "error", "n.a", "null", "undefined"
))  # fmt: skip


@register("choice")
@dataclass(frozen=True, slots=True)
class Choice:
    """The option that an answer commits itself to is the target; `commitment` says how it is read.

    `options_field` is the item's field that holds the options: a list (labelled A, B, C ...) or a
    mapping from label to text. One that is named must be there; where none is, it is `options`, and
    an item without that is judged by letters A to J alone.

    A finished answer of one to three words that is none of the options ("fig", "E"), and resembles
    none, commits itself to something that is not there: it is wrong. Anything longer, anything that
    declines ("none of these"), and anything where the options' texts are unknown, is unparsed.

    The target is a label, or the text of an option. A number is never taken for a position in the
    list: datasets disagree on whether they count from 0 or 1.

    `by: loglikelihood` asks for no answer but how likely each option is, and takes the likeliest;
    `likelihood` says how, and what the other options mean.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    by: Literal["text", "loglikelihood"] = "text"
    options_field: str | None = None
    options_as: OptionsAs = "text"
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if self.by == "text" and (self.options_as != "text" or self.delimiter is not None):
            raise ValueError("options_as and delimiter go with by: loglikelihood only")

    def continuations(self, item: Item) -> tuple[str, ...]:
        """The options, where their likelihoods are asked."""
        if self.by == "text":
            return ()
        return options_to_ask(item, self.options_field, self.options_as)

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Judge an answer to an item."""
        if self.by == "loglikelihood":
            return likeliest(
                self.name, answer, item, self.options_field, self.options_as, whole_text
            )
        listed = listed_in(item, self.options_field)
        accepted = accepted_in(item, listed)
        find = partial(_find, listed.labels, tuple(map(composed, listed.texts)))
        return judge(self.name, read(answer), find, accepted.__contains__, sorted(accepted))


def _find(labels: Sequence[str], texts: Sequence[str], reading: Reading) -> Finding[str] | None:
    found = committed_option(reading.text, labels, texts)
    if found is None and texts and not reading.cut:
        answer = reading.text.strip()
        if _is_something_else(answer, labels, texts):
            return Finding("", answer, "a whole answer that is no option", committed=True)
    return found


def _is_something_else(answer: str, labels: Sequence[str], texts: Sequence[str]) -> bool:
    """Say whether a whole answer is plainly a word or phrase that is no option and like none."""
    if len(answer) > 60 or not _SHORT.fullmatch(answer) or declines(answer):
        return False
    words = [word.strip("\"'“”‘’*`().") for word in answer.casefold().split()]
    known = {label.casefold() for label in labels}
    if _DECLINING.intersection(words) or known.intersection(answer.casefold().split("-")):
        return False
    if known.intersection(words):
        return False
    return not any(_are_alike(word, text.casefold()) for word in words for text in texts)


def _are_alike(word: str, option: str) -> bool:
    if len(word) < 3 or len(option) < 3:
        return word == option
    return word in option or option in word
