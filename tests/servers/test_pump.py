"""The pump: a server's output in files that rotate while it writes, whatever the disk does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_llmeval.servers.logs import follow, read_lines, read_tail
from pytest_llmeval.servers.process import GuardedProcess, ProcessStartError
from pytest_llmeval.servers.pump import (
    FLUSH_SECONDS,
    LONGEST_LINE,
    PIPE_BYTES,
    Backlog,
    LogFile,
    Pump,
    Taken,
    fitting,
    rotate,
)
from pytest_llmeval.servers.spec import Output

BecomesTrue = Callable[..., bool]
Running = Callable[[int], bool]
Start = Callable[..., GuardedProcess]


def numbered_lines(count: int) -> str:
    return f"for i in range({count}): print(f'line {{i:06d}}')\n"


def all_of(path: Path) -> list[str]:
    """Every line of a log and the files before it, the oldest first."""
    older = sorted(path.parent.glob(f"{path.name}.*"), key=lambda each: -int(each.suffix[1:]))
    return b"".join(each.read_bytes() for each in (*older, path)).decode("utf-8").splitlines()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a guarded interpreter that runs some code, its output pumped."""
    processes: list[GuardedProcess] = []

    def start(code: str, **output: object) -> GuardedProcess:
        asked = Output(**{"out": tmp_path / "out.log", **output})  # type: ignore[arg-type]
        command = [sys.executable, "-c", code]
        log = asked.err or asked.out
        processes.append(GuardedProcess.start(command, log, environ=os.environ, output=asked))
        return processes[-1]

    yield start
    for process in processes:
        process.stop(0)


# Where lines are cut ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "size", "open_line", "fits"),
    [
        pytest.param(b"one\ntwo\n", 0, False, 8, id="all of it has room"),
        pytest.param(b"one\ntwo\n", 5, False, 4, id="whole lines only"),
        pytest.param(b"one\ntwo\n", 9, False, 0, id="no line has room"),
        pytest.param(b"rest\ntwo\n", 9, True, 5, id="a line that has begun ends where it began"),
        pytest.param(b"...", 12, True, 3, id="and goes on there while it has no end"),
        pytest.param(b"...", 10 + LONGEST_LINE, True, 0, id="but not for ever"),
        pytest.param(b"longer than a file", 0, False, 18, id="a long line may have a file"),
    ],
)
def test_no_line_is_cut_in_two(data: bytes, size: int, open_line: bool, fits: int) -> None:
    assert fitting(data, size, 10, open_line=open_line) == fits


def test_without_a_limit_everything_fits() -> None:
    assert fitting(b"x" * 100, 10**9, None, open_line=False) == 100


