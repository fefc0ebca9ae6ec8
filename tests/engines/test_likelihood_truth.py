"""Likelihoods through servers against all logits of the model, in short.

The whole is benchmarks/likelihood.py, with 500 items a task; here are 20.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
ITEMS = 20


@pytest.fixture
def benchmark_of_likelihoods(
    llama_cpp_folder: Path, real_llama_server: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """The benchmark as a module; skipped without llama-cpp-python and its llama-server."""
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`")
    assert real_llama_server.is_relative_to(llama_cpp_folder)
    monkeypatch.setenv("LLMEVAL_LLAMA_CPP", str(llama_cpp_folder))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import likelihood

    return likelihood


def test_in_32_bits_servers_of_two_builds_say_what_full_logits_say(
    benchmark_of_likelihoods: ModuleType, llama_cpp_folder: Path, tmp_path: Path
) -> None:
    """Nothing but the way of asking could make a difference, and it makes none."""
    bench = benchmark_of_likelihoods
    model = bench.in_f32(llama_cpp_folder, ROOT / "models" / "tiny-l.gguf", tmp_path)
    setting = next(each for each in bench.SETTINGS if each.attention == "exact")
    asked = bench.tasks(ITEMS, long=setting.long)
    for line in bench.truth("tiny-l", llama_cpp_folder, model, asked, setting):
        same, mean, largest = map(float, line.figure.replace("%", "").split())
        assert line.reached, line
        assert same == 100, line
        assert mean < 0.0001, line
        assert largest < 0.001, line


def test_the_shipped_models_have_the_same_likeliest_option_everywhere(
    benchmark_of_likelihoods: ModuleType, llama_cpp_folder: Path
) -> None:
    bench = benchmark_of_likelihoods
    model = ROOT / "models" / "tiny-s.gguf"
    asked = bench.tasks(ITEMS)
    values: dict[str, Mapping[str, object]] = {
        "logits": bench.reference(llama_cpp_folder, model, asked, "usual"),
        "embedded": bench.by_server(bench.embedded("usual"), model, asked),
        "server": bench.by_server(bench.real(llama_cpp_folder, "usual", 4), model, asked),
    }
    for task in asked:
        for server, largest in (("embedded", 0.5), ("server", 0.01)):
            found = bench.agreement(values[server][task.name], values["logits"][task.name])
            assert found.same == 1, (server, task.name)
            assert found.largest <= largest, (server, task.name)
