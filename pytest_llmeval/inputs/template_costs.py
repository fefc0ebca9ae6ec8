"""What methods and filters compute that grows faster than what they are given. Pure.

Most go through a text once, which its length pays for. These compare or copy it again and again,
and would take minutes over texts that are within every bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_llmeval.inputs.template_bounds import size, whole_size

_COMPARED = 64
"""So many comparisons of a character, or as many copied by twos, cost what one made costs."""

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


def _squared(value: Any, _: Sequence[Any]) -> int:
    return whole_size(value) ** 2 // _COMPARED


def _of_tags(value: Any, _: Sequence[Any]) -> int:
    """A text that is copied for every tag taken out of it."""
    text = str(value)
    return text.count("<") * len(text) // (4 * _COPIED)


def _of_long_words(value: Any, given: Sequence[Any]) -> int:
    """A word that is longer than a line is copied for each line that it fills."""
    width = min((each for each in given if isinstance(each, int) and each > 0), default=79)
    longest = max(map(len, str(value).split()), default=0)
    return longest * size(value) // (width * _COPIED)


def _of_codec(value: Any, given: Sequence[Any]) -> int:
    is_slow = any(str(each).lower() in {"idna", "punycode"} for each in given)
    return _squared(value, given) if is_slow else 0


_SLOW: Mapping[str, Callable[[Any, Sequence[Any]], int]] = {
    **dict.fromkeys(("strip", "lstrip", "rstrip", "trim"), _each_with_each),
    **dict.fromkeys(("rfind", "rindex", "rsplit", "rpartition"), _each_with_each),
    **dict.fromkeys(("encode", "decode"), _of_codec),
    **dict.fromkeys(("pprint", "urlize"), _squared),
    "striptags": _of_tags,
    "wordwrap": _of_long_words,
}
