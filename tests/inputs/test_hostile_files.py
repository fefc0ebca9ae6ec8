"""Files that were written to do harm: what they hold is bounded, and the bound has its words."""

import json
import re
from pathlib import Path

import pytest

from pytest_llmeval.errors import DatasetError, SuiteError
from pytest_llmeval.inputs import documents, rows
from pytest_llmeval.inputs.datasets import load_items
from pytest_llmeval.inputs.documents import parse_document, read_document

DEEP = "more than 100 lists and mappings stand inside each other"
WRITTEN_OUT = "with every alias (*name) written out, the values take more than 64 MiB; items may"


def yaml_refusal(text: str) -> str:
    with pytest.raises(SuiteError) as caught:
        parse_document(text, Path("s.yaml"), SuiteError)
    return str(caught.value)


def refusal(folder: Path, text: str, name: str = "x.jsonl") -> str:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    with pytest.raises(DatasetError) as caught:
        load_items(folder / name, id_field=None, target_field=None)
    return str(caught.value)[len(str(folder)) + 1 :]


# YAML ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a:\n  " + "[" * 100_000, 2),
        ("a:\n" + "- " * 100_000, 2),
        ("? " * 100_000, 1),
        ("".join(" " * depth + "k:\n" for depth in range(300)), 101),
    ],
)
def test_yaml_that_is_nested_too_deep_is_told_with_its_line(text: str, line: int) -> None:
    assert yaml_refusal(text) == f"s.yaml:{line}: not valid YAML: {DEEP}"


def test_a_hundred_levels_are_read() -> None:
    document = parse_document(f"a: {'[' * 99}x{']' * 99}", Path("s.yaml"), SuiteError)
    assert json.dumps(document.data) == '{"a": ' + "[" * 99 + '"x"' + "]" * 99 + "}"


def test_aliases_that_nest_what_stands_side_by_side_are_too_deep() -> None:
    chain = "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 5000))
    assert yaml_refusal("a0: &a0 [x]\n" + chain) == f"s.yaml:1: {DEEP}"


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        f"a: &a {'x' * 100_000}\nb: [{'*a,' * 1000}]",
    ],
    ids=["many", "long"],
)
def test_a_bomb_of_aliases_is_refused_before_it_goes_off(text: str) -> None:
    assert yaml_refusal(text).startswith(f"s.yaml:1: {WRITTEN_OUT}")


def test_an_alias_may_repeat_a_list_as_suites_do() -> None:
    text = "a: &a [{q: 1}, {q: 2}]\nb: *a\nc: &a x\nd: *a"
    document = parse_document(text, Path("s.yaml"), SuiteError)
    assert document.data["b"] == document.data["a"]
    assert document.data["d"] == "x"


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!python/module:os"]
)
def test_no_tag_makes_an_object_of_python(tag: str) -> None:
    assert yaml_refusal(f"a: {tag} [x]") == (
        f"s.yaml:1: the YAML tag 'tag:yaml.org,2002:{tag[2:]}' is not known here; leave it out"
    )


def test_a_number_of_thousands_of_digits_stays_a_text() -> None:
    digits = "9" * 5000
    assert parse_document(f"a: {digits}", Path("s.yaml"), SuiteError).data == {"a": digits}


def test_a_suite_is_no_larger_than_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"#" * (4 * 2**20 + 1))
    with pytest.raises(SuiteError) as caught:
        read_document(path, SuiteError)
    assert str(caught.value) == f"{path}: larger than 4 MiB, which is the most here"


# Rows ---------------------------------------------------------------------------------------------

ONE = '{"id": "a", "q": "one"}'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[" * 100_000, DEEP),
        ('{"a":' * 100_000, DEEP),
        ("[" * 150 + "]" * 150, DEEP),
        ("9" * 5000, "not valid JSON: a number of 5,000 digits; write it as a text, in quotes"),
        ("-1e999", "not valid JSON: the number '-1e999' is too large; write it as a text"),
    ],
)
def test_what_a_row_cannot_hold_has_its_line(tmp_path: Path, value: str, words: str) -> None:
    row = f'{{"id": "b", "q": {value}}}'
    assert refusal(tmp_path, f"{ONE}\n\n{row}\n").startswith(f"x.jsonl:3: {words}")
    assert refusal(tmp_path, f"[{ONE},\n{row}]", "x.json").startswith(f"x.json:2: {words}")


def test_a_row_may_be_as_deep_as_the_bound_and_as_long_as_a_float(tmp_path: Path) -> None:
    row = f'{{"id": "a", "q": {"[" * 99}{"]" * 99}, "n": {"9" * 300}}}'
    for name, text in (("x.jsonl", row), ("x.json", f"[{row}]")):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        (item,) = load_items(tmp_path / name, id_field=None, target_field=None)
        assert item.fields["n"] == int("9" * 300)


def test_a_key_given_twice_is_found_among_a_hundred_thousand(tmp_path: Path) -> None:
    keys = ", ".join(f'"k{n}": 1' for n in range(100_000))
    words = "x.jsonl:1: not valid JSON: the key 'k99999' is given twice"
    assert refusal(tmp_path, f'{{{keys}, "k99999": 2}}') == words


def test_a_data_file_is_no_larger_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LARGEST_DATA", 2**20)
    words = "larger than 1 MiB, which is the most here"
    for name in ("x.jsonl", "x.json", "x.csv"):
        assert refusal(tmp_path, " " * (2**20 + 1), name) == f"{name}: {words}"


def test_parquet_that_unpacks_to_far_more_than_it_is_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(rows, "LARGEST_DATA", 2**24)
    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"q": ["x" * 10_000] * 5_000}), path, compression="zstd")
    assert path.stat().st_size < 2**20
    with pytest.raises(DatasetError) as caught:
        load_items(path, id_field=None, target_field=None)
    assert str(caught.value) == f"{path}: more than 16 MiB when it is unpacked, the most here"


def test_the_bounds_are_those_of_the_reference() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    text = page.split("## What is held against hostile files and answers")[1]
    for bound in (documents._LARGEST, documents._LARGEST_WRITTEN_OUT, documents.LARGEST_DATA):
        number = f"{bound >> 20} MiB" if bound < 2**30 else f"{bound >> 30} GiB"
        assert re.search(rf"\b{number}", text)
