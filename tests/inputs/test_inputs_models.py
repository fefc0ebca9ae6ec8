"""Names and addresses of models that would break a run later, refused where they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_llmeval.engines.address import parse_address
from pytest_llmeval.errors import ConfigError
from pytest_llmeval.inputs.config import load_config
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.inputs.sections import NAME

SERVED = "models:\n  m:\n    engine: openai\n    url: "


def refusal(folder: Path, text: str, **environment: str) -> str:
    path = folder / "local.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as told:
        load_config(path, environment=environment)
    return str(told.value)


def served(folder: Path, url: str) -> ModelConfig:
    path = folder / "local.yaml"
    path.write_text(f"{SERVED}'{url}'", encoding="utf-8")
    return load_config(path).models["m"]


BAD_URLS = [
    ("http://127.0.0.1/v1?key=x7y", "with no '?' or '#' behind its path"),
    ("http://127.0.0.1/v1?", "with no '?' or '#' behind its path"),
    ("http://127.0.0.1/v1#x7y", "with no '?' or '#' behind its path"),
    ("http://127.0.0.1:99999/v1", "found 'http://127.0.0.1:99999/v1': Port out of range"),
    ("http://127.0.0.1:abc/v1", "Port could not be cast"),
    ("http://127.0.0.1:0/v1", "found 'http://127.0.0.1:0/v1'"),
    ("http://[::1/v1", "Invalid IPv6"),
    (f"http://{'a' * 64}.example", "label"),
]


@pytest.mark.parametrize(("url", "words"), BAD_URLS)
def test_a_url_that_no_engine_can_use_is_refused_with_file_and_line(
    tmp_path: Path, url: str, words: str
) -> None:
    told = refusal(tmp_path, f"{SERVED}'{url}'")
    place = f"{tmp_path / 'local.yaml'}:4: models.m.url: "
    assert told.startswith(f"{place}expected a URL such as http://127.0.0.1:8080/v1")
    assert words in told
    assert "x7y" not in told


USER_NAMES = [
    ("http://x7y@127.0.0.1/v1", "no user name or password belongs into it; api_key_env names"),
    ("http://me:x7y@127.0.0.1:99999", "no user name or password belongs into it"),
]  # written into the file itself, they are refused as secrets before anything is read


@pytest.mark.parametrize(("url", "words"), BAD_URLS + USER_NAMES)
def test_so_is_one_that_comes_from_a_variable(tmp_path: Path, url: str, words: str) -> None:
    told = refusal(tmp_path, SERVED + "'${HERE}'", HERE=url)
    assert "local.yaml:4: models.m.url: " in told
    assert words in told
    assert "x7y" not in told


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1", " https://host.example:8443/a/ ", "http://[::1]:80/v1", "http://ü.x"],
)
def test_a_url_that_the_config_takes_is_one_that_the_engines_take(tmp_path: Path, url: str) -> None:
    taken = served(tmp_path, url).url
    assert taken == url.strip().rstrip("/")
    parse_address(taken)


@pytest.mark.parametrize("name", ["nul", "CON", "aux", "Prn", "com1", "LPT9", "nul.q4", "aux."])
def test_a_model_is_not_named_like_a_device_of_windows(tmp_path: Path, name: str) -> None:
    told = refusal(tmp_path, f"models:\n  {name}: {{engine: fake}}")
    assert f"local.yaml:2: the model name {name!r} cannot be used: letters, digits" in told
    assert "not what Windows calls its devices (con, prn, aux, nul, com1, lpt1 and so on)" in told


@pytest.mark.parametrize("name", ["null", "con-7b", "auxiliary", "com", "com10", "x.nul", "7b"])
def test_a_name_that_only_begins_like_a_device_is_a_name(name: str) -> None:
    assert NAME.fullmatch(name)


FIREWORKS = "models:\n  m:\n    engine: fireworks\n    url: https://host\n    api_key_env: KEY\n"


def test_a_model_asked_in_batches_needs_the_account(tmp_path: Path) -> None:
    told = refusal(tmp_path, f"{FIREWORKS}    batch: true\n")
    assert "batch: true needs the key 'account', your account's id" in told
    path = tmp_path / "local.yaml"
    path.write_text(f"{FIREWORKS}    batch: true\n    account: '${{ACC}}'\n", encoding="utf-8")
    model = load_config(path, environment={"ACC": "mine"}).models["m"]
    assert (model.batch, model.account) == (True, "mine")


def test_without_batches_no_account_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "local.yaml"
    path.write_text(FIREWORKS, encoding="utf-8")
    model = load_config(path).models["m"]
    assert (model.batch, model.account) == (False, None)


def test_a_service_is_never_asked_without_an_address_and_a_key(tmp_path: Path) -> None:
    told = refusal(tmp_path, "models: {m: {engine: fireworks}}")
    assert "engine fireworks needs the key 'url'" in told
    assert "engine fireworks needs the key 'api_key_env'" in told


def test_batches_are_no_key_of_other_engines(tmp_path: Path) -> None:
    told = refusal(tmp_path, f"{SERVED}http://127.0.0.1/v1\n    batch: true\n")
    assert "engine openai takes no 'batch'" in told
