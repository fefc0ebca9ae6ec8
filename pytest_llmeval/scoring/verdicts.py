"""What a judge is told to say, and reading it strictly.

A verdict is one word of a scale. Where the judge's engine obeys a JSON Schema it is a field of an
object; elsewhere it is the last line, behind a mark with a code that only the question holds, so
that a line which the judge copies from the answer is none. Whatever is anything else is no verdict:
nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmeval.records import Answer
from pytest_llmeval.scoring.extraction import brief, read
from pytest_llmeval.scoring.json_reading import json_in, read_json


class UnreadableError(ValueError):
    """A judge's reply holds no verdict; its text says why, and quotes it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's word, and its reason in its own words, "" where it gave none."""

    word: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scale:
    """The words a judge may say, from the worst, which is worth 0, to the best, worth 1."""

    words: tuple[str, ...]

    def value(self, word: str) -> float:
        """What a word is worth: its place between the worst and the best."""
        return self.words.index(word) / (len(self.words) - 1)


_NUMBERS = re.compile(r"(\d{1,3})\.\.(\d{1,3})")


def read_scale(given: str | Sequence[str]) -> Scale:
    """A scale as a suite writes it: `pass/fail`, `1..5`, or a list of words from worst to best.

    Raises ValueError for anything else.
    """
    if given == "pass/fail":
        return Scale(("fail", "pass"))
    numbers = _NUMBERS.fullmatch(given) if isinstance(given, str) else None
    if numbers is not None and int(numbers[1]) < int(numbers[2]) <= int(numbers[1]) + 100:
        return Scale(tuple(map(str, range(int(numbers[1]), int(numbers[2]) + 1))))
    if isinstance(given, str):
        expected = "pass/fail, numbers such as 1..5, or a list of words from the worst to the best"
        raise ValueError(f"scale must be {expected}, got {given!r}")  # noqa: TRY004 - of its text
    words = tuple(given)
    folded = [word.strip().casefold() for word in words]
    if len(set(folded)) < max(2, len(words)) or not all(folded) or any("\n" in w for w in words):
        raise ValueError(f"scale needs two different words or more, each in a line, got {given!r}")
    return Scale(words)


def schema_of(words: Sequence[str], *, explain: bool) -> dict[str, Any]:
    """The JSON Schema of a reply. The reason comes first, so that the verdict rests on it."""
    properties: dict[str, Any] = {"reason": {"type": "string"}} if explain else {}
    properties["verdict"] = {"type": "string", "enum": list(words)}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def how_to_reply(words: Sequence[str], code: str, *, as_json: bool, explain: bool) -> str:
    """The sentences that tell a judge what to say."""
    told = ", ".join(f'"{word}"' for word in words)
    if as_json:
        reason = '"reason": why, in one or two sentences, ' if explain else ""
        return f'Reply with one JSON object and nothing else: {{{reason}"verdict": one of {told}}}.'
    why = "Say why in one or two sentences. Then end" if explain else "Reply"
    return f"{why} with one line of this form, the verdict being one of {told}:\n{_mark(code)} ..."


def read_verdict(reply: Answer, words: Sequence[str], code: str, *, as_json: bool) -> Verdict:
    """The verdict of a reply, as `how_to_reply` has asked for it. Raises UnreadableError."""
    if reply.finish_reason == "length":
        raise UnreadableError(
            f"it was cut off at its token limit; raise max_tokens of the scorer. "
            f"It ends: {brief(reply.text[-60:])!r}"
        )
    if not reply.text.strip():
        raise UnreadableError("it is empty")
    return _from_json(reply, words) if as_json else _from_line(reply, words, code)


def _from_json(reply: Answer, words: Sequence[str]) -> Verdict:
    found = json_in(read_json(reply))
    if found.problem is not None:
        raise UnreadableError(f"it is {found.problem}: {brief(reply.text)!r}")
    if not isinstance(found.value, Mapping) or "verdict" not in found.value:
        raise UnreadableError(f"it is no object with a verdict: {brief(reply.text)!r}")
    given, reason = found.value["verdict"], found.value.get("reason")
    # A number is as good as its text, as the words of a scale of numbers are.
    is_word = isinstance(given, str | int) and not isinstance(given, bool)
    return Verdict(
        _known(str(given) if is_word else "", words, reply),
        reason if isinstance(reason, str) else "",
    )


def _from_line(reply: Answer, words: Sequence[str], code: str) -> Verdict:
    lines = read(reply).raw.strip().splitlines() or [""]
    mark = re.escape(_mark(code))
    # Judges like to set the line in bold, to quote the word, and to end it with a full stop.
    found = re.fullmatch(rf"[*_#>\s]*{mark}[*_\s]*(.+?)[*_\s]*", lines[-1])
    if found is None:
        raise UnreadableError(
            f"its last line does not begin with {_mark(code)}: {brief(lines[-1])!r}"
        )
    word = found[1].removesuffix(".").strip("\"'`*_ ")
    return Verdict(_known(word, words, reply), "\n".join(lines[:-1]).strip())


def _known(given: str, words: Sequence[str], reply: Answer) -> str:
    for word in words:
        if word.strip().casefold() == given.strip().casefold():
            return word
    allowed = ", ".join(words)
    raise UnreadableError(f"its verdict is none of {allowed}: {brief(reply.text)!r}")


def _mark(code: str) -> str:
    return f"VERDICT {code}:"
