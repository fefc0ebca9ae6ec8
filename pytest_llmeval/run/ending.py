"""The end of a run: what no test has scored is scored, all is written down, gates are decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property, partial

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.records import GateResult, Prediction, Predictions, Score, Scores, Trial
from pytest_llmeval.results.folder import MANIFEST
from pytest_llmeval.results.journal import write_requests
from pytest_llmeval.results.report import RunReport
from pytest_llmeval.results.tables import Work
from pytest_llmeval.run.artifacts import (
    Outcome,
    add_step_summary,
    archive,
    prices_of,
    report_of,
    write_artifacts,
)
from pytest_llmeval.run.baselines import Baselines, unused_baselines, weights_of
from pytest_llmeval.run.conclusion import (
    FailureCount,
    Worth,
    count_failures,
    judge_failure_words,
    selected_parts,
    worth_of,
)
from pytest_llmeval.run.crashed import scores_of_crashed
from pytest_llmeval.run.judge_figures import judge_figures
from pytest_llmeval.run.judge_lanes import judge_bodies
from pytest_llmeval.run.ledger import Ledger
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.run.selection import SelectedGate, Selection
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.run.validity import doubts_of, explained
from pytest_llmeval.run.verdicts import Grounds, decide_all, in_order
from pytest_llmeval.running.stopping import Stopping


@dataclass(frozen=True)
class Ending:
    """All that a run came to, when no more is asked.

    `everything` are all predictions, those of judges too; `told` the scores that tests have, and
    `crashed` the words for trials whose tests ended xdist's workers. `warned` is what the user has
    been told already, and `say` tells him more. `stopped` says why the tests did not all run, ""
    when they did; `seconds` how long the run has lasted by now; `watched` whether the machine was.
    """

    settings: Settings
    selection: Selection
    ledger: Ledger
    models: Mapping[str, LiveModel]
    wave: SecondWave
    stopping: Stopping
    everything: Predictions
    told: Scores
    crashed: Mapping[str, str]
    warned: Sequence[str]
    say: Callable[[str], None]
    stopped: str
    seconds: Callable[[], float]
    watched: bool

    @cached_property
    def predictions(self) -> dict[str, Prediction]:
        """Those of the trials, without those of judges."""
        return self.wave.without_replies(self.everything)

    @cached_property
    def needed(self) -> list[Trial]:
        """The trials without those whose suite has decided before they were asked."""
        return [each for each in self.selection.trials if each.id not in self.stopping.unneeded]

    @property
    def is_dry(self) -> bool:
        """Whether the fake engine has answered."""
        return self.settings.options.dry_run


@dataclass(frozen=True)
class Ended:
    """A run that is concluded; without a report if no trial was selected. `unwritten` says what
    could not be written down, and why: to go on with the run writes it. `not_archived` says why the
    archive that was asked for is not there, "" if it is.
    """

    ending: Ending
    scores: Scores
    gates: Sequence[tuple[SelectedGate, GateResult]]
    report: RunReport | None
    unwritten: Sequence[str] = ()
    not_archived: str = ""

    @property
    def failure_count(self) -> FailureCount | None:
        """How many trials failed, against the config's limit; None where every one is an error."""
        ending = self.ending
        if self.report is None or not ending.settings.tolerate_failures:
            return None
        # A run that was stopped has not come to some judgements, which is nobody's failure.
        open_ = ending.stopping.unneeded | ending.wave.waiting(ending.everything)
        asked = {id_: found for id_, found in ending.predictions.items() if id_ not in open_}
        return count_failures(asked, self.scores, ending.settings.config.failures_at_most or 0.0)

    @property
    def judge_failures(self) -> str:
        """How many answers no judge could judge, in words; "" where none, and where the config's
        limit on failures counts them, or the run was cut short.
        """
        ending = self.ending
        if self.report is None or ending.settings.tolerate_failures or ending.stopped:
            return ""
        return judge_failure_words(ending.predictions, self.scores)


def conclude(ending: Ending) -> Ended:
    """Score the rest, decide the gates, write tables and reports, and that the run has ended.

    That comes last: a run that is killed before it, or whose disk is full, can go on, and asks no
    answered trial. Until then nobody else writes it.
    """
    scores = _all_scores(ending)
    unwritten = [words for words in [_settle(ending, scores)] if words]
    worth = worth_of(ending.needed, scores, ending.stopping.suites)
    options = ending.settings.options
    gates = decide_all(ending.selection, _grounds(ending, scores, worth), options, ending.stopped)
    report = None
    if ending.selection.trials:  # else only fixtures needed the run
        outcome = _outcome(ending, scores, worth, in_order(gates))
        folder, manifest = ending.ledger.folder, ending.ledger.manifest
        report = report_of(folder, manifest, outcome, options.root, options.here)
        unwritten += write_artifacts(ending.ledger.folder, outcome, report, _questions(ending))
        if not ending.ledger.folder.html_report.is_file():
            report = replace(report, path="")  # so that nobody is sent there
    unwritten += _finish(ending, unwritten)
    ending.ledger.give_up()  # before the archive: Windows reads no locked file
    not_archived = archive(ending.ledger.folder) if report is not None and options.archive else ""
    if report is not None and options.step_summary is not None:
        problem = add_step_summary(options.step_summary, report)
        if problem:
            ending.say(f"llmeval: {problem}")
    return Ended(ending, scores, gates, report, tuple(unwritten), not_archived)


