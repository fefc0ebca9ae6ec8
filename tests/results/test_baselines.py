"""The files of baselines/: written the same way every time, and refused when they are not whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import BaselineError, DamagedBaselineError
from pytest_llmeval.results.baselines import (
    Baseline,
    all_baselines,
    baseline_path,
    circumstances,
    format_baseline,
    parse_baseline,
    read_baseline,
    stranger,
    write_baseline,
)
from pytest_llmeval.results.plan import ScorerPlan

BASELINE = Baseline(
    suite="arithmetic",
    origin="suites/arithmetic.yaml",
    condition="tiny-l/plain",
    dataset="d1",
    prompt="p1",
    tools="",
    sampling={"max_tokens": 8, "temperature": 0, "stop": ["\n"]},
    scorer=ScorerPlan("numeric", {"tolerance": 0.01}, "1"),
    content={"add-2": "c2", "add-1": "c1", "größer": "c3"},
    values={"add-2": (0.0,), "add-1": (1.0,), "größer": (2 / 3,)},
    weights="5e5e",
    made_by="0.1.0",
)


def test_what_is_written_is_read_again() -> None:
    found = parse_baseline(format_baseline(BASELINE))
    assert found.values == {"add-1": (1,), "add-2": (0,), "größer": (0.666667,)}
    assert replace(found, values=BASELINE.values) == BASELINE


def test_the_text_is_canonical() -> None:
    turned = replace(
        BASELINE,
        content=dict(reversed(list(BASELINE.content.items()))),
        values=dict(reversed(list(BASELINE.values.items()))),
        sampling=dict(reversed(list(BASELINE.sampling.items()))),
    )
    text = format_baseline(BASELINE)
    assert format_baseline(turned) == text
    assert format_baseline(parse_baseline(text)) == text
    assert text.endswith("}\n")
    lines = [line.strip() for line in text.splitlines()]
    assert {'"add-1": 1,', '"add-2": 0,', '"größer": 0.666667'} <= set(lines)
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_what_answers_are_held_to_is_kept_where_they_are_held_to_something() -> None:
    held = replace(BASELINE, form="completion", json_schema="s1", grammar="")
    found = parse_baseline(format_baseline(held))
    assert (found.form, found.json_schema, found.grammar) == ("completion", "s1", "")
    assert not {"form", "json_schema", "grammar"} & set(json.loads(format_baseline(BASELINE)))


def test_repeats_are_kept_one_by_one() -> None:
    repeated = replace(BASELINE, values={"add-1": (1.0, 0.0, 0.5)})
    assert json.loads(format_baseline(repeated))["values"] == {"add-1": [1, 0, 0.5]}
    assert parse_baseline(format_baseline(repeated)).values == {"add-1": (1, 0, 0.5)}


def test_a_file_has_the_names_of_its_suite_and_condition(tmp_path: Path) -> None:
    path = baseline_path(tmp_path, "arithmetic", "tiny-l/plain")
    assert path == tmp_path / "baselines" / "arithmetic" / "tiny-l--plain.json"
    odd = baseline_path(tmp_path, "aux", "tiny l/größer?")
    assert odd.relative_to(tmp_path).as_posix() == "baselines/_aux/tiny-l--größer.json"


def test_a_further_scorer_has_a_file_that_no_condition_could_have(tmp_path: Path) -> None:
    names = [
        baseline_path(tmp_path, "arithmetic", *rest).name
        for rest in (("m/plain", "exact"), ("m/plain@exact",), ("m/plain", "a/b c"))
    ]
    assert names == ["m--plain@exact.json", "m--plain-exact.json", "m--plain@a--b-c.json"]


def test_a_file_is_utf_8_with_plain_newlines_and_is_left_alone_when_nothing_changes(
    tmp_path: Path,
) -> None:
    path = baseline_path(tmp_path, "arithmetic", "tiny-l/plain")
    write_baseline(path, BASELINE)
    assert path.read_bytes() == format_baseline(BASELINE).encode("utf-8")
    before = path.stat().st_mtime_ns
    write_baseline(path, BASELINE)
    assert path.stat().st_mtime_ns == before
    write_baseline(path, replace(BASELINE, weights=None))
    found = read_baseline(path)
    assert found is not None
    assert found.weights is None


def test_line_ends_of_windows_do_not_make_a_file_another_one(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(format_baseline(BASELINE).replace("\n", "\r\n").encode("utf-8"))
    found = read_baseline(path)
    assert found is not None
    assert found.suite == "arithmetic"


def test_no_file_is_no_baseline(tmp_path: Path) -> None:
    assert read_baseline(tmp_path / "none.json") is None


EDITED = "its checksum does not fit its content: it was edited by hand, or a merge has mixed"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: data["values"].update({"add-2": 1}), EDITED),
        (lambda data: data["values"].pop("add-2"), EDITED),
        (lambda data: data.update(extra=1), EDITED),
        (lambda data: data.update(prompt="p2"), EDITED),
        (lambda data: data.update(checksum="00"), EDITED),
        (
            lambda data: data.update(schema=2),
            "written by a newer version (schema 2, this one reads",
        ),
        (lambda data: data.pop("checksum"), "it is no baseline: 'checksum'"),
    ],
)
def test_a_file_that_was_edited_is_known(
    spoil: Callable[[dict[str, Any]], object], words: str
) -> None:
    data = json.loads(format_baseline(BASELINE))
    spoil(data)
    with pytest.raises(BaselineError) as refusal:
        parse_baseline(json.dumps(data))
    assert words in str(refusal.value)
    assert isinstance(refusal.value, DamagedBaselineError) == (words == EDITED)


def test_an_edited_file_still_tells_whose_it_is() -> None:
    text = format_baseline(BASELINE).replace('"add-2": 0', '"add-2": 1')
    with pytest.raises(DamagedBaselineError) as refusal:
        parse_baseline(text)
    assert stranger(refusal.value, BASELINE) == ""
    assert "it is the baseline of tiny-l/plain in suite arithmetic, not of" in stranger(
        refusal.value, replace(BASELINE, suite="capitals")
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("{", "{\n<<<<<<< HEAD", 1),
        lambda text: text.replace(' "dataset"', '<<<<<<< HEAD\n "dataset"', 1),
    ],
    ids=["cut short", "conflict at once", "conflict later"],
)
def test_a_baseline_that_is_no_json_any_more_is_still_one_of_ours(
    spoil: Callable[[str], str],
) -> None:
    with pytest.raises(DamagedBaselineError, match="cut short, or a merge has left its marks"):
        parse_baseline(spoil(format_baseline(BASELINE)))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "<<<<<<< HEAD\n{}"])
def test_a_file_that_is_something_else_is_refused(text: str) -> None:
    with pytest.raises(BaselineError, match="it is no baseline: ") as refusal:
        parse_baseline(text)
    assert not isinstance(refusal.value, DamagedBaselineError)
    assert str(refusal.value).endswith("or move the file away: nothing overwrites it")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(b"\xff\xfe{\x00}\x00")
    with pytest.raises(BaselineError, match="it is no baseline: 'utf-8' codec"):
        read_baseline(path)


def test_all_baselines_leave_out_what_is_none(tmp_path: Path) -> None:
    for suite in ("b", "a"):
        write_baseline(baseline_path(tmp_path, suite, "m"), replace(BASELINE, suite=suite))
    (tmp_path / "baselines" / "a" / "broken.json").write_text("{", encoding="utf-8")
    assert [baseline.suite for _, baseline in all_baselines(tmp_path)] == ["a", "b"]
    assert list(all_baselines(tmp_path / "nowhere")) == []


def test_a_baseline_of_another_suite_or_condition_is_named() -> None:
    assert stranger(BASELINE, BASELINE) == ""
    other = replace(BASELINE, suite="capitals", condition="tiny-s/plain")
    assert stranger(BASELINE, other) == (
        "it is the baseline of tiny-l/plain in suite arithmetic, "
        "not of tiny-s/plain in suite capitals"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"weights": "7a7a", "made_by": "9"}, []),
        (
            {"scorer": ScorerPlan("numeric", {"tolerance": 0.01}, "")},
            ["the scorer numeric was version 1, is of unknown version"],
        ),
        ({"values": {"add-1": (1.0, 0.0), "add-2": (1.0, 1.0)}}, ["repeats was 1, is 2"]),
        ({"values": {}}, []),
        ({"prompt": "p2"}, ["the prompt has changed"]),
        ({"tools": "t"}, ["the tools have changed"]),
        ({"form": "completion"}, ["form was chat, is completion"]),
        ({"json_schema": "s"}, ["the json_schema has changed"]),
        ({"grammar": "g"}, ["the grammar has changed"]),
        (
            {"sampling": {"max_tokens": 9, "temperature": 0, "seed": 1}},
            [
                "sampling: max_tokens was 8, is 9",
                "sampling: seed was null, is 1",
                'sampling: stop was ["\\n"], is null',
            ],
        ),
        (
            {"scorer": ScorerPlan("exact", {}, "1")},
            ["the scorer was numeric, is exact"],
        ),
        (
            {"scorer": ScorerPlan("numeric", {}, "2")},
            [
                "the scorer numeric was version 1, is version 2",
                "the scorer numeric: tolerance was 0.01, is null",
            ],
        ),
        (
            {"dataset": "d2", "content": {"add-1": "c1", "add-2": "c9", "new": "c4"}},
            ["1 item new: new", "1 item gone: größer", "1 item changed: add-2"],
        ),
        (
            {"dataset": "d2", "content": {**BASELINE.content, **{f"n{n}": "" for n in range(9)}}},
            ["9 items new: n0, n1, n2, 6 more"],
        ),
    ],
)
def test_what_has_changed_is_told_by_name(changes: dict[str, Any], words: list[str]) -> None:
    assert circumstances(BASELINE, replace(BASELINE, **changes), limited=False) == words


def test_a_version_that_was_unknown_is_another_one() -> None:
    unknown = replace(BASELINE, scorer=ScorerPlan("numeric", {"tolerance": 0.01}))
    words = ["the scorer numeric was of unknown version, is version 1"]
    assert circumstances(unknown, BASELINE, limited=False) == words
    assert circumstances(unknown, unknown, limited=False) == []


def test_items_that_a_limit_left_out_have_not_changed() -> None:
    limited = replace(BASELINE, dataset="d2", content={"add-1": "c1"})
    assert circumstances(BASELINE, limited, limited=True) == []
    other = replace(limited, content={"add-1": "c9", "new": "c4"})
    assert circumstances(BASELINE, other, limited=True) == [
        "1 item new: new",
        "1 item changed: add-1",
    ]
