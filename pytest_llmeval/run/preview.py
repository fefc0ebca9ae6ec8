"""--llm-plan: what would run, as lines for the terminal. Nothing is started or sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pytest_llmeval.records import Answer, JudgeTrial, Prediction, Trial
from pytest_llmeval.results.folder import list_runs
from pytest_llmeval.results.manifest import read_manifest
from pytest_llmeval.run.ledger import DRY_RUN
from pytest_llmeval.run.managed import memory_of
from pytest_llmeval.run.requests import request_of
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.run.settings import Settings

#: A token of English text is about this many characters; only an engine could count exactly.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Load:
    """What one suite asks under one condition; tokens are estimated, `written` is the most."""

    suite: str
    condition: str
    model: str
    trials: int
    read: int
    written: int


def preview_lines(trials: Sequence[Trial], settings: Settings) -> Iterator[str]:
    """Trials, tokens, time where an earlier run tells the model's speed, and memory."""
    judged = SecondWave(trials, settings.bench)
    loads = [*_loads(trials, settings), *_judge_loads(judged)]
    more = f" and {len(judged.trials):,} of judges" if judged.trials else ""
    yield f"llmeval plan: {len(trials):,} trials{more}; nothing is sent"
    yield f"{'suite':<14}{'condition':<20}{'trials':>8}{'about read':>12}{'at most written':>17}"
    for load in loads:
        yield (
            f"{load.suite:<14}{load.condition:<20}{load.trials:>8,}"
            f"{load.read:>12,}{load.written:>17,}"
        )
    for suite in dict.fromkeys(trial.suite.name for trial in trials if trial.suite.stop):
        yield f"{suite}: fewer, where they decide (stop)"
    speeds = _speeds(settings)
    for model in dict.fromkeys(load.model for load in loads):
        its = [load for load in loads if load.model == model]
        yield f"{model}: {_time(its, speeds.get(model))}; {_memory(settings, model)}"


def _loads(trials: Sequence[Trial], settings: Settings) -> Iterator[Load]:
    for (suite, condition), group in groupby(trials, _key):
        its = list(group)
        requests = [request_of(t, settings.config.models[t.condition.model]) for t in its]
        characters = sum(len(m.content) for request in requests for m in request.messages)
        yield Load(
            suite=suite,
            condition=condition,
            model=its[0].condition.model,
            trials=len(its),
            read=characters // CHARACTERS_PER_TOKEN,
            written=sum(request.sampling.max_tokens for request in requests),
        )


def _judge_loads(wave: SecondWave) -> Iterator[Load]:
    """What judges are asked at most: every answer as long as it may be."""
    groups: dict[tuple[str, str, str], list[JudgeTrial]] = {}
    for trial in wave.trials:
        key = (trial.suite.name, trial.condition.name, trial.scorer)
        groups.setdefault(key, []).append(trial)
    for (suite, condition, scorer), its in groups.items():
        model = its[0].condition.model
        # Vectors are of answers and targets, with nothing around them.
        around = 0 if wave.is_embedding(its[0]) else _characters_around(wave, its)
        shown = sum(
            each.condition.sampling.max_tokens
            for trial in its
            for each in (trial.judged, trial.against)
            if each is not None
        )
        written = sum(trial.condition.sampling.max_tokens for trial in its)
        yield Load(
            suite=suite,
            condition=f"{condition}@{scorer}",
            model=model,
            trials=len(its),
            read=around // CHARACTERS_PER_TOKEN + shown,
            written=0 if wave.is_embedding(its[0]) else written,
        )


def _characters_around(wave: SecondWave, trials: Sequence[JudgeTrial]) -> int:
    """Everything in the questions of judges but the answers, in characters."""
    asked = {t.id: t for trial in trials for t in (trial.judged, trial.against) if t is not None}
    empty = {id_: Prediction(id_, Answer("", "stop"), None) for id_ in asked}
    return sum(
        len(message.content)
        for trial in trials
        for message in wave.request_of(trial, empty).messages
    )


def _key(trial: Trial) -> tuple[str, str]:
    return trial.suite.name, trial.condition.name


def _time(loads: Sequence[Load], speed: float | None) -> str:
    if not speed:
        return "time unknown until a first run has measured its speed"
    seconds = sum(load.written for load in loads) / speed
    return f"at most about {seconds:,.0f} s at the {speed:,.0f} tok/s of an earlier run"


def _memory(settings: Settings, model: str) -> str:
    size = memory_of(settings.config.models[model])
    return "memory not ours to tell" if size is None else f"about {size / 2**30:,.2f} GiB of memory"


def _speeds(settings: Settings) -> Mapping[str, float]:
    """Tokens written per second by model, from the newest run that measured it."""
    speeds: dict[str, float] = {}
    for path in list_runs(settings.options.run_dir):
        costs = path / "costs.json"
        if costs.is_file() and DRY_RUN not in read_manifest(path).warnings:
            for row in json.loads(costs.read_text(encoding="utf-8"))["conditions"]:
                if row["tokens_per_second"]:
                    speeds[row["condition"].split("/")[0]] = row["tokens_per_second"]
    return speeds
