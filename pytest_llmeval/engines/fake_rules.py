"""The rules of the fake engine, in Python and from a script file."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from pytest_llmeval.errors import ConfigError
from pytest_llmeval.records import FinishReason, ToolCall

Fault = Literal["timeout", "busy", "unreachable", "refused", "unsupported"]
"""The ways in which a rule can make an attempt fail."""

_GROUP = re.compile(r"\\(\d{1,2})|\\g<(\w+)>")


@dataclass(frozen=True, slots=True)
class Rule:
    r"""What the fake does with a request whose last user message matches.

    `when` is a regular expression that is searched for; the empty one matches everything. In
    `text`, `\1` and `\g<name>` stand for the groups it found. `finish_reason` defaults to
    "tool_calls" with tool calls and to "stop" without. `fail` raises that error instead of
    answering. The rule holds for the first `times` requests that match it, None for all of them.
    `latency` is in seconds. Raises `ConfigError` for what cannot work.
    """

    when: str = ""
    text: str = ""
    finish_reason: FinishReason | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    fail: Fault | None = None
    times: int | None = None
    latency: float = 0.0
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            pattern = re.compile(self.when)
        except re.error as error:
            raise ConfigError(f"when: {self.when!r} is no regular expression: {error}.") from error
        object.__setattr__(self, "pattern", pattern)
        _refuse_unknown("finish_reason", self.finish_reason, get_args(FinishReason))
        _refuse_unknown("fail", self.fail, get_args(Fault))
        if self.times is not None and self.times < 1:
            raise ConfigError(f"times: must be 1 or more, not {self.times}.")
        if not 0 <= self.latency < float("inf"):
            raise ConfigError(f"latency: must be 0 or more seconds, not {self.latency}.")
        self._check_groups(pattern)

    def expand(self, found: re.Match[str]) -> str:
        """Return the text with the groups filled in; a group that took no part is empty."""
        return _GROUP.sub(lambda place: found[_group(place)] or "", self.text)

    def _check_groups(self, pattern: re.Pattern[str]) -> None:
        for place in _GROUP.finditer(self.text):
            group = _group(place)
            known = (
                group in pattern.groupindex if isinstance(group, str) else (group <= pattern.groups)
            )
            if not known:
                raise ConfigError(f"text: {place[0]} names a group that {self.when!r} lacks.")


def _group(place: re.Match[str]) -> int | str:
    return int(place[1]) if place[1] else place[2]


def load_script(path: Path) -> tuple[Rule, ...]:
    """Read rules from a JSON or YAML file: a list of objects with the fields of `Rule`.

    A tool call is written `{name: ..., arguments: {...}}`. Raises `ConfigError` with the file and,
    for YAML, the line of the rule.
    """
    data = _read(path)
    if not isinstance(data, list):
        raise ConfigError(
            "A script of the fake engine is a list of rules, for instance "
            '[{"when": "capital of France", "text": "Paris"}].',
            path=path,
        )
    return tuple(_load_rule(path, data, index) for index in range(len(data)))


def _load_rule(path: Path, data: Sequence[Any], index: int) -> Rule:
    try:
        return _rule(data[index])
    except ConfigError as error:
        place = getattr(data, "lc", None)  # where ruamel keeps the lines of a list's entries
        line = place.item(index)[0] + 1 if place is not None else None
        raise ConfigError(f"rule {index + 1}: {error.message}", path=path, line=line) from None


def _read(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The fake engine's script cannot be read: {error}.", path=path
        ) from error
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(path, text)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error.msg}.", path=path, line=error.lineno) from error


def _from_yaml(path: Path, text: str) -> object:
    from ruamel.yaml import YAML  # needed for YAML only
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError(f"not YAML: {error.problem}.", path=path, line=line) from error
    except YAMLError as error:
        raise ConfigError(f"not YAML: {error}.", path=path) from error


_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "when": ((str,), "a text"),
    "text": ((str,), "a text"),
    "finish_reason": ((str,), "a text"),
    "tool_calls": ((list,), "a list"),
    "fail": ((str,), "a text"),
    "times": ((int,), "a whole number"),
    "latency": ((int, float), "a number of seconds"),
}
assert set(_TYPES) == {f.name for f in fields(Rule) if f.init}


def _rule(entry: object) -> Rule:
    if not isinstance(entry, dict):
        raise ConfigError(f"must be an object with keys of {', '.join(_TYPES)}, not {entry!r}.")
    for key, value in entry.items():
        _refuse_unknown("key", key, tuple(_TYPES))
        types, expected = _TYPES[key]
        if not isinstance(value, types) or isinstance(value, bool):
            raise ConfigError(f"{key}: must be {expected}, not {value!r}.")
    given = dict(entry)
    given["tool_calls"] = tuple(_tool_call(call) for call in entry.get("tool_calls", ()))
    return Rule(**given)


def _tool_call(entry: object) -> ToolCall:
    if not isinstance(entry, dict) or set(entry) - {"name", "arguments"} or "name" not in entry:
        raise ConfigError(f"tool_calls: must be {{name: ..., arguments: {{...}}}}, not {entry!r}.")
    arguments = entry.get("arguments", {})
    if not isinstance(entry["name"], str) or not isinstance(arguments, dict):
        raise ConfigError("tool_calls: name must be a text and arguments an object.")
    return ToolCall(entry["name"], _plain(arguments), json.dumps(arguments, ensure_ascii=False))


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return ruamel's own kinds of numbers, texts and lists as Python's."""
    plain: dict[str, Any] = json.loads(json.dumps(arguments))
    return plain


def _refuse_unknown(what: str, given: object, allowed: Sequence[str]) -> None:
    if given is None or given in allowed:
        return
    near = difflib.get_close_matches(str(given), allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{what}: {given!r} is not one of {', '.join(allowed)}.{hint}")
