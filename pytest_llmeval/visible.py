r"""Makes visible what would act on a terminal, turn the direction of text round, or hide in it.

What models, servers, datasets and configs say is shown through `visible`, wherever people read it;
files that programs read keep it as it is. Escapes are those of Python: `\x1b`, `\u202e`.
"""

from __future__ import annotations

import json
import re

# Line feed and tab are the only controls that a text needs. With them go halves of surrogate pairs,
# which no encoding can write, and what Unicode has for formatting: the marks that turn text round
# (U+061C, U+200E, U+202A and on, U+2066 and on), separators that some programs end a line at, and
# everything that takes no room: soft hyphens, fillers, tags.
_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e"
    "\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)

# Emoji are made with joiners and selectors, and Persian and the scripts of India need joiners: one
# joiner between two such characters stays, and one selector behind any character.
_JOINERS = "\u200c\u200d"
_SELECTORS = "\ufe00-\ufe0f\u180b-\u180d\u180f"
_SUSPECT = re.compile(f"[{_HIDDEN}{_JOINERS}{_SELECTORS}]")
_JOINED = re.compile(rf"[^\x00-\x7f{_HIDDEN}{_JOINERS}]")
_SELECTOR = re.compile(f"[{_SELECTORS}]")

# GitHub's runners obey lines that begin with `::` behind any white space, or hold `##[` anywhere,
# whoever has written them: they set what later steps see, hide words from the log, or end its
# being read.
_COMMAND = re.compile(r"^[^\S\n]*:(?=:)|#(?=#\[)", re.MULTILINE)


def visible(text: str) -> str:
    r"""Text as a terminal may be given it: all that acts or hides as its escape, but `\n` and tab,
    and lines that a runner of GitHub would obey.

    What is visible already stays as it is, so that it may be done twice.
    """
    if "::" in text or "##[" in text:
        text = _COMMAND.sub(_as_text, text)
    if text.isascii() and text.isprintable():  # nearly always
        return text
    return _SUSPECT.sub(_escape, text)


def visible_json(document: str) -> str:
    """The same for a JSON document, by escapes of JSON: it reads back as it was."""
    return _SUSPECT.sub(_json_escape, document.replace("##[", r"\u0023#["))


def _as_text(found: re.Match[str]) -> str:
    return f"{found[0][:-1]}\\x{ord(found[0][-1]):02x}"


def _escape(found: re.Match[str]) -> str:
    one = found[0]
    return one if _belongs(found) else one.encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    return found[0] if _belongs(found) else json.dumps(found[0])[1:-1]


def _belongs(found: re.Match[str]) -> bool:
    """Whether it is a joiner or a selector where such are needed."""
    start, end = found.span()
    before, behind = found.string[max(0, start - 1) : start], found.string[end : end + 1]
    if found[0] in _JOINERS:
        return bool(_JOINED.match(before) and _JOINED.match(behind))
    return bool(_SELECTOR.match(found[0]) and not _SELECTOR.match(before))
