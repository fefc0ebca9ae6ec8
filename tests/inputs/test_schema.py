"""The JSON Schemas for editors, against the repository's own files and against mistakes."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_llmeval.errors import InputError
from pytest_llmeval.inputs.documents import parse_document, read_document
from pytest_llmeval.inputs.schema import config_schema, suite_schema

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
SUITES = sorted((ROOT / "suites").rglob("*.yaml"))


def accepts(schema: dict[str, Any], text: str) -> bool:
    data = parse_document(text, Path("x.yaml"), InputError).data
    return bool(jsonschema.Draft202012Validator(schema).is_valid(data))


@pytest.mark.parametrize("schema", [config_schema(), suite_schema()], ids=["config", "suite"])
def test_a_schema_is_of_2020_12(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("schema", [config_schema(), suite_schema()], ids=["config", "suite"])
def test_every_key_of_a_file_is_described(schema: dict[str, Any]) -> None:
    for section in [schema, *schema["$defs"].values()]:
        for key, content in section["properties"].items():
            assert any("description" in form for form in _forms(schema, content)), key


def _forms(schema: dict[str, Any], content: dict[str, Any]) -> list[dict[str, Any]]:
    """A key's own schema, its alternatives, and the sections they refer to."""
    forms = [content, *content.get("anyOf", [])]
    names = [form["$ref"].rpartition("/")[2] for form in forms if "$ref" in form]
    return [*forms, *(schema["$defs"][name] for name in names)]


def test_the_repository_has_files_to_validate() -> None:
    for folder, files in (("config", CONFIGS), ("suites", SUITES)):
        assert files or not (ROOT / folder).is_dir()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_of_the_repository_is_valid(path: Path) -> None:
    jsonschema.Draft202012Validator(config_schema()).validate(read_document(path, InputError).data)


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.name)
def test_every_suite_of_the_repository_is_valid(path: Path) -> None:
    jsonschema.Draft202012Validator(suite_schema()).validate(read_document(path, InputError).data)


@pytest.mark.parametrize(
    "text",
    [
        "models: {m: {engine: fake}}",
        "models: {m: {engine: llama-server, gguf: a, gpu_layers: all, executable: x}}",
        "models: {m: {engine: openai, url: 'http://127.0.0.1', api_key_env: KEY}}",
        "models: {m: {engine: fake}}\nsampling: {temperature: null, stop: x}",
        "models: {m: {engine: fake}}\nsampling: {warm: {temperature: 1, repeats: 5}}",
        "models: {m: {engine: fake}}\nfailures: {at_most: 0.1%}",
    ],
)
def test_the_config_schema_accepts_what_the_loader_does(text: str) -> None:
    assert accepts(config_schema(), text)


@pytest.mark.parametrize(
    "text",
    [
        "models: {}",
        "models: {m: {engine: fak}}",
        "models: {m: {engine: embedded}}",
        "models: {m: {engine: fake, gguf: a}}",
        "models: {m: {engine: fake, slots: 0}}",
        "models: {two words: {engine: fake}}",
        "models: {m: {engine: fake}}\nservers: {}",
        "models: {m: {engine: fake}}\nsampling: {temprature: 1}",
        "models: {m: {engine: fake}}\nfailures: {at_most: 3}",
    ],
)
def test_the_config_schema_refuses_what_the_loader_does(text: str) -> None:
    assert not accepts(config_schema(), text)


ASKED = 'items: x.jsonl\nscore: exact\nprompt: "{{ a }}"\n'


@pytest.mark.parametrize(
    "text",
    [
        ASKED,
        ASKED + "few_shot: {items: y.csv, count: 2}\nsplit: {part: a, of: {a: 0.5, b: 0.5}}",
        ASKED + "tools: [{type: function, function: {name: x}}]\nonly: m\ntags: a, b",
        ASKED + "stop: {when: decided}",
        ASKED + "form: completion\nlogprobs: 0\ngrammar: {file: x.gbnf}",
        ASKED + "json_schema: {type: object}\nform: chat\nlogprobs: 20",
        ASKED + "stop: {when: decided, alpha: 0.5}",
        (
            "items: [{a: 1}]\nscore: [exact, {numeric: {tolerance: 1}}]\n"
            "prompts: {a: [{system: x}, {user: {file: y.txt}}], b: {file: z.txt}}"
        ),
    ],
)
def test_the_suite_schema_accepts_what_the_loader_does(text: str) -> None:
    assert accepts(suite_schema(), text)


@pytest.mark.parametrize(
    "text",
    [
        "items: x.jsonl\nscore: exact",
        ASKED + "prompts: {a: x}",
        ASKED + "targt: x",
        ASKED + "each_item: must",
        ASKED + "gates: [{only: m, metric: exact, not_worse_than: baseline}]",
        ASKED + "tools: [{name: x}]",
        ASKED + "stop: {when: bored}",
        ASKED + "form: raw",
        ASKED + "logprobs: 21",
        ASKED + "grammar: [a]",
        ASKED + "json_schema: yes",
        ASKED + "stop: {when: decided, alpha: 0}",
        ASKED + "stop: decided",
        ASKED.replace('"{{ a }}"', "{user: x}"),
        ASKED.replace('"{{ a }}"', "[{usr: x}]"),
        ASKED.replace("exact", "{exact: , numeric: }"),
    ],
)
def test_the_suite_schema_refuses_what_the_loader_does(text: str) -> None:
    assert not accepts(suite_schema(), text)
