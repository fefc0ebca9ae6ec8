"""Requests that were read from files, asked: what folders and single files have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pytest_llmeval.records import Prediction, Request, Trial
from pytest_llmeval.results.parts import PartFacts
from pytest_llmeval.run.assembly import AnyLane, in_turns, lane_of
from pytest_llmeval.run.cleaning import cleaner_of
from pytest_llmeval.run.models import LiveModel, close_all
from pytest_llmeval.run.preflight import refuse_lack
from pytest_llmeval.run.settings import Settings
from pytest_llmeval.running.scheduler import Scheduler

#: Seconds between two lines about how far it is.
TELL_EVERY = 10.0

Requests = dict[str, Request]
"""By trial id."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of all parts of a folder, or of files, and which of them were to be asked."""

    parts: tuple[PartFacts, ...]
    asked: tuple[PartFacts, ...]

    @property
    def failed(self) -> int:
        """How many of the requests asked have no answer."""
        return sum(part.failed for part in self.asked)


def ask_all(
    settings: Settings,
    lanes: Mapping[str, AnyLane],
    models: Mapping[str, LiveModel],
    trials: Sequence[Trial],
    say: Callable[[str], None],
    *,
    record: Callable[[Prediction], None],
    sending: Callable[[Trial], None] = lambda _: None,
) -> None:
    """Ask all trials and wait for them; whatever happens, no server is left and all is written."""

    async def shut_down() -> None:
        await close_all(list(models.values()))

    scheduler = Scheduler(
        in_turns(settings, lanes),
        record,
        shut_down,
        sending=sending,
        clean=cleaner_of(settings.config, settings.redactor),
    )
    scheduler.start()
    try:
        _wait(scheduler, trials, say)
    finally:
        scheduler.stop()


def _wait(scheduler: Scheduler, trials: Sequence[Trial], say: Callable[[str], None]) -> None:
    """Wait for all of them, and tell now and then how far it is."""
    total, told = len(trials), time.monotonic()
    for trial in trials:
        while scheduler.wait(trial.id) is None:
            if time.monotonic() - told >= TELL_EVERY:
                told = time.monotonic()
                say(f"llmeval: {len(scheduler.news(0)):,} of {total:,} asked")


def lane_from_file(
    settings: Settings, live: LiveModel, trials: Sequence[Trial], requests: Requests
) -> AnyLane:
    """A lane for requests as their file says them; one at a time where one wants no cache."""

    def request_for(trial: Trial) -> Request:
        request = requests[trial.id]
        context = live.facts.context if live.facts else None
        refuse_lack(request, live.name, live.checks, context)
        return request

    return lane_of(
        live,
        settings.config.models[live.name],
        trials,
        request_for,
        exact=any(not requests[trial.id].cache_prompt for trial in trials),
        timed=False,
        dry_run=settings.options.dry_run,
    )
