"""What tests need of a run, wherever it lives: in this process, or behind xdist's broker."""

from __future__ import annotations

from typing import Any, Protocol

from pytest_llmeval.records import Answer, Request, Settled
from pytest_llmeval.run.settings import Settings


class Evaluation(Protocol):
    """A run as the tests of one process see it."""

    settings: Settings

    def wait(self, trial_id: str) -> Settled | None:
        """Wait a moment for a prediction, or for word that none is needed; raises LlmevalError
        when neither will ever come.
        """

    def under_way(self, trial_id: str) -> float:
        """Seconds since the trial was sent, 0 if it was not."""

    def chat(self, model: str, request: Request) -> Answer:
        """Ask a model something outside the plan; raises EngineError."""

    def describe(self, model: str | None) -> dict[str, Any]:
        """The run (None): id and folder. Or the server of a model: url and log."""
