"""How long what a template makes may become, and how much it may compute.

Whatever makes texts or numbers is looked at before it makes one that is too long, and a rendering
has a budget: each turn of a loop, each call and each character that is made costs some of it.
Budgets count and do not look at the clock, so that a template is refused on every machine or none.
"""

from __future__ import annotations

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
_PERCENT = re.compile(r"%([^%a-zA-Z(]*)")
_ELSEWHERE = re.compile(r"\{[^{}]*\}")
_FORMATTED_ITSELF = re.compile(r"\{[^{}]*[:!]")
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
    widths = _numbers(_PERCENT.findall(_without_names(text)))
    if "*" in text:
        widths += [abs(each) for each in values if isinstance(each, int)]
    _check_written(text, text.count("%"), widths, values)


def _without_names(text: str) -> str:
    """A text for `%` without its names in brackets, which may hold brackets."""
    parts, at = [], 0
    while (begin := text.find("%(", at)) >= 0:
        end, deep = begin + 2, 1
        while deep and end < len(text):
            deep += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        parts.append(f"{text[at:begin]}%")
        at = end
    return "".join((*parts, text[at:]))


def _check_braces(text: str, given: Iterable[Any]) -> None:
    """The same for `format`. A width that is among the values may be any of them, and so may a
    digit of it; one that is formatted itself may be anything.
    """
    try:
        specs = [spec for _, _, spec, _ in string.Formatter().parse(text) if spec]
    except ValueError:  # it is no such text, and is not formatted so
        return
    values = _values(given)
    whole = [str(abs(each)) for each in values if isinstance(each, int)]
    written = [
        number for each in values if isinstance(each, str) for number in _NUMBER.findall(each)
    ]
    widest = max((*whole, *written), key=len, default="")
    if any(_FORMATTED_ITSELF.search(spec) for spec in specs):
        raise ValueError(_TOO_WIDE)
    widths = _numbers(_ELSEWHERE.sub(lambda _: widest, spec) for spec in specs)
    _check_written(text, text.count("{"), widths, values)


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
