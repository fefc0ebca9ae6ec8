"""YAML 1.2 as plain data that remembers its lines."""

from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import ConfigError, SuiteError
from pytest_llmeval.inputs.documents import Document, parse_document, parse_value, read_document


def parse(text: str) -> Document:
    return parse_document(text, Path("some.yaml"), SuiteError)


def refusal(text: str) -> str:
    with pytest.raises(SuiteError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        *("No", "yes", "on", "off", "y", "010", "0o17", "0x1F", "12:30", "1_000", "+", "1.2.3"),
        *("2026-01-01", ".inf", ".nan", "NaN", "1e", "=", "00", "-01", "9" * 301),
    ],
)
def test_what_is_no_core_word_stays_text(word: str) -> None:
    assert parse(f"key: {word}").data == {"key": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *[("true", True), ("False", False), ("null", None), ("~", None), ("", None)],
        *[("7", 7), ("-3", -3), ("+5", 5), ("0", 0), ("1.50", 1.5), (".5", 0.5), ("1e-3", 0.001)],
    ],
)
def test_core_words_and_numbers_have_their_type(word: str, value: Any) -> None:
    found = parse(f"key: {word}").data["key"]
    assert found == value
    assert type(found) is type(value)


def test_quotes_make_text() -> None:
    assert parse("a: '5'\nb: \"true\"\nc: !!str 5").data == {"a": "5", "b": "true", "c": "5"}


def test_numbers_remember_how_they_are_written() -> None:
    document = parse("rows:\n- {a: 1.50, b: +5, c: text, d: yes}")
    assert document.written == {("rows", 0, "a"): "1.50", ("rows", 0, "b"): "+5"}


def test_every_key_and_entry_knows_its_line() -> None:
    document = parse("a:\n  b: 1\n\n  c:\n  - x\n  - d: 2\n")
    lines = {path: document.line_of(path) for path in document.lines}
    expected = {("a",): 1, ("a", "b"): 2, ("a", "c"): 4, ("a", "c", 0): 5, ("a", "c", 1): 6}
    assert lines == {(): 1, **expected, ("a", "c", 1, "d"): 6}


def test_a_missing_key_is_placed_at_the_nearest_one_around_it() -> None:
    assert parse("a: 1\nb:\n  c: 2").line_of(("b", "missing", 3)) == 2


def test_the_text_of_a_literal_block_knows_where_it_begins() -> None:
    assert parse("a: 1\nprompt: |\n  first\n  second\n").literals == {("prompt",): 3}


def test_json_is_yaml_with_its_tabs_slashes_and_double_escapes() -> None:
    text = '{\n\t"a": 1,\n\t"b": ["\\/", "\\ud83d\\ude00"]\n}'
    assert parse(text).data == {"a": 1, "b": ["/", "\U0001f600"]}


def test_keys_are_text() -> None:
    assert parse("1: a\ntrue: b").data == {"1": "a", "true": "b"}


def test_an_alias_repeats_what_it_names() -> None:
    assert parse("a: &x [1]\nb: *x").data == {"a": [1], "b": [1]}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfkey: gr\xc3\xbcn\n")
    assert read_document(path, ConfigError).data == {"key": "grün"}


# What is refused ----------------------------------------------------------------------------------


def test_a_key_given_twice_is_refused_with_both_lines() -> None:
    words = refusal("a: 1\nb: 2\na: 3")
    assert words == "some.yaml:3: the key 'a' is given twice; it stands on line 1 already"


@pytest.mark.parametrize(
    "line",
    [
        *("prompt: {{ a }} + {{ b }} =", "prompt: {{ a }}", "prompt: {% if a %}x{% endif %}"),
        *("  - {user: What is {{ a }}?}", "  - {{ a }}"),
    ],
)
def test_a_template_without_quotes_is_told_to_be_quoted(line: str) -> None:
    words = refusal(f"items: x\nprompts:\n{line}\n" if "-" in line else f"items: x\n{line}\n")
    assert words.startswith(f"some.yaml:{3 if '-' in line else 2}: ")
    assert 'quote it: prompt: "{{ question }}"' in words


def test_a_template_with_quotes_is_not_blamed_for_another_mistake() -> None:
    words = refusal('prompt: "{{ a }}" x')
    assert words.startswith("some.yaml:1: not valid YAML")
    assert "quote" not in words


def test_what_is_never_closed_is_placed_where_it_opens() -> None:
    assert refusal("a: 1\nb: [1, 2\nc: 3\n").startswith(
        "some.yaml:2: not valid YAML: while parsing"
    )
    assert refusal("a: 'one\nb: 2\nc: 3\n").startswith(
        "some.yaml:1: not valid YAML: while scanning"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "some.yaml: the file is empty; a mapping such as 'key: value' is expected"),
        ("# only a comment\n", "some.yaml: the file is empty"),
        ("\n- a\n- b\n", "some.yaml:2: a mapping such as 'key: value' is expected, found a list"),
        ("just words", "some.yaml:1: a mapping such as 'key: value' is expected, found the value"),
        ("a: 1\n---\nb: 2", "some.yaml:2: not valid YAML: expected a single document"),
        ("a: !secret x", "some.yaml:1: the YAML tag '!secret' is not known here; leave it out"),
        ("a: 1\nb: !!set {x}", "some.yaml:2: the YAML tag 'tag:yaml.org,2002:set' is not known"),
        ("a: *nowhere", "some.yaml:1: not valid YAML: found undefined alias 'nowhere'"),
        ("a: &x [*x]", "some.yaml:1: an alias (*name) stands inside what it repeats"),
        ("? [1, 2]\n: b", "some.yaml:1: a key must be a text"),
        ("a: 1\nb: \x01", "some.yaml:2: not valid YAML: the control character U+0001"),
        ('a: "\\ud83d"', "some.yaml:1: half a character"),
        (
            "a: " + "[" * 5000,
            "some.yaml:1: not valid YAML: more than 100 lists and mappings stand inside each other",
        ),
    ],
)
def test_each_mistake_has_its_words(text: str, words: str) -> None:
    assert refusal(text).startswith(words)


def test_a_missing_file_is_told_with_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "local.yaml").write_text("a: 1", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_document(tmp_path / "locl.yaml", ConfigError)
    place = tmp_path / "locl.yaml"
    assert str(caught.value) == f"{place}: no such file; did you mean 'local.yaml'?"


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the folder .*nowhere does not exist"):
        read_document(tmp_path / "nowhere" / "local.yaml", ConfigError)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: it is a folder"):
        read_document(tmp_path, ConfigError)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_bytes_that_are_no_utf8_are_told_with_their_line(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(mark + "a: 1\nb: grün\n".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        read_document(path, ConfigError)
    assert str(caught.value) == f"{path}:2: not UTF-8: found the byte 0xFC; save it as UTF-8"


def test_a_utf16_file_is_told_to_be_saved_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: 1", encoding="utf-16")
    with pytest.raises(ConfigError, match="the file is UTF-16; save it as UTF-8"):
        read_document(path, ConfigError)


def test_a_single_value_is_read_like_one_behind_a_key() -> None:
    values = [parse_value(text, ConfigError, origin="x") for text in ("0.5", "No", "[a, 1]", "")]
    assert values == [0.5, "No", ["a", 1], None]


def test_a_single_value_that_is_no_yaml_names_its_origin() -> None:
    with pytest.raises(ConfigError, match=r"--llm-set a=\[1: not valid YAML"):
        parse_value("[1", ConfigError, origin="--llm-set a=[1")
