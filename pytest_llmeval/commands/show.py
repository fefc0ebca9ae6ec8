"""`llmeval show`: what was asked and answered, one trial after the other."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.finished import require_tables
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import read_journal, read_requests
from pytest_llmeval.results.manifest import CUT_OFF, read_manifest
from pytest_llmeval.results.ownership import is_being_written
from pytest_llmeval.results.part_words import part_lines
from pytest_llmeval.results.parts import PartFacts, settle_part
from pytest_llmeval.results.plan import RunPlan
from pytest_llmeval.results.rounding import likelihood_lines
from pytest_llmeval.results.tables import read_predictions, read_table
from pytest_llmeval.run.batch_build import BUILT
from pytest_llmeval.run.batch_combine import UNBALANCED
from pytest_llmeval.run.batch_folder import IN_PART
from pytest_llmeval.scoring.pairwise import Pairwise
from pytest_llmeval.scoring.second_wave import MODEL_SCORERS
from pytest_llmeval.visible import visible

OUTCOMES = {
    "wrong": ("wrong", "graded"),
    "no_answer": ("no_answer",),
    "failed": ("failure",),
}
"""Which outcomes each filter lets through."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which trials to show: by filters of `OUTCOMES` (none lets all through); `limit` 0 is all."""

    filters: frozenset[str] = frozenset()
    suite: str | None = None
    condition: str | None = None
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """One trial to show. `prompt` is as it was sent, empty when no request was kept.

    `likelihoods` are those of predictions.csv, empty where an answer was written; `judged` are the
    stages of the headline scorer; `verdict` is what a judge has said, where one has.
    """

    trial_id: str
    suite: str
    condition: str
    item_id: str
    repeat: int
    outcome: str
    reason: str
    prompt: tuple[Mapping[str, Any], ...]
    answer: str
    tool_calls: str
    extracted: str
    target: str
    error: str
    likelihoods: tuple[Mapping[str, Any], ...] = ()
    judged: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What to show of a run, and how many there were before the limit."""

    run: str
    trials: tuple[Shown, ...]
    matching: int


def find(run: Path, wanted: Wanted) -> Found:
    """Collect what to show from the tables of a run and from its requests.

    Raises `RunError` when the run has no tables yet, or no such suite or condition.
    """
    plan = read_manifest(run).plan
    _check("suite", wanted.suite, [suite.name for suite in plan.suites])
    _check("condition", wanted.condition, [condition.name for condition in plan.conditions])
    require_tables(run)
    given = _given(plan) if wanted.filters else frozenset()
    rows = [row for row in read_predictions(run) if _matches(row, wanted, given)]
    shown = tuple(_shown(row) for row in rows[: wanted.limit or None])
    return Found(run.name, tuple(_completed(run, shown)), len(rows))


def lines_of_parts(run: Path, condition: str | None = None) -> list[str]:
    """A line for each part of a run, or of one of its conditions, as it is by now; then how far
    those are who judge its answers, and how to go on with a run that was killed.

    Raises `RunError` when the run has no such condition.
    """
    manifest = read_manifest(run)
    _check("condition", condition, [each.name for each in manifest.plan.conditions])
    chosen = [part for part in manifest.parts if condition in (None, part.condition)]
    cut_short: list[str] = []
    judging = [part for part in manifest.second_wave if condition in (None, part.condition)]
    folder = RunFolder(run, {each.name: each.folder for each in manifest.plan.conditions})
    if manifest.exit_reason is None:
        chosen = [_by_now(folder.results(part.condition, part.number), part) for part in chosen]
        judging = [_by_now(folder.judge_results(part.condition), part) for part in judging]
    asks_itself = manifest.rescored_from is None and manifest.replayed_from is None
    has_ended = manifest.exit_reason in {"finished", BUILT, IN_PART, UNBALANCED}
    if asks_itself and not has_ended and not is_being_written(run):
        ended = f"it was {CUT_OFF}" if manifest.exit_reason is None else "it was cut short"
        # Nothing in a folder says who was at work on it: pytest, or llmeval batch run.
        again = f"the same command again, pytest's with --llm-resume {manifest.id}"
        cut_short = [f"{ended}; go on: {again}"]
    judging = [replace(part, condition=f"judges of {part.condition}") for part in judging]
    lines = *part_lines(chosen), *part_lines(judging), *cut_short
    return [visible(line) for line in lines]


def _by_now(path: Path, part: PartFacts) -> PartFacts:
    """A part of a run that has not ended, by its journal: the manifest has it as of its last
    change of status.
    """
    found = read_journal(path).values() if path.exists() else ()
    return settle_part(part, found, not_needed=part.not_needed, ended=False)


def _check(kind: str, name: str | None, known: list[str]) -> None:
    if name is None or name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
    raise RunError(f"this run has no {kind} {name!r}; {hint}")


def _given(plan: RunPlan) -> frozenset[tuple[str, str]]:
    """The suites and their conditions that others are held against, by the first scorer: their
    scores are ties with themselves, and say nothing.
    """
    return frozenset(
        (suite.name, str(first.options.get("against", "")))
        for suite in plan.suites
        for first in suite.scorers[:1]
        if first.name == Pairwise.name
    )


def _matches(row: Mapping[str, str], wanted: Wanted, given: Collection[tuple[str, str]]) -> bool:
    outcomes = [outcome for name in wanted.filters for outcome in OUTCOMES[name]]
    return (
        (not outcomes or row["outcome"] in outcomes)
        and (row["outcome"] != "graded" or (row["suite"], row["condition"]) not in given)
        and wanted.suite in (None, row["suite"])
        and wanted.condition in (None, row["condition"])
    )


def _shown(row: Mapping[str, str]) -> Shown:
    return Shown(
        trial_id=row["trial_id"],
        suite=row["suite"],
        condition=row["condition"],
        item_id=row["item_id"],
        repeat=int(row["repeat"]),
        outcome=row["outcome"],
        reason=row["reason"],
        prompt=(),
        answer=row["text"],
        tool_calls=row["tool_calls"],
        extracted="",
        target="",
        error=row["error"],
        # Tables of older versions have no such column.
        likelihoods=tuple(json.loads(row.get("likelihoods") or "[]")),
    )


def _completed(run: Path, trials: Iterable[Shown]) -> Iterator[Shown]:
    """Add what other files know: the prompt, the target and what was taken from the answer."""
    trials = list(trials)
    requests = read_requests(run, {trial.trial_id for trial in trials})
    keys = {_key(asdict(trial)) for trial in trials}
    scores: dict[tuple[str, ...], Mapping[str, str]] = {}
    for path in sorted(run.glob("*/per_item_scores.csv")):
        for row in read_table(path):
            if _key(row) in keys:
                scores.setdefault(_key(row), row)  # a trial's first score is its headline
    for trial in trials:
        score = scores.get(_key(asdict(trial)), {})
        yield replace(
            trial,
            prompt=_messages(requests.get(trial.trial_id, {})),
            extracted=score.get("extracted", ""),
            target=score.get("target", ""),
            judged=score.get("stages", ""),
            verdict=_verdict(score) if trial.outcome != "failure" else "",
            # Of a scorer that failed, its message is the last of the stages.
            error=trial.error or (score.get("stages", "") if trial.outcome == "failure" else ""),
        )


def _messages(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The messages of a request; a raw completion's text is what its user has said."""
    if "prompt" in body:
        return ({"role": "user", "content": body["prompt"]},)
    return tuple(body.get("messages", ()))


