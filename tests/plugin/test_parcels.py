"""What travels between workers and the controller, and the words for what cannot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_llmeval.parcels import Ask, ParcelError, packed, unpacked

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

OWN = """
import enum
import pytest

class Level(enum.IntEnum):
    HARD = 3

ITEMS = [{"id": f"f{n}", "question": f"say {n}", "level": LEVEL} for n in range(4)]

@pytest.mark.llmeval(items=ITEMS, prompt="{{ question }} at {{ level }}")
def test_marked(llm_item, llm_prediction):
    assert llm_prediction.text
"""


def test_a_parcel_arrives_as_it_was() -> None:
    ask = Ask("one::m/plain::a", 3)
    assert unpacked(packed(ask)) == ask


def test_what_cannot_be_sent_is_said() -> None:
    with pytest.raises(ParcelError, match=r"cannot be sent to another process: .*lambda"):
        packed(lambda: None)


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(ParcelError, match=r"cannot be read by another process: \w+Error"):
        unpacked(b"\x80\x04no pickle")


def test_an_item_with_a_value_of_the_test_modules_own_is_named(project: Project) -> None:
    project.write("test_own.py", OWN.replace("LEVEL}", "Level.HARD}"))
    project.run("-n0").assert_outcomes(passed=4)
    result = project.run("-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    words = (
        "ERROR: test_own.test_marked: level of the item 'f0' is a test_own.Level, which cannot be "
        "read by another process: ModuleNotFoundError: No module named 'test_own'; with "
        "pytest-xdist items hold plain values only: text, numbers, lists and mappings. Give it as "
        "one of these, or run with -n0"
    )
    result.stderr.fnmatch_lines([words, "*llmeval: nothing was sent"])


def test_items_of_many_megabytes_travel(project: Project) -> None:
    big = "x" * 8_000_000
    items = [project.right(f"r{n}", note=big) for n in range(4)]
    lines = "".join(json.dumps(item) + "\n" for item in items)
    (project.root / "big.jsonl").write_text(lines, encoding="utf-8")
    suite = {"items": "../big.jsonl", "target": "answer", "score": "exact"}
    project.suite("one", text=json.dumps({**suite, "prompts": {"plain": "{{ question }}"}}))
    project.run("-n2").assert_outcomes(passed=4)
    assert [row["outcome"] for row in project.rows("predictions")] == ["right"] * 4
