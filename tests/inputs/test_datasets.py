"""Items out of JSONL, JSON, CSV and Parquet: ids, names, targets, tags, hash, limits, splits."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_llmeval.errors import DatasetError, MissingExtraError
from pytest_llmeval.inputs.datasets import (
    checked_tags,
    dataset_hash,
    item_hash,
    load_items,
    slug_of,
)
from pytest_llmeval.inputs.selection import sample, split, unasked
from pytest_llmeval.records import Item

ROWS: list[dict[str, Any]] = [
    {"id": "add-1", "a": 17, "b": 25, "answer": "42", "tags": ["carry"]},
    {"id": "add-2", "a": 20, "b": 11, "answer": "31", "tags": []},
    {"id": "add-3", "a": 99, "b": 1, "answer": "100", "tags": ["carry", "edge"]},
]


def jsonl(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def load(
    folder: Path,
    text: str | bytes,
    name: str = "data.jsonl",
    *,
    id_field: str | None = None,
    target: str | None = "answer",
) -> tuple[Item, ...]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_items(path, id_field=id_field, target_field=target)


def refusal(folder: Path, text: str | bytes, name: str = "data.jsonl", **fields: Any) -> str:
    """The words of the error, the file's folder left out."""
    with pytest.raises(DatasetError) as caught:
        load(folder, text, name, **fields)
    return str(caught.value)[len(str(folder)) + 1 :]


def items_named(ids: Sequence[str]) -> tuple[Item, ...]:
    return tuple(Item(id_, slug_of(id_), {"id": id_}, None) for id_ in ids)


# Formats ------------------------------------------------------------------------------------------


def test_jsonl_gives_an_item_a_line_and_skips_blank_ones(tmp_path: Path) -> None:
    items = load(tmp_path, "\n" + jsonl(ROWS).replace("\n", "\r\n\r\n"))
    assert [item.id for item in items] == ["add-1", "add-2", "add-3"]
    assert items[0] == Item("add-1", "add-1", ROWS[0], "42", ("carry",))


def test_only_a_newline_ends_a_line_of_jsonl(tmp_path: Path) -> None:
    (item,) = load(tmp_path, '{"id": "x", "answer": "a\u2028b\u0085c"}')
    assert item.target == "a\u2028b\u0085c"


def test_json_is_a_list_of_objects(tmp_path: Path) -> None:
    assert load(tmp_path, json.dumps(ROWS, indent=2), "data.json") == load(tmp_path, jsonl(ROWS))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_has_a_header_and_texts(tmp_path: Path, encoding: str) -> None:
    text = 'id,question,answer,tags\r\nx,"Two,\r\nlines",grün,"carry, edge"\r\n\r\ny,q,b,\r\n'
    items = load(tmp_path, text.encode(encoding), "data.csv")
    assert items[0].fields["question"] == "Two,\r\nlines"
    assert (items[0].target, items[0].tags) == ("grün", ("carry", "edge"))
    assert (items[1].id, items[1].tags) == ("y", ())


def test_a_field_of_csv_may_be_a_long_document(tmp_path: Path) -> None:
    text = "x" * 200_000
    (item,) = load(tmp_path, f"id,answer\nx,{text}\n", "data.csv")
    assert item.target == text


def test_parquet_gives_what_json_would_hold(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet needs the extra 'parquet'")
    from datetime import date
    from decimal import Decimal

    from pyarrow import parquet

    rows = [{**row, "day": date(2026, 1, 2), "sum": Decimal("1.50"), "no": None} for row in ROWS]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    items = load_items(tmp_path / "data.parquet", id_field=None, target_field="answer")
    assert [item.id for item in items] == ["add-1", "add-2", "add-3"]
    extra = {"day": "2026-01-02", "sum": "1.50", "no": None}
    assert items[0] == Item("add-1", "add-1", {**ROWS[0], **extra}, "42", ("carry",))


def test_parquet_without_pyarrow_names_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "pytest-llmeval-local\[parquet\]"'):
        load(tmp_path, b"PAR1", "data.parquet")


# Ids, targets, tags -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "text"),
    [
        *[("42", "42"), ("1.50", "1.50"), ("1E3", "1E3"), ("true", "true"), ('"010"', "010")],
        *[("-0.0", "-0.0"), ("12345678901234567890.0", "12345678901234567890.0")],
    ],
)
@pytest.mark.parametrize(("name", "form"), [("d.jsonl", "{}\n"), ("d.json", "[\n{}]")])
def test_ids_and_targets_are_text_as_the_source_writes_them(
    tmp_path: Path, written: str, text: str, name: str, form: str
) -> None:
    row = f'{{"id": {written}, "answer": {written}}}'
    (item,) = load(tmp_path, form.format(row), name)
    assert (item.id, item.target) == (text, text)


