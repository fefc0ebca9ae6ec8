"""Which trials need not be asked any more, because their suite has decided without them.

What a suite wants to know are its *questions*, each about one or two conditions. A question looks
at items in the suite's random order and at nothing else: at the first one, then at the first two,
however early or late their answers came. So which item decides it depends on answers and seed, not
on time, slots or workers; and items picked by how fast they were answered, which are not a random
sample, never decide anything.

The price is small: answers that were under way beyond the deciding item come in and count nowhere.
Whether a trial is needed is settled by the items before it, so a test waits until these are in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_llmeval.records import Prediction, Score, Scored, Settled, Trial, Unneeded

Values = Sequence[float | None]
"""What one scorer made of each repeat of an item; None where there was no outcome."""


class Question:
    """Something a suite wants to know of some of its conditions, by one scorer.

    `add` takes in the next item, the values of each condition in their order, and tells whether
    that decided it; None is for what needs all items. `items` counts those taken in.
    """

    def __init__(
        self,
        conditions: tuple[str, ...],
        scorer: str,
        add: Callable[[Sequence[Values]], bool] | None,
    ):
        self.conditions = conditions
        self.scorer = scorer
        self.items = 0
        self.decided = False
        self._add = add

    @property
    def needs_all(self) -> bool:
        """Whether it cannot be decided early."""
        return self._add is None

    def take(self, values: Sequence[Values]) -> None:
        """Take in the next item."""
        self.items += 1
        self.decided = self._add is not None and self._add(values)


@dataclass(frozen=True, slots=True)
class Wish:
    """How long a condition is asked: until all these questions are decided, or `fully`."""

    questions: tuple[Question, ...]
    fully: bool = False

    @property
    def fulfilled(self) -> bool:
        """Nothing is needed beyond what is known to be."""
        return not self.fully and all(question.decided for question in self.questions)

    def known(self, items: int) -> int:
        """How many of all `items`, in their order, are known to be needed."""
        if self.fully or any(question.needs_all for question in self.questions):
            return items
        # As many as it took to decide; and one more than have been looked at in vain.
        return min(items, max(q.items + (not q.decided) for q in self.questions))


class SuiteWatch:
    """Follows one suite of which whole conditions are asked, and tells which trials are needed.

    `wishes` go by condition. `scores` are of every trial that was not known to be unneeded when its
    answer came.
    """

    def __init__(self, trials: Sequence[Trial], wishes: Mapping[str, Wish]):
        suite = trials[0].suite
        self.suite = suite.name
        self.trials = trials
        self.scores: dict[str, tuple[Score, ...]] = {}
        self.unneeded: set[str] = set()
        self._items = len(suite.items)
        self._wishes = wishes
        rank = {item.id: place for place, item in enumerate(suite.items)}
        self._place = {trial.id: rank[trial.item.id] for trial in trials}
        self._model = {trial.condition.name: trial.condition.model for trial in trials}
        self._at: dict[str, list[list[Trial]]] = {name: [[] for _ in rank] for name in wishes}
        for trial in trials:
            self._at[trial.condition.name][self._place[trial.id]].append(trial)
        self._complete = dict.fromkeys(wishes, 0)  # items, from the first on, with all answers
        self._needed = {  # items, from the first on, known to be needed
            name: wish.known(self._items) for name, wish in wishes.items()
        }
        self._open = [  # what answers may still decide
            question
            for question in dict.fromkeys(q for wish in wishes.values() for q in wish.questions)
            if not question.needs_all
        ]
        self._fulfilled: set[str] = set()
        self._held: dict[str, Scored] = {}

    def take(
        self, trial: Trial, prediction: Prediction, scores: tuple[Score, ...]
    ) -> list[Settled]:
        """Take in an answer, and give what is settled by it: answers, and that none is needed."""
        condition = trial.condition.name
        self.scores[trial.id] = scores
        self._held[trial.id] = Scored(prediction, scores)
        settled: list[Settled] = []
        if self._place[trial.id] < self._needed[condition]:
            settled.append(self._held.pop(trial.id))
        self._complete_items(condition)
        if self._look():
            for name in self._wishes:
                settled += self._settle(name)
        return settled

    def lead(self, trial: Trial, models: Collection[str]) -> int:
        """By how many of its condition's trials one that may not be needed is ahead of what it
        waits for: the answers that come next to its questions, from these models. Else 0.
        """
        condition = trial.condition.name
        if self._place[trial.id] < self._needed[condition]:
            return 0
        if self._wishes[condition].fulfilled:  # decided this very moment, and not told yet
            return self._items * trial.condition.repeats
        awaited = [
            self._complete[name]
            for question in self._wishes[condition].questions
            if not question.decided
            for name in question.conditions
            if self._model[name] in models
        ]
        items = self._place[trial.id] - min(awaited, default=self._place[trial.id])
        return items * trial.condition.repeats

    def _complete_items(self, condition: str) -> None:
        places = self._at[condition]
        while self._complete[condition] < self._items:
            repeats = places[self._complete[condition]]
            if not all(trial.id in self.scores for trial in repeats):
                return
            self._complete[condition] += 1

    def _look(self) -> bool:
        """Show the open questions the items that they have not seen; whether there were any."""
        seen = False
        for question in self._open:
            complete = min(self._complete[condition] for condition in question.conditions)
            while not question.decided and question.items < complete:
                question.take([self._values(question, name) for name in question.conditions])
                seen = True
        if seen:
            self._open = [question for question in self._open if not question.decided]
        return seen

    def _values(self, question: Question, condition: str) -> Values:
        return [
            next((s.value for s in self.scores[trial.id] if s.scorer == question.scorer), None)
            for trial in self._at[condition][question.items]
        ]

    def _settle(self, condition: str) -> Iterator[Settled]:
        if condition in self._fulfilled:
            return
        wish, places = self._wishes[condition], self._at[condition]
        before, needed = self._needed[condition], wish.known(self._items)
        self._needed[condition] = needed
        for trial in (trial for repeats in places[before:needed] for trial in repeats):
            if trial.id in self._held:
                yield self._held.pop(trial.id)
        if not wish.fulfilled:
            return
        self._fulfilled.add(condition)
        for trial in (trial for repeats in places[needed:] for trial in repeats):
            self.unneeded.add(trial.id)
            self._held.pop(trial.id, None)
            yield Unneeded(trial.id)


class Stopping:
    """All suites that may stop. `score` judges an answer with its suite's scorers."""

    def __init__(
        self,
        watches: Sequence[SuiteWatch] = (),
        score: Callable[[Trial, Prediction], tuple[Score, ...]] = lambda *_: (),
    ):
        self._watches = watches
        self._score = score
        self._of = {trial.id: (watch, trial) for watch in watches for trial in watch.trials}

    @property
    def suites(self) -> frozenset[str]:
        """The names of the suites that are followed."""
        return frozenset(watch.suite for watch in self._watches)

    @property
    def unneeded(self) -> frozenset[str]:
        """The trials that are not needed."""
        return frozenset().union(*(watch.unneeded for watch in self._watches))

    @property
    def scores(self) -> dict[str, tuple[Score, ...]]:
        """The scores, by trial, that the decisions rest on."""
        unneeded = self.unneeded
        return {
            trial_id: scores
            for watch in self._watches
            for trial_id, scores in watch.scores.items()
            if trial_id not in unneeded
        }

    def follows(self, trial_id: str) -> bool:
        """Whether it is open if this trial is needed."""
        return trial_id in self._of

    def lead(self, trial: Trial, models: Collection[str]) -> int:
        """How far ahead a trial is of what it waits for; see `SuiteWatch.lead`."""
        watch, _ = self._of[trial.id]
        return watch.lead(trial, models)

    def take(self, prediction: Prediction) -> list[Settled]:
        """Take in an answer of a suite that is followed; see `SuiteWatch.take`."""
        watch, trial = self._of[prediction.trial_id]
        if trial.id in watch.unneeded:  # it was under way when its suite had decided
            return []
        return watch.take(trial, prediction, self._score(trial, prediction))
