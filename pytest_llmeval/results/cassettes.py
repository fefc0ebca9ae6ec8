"""Recorded answers: those of a run, or of a cassette, the one file that a repository can keep.

A cassette is JSON Lines: a header with what served the answers, then a line for each trial, that of
the journal with the sha256 of what was asked. So a recorded answer is only ever given to the very
question it was an answer to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_llmeval.atomic import plain, replacing
from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Prediction, Predictions
from pytest_llmeval.results.folder import MANIFEST, find_run, list_runs
from pytest_llmeval.results.journal import read_requests, read_run
from pytest_llmeval.results.lines import prediction_from_line, prediction_to_line
from pytest_llmeval.results.manifest import Manifest, ModelFacts, read_manifest
from pytest_llmeval.results.ownership import is_being_written

FORMAT = 1
"""The version of a cassette's shape; a reader refuses a newer one."""

_HEADER = "llmeval_cassette"


@dataclass(frozen=True, slots=True)
class Recording:
    """What a run was told, to be told again.

    `run` is the id of the run that asked, `place` where its answers were read. `questions` has the
    hash of what each trial of the first wave was asked (`question_hash`), by trial id; the
    predictions of judges carry theirs themselves. `rotation` is that of the run's manifest.
    """

    run: str
    place: Path
    models: tuple[ModelFacts, ...]
    rotation: tuple[tuple[str, ...], ...]
    predictions: Predictions
    questions: Mapping[str, str]


def question_hash(body: Mapping[str, Any]) -> str:
    """SHA-256 over a request's body, whatever order its keys stand in on the outside.

    Keys further inside keep theirs: a model is shown tools and schemas as they are written.
    """
    ordered = {key: body[key] for key in sorted(body)}
    text = json.dumps(plain(ordered), separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def read_recording(path: Path) -> Recording:
    """Read the folder of a run, or a cassette. Raises `RunError`."""
    return _of_run(path) if path.is_dir() else _of_cassette(path)


def write_cassette(recording: Recording, path: Path) -> int:
    """Write a recording as one file, in the order of its trials' ids; how many there are. Its
    folder is made where there is none.
    """
    header = {
        _HEADER: FORMAT,
        "run": recording.run,
        "models": recording.models,
        "rotation": recording.rotation,
        "trials": len(recording.predictions),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as handle:
        handle.write(_line(plain(header)))
        for trial_id in sorted(recording.predictions):
            data = json.loads(prediction_to_line(recording.predictions[trial_id]))
            question = recording.questions.get(trial_id)
            handle.write(_line(data if question is None else {**data, "question": question}))
    return len(recording.predictions)


def _line(data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def questions_of(run: Path) -> dict[str, str]:
    """The hash of what each trial of a run was asked, by its id. Raises `RunError`."""
    return {trial_id: question_hash(body) for trial_id, body in read_requests(run).items()}


def _of_run(path: Path) -> Recording:
    manifest = read_manifest(path)
    _refuse_the_played(path, manifest)
    return Recording(
        run=manifest.replayed_from or manifest.rescored_from or manifest.id,
        place=path,
        models=manifest.models,
        rotation=manifest.rotation,
        predictions=_recorded(read_run(path)),
        questions=questions_of(path),
    )


def _refuse_the_played(path: Path, manifest: Manifest) -> None:
    if manifest.is_dry_run:
        raise RunError(
            f"{path}: a dry run has nothing to be played again: its answers are the fake engine's. "
            "Record a run that asks models"
        )


def _of_cassette(path: Path) -> Recording:
    predictions: dict[str, Prediction] = {}
    questions: dict[str, str] = {}
    lines = _lines(path)
    header = _header(path, next(lines, (1, b"")))
    for number, line in lines:
        try:
            prediction = prediction_from_line(line)
            question = json.loads(line).get("question")
        except ValueError as error:
            raise _broken(path, number, str(error)) from None
        if prediction.trial_id in predictions:
            raise _broken(path, number, f"the trial {prediction.trial_id} stands there twice")
        predictions[prediction.trial_id] = prediction
        if question is not None:
            questions[prediction.trial_id] = question
    if len(predictions) != header["trials"]:
        raise RunError(
            f"{path}: {len(predictions):,} trials are there and {header['trials']:,} were written: "
            f"it is not as it was. Write it again with llmeval cassette {header['run']} {path}"
        )
    return Recording(
        run=header["run"],
        place=path,
        models=header["models"],
        rotation=header["rotation"],
        predictions=_recorded(predictions),
        questions=questions,
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as handle:
            yield from enumerate(handle, 1)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from error


def _header(path: Path, first: tuple[int, bytes]) -> dict[str, Any]:
    from pydantic import TypeAdapter, ValidationError

    try:
        data = json.loads(first[1])
        version = data[_HEADER]
        if isinstance(version, int) and version > FORMAT:
            raise RunError(
                f"{path}: written by a newer version (format {version}, this one reads up to "
                f"{FORMAT}); upgrade pytest-llmeval-local to play it"
            )
        return {
            "run": str(data["run"]),
            "trials": int(data["trials"]),
            "models": TypeAdapter(tuple[ModelFacts, ...]).validate_python(data["models"]),
            "rotation": tuple(map(tuple, data["rotation"])),
        }
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        raise RunError(
            f"{path}: is no cassette. One is written by llmeval cassette RUN FILE"
        ) from None


def _broken(path: Path, number: int, why: str) -> RunError:
    return RunError(
        f"{path}:{number}: this line of the cassette is broken: {why}. "
        "Write the cassette again with llmeval cassette RUN FILE"
    )


def _recorded(predictions: Predictions) -> dict[str, Prediction]:
    """The same, saying of every answer that it was recorded."""
    return {
        trial_id: prediction
        if prediction.answer is None
        else replace(prediction, answer=replace(prediction.answer, origin="recording"))
        for trial_id, prediction in predictions.items()
    }


def find_asking_run(base: Path, name: str) -> Path:
    """As `find_run`, but that `last` is the newest run that has asked models itself, and does so no
    more.

    One that has played a recording may have played a part of it, or another question; one that was
    judged again lacks what only pytest can judge. Raises `RunError`.
    """
    runs = list_runs(base)
    if name != "last" or not runs:
        return find_run(base, name)
    for path in reversed(runs):
        manifest = read_manifest(path)
        is_derived = manifest.replayed_from is not None or manifest.rescored_from is not None
        if not is_derived and not manifest.is_dry_run and not is_being_written(path):
            return path
    raise RunError(
        f"none of the {len(runs):,} runs in {base} has asked models itself and is through with it: "
        "say which one by its id"
    )


def is_cassette(path: Path) -> bool:
    """Whether a file begins as a cassette does, whatever version has written it."""
    begin = b'{"%s":' % _HEADER.encode("ascii")
    try:
        with path.open("rb") as handle:
            return handle.read(len(begin)) == begin
    except OSError:
        return False


def is_recording(path: Path) -> bool:
    """Whether there is something at a place that could be one: a run's folder, or a file."""
    return path.is_file() or (path / MANIFEST).is_file()
