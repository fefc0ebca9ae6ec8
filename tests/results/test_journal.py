"""The journal: appended by one writer, read after any death."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from pytest_llmeval.errors import RunError
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import (
    Journal,
    drop_torn_line,
    read_journal,
    read_requests,
    read_run,
    write_requests,
)
from pytest_llmeval.results.lines import prediction_to_line
from pytest_llmeval.results.ownership import LOCK, OWNER, PATIENCE, Ownership, is_being_written

NOW = datetime(2026, 11, 23, 4, 12, 59, tzinfo=timezone.utc)

WRITER = """
import sys
from pathlib import Path
from pytest_llmeval.records import Answer, Prediction
from pytest_llmeval.results.folder import RunFolder
from pytest_llmeval.results.journal import Journal

journal = Journal(RunFolder.open(Path(sys.argv[1]), ["m/p"]))
for number in range(10**9):
    journal.append(Prediction(f"s::m/p::{number}", Answer("x" * (number % 3000), "stop"), None))
    print(number, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, NOW, ["m/p", "m/q"])


def test_each_prediction_is_in_the_file_of_its_condition_at_once(
    folder: RunFolder, samples: Any
) -> None:
    with closing(Journal(folder)) as journal:
        journal.append(samples.answered("s::m/p::1"))
        journal.append(samples.failed("s::m/q::1"))
        assert list(read_journal(folder.results("m/p"))) == ["s::m/p::1"]
        assert list(read_run(folder.path)) == ["s::m/p::1", "s::m/q::1"]
        journal.sync()


def test_parts_have_files_of_their_own_and_are_read_as_one(folder: RunFolder, samples: Any) -> None:
    with closing(Journal(folder, lambda trial_id: int(trial_id[-1]))) as journal:
        for number in (1, 2):
            journal.append(samples.answered(f"s::m/p::{number}"))
    assert list(read_journal(folder.results("m/p", 2))) == ["s::m/p::2"]
    assert list(read_run(folder.path)) == ["s::m/p::1", "s::m/p::2"]


def test_what_judges_say_has_a_file_of_its_own_and_is_read_with_the_rest(
    folder: RunFolder, samples: Any
) -> None:
    verdict = replace(samples.answered("s::m/p::1@judge"), asked="hash")
    with closing(Journal(folder)) as journal:
        journal.append(verdict)
        journal.append(samples.answered("s::m/p::1"))
    assert read_journal(folder.judge_results("m/p")) == {"s::m/p::1@judge": verdict}
    assert list(read_run(folder.path)) == ["s::m/p::1", "s::m/p::1@judge"]


def test_an_answer_to_another_question_takes_the_place_of_the_earlier_one(
    folder: RunFolder, samples: Any
) -> None:
    """A judge is asked anew when its rubric changes; two answers to one question are an error."""
    old, new = (replace(samples.answered("s::m/p::1@judge"), asked=asked) for asked in ("a", "b"))
    lost = replace(samples.failed("s::m/p::1@judge"), asked="b")
    path = folder.judge_results("m/p")
    for order, kept in (((old, new), new), ((old, lost), lost), ((old, new, lost), new)):
        path.write_bytes(b"".join(map(prediction_to_line, order)))
        assert read_journal(path) == {"s::m/p::1@judge": kept}
    path.write_bytes(2 * prediction_to_line(old))
    with pytest.raises(RunError, match="the trial s::m/p::1@judge has an answer already"):
        read_journal(path)


def test_an_answer_that_says_what_it_was_asked_is_no_judges(
    folder: RunFolder, samples: Any
) -> None:
    """Files that were asked by themselves, and copied back, say it."""
    answer = replace(samples.answered("s::m/p::1"), asked="hash")
    with closing(Journal(folder)) as journal:
        journal.append(answer)
    assert read_journal(folder.results("m/p")) == {"s::m/p::1": answer}
    with folder.results("m/p").open("ab") as file:
        file.write(prediction_to_line(samples.answered("s::m/p::1")))
    with pytest.raises(RunError, match="the trial s::m/p::1 has an answer already"):
        read_run(folder.path)