@pytest.mark.parametrize("target", [["a", "b"], [], {"name": "x"}, [{"city": "Rome", "n": 1}]])
def test_lists_and_objects_stay_what_they_are(tmp_path: Path, target: Any) -> None:
    (item,) = load(tmp_path, jsonl([{"id": "x", "answer": target}]))
    assert item.target == target


def test_another_field_may_hold_the_id_and_none_the_target(tmp_path: Path) -> None:
    (item,) = load(tmp_path, jsonl([{"name": 7, "id": "no"}]), id_field="name", target=None)
    assert (item.id, item.target) == ("7", None)


def test_an_id_out_of_the_content_is_the_same_on_every_machine(tmp_path: Path) -> None:
    rows = [{"q": "Wie heißt du?", "n": 1.5}, {"q": "b", "n": None}]
    items = load(tmp_path, jsonl(rows), target=None)
    assert [item.id for item in items] == ["3cffec1c77", "6a0764f484"]


def test_an_id_out_of_the_content_knows_neither_place_nor_order_of_keys(tmp_path: Path) -> None:
    first = load(tmp_path, '{"a": 1, "b": 2}\n{"a": 3}\n', target=None)
    second = load(tmp_path, '{"a": 9}\n{"a": 3}\n{"b": 2, "a": 1}\n', "other.jsonl", target=None)
    assert [item.id for item in first] == [second[2].id, second[1].id]


@pytest.mark.parametrize("id_", ["add-0017", "a/b.c_d+e-f", "1.1", "x.02"])
def test_a_safe_id_is_its_own_slug(id_: str) -> None:
    assert slug_of(id_) == id_


@pytest.mark.parametrize(
    ("id_", "slug"),
    [
        ("What is 2+2?", "What-is-2+2-52cb6b5e4a"),
        ("a::b[c]", "a-b-c-93b8458370"),
        ("größe", "gr-e-d353a2671b"),
        ("日本", "item-cf2abf0c5b"),
        ("x" * 101, "x" * 100 + "-c675a2e604"),
    ],
)
def test_any_other_id_becomes_safe_and_keeps_its_hash(id_: str, slug: str) -> None:
    assert slug_of(id_) == slug


@given(st.lists(st.text(min_size=1), unique=True))
def test_different_ids_have_different_slugs_of_safe_characters(ids: list[str]) -> None:
    slugs = [slug_of(id_) for id_ in ids]
    assert len(set(slugs)) == len(slugs)
    assert all(re.fullmatch(r"[A-Za-z0-9_./+-]+", slug) for slug in slugs)


@pytest.mark.parametrize("given", [["a", "b-c", "a"], "a, b-c ,a", ("a", "b-c")])
def test_tags_come_in_a_list_or_between_commas_and_once(given: Any) -> None:
    assert checked_tags(given) == ("a", "b-c")


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("two words", "for instance 'two_words'"),
        ("2nd", "for instance 'tag_2nd'"),
        ("not", "the tag 'not' cannot be used with pytest -m"),
        ("True", "the tag 'True' cannot be used with pytest -m"),
        ("_x", "for instance 'x'"),
        ("größe", "the tag 'größe' cannot be used with pytest -m"),
        ("", "the tag '' cannot be used"),
        ("skip", "the tag 'skip' has a meaning of its own to pytest"),
        ("xfail", "the tag 'xfail' has a meaning of its own to pytest"),
    ],
)
def test_a_tag_that_pytest_cannot_use_is_refused(tag: str, words: str) -> None:
    with pytest.raises(ValueError, match="the tag") as caught:
        checked_tags([tag])
    assert words in str(caught.value)


