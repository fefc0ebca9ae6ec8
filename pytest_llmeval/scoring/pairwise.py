"""The scorer that asks a model which of two answers is better: pairwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pytest_llmeval.records import Answer, Item, Score
from pytest_llmeval.scoring.extraction import brief, grade, no_answer, read, targets_of
from pytest_llmeval.scoring.judge import DATA, check_judging, expected
from pytest_llmeval.scoring.quoting import code_of, quoted
from pytest_llmeval.scoring.scorer import NeedsModelError, register, score_of
from pytest_llmeval.scoring.second_wave import Question, Shown, unjudged
from pytest_llmeval.scoring.verdicts import (
    UnreadableError,
    Verdict,
    how_to_reply,
    read_verdict,
    schema_of,
)

#: The value of `against` that means the item's own target.
TARGET = "target"

Winner = Literal["answer", "other", "tie"]

_WORDS = ("first", "second", "tie")

_USUAL_RUBRIC = """\
The better answer is the one that does more of what was asked for, and is right. How long it is, \
how it is laid out and which of the two comes first do not matter. Where they are equally good, or \
equally bad, it is a tie."""

_TEMPLATE = (
    """\
You compare two answers to a question, by this rubric and nothing else:

{{ rubric }}

"""
    + DATA
    + """

{{ question }}{% if target %}

{{ target }}{% endif %}

{{ first }}

{{ second }}

{{ how }}"""
)


@register("pairwise")
@dataclass(frozen=True, slots=True)
class Pairwise:
    """A model of the config says which of two answers is better: this one, or that of `against`.

    That is another condition of the suite, or the item's target. Both orders are asked; who wins in
    both wins (1), who loses in both loses (0), and everything else is a tie (0.5). An answer that
    is empty loses against one that is not. A reply that cannot be read in either order is a failure
    of the judge.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    role: ClassVar[Literal["judge"]] = "judge"
    count: ClassVar[int] = 2
    against: str = TARGET
    rubric: str | None = None
    model: str | None = None
    prompt: str | None = None
    explain: bool = True
    max_tokens: int = 512

    def __post_init__(self) -> None:
        if not self.against:
            raise ValueError("against is empty; it names a condition, or is: target")
        check_judging(self.rubric, self.max_tokens)

    def __call__(self, answer: Answer, item: Item) -> Score:
        """Say what goes without a model and without other answers; raises NeedsModelError."""
        if self.against == TARGET:
            targets_of(item)
            reading = read(answer)
            if reading.missing is not None:
                return no_answer(self.name, reading, reading.missing)
        raise NeedsModelError

    def at_once(self, shown: Shown) -> Score | None:
        """The score where nobody is asked: an answer is missing, or both are the same."""
        if shown.other is None:
            return None
        mine, others = read(shown.answer), read(shown.other)
        if mine.missing is not None and others.missing is None:
            return no_answer(self.name, mine, mine.missing)
        if mine.missing is None and others.missing is not None:
            return replace(score_of(self.name, 1.0), stages=(f"{self.against} gave no answer",))
        if mine.missing is not None or mine.raw.strip() == others.raw.strip():
            why = "gave no answer either" if mine.missing else "gave the same answer"
            return self.tie(f"{self.against} {why}")
        return None

    def tie(self, why: str) -> Score:
        """A tie that nobody had to be asked about."""
        return replace(score_of(self.name, 0.5), extracted="tie", stages=(why,))

    def template(self) -> str:
        """The template of a question."""
        return self.prompt or _TEMPLATE

    def needed_names(self) -> tuple[str, ...]:
        """Both answers, and how to reply."""
        return ("first", "second", "how")

    def question(self, shown: Shown, number: int, *, as_json: bool) -> Question:
        """The question with the answer first (1), or with the other one first (2)."""
        target, texts, code = self._quoted(shown)
        first, second = texts if number == 1 else reversed(texts)
        values: dict[str, Any] = {
            "rubric": (self.rubric or _USUAL_RUBRIC).strip(),
            "question": quoted("question", shown.question, code),
            "target": target and quoted("expected answer", target, code),
            "first": quoted("first answer", first, code),
            "second": quoted("second answer", second, code),
            "how": how_to_reply(_WORDS, code, as_json=as_json, explain=self.explain),
            "item": dict(shown.item.fields),
        }
        return Question(values, schema_of(_WORDS, explain=self.explain) if as_json else None)

    def score(self, shown: Shown, replies: Sequence[Answer], judge: str, *, as_json: bool) -> Score:
        """The score of the verdicts in both orders."""
        verdicts: list[Verdict] = []
        for order, reply in zip(("first", "second"), replies, strict=True):
            try:
                verdicts.append(self._verdict(shown, reply, as_json=as_json))
            except UnreadableError as error:
                words = f"{judge} gave no verdict that can be read, the answer being {order}"
                return unjudged(self.name, f"{words}: {error}")
        one = _winner(verdicts[0].word, swapped=False)
        other = _winner(verdicts[1].word, swapped=True)
        consistent = one == other
        value = {"answer": 1.0, "other": 0.0, "tie": 0.5}[one] if consistent else 0.5
        told = " and ".join(verdict.word for verdict in verdicts)
        how = "" if consistent else ", which is a tie"
        because = f", because: {brief(verdicts[0].reason)}" if verdicts[0].reason else ""
        measured = (
            f"{judge} prefers, being shown this answer first and second: {told}{how}{because}"
        )
        if value == 0.5:
            return self.tie(measured)
        word = "won" if value else "lost"
        targets = [expected(shown.item)]
        return replace(
            grade(self.name, read(shown.answer), value, measured, targets), extracted=word
        )

    def preferences(
        self, shown: Shown, replies: Sequence[Answer | None], *, as_json: bool
    ) -> tuple[Winner | None, Winner | None]:
        """Which answer is better in either order; None where no verdict can be read."""
        found: list[Winner | None] = []
        for swapped, reply in zip((False, True), replies, strict=True):
            try:
                verdict = reply and self._verdict(shown, reply, as_json=as_json)
            except UnreadableError:
                verdict = None
            found.append(_winner(verdict.word, swapped=swapped) if verdict else None)
        return found[0], found[1]

    def _verdict(self, shown: Shown, reply: Answer, *, as_json: bool) -> Verdict:
        return read_verdict(reply, _WORDS, self._quoted(shown)[2], as_json=as_json)

    def _quoted(self, shown: Shown) -> tuple[str, tuple[str, str], str]:
        """The target, both answers, and the code of the marks around them.

        Against the target, that is an answer and not told as the expected one.
        """
        target = expected(shown.item)
        mine = read(shown.answer).raw.strip()
        if shown.other is None:
            target, other = "", target.split("\nor: ", maxsplit=1)[0]
        else:
            other = read(shown.other).raw.strip()
        code = code_of((shown.question, target, mine, other), shown.seed)
        return target, (mine, other), code


def _winner(word: str, *, swapped: bool) -> Winner:
    if word == "tie":
        return "tie"
    return "answer" if (word == "first") != swapped else "other"
