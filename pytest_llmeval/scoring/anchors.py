"""The words that lead up to an option a text commits itself to: "the answer is", "I choose"."""

from __future__ import annotations

import re

from pytest_llmeval.scoring.triggers import starts_of

_OPENING = r"[\s:\"'“‘(\[{*]*"
_FILLER = r"""(?:(?:most\s+likely|probably|definitely|clearly|therefore|thus|actually|indeed|simply
    |just|likely|either|the|option|choice|letter|answer|number|correct|right|best|one|is|now
    |would\s+be|must\s+be|with|for)\b[\s:"'“‘(\[{*]*){0,5}"""
ANCHOR = re.compile(
    rf"""(?P<core>
      \b(?:answer|choice|option|selection|response|solution|conclusion|pick)\b
        (?: \s+(?:to|for|here|among|of)\b [^.:\n]{{0,60}}? )?
        [\s"'*]* (?: (?:is|was|would\s+be|should\s+be|must\s+be|will\s+be|has\s+to\s+be)\b
                   | ['’]s\b | [:=→] | [-=]> | \s-\s )
    | \b(?:(?:I|we)(?=[ '’])|let['’]s\b) [^.,;:\n]{{0,24}}?
        \b(?:choose|chose|pick|picked|select|selected|say|guess|answer|think|believe|go|going
            |vote|opt)\b
        (?: \s+(?:that\s+)?(?:it|this|the\s+(?:correct\s+|right\s+)?(?:answer|option|choice))
            (?:\s+(?:is|must\s+be|should\s+be|would\s+be)\b|['’]s\b) )?
    | (?P<weak> \b(?:it|that|this)) (?: \s+(?:is|must\s+be|should\s+be|has\s+to\s+be)\b | ['’]s\b )
    | \b(?:answer|choice|choose|pick|select)\s
    | \b(?:wait|actually|correction|sorry)\b [\s,.:…–—-]* (?:no\b[\s,.:…–—-]*)?
    | (?P<no> \bno (?:[,:;]|[ ][-–—]) )
    | <answer> | \\boxed\{{ | \#{{4}}
    ) {_OPENING} {_FILLER}""",
    re.IGNORECASE | re.VERBOSE,
)
#: How far before an option its anchor begins at most.
_REACH = 240
#: How every match of `ANCHOR` begins.
ANCHOR_WORDS = (
    "answer", "choice", "option", "selection", "response", "solution", "conclusion", "pick",
    "choose", "select", "i ", "i'", "i’", "we ", "we'", "we’", "let", "it ", "it'", "it’", "it\n",
    "that", "this", "wait", "actually", "correction", "sorry", "<answer>", "\\boxed{", "####",
    "no,", "no:", "no;", "no -", "no –", "no —",
)  # fmt: skip


def anchor_before(text: str, place: int) -> re.Match[str] | None:
    """The last anchor that leads to a place."""
    found, end, window = None, 0, max(0, place - _REACH)
    for word in starts_of(text[window:place], ANCHOR_WORDS):
        start = window + word
        if start >= end and (match := ANCHOR.match(text, start)):
            end = match.end()
            if match.end("core") <= place:
                found = match
    return found if found is not None and place <= found.end() else None
