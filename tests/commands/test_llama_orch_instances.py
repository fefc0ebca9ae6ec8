"""`up`, `down`, `restart`, `reset`, `ps`, `health`, `describe`: with real daemons and servers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llama_orch.app import app
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.joined import ORPHANED
from pytest_llmeval.orchestrator.rows import InstanceRow
from pytest_llmeval.orchestrator.state import State
from tools.orch_homes import OrchHome
from tools.real_runs import becomes_true

# Without a daemon, in this process ----------------------------------------------------------------

Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def run(home: Home) -> Run:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["--home", str(home.root), *arguments])

    return run


@pytest.fixture
def declared(home: Home) -> Home:
    """Two instances that have never been up."""
    declare(home, "alpha")
    declare(home, "beta")
    return home


def declare(home: Home, name: str, text: str = "model: {path: m.gguf}\n") -> Path:
    path = home.instances / name / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


@pytest.mark.parametrize("command", ["up", "down", "restart", "reset", "ps", "health"])
def test_where_there_is_nothing_it_says_how_to_make_the_first_one(
    run: Run, home: Home, command: str
) -> None:
    arguments = [] if command == "ps" else ["--all"]
    result = run(command, *arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        f"No instances yet in {home.instances}. Declare one: llama-orch init"
    )
    assert json.loads(run(command, *arguments, "--json").stdout) == []


@pytest.mark.parametrize(
    "command", ["up", "down", "restart", "reset", "health", "logs", "describe"]
)
def test_a_name_that_does_not_exist_has_a_nearest_match(
    run: Run, declared: Home, command: str
) -> None:
    result = run(command, "alhpa")
    assert result.exit_code == 1
    assert "no instance 'alhpa'; did you mean 'alpha'? (there are: alpha, beta)" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["up", "describe"])
def test_a_secret_that_a_shell_has_put_in_is_not_shown(
    run: Run, declared: Home, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOY_TOKEN", "deploy-me-now")
    result = run(command, "deploy-me-now")
    assert result.exit_code == 1
    assert "no instance '[redacted]'" in result.stderr
    assert "deploy-me-now" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up"], "name an instance, or give --all"),
        (["down"], "name an instance, or give --all"),
        (["restart", "alpha", "--all"], "give names or --all, not both"),
        (["health", "alpha", "--all"], "give a name or --all, not both"),
        (["logs"], "Missing argument"),
        (["logs", "alpha", "--tail", "-1"], "greater than or equal to 0"),
        (["describe"], "Missing argument"),
        (["daemon", "autostart", "--remove"], "name what is to be taken out"),
        (["ps", "alpha"], "unexpected extra argument"),
    ],
)
def test_a_command_line_that_is_wrong_ends_with_2(
    run: Run, declared: Home, arguments: Sequence[str], words: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())


def test_ps_shows_all_that_are_declared(run: Run, declared: Home) -> None:
    lines = run("ps").stdout.splitlines()
    assert lines[0].split()[:3] == ["Name", "PID", "Port"]
    assert [line.split()[0] for line in lines[1:3]] == ["alpha", "beta"]
    assert lines[-1] == "2 instances: 2 down"
    views = json.loads(run("ps", "--json").stdout)
    assert [(view["name"], view["wanted"], view["pid"]) for view in views] == [
        ("alpha", "down", None),
        ("beta", "down", None),
    ]


def test_a_config_with_a_mistake_is_shown_and_brought_up_by_nobody(
    run: Run, declared: Home
) -> None:
    path = declare(declared, "wrong", "model: {path: m.gguf}\nserver: {prot: 1}\n")
    assert f"wrong: {path}:2: " in run("ps").stdout

    result = run("up", "wrong")

    assert result.exit_code == 1
    assert f"llama-orch: up wrong: {path}:2: " in result.stderr
    assert "unknown key 'prot'; did you mean 'port'?" in result.stderr
    with closing(State.open(declared.state)) as state:
        assert state.row("wrong") is None
        assert state.daemon() is None


def test_health_ends_with_1_when_one_that_is_wanted_up_is_not(run: Run, declared: Home) -> None:
    assert run("health").exit_code == 0, "what is wanted down may be down"
    with closing(State.open(declared.state)) as state:
        state.want("beta", "up")

    result = run("health", "--all")

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "alpha  down     it has not been brought up yet",
        f"beta   unknown  {ORPHANED}",
    ]
    assert run("health", "alpha").exit_code == 0
    assert run("health", "beta").exit_code == 1
    assert [each["ready"] for each in json.loads(run("health", "--json").stdout)] == [False, False]


def test_down_and_reset_need_no_daemon(run: Run, declared: Home) -> None:
    with closing(State.open(declared.state)) as state:
        state.put(InstanceRow("alpha", "up", "error", "it died 6 times"))
        assert "alpha: it died 6 times" in run("ps").stdout
        reset = run("reset", "alpha")
        assert reset.stdout == (
            "alpha: its restarts are forgotten; `llama-orch up alpha` starts it\n"
        )
        assert run("down", "beta", "alpha").exit_code == 0
        assert [row.wanted for row in state.rows()] == ["down", "down"]
        assert state.daemon() is None


def test_a_damaged_database_is_told_and_kept(run: Run, declared: Home) -> None:
    declared.state.write_bytes(b"garbage" * 999)
    result = run("ps")
    assert result.exit_code == 0
    assert result.stderr.startswith(f"llama-orch: {declared.state} was damaged (")
    assert len(list(declared.root.glob("state.db.corrupt-*"))) == 1
    assert run("ps").stderr == ""


def test_a_damaged_database_is_told_by_whoever_meets_it_first(run: Run, declared: Home) -> None:
    for command in (["daemon", "status"], ["daemon", "stop"], ["config", "lint"]):
        declared.state.write_bytes(b"garbage" * 999)
        result = run(*command)
        assert result.stderr.startswith(f"llama-orch: {declared.state} was damaged ("), command
    result = run("daemon", "status")
    assert result.exit_code == 1
    assert "Lately, the newest first\n" in result.stdout
    assert f"{declared.state} was damaged (" in result.stdout
    assert json.loads(run("daemon", "status", "--json").stdout)["events"][0]["kind"] == "state"


def test_all_that_is_left_of_one_whose_config_is_gone_is_brought_down(
    run: Run, declared: Home
) -> None:
    with closing(State.open(declared.state)) as state:
        state.put(InstanceRow("gone", "up"))
        result = run("down", "--all")
        assert result.exit_code == 0
        assert sorted(result.stdout.splitlines()) == [
            "alpha is down",
            "beta is down",
            "gone is down",
        ]
        assert {row.wanted for row in state.rows()} == {"down"}


@pytest.mark.skipif(sys.platform == "win32", reason="folders are closed by their access lists")
def test_a_folder_that_may_not_be_looked_into_hides_no_other(declared: Home) -> None:
    folder = declare(declared, "shut").parent
    folder.chmod(0)
    command = [sys.executable, "-m", "pytest_llmeval.commands.llama_orch"]
    command += ["--home", str(declared.root), "ps"]
    if os.getuid() == 0:  # who is root may look everywhere, unless that right is given up
        if shutil.which("setpriv") is None:
            pytest.skip("root may look everywhere")
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]

    ended = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    folder.chmod(0o755)
    assert ended.returncode == 0, ended.stderr
    assert f"shut: {folder / 'config.yaml'}: cannot be read: Permission denied" in ended.stdout
    assert "3 instances: 3 down" in ended.stdout


def test_logs_of_one_that_never_ran_say_where_they_will_be(run: Run, declared: Home) -> None:
    result = run("logs", "alpha")
    assert (result.exit_code, result.stdout) == (0, "")
    path = declared.logs / "alpha.out.log"
    assert (
        f"llama-orch: the server has written nothing to {path}; `llama-orch logs alpha --stderr` "
        "shows what is on stderr\n" == result.stderr
    )
    path.parent.mkdir()
    path.write_bytes(b"=== llmeval: alpha, started 2026-11-26 08:18:53 ===\n")
    result = run("logs", "alpha")
    assert result.stdout == "=== llmeval: alpha, started 2026-11-26 08:18:53 ===\n"
    assert f"the server has written nothing to {path}; " in result.stderr, "a title is no word"
    path.write_bytes(b"one\n\x1b[31mtwo\x1b[0m\nthree")
    result = run("logs", "alpha", "--tail", "2")
    assert (result.stdout, result.stderr) == ("two\nthree\n", "")
    assert json.loads(run("logs", "alpha", "--json").stdout) == {
        "path": str(path),
        "lines": ["one", "two", "three"],
    }


# With a daemon and servers ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrchHome]:
    """A home with a daemon that is there to stay; every test has an instance of its own."""
    home = OrchHome(tmp_path_factory.mktemp("real") / "home")
    status, text = home.run("daemon", "start")
    assert status == 0, text
    yield home
    home.end()


def test_an_instance_goes_up_is_looked_at_and_goes_down(real: OrchHome) -> None:
    path = real.config("one", server={"parallel": 2})

    status, text = real.run("up", "one")

    assert status == 0, text
    row = real.row("one")
    assert row.server is not None
    assert text.endswith(f"one is up: {row.url}, pid {row.server.pid}\n")
    assert real.run("up", "one")[1] == text.splitlines(keepends=True)[-1], "and stays as it is"
    assert real.row("one").server == row.server

    (shown,) = [each for each in real.json("ps") if each["name"] == "one"]
    assert (shown["pid"], shown["health"], shown["slots"]) == (row.server.pid, "healthy", 2)
    assert real.run("health", "one") == (0, "one  healthy  ok\n")
    described = real.json("describe", "one")
    assert described["config_path"] == str(path)
    assert described["config"]["server"]["parallel"] == 2
    assert described["view"]["url"] == row.url
    assert [each["kind"] for each in described["events"]] == ["up"]
    assert described["health"][0]["health"] == "healthy"
    assert "listening" in real.run("logs", "one", "--tail", "20")[1]
    assert Path(str(row.log_folder)) == real.home.logs

    status, text = real.run("restart", "one")
    assert status == 0, text
    again = real.row("one").server
    assert again is not None
    assert again != row.server
    assert not row.server.lives()

    assert real.run("down", "one") == (0, "one is down\n")
    assert not again.lives()
    assert real.run("down", "one") == (0, "one is down\n"), "it is down already"


def test_all_names_are_tried_and_each_failure_is_told(real: OrchHome, tmp_path: Path) -> None:
    real.config("good")
    real.config("bad", model={"path": str(tmp_path / "missing.gguf")})

    status, text = real.run("up", "bad", "good", "unknown")

    assert status == 1
    assert "good is up: http://127.0.0.1:" in text
    assert "llama-orch: up bad: " in text
    assert "bad: bad: " not in text
    assert "missing.gguf" in text
    assert "llama-orch: up unknown: no instance 'unknown'" in text
    ended = subprocess.run(
        [sys.executable, "-m", "pytest_llmeval.commands.llama_orch", "up", "bad", "good", "--json"],
        env=real.environ,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 1
    bad, good = json.loads(ended.stdout)
    assert (bad["name"], bad["done"], good["name"], good["done"]) == ("bad", False, "good", True)
    assert "missing.gguf" in bad["error"]
    assert good["instance"]["health"] == "healthy"
    real.run("down", "good")
    real.run("down", "bad")


def test_an_edited_config_is_told_and_a_restart_goes_by_it(real: OrchHome, tmp_path: Path) -> None:
    real.config("edited")
    assert real.run("up", "edited")[0] == 0
    before = real.row("edited").server
    real.config("edited", server={"parallel": 2}, log={"folder": str(tmp_path)})

    _, text = real.run("up", "edited")
    assert (
        "its config has changed since it was started: `llama-orch restart edited` goes by the new "
        "one" in text
    )
    assert real.row("edited").server == before
    assert "It has changed since the server was started" in real.run("describe", "edited")[1]

    assert "listening" in real.run("logs", "edited")[1], "it writes where it wrote"

    assert real.run("restart", "edited")[0] == 0
    assert real.json("logs", "edited")["path"] == str(tmp_path / "edited.out.log")
    assert "has changed" not in real.run("up", "edited")[1]
    real.run("down", "edited")


def test_one_that_runs_is_described_and_its_log_shown_whatever_its_config_says(
    real: OrchHome,
) -> None:
    path = real.config("spoilt")
    assert real.run("up", "spoilt")[0] == 0
    path.write_text("model: {path: m.gguf}\nserver: {prot: 1}\n", encoding="utf-8", newline="\n")

    status, text = real.run("describe", "spoilt")
    assert status == 0, text
    assert f"Config: {path}\n  It cannot be read:\n  {path}:2: unknown key 'prot'" in text
    assert "it is up and healthy" in text
    assert real.json("describe", "spoilt")["config"] is None
    assert "listening" in real.run("logs", "spoilt")[1]
    assert real.run("down", "spoilt") == (0, "spoilt is down\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C goes to a whole console there")
def test_ctrl_c_while_it_comes_up_takes_nothing_back(real: OrchHome) -> None:
    real.config("slow")
    command = real.start("up", "slow")
    assert becomes_true(lambda: real.row("slow").wanted == "up", 60)
    command.send_signal(signal.SIGINT)
    output, _ = command.communicate(timeout=90)

    if command.returncode != 0:  # it may have been up by then
        assert command.returncode == 130
        assert output.decode().endswith(
            "llama-orch: interrupted. What was asked for is still brought about: `llama-orch ps` "
            "shows how far it is, `llama-orch down NAME` takes it back\n"
        )
    assert real.comes_up("slow")
    real.run("down", "slow")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C goes to a whole console there")
def test_logs_are_followed_over_a_restart_until_ctrl_c(real: OrchHome) -> None:
    real.config("followed")
    assert real.run("up", "followed")[0] == 0
    reader = real.start("logs", "followed", "--follow", "--tail", "0", "--json")
    assert reader.stdout is not None
    assert real.run("restart", "followed")[0] == 0

    lines: list[str] = []
    while not any("listening" in line for line in lines):
        lines.append(json.loads(reader.stdout.readline())["line"])
    reader.send_signal(signal.SIGINT)
    rest, _ = reader.communicate(timeout=90)

    assert reader.returncode == 0
    assert b"Traceback" not in rest
    real.run("down", "followed")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_in_a_terminal_the_table_has_colours_and_fits(run: Run, declared: Home) -> None:
    import pty

    owner, terminal = pty.openpty()
    command = [sys.executable, "-m", "pytest_llmeval.commands.llama_orch", "--home"]
    environ = {**os.environ, "COLUMNS": "40", "TERM": "xterm-256color"}
    with subprocess.Popen(
        [*command, str(declared.root), "ps"], stdout=terminal, stderr=terminal, env=environ
    ) as process:
        os.close(terminal)
        shown = read_all(owner)
        assert process.wait() == 0
    assert "\x1b[" in shown
    assert "alpha" in shown
    assert "Restarts" not in shown, "columns are left out where there is no room"


def read_all(descriptor: int) -> str:
    read: list[bytes] = []
    while True:
        try:
            piece = os.read(descriptor, 4096)
        except OSError:  # how a pseudo-terminal ends on Linux
            piece = b""
        if not piece:
            os.close(descriptor)
            return b"".join(read).decode("utf-8", "replace")
        read.append(piece)
