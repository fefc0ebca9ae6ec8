"""From what a model wrote to a judgement, in stages that are written down.

    missing or empty -> reasoning stripped -> fences and markup -> extracted -> compared

The first three are `read`, the last two `judge`. What cannot be judged is `no_answer`, with:

- `empty`: there is no text (also when all of it was reasoning that ended in order);
- `truncated`: the token limit ended the answer before it committed itself. A right answer stays
  right however it ended, and a wrong one stays wrong once it was committed ("Answer: 7 because
  ..."); only what was picked up without a commitment (the last number so far, the text compared as
  a whole) may have become right had there been more room;
- `refusal`: a complete text that declines instead of committing itself (see `declining`): "I don't
  know", "I can't help with that". A right answer stays right, and where a target itself declines
  nothing is a refusal;
- `unparsed`: any other complete text in which nothing was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pytest_llmeval.records import Answer, Item, NoAnswerReason, Outcome, Score
from pytest_llmeval.scoring.declining import declines
from pytest_llmeval.scoring.triggers import matches_at

Value = TypeVar("Value")

_NAMES = "think|thinking|thoughts?|scratchpad"
#: Names that an answer may use itself: reasoning only where they open the text.
_LOOSE_NAMES = "reasoning|reflection|analysis"
_TAG = re.compile(
    rf"""(?P<loose> <\s*(?:{_LOOSE_NAMES})(?:\s[^<>]*)?> )
       | (?P<loose_close> <\s*/\s*(?:{_LOOSE_NAMES})\s*> )
       | (?P<open> <\s*(?:{_NAMES})(?:\s[^<>]*)?> | \[THINK\] | ◁think▷
            | <\|begin_of_thought\|> | <\|channel\|>analysis<\|message\|> )
       | (?P<close> <\s*/\s*(?:{_NAMES})\s*> | \[/THINK\] | ◁/think▷
            | <\|end_of_thought\|> | <\|channel\|>final<\|message\|> )""",
    re.IGNORECASE | re.VERBOSE,
)
#: How every match of `_TAG` begins.
_TAG_STARTS = ("<", "[think", "[/think", "◁")
#: Tokens of a chat template that leaked into the text, at its very end.
_TEMPLATE_TOKENS = re.compile(r"(?:\s*(?:<\|[a-z_]{1,40}\|>|</s>|<end_of_turn>))+\s*\Z")
_WHOLE_FENCE = re.compile(r"\s*(```+|~~~+)[^\n`~]*\n(.*?)\n?\s*\1\s*\Z", re.DOTALL)
_FENCE_LINE = re.compile(r"^[ \t]*(?:```|~~~).*(?:\n|\Z)", re.MULTILINE)
_WHOLE_ANSWER = re.compile(r"\s*<answer>(.*)</answer>\s*\Z", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is left to judge: the text after reasoning (`raw`) and without fences (`text`).

    `cut` says that the token limit ended it; `missing` is why there is nothing to judge.
    """

    text: str
    raw: str
    cut: bool
    stages: tuple[str, ...] = ()
    missing: NoAnswerReason | None = None

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
    cut = answer.finish_reason == "length"
    if not answer.text or answer.text.isspace():
        return _nothing(answer, cut=cut)
    stages: list[str] = []
    text, unclosed = answer.text, False
    if "<" in text or "[" in text or "◁" in text:
        text, unclosed = _without_reasoning(text, stages)
        if not text:
            reason = _why_missing(cut=cut, unclosed=unclosed)
            return Reading("", "", cut, tuple(stages), reason)
    rest = _without_markup(text, stages)
    missing = None if rest and not rest.isspace() else _why_missing(cut=cut, unclosed=False)
    return Reading(rest, text, cut, tuple(stages), missing)


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
    if reason == "refusal" or (reason and value == 0):
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
        return "truncated"
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


def _nothing(answer: Answer, *, cut: bool) -> Reading:
    if answer.tool_calls:
        note = f"missing: no text, {len(answer.tool_calls)} tool call(s)"
        return Reading("", "", cut, (note,), _why_missing(cut=cut, unclosed=True))
    if answer.reasoning and cut:
        return Reading("", "", cut, ("missing: cut off while reasoning",), "truncated")
    return Reading("", "", cut, ("missing: no text",), "empty")


def _why_missing(*, cut: bool, unclosed: bool) -> NoAnswerReason:
    if cut:
        return "truncated"
    return "unparsed" if unclosed else "empty"


def _without_reasoning(text: str, stages: list[str]) -> tuple[str, bool]:
    """Drop what stands in reasoning tags, and everything before a closing tag that has no opening.

    Tags with a loose name count only where they open the text, or what is left of it.

    One pass over the tags, so that a model that repeats them thousands of times costs nothing.
    Returns the rest, stripped when anything was dropped, and whether a tag was left open.
    """
    kept: list[str] = []
    position, inside, tags, begun, opened = 0, "", 0, False, False
    for tag in matches_at(_TAG, text, _TAG_STARTS):
        kind = tag.lastgroup or ""
        if not inside and not begun:
            begun = bool(text[position : tag.start()].strip())
        if (kind == "loose" and (inside or begun)) or (kind == "loose_close" and inside != "loose"):
            continue
        tags += 1
        if kind in ("open", "loose"):
            opened = True
            if not inside:
                kept.append(text[position : tag.start()])
                inside = kind
        else:
            if not inside:
                kept.clear()
                begun = False
            inside = ""
            position = tag.end()
    if not tags:
        return text, False
    if not inside:
        kept.append(text[position:])
    how = ", never closed" if inside else "" if opened else ", never opened"
    stages.append(f"reasoning: stripped{how}")
    rest = _TEMPLATE_TOKENS.sub("", "".join(kept)).strip()
    return rest, bool(inside)


def _without_markup(text: str, stages: list[str]) -> str:
    """Unwrap a text that is one fenced block or one <answer>; drop the fences of inner blocks."""
    before = text
    if "<" in text:
        text = _TEMPLATE_TOKENS.sub("", text)
        whole = _WHOLE_ANSWER.match(text)
        if whole and "<answer>" not in whole[1].lower():
            text = whole[1].strip()
    if "```" in text or "~~~" in text:
        whole = _WHOLE_FENCE.match(text)
        text = whole[2] if whole else _FENCE_LINE.sub("", text)
    if text != before:
        stages.append("markup: fences or wrapping tags removed")
    return text
