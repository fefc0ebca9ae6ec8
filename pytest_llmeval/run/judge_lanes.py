"""Judge trials on their way to the models that judge."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pytest_llmeval.engines.embeddings import embeddings_body
from pytest_llmeval.engines.engine import refuse_embedding, refuse_request
from pytest_llmeval.errors import ConfigError, EngineError, Unsupported
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import Answer, JudgeTrial, Prediction, Predictions, Request, Trial
from pytest_llmeval.run.backing import in_flight
from pytest_llmeval.run.caching import AnswerCache, through_cache
from pytest_llmeval.run.embedding import BATCH, Cosines
from pytest_llmeval.run.honesty import refuse_dishonest
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.preflight import JudgesGatekeeper
from pytest_llmeval.run.requests import body_of
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.lanes import Lane

#: What stands for answers where only the form of a question matters.
_ANY = Answer("-", "stop")


def judge_lane(
    settings: Settings,
    live: LiveModel,
    trials: Sequence[JudgeTrial],
    wave: SecondWave,
    answers: Callable[[], Predictions],
    cache: AnswerCache | None = None,
) -> Lane:
    """The lane of what one model judges; `answers` gives all predictions there are by then."""
    model, by_id = settings.config.models[live.name], {trial.id: trial for trial in trials}
    cosines = Cosines(live.embed)
    embeds, gatekeeper = wave.is_embedding(trials[0]), JudgesGatekeeper(model)

    def width() -> int:
        if any(trial.suite.exact for trial in trials):
            return 1
        if embeds:  # so many texts go out together, and some more while their vectors come back
            return 2 * BATCH
        return in_flight(model, live.slots, timed=False, dry_run=settings.options.dry_run)

    through = through_cache(cache, live, model, measured=False)

    async def ask(trial: Trial) -> Answer:
        judge_trial = by_id[trial.id]
        if embeds:
            return await cosines.compare(wave.texts_of(judge_trial, answers()))
        request = judge_request(wave, judge_trial, answers(), model)
        context = live.facts.context if live.facts else None
        gatekeeper.admit(trial, request, live.checks, context)

        async def fresh() -> Answer:
            answer = await live.ask(request)
            refuse_dishonest(request, answer, model.engine)
            return answer

        return await through(trial, request, fresh, width())

    return Lane(
        model=live.name,
        trials=trials,
        in_flight=width,
        ask=ask,
        open=live.open,
        recover=live.recover,
        close=live.give_way,
        explain=live.explain,
        wave=2,
        is_due=lambda trial: wave.is_due(by_id[trial.id], answers()),
        asked=lambda trial: wave.asked(by_id[trial.id], answers()),
    )


def judge_request(
    wave: SecondWave, trial: JudgeTrial, answers: Predictions, model: ModelConfig
) -> Request:
    """What a judge is sent; raises EngineError when it cannot be said."""
    request = wave.request_of(trial, answers)
    return dataclasses.replace(request, cache_prompt=not (model.exact or trial.suite.exact))


def judged_by(trials: Iterable[JudgeTrial]) -> set[str]:
    """The models whose answers are judged."""
    shown = [each for trial in trials for each in (trial.judged, trial.against)]
    return {trial.condition.model for trial in shown if trial is not None}


def judge_bodies(
    wave: SecondWave, predictions: Predictions, models: Mapping[str, ModelConfig]
) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """What was asked about each condition's answers: trial id and body, by condition.

    A question that could not be said was not asked: its trial has failed by that.
    """
    bodies: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for trial in wave.trials:
        if trial.id in predictions:
            with contextlib.suppress(EngineError):
                body = _body(wave, trial, predictions, models[trial.condition.model])
                bodies.setdefault(trial.condition.name, []).append((trial.id, body))
    return bodies


def _body(
    wave: SecondWave, trial: JudgeTrial, predictions: Predictions, model: ModelConfig
) -> dict[str, Any]:
    if wave.is_embedding(trial):
        return embeddings_body(wave.texts_of(trial, predictions), model.sent_name)
    return body_of(judge_request(wave, trial, predictions, model), model)


def refuse_the_impossible_of_judges(settings: Settings, wave: SecondWave) -> None:
    """Raise ConfigError for what the engine of a judge cannot do, before anything is sent."""
    if settings.options.dry_run:
        return
    kinds = {(t.suite.name, t.condition.name, t.scorer): t for t in wave.trials}
    for trial in kinds.values():
        model = settings.config.models[trial.condition.model]
        shown = [each for each in (trial.judged, trial.against) if each is not None]
        answers = {each.id: Prediction(each.id, _ANY, None) for each in shown}
        try:
            if wave.is_embedding(trial):
                refuse_embedding(model.engine)
            else:
                refuse_request(model.engine, judge_request(wave, trial, answers, model))
        except Unsupported as error:
            raise ConfigError(
                f"{trial.scorer} in suite {trial.suite.name}, by {model.name}: {error}",
                path=settings.config.path,
            ) from error
