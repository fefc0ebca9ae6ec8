"""What an old run asked, with its suites as they are now: the same questions, or it is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_llmeval.errors import RunError, ScorerError, SuiteError
from pytest_llmeval.inputs.mistakes import unknown
from pytest_llmeval.inputs.suites import load_suite
from pytest_llmeval.records import JudgeTrial, Sampling, Suite, Trial
from pytest_llmeval.results.journal import read_requests
from pytest_llmeval.results.manifest import Manifest, require_requests
from pytest_llmeval.results.plan import RunPlan, plan_of
from pytest_llmeval.results.resume import questions_changed
from pytest_llmeval.results.wording import scorer_words
from pytest_llmeval.run.settings import version_of
from pytest_llmeval.running.plan import NamedSampling, check_gates, conditions_of, trials_of
from pytest_llmeval.scoring.asking import with_continuations
from pytest_llmeval.scoring.scorer import BUILT_IN, Scorer, check_targets, make_scorers


@dataclass(frozen=True, slots=True)
class OldQuestions:
    """The trials of an old run, their suites' scorers as they are now, and its request bodies by
    trial. `left_out` says which suites are not judged again, and why.
    """

    origin: Manifest
    suites: Sequence[Suite]
    scorers: Mapping[str, Sequence[Scorer]]
    trials: Sequence[Trial]
    requests: Mapping[str, Mapping[str, Any]]
    left_out: Sequence[str]

    @property
    def scorer_versions(self) -> dict[str, str]:
        """The version of each scorer, by its name."""
        return {scorer.name: version_of(scorer) for its in self.scorers.values() for scorer in its}

    def plan(self, judged: Sequence[JudgeTrial] = ()) -> RunPlan:
        """What is asked, and by which scorers it is judged now; `judged` are trials of judges."""
        before = self.origin.plan
        return plan_of(
            before.config,
            self.trials,
            before.seeds,
            limit=before.limit,
            scorer_versions=self.scorer_versions,
            judged=judged,
        )


def old_questions(
    run: Path,
    origin: Manifest,
    root: Path,
    suite_files: Sequence[Path] = (),
    data_roots: Sequence[Path] = (),
) -> OldQuestions:
    """What `run`, whose manifest is `origin`, asked. For the paths see `rescoring.rescore`.

    Raises RunError, among others where something else would be asked now, and InputError.
    """
    requests = read_requests(run)
    require_requests(origin, len(requests), "judged again")
    suites, left_out = _suites(origin, root, suite_files, data_roots)
    scorers = {suite.name: _scorers(suite, root) for suite in suites}
    suites = [with_continuations(suite, scorers[suite.name]) for suite in suites]
    trials = [trial for suite in suites for trial in _asked(suite, origin.plan, requests)]
    questions = OldQuestions(origin, suites, scorers, trials, requests, left_out)
    _refuse_others(origin, questions.plan())
    return questions


def judged_otherwise(before: RunPlan, now: RunPlan) -> Iterator[str]:
    """For each suite that has other scorers now, by which it was and is scored."""
    old = {suite.name: suite.scorers for suite in before.suites}
    for suite in now.suites:
        if suite.scorers != old[suite.name]:
            told = ["; ".join(map(scorer_words, each)) for each in (old[suite.name], suite.scorers)]
            yield f"{suite.name}: was scored by {told[0]}; now by {told[1]}"


def _suites(
    origin: Manifest, root: Path, suite_files: Sequence[Path], data_roots: Sequence[Path]
) -> tuple[list[Suite], list[str]]:
    """The run's suites as they are now, and a note for each that is a function of pytest's."""
    files = {path.stem: path for path in suite_files}
    plans = {suite.name: suite for suite in origin.plan.suites}
    for name, path in files.items():
        if name not in plans:
            raise RunError(f"--suite-file {path}: {unknown('suite', name, plans)}")
    _refuse_outside(origin, root, files)
    left_out = [suite.origin for suite in plans.values() if "::" in suite.origin]
    suites = [
        _load(files.get(suite.name, root / suite.origin), root, origin.plan.limit, data_roots)
        for suite in plans.values()
        if suite.origin not in left_out
    ]
    if not suites:
        raise RunError(
            f"the run {origin.id} has only marked functions, which are judged by pytest itself: "
            f"change them and ask again"
        )
    return suites, [f"left out: {name} is a function, judged by pytest itself" for name in left_out]


def _refuse_outside(origin: Manifest, root: Path, named: Collection[str]) -> None:
    """A run may come from somebody else, and what it calls its suite would be read."""
    real = root.resolve()
    for suite in origin.plan.suites:
        place = (root / suite.origin.partition("::")[0]).resolve()
        if suite.name not in named and not place.is_relative_to(real):
            raise RunError(
                f"the run {origin.id} says that its suite {suite.name} is {suite.origin!r}, which "
                f"is outside of {root}: name the file yourself with --suite-file FILE"
            )


def _load(path: Path, root: Path, limit: int | None, data_roots: Sequence[Path]) -> Suite:
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    if not path.is_file():
        raise SuiteError(
            "no such file; run this where the suites were run (pytest's rootdir), or name the file "
            "of that name with --suite-file FILE",
            path=path,
        )
    return load_suite(path, shown.as_posix(), limit=limit, roots=(root, *data_roots))


def _scorers(suite: Suite, root: Path) -> tuple[Scorer, ...]:
    try:
        scorers = make_scorers(suite.scorers, suite.origin)
    except ScorerError as error:
        if all(spec.name in BUILT_IN for spec in suite.scorers):
            raise
        message = f"{error.message} One of your own is loaded with --scorers {_own(suite, root)}"
        raise ScorerError(message, path=error.path, line=error.line) from None
    check_targets(scorers, suite.items, suite.origin)
    return scorers


def _own(suite: Suite, root: Path) -> str:
    """The conftest.py that pytest would read for a suite, as an example; the nearest one."""
    for folder in Path(suite.origin).parents:
        if (root / folder / "conftest.py").is_file():
            return (folder / "conftest.py").as_posix()
    return "FILE.py"


def _asked(suite: Suite, plan: RunPlan, asked: Collection[str]) -> list[Trial]:
    """The trials of a suite that the run has asked.

    Where that is none all are given, so that what has changed can be told.
    """
    samplings = [_named_sampling(name, keys) for name, keys in plan.config["sampling"].items()]
    conditions = conditions_of(suite, tuple(plan.config["models"]), samplings)
    check_gates(suite, conditions)
    trials = [trial for condition in conditions for trial in trials_of(suite, condition)]
    return [trial for trial in trials if trial.id in asked] or trials


def _named_sampling(name: str, keys: Mapping[str, Any]) -> NamedSampling:
    """A sampling as the config said it, with the repeats beside its own keys."""
    sampling = {key: value for key, value in keys.items() if key != "repeats"}
    return NamedSampling(
        name, Sampling(**{**sampling, "stop": tuple(sampling["stop"])}), keys["repeats"]
    )


def _refuse_others(origin: Manifest, plan: RunPlan) -> None:
    names = {suite.name for suite in plan.suites}
    before = dataclasses.replace(
        origin.plan,
        suites=tuple(suite for suite in origin.plan.suites if suite.name in names),
        asked=tuple(asked for asked in origin.plan.asked if asked.suite in names),
    )
    differences = questions_changed(before, plan)
    if differences:
        raise RunError(
            f"the answers of the run {origin.id} are to other questions: "
            f"{'; '.join(differences)}. Only scorers, gates and a suite's tags may change. Undo "
            f"that, name the suite as it was with --suite-file FILE, or ask again"
        )
