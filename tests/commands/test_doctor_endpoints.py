"""`llmeval doctor --llm-config`: what the models of a config can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llmeval import app
from pytest_llmeval.running.preflight import ALL
from tests.standins.deficient import serving

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a config of these models and run the command on it, with further arguments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(models: dict[str, Any], *args: str, **sampling: Any) -> Result:
        config = {"models": models, "sampling": {"max_tokens": 8, **sampling}}
        (tmp_path / "local.yaml").write_text(json.dumps(config), encoding="utf-8", newline="\n")
        return CliRunner().invoke(app, ["doctor", "--llm-config", "local.yaml", *args])

    return run


def adopted(url: str) -> dict[str, Any]:
    return {"engine": "openai", "url": url}


@pytest.mark.parametrize("engine", ["embedded", "llama-server"])
@pytest.mark.parametrize("name", ["tiny-l", "tiny-s"])
def test_a_model_of_ours_is_started_and_can_all_that_llama_cpp_can(
    doctor: Any, engine: str, name: str, request: pytest.FixtureRequest
) -> None:
    keys = {"gguf": str(MODELS / f"{name}.gguf"), "context": 256, "slots": 2, "threads": 1}
    if engine == "llama-server":
        keys["executable"] = str(request.getfixturevalue("real_llama_server"))
    done = doctor({name: {"engine": engine, **keys}})
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()[1:]]
    told = {words[1]: words[0] for words in lines if words[0] in {"ok", "lacking"}}
    assert told == dict.fromkeys((name for name in ALL if name != "adapters"), "ok")
    assert done.exit_code == 0, done.output
    assert "requests in" in done.stdout.splitlines()[-1]


def test_what_is_lacking_is_shown_with_the_request(doctor: Any) -> None:
    with serving("system") as standin:
        done = doctor({"m": adopted(standin.url)})
    assert done.exit_code == 0  # the config asks for no system message
    lines = done.stdout.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("  lacking  system"))
    assert lines[place].endswith(
        "a system message does not reach the model (10 prompt tokens without); only suites that "
        "need it miss it"
    )
    assert lines[place + 1].strip().startswith("asked: system: ")
    assert lines[place + 2].strip().startswith("came back: 'The', length, ")


@pytest.mark.parametrize(
    ("lack", "sampling", "status"),
    [
        ("stop", {}, 0),
        ("stop", {"stop": "\n"}, 1),
        ("seed", {"temperature": 0}, 0),
        ("seed", {"temperature": 0.7}, 1),
        ("seed", {"temperature": 0.7, "seed": None}, 0),
        ("max_tokens", {}, 1),
        ("tools", {}, 0),
    ],
)
def test_what_the_config_asks_for_decides_the_exit_status(
    doctor: Any, lack: Any, sampling: dict[str, Any], status: int
) -> None:
    with serving(lack) as standin:
        done = doctor({"m": adopted(standin.url)}, **sampling)
    assert done.exit_code == status
    assert ("; the config asks for it" in done.stdout) is bool(status)


def test_the_wrong_model_is_broken(doctor: Any) -> None:
    with serving() as standin:
        done = doctor({"m": {**adopted(standin.url), "name": "mistral"}})
    assert done.exit_code == 1
    assert (
        "the endpoint serves /models/meant.gguf, and no model mistral; the config asks for it"
        in done.stdout
    )


def test_one_that_is_not_there_costs_the_others_nothing(doctor: Any) -> None:
    with serving() as standin:
        dead = {"engine": "embedded", "gguf": "missing.gguf"}
        done = doctor({"gone": dead, "m": adopted(standin.url)})
    assert done.exit_code == 1
    assert "missing.gguf" in done.stdout
    assert "  ok       alive        it answers" in done.stdout


def test_as_json_it_says_the_same(doctor: Any) -> None:
    with serving("stop") as standin:
        done = doctor({"m": adopted(standin.url)}, "--json", stop="x")
    (model,) = json.loads(done.stdout)
    assert (model["name"], model["broken"], done.exit_code) == ("m", True, 1)
    assert {check["name"]: check["verdict"] for check in model["checks"]}["stop"] == "lacking"


def test_overrides_hold_and_need_a_config(doctor: Any) -> None:
    with serving("stop") as standin:
        assert doctor({"m": adopted(standin.url)}, "--llm-set", "sampling.stop=x").exit_code == 1
    done = CliRunner().invoke(app, ["doctor", "--llm-set", "sampling.stop=x"])
    assert done.exit_code == 2
    assert "--llm-set needs --llm-config" in done.output


def test_a_mistake_in_the_config_is_told_and_nothing_is_started(doctor: Any) -> None:
    done = doctor({"m": {"engine": "embedded"}})
    assert done.exit_code == 1
    assert "engine embedded needs the key 'gguf'" in done.output


def test_a_fake_model_has_nothing_to_examine(doctor: Any) -> None:
    done = doctor({"m": {"engine": "fake"}})
    assert (done.exit_code, done.stdout) == (0, "m (fake: no model at all): nothing to examine\n")
