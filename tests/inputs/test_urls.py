"""One url or several, and streaming: how a config says where and how a model is asked."""

from __future__ import annotations

import os
from pathlib import Path

import jsonschema
import pytest

from pytest_llmeval.errors import ConfigError
from pytest_llmeval.inputs.config import Config, load_config
from pytest_llmeval.inputs.schema import config_schema

ONE, TWO = "http://127.0.0.1:8081/v1", "http://127.0.0.1:8082"


def load(folder: Path, model: str, **environment: str) -> Config:
    """Read a config of one model called m."""
    path = folder / "local.yaml"
    path.write_text(f"models:\n  m: {model}\n", encoding="utf-8")
    return load_config(path, environment=environment)


def refusal(folder: Path, model: str, **environment: str) -> str:
    """The words of the error, the file's folder left out."""
    with pytest.raises(ConfigError) as told:
        load(folder, model, **environment)
    return str(told.value).replace(f"{folder}{os.sep}", "")


@pytest.mark.parametrize("engine", ["openai", "anthropic", "llama-server"])
def test_several_urls_are_kept_in_their_order_and_the_first_stands_for_all(
    tmp_path: Path, engine: str
) -> None:
    config = load(tmp_path, f"{{engine: {engine}, url: ['{ONE}', '{TWO}/'], slots: 3}}")
    model = config.models["m"]
    assert (model.urls, model.url, model.slots) == ((ONE, TWO), ONE, 3)
    assert config.canonical["models"]["m"]["urls"] == [ONE, TWO]


@pytest.mark.parametrize("again", [f"{ONE}/", "http://127.0.0.1:8081", "HTTP://127.0.0.1:8081/v1"])
def test_an_endpoint_that_is_named_twice_is_told(tmp_path: Path, again: str) -> None:
    """Its slots would count twice."""
    words = refusal(tmp_path, f"{{engine: openai, url: ['{ONE}', '{TWO}', '{again}']}}")
    assert "local.yaml:2: models.m.urls: " in words
    assert "are one endpoint; name it once" in words


def test_one_url_is_no_list(tmp_path: Path) -> None:
    config = load(tmp_path, f"{{engine: openai, url: '{ONE}'}}")
    assert (config.models["m"].urls, config.models["m"].url) == ((), ONE)
    assert "urls" not in config.canonical["models"]["m"]


def test_variables_in_each_url_are_replaced_and_checked(tmp_path: Path) -> None:
    model = "{engine: openai, url: ['http://${A}/v1', 'http://${B}']}"
    assert load(tmp_path, model, A="a:1", B="b:2").models["m"].urls == (
        "http://a:1/v1",
        "http://b:2",
    )
    assert "the environment variable 'B' is not defined" in refusal(tmp_path, model, A="a:1")
    assert "models.m.urls: expected a URL such as http://127.0.0.1:8080/v1" in refusal(
        tmp_path, model, A="a:1", B=":x"
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("5", "expected a URL such as http://127.0.0.1:8080/v1, or a list of these, found 5"),
        (f"['{ONE}', 5]", "or a list of these, found a list"),
        (f"['{ONE}']", "expected at least two different URLs in the list"),
        (f"['{ONE}', '{ONE}']", "one endpoint takes more requests at once by slots"),
        (f"['{ONE}', 'ftp://x']", "expected a URL such as http://127.0.0.1:8080/v1, found 'ftp"),
    ],
    ids=range(5),
)
def test_what_is_no_list_of_urls_is_told_with_its_line(
    tmp_path: Path, url: str, words: str
) -> None:
    told = refusal(tmp_path, f"{{engine: openai, url: {url}}}")
    assert told.startswith("local.yaml:2: models.m.url: expected")
    assert words in told


@pytest.mark.parametrize(
    "model",
    [
        "{engine: embedded, gguf: m.gguf, stream: true}",
        "{engine: llama-server, gguf: m.gguf, stream: true}",
        f"{{engine: openai, url: '{ONE}', stream: true}}",
        f"{{engine: anthropic, url: '{ONE}', stream: true}}",
    ],
)
def test_streaming_is_asked_for_by_the_model_and_off_by_itself(tmp_path: Path, model: str) -> None:
    assert load(tmp_path, model).models["m"].stream is True
    assert load(tmp_path, model.replace(", stream: true", "")).models["m"].stream is None
    assert "models.m.stream: expected true or false, found 'yes'" in refusal(
        tmp_path, model.replace("true", "'yes'")
    )


def test_anthropic_needs_a_url_and_takes_no_key_itself(tmp_path: Path) -> None:
    assert "engine anthropic needs the key 'url'" in refusal(tmp_path, "{engine: anthropic}")
    told = refusal(tmp_path, f"{{engine: anthropic, url: '{ONE}', api_key: abc}}")
    assert "name the variable: api_key_env" in told
    assert "abc" not in told


@pytest.mark.parametrize(
    ("url", "valid"), [(ONE, True), ([ONE, TWO], True), ([ONE], False), ([ONE, ONE], False)]
)
def test_editors_are_told_the_same(url: object, *, valid: bool) -> None:
    config = {"models": {"m": {"engine": "openai", "url": url, "stream": True}}}
    assert jsonschema.Draft202012Validator(config_schema()).is_valid(config) == valid
