"""A recorded run played again: its answers are scored and held to gates, and no model is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_llmeval.errors import NotRecorded, RunError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import Answer, Prediction, Predictions, Trial
from pytest_llmeval.results.cassettes import (
    Recording,
    find_asking_run,
    is_recording,
    question_hash,
    read_recording,
)
from pytest_llmeval.results.manifest import Manifest
from pytest_llmeval.run.requests import request_bodies
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.lanes import Lane
from pytest_llmeval.running.plan import by_model

#: So many trials without a recorded answer fail at a time.
AT_ONCE = 64

ASKS_NO_MODEL = (
    "a recording is played (replay), so no model is there to be asked: leave out the tests that "
    "take llm or llm_server, or run without replay"
)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a recording answers of this run's trials, and why it does not answer the others.

    `known` are the predictions to be told again, by trial id, those of judges among them; `lacking`
    says of trials of the first wave why none of theirs is there.
    """

    recording: Recording
    known: Predictions
    lacking: Mapping[str, str]

    def mark(self, manifest: Manifest) -> Manifest:
        """The manifest of a run of these answers: who has given them, and that nobody was asked."""
        return replace(
            manifest,
            models=self.recording.models,
            rotation=self.recording.rotation,
            replayed_from=self.recording.run,
        )

    @property
    def words(self) -> str:
        """What a reader of the numbers should know."""
        return f"the answers are those of the run {self.recording.run}: no model was asked"


def replay_of(settings: Settings, trials: Sequence[Trial], wave: SecondWave) -> Replay | None:
    """Find the recording that the config names, and what it answers; None without `replay`.

    Raises RunError when it cannot be read, TemplateError when a prompt cannot be rendered.
    """
    name = settings.config.replay
    if name is None:
        return None
    recording = read_recording(_find(name, settings))
    known, lacking = match(recording, trials, settings.config.models)
    judged = {trial.id for trial in wave.trials}
    known |= {id_: found for id_, found in recording.predictions.items() if id_ in judged}
    return Replay(recording, known, lacking)


def _find(name: str, settings: Settings) -> Path:
    """As a path from here, from the rootdir, from the config's folder, then as a run."""
    options = settings.options
    places = [options.here / name, options.root / name, settings.config.path.parent / name]
    for place in places:
        if is_recording(place):
            return place
    try:
        return find_asking_run(settings.options.run_dir, name)
    except RunError as error:
        looked = " and ".join(map(str, dict.fromkeys(places)))
        raise RunError(f"replay: no cassette at {looked}, and {error}") from None


def match(
    recording: Recording, trials: Iterable[Trial], models: Mapping[str, ModelConfig]
) -> tuple[dict[str, Prediction], dict[str, str]]:
    """The recorded predictions of trials that are asked the very same today, and why not of others.

    A recorded failure is told again as well: it is what came of the trial.
    """
    known: dict[str, Prediction] = {}
    lacking: dict[str, str] = {}
    where = f"the recording of the run {recording.run}"
    for trial_id, body in request_bodies(list(trials), models):
        prediction = recording.predictions.get(trial_id)
        if prediction is None:
            lacking[trial_id] = f"{where} has no prediction of this trial. {_RECORD_AGAIN}"
        elif recording.questions.get(trial_id) != question_hash(body):
            lacking[trial_id] = (
                f"{where} answers another question: what this trial asks has changed since "
                f"(prompt, item, sampling, tools or model name). {_RECORD_AGAIN}"
            )
        else:
            known[trial_id] = prediction
    return known, lacking


_RECORD_AGAIN = "Run it with its models, and record that: llmeval cassette RUN FILE"


def replay_turns(
    replay: Replay, trials: Sequence[Trial], wave: SecondWave, answers: Callable[[], Predictions]
) -> list[list[Lane]]:
    """Lanes in which each trial that the recording does not answer fails, and says why."""
    lanes = [_lane(model, its, replay) for model, its in _left(trials, answers()).items()]
    lanes += [
        _judges(model, its, replay, wave, answers)
        for model, its in _left(wave.trials, answers()).items()
    ]
    return [lanes]


def _left(trials: Sequence[Trial], told: Predictions) -> dict[str, list[Trial]]:
    """The trials of each model that nothing was recorded of, in the order of items."""
    models = dict.fromkeys(trial.condition.model for trial in trials)
    return by_model([trial for trial in trials if trial.id not in told], tuple(models))


def _lane(model: str, trials: Sequence[Trial], replay: Replay) -> Lane:
    async def ask(trial: Trial) -> Answer:
        raise NotRecorded(replay.lacking[trial.id])

    return Lane(model, trials, lambda: AT_ONCE, ask, _nothing, _nothing, _nothing)


def _judges(
    model: str,
    trials: Sequence[Trial],
    replay: Replay,
    wave: SecondWave,
    answers: Callable[[], Predictions],
) -> Lane:
    by_id = {trial.id: trial for trial in wave.trials}

    async def ask(trial: Trial) -> Answer:
        del trial
        raise NotRecorded(
            f"the recording of the run {replay.recording.run} has no verdict on this answer by "
            f"these words: it was not judged then, or the question has changed. {_RECORD_AGAIN}"
        )

    return Lane(
        model=model,
        trials=trials,
        in_flight=lambda: AT_ONCE,
        ask=ask,
        open=_nothing,
        recover=_nothing,
        close=_nothing,
        wave=2,
        is_due=lambda trial: wave.is_due(by_id[trial.id], answers()),
        asked=lambda trial: wave.asked(by_id[trial.id], answers()),
    )


async def _nothing() -> None:
    """There is no endpoint that would have to be opened, brought back or closed."""
