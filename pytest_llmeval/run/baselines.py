"""Gates against the accepted baselines of the repository: read, compared, and accepted anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pytest_llmeval import __version__
from pytest_llmeval.errors import BaselineError, DamagedBaselineError
from pytest_llmeval.inputs.datasets import item_hash
from pytest_llmeval.records import GateSpec, Suite, Trial
from pytest_llmeval.results.baselines import (
    Baseline,
    all_baselines,
    baseline_path,
    circumstances,
    format_baseline,
    kept,
    read_baseline,
    stranger,
    write_baseline,
)
from pytest_llmeval.results.manifest import Manifest
from pytest_llmeval.results.plan import plan_of
from pytest_llmeval.run.bench import Bench
from pytest_llmeval.run.judge_plan import who_judges
from pytest_llmeval.run.selection import Selection
from pytest_llmeval.run.settings import Options
from pytest_llmeval.statistics.gates import Decision
from pytest_llmeval.statistics.regression import Outcomes, margin_words, not_worse

#: What follows on what has changed, before the command.
_WAY_OUT = ". If that is meant, accept a new one with"


class _Found(NamedTuple):
    """What stands where a gate's baseline belongs: the baseline, nothing, or something unusable.

    `refusal` says why it cannot be used and what to do, `obstacle` why it must not be replaced.
    """

    baseline: Baseline | None
    refusal: str = ""
    obstacle: str = ""


class Baselines:
    """The baselines that a run is held to, and which it replaces when it was asked to.

    `versions` gives those of the scorers of some suites, by name; `weights` are the digests of the
    models, None where they are not known; `bench` are the models that may judge.
    """

    def __init__(
        self,
        options: Options,
        versions: Callable[[Iterable[Suite]], Mapping[str, str]],
        weights: Mapping[str, str | None],
        bench: Bench,
    ):
        self._options = options
        self._bench = bench
        self._versions = versions
        self._weights = weights

    def decide(
        self, trials: Sequence[Trial], gate: GateSpec, outcomes: Outcomes, gaps: str
    ) -> Decision:
        """Compare the outcomes with the baseline; with --snapshot-update make them the new one.

        `trials` are all those of the gate's condition. `gaps` says which of its suite's selected
        trials lack an outcome, of whatever condition; "" when none does.
        """
        suite = trials[0].suite
        now = self._baseline_of(trials, gate, outcomes)
        path = baseline_path(self._options.root, suite.name, gate.only, gate.detail)
        found = self._found(path, suite, now)
        if found.refusal:
            words = f"{self._shown(path)} cannot be used: {found.refusal}"
            decision = Decision("fail", f"{margin_words(gate.limit)}: {words}")
        else:
            decision = self._compared(suite, gate, found.baseline, now, outcomes)
        if not self._options.accept_baselines:
            return decision
        obstacle = found.obstacle or gaps or self._left_out(found.baseline, now)
        return self._accepted(path, gate, found.baseline, now, decision, obstacle)

    def _found(self, path: Path, suite: Suite, now: Baseline) -> _Found:
        try:
            before = read_baseline(path)
        except DamagedBaselineError as damage:
            strange = stranger(damage, now)
            return _strange(strange) if strange else self._damaged(suite, damage)
        except BaselineError as error:
            return _Found(None, str(error), "only a damaged baseline is overwritten")
        strange = stranger(before, now) if before is not None else ""
        return _strange(strange) if strange else _Found(before)

    def _damaged(self, suite: Suite, damage: DamagedBaselineError) -> _Found:
        """Of a damaged baseline nobody knows which items it had, so no limited run replaces it."""
        limit, whole = self._options.limit, replace(self._options, limit=None)
        way_out = f"Restore the file, or accept a new one with\n{accepting(whole, suite)}"
        obstacle = f"--llm-limit {limit} may have left out items of the damaged baseline"
        return _Found(None, f"{damage}. {way_out}", obstacle if limit is not None else "")

    def _baseline_of(self, trials: Sequence[Trial], gate: GateSpec, outcomes: Outcomes) -> Baseline:
        """This run as a baseline; items that lack an outcome have no values."""
        suite = trials[0].suite
        plan = plan_of({}, trials, {}, scorer_versions=self._versions([suite]))
        (planned,), (asked,), (condition,) = plan.suites, plan.asked, plan.conditions
        scorer = next(scorer for scorer in planned.scorers if scorer.name == gate.metric)
        judged = who_judges(suite, gate.metric, self._bench, self._weights)
        return Baseline(
            suite=suite.name,
            origin=suite.origin,
            condition=gate.only,
            dataset=planned.dataset_hash,
            prompt=asked.prompt_hash,
            tools=asked.tools_hash,
            sampling=asked.sampling,
            scorer=replace(scorer, options={**scorer.options, **judged}),
            content={item.id: item_hash(item) for item in suite.items},
            values=dict(_complete(outcomes)),
            weights=self._weights.get(condition.model),
            made_by=__version__,
            form=asked.form,
            json_schema=asked.schema_hash,
            grammar=asked.grammar_hash,
        )

    def _compared(
        self,
        suite: Suite,
        gate: GateSpec,
        before: Baseline | None,
        now: Baseline,
        outcomes: Outcomes,
    ) -> Decision:
        head, command = margin_words(gate.limit), accepting(self._options, suite)
        if before is None:
            words = f"there is no baseline yet; accept these outcomes as one with\n{command}"
            return Decision("inconclusive", f"{head}: {words}")
        changes = circumstances(before, now, limited=self._options.limit is not None)
        if changes:
            words = f"the baseline asked something else: {'; '.join(changes)}{_WAY_OUT}"
            return Decision("fail", f"{head}: {words}\n{command}")
        shown = {
            item: [None if value is None else kept(value) for value in values]
            for item, values in outcomes.items()
        }
        decision = not_worse(before.values, shown, gate.limit)
        return _noted(decision, *_differences(before, now))

    def _left_out(self, before: Baseline | None, now: Baseline) -> str:
        """Why a run of few items cannot become the baseline; "" when it can."""
        limit = self._options.limit
        if limit is not None and before is not None and before.content.keys() != now.content.keys():
            return f"--llm-limit {limit} has left out items that the baseline has, or has others"
        return ""

    def _accepted(
        self,
        path: Path,
        gate: GateSpec,
        before: Baseline | None,
        now: Baseline,
        decision: Decision,
        obstacle: str,
    ) -> Decision:
        """The decision after the outcomes have become the baseline, or why they have not."""
        if not obstacle:
            try:
                write_baseline(path, now)
            except OSError as error:
                obstacle = f"{self._shown(path)} cannot be written: {error.strerror or error}"
        if obstacle:
            message = f"{decision.message}\nnot accepted as the baseline: {obstacle}"
            return decision._replace(message=message)
        if before is not None and format_baseline(before) == format_baseline(now):
            return decision
        words = f"{margin_words(gate.limit)}: accepted as the baseline, {self._shown(path)}"
        if before is not None:
            was = decision.message.partition(": ")[2].partition(_WAY_OUT)[0]
            words += f"\nagainst the one before: {was}"
        return Decision("pass", words, decision.evidence)

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._options.root).as_posix()


def accepting(options: Options, suite: Suite) -> str:
    """The command that makes the outcomes of a suite its baselines."""
    command = ["pytest", "--llm-config", options.config]
    command += [part for override in options.overrides for part in ("--llm-set", override)]
    command += [] if options.limit is None else ["--llm-limit", str(options.limit)]
    return " ".join(map(_quoted, (*command, suite.origin, "--snapshot-update")))


def weights_of(manifest: Manifest) -> dict[str, str | None]:
    """The digest of each model's weights, as far as it is known."""
    return {model.name: model.weights for model in manifest.models}


