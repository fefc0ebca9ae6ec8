"""Files of requests with no run around them: each gets a file of results beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pytest_llmeval.errors import ConfigError, RunError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import Prediction, Predictions, Request, Trial
from pytest_llmeval.results.cassettes import question_hash
from pytest_llmeval.results.parts import PartFacts, count_part
from pytest_llmeval.results.results_file import ResultsFile, results_path
from pytest_llmeval.run.assembly import (
    backings_of,
    is_answered,
    live_models,
)
from pytest_llmeval.run.batch_asking import Ran, Requests, ask_all, lane_from_file
from pytest_llmeval.run.batch_files import (
    model_for,
    read_requests,
    refuse_the_unaskable,
    trial_of,
)
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.plan import by_model

#: What of a model's settings says who answers. Of its files it is the name: a file of requests has
#: no manifest that keeps the digest of weights.
_WHOM = (
    *("engine", "sent_name", "gguf", "lora", "url", "urls", "account", "script", "args"),
    *("chat_template_kwargs", "options", "think"),
)


@dataclass(frozen=True, slots=True)
class FileWork:
    """A file of requests and its results. `custom_ids` go by trial id: two files may have the same,
    and then their trials still differ. `questions` are hashes of what is asked, and of whom.
    """

    path: Path
    results: ResultsFile
    trials: Sequence[Trial]
    custom_ids: Mapping[str, str]
    questions: Mapping[str, str]


def run_files(settings: Settings, paths: Sequence[Path], say: Callable[[str], None]) -> Ran:
    """Ask what is left in files of requests, each with a file of results beside it.

    Raises RunError, ConfigError.
    """
    requests: Requests = {}
    with ExitStack() as stack:
        works = [_file_work(settings, path, requests, stack) for path in paths]
        of = {trial.id: work for work in works for trial in work.trials}
        left = [
            trial
            for work in works
            for trial in work.trials
            if not is_answered(work.results.known.get(work.custom_ids[trial.id]))
        ]
        outcomes = {w.path: dict(w.results.known) for w in works}

        def record(prediction: Prediction) -> None:
            work = of[prediction.trial_id]
            custom_id = work.custom_ids[prediction.trial_id]
            asked = work.questions[prediction.trial_id]
            named = dataclasses.replace(prediction, trial_id=custom_id, asked=asked)
            work.results.append(named)
            outcomes[work.path][custom_id] = named

        if left:
            _ask(settings, left, requests, paths[0].parent / "logs", say, record)
    facts = tuple(_facts(work, outcomes[work.path]) for work in works)
    return Ran(facts, facts)


def _ask(
    settings: Settings,
    trials: Sequence[Trial],
    requests: Requests,
    logs: Path,
    say: Callable[[str], None],
    record: Callable[[Prediction], None],
) -> None:
    its = by_model(trials, settings.models)
    asked = {name: [requests[trial.id] for trial in some] for name, some in its.items()}
    backings, now = backings_of(settings, say), datetime.now(timezone.utc)
    models = live_models(settings, backings, logs, say, _tell_of(say), asked, now)
    lanes = {
        name: lane_from_file(settings, models[name], some, requests) for name, some in its.items()
    }
    ask_all(settings, lanes, models, trials, say, record=record)


def _file_work(settings: Settings, path: Path, requests: Requests, stack: ExitStack) -> FileWork:
    config, dry_run = settings.config, settings.options.dry_run
    custom_ids: dict[str, str] = {}
    questions: dict[str, str] = {}
    trials = []
    for written in read_requests(path, config):
        model = model_for(written, config, path)
        if not dry_run:
            refuse_the_unaskable(config.models[model], written, path)
        if config.models[model].batch:
            raise ConfigError(
                f"models: {model}: batch: true asks whole parts of a run's folder, which "
                f"{path} is not in; leave it out, or make the folder with llmeval batch build",
                path=config.path,
            )
        trial = trial_of(written.custom_id, model, f"{path}\n{written.custom_id}")
        requests[trial.id] = written.request
        custom_ids[trial.id] = written.custom_id
        questions[trial.id] = _question(config.models[model], written.request)
        trials.append(trial)
    results = stack.enter_context(closing(ResultsFile(results_path(path, dry_run=dry_run))))
    work = FileWork(path, results, trials, custom_ids, questions)
    _refuse_other_questions(work)
    return work


def _question(model: ModelConfig, request: Request) -> str:
    whom = [str(getattr(model, name)) for name in _WHOM]
    return question_hash({"whom": whom, "request": request})


def _refuse_other_questions(work: FileWork) -> None:
    """Raise RunError where a request has changed since its answer came, or who is asked: the answer
    would be taken for one to what stands there now.
    """
    for trial_id, custom_id in work.custom_ids.items():
        known = work.results.known.get(custom_id)
        if known is None or not is_answered(known) or not known.asked:  # of an older version
            continue
        if known.asked != work.questions[trial_id]:
            raise RunError(
                f"{work.path}: the request {custom_id} is not what {work.results.path.name} has "
                "the answer to: it, or the model that it goes to, has changed since. Move that "
                "file away to ask anew"
            )


def _tell_of(say: Callable[[str], None]) -> Callable[[LiveModel, ModelConfig], None]:
    """Say by which weights a model answers: files by themselves have no manifest for it."""

    def tell(model: LiveModel, config: ModelConfig) -> None:
        weights = f", weights sha256 {model.digest}" if model.digest else ""
        build = f", {model.facts.build}" if model.facts and model.facts.build else ""
        say(f"llmeval: {model.name}: {config.engine}{build}{weights}")

    return tell


def _facts(work: FileWork, outcomes: Predictions) -> PartFacts:
    asked = [work.custom_ids[trial.id] for trial in work.trials]
    part = PartFacts(work.path.name, 1, len(asked), "completed")
    return count_part(part, [outcomes[id_] for id_ in asked if id_ in outcomes])
