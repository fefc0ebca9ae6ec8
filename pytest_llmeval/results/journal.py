"""The journal: every prediction, appended before anybody scores it.

One file for each part of a condition, one line for each prediction, handed to the operating system
at once, so that `kill -9` costs at most the line being written. The disk confirms it a moment
later. A run has one writer (`ownership.py`); reading needs no lock.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from pytest_llmeval.atomic import replacing, sync_folder
from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Prediction, condition_of, is_of_judge
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.lines import (
    prediction_from_line,
    prediction_to_line,
    request_to_line,
)
from pytest_llmeval.results.ownership import Ownership

_OPEN = 64
"""So many files are open at once: a run may have thousands of parts, and a process has a limit."""

_Key = tuple[str, int]
"""A condition and one of its parts, which are counted from 1."""

_OF_JUDGES = 0
"""What stands for a part where judges speak of a condition's answers."""


class Journal:
    """The one writer of a run's journals.

    `part_of` says which part of its condition a trial belongs to. Raises `RunError` when another
    process writes this run. What a kill has left half-written is cut off. `trouble` is the first
    time that the disk did not confirm what was written: the system tells of it once, and what was
    lost then stays so.
    """

    def __init__(self, folder: RunFolder, part_of: Callable[[str], int] = lambda _: 1):
        self._folder = folder
        self._part_of = part_of
        self._files: dict[_Key, io.FileIO] = {}
        self._unsynced: set[_Key] = set()
        self._made: set[_Key] = set()
        self._syncing = threading.Lock()
        self._ownership = Ownership(folder.path)
        self.trouble: OSError | None = None
        for path in folder.path.glob("*/parts/*.results.jsonl"):
            drop_torn_line(path)

    def append(self, prediction: Prediction) -> None:
        """Write one line and hand it to the operating system.

        Raises `RunError` when that cannot be; the file then ends with the line before.
        """
        key = self._key_of(prediction)
        try:
            handle = self._files.get(key)
            if handle is None:
                handle = self._open(key)
            _write_all(handle, prediction_to_line(prediction))
        except OSError as error:
            self._cut_back(key)
            raise RunError(
                f"{self._path(key)}: the journal cannot be written: {error.strerror or error}. "
                f"See to that, then go on with --llm-resume {self._folder.id}: "
                "nothing that was answered before is lost"
            ) from error
        self._unsynced.add(key)  # after the line: a sync in another thread may take it at once

    def sync(self) -> None:
        """Have the disk confirm what was appended so far. Slow: call it from a thread."""
        with self._syncing:
            while self._unsynced:
                key = self._unsynced.pop()
                try:
                    with self._path(key).open("ab") as handle:
                        os.fsync(handle.fileno())
                    if key in self._made:
                        sync_folder(self._path(key).parent)
                        self._made.discard(key)
                except OSError as error:
                    self._unsynced.add(key)
                    self.trouble = self.trouble or error
                    raise

    def end(self) -> None:
        """Sync and close the files; the run is still ours. May be called twice."""
        try:
            self.sync()
        finally:
            with self._syncing:
                for handle in self._files.values():
                    handle.close()
                self._files = {}

    def close(self) -> None:
        """End, and let the next writer in. May be called twice."""
        if not self._ownership.is_held:
            return
        try:
            self.end()
        finally:
            self._ownership.give_up()

    def _key_of(self, prediction: Prediction) -> _Key:
        """Whose file takes it; judges have one of their own, for they are other models."""
        trial_id = prediction.trial_id
        part = _OF_JUDGES if is_of_judge(trial_id) else self._part_of(trial_id)
        return condition_of(trial_id), part

    def _path(self, key: _Key) -> Path:
        condition, part = key
        if part == _OF_JUDGES:
            return self._folder.judge_results(condition)
        return self._folder.results(condition, part)

    def _open(self, key: _Key) -> io.FileIO:
        if len(self._files) >= _OPEN:
            self._files.pop(next(iter(self._files))).close()
        path = self._path(key)
        drop_torn_line(path)
        if not path.exists():
            self._made.add(key)  # a file is only there for good when its folder is written, too
        # No buffer of Python's: it would keep half a line of a full disk, and write it later.
        handle = self._files[key] = path.open("ab", buffering=0)
        return handle

    def _cut_back(self, key: _Key) -> None:
        """Take half a line away; where that fails as well, it is done before the next one."""
        handle = self._files.pop(key, None)
        with contextlib.suppress(OSError):
            if handle is not None:
                handle.close()
            drop_torn_line(self._path(key))


