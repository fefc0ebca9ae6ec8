"""The second wave: what models are asked about the answers of others, and what they make of them.

A judge trial is known before anything is asked; what it asks is known once the answers are there
that it is about. So its prediction carries the hash of its question, and counts as long as the same
would be asked: a verdict on another answer, or by another rubric, is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache

from pytest_llmeval.errors import EngineError, LlmevalError
from pytest_llmeval.inputs.prompts import render
from pytest_llmeval.records import (
    Answer,
    Item,
    JudgeTrial,
    Prediction,
    Predictions,
    Request,
    Score,
    Scores,
    Trial,
)
from pytest_llmeval.run.bench import Bench
from pytest_llmeval.run.judge_plan import (
    digest,
    judged_suites,
    model_scorers,
    plan_judge_trials,
    reference_of,
)
from pytest_llmeval.scoring.pairwise import Pairwise, Winner
from pytest_llmeval.scoring.scorer import NeedsModelError
from pytest_llmeval.scoring.second_wave import (
    ModelScorer,
    Shown,
    asks_judge,
    embeds,
    in_their_order,
    unjudged,
)


class SecondWave:
    """The judge trials of a run, in the order in which they are asked.

    Raises ScorerError when a suite's scorer needs a model that `bench` has not.
    """

    def __init__(self, trials: Sequence[Trial], bench: Bench):
        self.trials = tuple(plan_judge_trials(trials, bench))
        self._scorers: dict[str, tuple[ModelScorer, ...]] = {}
        self._of: dict[tuple[str, str], list[JudgeTrial]] = {}
        for trial in self.trials:
            self._of.setdefault((trial.judged.id, trial.scorer), []).append(trial)
        self._replies_in_json = lru_cache(bench.replies_in_json)
        self._identity_of = bench.identity_of

    # Asking ---------------------------------------------------------------------------------------

    def is_due(self, trial: JudgeTrial, predictions: Predictions) -> bool:
        """Whether there is something to ask: an answer that only a model can judge."""
        shown, scorer = self._shown(trial, predictions), self._scorer(trial)
        if shown is None or scorer.at_once(shown) is not None:
            return False
        try:
            scorer(shown.answer, shown.item)
        except NeedsModelError:
            return True
        return False

    def is_embedding(self, trial: JudgeTrial) -> bool:
        """Whether vectors are asked for, and no words."""
        return embeds(self._scorer(trial))

    def request_of(self, trial: JudgeTrial, predictions: Predictions) -> Request:
        """What a judge is asked, once it is due. Raises EngineError when it cannot be said."""
        shown, scorer = self._shown(trial, predictions), self._scorer(trial)
        assert shown is not None, "it is due"
        assert asks_judge(scorer), "an embedder is given texts"
        as_json = self._replies_in_json(trial.condition.model)
        question = scorer.question(shown, trial.number, as_json=as_json)
        try:
            values = Item(trial.id, trial.name, question.values, None)
            messages = render(trial.condition.prompt, values)
        except LlmevalError as error:
            raise EngineError(f"the prompt of scorer {scorer.name}: {error}") from error
        return Request(messages, trial.condition.sampling, json_schema=question.schema)

    def texts_of(self, trial: JudgeTrial, predictions: Predictions) -> tuple[str, ...]:
        """What an embedder is given: the answer, and behind it what that is compared with."""
        shown, scorer = self._shown(trial, predictions), self._scorer(trial)
        assert shown is not None, "it is due"
        assert embeds(scorer), "a judge is asked in words"
        return scorer.texts(shown)

    def asked(self, trial: JudgeTrial, predictions: Predictions) -> str:
        """The hash of what is asked, and of whom."""
        scorer = self._scorer(trial)
        who = [scorer.name, scorer.version, self._identity_of(trial.condition.model)]
        if self.is_embedding(trial):
            return digest([*who, self.texts_of(trial, predictions)])
        try:
            request = self.request_of(trial, predictions)
        except EngineError as error:
            return digest([*who, str(error)])
        return digest([*who, request.messages, request.json_schema, request.sampling])

    def without_stale(self, predictions: Predictions) -> dict[str, Prediction]:
        """Predictions without the replies to what would not be asked now."""
        stale = {
            trial.id
            for trial in self.trials
            if trial.id in predictions
            and not (
                self.is_due(trial, predictions)
                and predictions[trial.id].asked == self.asked(trial, predictions)
            )
        }
        return {id_: found for id_, found in predictions.items() if id_ not in stale}

    def without_replies(self, predictions: Predictions) -> dict[str, Prediction]:
        """Predictions without those of judges."""
        judged = {trial.id for trial in self.trials}
        return {id_: found for id_, found in predictions.items() if id_ not in judged}

    def not_due(self, predictions: Predictions) -> frozenset[str]:
        """The trials that there was nothing to ask in, and that were not asked."""
        return frozenset(
            trial.id
            for trial in self.trials
            if trial.id not in predictions and not self.is_due(trial, predictions)
        )

    def waiting(self, predictions: Predictions) -> frozenset[str]:
        """The trials whose headline score has yet to come from a model that was not asked."""
        return frozenset(
            trial.judged.id
            for trial in self.trials
            if trial.id not in predictions
            and trial.scorer == trial.suite.scorers[0].name
            and self.is_due(trial, predictions)
        )

    # Scoring --------------------------------------------------------------------------------------

    def complete_all(
        self, trials: Sequence[Trial], predictions: Predictions, scores: Scores
    ) -> dict[str, tuple[Score, ...]]:
        """The scores, by trial, of those that judges have a part in and that have a prediction."""
        suites = judged_suites(trials)
        return {
            trial.id: self.complete(trial, predictions, scores.get(trial.id, ()))
            for trial in trials
            if trial.suite.name in suites and trial.id in predictions
        }

    def complete(
        self, trial: Trial, predictions: Predictions, scores: Sequence[Score]
    ) -> tuple[Score, ...]:
        """The scores of a trial that has a prediction, those that took a model among them."""
        known = {score.scorer for score in scores}
        missing = [
            self._score(trial, scorer, predictions)
            for scorer in self._scorers_of(trial)
            if scorer.name not in known
        ]
        return in_their_order((s.name for s in trial.suite.scorers), (*scores, *missing))

    def _score(self, trial: Trial, scorer: ModelScorer, predictions: Predictions) -> Score:
        reference = reference_of(scorer)
        if isinstance(scorer, Pairwise) and reference == trial.condition.name:
            return scorer.tie("it is what the others are held against")
        asked = self._of.get((trial.id, scorer.name), [])
        if not asked:
            why = f"{reference}, which it is held against, was not selected: select it too"
            return unjudged(scorer.name, why)
        shown = self._shown(asked[0], predictions)
        if shown is None:
            return unjudged(scorer.name, _why_not_shown(asked[0], predictions))
        at_once = scorer.at_once(shown)
        return at_once or self._score_of_replies(asked, scorer, shown, predictions)

    def _score_of_replies(
        self,
        asked: Sequence[JudgeTrial],
        scorer: ModelScorer,
        shown: Shown,
        predictions: Predictions,
    ) -> Score:
        model = asked[0].condition.model
        replies = [predictions.get(trial.id) for trial in asked]
        answers = [reply.answer for reply in replies if reply and reply.answer]
        if len(answers) < len(asked):
            return unjudged(scorer.name, _why_no_reply(model, replies))
        if embeds(scorer):
            return scorer.score(shown, json.loads(answers[0].text), model)
        assert asks_judge(scorer)
        return scorer.score(shown, answers, model, as_json=self._replies_in_json(model))

    def preferences(
        self, trials: Sequence[JudgeTrial], predictions: Predictions
    ) -> tuple[Winner | None, Winner | None]:
        """Which of two answers a judge preferred in either order, by the two trials that asked."""
        scorer, shown = self._scorer(trials[0]), self._shown(trials[0], predictions)
        if shown is None or not isinstance(scorer, Pairwise):
            return None, None
        replies = [reply.answer if (reply := predictions.get(t.id)) else None for t in trials]
        as_json = self._replies_in_json(trials[0].condition.model)
        return scorer.preferences(shown, replies, as_json=as_json)

    def by_answer(self) -> Iterator[list[JudgeTrial]]:
        """The trials of one scorer about one answer, one list after the other."""
        yield from self._of.values()

    # What both need -------------------------------------------------------------------------------

    def _scorers_of(self, trial: Trial) -> tuple[ModelScorer, ...]:
        suite = trial.suite
        if suite.name not in self._scorers:
            self._scorers[suite.name] = model_scorers(suite)
        return self._scorers[suite.name]

    def _scorer(self, trial: JudgeTrial) -> ModelScorer:
        return next(each for each in self._scorers_of(trial) if each.name == trial.scorer)

    def _shown(self, trial: JudgeTrial, predictions: Predictions) -> Shown | None:
        """What a judge gets to see, None while an answer is missing."""
        judged = trial.judged
        answer = _answer_to(judged, predictions)
        other = _answer_to(trial.against, predictions) if trial.against else None
        if answer is None or (trial.against is not None and other is None):
            return None
        question = question_text(judged)
        return Shown(trial.item, question, answer, other, judged.condition.sampling.seed or 0)


def question_text(trial: Trial) -> str:
    """What a trial asks, as a judge is told it: its messages, by role where there are several."""
    messages = render(trial.condition.prompt, trial.item)
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def _answer_to(trial: Trial, predictions: Predictions) -> Answer | None:
    prediction = predictions.get(trial.id)
    return prediction.answer if prediction else None


def _why_not_shown(trial: JudgeTrial, predictions: Predictions) -> str:
    against = trial.against or trial.judged
    found = predictions.get(against.id)
    why = f"{found.failure.reason}: {found.failure.message}" if found and found.failure else ""
    return (
        f"{against.condition.name}, which it is held against, has no answer ({why or 'not asked'})"
    )


def _why_no_reply(model: str, replies: Sequence[Prediction | None]) -> str:
    for reply in replies:
        if reply is not None and reply.failure is not None:
            return f"{model} gave no verdict: {reply.failure.reason}: {reply.failure.message}"
    return f"{model} was not asked: the run was stopped before"
