"""The file of kept answers: shared by processes, held to its size, and never trusted blindly."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from pytest_llmeval.running.cache import USED_AGAIN, AnswerStore
from pytest_llmeval.running.cache_file import FILE_NAME, shrink, stock_of
from pytest_llmeval.sqlite import connected


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


@contextlib.contextmanager
def opened(
    folder: Path, size: int = 2**24, *, writes: bool = True, now: float = 1e9
) -> Iterator[tuple[AnswerStore, list[str]]]:
    told: list[str] = []
    store = AnswerStore(folder, size, writes=writes, tell=told.append, clock=lambda: now)
    try:
        yield store, told
    finally:
        store.close()


def kept(folder: Path, *numbers: int) -> list[bytes | None]:
    with opened(folder, writes=False) as (store, told):
        found = [store.get(key(number)) for number in numbers]
    assert told == []
    return found


def test_what_is_kept_is_found_at_once_and_by_the_next_who_opens_the_file(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.put(key(1), b"one")
        assert store.get(key(1)) == b"one"
        assert store.get(key(2)) is None
    assert kept(tmp_path, 1, 2) == [b"one", None]


def test_a_later_answer_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    for answer in (b"old", b"new"):
        with opened(tmp_path) as (store, _):
            store.put(key(1), answer)
    assert kept(tmp_path, 1) == [b"new"]


def test_who_only_reads_makes_no_file_and_keeps_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "a", writes=False) as (store, told):
        store.put(key(1), b"one")
        assert store.get(key(1)) is None
    assert told == []
    assert not (tmp_path / "a").exists()


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from pytest_llmeval.running.cache import AnswerStore\n"
        "first = int(sys.argv[2])\n"
        "store = AnswerStore(Path(sys.argv[1]), 2**24, writes=True, tell=print)\n"
        "for number in range(first, first + 300):\n"
        "    store.put(number.to_bytes(32, 'big'), str(number).encode())\n"
        "store.close()\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(first)])
        for first in (0, 300, 600)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert kept(tmp_path, *range(900)) == [str(number).encode() for number in range(900)]


def test_a_kill_in_the_middle_of_writing_leaves_whole_answers_only(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from pytest_llmeval.running.cache import AnswerStore\n"
        "store = AnswerStore(Path(sys.argv[1]), 2**24, writes=True, tell=print)\n"
        "number = 0\n"
        "while True:\n"
        "    store.put(number.to_bytes(32, 'big'), b'x' * 500)\n"
        "    number += 1\n"
        "    if number == 3000: print('on the way', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "on the way\n"
    process.kill()
    process.wait()
    process.stdout.close()
    with opened(tmp_path) as (store, told):
        found = [store.get(key(number)) for number in range(3000)]
        store.put(key(0), b"again")
    assert told == []
    assert set(found) <= {None, b"x" * 500}
    assert kept(tmp_path, 0) == [b"again"]


def test_what_was_not_used_for_longest_goes_first_when_there_is_too_much(tmp_path: Path) -> None:
    size = 2**20
    for day, first in enumerate((0, 300, 600)):
        with opened(tmp_path, size, now=1e9 + 86400 * day) as (store, _):
            for number in range(first, first + 300):
                store.put(key(number), os.urandom(1000))
            if day == 1:
                assert store.get(key(5)) is not None, "used again, so that it is no old one"
    with contextlib.closing(connected(tmp_path / FILE_NAME, "rw", 10)) as connection:
        assert stock_of(connection).size <= size
    found = kept(tmp_path, *range(900))
    assert all(found[600:]), "those of the last day"
    assert found[5] is not None
    assert not any(found[:5])


def test_room_that_is_let_go_of_is_given_back_to_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        for number in range(200):
            store.put(key(number), os.urandom(5000))
    file = tmp_path / FILE_NAME
    before = file.stat().st_size
    with contextlib.closing(connected(file, "rw", 10)) as connection:
        assert shrink(connection, 2**17) > 100
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert file.stat().st_size < before / 4


def test_a_use_is_written_down_once_an_hour(tmp_path: Path) -> None:
    for now, expected in ((1e9, 1e9), (1e9 + USED_AGAIN - 1, 1e9), (1e9 + 7200, 1e9 + 7200)):
        with opened(tmp_path, now=now) as (store, _):
            if now == 1e9:
                store.put(key(1), b"one")
            store.get(key(1))
        with contextlib.closing(connected(tmp_path / FILE_NAME, "rw", 10)) as connection:
            assert stock_of(connection).newest == expected


def test_an_answer_that_is_not_what_was_written_is_none(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.put(key(1), b"the answer is 42")
        store.put(key(2), b"two")
    with contextlib.closing(connected(tmp_path / FILE_NAME, "rw", 10)) as connection:
        connection.execute(
            "UPDATE answers SET answer = CAST(replace(answer, '42', '43') AS BLOB) WHERE key = ?",
            (key(1),),
        )
        connection.execute("UPDATE answers SET answer = x'00' WHERE key = ?", (key(2),))
    assert kept(tmp_path, 1, 2) == [None, None]


def test_a_damaged_file_is_told_once_set_aside_and_begun_anew_by_the_next(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_bytes(b"no database at all" * 1000)
    with opened(tmp_path) as (store, told):
        store.put(key(1), b"one")
        assert store.get(key(1)) is None
    (words,) = told
    assert words.startswith(f"the cache of answers is not used: {file}: file is not a database")
    assert f"it is damaged, and kept as {FILE_NAME}.damaged; the next run begins a new" in words
    with opened(tmp_path) as (store, told):
        store.put(key(1), b"one")
    assert told == []
    assert kept(tmp_path, 1) == [b"one"]


def test_a_page_that_breaks_while_it_is_used_costs_no_run_anything(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        for number in range(500):
            store.put(key(number), os.urandom(500))
    file = tmp_path / FILE_NAME
    data = bytearray(file.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 64] = b"\xff" * 64
    file.write_bytes(data)
    with opened(tmp_path) as (store, told):
        assert [store.get(key(number)) for number in range(500)].count(None) == 500
        store.put(key(1), b"one")
    assert len(told) == 1
    assert "malformed" in told[0]


@pytest.mark.parametrize("change", ["answer = 'one'", "answer = 1", "used = 'long ago'"])
def test_a_damaged_row_that_holds_something_else_is_no_answer(tmp_path: Path, change: str) -> None:
    with opened(tmp_path) as (store, _):
        store.put(key(1), b"one")
    with contextlib.closing(connected(tmp_path / FILE_NAME, "rw", 10)) as connection:
        connection.execute(f"UPDATE answers SET {change}")
    assert kept(tmp_path, 1) == [None]


def test_a_file_whose_names_are_no_text_any_more_is_set_aside_as_any_damaged_one(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as (store, _):
        store.put(key(1), b"one")
    file = tmp_path / FILE_NAME
    file.write_bytes(file.read_bytes().replace(b"ON answers (used)", b"ON answers (\xaased)"))
    with opened(tmp_path) as (store, told):
        store.put(key(1), b"one")
        assert store.get(key(1)) is None
    assert f"it is damaged, and kept as {FILE_NAME}.damaged" in told[0]
    with opened(tmp_path) as (_, told):
        pass
    assert told == []


def test_an_index_that_leads_nowhere_is_damage_too_and_does_not_stay(tmp_path: Path) -> None:
    one = os.urandom(32)
    with opened(tmp_path) as (store, _):
        store.put(one, b"one")
    file = tmp_path / FILE_NAME
    found, other = (
        b"\x09" + one,
        b"\x08" + one,
    )  # in records, "row 1" and "row 0", which is not there
    assert file.read_bytes().count(found) == 1
    file.write_bytes(file.read_bytes().replace(found, other))
    with opened(tmp_path) as (store, told):
        assert store.get(one) is None
    assert "malformed (it is damaged, and kept as" in told[0]


def test_room_is_given_back_although_a_kill_has_left_the_file_empty(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    with opened(tmp_path, size=2**20) as (store, _):
        for number in range(300):
            store.put(key(number), os.urandom(10_000))
    assert (tmp_path / FILE_NAME).stat().st_size <= 2**20


def test_who_reads_does_not_wait_until_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.put(key(1), b"one")
    file = tmp_path / FILE_NAME
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * 4 * 4096)
    with opened(tmp_path) as (store, told):
        lock = FileLock(f"{file}.lock")
        with lock:  # so long it cannot be set aside
            assert store.get(key(1)) is None
            assert told == []
    assert "it is damaged, and kept as" in told[0]


def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", encoding="utf-8")
    with opened(blocked / "answers") as (store, told):
        store.put(key(1), b"one")
        assert store.get(key(1)) is None
    assert len(told) == 1
    assert told[0].startswith("the cache of answers is not used: ")
    assert told[0].endswith(
        "(llmeval cache clear begins a new one; the variable LLMEVAL_CACHE names another folder). "
        "The run goes on and asks for everything"
    )


def test_who_waits_in_vain_for_another_process_is_not_told_to_clear_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_llmeval.running.cache.WAIT_SECONDS", 0.1)
    with opened(tmp_path) as (store, _):
        store.put(key(1), b"one")
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with opened(tmp_path) as (store, told):
            store.put(key(2), b"two")
        other.execute("ROLLBACK")
    assert "locked (another process holds it for long; the next run" in told[0]
    assert "clear" not in told[0]
    assert kept(tmp_path, 1) == [b"one"]


def test_what_lies_on_a_medium_that_nobody_can_write_is_read(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a disk, on Linux")
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], check=False).returncode != 0:
        pytest.skip("this root may not mount either")
    try:
        with opened(disk) as (store, _):
            store.put(key(1), b"one")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with opened(disk, writes=False) as (store, told):
            assert store.get(key(1)) == b"one"
            assert store.get(key(2)) is None
        assert told == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_somebody_elses_lock_makes_a_reader_ask_and_not_wait_for_long(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.put(key(1), b"one")
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE").fetchall()
        with opened(tmp_path, writes=False) as (store, told):
            other.execute("BEGIN EXCLUSIVE")
            assert store.get(key(1)) is None
            other.execute("ROLLBACK")
            assert store.get(key(1)) == b"one"
        assert told == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights, the user's own")
def test_only_the_user_can_read_what_models_answered(tmp_path: Path) -> None:
    with opened(tmp_path / "deep" / "er") as (store, _):
        store.put(key(1), b"one")
    assert (tmp_path / "deep" / "er" / FILE_NAME).stat().st_mode & 0o077 == 0