# Scores -------------------------------------------------------------------------------------------


def _all_scores(ending: Ending) -> Scores:
    """The scores that tests have told, and those of all other trials."""
    needed, predictions = ending.needed, ending.predictions
    scores = {**ending.told, **ending.stopping.scores}  # what has decided is what is told
    scores |= scores_of_crashed(needed, predictions, ending.crashed)
    scores |= _scores_of_the_rest(ending, scores)
    scores |= ending.wave.complete_all(needed, ending.everything, scores)
    return scores if ending.is_dry else explained(needed, predictions, scores)


def _scores_of_the_rest(ending: Ending, known: Scores) -> dict[str, tuple[Score, ...]]:
    """Trials whose test did not run, or whose worker crashed, are scored here."""
    found, predictions = {}, ending.predictions
    for trial in ending.needed:
        prediction = predictions.get(trial.id)
        if prediction is not None and trial.id not in known and trial.suite.scorers:
            try:
                found[trial.id] = ending.settings.score(trial, prediction)
            except LlmevalError as error:  # a scorer that only the worker's conftest knows
                ending.say(f"llmeval: {trial.id} has no score: {error}")
    return found


# What is kept -------------------------------------------------------------------------------------


def _settle(ending: Ending, scores: Scores) -> str:
    predictions = ending.predictions
    return ending.ledger.settle(
        ending.everything,
        ended=not ending.stopped,
        warnings=_warnings(ending),
        doubts=() if ending.is_dry else doubts_of(ending.needed, predictions, scores),
        unneeded=ending.stopping.unneeded | ending.wave.not_due(ending.everything),
    )


def _warnings(ending: Ending) -> list[str]:
    """What a reader should know: picked trials, servers that died, baselines without a gate."""
    restarted = [
        f"the server of {name} ended in mid-run and was started again, {model.restarts} times"
        for name, model in ending.models.items()
        if model.restarts
    ]
    unused = unused_baselines(ending.settings.options.root, ending.selection)
    picked = selected_parts(ending.selection.trials)
    return [*ending.warned, *picked, *restarted, *unused]


def _grounds(ending: Ending, scores: Scores, worth: Worth) -> Grounds:
    settings = ending.settings
    baselines = Baselines(
        settings.options,
        settings.scorer_versions,
        weights_of(ending.ledger.manifest),
        settings.bench,
    )
    return Grounds(ending.needed, ending.predictions, scores, worth, baselines.decide)


def _outcome(
    ending: Ending, scores: Scores, worth: Worth, gates: tuple[GateResult, ...]
) -> Outcome:
    predictions = ending.predictions
    return Outcome(
        ending.selection.trials,
        predictions,
        scores,
        worth,
        gates,
        ending.seconds(),
        ending.stopping.unneeded,
        ending.stopping.suites,
        judges=judge_figures(ending.wave, ending.everything, scores, _slots(ending)),
        prices=prices_of(ending.settings.config),
        parts=ending.ledger.predictions_by_part(predictions) if ending.watched else {},
    )


def _slots(ending: Ending) -> dict[str, int]:
    told = {name: live.slots for name, live in ending.models.items()}
    configured = ending.settings.config.models
    return {name: told.get(name) or model.slots for name, model in configured.items()}


def _finish(ending: Ending, unwritten: Sequence[str]) -> list[str]:
    """Write down how the run has ended; what could not be written is a reason to go on with it."""
    reason = ending.stopped or (f"not all could be written: {unwritten[0]}" if unwritten else "")
    try:
        ending.ledger.finish(datetime.now(timezone.utc), reason)
    except OSError as error:
        return [f"{MANIFEST} could not be written: {error.strerror or error}"]
    return []


def _questions(ending: Ending) -> Iterator[Work]:
    """The files with what judges were asked, by the condition that was judged."""
    bodies = judge_bodies(ending.wave, ending.everything, ending.settings.config.models)
    for condition, its in bodies.items():
        path = ending.ledger.folder.judge_requests(condition)
        yield path, partial(write_requests, path, its)
