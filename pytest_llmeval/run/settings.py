"""What is asked and how it is judged: the same in the process that owns the run and in workers."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pytest_llmeval.engines.engine import offered
from pytest_llmeval.errors import ConfigError, LlmevalError, SuiteError
from pytest_llmeval.inputs.config import Config, find_config, load_config
from pytest_llmeval.inputs.mistakes import unknown
from pytest_llmeval.inputs.overrides import parse_overrides
from pytest_llmeval.inputs.suites import load_suite, suite_from_marker
from pytest_llmeval.records import Condition, Prediction, Sampling, Score, Suite, Trial
from pytest_llmeval.run.bench import Bench
from pytest_llmeval.run.cleaning import clean_score, redactor_of
from pytest_llmeval.run.judge_plan import check_judging, check_references, model_scorers
from pytest_llmeval.running.plan import (
    NamedSampling,
    check_gates,
    check_stop,
    conditions_of,
    trials_of,
)
from pytest_llmeval.scoring.asking import with_continuations
from pytest_llmeval.scoring.judging import close_scorers, score_prediction
from pytest_llmeval.scoring.scorer import (
    Scorer,
    check_targets,
    make_scorer,
    make_scorers,
    needs_callers_thread,
)


class Mark(Protocol):
    """What is needed of pytest's mark."""

    @property
    def args(self) -> tuple[Any, ...]:
        """Positional arguments, of which there must be none."""

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """Keyword arguments."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, in the words of the options' help.

    `here` is the folder in which the command was given. `step_summary` is where GitHub Actions
    shows a step's Markdown, None elsewhere.
    """

    config: str
    root: Path
    here: Path
    run_dir: Path
    overrides: tuple[str, ...] = ()
    limit: int | None = None
    parts: int = 1
    dry_run: bool = False
    resume: str | None = None
    archive: bool = False
    accept_baselines: bool = False
    step_summary: Path | None = None


