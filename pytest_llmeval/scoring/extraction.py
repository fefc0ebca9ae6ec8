"""From what a model wrote to a judgement, in stages that are written down.

    missing or empty -> reasoning stripped -> fences and markup -> extracted -> compared

The first three are `read`, the last two `judge`. What cannot be judged is `no_answer`, with:

- `empty`: there is no text (also when all of it was reasoning that ended in order);
- `truncated`: the token limit ended the answer before it committed itself. A right answer stays
  right however it ended, and a wrong one stays wrong once it was committed ("Answer: 7 because
  ..."); only what was picked up without a commitment (the last number so far, the text compared as
  a whole) may have become right had there been more room;
- `refusal`: the server's content filter ended the answer, which is judged like one that was cut
  off; or a complete text that declines instead of committing itself (see `declining`): "I don't
  know", "I can't help with that". A right answer stays right, and where a target itself declines
  nothing is a refusal;
- `unparsed`: any other complete text in which nothing was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pytest_llmeval.records import Answer, Item, NoAnswerReason, Outcome, Score
from pytest_llmeval.scoring.declining import declines
from pytest_llmeval.scoring.markup import without_markup, without_reasoning

Value = TypeVar("Value")

#: What ends an answer before the model does, and the reason when it gives nothing to judge.
_CUT: Mapping[str, NoAnswerReason] = {"length": "truncated", "content_filter": "refusal"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What is left to judge: the text after reasoning (`raw`) and without fences (`text`).

    `cut` says that something else than the model ended it, the token limit or (`filtered`) the
    server's content filter; `missing` is why there is nothing to judge.
    """

    text: str
    raw: str
    cut: bool
    stages: tuple[str, ...] = ()
    missing: NoAnswerReason | None = None
    filtered: bool = False

    @property
    def ways(self) -> tuple[str, ...]:
        """The text in both ways to read it, each once."""
        return (self.text,) if self.text == self.raw else (self.text, self.raw)


@dataclass(frozen=True, slots=True)
class Finding(Generic[Value]):
    """What was taken from a text: the value, how it looks there, and how it was found.

    `committed` is False when more text might still have replaced it.
    """

    value: Value
    shown: str
    how: str
    committed: bool


def read(answer: Answer) -> Reading:
    """Take an answer through the stages before extraction."""
    cut = cut_by(answer)
    if not answer.text or answer.text.isspace():
        return _nothing(answer, cut)
    stages: list[str] = []
    text, unclosed = answer.text, False
    if "<" in text or "[" in text or "◁" in text:
        text, unclosed = without_reasoning(text, stages)
        if not text:
            reason = cut or ("unparsed" if unclosed else "empty")
            return _reading("", "", cut, stages, reason)
    rest = without_markup(text, stages)
    missing = None if rest and not rest.isspace() else cut or "empty"
    return _reading(rest, text, cut, stages, missing)


def cut_by(answer: Answer) -> NoAnswerReason | None:
    """Say why an answer that something else than the model ended may lack what was to come."""
    return _CUT.get(answer.finish_reason)


def judge(
    scorer: str,
    reading: Reading,
    find: Callable[[Reading], Finding[Value] | None],
    matches: Callable[[Value], bool],
    targets: Sequence[str],
) -> Score:
    """Take a reading through the last two stages: extract with `find`, compare with `matches`.

    `targets` are shown in the record of the comparison.
    """
    if reading.missing is not None:
        return no_answer(scorer, reading, reading.missing)
    finding = find(reading)
    if finding is None:
        return no_answer(scorer, reading, unread(reading, targets), "extract: nothing found")
    right = matches(finding.value)
    sign = "=" if right else "≠"
    expected = " | ".join(targets)
    stages = (
        *reading.stages,
        f"extract: {finding.how}",
        f"compare: {brief(finding.shown)} {sign} {brief(expected)}",
    )
    if right:
        return Score(scorer, "right", 1.0, "", finding.shown, stages)
    reason = None if finding.committed else _excuse(reading, targets)
    if reason:
        return Score(scorer, "no_answer", 0.0, reason, finding.shown, stages)
    return Score(scorer, "wrong", 0.0, "", finding.shown, stages)


