"""What the `llm*` fixtures give to tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest

from pytest_llmeval.collection import await_settled
from pytest_llmeval.errors import LlmevalError
from pytest_llmeval.functions import PASSED, PREDICTION, SCORES, trial_of
from pytest_llmeval.records import Answer, Message, Prediction, Request, Scored, Trial
from pytest_llmeval.run import Evaluation, is_healthy
from pytest_llmeval.scoring.scorer import score_of

Given = TypeVar("Given")


class LlmChat:
    """A model to talk to in an ordinary test."""

    def __init__(self, evaluation: Evaluation, model: str | None = None):
        self._evaluation = evaluation
        self.model: str = model or evaluation.settings.models[0]

    def __repr__(self) -> str:
        return f"<llm {self.model}>"

    def on(self, model: str) -> LlmChat:
        """The same for another model of the config; raises ConfigError when it has none such."""
        __tracebackhide__ = True
        try:
            return LlmChat(self._evaluation, self._evaluation.settings.check_model(model))
        except LlmevalError as error:
            raise _without_our_lines(error) from None

    def chat(
        self,
        prompt: str | Sequence[tuple[Literal["system", "user", "assistant"], str]],
        *,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        **sampling: Any,
    ) -> Answer:
        """Ask once and wait. `prompt` is a user's message, or (role, text) pairs; `sampling` may
        change any key of records.Sampling, for instance max_tokens.

        Raises EngineError when there is no answer, ServerError when there is no server.
        """
        __tracebackhide__ = True
        pairs = [("user", prompt)] if isinstance(prompt, str) else list(prompt)
        messages = [Message(role, text) for role, text in pairs]  # type: ignore[arg-type] # "user" is widened to str
        if system is not None:
            messages.insert(0, Message("system", system))
        try:
            chosen = self._evaluation.settings.sampling_with(sampling)
            request = Request(tuple(messages), chosen, tuple(tools))
            return self._evaluation.chat(self.model, request)
        except LlmevalError as error:
            raise _without_our_lines(error) from None


class LlmServer:
    """The server behind the first model; asking for it starts it.

    The fake engine has none: its url is `fake:`, it is always healthy and has no log.
    """

    def __init__(self, evaluation: Evaluation):
        self._evaluation = evaluation
        self._model = evaluation.settings.models[0]
        self._about()

    @property
    def url(self) -> str:
        """Where it answers, for instance http://127.0.0.1:40123; a restart may change it."""
        url: str = self._about()["url"]
        return url

    def healthy(self) -> bool:
        """Whether it says right now that it is healthy."""
        return is_healthy(self._evaluation.settings.config, self._model, self.url)

    def log(self) -> str:
        """What it has written so far; empty for an endpoint we did not start."""
        path = self._about()["log"]
        return Path(path).read_text(encoding="utf-8", errors="replace") if path else ""

    def _about(self) -> dict[str, Any]:
        return self._evaluation.describe(self._model)


class LlmRun:
    """The run this session belongs to."""

    def __init__(self, evaluation: Evaluation):
        about = evaluation.describe(None)
        self.id: str = about["id"]
        self.folder = Path(about["folder"])
        self.models: tuple[str, ...] = evaluation.settings.models


def in_words(make: Callable[[Evaluation], Given], evaluation: Evaluation) -> Given:
    """Make what a fixture gives; what is in the way is the test's error, in words alone."""
    try:
        return make(evaluation)
    except LlmevalError as error:
        pytest.fail(str(error), pytrace=False)


def _without_our_lines(error: LlmevalError) -> LlmevalError:
    """Of a traceback the user needs the own line; where in our code it came up helps nobody."""
    return error.with_traceback(None)


def answered_prediction(node: pytest.Item, evaluation: Evaluation, trial: Trial) -> Prediction:
    """Wait for a trial's prediction; an error of the test when the machinery broke.

    Where the config tolerates failures the test is skipped: it has nothing to judge.
    """
    settled = await_settled(evaluation, trial.id)
    prediction = settled.prediction if isinstance(settled, Scored) else settled
    node.stash[PREDICTION] = prediction
    if prediction.failure is not None:
        words = f"failure ({prediction.failure.reason}): {prediction.failure.message}"
        if evaluation.settings.tolerate_failures:
            pytest.skip(words)
        pytest.fail(words, pytrace=False)
    return prediction


def score_recorder(node: pytest.Item) -> Callable[[str, float], None]:
    """The `llm_score` fixture's function."""
    trial = trial_of(node)
    if trial is None:
        pytest.fail("llm_score needs @pytest.mark.llmeval(...) on the test", pytrace=False)
    scores = node.stash[SCORES] = {}
    taken = {PASSED, *(spec.name for spec in trial.suite.scorers)}

    def record(name: str, value: float) -> None:
        if name in taken:
            raise ValueError(f"llm_score({name!r}, …): this test has a score of that name already")
        scores[name] = score_of(name, value)
        taken.add(name)

    return record
