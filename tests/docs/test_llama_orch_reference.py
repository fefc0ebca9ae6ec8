"""docs/llama-orch.md names every key, rule and way to start at boot that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic.fields import FieldInfo

from pytest_llmeval.inputs.sections import Section
from pytest_llmeval.orchestrator import lint_rules, lint_together
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.profiles import Profile
from pytest_llmeval.orchestrator.services import Kind, default_kind

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "llama-orch.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    found = re.search(rf"(?ms)^{re.escape(heading)}\n(.*?)(?=^## |\Z)", DOCUMENT)
    assert found, heading
    return found[1]


def rows(heading: str) -> list[Sequence[str]]:
    """The cells of every row of every table of a section."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def keys(of: type[Section], before: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key with its section before it; a section by itself is none."""
    for name, content in of.model_fields.items():
        inner = content.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from keys(inner, f"{before}{name}.")
        else:
            yield f"{before}{name}", content


def default_words(content: FieldInfo) -> str:
    if content.is_required():
        return "needed"
    default: Any = content.get_default(call_default_factory=True)
    if default is None:
        return "unset"
    if default in ((), {}):
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return f"`{default}`" if isinstance(default, str) else f"{default:.10g}"


@pytest.mark.parametrize(("key", "content"), list(keys(InstanceConfig)))
def test_every_key_stands_with_what_it_says_and_its_default(key: str, content: FieldInfo) -> None:
    row = next(row for row in rows("## Instances and their configs") if row[0] == f"`{key}`")
    assert row[1:] == [content.description, default_words(content)]


def test_no_key_is_told_that_there_is_not() -> None:
    told = [row[0].strip("`") for row in rows("## Instances and their configs") if len(row) == 3]
    known = {key for key, _ in keys(InstanceConfig)}
    table = told[1 : told.index("rule")]
    assert set(table) - {"---"} == known


def test_every_rule_of_lint_stands_with_its_severity() -> None:
    """Each rule is named by the findings that it makes: `about(..., "error", "model", ...)`."""
    found = {("config", "error"), ("config", "warning"), ("autostart", "error")}
    for module in (lint_rules, lint_together):
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        made = re.findall(r'(?:"(error|warning|note)"|severity), "(\w+)", ', text)
        found |= {(rule, severity) for severity, rule in made if severity}
    found |= {("memory", "note"), ("memory", "warning")}
    told = {(row[0].strip("`"), row[1]) for row in rows("## Instances and their configs")}
    assert {pair for pair in told if pair[1] in {"error", "warning", "note"}} == found


def test_every_profile_is_named() -> None:
    assert all(f"`{profile}`" in section("## Quick start") for profile in get_args(Profile))


def test_every_kind_of_service_is_in_the_table_with_its_system() -> None:
    table = {row[0].strip("`"): row for row in rows("## Starting at boot")}
    assert table.keys() - {"--kind", "---"} == set(get_args(Kind))
    for system, name in (("linux", "Linux"), ("darwin", "macOS"), ("win32", "Windows")):
        assert table[default_kind(system)][1] == name
