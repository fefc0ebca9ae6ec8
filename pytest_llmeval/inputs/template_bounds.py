"""How long what a template makes may become, and how much it may compute.

Whatever makes texts or numbers is looked at before it makes one that is too long, and a rendering
has a budget: each turn of a loop, each call and each character that is made costs some of it.
Budgets count and do not look at the clock, so that a template is refused on every machine or none.
"""

from __future__ import annotations

import contextlib
import math
import re
import string
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    ValuesView,
)
from contextvars import ContextVar
from typing import Any

from jinja2 import nodes
from jinja2.runtime import LoopContext

LONGEST = 4 * 2**20
"""What one value of a template, and all that it writes, may have of characters and entries."""

BUDGET = 4 * LONGEST
PER_STEP = 16

_MOST_BITS = 10_000
_WIDEST = 100_000

_TOO_LONG = f"a value would have more than {LONGEST >> 20} Mi characters or entries, the most here"
_TOO_LARGE = f"a number would have more than {_MOST_BITS:,} bits, the most here"
_TOO_WIDE = f"a width or a count is more than {_WIDEST:,}, the most here"
_SPENT = (
    f"the template computes too much: {BUDGET // PER_STEP:,} turns of loops, or "
    f"{BUDGET >> 20} Mi characters on the way, are the most for one rendering"
)

_WITHOUT_PARTS = {str, int, float, bool, type(None)}
_ONE_BY_ONE = (Iterator, KeysView, ValuesView, ItemsView)
_SIZED = (str, list, tuple, dict, set, frozenset, range)
_PADDING = frozenset({"ljust", "rjust", "center", "zfill", "batch", "slice", "truncate", "round"})
# All other filters may make a text of the whole value.
_OF_PARTS = frozenset(
    {"attr", "batch", "count", "d", "default", "first", "items", "last", "length", "list", "map"}
    | {"reject", "rejectattr", "reverse", "select", "selectattr", "slice"}
)
_PERCENT = re.compile(r"[^%a-zA-Z]*")
_BRACKET = re.compile(r"[()]")
_ELSEWHERE = re.compile(r"\{[^{}]*\}")
_MADE_OF_A_VALUE = re.compile(r"\{[^{}]*[:!.\[]")
_RUN = re.compile(r"\d+")
_NUMBER = re.compile(r"0*(\d+)")

_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


def within_budget(render: Callable[[Mapping[str, Any]], str], fields: Mapping[str, Any]) -> str:
    """What `render` makes of `fields`; ValueError when it goes beyond a bound."""
    token = _left.set([BUDGET])
    try:
        return render(fields)
    except RecursionError:
        raise ValueError("the template calls itself without end, or is nested too deep") from None
    finally:
        _left.reset(token)


def spend(amount: int) -> None:
    """Take from the budget of the rendering that is going on; ValueError when it is used up.

    Jinja2 would compute what is constant while it compiles, when nobody counts: Impossible has it
    wait until then.
    """
    left = _left.get()
    if left is None:
        raise nodes.Impossible
    left[0] -= amount
    if left[0] < 0:
        raise ValueError(_SPENT)


def size(value: Any) -> int:
    """The characters or entries of a value itself."""
    return len(value) if isinstance(value, _SIZED) else 0


def whole_size(value: Any) -> int:
    """The characters and entries of a value and all in it; ValueError when that is too much.

    A list may hold the same text a million times, and takes its room once.
    """
    total, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        total += 1 + size(each)
        if total > LONGEST:
            raise ValueError(_TOO_LONG)
        waiting += _inside(each)
    return total


def depth(value: Any) -> int:
    """How many lists and mappings stand inside each other; 0 for a text."""
    level, found = [value], 0
    while level := [inner for each in level for inner in _inside(each)]:
        found += 1
    return found


def entries(value: Any) -> int:
    """How many values stand in a value, at whatever depth."""
    waiting, found = [value], 0
    while waiting:
        found += 1
        waiting += _inside(waiting.pop())
    return found


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list | tuple | set | frozenset) else ()


def at_hand(value: Any) -> Any:
    """What comes one by one as a list, which can be looked at; each entry costs its own size."""
    if isinstance(value, _ONE_BY_ONE) and not isinstance(value, LoopContext):
        entries = []
        for each in value:
            spend(PER_STEP + size(each))
            entries.append(each)
        return entries
    return value


def compared(value: Any) -> Any:
    """A value that is going to be compared, which may look at all that is in it."""
    value = at_hand(value)
    is_flat = isinstance(value, list | tuple) and set(map(type, value)) <= _WITHOUT_PARTS
    spend(len(value) if is_flat else whole_size(value))
    return value


def number_in_bounds(value: Any) -> Any:
    """The value; ValueError when it is a number with which computing would take too long."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError(_TOO_LARGE)
    return value


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise ValueError when the result of a binary operator would be too long."""
    number_in_bounds(left), number_in_bounds(right)
    if operator == "+":
        _at_most(size(left) + size(right))
    elif operator == "%" and isinstance(left, str):
        spend(len(left))
        _check_percents(left, right if isinstance(right, tuple) else (right,))
    elif operator == "*":
        for one, other in ((left, right), (right, left)):
            if isinstance(other, int):
                _at_most(size(one) * max(other, 0))
    if operator in {"*", "**"} and isinstance(left, int) and isinstance(right, int):
        one, other = abs(left).bit_length(), abs(right)
        if (one + other.bit_length() if operator == "*" else one * other) > _MOST_BITS:
            raise ValueError(_TOO_LARGE)


