"""Keys of a model beyond its file or address: adapters, template arguments, engines of others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from pytest_llmeval.errors import ConfigError, InputError
from pytest_llmeval.inputs.adapters import Adapter
from pytest_llmeval.inputs.config import Config, load_config
from pytest_llmeval.inputs.documents import parse_document
from pytest_llmeval.inputs.schema import config_schema

URL = "http://127.0.0.1:8080/v1"


def load(folder: Path, model: str, *offered: str, **environment: str) -> Config:
    """Read a config of one model called m."""
    path = folder / "local.yaml"
    path.write_text(f"models:\n  m: {model}\n", encoding="utf-8")
    return load_config(path, environment=environment, offered=offered)


def refusal(folder: Path, model: str, *offered: str) -> str:
    """The words of the error, the file's folder left out."""
    with pytest.raises(ConfigError) as told:
        load(folder, model, *offered)
    return str(told.value).replace(f"{folder}{os.sep}", "")


def accepted(model: str, *offered: str) -> bool:
    """Whether the schema for editors takes a model."""
    text = f"models:\n  m: {model}\n"
    document = parse_document(text, Path("x.yaml"), InputError)
    schema = config_schema(offered)
    return jsonschema.Draft202012Validator(schema).is_valid(document.data)


# Adapters -----------------------------------------------------------------------------------------

LORAS = [
    ("a.gguf", [("a.gguf", 1.0)]),
    ("[a.gguf, ../b.gguf]", [("a.gguf", 1.0), ("../b.gguf", 1.0)]),
    ("{path: a.gguf, scale: -0.5}", [("a.gguf", -0.5)]),
    ("[{path: '${STORE}/a.gguf', scale: 2}, b.gguf]", [("store/a.gguf", 2.0), ("b.gguf", 1.0)]),
]


@pytest.mark.parametrize(("written", "meant"), LORAS, ids=range(4))
@pytest.mark.parametrize("engine", ["embedded", "llama-server"])
def test_adapters_are_files_from_the_configs_folder_with_a_scale(
    tmp_path: Path, engine: str, written: str, meant: list[tuple[str, float]]
) -> None:
    model = f"{{engine: {engine}, gguf: m.gguf, lora: {written}}}"
    found = load(tmp_path, model, STORE="store").models["m"].lora
    assert found == tuple(
        Adapter(Path(os.path.normpath(tmp_path / path)), scale) for path, scale in meant
    )
    assert accepted(model)


def test_the_manifest_has_adapters_as_written(tmp_path: Path) -> None:
    config = load(tmp_path, "{engine: embedded, gguf: m.gguf, lora: '${S}/a.gguf'}", S="/x")
    assert config.canonical["models"]["m"]["lora"] == [{"path": "${S}/a.gguf", "scale": 1.0}]
    json.dumps(config.canonical)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("[]", "models.m.lora: expected at least one entry"),
        ("7", "models.m.lora.0: expected a mapping, found 7"),
        ("{scale: 1}", "the key 'path' is missing"),
        ("{path: a, scale: high}", "models.m.lora.0.scale: expected a number, found 'high'"),
        ("{path: a, weight: 1}", "unknown key 'weight'"),
        ("{path: a, scale: 0}", "the adapter a would do nothing at scale 0; leave it out"),
        ("[a, {path: a, scale: 2}]", "the adapter a is given twice"),
    ],
)
def test_what_is_no_adapter_is_told_with_its_line(tmp_path: Path, written: str, words: str) -> None:
    told = refusal(tmp_path, f"{{engine: embedded, gguf: m.gguf, lora: {written}}}")
    assert told.startswith("local.yaml:2: ")
    assert words in told


# Adopted llama-servers ----------------------------------------------------------------------------


def test_a_llama_server_with_a_url_is_adopted_with_its_key(tmp_path: Path) -> None:
    model = (
        f"{{engine: llama-server, url: '{URL}', api_key_env: KEY, exact: true, "
        "chat_template_kwargs: {enable_thinking: false}}"
    )
    found = load(tmp_path, model).models["m"]
    assert (found.url, found.gguf, found.api_key_env, found.exact) == (URL, None, "KEY", True)
    assert found.chat_template_kwargs == {"enable_thinking": False}
    assert accepted(model)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "engine llama-server needs the key 'gguf', or 'url' where one answers already"),
        (
            f", gguf: m.gguf, url: '{URL}'",
            "takes gguf, whose server is started, or url, where one answers already; found both",
        ),
        (
            f", url: '{URL}', context: 100",
            "engine llama-server with a url takes no 'context' (allowed: engine, name,",
        ),
        (f", url: '{URL}', lora: a.gguf", "engine llama-server with a url takes no 'lora'"),
        (", gguf: m.gguf, api_key_env: KEY", "engine llama-server takes no 'api_key_env'"),
    ],
    ids=range(5),
)
def test_file_and_url_have_keys_of_their_own(tmp_path: Path, written: str, words: str) -> None:
    model = f"{{engine: llama-server{written}}}"
    told = refusal(tmp_path, model)
    assert told.startswith("local.yaml:2: ")
    assert words in told
    assert not accepted(model)


# Engines of other packages ------------------------------------------------------------------------


def test_an_engine_of_another_package_takes_url_key_and_options(tmp_path: Path) -> None:
    model = (
        f"{{engine: theirs, url: '{URL}', api_key_env: KEY, slots: 2, name: big, "
        "options: {deep: {path: '${HOME_OF_IT}/x', list: [1, '$$5']}}}"
    )
    found = load(tmp_path, model, "theirs", "others", HOME_OF_IT="there").models["m"]
    assert (found.engine, found.url, found.api_key_env) == ("theirs", URL, "KEY")
    assert found.options == {"deep": {"path": "there/x", "list": [1, "$5"]}}
    assert (found.slots, found.sent_name) == (2, "big")
    assert accepted(model, "theirs")
    assert not accepted(model)


def test_it_needs_none_of_them(tmp_path: Path) -> None:
    found = load(tmp_path, "{engine: theirs}", "theirs").models["m"]
    assert (found.url, found.options) == (None, None)


def test_it_takes_no_key_of_ours(tmp_path: Path) -> None:
    told = refusal(tmp_path, "{engine: theirs, gguf: m.gguf}", "theirs")
    assert "local.yaml:2: engine theirs takes no 'gguf' (allowed: engine, " in told
    assert "url, api_key_env, options)" in told


def test_an_unknown_engine_is_told_with_those_of_other_packages(tmp_path: Path) -> None:
    told = refusal(tmp_path, "{engine: thiers}", "theirs", "fake")
    assert "unknown engine 'thiers'; did you mean 'theirs'? (allowed: embedded, " in told
    assert told.endswith(", theirs)")


def test_options_are_for_engines_of_other_packages_only(tmp_path: Path) -> None:
    told = refusal(tmp_path, "{engine: fake, options: {a: 1}}")
    assert "engine fake takes no 'options'" in told
