r"""Texts as cells of the tables that no spreadsheet runs, and back.

A spreadsheet takes a cell that begins with `=` for a formula, quoted or not, and models write such
cells. They get a `'` in front, which has one meaning: take it away, and the text is there. For
whoever reads the tables without us: `re.sub(r"\A'(?=['\t\r]|\s*[=+\-@＝＋－＠])", "", cell)`.
"""

from __future__ import annotations

import re

# Excel knows the full-width signs too, and some programs look past the white space before a sign.
_RUN = r"[\t\r]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]"
_RUNS = re.compile(_RUN)
_MARKED = re.compile(rf"'(?='|{_RUN})")
_NUMBER = re.compile(r"[+-](?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def harmless(text: str) -> str:
    """A text as it stands in its cell; a number that is no formula, such as `-5`, stays itself."""
    if not text or text[0].isalnum():
        return text
    if _MARKED.match(text) or (_RUNS.match(text) and not _NUMBER.fullmatch(text)):
        return f"'{text}"
    return text


def original(cell: str) -> str:
    """The text that stands in a cell."""
    return cell[1:] if cell.startswith("'") and _MARKED.match(cell) else cell