def check_making(name: str, value: Any, given: Sequence[Any]) -> None:
    """Raise ValueError when the method or filter `name` of `value` would make too much of it.

    `given` are the arguments behind the value.
    """
    numbers = [abs(each) for each in given if isinstance(each, int)]
    if name in _PADDING and any(number > _WIDEST for number in numbers):
        raise ValueError(_TOO_WIDE)
    spend(size(value) if name in _OF_PARTS else sum(map(whole_size, (value, *given))))
    _check_repeating(name, value, given, numbers)


def _check_repeating(name: str, value: Any, given: Sequence[Any], numbers: Sequence[int]) -> None:
    """Refuse what would be written many times: each part is short, and the whole is not."""
    if name in {"format", "format_map"} and isinstance(value, str):
        _check_percents(value, given)  # which the filter of this name goes by
        _check_braces(value, given)
    elif name in {"expandtabs", "indent"} and isinstance(value, str):
        pieces = 1 + value.count("\t" if name == "expandtabs" else "\n")
        _at_most(pieces * max([*numbers, *map(size, given)], default=0))
    elif name == "tojson":
        indent = max([*numbers, *map(size, given)], default=0)
        _at_most(whole_size(value) + entries(value) * depth(value) * indent)
    elif name in {"wordwrap", "urlize", "translate"} and isinstance(value, str):
        _at_most(size(value) * max(map(size, _written_between(given)), default=0))
    elif name == "sum" and any(isinstance(each, list | tuple) for each in given):
        raise ValueError("sum adds numbers here; write lists together with +")
    elif name == "replace" and len(given) > 1 and isinstance(given[0], str):
        _at_most((1 + str(value).count(str(given[0]))) * size(given[1]))
    elif name == "join":
        one, other = (value, given[0] if given else "")
        _at_most(max(size(one) * size(other), size(one) + size(other)))


def _written_between(given: Sequence[Any]) -> Iterator[str]:
    """The texts that are put between all parts of another one, or in their place."""
    for each in given:
        texts = each.values() if isinstance(each, dict) else (each,)
        yield from (text for text in texts if isinstance(text, str))


def _check_percents(text: str, given: Iterable[Any]) -> None:
    """Refuse widths that are too large, and values that come too many times, for `%`."""
    values = _values(given)
    widths = _numbers(_percent_specs(text))
    if "*" in text:
        widths += [abs(each) for each in values if isinstance(each, int)]
    _check_written(text, text.count("%"), widths, values)


def _percent_specs(text: str) -> Iterator[str]:
    """What stands between each `%`, with its name in brackets, and the letter it ends with."""
    at = text.find("%")
    while at >= 0:
        at += 1
        if text.startswith("(", at):
            at = _behind_name(text, at)
        found = _PERCENT.match(text, at)
        assert found is not None, "nothing is enough for it"
        yield found[0]
        at = text.find("%", found.end() + 1)


def _behind_name(text: str, at: int) -> int:
    """Where a name ends that begins with a bracket, and may hold others; its text's end if never:
    Python refuses it then.
    """
    deep = 0
    for found in _BRACKET.finditer(text, at):
        deep += 1 if found[0] == "(" else -1
        if deep == 0:
            return found.end()
    return len(text)


def _check_braces(text: str, given: Iterable[Any]) -> None:
    """The same for `format`. A width that is among the values may be any number as long as the
    longest of them, and so may a part of it; one that is made of a value may be anything.
    """
    specs: list[str] = []
    with contextlib.suppress(ValueError):  # what stands before a mistake is formatted all the same
        specs += (spec for _, _, spec, _ in string.Formatter().parse(text) if spec)
    values = _values(given)
    whole = [str(int(abs(each))) for each in values if _is_finite(each)]
    written = [number for each in values if isinstance(each, str) for number in _RUN.findall(each)]
    widest = "9" * max(map(len, (*whole, *written)), default=0)
    if any(_MADE_OF_A_VALUE.search(spec) for spec in specs):
        raise ValueError(_TOO_WIDE)
    widths = _numbers(_ELSEWHERE.sub(lambda _: widest, spec) for spec in specs)
    _check_written(text, text.count("{"), widths, values)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _check_written(text: str, times: int, widths: Sequence[int], values: Sequence[Any]) -> None:
    widest = max(widths, default=0)
    if widest > _WIDEST:
        raise ValueError(_TOO_WIDE)
    _at_most(len(text) + times * max(widest, *map(whole_size, values), 0))


def _values(given: Iterable[Any]) -> list[Any]:
    return [each for one in given for each in (one.values() if isinstance(one, dict) else [one])]


def _numbers(texts: Iterable[str]) -> list[int]:
    return [int(number[:7]) for text in texts for number in _NUMBER.findall(text)]


def _at_most(length: int) -> None:
    if length > LONGEST:
        raise ValueError(_TOO_LONG)
