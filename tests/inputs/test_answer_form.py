"""How a suite asks beside its prompt: raw completions, schemas, grammars, log probabilities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.errors import SuiteError
from pytest_llmeval.inputs.answer_form import undefined_rules
from pytest_llmeval.inputs.prompts import render
from pytest_llmeval.inputs.suites import load_suite, suite_from_marker
from pytest_llmeval.records import Suite

ASKED = 'items: [{id: one, a: 1}, {id: two, a: 2}]\nscore: exact\nprompt: "{{ a }}?"\n'
SCHEMA = "{type: object, properties: {b: {type: string}, a: {}}, required: [b]}"
TOOLS = "tools: [{type: function, function: {name: f}}]\n"


def load(folder: Path, text: str) -> Suite:
    """Read a suite file."""
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path, "suites/some.yaml")


def refusal(folder: Path, text: str) -> str:
    """The words of the error, the file's folder left out."""
    with pytest.raises(SuiteError) as told:
        load(folder, text)
    return str(told.value).replace(f"{folder}", "")[1:].replace("\\", "/")


def test_without_them_a_suite_chats_and_holds_answers_to_nothing(tmp_path: Path) -> None:
    suite = load(tmp_path, ASKED)
    assert (suite.form, suite.json_schema, suite.grammar, suite.logprobs) == (
        "chat",
        None,
        None,
        None,
    )


def test_each_of_them_is_read(tmp_path: Path) -> None:
    suite = load(tmp_path, f"{ASKED}form: completion\njson_schema: {SCHEMA}\nlogprobs: 0\n")
    assert suite.form == "completion"
    assert suite.json_schema is not None
    assert list(suite.json_schema["properties"]) == ["b", "a"]
    assert suite.logprobs == 0
    held = load(tmp_path, f"{ASKED}grammar: |\n  root ::= item+\n  item ::= [a-z]\n")
    assert held.grammar == "root ::= item+\nitem ::= [a-z]\n"


def test_a_marker_takes_them_too(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "items": [{"id": "one", "a": 1}],
        "prompt": "{{ a }}",
        "form": "completion",
        "json_schema": {"type": "object"},
        "logprobs": 5,
    }
    suite = suite_from_marker(arguments, path=tmp_path / "test_x.py", origin="test_x.py::test_y")
    assert (suite.form, suite.json_schema, suite.logprobs) == (
        "completion",
        {"type": "object"},
        5,
    )


def test_schema_and_grammar_may_stand_in_files_beside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(json.dumps({"type": "object"}), encoding="utf-8")
    (tmp_path / "x.gbnf").write_bytes(b"# yes\r\nroot ::= [a-z]\r\n")
    suite = load(tmp_path, f"{ASKED}json_schema: {{file: answer.json}}\n")
    assert suite.json_schema == {"type": "object"}
    assert (
        load(tmp_path, f"{ASKED}grammar: {{file: x.gbnf}}\n").grammar == "# yes\nroot ::= [a-z]\n"
    )


def test_a_grammar_of_llguidance_has_no_root(tmp_path: Path) -> None:
    text = "%llguidance {}\nstart: /[a-z]+/\n"
    (tmp_path / "x.lark").write_text(text, encoding="utf-8")
    assert load(tmp_path, f"{ASKED}grammar: {{file: x.lark}}\n").grammar == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "form: complete",
            "some.yaml:4: form: unknown value 'complete'; did you mean 'completion'",
        ),
        ("logprobs: 21", "some.yaml:4: logprobs: expected at most 20, found 21"),
        ("logprobs: -1", "some.yaml:4: logprobs: expected at least 0, found -1"),
        ("logprobs: true", "some.yaml:4: logprobs: expected a whole number, found true"),
        ("json_schema: yes", "some.yaml:4: json_schema: expected a JSON Schema, or {file: "),
        ("json_schema: {file: no.json}", "some.yaml:4: the json_schema's file no.json: "),
        (
            "json_schema:\n  type: object\n  properties:\n    a: {type: strin}",
            "some.yaml:7: json_schema: no JSON Schema (Draft 2020-12): at $.properties.a.type: 's",
        ),
        (
            "grammar: 7",
            "some.yaml:4: grammar: expected a text, or {file: grammars/x.gbnf}, found 7",
        ),
        ("grammar: {file: no.gbnf}", "some.yaml:4: the grammar's file no.gbnf: "),
        (
            "grammar: yes",
            "some.yaml:4: grammar: a grammar in llama.cpp's format needs the rule root",
        ),
        (
            "grammar: 'root ::= foo'",
            "some.yaml:4: grammar: rule foo is not defined; defined are root",
        ),
        (
            f"json_schema: {SCHEMA}\ngrammar: 'root ::= \"a\"'",
            "some.yaml:5: an answer can be held to a json_schema or to a grammar, not both",
        ),
        (
            f"{TOOLS}json_schema: {SCHEMA}",
            "some.yaml:5: a json_schema would forbid the calls that the tools are offered for",
        ),
        (
            f"{TOOLS}grammar: 'root ::= \"a\"'",
            "some.yaml:5: a grammar would forbid the calls that the tools are offered for",
        ),
        (
            f"form: completion\n{TOOLS}",
            "some.yaml:5: tools need form: chat; a raw completion cannot offer any",
        ),
    ],
    ids=range(15),
)
def test_every_mistake_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(tmp_path, ASKED + text)