# Hash, limits, splits: literal values prove that no machine and no Python has a say --------------


def test_the_hash_is_the_same_on_every_machine(tmp_path: Path) -> None:
    expected = "fc39922e29837f6a44b4d585129dc0f9fb29d87a5d97be6534a526bf1e5c69e0"
    assert dataset_hash(load(tmp_path, jsonl(ROWS))) == expected


def test_the_hash_knows_neither_order_nor_format(tmp_path: Path) -> None:
    rows = [dict(reversed(row.items())) for row in reversed(ROWS)]
    hashes = {
        dataset_hash(load(tmp_path, jsonl(ROWS))),
        dataset_hash(load(tmp_path, jsonl(rows))),
        dataset_hash(load(tmp_path, json.dumps(rows), "data.json")),
    }
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64


def test_texts_hash_the_same_in_csv(tmp_path: Path) -> None:
    rows = [{"id": "x", "q": "a", "answer": "b"}]
    in_csv = load(tmp_path, "id,q,answer\nx,a,b\n", "data.csv")
    assert dataset_hash(in_csv) == dataset_hash(load(tmp_path, jsonl(rows)))


@pytest.mark.parametrize(
    "change", [{"a": 18}, {"id": "add-9"}, {"answer": "43"}, {"tags": ["x"]}, {"a": "17"}, {"c": 1}]
)
def test_the_hash_knows_every_value(tmp_path: Path, change: dict[str, Any]) -> None:
    changed = [{**ROWS[0], **change}, *ROWS[1:]]
    assert dataset_hash(load(tmp_path, jsonl(ROWS))) != dataset_hash(load(tmp_path, jsonl(changed)))


def test_an_items_own_hash_is_short_and_knows_what_no_prompt_shows(tmp_path: Path) -> None:
    item, *_ = load(tmp_path, jsonl(ROWS))
    assert item_hash(item) == dataset_hash([item])[:12]
    assert item_hash(item) != item_hash(replace(item, fields={**item.fields, "hidden": 1}))


HUNDRED = items_named([f"q-{n:03d}" for n in range(100)])


def test_a_limit_takes_the_same_items_on_every_machine() -> None:
    chosen = {seed: " ".join(_ids(sample(HUNDRED, 5, seed))) for seed in (0, 7)}
    assert chosen[0] == "q-010 q-023 q-037 q-043 q-080"
    assert chosen[7] == "q-006 q-011 q-014 q-023 q-059"


def test_a_split_takes_the_same_items_on_every_machine() -> None:
    test = split(HUNDRED, {"train": 0.9, "test": 0.1}, "test", 0)
    assert " ".join(_ids(test)) == "q-017 q-026 q-040 q-045 q-083 q-089 q-093"


def test_a_limit_keeps_the_order_of_the_file_and_ignores_it() -> None:
    forwards = sample(HUNDRED, 10, 3)
    backwards = sample(HUNDRED[::-1], 10, 3)
    assert backwards == forwards[::-1]
    assert list(forwards) == sorted(forwards, key=lambda item: item.id)


def test_a_smaller_limit_is_part_of_a_larger_one() -> None:
    assert set(_ids(sample(HUNDRED, 10, 3))) < set(_ids(sample(HUNDRED, 20, 3)))


@pytest.mark.parametrize("n", [3, 4])
def test_a_limit_beyond_the_end_takes_all(n: int) -> None:
    assert sample(HUNDRED[:3], n, 0) == HUNDRED[:3]


