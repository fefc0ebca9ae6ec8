"""Results brought together: held against what was asked, and put into one file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pytest_llmeval.atomic import replacing
from pytest_llmeval.errors import RunError
from pytest_llmeval.results.balance import Balance, balance, read_custom_ids, read_results
from pytest_llmeval.results.built import refuse_changed
from pytest_llmeval.results.folder import MANIFEST, jobs_path, requests_path
from pytest_llmeval.results.jobs import BatchJob, read_jobs
from pytest_llmeval.results.lines import prediction_to_line
from pytest_llmeval.results.manifest import Manifest, ModelFacts, read_manifest, write_manifest
from pytest_llmeval.results.ownership import is_being_written
from pytest_llmeval.results.parts import PartFacts, settle_part
from pytest_llmeval.results.results_file import results_path
from pytest_llmeval.results.strays import NO_STRAYS, Strays, together

COMBINED = "results_combined.jsonl"

UNBALANCED = "combined, and in is not out"


@dataclass(frozen=True, slots=True)
class Combined:
    """What was brought together: the parts, and the files that were written."""

    parts: tuple[PartFacts, ...]
    written: tuple[Path, ...]

    @property
    def is_balanced(self) -> bool:
        """Whether as much came out as went in, each for its own."""
        return not any(part.discrepancy for part in self.parts)


def combine(path: Path, now: datetime) -> Combined:
    """Bring the results of a folder together; of a run's folder its manifest is settled too.

    Raises RunError where files cannot be read, or the run is being written.
    """
    if (path / MANIFEST).is_file():
        return _combine_run(path, now)
    return _combine_files(path)


def _combine_run(path: Path, now: datetime) -> Combined:
    if is_being_written(path):
        raise RunError(f"{path} is being written; combine it when that has ended")
    manifest = read_manifest(path)
    refuse_changed(path, manifest.built)
    settled: dict[tuple[str, int], PartFacts] = {}
    written = []
    for condition in manifest.plan.conditions:
        folder = path / condition.folder
        parts = [part for part in manifest.parts if part.condition == condition.name]
        asked = [_asked(requests_path(folder, p.number)) for p in parts]
        found = balance(
            (id_ for ids in asked for id_ in ids),
            read_results(sorted(folder.glob("parts/part-*.results.jsonl"))),
        )
        for part, ids in zip(parts, asked, strict=True):
            jobs = read_jobs(jobs_path(folder, part.number))
            settled[part.condition, part.number] = _settle(part, ids, found, jobs)
        written.append(_write(folder / COMBINED, found))
    facts = tuple(settled[part.condition, part.number] for part in manifest.parts)
    combined = Combined(facts, tuple(written))
    write_manifest(path, _finished(manifest, combined, now))
    return combined


def _asked(requests: Path) -> list[str]:
    if not requests.is_file():
        raise RunError(f"{requests} is gone, and it says what was asked: put it back")
    return read_custom_ids(requests)


def _settle(
    part: PartFacts, asked: Sequence[str], found: Balance, jobs: Sequence[BatchJob]
) -> PartFacts:
    """A part as its files have it; results for nobody are told with the condition's first part.

    What batch jobs brought twice or for nobody stands in no file of results.
    """
    mine = set(asked)
    of_files = Strays(
        missing=tuple(id_ for id_ in found.odd.missing if id_ in mine),
        doubled=tuple(id_ for id_ in found.odd.doubled if id_ in mine),
        unknown=found.odd.unknown if part.number == 1 else (),
    )
    odd = together([of_files, *(job.odd for job in jobs)])
    base = PartFacts(part.condition, part.number, len(asked))
    # What a suite that stopped early did not need is not asked for again.
    spared = part.not_needed if len(odd.missing) == part.not_needed else 0
    if spared:
        odd = dataclasses.replace(odd, missing=())
    return settle_part(base, found.of(asked), not_needed=spared, ended=True, odd=odd)


def _write(path: Path, found: Balance) -> Path:
    with replacing(path) as handle:
        for prediction in found.of(found.asked):
            handle.write(prediction_to_line(prediction))
    return path


def _finished(manifest: Manifest, combined: Combined, now: datetime) -> Manifest:
    """The manifest of a run all of whose results are here, or that says that they are not."""
    known = {facts.name for facts in manifest.models}
    asked = {condition.model for condition in manifest.plan.conditions}
    engines = {name: manifest.plan.config["models"][name]["engine"] for name in asked - known}
    unseen = tuple(ModelFacts(name, engine) for name, engine in sorted(engines.items()))
    return dataclasses.replace(
        manifest,
        parts=combined.parts,
        models=tuple(sorted((*manifest.models, *unseen), key=lambda facts: facts.name)),
        finished=now.isoformat(),
        exit_reason="finished" if combined.is_balanced else UNBALANCED,
    )


def _combine_files(path: Path) -> Combined:
    """Files by themselves: `a.jsonl` with `a.results.jsonl`, and `a.requests.jsonl` likewise."""
    requests = [
        file
        for file in sorted(path.glob("*.jsonl"))
        if not file.name.endswith(".results.jsonl") and file.name != COMBINED
    ]
    if not requests:
        raise RunError(
            f"there is nothing to combine in {path}: neither a {MANIFEST} nor files of requests"
        )
    parts, lines = [], []
    for file in requests:
        results = results_path(file)
        found = balance(read_custom_ids(file), read_results([results] if results.exists() else []))
        base = PartFacts(file.name, 1, len(found.asked))
        odd = found.odd or NO_STRAYS
        parts.append(settle_part(base, found.of(found.asked), ended=True, odd=odd))
        lines += [prediction_to_line(p) for p in found.of(found.asked)]
    with replacing(path / COMBINED) as handle:
        handle.writelines(lines)
    return Combined(tuple(parts), (path / COMBINED,))
