"""`llama-orch dashboard` as its users meet it: into a pipe, and in a real terminal."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "pytest_llmeval.commands.llama_orch"]
ENVIRON = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"}


def first_lines(home: Path, count: int, *options: str) -> list[str]:
    """The first lines that the command prints into a pipe; it is ended then."""
    command = [*COMMAND, "--home", str(home), "dashboard", *options]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8", env=ENVIRON
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip() for _ in range(count)]
        process.kill()
    return lines


def test_into_a_pipe_go_tables_and_the_reason(tmp_path: Path) -> None:
    lines = first_lines(tmp_path / "home", 4)
    assert "is no terminal" in lines[0]
    assert lines[1] == lines[3]
    assert lines[1].startswith("No instances yet in")


def test_as_json_there_is_an_object_a_line(tmp_path: Path) -> None:
    config = tmp_path / "home" / "instances" / "tiny" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"model": {"path": "m.gguf"}}', encoding="utf-8", newline="\n")
    seen = [json.loads(line) for line in first_lines(tmp_path / "home", 2, "--json")]
    assert seen[0]["at"] < seen[1]["at"]
    assert [view["name"] for view in seen[0]["instances"]] == ["tiny"]


class Terminal:
    """A dashboard in a terminal of tmux."""

    def __init__(self, server: str, home: Path, size: tuple[int, int]) -> None:
        self._tmux = ["tmux", "-L", server, "-f", os.devnull, "-u"]
        width, height = map(str, size)
        run = shlex.join([*COMMAND, "--home", str(home), "dashboard"])
        self.do("new-session", "-d", "-x", width, "-y", height, run)

    def do(self, *words: str) -> str:
        command = [*self._tmux, *words]
        environ = {**ENVIRON, "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            command, env=environ, capture_output=True, encoding="utf-8", check=True
        ).stdout

    def screen(self) -> str:
        return self.do("capture-pane", "-p")

    def until(self, words: str, seconds: float = 120) -> str:
        """The screen once words stand on it."""
        screen = ""
        for _ in range(int(seconds / 0.1)):
            with contextlib.suppress(subprocess.CalledProcessError):
                screen = self.screen()
            if words in screen:
                return screen
            time.sleep(0.1)
        pytest.fail(f"{words!r} never came; the screen is:\n{screen}")

    def gone(self) -> bool:
        """Whether the command has ended; tmux has nothing to hold then."""
        for _ in range(600):
            try:
                self.do("has-session")
            except subprocess.CalledProcessError:
                return True
            time.sleep(0.1)
        return False


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with one instance of the small model that comes with us; its daemon ends with it."""
    home = tmp_path / "home"
    config = home / "instances" / "tiny" / "config.json"
    config.parent.mkdir(parents=True)
    wanted = {
        "model": {"path": str(REPOSITORY / "models" / "tiny-s.gguf"), "context_size": 256},
        "server": {"engine": "embedded"},
    }
    config.write_text(json.dumps(wanted), encoding="utf-8", newline="\n")
    yield home
    stop = [*COMMAND, "--home", str(home), "daemon", "stop"]
    subprocess.run(stop, env=ENVIRON, capture_output=True, check=False)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux, a terminal for programs")
def test_in_a_real_terminal_an_instance_is_brought_up_looked_at_and_brought_down(
    home: Path, tmp_path: Path
) -> None:
    terminal = Terminal(f"llmeval-{os.getpid()}-{tmp_path.name[-8:]}", home, (80, 24))
    try:
        terminal.until("u Up")
        screen = terminal.until("- down")
        assert "Name" in screen
        assert "tokens/s" in screen
        assert all(len(line) <= 80 for line in screen.splitlines())
        terminal.do("send-keys", "u")
        terminal.until("tiny is healthy at http://127.0.0.1:")
        terminal.until("+ healthy")
        terminal.do("send-keys", "l")
        terminal.until("listening on")
        terminal.do("send-keys", "l")
        terminal.until("+ healthy")
        terminal.do("send-keys", "d")
        terminal.until("tiny is down")
        terminal.do("send-keys", "q")
        assert terminal.gone()
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            terminal.do("kill-server")
