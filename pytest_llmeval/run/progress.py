"""How far each part of a run is: pending, running, completed or failed, whatever asks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_llmeval.records import Prediction, Predictions, Trial
from pytest_llmeval.results.parts import JobStatus, PartFacts, first_failure


@dataclass(frozen=True, slots=True)
class Part:
    """A slice of a condition's trials, numbered from 1."""

    condition: str
    number: int
    trials: Sequence[Trial]


class Progress:
    """Follows requests and answers, and gives the facts of all parts, in their order.

    `known` predictions are of earlier sessions. `sending` and `recorded` tell whether a part's
    status has changed by it: only then the facts are brought up to date, so that a trial costs next
    to nothing. Its methods belong to one thread.
    """

    def __init__(self, parts: Sequence[Part], known: Predictions):
        self._tallies = [_Tally(part) for part in parts]
        self._of = {trial.id: tally for tally in self._tallies for trial in tally.part.trials}
        for prediction in known.values():
            if prediction.trial_id in self._of:
                self._of[prediction.trial_id].take(prediction)
        for tally in self._tallies:
            tally.update()

    @property
    def facts(self) -> tuple[PartFacts, ...]:
        """Every part as of its last change of status."""
        return tuple(tally.facts for tally in self._tallies)

    def sending(self, trial: Trial) -> bool:
        """A trial is about to be sent."""
        tally = self._of.get(trial.id)
        if tally is None or not tally.send(trial.id):
            return False
        return tally.update()

    def recorded(self, prediction: Prediction) -> bool:
        """A prediction was written down."""
        tally = self._of.get(prediction.trial_id)
        return tally is not None and tally.take(prediction) and tally.update()


class _Tally:
    """What has come out of one part so far."""

    def __init__(self, part: Part):
        self.part = part
        self.facts = PartFacts(part.condition, part.number, len(part.trials))
        self.begun = False
        self._trials = len(part.trials)
        self._answered: set[str] = set()
        self._failed: dict[str, Prediction] = {}

    def send(self, trial_id: str) -> bool:
        """Note that a trial is asked, again where it had failed; whether that is any news."""
        again = self._failed.pop(trial_id, None)
        news = again is not None or not self.begun
        self.begun = True
        return news

    def take(self, prediction: Prediction) -> bool:
        """Count a prediction; an answer takes the place of an earlier failure. Whether all of the
        part's are there.
        """
        if prediction.failure is None:
            self._answered.add(prediction.trial_id)
            self._failed.pop(prediction.trial_id, None)
        else:
            self._failed[prediction.trial_id] = prediction
        return self._is_complete()

    def _is_complete(self) -> bool:
        return len(self._answered) + len(self._failed) == self._trials

    def update(self) -> bool:
        """Bring the facts up to date; whether the status is another one."""
        before = self.facts.job_status
        first = next(iter(self._failed.values()), None)
        self.facts = replace(
            self.facts,
            job_status=self._status,
            answered=len(self._answered),
            failed=len(self._failed),
            failures=dict(Counter(p.failure.reason for p in self._failed.values() if p.failure)),
            first_failure=first_failure(first) if first else None,
        )
        return self.facts.job_status != before

    @property
    def _status(self) -> JobStatus:
        if self._is_complete():
            return "completed" if self._answered else "failed"
        return "running" if self.begun or self._answered or self._failed else "pending"
