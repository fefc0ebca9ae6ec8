"""Baselines: outcomes that were accepted, kept in the repository; later runs are held to them.

    baselines/arithmetic/tiny-l--plain.json         one file for each condition of a suite
    baselines/arithmetic/tiny-l--plain@exact.json   and one for each further scorer with a gate

Canonical JSON: keys sorted, no time of day, whole numbers for right and wrong, a line for each
item. The same outcomes give the same bytes, so that version control shows which items have changed.
A checksum over the rest tells a file that was edited by hand, or half merged, from one that a run
has written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_llmeval.atomic import plain, write_text
from pytest_llmeval.depth import TOO_DEEP, too_deep_at
from pytest_llmeval.errors import BaselineError, DamagedBaselineError
from pytest_llmeval.results.folder import condition_slugs
from pytest_llmeval.results.plan import ScorerPlan
from pytest_llmeval.results.rounding import counted
from pytest_llmeval.results.wording import json_words

FOLDER = "baselines"
"""Where they are, from pytest's rootdir."""

SCHEMA = 1
"""The version of a file's shape; a reader refuses a newer one."""

_BEGINNING = re.compile(r'\{\s*(<<<<<<<[^\n]*\n\s*)?"checksum": "[0-9a-f]{64}"')
"""How a file of ours begins, also one that was cut short, or in which git has marked a conflict."""

_WAY_OUT = "Restore the baseline, or move the file away: nothing overwrites it"

_USUAL = {"form": "chat", "json_schema": "", "grammar": ""}
_UNUSUAL = object()
"""What is left out where it is as usual: files that are older than these keys stay as they are."""

_NAMED = 3
"""So many items are named where some differ; of the others the number is told."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The outcomes of one scorer over one suite under one condition, and what they rest on.

    `prompt` and `tools` are hashes, `dataset` that of all items and `content` that of each;
    `json_schema` and `grammar` are hashes of what answers were held to, "" without.
    `values` has the scores of each item, one a repeat. `weights` is the sha256 of the model's, None
    where it is not known; `made_by` is the version of this package.
    """

    suite: str
    origin: str
    condition: str
    dataset: str
    prompt: str
    tools: str
    sampling: Mapping[str, Any]
    scorer: ScorerPlan
    content: Mapping[str, str]
    values: Mapping[str, tuple[float, ...]]
    weights: str | None
    made_by: str
    form: str = "chat"
    json_schema: str = ""
    grammar: str = ""

    @property
    def repeats(self) -> int | None:
        """How often each item was asked; None where none has all its outcomes."""
        return max(map(len, self.values.values()), default=None)


# Files --------------------------------------------------------------------------------------------


def baseline_path(root: Path, suite: str, condition: str, detail: str = "") -> Path:
    """Where the baseline of a suite's condition is kept, by names that every file system takes.

    `detail` is that of the gate which is held to it.
    """
    names = (suite, condition, *([detail] if detail else []))
    folder, *file = (condition_slugs([name])[name] for name in names)
    return root / FOLDER / folder / f"{'@'.join(file)}.json"  # no slug has an @


def read_baseline(path: Path) -> Baseline | None:
    """The baseline in a file, None where there is no file. Raises as `parse_baseline`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BaselineError(f"it cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BaselineError(f"it is no baseline: {error}. {_WAY_OUT}") from error
    return parse_baseline(text)


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Put a baseline into its file, which keeps its date when nothing in it changes."""
    text = format_baseline(baseline)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != text.encode("utf-8", "backslashreplace"):
        write_text(path, text)


def all_baselines(root: Path) -> Iterator[tuple[Path, Baseline]]:
    """Every file that holds a baseline, by path; what holds none is left out."""
    for path in sorted((root / FOLDER).glob("*/*.json")):
        try:
            baseline = read_baseline(path)
        except BaselineError:
            continue
        if baseline is not None:
            yield path, baseline


# The format ---------------------------------------------------------------------------------------