def test_a_schema_in_a_file_that_is_none_is_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"type": "object", "required": "b"}', encoding="utf-8")
    told = refusal(tmp_path, f"{ASKED}json_schema: {{file: a.json}}")
    assert "some.yaml:4: json_schema: no JSON Schema (Draft 2020-12) in the file a.json" in told
    assert "at $.required: 'b' is not" in told


def test_an_undefined_rule_of_a_grammars_file_is_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.gbnf").write_text("root ::= itms\nitems ::= [a-z]", encoding="utf-8")
    told = refusal(tmp_path, f"{ASKED}grammar: {{file: x.gbnf}}")
    assert told == (
        "some.yaml:4: grammar: rule itms is not defined in the file x.gbnf; "
        "defined are root, items; did you mean 'items'?"
    )


@pytest.mark.parametrize(
    ("grammar", "undefined"),
    [
        ('root ::= a-1 | "say \\"b\\" # c" # d\na-1 ::= [^\\]e"]', []),
        ("root ::= (\n  item{2,3} |\n  .\n)\nitem ::= <[5]> !<think> [0-9]*", []),
        ("root   ::=\n  one two?\ntwo ::= one", ["one"]),
        ('root ::= (a | b)+ "c"', ["a", "b"]),
        ('root ::= "a', []),
        ("root ::= [a", []),
    ],
    ids=["texts", "tokens", "lines", "group", "open text", "open set"],
)
def test_what_a_grammar_refers_to_must_be_defined(grammar: str, undefined: list[str]) -> None:
    assert [name for name, _ in undefined_rules(grammar)] == undefined


def test_a_text_that_is_continued_has_no_roles(tmp_path: Path) -> None:
    prompt = "prompts:\n  plain: x\n  terse:\n    - {system: Brief.}\n    - {user: y}\n"
    text = f"items: [{{id: one}}]\nscore: exact\nform: completion\n{prompt}"
    assert refusal(tmp_path, text).startswith(
        "some.yaml:7: form: completion continues a text and has no roles: put the system's text "
        "into the prompt itself, or use form: chat"
    )


# Worked examples ----------------------------------------------------------------------------------

SHOTS = (
    "items: [{id: one, a: 1, answer: x}]\ntarget: answer\nscore: exact\nform: completion\n"
    "few_shot: {items: [{id: two, a: '{{ 2 }}', answer: y}], count: 1}\n"
)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ('"{{ a }} ="', "{{ 2 }} = y\n\n1 ="),
        ('"Q: {{ a }}\\nA:\\n"', "Q: {{ 2 }}\nA:\ny\n\nQ: 1\nA:\n"),
    ],
    ids=["a gap", "a line of its own"],
)
def test_worked_examples_of_a_raw_completion_stand_in_its_text(
    tmp_path: Path, prompt: str, text: str
) -> None:
    suite = load(tmp_path, f"{SHOTS}prompt: {prompt}\n")
    messages = render(suite.prompts[0], suite.items[0])
    assert {message.role for message in messages} == {"user"}
    assert "".join(message.content for message in messages) == text