def unused_baselines(root: Path, selection: Selection) -> list[str]:
    """The baselines that no gate is held to, in words.

    Of a suite that this run does not ask nothing is known, unless its file is gone. Where something
    was deselected none is named: whoever runs a part has no eye for the rest.
    """
    if selection.deselected:
        return []
    suites = {trial.suite.name: trial.suite for trial in selection.trials}
    found = []
    for path, baseline in all_baselines(root):
        shown = path.relative_to(root).as_posix()
        if baseline.suite in suites:
            gates = [g for g in suites[baseline.suite].gates if g.kind == "not_worse_than"]
            if path not in {baseline_path(root, baseline.suite, g.only, g.detail) for g in gates}:
                gate = f"gate not_worse_than: baseline for {baseline.condition}"
                if "@" in path.name:
                    gate += f" by {baseline.scorer.name}"
                found.append(
                    f"{shown} is not used: suite {baseline.suite} has no {gate}; delete it"
                )
        elif not (root / baseline.origin).exists():
            found.append(f"{shown} is not used: {baseline.origin} is gone; delete it")
    return found


def _strange(words: str) -> _Found:
    way_out = "Move it away: nothing overwrites the baseline of something else"
    return _Found(None, f"{words}. {way_out}", words)


def _complete(outcomes: Outcomes) -> Iterator[tuple[str, tuple[float, ...]]]:
    for item, values in outcomes.items():
        known = tuple(value for value in values if value is not None)
        if len(known) == len(values):
            yield item, known


def _differences(before: Baseline, now: Baseline) -> Iterator[str]:
    """What does not forbid the comparison and a reader should know."""
    if before.weights and now.weights and before.weights != now.weights:
        yield f"other weights than the baseline's, {now.weights[:8]} after {before.weights[:8]}"
    if len(now.content) < len(before.content):
        yield f"{len(now.content):,} of the baseline's {len(before.content):,} items"


def _noted(decision: Decision, *notes: str) -> Decision:
    """Put notes behind the first line of the message."""
    if not notes:
        return decision
    first, line, rest = decision.message.partition("\n")
    return decision._replace(message=f"{first} ({'; '.join(notes)}){line}{rest}")


def _quoted(argument: str) -> str:
    """In double quotes, which every shell knows, where a shell would cut it."""
    return f'"{argument}"' if set(argument) & set(" \t'&;()<>|*?$`!{}[]") else argument