def format_baseline(baseline: Baseline) -> str:
    """The text of a baseline's file. Pure, and the same for the same baseline."""
    told = {key: v for key, v in plain(baseline).items() if _USUAL.get(key, _UNUSUAL) != v}
    data = told | {
        "schema": SCHEMA,
        "values": {item: _unwrapped(values) for item, values in baseline.values.items()},
    }
    data["checksum"] = _checksum(data)
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def parse_baseline(text: str) -> Baseline:
    """The baseline that a file's text holds.

    Raises DamagedBaselineError where its content is not what was written, BaselineError where it
    is no baseline or was written by a newer version.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        data = _json(text)
        schema, checksum = data.pop("schema"), data.pop("checksum")
        if isinstance(schema, int) and schema > SCHEMA:
            raise BaselineError(
                f"it was written by a newer version (schema {schema}, this one reads up to "
                f"{SCHEMA}); upgrade pytest-llmeval-local to read it"
            )
        suite, condition = str(data["suite"]), str(data["condition"])
        if checksum != _checksum(data | {"schema": schema}):
            raise DamagedBaselineError(
                "its checksum does not fit its content: it was edited by hand, or a merge has "
                "mixed two of them",
                suite=suite,
                condition=condition,
            )
        data["values"] = {item: _wrapped(value) for item, value in data["values"].items()}
        return TypeAdapter(Baseline).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        words = f"it is no baseline: {place}: {first['msg']}. {_WAY_OUT}"
        raise BaselineError(words) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"it is no baseline: {error}. {_WAY_OUT}") from None


def _json(text: str) -> Any:
    """What the text of a file says; raises ValueError, DamagedBaselineError where it was ours."""
    if too_deep_at(text) is not None:
        raise ValueError(TOO_DEEP)
    try:
        return json.loads(text)
    except ValueError as error:
        if not _BEGINNING.match(text):
            raise
        words = f"it was cut short, or a merge has left its marks in it: {error}"
        raise DamagedBaselineError(words) from None


def kept(value: float) -> float:
    """A score as a baseline keeps it: 1 and 0 whole, others to six digits, so none is noise."""
    return round(value) if value in (0.0, 1.0) else round(value, 6)


def _unwrapped(values: Sequence[float]) -> Any:
    """A single value stands for itself: one line an item."""
    shown = [kept(value) for value in values]
    return shown[0] if len(shown) == 1 else shown


def _wrapped(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _checksum(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


# What has changed ---------------------------------------------------------------------------------


def stranger(found: Baseline | DamagedBaselineError, wanted: Baseline) -> str:
    """Say whose baseline a file holds when it is not the wanted one's; "" when it is.

    A damaged one that does not tell is the one whose name the file has.
    """
    if found.suite is None or (found.suite, found.condition) == (wanted.suite, wanted.condition):
        return ""
    return (
        f"it is the baseline of {found.condition} in suite {found.suite}, "
        f"not of {wanted.condition} in suite {wanted.suite}"
    )


def circumstances(before: Baseline, now: Baseline, *, limited: bool) -> list[str]:
    """Say in words why the two cannot be compared; an empty list when they can.

    `limited` says that --llm-limit has left out items, which is no change of the others. Other
    weights are none either: they are what is being tested.
    """
    found = []
    if before.prompt != now.prompt:
        found.append("the prompt has changed")
    if before.tools != now.tools:
        found.append("the tools have changed")
    if before.form != now.form:
        found.append(f"form was {before.form}, is {now.form}")
    if before.json_schema != now.json_schema:
        found.append("the json_schema has changed")
    if before.grammar != now.grammar:
        found.append("the grammar has changed")
    found += _settings("sampling:", before.sampling, now.sampling)
    if None not in (before.repeats, now.repeats) and before.repeats != now.repeats:
        found.append(f"repeats was {before.repeats}, is {now.repeats}")
    found += _scorer(before.scorer, now.scorer)
    if before.dataset != now.dataset:
        found += _items(before.content, now.content, limited=limited)
    return found


def _settings(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*before, *now}):
        was, is_ = before.get(key), now.get(key)
        if plain(was) != plain(is_):
            yield f"{what} {key} was {json_words(was)}, is {json_words(is_)}"


def _scorer(before: ScorerPlan, now: ScorerPlan) -> Iterator[str]:
    if before.name != now.name:
        yield f"the scorer was {before.name}, is {now.name}"
        return
    if before.version != now.version:
        was, is_ = (
            f"version {v}" if v else "of unknown version" for v in (before.version, now.version)
        )
        yield f"the scorer {now.name} was {was}, is {is_}"
    yield from _settings(f"the scorer {now.name}:", before.options, now.options)


def _items(before: Mapping[str, str], now: Mapping[str, str], *, limited: bool) -> Iterator[str]:
    new = [item for item in now if item not in before]
    gone = [] if limited else [item for item in before if item not in now]
    other = [item for item in now if item in before and before[item] != now[item]]
    for items, words in ((new, "new"), (gone, "gone"), (other, "changed")):
        if items:
            yield f"{counted(len(items), 'item')} {words}: {_named(items)}"


def _named(items: Iterable[str]) -> str:
    names = sorted(items)
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])