def grade(
    scorer: str, reading: Reading, value: float, measured: str, targets: Sequence[str]
) -> Score:
    """Score how near a text as a whole comes to a target: `value` in [0, 1], told by `measured`.

    A text that declines is no answer, and so is one that was cut off before it had anything in
    common with the target; any other part of an answer is worth what it is.
    """
    if reading.missing is not None:
        return no_answer(scorer, reading, reading.missing)
    cut = ["the answer was cut off and is judged as far as it goes"] if reading.cut else []
    stages = (*reading.stages, "extract: the whole text", f"compare: {measured}", *cut)
    shown = reading.text.strip()
    reason = None if value == 1 else _excuse(reading, targets)
    if reason and (value == 0 or not reading.cut):  # it declines, or was cut off too early
        return Score(scorer, "no_answer", 0.0, reason, shown, stages)
    outcome: Outcome = "right" if value == 1 else "wrong" if value == 0 else "graded"
    return Score(scorer, outcome, float(value), "", shown, stages)


def no_answer(scorer: str, reading: Reading, reason: NoAnswerReason, *stages: str) -> Score:
    """Score an answer that gives nothing to judge."""
    return Score(scorer, "no_answer", 0.0, reason, None, (*reading.stages, *stages))


def unread(reading: Reading, targets: Sequence[str] = ()) -> NoAnswerReason:
    """Say why nothing was found in a text that is there."""
    return _excuse(reading, targets) or "unparsed"


def _excuse(reading: Reading, targets: Sequence[str]) -> NoAnswerReason | None:
    """Say why a text that is not right, and commits itself to nothing, is no answer, if it is."""
    if reading.cut:
        return "refusal" if reading.filtered else "truncated"
    if declines(reading.text) and not any(map(declines, targets)):
        return "refusal"
    return None


def whole_text(reading: Reading) -> Finding[str]:
    """Extract nothing: the text is judged as a whole, so that more of it might change all."""
    return Finding(reading.text, reading.text.strip(), "the whole text", committed=False)


def as_read(reading: Reading) -> Finding[Reading]:
    """Extract nothing, and leave open in which of its `ways` the text is judged."""
    return Finding(reading, reading.text.strip(), "the whole text", committed=False)


def brief(text: str) -> str:
    """Make a text fit into a stage: one line of at most 60 characters."""
    line = " ".join(text.split()) if "\n" in text else text
    return line if len(line) <= 60 else f"{line[:57]}..."


def targets_of(item: Item) -> tuple[Any, ...]:
    """The accepted targets of an item: a list means any of them.

    Raises:
        ValueError: the item has none.

    """
    target = item.target
    targets = tuple(target) if isinstance(target, list | tuple) else (target,)
    if not targets or any(each is None for each in targets):
        raise ValueError(f"item {item.id} has no target to compare with")
    return targets


def text_of(target: Any) -> str:
    """A target as text; true and false as JSON writes them."""
    if isinstance(target, str):
        return target
    if isinstance(target, bool):
        return "true" if target else "false"
    return str(target)


# The stages ---------------------------------------------------------------------------------------


def _reading(
    text: str,
    raw: str,
    cut: NoAnswerReason | None,
    stages: Sequence[str],
    missing: NoAnswerReason | None,
) -> Reading:
    return Reading(text, raw, cut is not None, tuple(stages), missing, cut == "refusal")


def _nothing(answer: Answer, cut: NoAnswerReason | None) -> Reading:
    if answer.tool_calls:
        note = f"missing: no text, {len(answer.tool_calls)} tool call(s)"
        return _reading("", "", cut, [note], cut or "unparsed")
    if cut == "refusal":
        return _reading("", "", cut, ["missing: no text, ended by the content filter"], cut)
    if answer.reasoning and cut:
        return _reading("", "", cut, ["missing: cut off while reasoning"], cut)
    return _reading("", "", cut, ["missing: no text"], "empty")