def test_a_run_of_many_parts_has_few_files_open_and_loses_no_line(
    folder: RunFolder, samples: Any
) -> None:
    with closing(Journal(folder, lambda trial_id: int(trial_id[-3:]))) as journal:
        for time in (1, 2):  # so that each file is closed for others, and opened again
            for number in range(1, 101):
                journal.append(samples.answered(f"s::m/p::{time}{number:03}"))
        parts = folder.results("m/p").parent
        opened = [file.path for file in psutil.Process().open_files()]
        assert 0 < sum(Path(path).parent == parts for path in opened) <= 64
    assert len(read_run(folder.path)) == 200
    assert len(read_journal(folder.results("m/p", 7))) == 2


def test_a_sync_is_of_what_was_written_since_the_last_one(
    folder: RunFolder, samples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    with closing(Journal(folder, lambda trial_id: int(trial_id[-1]))) as journal:
        monkeypatch.setattr("os.fsync", synced.append)
        for number in (1, 2, 3):
            journal.append(samples.answered(f"s::m/p::{number}"))
        journal.sync()
        assert len(synced) == 6, "three new files, and each time their folder"
        journal.append(samples.answered("s::m/p::1.2"))
        journal.append(samples.answered("s::m/p::2"))
        journal.sync()
        assert len(synced) == 7
    assert len(synced) == 7


def test_what_the_disk_has_not_confirmed_is_tried_again(
    folder: RunFolder, samples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    journal = Journal(folder)
    journal.append(samples.answered("s::m/p::1"))
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.sync()
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    journal.close()
    assert len(synced) == 2, "the file and its folder"


def test_a_second_writer_is_refused_and_let_in_after_the_first(folder: RunFolder) -> None:
    journal = Journal(folder)
    assert is_being_written(folder.path)
    with pytest.raises(RunError, match="is being written by another process") as refused:
        Journal(folder)
    words = str(refused.value)
    assert f"(pid {os.getpid()}, since " in words
    assert "pytest" in words
    assert "wait until it has ended, or start a run of its own without --llm-resume" in words
    journal.close()
    journal.close()
    assert not is_being_written(folder.path)
    Journal(folder).close()


def test_the_owner_of_a_run_tells_no_secret_of_its_command(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOY_TOKEN", "it's-deploy-time")
    monkeypatch.setattr("sys.argv", ["pytest", "-k", "it's-deploy-time or password=swordfish"])
    with closing(Journal(folder)):
        told = (folder.path / OWNER).read_text("utf-8")
    assert "pytest -k" in told
    assert "deploy-time" not in told
    assert "swordfish" not in told


def test_a_run_that_was_never_written_is_not_being_written(folder: RunFolder) -> None:
    assert not is_being_written(folder.path)
    assert not is_being_written(folder.path / "gone")


def test_a_killed_writer_leaves_its_lines_and_its_lock_behind_for_the_next(
    folder: RunFolder, samples: Any
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder.path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(500):
        told = int(writer.stdout.readline())
    assert is_being_written(folder.path)
    writer.kill()
    writer.wait()
    with closing(Journal(folder)) as journal:
        journal.append(samples.answered("s::m/p::after"))
    read = read_journal(folder.results("m/p"))
    assert all(f"s::m/p::{number}" in read for number in range(told + 1))
    assert "s::m/p::after" in read
    writer.stdout.close()


def test_a_journal_cut_at_any_byte_of_its_last_two_lines_loses_only_what_was_cut(
    folder: RunFolder, samples: Any
) -> None:
    path = folder.results("m/p")
    known = [samples.answered(f"s::m/p::{n}", "é\n\u2028\ud800") for n in range(4)]
    lines = [prediction_to_line(prediction) for prediction in known]
    whole, fresh = b"".join(lines), samples.answered("s::m/p::fresh")
    for cut in range(len(lines[0] + lines[1]), len(whole) + 1):
        path.write_bytes(whole[:cut])
        survived = {p.trial_id: p for p in known[: whole[:cut].count(b"\n")]}
        assert read_journal(path) == survived
        drop_torn_line(path)
        with path.open("ab") as handle:
            handle.write(prediction_to_line(fresh))
        assert read_journal(path) == survived | {fresh.trial_id: fresh}


def test_the_next_writer_cuts_a_torn_line_off_before_it_appends(
    folder: RunFolder, samples: Any
) -> None:
    first, second = samples.answered("s::m/p::1"), samples.answered("s::m/p::2")
    folder.results("m/p").write_bytes(prediction_to_line(first) + prediction_to_line(second)[:-9])
    with closing(Journal(folder)) as journal:
        journal.append(second)
    expected = prediction_to_line(first) + prediction_to_line(second)
    assert folder.results("m/p").read_bytes() == expected


def test_a_torn_line_longer_than_a_block_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"whole\n" + b"x" * 200_000)
    drop_torn_line(path)
    assert path.read_bytes() == b"whole\n"
    path.write_bytes(b"x" * 200_000)
    drop_torn_line(path)
    assert path.read_bytes() == b""


def test_a_broken_line_in_the_middle_names_file_line_and_the_way_out(
    folder: RunFolder, samples: Any
) -> None:
    path = folder.results("m/p")
    good = prediction_to_line(samples.answered("s::m/p::1"))
    path.write_bytes(good + b"{torn\n" + good)
    with pytest.raises(RunError, match=r"part-0001\.results\.jsonl:2: .*broken.*--llm-resume"):
        read_journal(path)


def test_an_answer_takes_the_place_of_a_failure_whichever_came_first(
    folder: RunFolder, samples: Any
) -> None:
    answered, failed = samples.answered("s::m/p::1"), samples.failed("s::m/p::1")
    later = samples.failed("s::m/p::1", "error", "another")
    path = folder.results("m/p")
    for order, kept in (
        ((failed, answered), answered),
        ((answered, failed), answered),
        ((failed, later), later),
    ):
        path.write_bytes(b"".join(map(prediction_to_line, order)))
        assert read_journal(path) == {"s::m/p::1": kept}


def test_two_answers_to_one_trial_are_an_error_that_names_it_even_across_parts(
    folder: RunFolder, samples: Any
) -> None:
    line = prediction_to_line(samples.answered("s::m/p::1"))
    folder.results("m/p").write_bytes(line + line)
    with pytest.raises(RunError, match=r"jsonl:2: the trial s::m/p::1 has an answer already"):
        read_journal(folder.results("m/p"))
    folder.results("m/p").write_bytes(line)
    folder.results("m/p", 2).write_bytes(line)
    with pytest.raises(RunError, match=r"part-0002.*:1: the trial s::m/p::1 has an answer"):
        read_run(folder.path)


def test_requests_are_written_whole_and_the_wanted_ones_are_found_again(
    folder: RunFolder,
) -> None:
    bodies = [(f"s::m/p::{n}", {"messages": [{"role": "user", "content": str(n)}]}) for n in "abc"]
    assert write_requests(folder.requests("m/p"), bodies) == 3
    wanted = {"s::m/p::b", "s::m/p::gone"}
    assert read_requests(folder.path, wanted) == {"s::m/p::b": bodies[1][1]}


def test_a_line_that_is_no_request_is_named(folder: RunFolder) -> None:
    folder.requests("m/p").write_bytes(b"{}\n")
    with pytest.raises(RunError, match=r"requests\.jsonl:1: this is no request: 'custom_id'"):
        read_requests(folder.path, {"x"})


# When the disk takes no more ----------------------------------------------------------------------


class NearlyFull(io.FileIO):
    """A file on a disk that has room for so many more bytes."""

    room = 0

    def write(self, data: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = super().write(memoryview(data)[: self.room])
        self.room -= taken
        return taken


def test_a_line_that_a_full_disk_takes_half_of_is_not_there_and_the_next_is_whole(
    folder: RunFolder, samples: Any
) -> None:
    path = folder.results("m/p")
    with closing(Journal(folder)) as journal:
        journal.append(samples.answered("s::m/p::1"))
        before = path.read_bytes()
        for room in range(0, len(before), 7):
            full = NearlyFull(path, "ab")
            full.room = room
            journal._files["m/p", 1] = full
            with pytest.raises(RunError, match="the journal cannot be written: No space left") as e:
                journal.append(samples.answered("s::m/p::2"))
            assert path.read_bytes() == before
        assert str(path) in str(e.value)
        assert f"go on with --llm-resume {folder.id}: nothing that was answered" in str(e.value)
        journal.append(samples.answered("s::m/p::2"))
    assert list(read_run(folder.path)) == ["s::m/p::1", "s::m/p::2"]


def test_a_tail_that_a_loss_of_power_has_left_empty_is_cut_off(
    folder: RunFolder, samples: Any
) -> None:
    path = folder.results("m/p")
    with closing(Journal(folder)) as journal:
        journal.append(samples.answered("s::m/p::1"))
    whole = path.read_bytes()
    for tail in (b"\0" * 5000, whole[:40] + b"\0" * 300, '{"é'.encode()[:-1]):
        path.write_bytes(whole + tail)
        assert list(read_run(folder.path)) == ["s::m/p::1"]
        drop_torn_line(path)
        assert path.read_bytes() == whole


def test_a_holder_that_was_killed_before_it_said_who_it_is_is_still_a_holder(
    folder: RunFolder,
) -> None:
    with closing(Journal(folder)):
        for left in ("", "[]", '{"pid": 1}'):
            (folder.path / OWNER).write_text(left, encoding="utf-8")
            with pytest.raises(RunError, match="it has not said which"):
                Journal(folder)


def test_who_is_told_of_the_holder_sees_no_secret_of_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["pytest", "--db-password=hunter2secret", "--llm-set", "x=sk-proj-abc123DEF456ghi"]
    monkeypatch.setattr(sys, "argv", given)
    holder = Ownership(tmp_path)
    with pytest.raises(RunError, match=r": pytest --db-password=\[redacted\] --llm-set ") as told:
        Ownership(tmp_path)
    written = (tmp_path / OWNER).read_text(encoding="utf-8")
    holder.give_up()
    assert "hunter2" not in written + str(told.value)
    assert "abc123DEF456ghi" not in written + str(told.value)


def test_who_only_looks_whether_a_run_is_being_written_keeps_no_writer_out(
    folder: RunFolder,
) -> None:
    looking = FileLock(folder.path / LOCK, thread_local=False)
    looking.acquire()
    timer = threading.Timer(0.1, looking.release)
    timer.start()
    Ownership(folder.path).give_up()
    timer.join()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no folders that only some write")
def test_who_may_not_write_a_run_can_look_at_it(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    Ownership(folder.path).give_up()
    monkeypatch.setattr(FileLock, "_acquire", refuse)  # root may write everywhere
    assert not is_being_written(folder.path)


def test_the_lock_of_a_killed_process_is_waited_for_until_what_it_was_starting_lets_go(
    folder: RunFolder,
) -> None:
    """A child has its parent's files open until it becomes another program."""
    for take in (
        lambda: not is_being_written(folder.path, PATIENCE),
        lambda: Ownership(folder.path),
    ):
        child = FileLock(folder.path / LOCK, thread_local=False)
        child.acquire()
        timer = threading.Timer(0.7, child.release)
        timer.start()
        assert take()
        timer.join()
