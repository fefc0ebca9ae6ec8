"""--llm-plan: what would run, as lines for the terminal. Nothing is started or sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pytest_llmeval.atomic import plain
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.machine.memory import free_now
from pytest_llmeval.records import Answer, JudgeTrial, Prediction, Request, Trial
from pytest_llmeval.results.folder import COSTS, list_runs
from pytest_llmeval.results.manifest import DRY_RUN, Manifest, read_manifest
from pytest_llmeval.run.managed import fit_of, in_gib, memory_of
from pytest_llmeval.run.model_facts import size_of
from pytest_llmeval.run.requests import request_of
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.run.settings import Settings

#: A token of English text is about this many characters; only an engine could count exactly.
CHARACTERS_PER_TOKEN = 4

#: What a config says of which model it is and of what computes it: another has another speed.
SPEED_DEPENDS_ON = ("sent_name", "gguf", "lora", "url", "urls", "gpu_layers")


@dataclass(frozen=True, slots=True)
class Load:
    """What one suite asks under one condition; tokens are estimated, `written` is the most.

    Where likelihoods are asked nothing is written, and the prompt is read once for each text.
    """

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
    yield from _table(loads)
    for suite in dict.fromkeys(trial.suite.name for trial in trials if trial.suite.stop):
        yield f"{suite}: fewer, where they decide (stop)"
    speeds = _speeds(settings)
    for model in dict.fromkeys(load.model for load in loads):
        its = [load for load in loads if load.model == model]
        yield f"{model}: {_time(its, speeds.get(model))}; {_memory(settings, model)}"


def _table(loads: Sequence[Load]) -> Iterator[str]:
    """A line for each load below a head, in columns as wide as the longest names."""
    suite = max([14, *(len(load.suite) + 2 for load in loads)])
    condition = max([20, *(len(load.condition) + 2 for load in loads)])
    head = f"{'suite':<{suite}}{'condition':<{condition}}{'trials':>8}"
    yield f"{head}{'about read':>12}{'at most written':>17}"
    for load in loads:
        names = f"{load.suite:<{suite}}{load.condition:<{condition}}"
        yield f"{names}{load.trials:>8,}{load.read:>12,}{load.written:>17,}"


def _loads(trials: Sequence[Trial], settings: Settings) -> Iterator[Load]:
    for (suite, condition), group in groupby(trials, _key):
        its = list(group)
        requests = [request_of(t, settings.config.models[t.condition.model]) for t in its]
        yield Load(
            suite=suite,
            condition=condition,
            model=its[0].condition.model,
            trials=len(its),
            read=sum(map(_characters, requests)) // CHARACTERS_PER_TOKEN,
            written=sum(0 if r.continuations else r.sampling.max_tokens for r in requests),
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
    return sum(_characters(wave.request_of(trial, empty)) for trial in trials)


def _characters(request: Request) -> int:
    prompt = sum(len(message.content) for message in request.messages)
    texts = request.continuations or ("",)
    return sum(prompt + len(text) for text in texts)


def _key(trial: Trial) -> tuple[str, str]:
    return trial.suite.name, trial.condition.name


def _time(loads: Sequence[Load], speed: float | None) -> str:
    written = sum(load.written for load in loads)
    if not written:
        return "time unknown: nothing is written, and speed is that of writing"
    if not speed:
        return "time unknown until a first run has measured its speed"
    seconds = written / speed
    most = f"at most about {seconds:,.0f} s" if seconds >= 1 else "under 1 s"
    rate = f"{speed:,.0f}" if speed >= 1 else f"{speed:.1g}"
    told = f"{most} at the {rate} tok/s of an earlier run"
    return told if all(load.written for load in loads) else f"{told}, and the likelihoods"


def _memory(settings: Settings, model: str) -> str:
    config = settings.config.models[model]
    free = free_now()
    need = memory_of(config, has_gpu=free.vram is not None)
    if need is None:
        return "memory not ours to tell"
    parts = [f"{in_gib(need.ram)} of memory"] if need.ram else []
    parts += [f"{in_gib(need.vram)} of GPU memory"] if need.vram else []
    return "; ".join(filter(None, [f"about {' and '.join(parts)}", fit_of(config, free)]))


def _speeds(settings: Settings) -> Mapping[str, float]:
    """Tokens written per second by model, from the newest run that measured the very same one."""
    speeds: dict[str, float] = {}
    for path in list_runs(settings.options.run_dir):
        costs = path / COSTS
        if not costs.is_file() or DRY_RUN in (manifest := read_manifest(path)).warnings:
            continue
        for row in json.loads(costs.read_text(encoding="utf-8"))["conditions"]:
            model = row["condition"].split("/")[0]
            if row["tokens_per_second"] and _is_same(model, manifest, settings.config):
                speeds[model] = row["tokens_per_second"]
    return speeds


def _is_same(name: str, manifest: Manifest, config: Config) -> bool:
    """Whether a run asked what the config now calls by this name; its weights, which would take
    long to read, by their file and its size.
    """
    facts = next((each for each in manifest.models if each.name == name), None)
    before, now = (
        each["models"].get(name, {}) for each in (manifest.plan.config, config.canonical)
    )
    return (
        facts is not None
        and name in config.models
        and facts.engine == config.models[name].engine
        and facts.size == size_of(config.models[name].gguf)
        and all(plain(before.get(key)) == plain(now.get(key)) for key in SPEED_DEPENDS_ON)
    )
