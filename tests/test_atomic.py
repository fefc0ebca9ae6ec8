"""Files that are there and whole, or not there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from pytest_llmeval.atomic import replacing_text, write_json, write_text


@dataclass(frozen=True)
class Point:
    x: float
    tags: tuple[str, ...]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_text(path, "old")

    def write_half() -> None:
        with replacing_text(path) as handle:
            handle.write("half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.md"]


def test_newlines_stay_as_they_are_and_text_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_text(path, "é\n\r\n")
    assert path.read_bytes() == b"\xc3\xa9\n\r\n"


def test_json_takes_dataclasses_mappings_and_tuples_in_the_order_of_their_keys(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"b": Point(0.1, ("é",)), "a": MappingProxyType({"n": None})})
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "b": {"x": 0.1, "tags": ["é"]},
        "a": {"n": None},
    }
    assert path.read_text(encoding="utf-8").index('"b"') < path.read_text(encoding="utf-8").index(
        '"a"'
    )
    assert "é" in path.read_text(encoding="utf-8")


def test_a_lone_surrogate_survives_in_json_as_its_escape(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, ["\ud800 é"])
    assert json.loads(path.read_bytes()) == ["\ud800 é"]


def test_a_nan_is_refused_and_no_file_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"mean": float("nan")})
    assert list(tmp_path.iterdir()) == []
