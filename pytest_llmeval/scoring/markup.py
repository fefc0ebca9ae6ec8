"""What stands around an answer: reasoning, fences, wrapping tags, tokens of a chat template.

Each is taken off in one pass, so that a model that repeats them thousands of times costs nothing.
"""

from __future__ import annotations

import re

from pytest_llmeval.scoring.triggers import matches_at

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
#: A token of a chat template that leaked into the text, at its very end.
_TEMPLATE_TOKEN = re.compile(r"(?:<\|[a-z_]{1,40}\|>|</s>|<end_of_turn>)\Z")
_LONGEST_TOKEN = 44
_OPENING_FENCE = re.compile(r"\s*(```+|~~~+)[^\n`~]*\n")
_FENCE_LINE = re.compile(r"^[ \t]*(?:```|~~~).*(?:\n|\Z)", re.MULTILINE)
_WHOLE_ANSWER = re.compile(r"\s*<answer>(.*)</answer>\s*\Z", re.DOTALL | re.IGNORECASE)


def without_reasoning(text: str, stages: list[str]) -> tuple[str, bool]:
    """Drop what stands in reasoning tags, and everything before a closing tag that has no opening.

    Tags with a loose name count only where they open the text, or what is left of it.

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
    rest = _without_template_tokens("".join(kept)).strip()
    return rest, bool(inside)


def reasoning_tag_in(text: str) -> str:
    """Return the first tag that stands for reasoning wherever it stands, "" without one."""
    if not ("<" in text or "[" in text or "◁" in text):  # as every tag begins
        return ""
    tags = matches_at(_TAG, text, _TAG_STARTS)
    return next((tag[0] for tag in tags if tag.lastgroup in ("open", "close")), "")


def without_markup(text: str, stages: list[str]) -> str:
    """Unwrap a text that is one fenced block or one <answer>; drop the fences of inner blocks."""
    before = text
    if "<" in text:
        text = _without_template_tokens(text)
        whole = _WHOLE_ANSWER.match(text)
        if whole and "<answer>" not in whole[1].lower():
            text = whole[1].strip()
    if "```" in text or "~~~" in text:
        inside = _inside_fence(text)
        text = _FENCE_LINE.sub("", text) if inside is None else inside
    if text != before:
        stages.append("markup: fences or wrapping tags removed")
    return text


def _without_template_tokens(text: str) -> str:
    """Drop the tokens at the end, one after the other from behind, and the space before them."""
    end, found = len(text), False
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        token = _TEMPLATE_TOKEN.search(text, max(0, end - _LONGEST_TOKEN), end)
        if token is None:
            return text[:end] if found else text
        end, found = token.start(), True


def _inside_fence(text: str) -> str | None:
    """What stands in a fence around the whole text; None when there is none."""
    opening = _OPENING_FENCE.match(text)
    stripped = text.rstrip()
    if opening is None or not stripped.endswith(opening[1]):
        return None
    end = len(stripped) - len(opening[1])
    return text[opening.end() : end].rstrip() if end >= opening.end() else None