class Settings:
    """The config and everything that follows from it without asking a model.

    `mistakes` gathers what was wrong in suites, in the words for the user; while there are any,
    nothing is sent. `told_versions` are those of scorers that another process has told. `models`
    are those that are asked, `bench` the ones that may judge; `redactor` takes the secrets out of
    what is written and shown.
    """

    def __init__(self, options: Options, config: Config, prompts: tuple[str, ...]):
        self.options = options
        self.config = config
        self.models: tuple[str, ...] = tuple(
            name for name, model in config.models.items() if model.role == "model"
        )
        self.redactor = redactor_of(config)
        self.bench = Bench.of(config, dry_run=options.dry_run)
        self.mistakes: list[str] = []
        self.told_versions: dict[str, str] = {}
        self.sequence = itertools.count()
        self._prompts = prompts
        self._seen_prompts: dict[str, None] = {}
        self._prompt_names: set[str] = set()
        self._suites: dict[str, Suite] = {}
        self._scorers: dict[str, tuple[Scorer, ...]] = {}

    @classmethod
    def read(cls, options: Options) -> Settings:
        """Read the config file; raises InputError."""
        _check_counts(options)
        path = find_config(options.config, options.root)
        config = load_config(path, options.overrides, os.environ, offered())
        if config.replay is not None:
            _refuse_beside_replay(options)
        return cls(options, config, parse_overrides(options.overrides).prompts)

    @property
    def tolerate_failures(self) -> bool:
        """Whether single failures are judged together at the end, by the config's limit."""
        return bool(self.config.failures_at_most)

    @property
    def _roots(self) -> tuple[Path, ...]:
        """Below which suites may name files."""
        return (self.options.root, *self.config.data_roots)

    def load_suite(self, path: Path, origin: str) -> Suite:
        """Read a suite file; raises InputError."""
        limit, roots = self.options.limit, self._roots
        return self._checked(load_suite(path, origin, limit=limit, roots=roots))

    def suite_of_marker(self, mark: Mark, origin: str, path: Path, line: int) -> Suite:
        """Make the suite of a marked function; raises InputError."""
        suite = suite_from_marker(
            mark.kwargs,
            path=path,
            origin=origin,
            positional=mark.args,
            line=line,
            limit=self.options.limit,
            roots=self._roots,
        )
        # Two modules, and two classes, may have a test of one name; two suites may not.
        name = ".".join([path.stem, *origin.split("::")[1:]])
        return self._checked(dataclasses.replace(suite, name=name))

    def conditions(self, suite: Suite) -> tuple[Condition, ...]:
        """The suite's conditions in this run; raises SuiteError when a gate has none, and when the
        suite stops once it has decided and there is nothing to decide.
        """
        samplings = [
            NamedSampling(name, settings.sampling, settings.repeats)
            for name, settings in self.config.samplings.items()
        ]
        conditions = conditions_of(suite, self.models, samplings)
        check_references(suite, conditions)
        if not self._prompts:  # a choice of prompts is a choice of gates too
            check_gates(suite, conditions)
            check_stop(suite, conditions)
        return conditions

    def trials(self, suite: Suite, condition: Condition) -> Iterator[Trial]:
        """The suite's trials under one condition."""
        return trials_of(suite, condition)

    def score(self, trial: Trial, prediction: Prediction) -> tuple[Score, ...]:
        """Judge a prediction with the suite's scorers, the headline first."""
        return self.cleaned(score_prediction(self._scorers_of(trial.suite), prediction, trial.item))

    def cleaned(self, scores: Iterable[Score]) -> tuple[Score, ...]:
        """Scores without secrets in their words; who gives them may be the user's own code."""
        return tuple(clean_score(score, self.redactor) for score in scores)

    def can_score(self, suite: Suite) -> bool:
        """Whether this process knows the suite's scorers; some only a worker's conftest knows."""
        try:
            self._scorers_of(suite)
        except LlmevalError:
            return False
        return True

    def scores_with_tests_only(self, suite: Suite) -> tuple[str, ...]:
        """The suite's scorers that may only be called in the thread in which tests run."""
        return tuple(s.name for s in self._scorers_of(suite) if needs_callers_thread(s))

    def close(self) -> None:
        """Let go of what the scorers keep."""
        close_scorers(itertools.chain.from_iterable(self._scorers.values()))

    def check_prompts(self) -> None:
        """Once all suites are read: a prompt that --llm-set asks for and none of them has is one
        of the mistakes.
        """
        for name in self._prompts if self._suites else ():
            if name not in self._prompt_names:
                words = unknown("prompt", name, sorted(self._prompt_names))
                self.mistakes.append(f"--llm-set prompts={name}: {words}")

    def scorer_versions(self, suites: Iterable[Suite]) -> dict[str, str]:
        """The version of every scorer that these suites use and that is known, by name.

        What another process has told goes first: it is the one that judges.
        """
        versions: dict[str, str] = {}
        for spec in [spec for suite in suites for spec in suite.scorers]:
            try:
                versions[spec.name] = version_of(make_scorer(spec))
            except LlmevalError:  # one that only a worker's conftest knows
                continue
        return versions | self.told_versions

    def check_model(self, name: str) -> str:
        """The name of a model of the config that writes; raises ConfigError for any other."""
        able = [known for known, role in self.bench.roles.items() if role != "embedder"]
        if name not in able:
            raise ConfigError(unknown("model", name, able), path=self.config.path)
        return name

    def turn_order(self, suites: Iterable[Suite]) -> tuple[str, ...]:
        """All models in the order in which they are loaded, where not all fit at once.

        Those that judge come last: what they judge is then there.
        """
        judges = {self.bench.model_for(each) for suite in suites for each in model_scorers(suite)}

        def place(name: str) -> tuple[bool, bool]:
            return name in judges, name not in self.models

        return tuple(sorted(self.config.models, key=place))

    def sampling_with(self, changes: Mapping[str, Any]) -> Sampling:
        """The config's first sampling with some keys changed."""
        first = next(iter(self.config.samplings.values())).sampling
        allowed = [field.name for field in dataclasses.fields(Sampling)]
        for key in changes:
            if key not in allowed:
                raise LlmevalError(unknown("sampling key", key, allowed))
        return dataclasses.replace(first, **changes)

    def _scorers_of(self, suite: Suite) -> tuple[Scorer, ...]:
        scorers = self._scorers.get(suite.name)
        if scorers is None:  # a suite that another process loaded
            scorers = self._scorers[suite.name] = _scorers(suite)
        return scorers

    def _checked(self, suite: Suite) -> Suite:
        """Refuse a second suite of the same name, and scorers that do not exist; keep of its named
        prompts those that --llm-set asks for.
        """
        known = self._suites.setdefault(suite.name, suite)
        if known.origin != suite.origin:
            raise SuiteError(
                f"there is another suite called {suite.name}, {known.origin}; trials are named "
                f"after their suite, so rename one of the files",
                path=suite.origin,
            )
        scorers = self._scorers[suite.name] = _scorers(suite)
        check_targets(scorers, suite.items, suite.origin)
        check_judging(suite, self.bench)
        suite = with_continuations(suite, scorers)
        self._prompt_names.update(prompt.name for prompt in suite.prompts if prompt.name)
        if not self._prompts:
            return suite
        chosen = tuple(p for p in suite.prompts if not p.name or p.name in self._prompts)
        return dataclasses.replace(suite, prompts=chosen)


def version_of(scorer: Scorer) -> str:
    """A scorer's version as it is kept, "" where the author of one has not given any."""
    return str(getattr(scorer, "version", ""))


def _scorers(suite: Suite) -> tuple[Scorer, ...]:
    return make_scorers(suite.scorers, suite.origin)


def _refuse_beside_replay(options: Options) -> None:
    clash = "--llm-dry-run" if options.dry_run else "--llm-resume" if options.resume else None
    if clash:
        raise ConfigError(
            f"replay plays recorded answers and asks no model, so {clash} has nothing to do beside "
            f"it: leave one of the two out"
        )


def _check_counts(options: Options) -> None:
    for option, value in (("--llm-limit", options.limit), ("--llm-parts", options.parts)):
        if value is not None and value < 1:
            raise ConfigError(f"{option} {value}: it must be at least 1")