@given(st.sets(st.text(min_size=1), min_size=1), st.sets(st.text(min_size=1)), st.integers(0, 99))
def test_every_item_is_in_one_split_and_new_items_move_none(
    ids: set[str], more: set[str], seed: int
) -> None:
    fractions = {"train": 0.7, "dev": 0.1, "test": 0.2}
    few, many = items_named(sorted(ids)), items_named(sorted(ids | more))
    before = {part: set(_ids(split(few, fractions, part, seed))) for part in fractions}
    after = {part: set(_ids(split(many, fractions, part, seed))) for part in fractions}
    assert sum(len(part) for part in before.values()) == len(ids)
    assert set().union(*before.values()) == ids
    assert all(before[part] <= after[part] for part in fractions)


def _ids(items: Sequence[Item]) -> list[str]:
    return [item.id for item in items]


def test_a_limit_within_a_split_is_a_fair_choice_of_it() -> None:
    """Both draw by hash; were it the same draw, a limit would take the split's low end only."""
    many = items_named([str(n) for n in range(2000)])
    train = split(many, {"train": 0.5, "test": 0.5}, "train", 0)
    limited = {item.id for item in sample(many, 1000, 0)}
    both = sum(item.id in limited for item in train)
    assert 400 < both < 600


def test_unasked_items_are_those_of_other_content_whatever_their_id() -> None:
    asked = [Item("x", "x", {"id": "x", "q": "a"}, "1")]
    pool = [Item("y", "y", {"id": "y", "q": "a"}, "1"), Item("z", "z", {"id": "x", "q": "b"}, "1")]
    assert [item.id for item in unasked(pool, asked, {"id"})] == ["z"]


# What is refused ----------------------------------------------------------------------------------

ONE = '{"id": "x", "answer": "a"}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "data.jsonl: the dataset is empty: at least one item is needed"),
        ("\n \n", "data.jsonl: the dataset is empty"),
        (ONE + "{'id': 1}", "data.jsonl:2: not valid JSON: Expecting property name enclosed in"),
        (ONE + '{"id": "y"', "data.jsonl:2: not valid JSON: Expecting ',' delimiter (column 11)"),
        (ONE + '["a"]', "data.jsonl:2: expected an object such as {"),
        (ONE + "7", "data.jsonl:2: expected an object such as"),
        (
            ONE + '{"id": "y", "id": "z"}',
            "data.jsonl:2: not valid JSON: the key 'id' is given twice",
        ),
        (ONE + '{"id": "y", "n": NaN}', "data.jsonl:2: not valid JSON: NaN is no number of JSON"),
        (
            ONE + "\n" + ONE,
            "data.jsonl:3: the id 'x' is given on line 1 already; ids must be unique",
        ),
        (
            ONE + '{"id": "y", "anser": "b"}',
            (
                "data.jsonl:2: no field 'answer', which is the target; the row has: anser, id; "
                "did you mean 'anser'?"
            ),
        ),
        (ONE + '{"id": "y", "answer": null}', "data.jsonl:2: the target 'answer' is empty"),
        (ONE + '{"id": "y", "answer": ""}', "data.jsonl:2: the target 'answer' is empty"),
        (
            ONE + '{"id": ["y"], "answer": "b"}',
            "data.jsonl:2: the id 'id' must be a text or a number, found a list",
        ),
        (ONE + '{"id": "", "answer": "b"}', "data.jsonl:2: the id 'id' must be a text or a number"),
        (
            '{"q": 1, "answer": "a"}\n{"answer": "a", "q": 1}',
            "data.jsonl:2: the same row stands on line 1 already; leave one out, or give both an",
        ),
        (
            '{"id": "a", "answer": "1"}\n{"id": "a.2", "answer": "1"}',
            "data.jsonl:2: the ids 'a' and 'a.2' clash: .2 marks a repeat in test names",
        ),
        (
            ONE + '{"id": "y", "answer": "b", "tags": ["two words"]}',
            "data.jsonl:2: the tag 'two words' cannot be used with pytest -m",
        ),
        (
            ONE + '{"id": "y", "answer": "b", "tags": {"a": 1}}',
            "data.jsonl:2: tags must be texts in a list or separated by commas, found a mapping",
        ),
        (b'{"id": "x", "answer": "\xff"}', "data.jsonl:1: not UTF-8: found the byte 0xFF"),
        ('{"q": "\\ud800", "answer": "a"}', "data.jsonl:1: a value that JSON cannot hold"),
    ],
)
def test_each_mistake_of_jsonl_has_its_line_and_words(
    tmp_path: Path, text: str | bytes, words: str
) -> None:
    assert refusal(tmp_path, text).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "data.json: the dataset is empty"),
        ("[]", "data.json: the dataset is empty"),
        ('[\n{"id": "x"},\n?]', "data.json:3: not valid JSON"),
        (
            '{"id": "x"}',
            "data.json:1: expected a list of objects, found a mapping; one object a line",
        ),
        ('[{"id": "x", "answer": "a"},\n\n  "y"]', "data.json:3: expected an object such as"),
        (
            '[{"id": "x", "answer": "a"},\n\n  {"id": "x",\n"answer": "a"}]',
            "data.json:3: the id 'x' is given on line 1 already",
        ),
        ('[\n{"id": "x", "id": "y"}]', "data.json:2: not valid JSON: the key 'id' is given twice"),
    ],
)
def test_each_mistake_of_json_has_its_line_and_words(tmp_path: Path, text: str, words: str) -> None:
    assert refusal(tmp_path, text, "data.json").startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "data.csv: the dataset is empty"),
        ("id,answer\n", "data.csv: the dataset is empty"),
        ("id,id\n1,2\n", "data.csv:1: the header names 'id' twice; found id, id"),
        ("id,\n1,2\n", "data.csv:1: a column has no name; found id, "),
        ("id,answer\n1,2\n1,2,3\n", "data.csv:3: 3 values, but the header names 2: id, answer"),
        ('id,answer\n1,"2\n3"\n4,"5"6\n', "data.csv:4: not valid CSV: ',' expected after '\"'"),
        ('id,answer\n"1\n","2"\nx,\n', "data.csv:4: the target 'answer' is empty"),
        (
            "id;answer\n1;2\n",
            "data.csv:2: no field 'answer', which is the target; the row has: id;answer",
        ),
    ],
)
def test_each_mistake_of_csv_has_its_line_and_words(tmp_path: Path, text: str, words: str) -> None:
    assert refusal(tmp_path, text, "data.csv").startswith(words)