def test_names_move_up_and_the_last_is_let_go(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for text in ("first", "second", "third", "fourth"):
        log.write_text(text, encoding="utf-8", newline="\n")
        rotate(str(log), 2)
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {
        "log.1": "fourth",
        "log.2": "third",
    }


def test_names_move_up_to_the_first_that_is_free(tmp_path: Path) -> None:
    """A rotation that was broken off left a gap: trying again must not let go of anything."""
    for name, text in {"log": "new", "log.2": "old", "log.3": "older"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="\n")
    rotate(str(tmp_path / "log"), 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.1", "log.2", "log.3"]
    assert (tmp_path / "log.3").read_text("utf-8") == "older"


# In one piece -------------------------------------------------------------------------------------


def test_lines_of_a_fast_writer_are_whole_and_all_there(start: Start, tmp_path: Path) -> None:
    assert start(numbered_lines(60_000), max_bytes=50_000, keep=99).wait(60)
    out = tmp_path / "out.log"
    assert all_of(out) == [f"line {number:06d}" for number in range(60_000)]
    files = [*tmp_path.glob("out.log*")]
    assert len(files) > 10
    assert max(file.stat().st_size for file in files) <= 50_000
    for file in files:
        assert file.read_bytes().endswith(b"\n")


def test_output_and_errors_go_to_files_of_their_own(start: Start, tmp_path: Path) -> None:
    code = "import sys; print('said'); print('complained', file=sys.stderr)"
    assert start(code, err=tmp_path / "err.log").wait(60)
    assert all_of(tmp_path / "out.log") == ["said"]
    assert all_of(tmp_path / "err.log") == ["complained"]


def test_without_a_file_for_errors_one_takes_both(start: Start, tmp_path: Path) -> None:
    code = "import sys; print('complained', file=sys.stderr); print('said')"
    assert start(code).wait(60)
    assert all_of(tmp_path / "out.log") == ["complained", "said"]


def test_only_so_many_files_are_kept(start: Start, tmp_path: Path) -> None:
    assert start(numbered_lines(10_000), max_bytes=5_000, keep=2).wait(60)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["out.log", "out.log.1", "out.log.2"]
    assert all_of(tmp_path / "out.log")[-1] == "line 009999"


def test_where_nothing_is_kept_the_file_begins_anew(start: Start, tmp_path: Path) -> None:
    assert start(numbered_lines(10_000), max_bytes=5_000).wait(60)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size <= 5_000
    assert all_of(file)[-1] == "line 009999"


def test_what_is_in_the_file_already_stays_and_counts(start: Start, tmp_path: Path) -> None:
    (tmp_path / "out.log").write_bytes(b"x" * 99 + b"\n")
    assert start("print('new')", max_bytes=100, keep=1).wait(60)
    assert (tmp_path / "out.log").read_bytes() == b"new\n"
    assert (tmp_path / "out.log.1").stat().st_size == 100


def test_its_last_words_are_in_the_log_when_its_end_is_known(start: Start, tmp_path: Path) -> None:
    code = "import os, sys; sys.stderr.write('x' * 200_000 + '\\nthe reason'); os.abort()"
    process = start(code, err=tmp_path / "err.log")
    assert process.wait(60)
    assert read_tail(tmp_path / "err.log", 1) == ("the reason",)


class SlowPieces:
    """Takes its time with each piece, as redaction does on a busy machine."""

    def feed(self, piece: str) -> str:
        time.sleep(0.2 * len(piece) / PIPE_BYTES)
        return piece

    def flush(self) -> str:
        return ""


def test_the_end_of_a_log_is_waited_for_as_long_as_it_is_being_written(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    pump = Pump(reading, LogFile(str(tmp_path / "log")), SlowPieces())
    for _ in range(9):  # longer together than nothing may be written
        os.write(writing, b"x" * PIPE_BYTES)
    os.close(writing)
    pump.finish()
    os.close(reading)
    assert (tmp_path / "log").stat().st_size == 9 * PIPE_BYTES


class StuckPieces(SlowPieces):
    """As a disk that takes nothing."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def feed(self, piece: str) -> str:
        self.goes_on.wait()
        return piece


def test_a_disk_that_takes_nothing_is_not_waited_for(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    stuck = StuckPieces()
    pump = Pump(reading, LogFile(str(tmp_path / "log")), stuck)
    os.write(writing, b"x")
    os.close(writing)
    mended = threading.Timer(3 * FLUSH_SECONDS, stuck.goes_on.set)
    mended.start()
    pump.finish()
    assert not stuck.goes_on.is_set(), "it was given up before"
    mended.cancel()
    stuck.goes_on.set()
    os.close(reading)


def test_a_log_that_cannot_be_opened_is_an_error(start: Start, tmp_path: Path) -> None:
    with pytest.raises(ProcessStartError, match=r"none.out\.log"):
        start("", out=tmp_path / "none" / "out.log")


# Whoever holds the pipe ---------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there a job holds every descendant")
def test_what_got_away_from_a_wrapper_and_holds_the_pipe_hangs_nobody(
    start: Start, tmp_path: Path, running: Running
) -> None:
    away = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print(child.pid)"
    )
    process = start(away)
    assert process.wait(30)
    (child,) = map(int, all_of(tmp_path / "out.log"))
    assert process.exit_code == 0
    assert running(child)
    os.kill(child, 9)


def test_a_killed_guard_leaves_no_server(
    start: Start, running: Running, becomes_true: BecomesTrue
) -> None:
    import psutil

    process = start("import time\nwhile True: print('here', flush=True); time.sleep(0.05)")
    psutil.Process(process.guard_pid).kill()
    assert becomes_true(lambda: not running(process.pid), 2)
    assert process.wait(30)


# Disks --------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk, on Linux")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("this root may not mount either")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


WRITES_UNTIL_TOLD = """
import pathlib, sys, time
for number in range(10**9):
    print(f'line {number:06d}', flush=number % 1000 == 0)
    if number == 50_000:
        pathlib.Path(sys.argv[1]).touch()
    if number > 50_000:
        time.sleep(0.001)
"""


def test_a_full_disk_stops_no_server_and_the_loss_is_told(
    small_disk: Path, tmp_path: Path, becomes_true: BecomesTrue
) -> None:
    log, progress = small_disk / "out.log", tmp_path / "progress"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 20_000)
    process = GuardedProcess.start(
        [sys.executable, "-c", WRITES_UNTIL_TOLD, str(progress)],
        log,
        environ=os.environ,
        output=Output(log),
    )
    try:
        assert becomes_true(progress.exists)  # it has written ten times what the disk holds
        assert process.alive()
        ballast.unlink()
        assert becomes_true(lambda: b"bytes lost" in log.read_bytes())
    finally:
        process.stop(0)
    before, _, after = log.read_text(encoding="utf-8").partition("[llmeval: ")
    count, _, rest = after.partition(" bytes lost: no space left]\n")
    rest = rest.partition("[llmeval: ")[0].removesuffix("\n")
    wrote = "".join(f"line {number:06d}\n" for number in range(100_000))
    if not wrote.startswith(before):  # the disk was full in mid-line, which was ended for the note
        before = before.removesuffix("\n")
    assert int(count) > 0
    assert wrote.startswith(before)
    assert wrote.startswith(rest, len(before) + int(count))


def test_a_silent_server_has_its_loss_told_too(small_disk: Path, becomes_true: BecomesTrue) -> None:
    log, ballast = small_disk / "out.log", [small_disk / str(number) for number in range(15)]
    for path in ballast:
        path.write_bytes(b"x" * 4096)
    once = "import time; print('x' * 100_000, flush=True); time.sleep(600)"
    process = GuardedProcess.start(
        [sys.executable, "-c", once], log, environ=os.environ, output=Output(log)
    )
    try:
        assert becomes_true(lambda: log.stat().st_size > 0)
        for path in ballast:  # little by little: what is not lost yet may fill the disk again
            path.unlink()
            told = becomes_true(lambda: log.read_bytes().endswith(b"lost: no space left]\n"), 3)
            if told:
                break
        assert told
        assert process.alive()
    finally:
        process.stop(0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_limit_on_files_is_a_full_disk_too(tmp_path: Path) -> None:
    """For those who may not mount one: the limit is lifted while the file is written."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pytest_llmeval.servers.pump import LogFile
log = LogFile(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
log.write(b"one\\ntwo\\nthree\\n")
log.write(b"four\\n")
assert log.losing
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.write(b"five\\n")
assert not log.losing
"""
    path = tmp_path / "log"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.read_bytes() == b"one\ntwo\nth\n[llmeval: 9 bytes lost: no space left]\nfive\n"


def test_a_file_that_cannot_be_renamed_grows_on_and_loses_nothing(tmp_path: Path) -> None:
    """As on Windows, where others have it open; here its next name is a folder that is in use."""
    (tmp_path / "log.1" / "in use").mkdir(parents=True)
    log = LogFile(str(tmp_path / "log"), max_bytes=10, keep=1)
    for number in range(5):
        log.write(f"line {number}\n".encode())
    assert read_lines(tmp_path / "log", 9) == tuple(f"line {number}" for number in range(5))


def test_what_no_disk_took_in_time_is_dropped_and_counted() -> None:
    backlog = Backlog(limit=10)
    backlog.put(b"12345678")
    backlog.put(b"too much")
    backlog.put(b"9")  # it had room, but would stand before what was dropped
    assert backlog.take(None) == Taken([b"12345678"], 9)
    backlog.put(b"again")
    backlog.end()
    backlog.put(b"from one that got away")
    assert backlog.take(None) == Taken([b"again"], 0)
    assert backlog.take(None) is None


# Readers ------------------------------------------------------------------------------------------


def test_the_tail_goes_back_beyond_a_rotation(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_bytes(b"=== llmeval: tiny, start 1 ===\none\ntwo\n")
    (tmp_path / "log").write_bytes(b"three\n")
    assert read_tail(tmp_path / "log", 8) == ("one", "two", "three")
    (tmp_path / "log").write_bytes(b"")
    assert read_tail(tmp_path / "log", 1) == ("two",)


def test_lines_are_read_from_as_many_files_as_it_takes(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), max_bytes=1000, keep=50)
    for number in range(3000):
        log.write(f"line {number:06d}\n".encode())
    everything = tuple(f"line {number:06d}" for number in range(3000))
    path = tmp_path / "log"
    assert read_lines(path, 10) == everything[-10:]
    assert read_lines(path, 2500) == everything[-2500:]
    assert read_lines(path, 10**6) == everything
    assert read_lines(path, 0) == ()
    log.write(b"open")
    assert read_lines(path, 2) == ("line 002999", "open")
    assert read_lines(tmp_path / "none", 10) == ()


def test_who_follows_a_log_gets_every_line_once_through_all_rotations(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path), max_bytes=2000, keep=20)
    for number in range(100):
        log.write(f"line {number:06d}\n".encode())
    over = threading.Event()

    def write() -> None:
        for number in range(100, 20_000):
            log.write(f"line {number:06d}\n".encode())
            if number % 500 == 0:
                over.wait(0.001)
        over.set()

    writer = threading.Thread(target=write)
    lines = follow(path, 10, ended=over.is_set, sleep=lambda _seconds: None)
    first = next(lines)
    writer.start()
    got = [first, *lines]
    writer.join()
    assert got == [f"line {number:06d}" for number in range(90, 20_000)]


def test_who_follows_is_told_from_the_beginning_where_a_log_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    asked = iter([b"one\ntwo\n", b"three\nfour\nfive\n"])
    done = False

    def write(_seconds: float) -> None:
        nonlocal done
        text = next(asked, None)
        if text is None:
            done = True
        else:
            path.write_bytes(text)

    assert [*follow(path, ended=lambda: done, sleep=write)] == [
        "one",
        "two",
        "three",
        "four",
        "five",
    ]


def test_who_follows_gets_lines_without_colours_but_whole(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\x1b[31m" + b"x" * 1000 + b"\x1b[0m\r\n")
    assert read_lines(tmp_path / "log", 5) == ("x" * 1000,)
