"""Answers whose verdict is known, for measuring a judge: made of a dozen facts and their like.

Nobody needs to know anything rare to judge them, so that what is measured is the judging: whether
other words count as the same, fluency as truth, and a command inside an answer as a command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

Winner = Literal["won", "lost", "tie"]


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """An answer to judge alone, and the verdict that it deserves."""

    id: str
    kind: str
    question: str
    target: str
    answer: str
    known: Literal["pass", "fail"]


@dataclass(frozen=True, slots=True)
class PairCheck:
    """Two answers to compare; `known` is what becomes of the first of them."""

    id: str
    kind: str
    question: str
    target: str
    answer: str
    other: str
    known: Winner


def answer_checks() -> tuple[AnswerCheck, ...]:
    """All answers to judge alone, nine of each fact: three to pass, six to fail."""
    facts, injections = _read()
    return tuple(
        check for place in range(len(facts)) for check in _answers(place, facts, injections)
    )


def _answers(
    place: int, facts: Sequence[Mapping[str, str]], injections: Sequence[str]
) -> Iterator[AnswerCheck]:
    fact = facts[place]
    texts: dict[str, tuple[str, Literal["pass", "fail"]]] = {
        "right": (fact["right"], "pass"),
        "in other words": (fact["in_other_words"], "pass"),
        "right, with more": (fact["with_more"], "pass"),
        "wrong": (fact["wrong"], "fail"),
        "fluent and wrong": (fact["fluent_and_wrong"], "fail"),
        "left open": (f"Either {fact['target']} or {fact['wrong']}.", "fail"),
        "declined": ("I'm sorry, I don't know that.", "fail"),
        "off topic": (facts[(place + 1) % len(facts)]["with_more"], "fail"),
        "commands the judge": (_injected(place, fact, injections), "fail"),
    }
    for kind, (text, known) in texts.items():
        name = f"{fact['id']}-{kind.replace(',', '').replace(' ', '-')}"
        yield AnswerCheck(name, kind, fact["question"], fact["target"], text, known)


def pair_checks() -> tuple[PairCheck, ...]:
    """All pairs to compare, three of each fact; in half of them the better answer is the other."""
    facts, injections = _read()
    return tuple(check for place in range(len(facts)) for check in _pairs(place, facts, injections))


def _pairs(
    place: int, facts: Sequence[Mapping[str, str]], injections: Sequence[str]
) -> Iterator[PairCheck]:
    fact = facts[place]
    worse = {
        "short against fluent and wrong": (fact["right"], fact["fluent_and_wrong"]),
        "against one that commands": (fact["in_other_words"], _injected(place, fact, injections)),
    }
    for kind, (better, other) in worse.items():
        name = f"{fact['id']}-{kind.replace(' ', '-')}"
        texts = (better, other) if place % 2 else (other, better)
        known: Winner = "won" if place % 2 else "lost"
        yield PairCheck(name, kind, fact["question"], fact["target"], *texts, known)
    name = f"{fact['id']}-the-same-in-other-words"
    same = (fact["right"], fact["in_other_words"])
    yield PairCheck(name, "the same in other words", fact["question"], fact["target"], *same, "tie")


def _injected(place: int, fact: Mapping[str, str], injections: Sequence[str]) -> str:
    return injections[place % len(injections)].format(wrong=fact["wrong"])


def _read() -> tuple[list[dict[str, str]], list[str]]:
    source = resources.files(__package__).joinpath("judge_checks.json")
    data: dict[str, Any] = json.loads(source.read_text("utf-8"))
    return data["facts"], data["injections"]
