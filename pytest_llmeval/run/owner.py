"""The run in the process that owns it: from the selection to the summary."""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.records import (
    Answer,
    GateResult,
    Prediction,
    Predictions,
    Request,
    Score,
    Settled,
)
from pytest_llmeval.results.report import end_of
from pytest_llmeval.results.terminal import summary_lines
from pytest_llmeval.run.assembly import (
    AnyLane,
    backings_of,
    first_requests,
    is_answered,
    live_models,
    refuse_the_impossible,
    turns_of,
)
from pytest_llmeval.run.backing import fewer_slots, what_computes
from pytest_llmeval.run.caching import AnswerCache, cache_of
from pytest_llmeval.run.cleaning import cleaner_of
from pytest_llmeval.run.conclusion import FailureCount
from pytest_llmeval.run.ending import Ended, Ending, conclude
from pytest_llmeval.run.in_process import forced_slots
from pytest_llmeval.run.judge_lanes import refuse_the_impossible_of_judges
from pytest_llmeval.run.ledger import Ledger
from pytest_llmeval.run.models import Backing, LiveModel, close_all, shared_words
from pytest_llmeval.run.opening import open_ledger
from pytest_llmeval.run.preview import preview_lines
from pytest_llmeval.run.replay import ASKS_NO_MODEL, Replay, replay_of, replay_turns
from pytest_llmeval.run.second_wave import SecondWave
from pytest_llmeval.run.selection import SelectedGate, Selection
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.run.starting import refuse_if_none_can_start
from pytest_llmeval.run.stopping import stopping_of
from pytest_llmeval.run.verdicts import decide_all
from pytest_llmeval.run.watching import Watch
from pytest_llmeval.running.scheduler import Scheduler
from pytest_llmeval.running.stopping import Stopping


