"""What the documents for contributors name is there, and what is there is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pytest_llmeval"
DOCUMENTS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "changelog/README.md")
#: Where a name without a folder may be meant to be.
PLACES = (ROOT, PACKAGE, *sorted(path for path in PACKAGE.rglob("*") if path.is_dir()))


#: Made by whoever runs an evaluation, and ignored by git.
MADE_LATER = {"runs/"}


def named_files(text: str) -> Iterator[str]:
    """The files and folders that a text names in backticks."""
    for name in re.findall(r"`([\w./-]+)`", text):
        if name.endswith(("/", ".py", ".yaml", ".toml")) and name not in MADE_LATER:
            yield name


def missing(text: str) -> list[str]:
    return [
        name for name in named_files(text) if not any((place / name).exists() for place in PLACES)
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_a_document_names_exists(document: str) -> None:
    assert missing((ROOT / document).read_text(encoding="utf-8")) == []


def test_a_name_without_a_file_is_found() -> None:
    assert missing("see `tools/dev.py`, `wire.py`, `nowhere/` and `engines/gone.py`") == [
        "nowhere/",
        "engines/gone.py",
    ]


def test_the_code_map_names_every_room_and_every_module_beside_them() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    rooms = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    named = {name.removeprefix("pytest_llmeval/") for name in named_files(text)}
    assert modules | rooms <= named
