"""A config, suites and options as a user gives them, read into settings and trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from pytest_llmeval.records import Answer, Failure, Prediction, Score, Trial, Usage
from pytest_llmeval.run import Options, Run, Selection, Settings

MODELS = Path(__file__).parents[2] / "models"

Items = Sequence[dict[str, Any]]
SUMS: Items = [{"id": f"add-{n}", "a": n, "answer": str(n + 1)} for n in range(1, 5)]


class Workbench:
    """A user's folder, and what the run makes of the files in it."""

    def __init__(self, root: Path):
        self.root = root
        self.config()

    def write(self, name: str, text: str) -> Path:
        """A file, its folders made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return path

    def config(self, **keys: Any) -> Path:
        """`local.yaml`: one fake model called m; `keys` take the place of its own."""
        config: dict[str, Any] = {
            "models": {"m": {"engine": "fake"}},
            "sampling": {"max_tokens": 16, "temperature": 0, "seed": 7},
        }
        return self.write("local.yaml", json.dumps({**config, **keys}, indent=1))

    @staticmethod
    def real(*names: str, **keys: Any) -> dict[str, dict[str, Any]]:
        """The section `models` for some of the two shipped ones, on the embedded engine."""
        common = {"engine": "embedded", "context": 256, "slots": 2, "threads": 1, **keys}
        return {name: {"gguf": str(MODELS / f"{name}.gguf"), **common} for name in names}

    def suite(self, name: str = "sums", **keys: Any) -> Path:
        """`suites/<name>.yaml`: four sums under one prompt; `keys` take the place of its own."""
        suite = {
            "items": list(SUMS),
            "target": "answer",
            "prompt": "{{ a }} + 1 =",
            "score": "exact",
            **keys,
        }
        suite = {key: value for key, value in suite.items() if value is not None}
        return self.write(f"suites/{name}.yaml", json.dumps(suite, indent=1))

    def settings(self, **options: Any) -> Settings:
        """The settings under these options of the command line."""
        return Settings.read(
            Options(
                config="local.yaml",
                root=self.root,
                here=self.root,
                run_dir=self.root / "runs",
                **options,
            )
        )

    def script(self, rules: Sequence[dict[str, Any]], name: str = "script.json") -> dict[str, Any]:
        """A fake model that answers by these rules, for the section `models`."""
        self.write(name, json.dumps(rules))
        return {"engine": "fake", "script": name}

    def run(
        self, *suites: Path, only: Sequence[str] = (), stopped: str = "", **options: Any
    ) -> Path:
        """Ask these suites as the command does; the run's folder.

        `only` are the ids of the trials that are selected, all without any; `stopped` says why the
        run was cut short.
        """
        settings = self.settings(**options)
        trials = self.trials(settings, *suites)
        run = Run(settings, print)
        run.begin(Selection([trial for trial in trials if not only or trial.id in only]))
        assert not settings.mistakes
        for trial in trials:
            while (not only or trial.id in only) and run.wait(trial.id) is None:
                pass
        run.finish(stopped)
        return Path(run.describe(None)["folder"])

    def trials(self, settings: Settings, *suites: Path) -> list[Trial]:
        """All trials of these suites, in the order of collection."""
        loaded = [settings.load_suite(p, p.relative_to(self.root).as_posix()) for p in suites]
        return [
            trial
            for suite in loaded
            for condition in settings.conditions(suite)
            for trial in settings.trials(suite, condition)
        ]


@pytest.fixture
def now() -> datetime:
    """A moment."""
    return datetime(2026, 11, 23, 4, 12, tzinfo=timezone.utc)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


class Make:
    """Short ways to records."""

    @staticmethod
    def answer(trial_id: str, text: str = "2", *, started: float = 0, ms: float = 0) -> Prediction:
        """An answered prediction that took `ms`, no time of it in a queue."""
        answer = Answer(text, "stop", usage=Usage(4, 2, 0, "server"))
        return Prediction(trial_id, answer, None, started=started, total_ms=ms)

    @staticmethod
    def failure(trial_id: str, message: str = "refused") -> Prediction:
        """A prediction without an answer."""
        return Prediction(trial_id, None, Failure("unreachable", message))

    @staticmethod
    def score(value: float | None, scorer: str = "exact") -> Score:
        """A score; None is a failure."""
        if value is None:
            return Score(scorer, "failure", None, reason="unreachable")
        return Score(scorer, {0.0: "wrong", 1.0: "right"}.get(value, "graded"), value)  # type: ignore[arg-type] # one of the outcomes


@pytest.fixture
def make() -> type[Make]:
    return Make