def test_a_named_id_field_must_be_there(tmp_path: Path) -> None:
    words = refusal(tmp_path, ONE, id_field="nam")
    assert words == "data.jsonl:1: no field 'nam', which is the id; the row has: answer, id"


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs the extra 'parquet'")
    assert refusal(tmp_path, b"no", "data.parquet").startswith("data.parquet: not valid Parquet: ")


def test_a_value_without_a_form_in_json_is_told_with_its_row(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet needs the extra 'parquet'")
    from pyarrow import parquet

    parquet.write_table(pa.table({"id": ["x"], "raw": [b"1"]}), tmp_path / "data.parquet")
    with pytest.raises(DatasetError, match="row 1: a value of type bytes has no form in JSON"):
        load_items(tmp_path / "data.parquet", id_field=None, target_field=None)


def test_an_unknown_kind_of_file_is_told_with_the_known_ones(tmp_path: Path) -> None:
    words = refusal(tmp_path, ONE, "data.xlsx")
    assert (
        words == "data.xlsx: unknown kind of file '.xlsx' (allowed: .jsonl, .json, .csv, .parquet)"
    )


def test_a_missing_file_is_told_with_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "arithmetic.jsonl").write_text(ONE, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"no such file; did you mean 'arithmetic\.jsonl'\?"):
        load_items(tmp_path / "arithmetik.jsonl", id_field=None, target_field=None)


def test_an_item_that_json_cannot_hold_is_named_by_the_hash() -> None:
    with pytest.raises(DatasetError, match="the item 'x' holds a value that JSON cannot hold"):
        dataset_hash([Item("x", "x", {"a": {1, 2}}, None)])


def test_an_id_with_half_a_character_is_told_with_its_line(tmp_path: Path) -> None:
    text = '{"id": "a", "answer": "x"}\n{"id": "\\ud800", "answer": "x"}\n'
    words = refusal(tmp_path, text)
    assert ":2: the id '\\ud800' holds half a character" in words
