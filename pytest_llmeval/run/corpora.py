"""From the likelihoods of texts to perplexity and bits per byte, where a suite asks for them."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_llmeval.records import Corpus, Prediction, Predictions, Trial
from pytest_llmeval.scoring.likelihood import measured_text
from pytest_llmeval.statistics.corpus import TextMeasure, measure_corpus

#: Scorers whose suites are collections of texts.
OF_TEXTS = frozenset(("token_likelihood", "byte_likelihood"))


def corpora_of(trials: Iterable[Trial], predictions: Predictions) -> tuple[Corpus, ...]:
    """Measure the texts of every suite and condition, in the order of the trials.

    A text that was not asked, or failed, is left out; the metric beside it counts such.
    """
    texts: dict[tuple[str, str], list[TextMeasure]] = {}
    for trial in trials:
        if any(spec.name in OF_TEXTS for spec in trial.suite.scorers):
            its = texts.setdefault((trial.suite.name, trial.condition.name), [])
            its += _measured(trial, predictions.get(trial.id))
    return tuple(measure_corpus(*key, its) for key, its in texts.items())


def _measured(trial: Trial, prediction: Prediction | None) -> list[TextMeasure]:
    if prediction is None or prediction.answer is None:
        return []
    found = measured_text(prediction.answer, trial.item)
    return [TextMeasure(trial.item.id, found.nats, found.tokens, found.bytes)]
