"""How the cores are divided between servers that compute at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.run.cores import threads_of


def model(name: str, engine: str = "embedded", slots: int = 4, **keys: Any) -> ModelConfig:
    keys.setdefault("gguf", None if "url" in keys else Path("m.gguf"))
    return ModelConfig(name, engine, name, slots, False, 60.0, 60.0, **keys)


def shares(
    *models: ModelConfig, turns: list[list[str]] | None = None, cores: int = 8
) -> list[int | None]:
    by_name = {each.name: each for each in models}
    return list(threads_of(by_name, turns or [list(by_name)], cores).values())


def test_models_that_compute_side_by_side_divide_the_cores() -> None:
    assert shares(model("a"), model("b", "llama-server")) == [4, 4]
    assert shares(model("a"), model("b"), model("c")) == [2, 2, 2]


def test_a_model_that_has_a_turn_to_itself_takes_what_its_server_chooses() -> None:
    assert shares(model("a")) == [None]
    assert shares(model("a"), model("b"), turns=[["a"], ["b"]]) == [None, None]


def test_a_written_number_of_threads_stands() -> None:
    assert shares(model("a", threads=6), model("b")) == [6, 4]


def test_every_process_has_a_thread_however_many_there_are() -> None:
    assert shares(model("a"), model("b"), model("c"), cores=2) == [1, 1, 1]


def test_each_instance_of_llama_cpp_python_is_a_process() -> None:
    assert shares(model("a", "llama-cpp-python", slots=3), model("b")) == [2, 2]


def test_who_does_not_compute_here_takes_no_cores() -> None:
    adopted = model("a", "openai", url="http://127.0.0.1:8080/v1")
    on_the_gpu = model("b", "llama-server", gpu_layers="all")
    assert shares(adopted, on_the_gpu, model("c")) == [None, None, None]
