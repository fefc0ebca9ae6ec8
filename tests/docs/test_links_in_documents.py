"""Links lead somewhere, and no document speaks of a place on somebody's machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "models/README.md"),
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
)

#: Folders that only a machine has. `D:\\models` in an example of a Windows path is none.
_PLACE = re.compile(r"(?<![\w.~])/(?:home|Users|root|srv|tmp|mnt|opt|var)/\S*|\b[A-Z]:\\Users\\\S*")


def prose(path: Path) -> str:
    """The text without fences."""
    return re.sub(r"(?ms)^```.*?^```$", "", path.read_text(encoding="utf-8"))


def links(text: str) -> Iterator[str]:
    yield from re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)


def anchors(path: Path) -> set[str]:
    """The headings of a document as links name them."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(path))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead(document: Path, link: str) -> bool:
    """Whether a link within the repository leads to no file, or to no heading of it."""
    if re.match(r"[a-z]+:", link):
        return False
    name, _, anchor = link.partition("#")
    target = document.parent / name if name else document
    return not target.exists() or bool(anchor and anchor not in anchors(target))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file_and_a_heading(document: str) -> None:
    path = ROOT / document
    assert [link for link in links(prose(path)) if dead(path, link)] == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A run's folder\n", encoding="utf-8")
    given = ["#a-runs-folder", "page.md#a-runs-folder", "https://example.org", "#gone", "gone.md"]
    assert [link for link in given if dead(page, link)] == ["#gone", "gone.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_document_names_a_place_on_a_machine(document: str) -> None:
    assert _PLACE.findall((ROOT / document).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", ["see /home/ann/x", "`/tmp/x`", r"C:\Users\ann\x", "(/srv/y)"])
def test_a_place_on_a_machine_is_found(text: str) -> None:
    assert _PLACE.search(text)


@pytest.mark.parametrize("text", ["~/models/x", r"'D:\models\x.gguf'", "and/or/tmp", "./tmp/x"])
def test_other_paths_are_none(text: str) -> None:
    assert not _PLACE.search(text)