def _verdict(score: Mapping[str, str]) -> str:
    """The words of a judge, which are the last of the stages."""
    if score.get("scorer") not in MODEL_SCORERS:
        return ""
    return score.get("stages", "").rpartition("compare: ")[2]


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["suite"], row["condition"], row["item_id"], str(row["repeat"])


def json_lines(found: Found) -> Iterator[str]:
    """One JSON object a trial, in ASCII."""
    return (json.dumps(asdict(trial)) for trial in found.trials)


def text_lines(found: Found) -> Iterator[str]:
    """One block a trial, and how many there are."""
    for trial in found.trials:
        yield from _block(trial)
        yield ""
    if len(found.trials) < found.matching:
        yield f"{len(found.trials)} of {found.matching:,} shown; all of them with --limit 0"
    else:
        yield f"{found.matching:,} in {found.run}" if found.matching else f"none in {found.run}"


def _block(trial: Shown) -> Iterator[str]:
    outcome = trial.outcome.replace("_", " ") or trial.reason.replace("_", " ")
    reason = f" ({trial.reason})" if trial.reason and trial.outcome else ""
    yield visible(f"{trial.trial_id}: {outcome}{reason}")
    asked = [message for message in trial.prompt if message.get("role") == "user"]
    yield from _field("asked", str(asked[-1].get("content", "")) if asked else "")
    if trial.likelihoods:
        asked_for = [(each["continuation"], each["logprob"]) for each in trial.likelihoods]
        yield from _field("likely", "\n".join(likelihood_lines(asked_for)))
        yield from _field("judged", trial.judged)
    else:
        yield from _field("answer", trial.answer or ("" if trial.error else "(nothing)"))
    yield from _field("calls", trial.tool_calls)
    yield from _field("taken", "" if trial.extracted == trial.answer else trial.extracted)
    yield from _field("judged", trial.verdict)
    yield from _field("target", trial.target)
    yield from _field("error", trial.error)


def _field(name: str, text: str) -> Iterator[str]:
    label = f"  {name.ljust(6)}  "
    for line in visible(text.strip("\n")).splitlines():
        yield f"{label}{line}".rstrip()
        label = " " * len(label)
