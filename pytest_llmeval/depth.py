"""How deep JSON may be nested: as deep as everything that walks through it can go.

Python's parser goes some thousand levels down, less far from the bottom of its stack; comparing,
rendering and writing a value ends earlier, and then with a RecursionError in the middle of it.
"""

from __future__ import annotations

import re

DEEPEST = 100
"""So many lists and mappings may stand inside each other."""

TOO_DEEP = f"more than {DEEPEST} lists and mappings stand inside each other"

# A text that is not closed goes on to the end, so that each character is looked at once.
_TEXT_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


def too_deep_at(text: str, deepest: int = DEEPEST) -> int | None:
    """Where JSON text goes deeper than `deepest`: the position of the bracket, None if nowhere."""
    if text.count("[") + text.count("{") <= deepest:
        return None
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth > deepest:
                return found.start()
        elif found[0] in "]}":
            depth -= 1
    return None