def _write_all(handle: io.FileIO, line: bytes) -> None:
    """A disk that is nearly full takes part of a line, and only then says so."""
    rest = memoryview(line)
    while rest:
        rest = rest[handle.write(rest) :]


def drop_torn_line(path: Path) -> None:
    """Cut the file back to its last whole line, which a kill in mid-write has left torn."""
    if not path.exists():
        return
    with path.open("r+b") as handle:
        size = handle.seek(0, os.SEEK_END)
        whole = _end_of_last_line(handle, size)
        if whole < size:
            handle.truncate(whole)


def _end_of_last_line(handle: IO[bytes], size: int, block: int = 65536) -> int:
    end = size
    while end > 0:
        start = max(0, end - block)
        handle.seek(start)
        newline = handle.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def read_journal(path: Path) -> dict[str, Prediction]:
    """Read one journal: what is known of each trial.

    A torn last line is passed over. An answer takes the place of an earlier failure of the same
    trial, and of an answer to what is not asked any more. Raises `RunError` for any
    other broken line and for a trial that was answered twice, naming file and line.
    """
    return _merged([path])


def read_run(run: Path) -> dict[str, Prediction]:
    """Read all journals of a run as `read_journal` reads one, whatever parts it was cut into.

    What judges said is there too, under the ids of their own trials.
    """
    waves = ("part", "judge")
    return _merged(path for w in waves for path in sorted(run.glob(f"*/parts/{w}-*.results.jsonl")))


def _merged(paths: Iterable[Path]) -> dict[str, Prediction]:
    predictions: dict[str, Prediction] = {}
    for place, prediction in itertools.chain.from_iterable(map(_lines, paths)):
        trial_id = prediction.trial_id
        earlier = predictions.get(trial_id)
        if earlier is None or earlier.answer is None or _is_asked_anew(earlier, prediction):
            predictions[trial_id] = prediction
        elif prediction.answer is not None:
            raise RunError(
                f"{place}: the trial {trial_id} has an answer already, and only one can count. "
                "Take one of the two lines out"
            )
    return predictions


def _is_asked_anew(earlier: Prediction, later: Prediction) -> bool:
    """Judges are, when the answer or their rubric has changed."""
    return earlier.asked != later.asked and is_of_judge(later.trial_id)


def _lines(path: Path) -> Iterator[tuple[str, Prediction]]:
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield f"{path}:{number}", prediction_from_line(line)
            except ValueError as error:
                raise RunError(
                    f"{path}:{number}: this line of the journal is broken: {error}. "
                    "Take the line out, and its trial is asked again with --llm-resume"
                ) from None


def write_requests(path: Path, requests: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """Write what a part asks, one request a line, and say how many: trial id and body of each."""
    count = 0
    with replacing(path) as handle:
        for trial_id, body in requests:
            handle.write(request_to_line(trial_id, body))
            count += 1
    return count


def read_requests(run: Path, wanted: Collection[str] | None = None) -> dict[str, Mapping[str, Any]]:
    """Read the bodies of a run's requests, by trial id: all of them, or those of some trials.

    One that is not there is left out. Raises `RunError` for a line that is no request.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(run.glob("*/parts/part-*.requests.jsonl")):
        with path.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if wanted is not None and len(found) == len(wanted):
                    return found
                try:
                    request = json.loads(line)
                    if wanted is None or request["custom_id"] in wanted:
                        found[request["custom_id"]] = request["body"]
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise RunError(f"{path}:{number}: this is no request: {error}") from None
    return found
