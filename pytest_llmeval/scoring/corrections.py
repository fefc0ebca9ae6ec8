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
from collections.abc import Callable, Sequence

from pytest_llmeval.scoring.numbers import Number
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
    text: str,
    found: Sequence[Number],
    standing: Sequence[Number],
    answer_of: Callable[[Sequence[Number]], Number | None],
) -> tuple[int, set[int]]:
    """Where what counts of a text begins, and where numbers start that are refuted behind that.

    `standing` are those `found` that the text does not deny; `answer_of` is what the text has come
    to with the numbers up to a place.
    """
    refuted: set[int] = set()
    for words in list(matches_at(_TAKEN_BACK, text, _TAKING_BACK))[: -_MOST - 1 : -1]:
        before = found[: bisect_left(found, (words.start(),))]
        answer = answer_of(before) if before else None
        is_about_answer = answer is None or answer.distance(before[-1]) == 0
        if words["verdict"]:
            if is_about_answer or _RESTATED.match(text, words.end()):
                return words.end(), refuted
            refuted.add(before[-1].start)
        elif standing and standing[-1].start >= words.end():
            return words.end(), refuted
        elif not words["only_before"] and (is_about_answer or not words["mine"]):
            return words.end(), refuted
        elif words["only_before"] and not _says_more(text, words.end()):
            return words.end(), refuted
    return 0, refuted


def _says_more(text: str, start: int) -> bool:
    return any(character.isalnum() for character in text[start : start + 60])