class Run:
    """Begins with what was selected, answers who waits, and concludes.

    `say` prints a line for the user at once. Everything that can be wrong with what the user gave
    ends up in the settings' mistakes, and then nothing is sent.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]):
        self.settings = settings
        self._say = say
        self._beginning = threading.Lock()
        self._selection: Selection | None = None
        self._ledger: Ledger | None = None
        self._scheduler: Scheduler | None = None
        self._stopping = Stopping()
        self._wave = SecondWave((), settings.bench)
        self._replay: Replay | None = None
        self._watch: Watch | None = None
        self._cache: AnswerCache | None = None
        self._warned: list[str] = []
        self._models: dict[str, LiveModel] = {}
        self._scores: dict[str, tuple[Score, ...]] = {}
        self._gates: Sequence[tuple[SelectedGate, GateResult]] = ()
        self._result: Ended | None = None
        self._ended = False
        self._cut_short = False
        self._began = time.perf_counter()
        self._elapsed = 0.0  # seconds of the run's earlier sessions

    def header(self) -> list[str]:
        """For pytest's header: the config, and what computes behind each model."""
        config = self.settings.config
        dry = ", dry run on the fake engine" if self.settings.options.dry_run else ""
        lines = [f"llmeval: {config.path}{dry}"]
        if config.replay is not None:
            return [*lines, f"  no model is asked: recorded answers of {config.replay}"]
        return lines + [f"  {name}: {what_computes(m)}" for name, m in config.models.items()]

    def plan_only(self, selection: Selection) -> None:
        """Say what would run."""
        for line in preview_lines(selection.trials, self.settings):
            self._say(line)

    # Begin ----------------------------------------------------------------------------------------

    def begin(self, selection: Selection) -> None:
        """Start servers and sending; the first call wins. Trouble is added to the mistakes."""
        with self._beginning:
            if self._selection is not None:
                return
            self._selection = selection
            self.settings.mistakes += selection.mistakes
            self.settings.told_versions.update(selection.scorer_versions)
            self.settings.check_prompts()
            if self.settings.mistakes or not (selection.trials or selection.fixtures):
                return
            try:
                self._begin(selection)
            except LlmevalError as error:
                self.settings.mistakes.append(str(error))
            except OSError as error:  # a full disk, a folder that may not be written
                self.settings.mistakes.append(f"the run's folder cannot be written: {error}")
            if self._scheduler is None and self._ledger is not None:
                self._ledger.give_up()  # a run that can go on, once that is mended

    def _begin(self, selection: Selection) -> None:
        self._began = time.perf_counter()
        self._wave = SecondWave(selection.trials, self.settings.bench)
        self._replay = replay_of(self.settings, selection.trials, self._wave)
        if self._replay is None:
            self._ask(selection)
        else:
            self._play(self._replay, selection)

    def _ask(self, selection: Selection) -> None:
        """Have the models asked what is not known from earlier sessions of this run."""
        settings, trials, wave = self.settings, selection.trials, self._wave
        backings = self._checked_backings(selection)
        now = datetime.now(timezone.utc)
        ledger = self._ledger = open_ledger(
            settings,
            trials,
            now,
            digests=lambda: {name: made.weights(_never) for name, made in backings.items()},
            judged=wave.trials,
        )
        if ledger.found:
            self._say(f"llmeval: {ledger.found}")
        self._models = live_models(
            settings,
            backings,
            ledger.folder.path / "logs",
            self._say,
            self._opened,
            first_requests(settings, trials),
            now,
            judged=wave.trials,
        )
        self._elapsed = max(map(end_of, ledger.known.values()), default=0.0)
        self._cache = cache_of(settings.config, dry_run=settings.options.dry_run, tell=self.warn)
        self._schedule(
            selection,
            ledger,
            lambda answers: turns_of(
                settings, self._models, trials, ledger, self._say, wave, answers, self._cache
            ),
            is_kept=is_answered,
        )

    def _checked_backings(self, selection: Selection) -> dict[str, Backing]:
        """What stands behind each model, after all that can be refused without a server was."""
        settings, trials = self.settings, selection.trials
        backings = backings_of(settings, self._say, [*trials, *self._wave.trials])
        for words in forced_slots(settings.config):
            self.warn(words)
        refuse_the_impossible(settings, trials)
        refuse_the_impossible_of_judges(settings, self._wave)
        options = settings.options
        if options.resume is None and not options.dry_run and not selection.fixtures:
            asked = dict.fromkeys(trial.condition.model for trial in trials)
            refuse_if_none_can_start(settings.config, backings, asked)
        return backings

    def _play(self, replay: Replay, selection: Selection) -> None:
        """Take what was recorded for the predictions of this run, and let what was not fail."""
        self.warn(replay.words)
        trials, wave = selection.trials, self._wave
        ledger = self._ledger = open_ledger(
            self.settings, trials, datetime.now(timezone.utc), judged=wave.trials, replay=replay
        )
        self._schedule(
            selection,
            ledger,
            lambda answers: replay_turns(replay, trials, wave, answers),
            is_kept=lambda _: True,
        )

    def _schedule(
        self,
        selection: Selection,
        ledger: Ledger,
        turns: Callable[[Callable[[], Predictions]], Sequence[Sequence[AnyLane]]],
        is_kept: Callable[[Prediction], bool],
    ) -> None:
        """Start sending. `turns` makes the models' lanes, given what tells all predictions by now;
        of those known before, the ones that are not kept are asked for again. Others count nowhere:
        a judge may have replied to what no scorer asks any more.
        """
        settings = self.settings
        self._stopping = stopping_of(settings, selection.trials, ledger, self.warn)
        found = self._wave.without_stale(ledger.known)
        wanted = (trial.id for trial in (*selection.trials, *self._wave.trials))
        known = {id_: found[id_] for id_ in wanted if id_ in found and is_kept(found[id_])}
        self._scheduler = Scheduler(
            turns(partial(self._told_by_now, known)),
            ledger.record,
            self._shut_down,
            known=known.values(),
            elapsed=self._elapsed,
            stopping=self._stopping,
            sending=ledger.sending,
            clean=cleaner_of(settings.config, settings.redactor),
        )
        if settings.config.telemetry and self._replay is None and not settings.options.dry_run:
            self._watch = Watch(ledger.folder.path, self._scheduler.seconds, self.warn)
        self._scheduler.start()

    def _told_by_now(self, known: Predictions) -> Predictions:
        """All predictions there are: those of earlier sessions until the scheduler has more."""
        return known if self._scheduler is None else self._scheduler.predictions

    def _opened(self, live: LiveModel, model: ModelConfig) -> None:
        assert self._ledger is not None, "models are opened after it"
        self._ledger.model_opened(live, model)
        words = fewer_slots(model, live.slots)
        if words and words not in self._warned:  # a model that takes turns is opened again
            self.warn(words)

    def warn(self, words: str) -> None:
        """Tell the user at once, and in the report."""
        self._warned.append(words)
        self._say(f"llmeval: {words}")

    async def _shut_down(self) -> None:
        if self._watch is not None:
            await asyncio.to_thread(self._watch.stop)
        try:
            await close_all(list(self._models.values()))
        finally:
            if self._cache is not None:
                await asyncio.to_thread(self._cache.close)

    # While it lives -------------------------------------------------------------------------------

    def wait(self, trial_id: str) -> Settled | None:
        """Wait a moment for a prediction, or for word that none is needed; raises LlmevalError
        when neither will ever come.
        """
        return self._live().wait(trial_id)

    def news(self, since: int) -> list[Settled]:
        """What was settled after the first `since`, in that order."""
        return self._live().news(since)

    def under_way(self, trial_id: str) -> float:
        """Seconds since the trial was sent, 0 if it was not."""
        return self._live().under_way(trial_id)

    def chat(self, model: str, request: Request) -> Answer:
        """Ask a model something outside the plan: one attempt, nothing journaled."""
        scheduler = self._live()
        self._refuse_in_replay()
        live, exact = self._models[model], self.settings.config.models[model].exact
        asked = dataclasses.replace(request, cache_prompt=not exact)

        async def ask() -> Answer:
            await live.open()
            await live.recover(0)  # long after its last trial, nobody else would notice its end
            return await live.ask(asked)

        return scheduler.call(ask())

    def describe(self, model: str | None) -> dict[str, Any]:
        """The run (None), or the server of a model, which is started if need be."""
        scheduler = self._live()
        if model is None:
            folder = self._ledger.folder if self._ledger else None
            return {"id": folder.id, "folder": str(folder.path)} if folder else {}
        self._refuse_in_replay()
        live = self._models[model]
        scheduler.call(live.open())
        return {"url": live.url, "log": live.log_path}

    def _refuse_in_replay(self) -> None:
        if self._replay is not None:
            raise LlmevalError(ASKS_NO_MODEL)

    @property
    def tests(self) -> Mapping[str, str]:
        """The trials' ids by the node ids of the tests that xdist's workers have collected."""
        return {} if self._selection is None else self._selection.tests

    def take_scores(self, trial_id: str, scores: tuple[Score, ...]) -> None:
        """Keep what a test's report says of its trial.

        A function that is parametrized beside its mark has several tests for one trial; their
        scores stand in the order of their parameters, whichever test ends first.
        """
        known = self._scores.get(trial_id)
        if known is not None:
            merged = {score.scorer: score for score in (*known, *scores)}.values()
            scores = tuple(sorted(merged, key=lambda score: score.scorer.partition("[")[2]))
        self._scores[trial_id] = scores

    def _live(self) -> Scheduler:
        if self._scheduler is None:
            raise LlmevalError(
                "the run has not begun: no selected test takes llm, llm_server or llm_run as an "
                "argument, and request.getfixturevalue comes too late for that"
            )
        return self._scheduler

    # Conclude -------------------------------------------------------------------------------------

    def abort(self) -> None:
        """End at once: stop the servers, close the journal, compute nothing. Idempotent.

        A run that was cut short while it concluded is interrupted too: its tables are not whole.
        """
        if self._scheduler is None or self._ledger is None or self._ended:
            return
        self._cut_short = True
        self._scheduler.stop()  # an interrupt in here leaves it to the next call
        self._ended = True
        try:
            self._ledger.close(
                self._everything(),
                datetime.now(timezone.utc),
                "interrupted",
                unneeded=self._stopping.unneeded,
                warnings=self._shared(),
            )
        except OSError as error:  # such as a full disk: what was answered is in the journals
            self._say(f"llmeval: the manifest could not be written: {error}")

    def finish(
        self, stopped: str, skipped: Collection[str] = (), crashed: Mapping[str, str] = {}
    ) -> None:
        """Stop the servers, score what no test has scored, and write down what it is worth.

        `stopped` says why the tests did not all run, "" when they did: then judges are waited for.
        `skipped` are the node ids of tests that pytest was told to skip: gates among them are not
        decided. `crashed` are trials whose tests ended xdist's workers, and their words: what
        ended a worker must not be called here.
        """
        try:
            if not stopped:
                self._wait_for_judges()
            self._conclude(stopped, skipped, crashed)
        except BaseException:
            self.abort()
            raise
        self._ended = True

    def _wait_for_judges(self) -> None:
        if self._scheduler is None or not self._wave.trials:
            return
        if not self._scheduler.wait_for_all():
            judges = ", ".join(dict.fromkeys(t.condition.model for t in self._wave.trials))
            self._say(f"llmeval: all tests have run; their answers are with {judges}")
        while not self._scheduler.wait_for_all():
            pass

    def _conclude(self, stopped: str, skipped: Collection[str], crashed: Mapping[str, str]) -> None:
        if self._selection is None:
            return
        gates = self._selection.gates
        self._selection.gates = [gate for gate in gates if gate.nodeid not in skipped]
        if self._scheduler is None or self._ledger is None:
            # Nothing but gates was selected.
            self._gates = decide_all(self._selection, None, self.settings.options, stopped)
            return
        self._scheduler.stop()
        if self._scheduler.broken is not None:
            stopped = f"the run broke off: {self._scheduler.broken}"
        self._cut_short = bool(stopped)
        for words in self._shared():
            self.warn(words)
        self._result = conclude(self._ending(stopped, crashed))
        self._gates = self._result.gates
        self._cut_short = self._cut_short or bool(self._result.unwritten)

    def _shared(self) -> list[str]:
        return [shared_words(live.name) for live in self._models.values() if live.was_shared]

    def _ending(self, stopped: str, crashed: Mapping[str, str]) -> Ending:
        assert self._selection is not None
        assert self._ledger is not None
        return Ending(
            self.settings,
            self._selection,
            self._ledger,
            models=self._models,
            wave=self._wave,
            stopping=self._stopping,
            everything=self._everything(),
            told=self._scores,
            crashed=crashed,
            warned=self._warned,
            say=self._say,
            stopped=stopped,
            seconds=lambda: time.perf_counter() - self._began + self._elapsed,
            watched=self._watch is not None,
        )

    def gate_results(self) -> Sequence[tuple[SelectedGate, GateResult]]:
        """The selected gates with their verdicts."""
        return self._gates

    def failure_count(self) -> FailureCount | None:
        """How many trials failed, against the config's limit; None where every one is an error."""
        return None if self._result is None else self._result.failure_count

    def judge_failures(self) -> str:
        """How many answers no judge could judge, in words; "" where none."""
        return "" if self._result is None else self._result.judge_failures

    def troubles(self) -> Sequence[str]:
        """Why the run is not what it seems although no test may have failed: it broke off, or
        something could not be written.
        """
        broken = self._scheduler.broken if self._scheduler is not None else None
        # A test that waits for an answer when it breaks off is an error, and says so itself.
        told = [f"the run broke off: {broken}"] if broken is not None and self._all_told() else []
        if self._result is not None:
            told += [*self._result.unwritten, self._result.not_archived]
        return [words for words in told if words]

    def summary(self, width: int, *, colour: bool, encoding: str) -> list[str]:
        """The lines that end the session; how to resume when it was cut short."""
        lines: list[str] = []
        report = None if self._result is None else self._result.report
        if report is not None:
            lines += summary_lines(report, width, colour=colour, encoding=encoding)
        if self._ledger is not None and (self._cut_short or not self._ended):
            lines.append(f"llmeval: {self._way_on(self._ledger.folder.path)}")
        elif report is None and self._ledger is not None:
            lines.append(f"llmeval: no trials; servers' logs are in {self._ledger.folder.path}")
        return lines

    def _all_told(self) -> bool:
        trials = self._selection.trials if self._selection is not None else ()
        everything, unneeded = self._everything(), self._stopping.unneeded
        return all(trial.id in everything or trial.id in unneeded for trial in trials)

    def _way_on(self, run: Path) -> str:
        if self._replay is not None:
            return "play the recording again with the same command"
        is_found = run.parent.resolve() == self.settings.options.run_dir.resolve()
        name = run.name if is_found else shlex.quote(str(run))
        return f"continue with --llm-resume {name}, and else the same command"

    def _everything(self) -> dict[str, Prediction]:
        """All predictions, those of judges too, and earlier failures that nobody needs any more:
        these were not asked again.
        """
        found = self._live().predictions
        known = {} if self._ledger is None else self._ledger.known
        in_vain = (id_ for id_ in self._stopping.unneeded if id_ in known and id_ not in found)
        return {**found, **{id_: known[id_] for id_ in in_vain}}


def _never() -> bool:
    return False
