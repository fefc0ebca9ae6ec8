"""What a config may say of a model that Ollama runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_llmeval.errors import ConfigError
from pytest_llmeval.inputs.config import load_config
from pytest_llmeval.inputs.models import ModelConfig


def written(folder: Path, keys: str, server: str = "{}") -> Path:
    path = folder / "local.yaml"
    text = f"models:\n  m: {{engine: ollama, {keys}}}\nserver: {server}\n"
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def model(folder: Path, keys: str, server: str = "{}") -> ModelConfig:
    return load_config(written(folder, keys, server), environment={}).models["m"]


def refusal(folder: Path, keys: str) -> str:
    with pytest.raises(ConfigError) as told:
        load_config(written(folder, keys), environment={})
    return str(told.value)


def test_everything_has_a_default_but_the_name(tmp_path: Path) -> None:
    it = model(tmp_path, "name: 'llama3.1:8b'")
    assert (it.sent_name, it.slots, it.context, it.url) == ("llama3.1:8b", 1, None, None)
    assert (it.keep_alive, it.think, it.pull, it.remote) == (None, None, False, False)
    assert it.executable == "ollama"
    assert model(tmp_path, "slots: 2").sent_name == "m"


def test_the_server_sections_context_and_timeout_hold_and_its_slots_do_not(
    tmp_path: Path,
) -> None:
    server = "{slots: 8, context: 1024, timeout: 7, executable: my-llama-server}"
    it = model(tmp_path, "name: x", server)
    assert (it.slots, it.context, it.timeout, it.executable) == (1, 1024, 7, "ollama")
    own = model(tmp_path, "slots: 2, context: 2048, executable: bin/ollama", server)
    assert (own.slots, own.context) == (2, 2048)
    assert own.executable == str(tmp_path / "bin" / "ollama")


@pytest.mark.parametrize("value", ["5m", "1h30m", "0.5s", "-1m", "300ms", "0"])
def test_a_time_as_go_writes_it_is_a_keep_alive(tmp_path: Path, value: str) -> None:
    assert model(tmp_path, f"keep_alive: '{value}'").keep_alive == value


@pytest.mark.parametrize("value", [-1, 0, 600, 1.5])
def test_seconds_are_a_keep_alive(tmp_path: Path, value: float) -> None:
    assert model(tmp_path, f"keep_alive: {value}").keep_alive == value


@pytest.mark.parametrize("value", ["forever", "5 m", "5", "''", "true", "[1]", ".inf", "5m30"])
def test_anything_else_is_no_keep_alive(tmp_path: Path, value: str) -> None:
    quoted = f"'{value}'" if value == "5" else value
    told = refusal(tmp_path, f"keep_alive: {quoted}")
    assert "models.m.keep_alive: expected seconds, or a time such as 30s, 10m or 1h30m" in told
    assert "-1 is for ever, 0 unloads the model after each request" in told


@pytest.mark.parametrize(("value", "think"), [("true", True), ("false", False), ("high", "high")])
def test_thinking_is_a_choice_or_an_effort(tmp_path: Path, value: str, think: bool | str) -> None:
    assert model(tmp_path, f"think: {value}").think == think


@pytest.mark.parametrize("value", ["hard", "1", "[low]"])
def test_anything_else_is_no_thinking(tmp_path: Path, value: str) -> None:
    told = refusal(tmp_path, f"think: {value}")
    assert "models.m.think: expected true, false, low, medium, high, max, found" in told


@pytest.mark.parametrize("key", ["gguf: x.gguf", "gpu_layers: all", "args: [a]", "threads: 2"])
def test_what_ollama_decides_by_itself_is_refused_by_name(tmp_path: Path, key: str) -> None:
    assert f"engine ollama takes no '{key.partition(':')[0]}'" in refusal(tmp_path, key)


@pytest.mark.parametrize("key", ["pull", "remote", "keep_alive", "think"])
def test_what_only_ollama_has_no_other_engine_takes(tmp_path: Path, key: str) -> None:
    path = tmp_path / "local.yaml"
    text = f"models: {{m: {{engine: fake, {key}: true}}}}"
    path.write_text(text.replace("keep_alive: true", "keep_alive: 1"), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"engine fake takes no '{key}'"):
        load_config(path, environment={})
