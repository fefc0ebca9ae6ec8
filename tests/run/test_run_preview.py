"""--llm-plan: what would run."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from pytest_llmeval.results.manifest import ModelFacts, read_manifest, write_manifest
from pytest_llmeval.run.model_facts import size_of
from pytest_llmeval.run.opening import open_ledger
from pytest_llmeval.run.preview import preview_lines
from tests.run.conftest import MODELS

if TYPE_CHECKING:
    from datetime import datetime

    from tests.run.conftest import Workbench

ADOPTED = {"engine": "openai", "url": "http://127.0.0.1:9/v1"}


def test_trials_and_tokens_are_told_for_each_suite_and_condition(bench: Workbench) -> None:
    bench.config(repeats=2)
    settings = bench.settings()
    twelve = [{"id": str(n), "a": n, "answer": "x"} for n in range(4)]
    suite = bench.suite(prompt="{{ 'word ' * 8 }}", items=twelve, sampling={"max_tokens": 5})
    lines = list(preview_lines(bench.trials(settings, suite), settings))
    assert lines[0] == "llmeval plan: 8 trials; nothing is sent"
    assert lines[2].split() == ["sums", "m", "8", "80", "40"]


LIKELY = {
    "items": [{"id": "x", "options": ["12", "1234"], "answer": "A"}],
    "prompt": "{{ 'word ' * 2 }}",
    "score": {"choice": "loglikelihood"},
}


def test_for_likelihoods_the_prompt_is_read_with_each_text_and_nothing_is_written(
    bench: Workbench, now: datetime
) -> None:
    measured(bench, now, 2.0)
    settings = bench.settings()
    likely, sums = bench.suite("likely", **LIKELY), bench.suite("sums", sampling={"max_tokens": 5})
    alone = list(preview_lines(bench.trials(settings, likely), settings))
    assert alone[2].split() == ["likely", "m", "1", "6", "0"]  # 10 + 2 and 10 + 4 characters
    assert alone[-1].startswith("m: time unknown: nothing is written, and speed is that of writing")
    settings = bench.settings()
    both = list(preview_lines(bench.trials(settings, likely, sums), settings))
    assert "at most about 10 s at the 2 tok/s of an earlier run, and the likelihoods" in both[-1]


def test_nothing_selected_is_a_plan_too(bench: Workbench) -> None:
    lines = list(preview_lines([], bench.settings()))
    assert lines[0] == "llmeval plan: 0 trials; nothing is sent"
    assert len(lines) == 2


def test_memory_is_told_for_models_that_we_load(bench: Workbench) -> None:
    bench.config(models={**bench.real("tiny-s"), "adopted": ADOPTED})
    settings = bench.settings()
    lines = list(preview_lines(bench.trials(settings, bench.suite()), settings))
    assert lines[-2].startswith("tiny-s: time unknown until a first run has measured its speed; ")
    assert "GiB of memory" in lines[-2]
    assert lines[-1].endswith("memory not ours to tell")


def measured(bench: Workbench, now: datetime, speed: float, *, dry_run: bool = False) -> None:
    """An earlier run that wrote so many tokens per second."""
    settings = bench.settings(dry_run=dry_run)
    ledger = open_ledger(settings, bench.trials(settings, bench.suite()), now)
    ledger.close({}, now, "")
    rows = [{"condition": "m", "tokens_per_second": speed}]
    model = settings.config.models["m"]
    facts = ModelFacts("m", model.engine, size=size_of(model.gguf))
    folder = ledger.folder.path
    write_manifest(folder, dataclasses.replace(read_manifest(folder), models=(facts,)))
    path = ledger.folder.path / "costs.json"
    path.write_text(json.dumps({"conditions": rows}), encoding="utf-8")


def test_time_is_told_by_the_speed_of_the_newest_run(bench: Workbench, now: datetime) -> None:
    measured(bench, now, 2.0)
    measured(bench, now, 8.0)
    measured(bench, now, 1000.0, dry_run=True)
    settings = bench.settings()
    lines = list(preview_lines(bench.trials(settings, bench.suite()), settings))
    assert lines[-1].startswith("m: at most about 8 s at the 8 tok/s of an earlier run")


def plan_words(bench: Workbench) -> str:
    """What the plan says of the last model."""
    settings = bench.settings()
    return list(preview_lines(bench.trials(settings, bench.suite()), settings))[-1]


UNKNOWN = "m: time unknown until a first run has measured its speed"


def test_the_speed_of_another_engine_under_the_same_name_is_none(
    bench: Workbench, now: datetime
) -> None:
    measured(bench, now, 8.0)
    bench.config(models={"m": ADOPTED})
    assert plan_words(bench).startswith(UNKNOWN)


def test_the_speed_of_other_weights_under_the_same_name_is_none(
    bench: Workbench, now: datetime
) -> None:
    weights = bench.root / "m.gguf"
    weights.write_bytes((MODELS / "tiny-s.gguf").read_bytes())
    bench.config(models={"m": {**bench.real("tiny-s")["tiny-s"], "gguf": str(weights)}})
    measured(bench, now, 8.0)
    assert plan_words(bench).startswith("m: at most about 8 s at the 8 tok/s of an earlier run")
    with weights.open("ab") as file:
        file.write(b"more")
    assert plan_words(bench).startswith(UNKNOWN)
    bench.config(models={"m": bench.real("tiny-l")["tiny-l"]})
    assert plan_words(bench).startswith(UNKNOWN)


def test_less_than_a_second_and_less_than_a_token_are_not_told_as_none(
    bench: Workbench, now: datetime
) -> None:
    measured(bench, now, 1000.0)
    assert plan_words(bench).startswith("m: under 1 s at the 1,000 tok/s of an earlier run")
    measured(bench, now, 0.25)
    assert plan_words(bench).startswith("m: at most about 256 s at the 0.2 tok/s")


def test_columns_are_as_wide_as_the_longest_name(bench: Workbench) -> None:
    long = "a-model-with-a-name-of-thirty-two"
    bench.config(models={"m": {"engine": "fake"}, long: {"engine": "fake"}})
    settings = bench.settings()
    suites = bench.suite("a-suite-with-a-long-name"), bench.suite("short")
    table = list(preview_lines(bench.trials(settings, *suites), settings))[1:6]
    assert len({len(line) for line in table}) == 1
    assert {line.split()[1] for line in table} == {"condition", "m", long}


def test_a_suite_that_may_stop_is_told_apart(bench: Workbench) -> None:
    bench.config(models={"m": {"engine": "fake"}, "n": {"engine": "fake"}})
    settings = bench.settings()
    suites = bench.suite("early", stop={"when": "decided"}), bench.suite("late")
    lines = list(preview_lines(bench.trials(settings, *suites), settings))
    assert lines.count("early: fewer, where they decide (stop)") == 1
    assert not any(line.startswith("late: ") for line in lines)
