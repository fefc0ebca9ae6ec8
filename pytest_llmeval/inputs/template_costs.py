"""What methods and filters compute that grows faster than what they are given. Pure.

Most go through a text once, which its length pays for. These compare or copy it again and again,
and would take minutes over texts that are within every bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pytest_llmeval.inputs.template_bounds import depth, size, whole_size

_COMPARED = 64
"""So many comparisons of a character cost what one costs that is made."""

_COPIED = 1024
"""So many characters that are copied at once."""


def slow_cost(name: str, value: Any, given: Sequence[Any]) -> int:
    """What the method or filter `name` of `value` costs beyond a look at each character.

    `given` are the arguments behind the value.
    """
    cost = _SLOW.get(name)
    return 0 if cost is None else cost(value, given)


def _each_with_each(value: Any, given: Sequence[Any]) -> int:
    """Characters that are held against all of another text, such as those that are stripped."""
    return whole_size(value) * max(map(size, given), default=0) // _COMPARED


def _by_attribute(value: Any, given: Sequence[Any]) -> int:
    """Every entry goes all the way along a name with dots, and by commas several."""
    steps = (each.count(".") + each.count(",") for each in given if isinstance(each, str))
    return size(value) * sum(steps)


def _hashed(value: Any, given: Sequence[Any]) -> int:
    """Entries that may have the same hash are compared with each other."""
    entries = next((each for each in (value, *given) if isinstance(each, _ENTRIES)), ())
    by = [each for each in given if each is not entries and not isinstance(each, bool)]
    hashed = list(entries) if not by else _values_of(entries, by)
    is_once = hashed is not None and all(map(_is_scattered, hashed))
    return len(entries) if is_once else len(entries) ** 2


def _values_of(entries: Iterable[Any], names: Sequence[Any]) -> list[Any] | None:
    """What mappings have under one plain name; None for all else by which entries are looked at."""
    name = names[0] if len(names) == 1 else None
    is_plain = isinstance(name, str) and name.isidentifier()
    if is_plain and all(isinstance(each, dict) and name in each for each in entries):
        return [each[name] for each in entries]
    return None


def _is_scattered(value: Any) -> bool:
    """Whether nobody can choose values of its kind that have the same hash. That of a tuple of
    numbers can be chosen.
    """
    if isinstance(value, tuple):
        numbers = [each for each in value if not isinstance(each, str) and each is not None]
        return len(numbers) <= 1 and all(map(_is_small, numbers))
    return value is None or isinstance(value, str) or _is_small(value)


def _is_small(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < _LEAST_WITH_ANOTHER_HASH


_ENTRIES = (list, tuple, range, set, frozenset, dict)
_LEAST_WITH_ANOTHER_HASH = 2**61 - 1  # on 64 bits


def _nested(value: Any, _: Sequence[Any]) -> int:
    """Each level is written anew for the one around it."""
    return 4 * whole_size(value) * depth(value)


def _of_tags(value: Any, _: Sequence[Any]) -> int:
    """A text that is copied for every tag taken out of it."""
    text = str(value)
    return text.count("<") * len(text) // (4 * _COPIED)


def _of_links(value: Any, _: Sequence[Any]) -> int:
    """A word is copied for each bracket around it."""
    return max(map(len, str(value).split()), default=0) * whole_size(value) // _COMPARED


def _of_long_words(value: Any, given: Sequence[Any]) -> int:
    """A word that is longer than a line is copied for each line that it fills."""
    widths = (each for each in given if type(each) is int and each > 0)
    longest = max(map(len, _SPACE_IN_LINES.split(str(value))))
    return longest * size(value) // (min(widths, default=79) * _COPIED)


_SPACE_IN_LINES = re.compile(r"[\t\n\x0b\x0c\r ]+")  # that of textwrap

_SLOW: Mapping[str, Callable[[Any, Sequence[Any]], int]] = {
    **dict.fromkeys(("strip", "lstrip", "rstrip", "trim"), _each_with_each),
    **dict.fromkeys(("rfind", "rindex", "rsplit", "rpartition"), _each_with_each),
    **dict.fromkeys(("map", "select", "reject", "selectattr", "rejectattr"), _by_attribute),
    **dict.fromkeys(("groupby", "sort", "min", "max", "sum", "join"), _by_attribute),
    **dict.fromkeys(("unique", "fromkeys"), _hashed),
    "pprint": _nested,
    "striptags": _of_tags,
    "urlize": _of_links,
    "wordwrap": _of_long_words,
}
