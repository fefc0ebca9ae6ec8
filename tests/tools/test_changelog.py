"""Changelog fragments have the names that towncrier collects and the length that users read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRAGMENTS = sorted(path for path in (ROOT / "changelog").iterdir() if path.name != "README.md")
NAME = re.compile(r"(\d+|\+[\w-]+)\.(feature|change|bugfix|removal)(\.\d+)?\.md")
WORDS = 25


def mistakes(name: str, text: str) -> list[str]:
    """What is wrong with a fragment."""
    wrong = []
    if not NAME.fullmatch(name):
        wrong.append(f"{name}: not named as changelog/README.md says, such as 2.feature.md")
    if not 0 < len(text.split()) < WORDS:
        wrong.append(f"{name}: {len(text.split())} words; 1 to {WORDS - 1} are allowed")
    if not text.strip().endswith("."):
        wrong.append(f"{name}: no full sentence, it does not end with a full stop")
    return wrong


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.name)
def test_a_fragment_has_its_name_and_length(fragment: Path) -> None:
    assert mistakes(fragment.name, fragment.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("feature.md", "Something is new.", "not named as changelog/README.md says"),
        ("2.feat.md", "Something is new.", "not named as changelog/README.md says"),
        ("2.feature.md", "word " * 24 + "end.", "25 words; 1 to 24 are allowed"),
        ("2.feature.md", "\n", "0 words; 1 to 24 are allowed"),
        ("2.bugfix.1.md", "It works now", "does not end with a full stop"),
    ],
)
def test_a_mistake_is_named(name: str, text: str, message: str) -> None:
    assert any(message in each for each in mistakes(name, text))
