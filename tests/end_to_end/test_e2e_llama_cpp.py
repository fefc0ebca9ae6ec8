"""What llama.cpp's server can do besides chatting, by config and suite as a user writes them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.commands.show import Wanted, find, text_lines
from pytest_llmeval.engines.fetch import fetch
from pytest_llmeval.servers.ports import free_port
from tests.adapters import write_adapter
from tools.real_runs import MODELS, REPOSITORY, Project, becomes_true, shipped

GGUF = REPOSITORY / "models" / "tiny-s.gguf"
TINY_S = {"tiny-s": MODELS["tiny-s"]}


def texts(project: Project, model: str) -> list[str]:
    """What a model has answered in the newest run."""
    return [row["text"] for row in project.rows("predictions") if row["model"] == model]


def bodies(project: Project) -> list[dict[str, Any]]:
    """The lines of the newest run's requests."""
    paths = sorted(project.folder.glob("*/parts/*.requests.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def answers(project: Project) -> list[dict[str, Any]]:
    """The choices in the newest run's journals."""
    paths = sorted(project.folder.glob("*/parts/*.results.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
    return [line["response"]["body"]["choices"][0] for line in lines]


def test_an_adapter_changes_what_is_answered_and_is_part_of_the_run(project: Project) -> None:
    style = write_adapter(project.root / "style.gguf", GGUF)
    styled = {**MODELS["tiny-s"], "lora": [{"path": "style.gguf", "scale": 0.5}]}
    project.config(models={**TINY_S, "styled": styled})
    project.suite(items=shipped("arithmetic", 8))
    status, text = project.run()
    assert status == 0, text
    assert len(texts(project, "styled")) == 8
    assert texts(project, "styled") != texts(project, "tiny-s")
    plain, with_style = sorted(project.manifest()["models"], key=lambda facts: facts["name"])[::-1]
    assert plain["adapters"] == []
    assert plain["digest"] == with_style["digest"]
    (adapter,) = with_style["adapters"]
    assert (adapter["file"], adapter["scale"]) == ("style.gguf", 0.5)
    assert adapter["digest"] in (project.folder / "reports" / "report.md").read_text("utf-8")
    # The same file name with other weights in it is another model.
    write_adapter(style, GGUF, seed=8)
    status, text = project.run("--llm-resume", "last")
    assert status == 4
    assert "model styled: sha256 of the weights and their adapters was " in text


def test_an_adapter_that_is_missing_fails_its_model_and_no_other(project: Project) -> None:
    project.config(models={**TINY_S, "styled": {**MODELS["tiny-s"], "lora": "none.gguf"}})
    project.suite(items=shipped("arithmetic", 3))
    status, text = project.run()
    assert status == 1
    assert "none.gguf: there is no such file" in text
    outcomes = {(row["model"], row["outcome"]) for row in project.rows("predictions")}
    assert ("styled", "failure") in outcomes
    assert ("tiny-s", "failure") not in outcomes


def test_a_raw_completion_is_asked_written_down_and_shown(project: Project) -> None:
    project.config(models=TINY_S)
    chat = "<|im_start|>user\n{{ a }} + {{ b }} =<|im_end|>\n<|im_start|>assistant\n"
    project.suite(items=shipped("arithmetic", 8))
    status, text = project.run()
    assert status == 0, text
    by_template = texts(project, "tiny-s")
    project.suite(items=shipped("arithmetic", 8), prompts={"plain": chat}, form="completion")
    status, text = project.run()
    assert status == 0, text
    assert texts(project, "tiny-s") == by_template  # the template, written out by hand
    line, *_ = bodies(project)
    assert line["url"] == "/v1/completions"
    assert line["body"]["prompt"].startswith("<|im_start|>user\n")
    shown = list(text_lines(find(project.folder, Wanted(limit=1))))
    assert shown[1].startswith("  asked   <|im_start|>user")


def test_answers_obey_a_schema_and_come_with_log_probabilities(project: Project) -> None:
    project.config(models=TINY_S)
    schema = {
        "type": "object",
        "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    project.suite(
        items=shipped("arithmetic", 6),
        json_schema=schema,
        logprobs=2,
        score={"json_schema": {"schema": schema}},
        sampling={"max_tokens": 64},
    )
    status, text = project.run()
    assert status == 0, text
    assert {row["outcome"] for row in project.rows("predictions")} == {"right"}
    for choice in answers(project):
        tokens = choice["logprobs"]["content"]
        written = "".join(token["token"] for token in tokens)
        assert written.strip() == choice["message"]["content"]
        assert all(len(token["top_logprobs"]) == 2 for token in tokens)


def test_a_grammar_that_is_none_is_a_failure_that_names_the_servers_log(project: Project) -> None:
    project.config(models=TINY_S)
    project.suite(items=shipped("arithmetic", 2), grammar='root ::= ("yes"')
    status, text = project.run()
    assert status == 1
    assert "failed to parse grammar; the server's log says what is wrong with it: " in text
    assert {row["outcome"] for row in project.rows("predictions")} == {"failure"}


@pytest.fixture
def by_hand(
    project: Project, real_llama_server: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The real llama-server, started by hand with a key."""
    monkeypatch.setenv("LLMEVAL_TEST_KEY", "sk-by-hand")
    port = free_port("127.0.0.1")
    flags = ["--host", "127.0.0.1", "--port", str(port), "-np", "2", "-c", "1024", "-t", "1"]
    with (project.root / "by-hand.log").open("wb") as log:
        process = subprocess.Popen(
            [str(real_llama_server), "-m", str(GGUF), *flags, "--api-key", "sk-by-hand"],
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    assert becomes_true(lambda: fetch(f"{url}/health", 5).status == 200)
    yield url
    assert process.poll() is None, "it was stopped, and belongs to somebody else"
    process.kill()
    process.wait()


def test_a_llama_server_that_runs_already_is_adopted_with_all_its_keys(
    project: Project, by_hand: str
) -> None:
    adopted = {
        "engine": "llama-server",
        "url": f"{by_hand}/v1",
        "api_key_env": "LLMEVAL_TEST_KEY",
        "exact": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    project.config(
        models={"served": adopted, **TINY_S},
        sampling={"temperature": 0, "max_tokens": 8, "seed": 7, "top_k": 1},
    )
    project.suite(items=shipped("arithmetic", 6), grammar="root ::= [0-9]{1,3}")
    status, text = project.run()
    assert status == 0, text
    assert f"llama-server at {by_hand}/v1, adopted: never started or stopped here" in text
    assert texts(project, "served") == texts(project, "tiny-s")
    assert all(text.isdigit() for text in texts(project, "served"))
    facts = {each["name"]: each for each in project.manifest()["models"]}["served"]
    assert (facts["slots"], facts["context"], facts["digest"]) == (2, 512, None)


def test_the_real_llama_server_is_started_with_adapters_and_answers_as_the_embedded_one(
    project: Project, real_llama_server: Path
) -> None:
    write_adapter(project.root / "style.gguf", GGUF)
    styled = {**MODELS["tiny-s"], "lora": {"path": "style.gguf", "scale": -0.5}, "exact": True}
    real = {**styled, "engine": "llama-server", "executable": str(real_llama_server)}
    project.config(models={"embedded": styled, "real": real})
    project.suite(items=shipped("arithmetic", 8))
    status, text = project.run()
    assert status == 0, text
    assert texts(project, "real") == texts(project, "embedded")
