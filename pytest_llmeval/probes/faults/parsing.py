"""Faults as people write them: `rate_limit:share=0.1,retry_after=1`, or YAML. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from pytest_llmeval.errors import FaultError
from pytest_llmeval.inputs.documents import parse_document
from pytest_llmeval.inputs.mistakes import Mistakes, shown, unknown

from .vocabulary import KINDS, ONLY, SELECTORS, Attribute, Fault, Kind, Only, Value, When

_WHOLE = re.compile(r"[0-9]{1,15}")
_DECIMAL = re.compile(r"[0-9]{0,15}\.?[0-9]{1,15}")

_SPELLING = "write it as name:key=value,key=value, for instance latency:latency=200,jitter=50"

SCRIPT_KEYS = ("seed", "faults")


def parse_fault(text: str) -> Fault:
    """The fault that `name` or `name:key=value,key=value` stands for.

    Raises FaultError for a name or key that there is not, and for a value out of its range.
    """
    name, colon, rest = text.strip().partition(":")
    begun = re.match(r"\s*(\w+)\s*[=,]", name)
    if begun and begun[1] in KINDS:
        raise FaultError(f"fault {text!r}: a colon must follow {begun[1]!r}; {_SPELLING}")
    given: dict[str, Any] = {}
    for part in rest.split(",") if colon else ():
        key, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not key:
            raise FaultError(f"fault {text!r}: {part.strip()!r} is no key=value; {_SPELLING}")
        if key in given:
            raise FaultError(f"fault {text!r}: {key} is given twice")
        given[key] = value
    return make_fault(name.strip(), given)


def make_fault(name: str, given: Mapping[str, Any]) -> Fault:
    """The fault of this name with these keys; values may be texts. Raises FaultError."""
    kind = KINDS.get(name)
    if kind is None:
        raise FaultError(unknown("fault", name, KINDS))
    attributes = {attribute.name: attribute for attribute in kind.attributes}
    for key in given:
        if key not in attributes and key not in SELECTORS:
            raise FaultError(f"{name}: {unknown('key', key, [*attributes, *SELECTORS])}")
    values = {
        key: _value(name, attribute, given[key]) if key in given else attribute.default
        for key, attribute in attributes.items()
    }
    _check_together(kind, values)
    return Fault(kind, values, _when(name, given), _text(name, given))


def parse_script(text: str, path: Any) -> tuple[list[Fault], int | None]:
    """The faults and the seed (None where there is none) of a YAML file with this text.

    Raises FaultError with every mistake, file and line in front.
    """
    document = parse_document(text, path, FaultError)
    mistakes = Mistakes(document, FaultError)
    for key in document.data:
        if key not in SCRIPT_KEYS:
            mistakes.add((key,), unknown("key", key, SCRIPT_KEYS))
    seed = document.data.get("seed")
    if seed is not None and (type(seed) is not int or seed < 0):
        mistakes.add(("seed",), f"seed must be a whole number from 0 on, not {shown(seed)}")
    entries = document.data.get("faults")
    if not isinstance(entries, list) or not entries:
        mistakes.add(("faults",), f"faults must be a list of faults, not {shown(entries)}")
        entries = []
    faults = []
    for place, entry in enumerate(entries):
        try:
            faults.append(_entry(entry))
        except FaultError as mistake:
            mistakes.add(("faults", place), mistake.message)
    mistakes.raise_if_any()
    return faults, seed


def _entry(entry: Any) -> Fault:
    if isinstance(entry, str):
        return parse_fault(entry)
    if isinstance(entry, dict) and len(entry) == 1:
        [(name, given)] = entry.items()
        if given is None or isinstance(given, dict):
            return make_fault(name, given or {})
    raise FaultError(
        f"a fault must be a name, or a name with its keys such as loading: {{times: 3}}, "
        f"not {shown(entry)}"
    )


def _value(name: str, attribute: Attribute, given: Any) -> Value:
    key = attribute.name
    if attribute.words:
        if given not in attribute.words:
            raise FaultError(f"{name}: {unknown(key, str(given), attribute.words)}")
        return cast("str", given)
    return _whole(name, key, given, attribute.least, attribute.most)


def _whole(name: str, key: str, given: Any, least: int, most: int) -> int:
    number = int(given) if isinstance(given, str) and _WHOLE.fullmatch(given) else given
    if type(number) is not int or not least <= number <= most:
        raise FaultError(
            f"{name}: {key} must be a whole number from {least} to {most}, not {shown(given)}"
        )
    return number


def _check_together(kind: Kind, values: Mapping[str, Value]) -> None:
    """What one attribute may be because of another."""
    for less, more, allowed in (
        ("jitter", "latency", "at most"),
        ("size_variation", "average_size", "less than"),
    ):
        if less in values and kind.name in {"latency", "slicer"}:
            small, large = cast("int", values[less]), cast("int", values[more])
            if small > large or (small == large and allowed == "less than"):
                raise FaultError(
                    f"{kind.name}: {less} must be {allowed} {more} ({large}), not {small}"
                )


def _when(name: str, given: Mapping[str, Any]) -> When:
    if "share" in given and "toxicity" in given:
        raise FaultError(f"{name}: share and toxicity mean the same; give one of them")
    only, path = given.get("only"), given.get("path")
    if only is not None and only not in ONLY:
        raise FaultError(f"{name}: {unknown('only', str(only), ONLY)}")
    if path is not None and (not isinstance(path, str) or not path.startswith(("/", "*"))):
        raise FaultError(
            f"{name}: path must begin with /, such as /v1/chat/completions, not {shown(path)}"
        )
    return When(
        times=_whole(name, "times", given["times"], 1, 10**9) if "times" in given else None,
        after=_whole(name, "after", given.get("after", 0), 0, 10**9),
        share=_share(name, given),
        path=path,
        only=cast("Only | None", only),
    )


def _share(name: str, given: Mapping[str, Any]) -> float:
    key = "toxicity" if "toxicity" in given else "share"
    value = given.get(key, 1)
    number = float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise FaultError(f"{name}: {key} must be a number from 0 to 1, not {shown(value)}")
    return float(number)


def _text(name: str, given: Mapping[str, Any]) -> str:
    keys = ",".join(f"{key}={value}" for key, value in given.items())
    return f"{name}:{keys}" if keys else name
