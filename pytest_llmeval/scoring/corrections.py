r"""What an answer says about itself: "Wait, no", "That is wrong", "On second thought".

- "That is wrong" is said of the number right before it. Where that is the one that the answer has
  come to, all before it is taken back; another one ("If you got 41, that is wrong") is only denied,
  unless the answer is stated anew right behind ("It is 43");
- "Wait, no" and "I made a mistake" take back all before them, "I made a mistake" only where it
  follows the number, or another number follows;
- "No," at the head of a sentence, "On second thought" and "Edit:" do so where a number follows.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable

from pytest_llmeval.scoring.numbers import Number
from pytest_llmeval.scoring.standing import Standing
from pytest_llmeval.scoring.triggers import matches_at

_TAKEN_BACK = re.compile(
    r"""\b(?:wait|hold\s+on|oh|oops|hm+|sorry|actually)\b[\s,.!…:–—-]*\bno\b(?!\s+(?:doubt|problem))
      | (?P<only_before> (?:[.!]\s|\n) no (?=[,.:!;–—]|\s[-–—])
          | \bon\s+second\s+thoughts?\b | \b(?:edit|update|corrected)\s*:
          | \b(?: I\s+mean(?:t)? | or\s+rather
              | (?:wait[\s,.!…–—-]+)?actually(?:[\s,]+it(?:['’]s|\s+is|\s+should\s+be))? )
            [\s:,]+(?=[$(*]*[-−]?\d) )
      | (?P<verdict> \b(?:that|this|it)(?:['’]s|\s+(?:is|was|must\s+be|seems|looks))
            \s+(?:\w+ly\s+)?
            (?:wrong|incorrect|not\s+(?:right|correct|true)|a\s+mistake|an\s+error)\b(?!\s+(?:to|that)\b)
          | \b(?:that|this|it)\s+(?:isn['’]t|can(?:not|['’]t)\s+be)\s+(?:right|correct|true)\b
            (?!\s+(?:to|that)\b) )
      | (?P<mine> \bI[ ](?:was\s+wrong
          |(?:have\s+)?made\s+an?\s+(?:\w+\s+)?(?:mistake|error))\b )
      | \b(?:my[ ]mistake|scratch\s+that|let[ ]me\s+correct|correction\s*[:,–—-])""",
    re.IGNORECASE | re.VERBOSE,
)
#: How every match of `_TAKEN_BACK` begins.
_TAKING_BACK = (
    "wait", "hold", "oh", "oops", "hm", "sorry", "actually", ". no", "! no", ".\nno", "!\nno",
    "\nno", "that", "this", "it ", "it'", "it’", "it\n", "i was", "i made", "i have", "my mistake",
    "scratch", "let me", "correction", "on second", "edit", "update", "corrected", "i mean",
    "i\nmean", "or rather",
)  # fmt: skip
_RESTATED = re.compile(
    r"""[\s.,:;!…–—-]* (?:(?:so|instead|actually|sorry)[\s,]+)?
        (?:it|(?:the|my)\s+(?:\w+\s+)?(?:answer|result|solution|total))
        (?:['’]s | \s+(?:is|was|should\s+be|must\s+be|would\s+be))
        \s+ (?:\w+\s+){0,2} [$(*]* [-−]?\d""",
    re.IGNORECASE | re.VERBOSE,
)
#: No answer changes its mind more often than this; a model that repeats itself may.
_MOST = 8


def corrected(
    standing: Standing, answer_of: Callable[[Standing], Number | None]
) -> tuple[int, set[int]]:
    """Where what counts of a text begins, and where numbers start that are refuted behind that.

    `answer_of` tells what the text comes to with its numbers up to a place.
    """
    text, found = standing.text, standing.found
    refuted: set[int] = set()
    for words in list(matches_at(_TAKEN_BACK, text, _TAKING_BACK))[: -_MOST - 1 : -1]:
        before = found[: bisect_left(found, (words.start(),))]
        answer = answer_of(Standing(text, before)) if before else None
        of_answer = answer is None or answer.distance(before[-1]) == 0
        if _takes_back(standing, words, of_answer=of_answer):
            return words.end(), refuted
        if words["verdict"]:
            refuted.add(before[-1].start)
    return 0, refuted


def _takes_back(standing: Standing, words: re.Match[str], *, of_answer: bool) -> bool:
    """Say whether the words take back all before them; `of_answer`: they follow the answer."""
    text, end = standing.text, words.end()
    if words["verdict"]:
        return of_answer or _RESTATED.match(text, end) is not None
    last = next(standing.backwards(), None)
    if last is not None and last.start >= end:
        return True
    if words["only_before"]:
        return not any(character.isalnum() for character in text[end : end + 60])
    return of_answer or not words["mine"]
