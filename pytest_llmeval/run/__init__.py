"""One run from start to finish: the only place that knows every room."""

from pytest_llmeval.run.backing import is_healthy
from pytest_llmeval.run.conclusion import FailureCount
from pytest_llmeval.run.crashed import CRASHED, crash_scores
from pytest_llmeval.run.evaluation import Evaluation
from pytest_llmeval.run.owner import Run
from pytest_llmeval.run.selection import SelectedGate, Selection
from pytest_llmeval.run.settings import Options, Settings

__all__ = [
    "CRASHED",
    "Evaluation",
    "FailureCount",
    "Options",
    "Run",
    "SelectedGate",
    "Selection",
    "Settings",
    "crash_scores",
    "is_healthy",
]
