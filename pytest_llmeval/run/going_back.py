"""Which run --llm-resume goes on with, and why no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import JudgeTrial, Predictions, Trial
from pytest_llmeval.results.folder import find_run, list_runs
from pytest_llmeval.results.manifest import CUT_OFF, Manifest, read_manifest
from pytest_llmeval.results.ownership import PATIENCE, is_being_written
from pytest_llmeval.results.plan import RunPlan
from pytest_llmeval.results.resume import check_resumable
from pytest_llmeval.run.settings import Options

#: So many runs that were looked at in vain are told of, and so many differences of each.
TOLD = 3

TAKE_OVER = "--llm-set resume.changed=take_over"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be gone on with: this plan, on models with these weights (None: not known)."""

    plan: RunPlan
    digests: Mapping[str, str | None]
    is_dry: bool


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run to go on with. `differences` say what it asked otherwise: then it is not continued
    itself, and a new run takes over what both ask alike. `passed_over` says of each newer run why
    it is not the one, newest first.
    """

    path: Path
    manifest: Manifest
    differences: Sequence[str] = ()
    passed_over: Sequence[str] = ()


def find_earlier(options: Options, wanted: Wanted, *, take_over: bool) -> Earlier:
    """Find the run that --llm-resume means. Raises `RunError`, which says why there is none.

    `last` is the newest run of this plan that has something left to ask, else the newest of this
    plan, whose tables are then written again; with `take_over` the newest of any plan, where there
    is none of this.
    """
    name = options.resume or ""
    if name == "last":
        return _last(options.run_dir, wanted, take_over=take_over)
    path = find_run(options.run_dir, name)
    manifest = read_manifest(path)
    never = _never(manifest, wanted)
    if never is not None:
        raise RunError(f"--llm-resume: {never}")
    earlier = Earlier(path, manifest, check_resumable(manifest, wanted.plan, wanted.digests))
    if earlier.differences and not take_over:
        raise RunError(f"--llm-resume: {_asked_else(earlier)}. Undo that, {_WAYS_OUT}")
    return earlier


def _last(base: Path, wanted: Wanted, *, take_over: bool) -> Earlier:
    found: list[Earlier] = []
    reasons: list[str] = []
    for path in reversed(list_runs(base)):
        looked = _look_at(path, wanted)
        if isinstance(looked, str):
            reasons.append(looked)
            continue
        looked = replace(looked, passed_over=tuple(reasons))
        if not looked.differences and is_unfinished(looked.manifest):
            return looked
        found.append(looked)
        reasons.append(_asked_else(looked) if looked.differences else _all_answered(looked))
    of_this_plan = [earlier for earlier in found if not earlier.differences]
    for usable in of_this_plan or (found if take_over else []):
        return usable
    raise RunError(_none_found(base, reasons, way_out=f"Undo that, {_WAYS_OUT}" if found else _NEW))


def _look_at(path: Path, wanted: Wanted) -> Earlier | str:
    """A run that may be the one, or why it never is."""
    if is_being_written(path, PATIENCE):
        return f"the run {path.name} is being written by another process"
    try:
        manifest = read_manifest(path)  # only now: its last words may just have been written
    except RunError as error:
        return str(error)
    never = _never(manifest, wanted)
    if never is not None:
        return never
    return Earlier(path, manifest, check_resumable(manifest, wanted.plan, wanted.digests))


def is_unfinished(manifest: Manifest) -> bool:
    """Whether something is left to ask: what was not asked yet, or has failed."""
    return manifest.exit_reason != "finished" or any(
        part.answered + part.not_needed < part.trials
        for part in (*manifest.parts, *manifest.second_wave)
    )


def _never(manifest: Manifest, wanted: Wanted) -> str | None:
    """Why a run cannot be gone on with, whatever is asked."""
    if manifest.rescored_from is not None:
        return (
            f"the run {manifest.id} was made by llmeval rescore and has asked nothing itself; "
            f"resume {manifest.rescored_from}, whose answers it has judged again"
        )
    if manifest.replayed_from is not None:
        return (
            f"the run {manifest.id} has played recorded answers and asked nothing itself; play "
            f"them again with replay, or resume {manifest.replayed_from}, which asked"
        )
    if manifest.is_dry_run != wanted.is_dry:
        was = "was a dry run, and this is none" if manifest.is_dry_run else "was no dry run"
        return f"the run {manifest.id} {was}: a --llm-dry-run has the fake engine's answers"
    return None


def _asked_else(earlier: Earlier) -> str:
    return f"the run {earlier.path.name} asked something else: {brief(earlier.differences)}"


def _all_answered(earlier: Earlier) -> str:
    return f"the run {earlier.path.name} has all its answers"


def brief(told_of: Sequence[str]) -> str:
    """The first of some differences or runs, and how many more there are."""
    more = len(told_of) - TOLD
    told = "; ".join(told_of[:TOLD])
    return f"{told}; and {more:,} more" if more > 0 else told


_WAYS_OUT = (
    "start a new run without --llm-resume, or let a new run take over the answers to what is still "
    f"asked the same: {TAKE_OVER}"
)


_NEW = "Start a new run without --llm-resume"


def _none_found(base: Path, reasons: Sequence[str], way_out: str) -> str:
    if not reasons:
        return f"--llm-resume: there is no run in {base} yet; the first one makes it"
    looked = ". Before it: ".join(reasons[:TOLD])
    older = len(reasons) - TOLD
    rest = (
        f". {older} older {'one is' if older == 1 else 'ones are'} no better" if older > 0 else ""
    )
    return f"--llm-resume: {looked}{rest}. {way_out}"


def found_words(
    earlier: Earlier, trials: Sequence[Trial], judged: Sequence[JudgeTrial], known: Predictions
) -> str:
    """What was found of a run that goes on, in a line, and which newer ones were passed over.

    `judged` are the trials of judges; how many of them there is nothing to ask in is not known yet.
    """
    found = [known[trial.id] for trial in trials if trial.id in known]
    answered = sum(prediction.answer is not None for prediction in found)
    failed = len(found) - answered
    may_stop = any(trial.suite.stop is not None for trial in trials)
    needed = " where they are still needed" if may_stop else ""
    again = f", {failed:,} failed and are asked again{needed}" if failed else ""
    left = len(trials) - len(found)
    rest = f", {left:,} were not asked" if left else ""
    ended = earlier.manifest.exit_reason or CUT_OFF
    how = "" if ended == "finished" else f"; it ended: {ended}"
    verdicts = sum(trial.id in known and known[trial.id].answer is not None for trial in judged)
    if verdicts < len(judged):
        rest += f"; judges have given {verdicts:,} of at most {len(judged):,} verdicts"
    elif answered == len(trials):
        rest = ", so none is asked; tables and reports are written again"
    newer = f". Passed over: {brief(earlier.passed_over)}" if earlier.passed_over else ""
    return (
        f"going on with the run {earlier.path.name}: {answered:,} of {len(trials):,} trials are "
        f"answered{again}{rest}{how}{newer}"
    )
