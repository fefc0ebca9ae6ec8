"""`tools/dev.py` makes the environment once, runs the task in it, and says what is wrong.

Nothing is installed here: commands go to a recorder in place of a shell. Real processes run only
where the command line itself, an exit status or a signal is meant.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "dev.py"


def load_dev() -> ModuleType:
    """Import the script, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("llmeval_tools_dev", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


dev = load_dev()


@dataclass
class Recorder:
    """Notes commands instead of running them; `statuses` says how a command with a word ends."""

    root: Path
    statuses: dict[str, int] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def run(self, command: Sequence[str], *, quiet: bool = False) -> int:
        line = " ".join(command).replace(str(self.root), "ROOT").replace(sys.executable, "PYTHON")
        self.commands.append(line)
        if "-m venv" in line:
            self.python.parent.mkdir(parents=True, exist_ok=True)
            self.python.touch()
        return next((status for word, status in self.statuses.items() if word in line), 0)

    @property
    def python(self) -> Path:
        return Path(dev.Workplace(self.root, self.run, self.said.append).python)

    def dev(self, *arguments: str) -> int:
        """Give the command line and return its exit status."""
        place = dev.Workplace(self.root, self.run, self.said.append)
        return int(dev.main(list(arguments), place))

    def heard(self) -> str:
        return "\n".join(self.said)

    def did(self, words: str) -> list[str]:
        return [command for command in self.commands if words in command]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    (tmp_path / "pyproject.toml").write_text("[project]\n", encoding="utf-8", newline="\n")
    return Recorder(tmp_path)


STEPS = ("venv", "install", "pytest")


def edit_pyproject(root: Path) -> None:
    (root / "pyproject.toml").write_text("[project] # changed\n", encoding="utf-8", newline="\n")


# The environment ----------------------------------------------------------------------------------


def test_the_first_demo_makes_the_environment_installs_and_runs_pytest(recorder: Recorder) -> None:
    assert recorder.dev("demo") == 0
    order = [word for line in recorder.commands for word in line.split() if word in STEPS]
    assert order == list(STEPS)
    assert "--editable .[embedded]" in recorder.did("install --quiet")[0]
    assert recorder.commands[-1].endswith("-m pytest --llm-config config/local.yaml")


def test_a_ready_environment_costs_no_command_but_the_task(recorder: Recorder) -> None:
    recorder.dev("demo")
    recorder.commands.clear()
    assert recorder.dev("demo") == 0
    assert len(recorder.commands) == 1


def test_a_changed_pyproject_is_installed_again_into_the_same_environment(
    recorder: Recorder,
) -> None:
    recorder.dev("demo")
    recorder.commands.clear()
    edit_pyproject(recorder.root)
    recorder.dev("demo")
    assert recorder.did("--editable .[embedded]")
    assert not recorder.did("-m venv")


def test_the_demo_needs_nothing_more_after_the_tests_were_installed(recorder: Recorder) -> None:
    recorder.dev("test")
    recorder.commands.clear()
    recorder.dev("demo")
    assert not recorder.did("install")


def test_the_tests_need_more_than_the_demo(recorder: Recorder) -> None:
    recorder.dev("demo")
    recorder.dev("test")
    assert recorder.did("--editable .[dev]")


def test_an_interrupted_installation_is_repeated(recorder: Recorder) -> None:
    recorder.statuses["--editable"] = 130
    assert recorder.dev("demo") == 1
    recorder.statuses.clear()
    recorder.commands.clear()
    assert recorder.dev("demo") == 0
    assert recorder.did("--editable")


def test_a_half_made_environment_is_made_anew(recorder: Recorder) -> None:
    recorder.python.parent.mkdir(parents=True)
    assert recorder.dev("demo") == 0
    assert recorder.did("-m venv --clear")
    assert "making .venv anew: it is incomplete" in recorder.heard()


def test_an_environment_whose_python_does_not_run_is_made_anew(recorder: Recorder) -> None:
    recorder.python.parent.mkdir(parents=True)
    recorder.python.touch()
    recorder.statuses["-c import sys"] = 127
    recorder.dev("demo")
    assert recorder.did("-m venv --clear")


def test_an_environment_of_ones_own_is_kept_and_given_pip_when_it_lacks_it(
    recorder: Recorder,
) -> None:
    recorder.python.parent.mkdir(parents=True)
    recorder.python.touch()
    recorder.statuses["import sys, pip; sys.exit(sys.version_info"] = 1
    recorder.dev("demo")
    assert recorder.did("-m ensurepip")
    assert not recorder.did("-m venv")


def test_a_repository_that_moved_gets_a_new_environment(recorder: Recorder) -> None:
    recorder.dev("demo")
    stamp = recorder.root / ".venv" / "llmeval-dev.json"
    noted = json.loads(stamp.read_text(encoding="utf-8")) | {"root": "/elsewhere"}
    stamp.write_text(json.dumps(noted), encoding="utf-8", newline="\n")
    recorder.commands.clear()
    recorder.dev("demo")
    assert recorder.did("-m venv --clear")


def test_a_garbled_stamp_counts_as_none(recorder: Recorder) -> None:
    recorder.dev("demo")
    stamp = recorder.root / ".venv" / "llmeval-dev.json"
    stamp.write_text("{", encoding="utf-8", newline="\n")
    recorder.commands.clear()
    recorder.dev("demo")
    assert recorder.did("--editable .[embedded]")


def test_a_pip_too_old_for_editable_packages_is_upgraded_first(recorder: Recorder) -> None:
    recorder.statuses["pip.__version__"] = 1
    recorder.dev("demo")
    installs = recorder.did("install")
    assert "--upgrade pip" in installs[0]
    assert "--editable" in installs[1]


@pytest.mark.parametrize(("version", "status"), [("21.2.3", 1), ("21.3", 0), ("26.1.dev0", 0)])
def test_pip_is_new_enough_from_21_3_on(tmp_path: Path, version: str, status: int) -> None:
    (tmp_path / "pip.py").write_text(f"__version__ = {version!r}", encoding="utf-8", newline="\n")
    command = [sys.executable, "-c", dev.PIP_IS_NEW_ENOUGH]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == status


# What goes wrong ----------------------------------------------------------------------------------


def test_a_python_too_old_is_told_the_version_found_the_one_needed_and_the_way_out() -> None:
    message = dev.too_old((3, 8, 18), "/usr/bin/python3", "")
    assert "This is Python 3.8.18 (/usr/bin/python3); 3.10 or newer is needed." in message
    assert "https://www.python.org/downloads/" in message


def test_a_python_too_old_is_told_of_a_newer_one_beside_it() -> None:
    message = dev.too_old((3, 8, 18), "/usr/bin/python3", "python3.12")
    assert message.endswith("A newer one is on this machine: python3.12 tools/dev.py")


def test_the_script_can_be_read_by_python_3_6_so_that_it_can_say_so() -> None:
    source = SCRIPT.read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    with pytest.raises(SyntaxError):  # the parser does look at the version
        ast.parse("(x := 1)", feature_version=(3, 6))


def test_the_script_imports_only_the_standard_library() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {name.name for node in imports if isinstance(node, ast.Import) for name in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_python_without_ensurepip_is_told_the_package_that_brings_it(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "missing_modules", lambda: ["ensurepip"])
    assert recorder.dev("demo") == 1
    assert "its module ensurepip is missing" in recorder.heard()
    assert "sudo apt-get install python3-venv" in recorder.heard()
    assert recorder.commands == []


def test_a_failing_venv_names_the_folder_and_the_status(recorder: Recorder) -> None:
    recorder.statuses["-m venv"] = 1
    assert recorder.dev("demo") == 1
    assert "could not be made (python -m venv ended with 1)" in recorder.heard()


def test_a_failing_pip_is_explained_and_the_task_does_not_run(recorder: Recorder) -> None:
    recorder.statuses["--editable"] = 2
    assert recorder.dev("demo") == 1
    assert "pip ended with 2" in recorder.heard()
    assert "PIP_INDEX_URL" in recorder.heard()
    assert not recorder.did("-m pytest")


def test_the_environment_is_not_replaced_under_the_python_that_runs_in_it(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(recorder.root / ".venv"))
    assert recorder.dev("demo") == 1
    assert "deactivate" in recorder.heard()


# The tasks ----------------------------------------------------------------------------------------


def test_the_demo_hands_its_arguments_to_pytest(recorder: Recorder) -> None:
    recorder.dev("demo", "--llm-limit", "10", "-k", "capitals")
    assert recorder.commands[-1].endswith("config/local.yaml --llm-limit 10 -k capitals")


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (64, 4)])
def test_the_tests_use_the_cores_there_are_and_at_most_four(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, cores: int, workers: int
) -> None:
    monkeypatch.setattr(dev, "cores", lambda: cores)
    recorder.dev("test", "-x")
    assert recorder.commands[-1].endswith(f"-m pytest tests -n {workers} -x")


def test_naming_tests_replaces_the_whole_folder(recorder: Recorder) -> None:
    (recorder.root / "tests").mkdir()
    (recorder.root / "tests" / "test_one.py").touch()
    recorder.dev("test", "tests/test_one.py::test_it", "-x")
    assert " tests -n" not in recorder.commands[-1]
    assert recorder.commands[-1].endswith("tests/test_one.py::test_it -x")


def test_every_check_runs_also_after_one_has_failed(recorder: Recorder) -> None:
    recorder.statuses["ruff format"] = 1
    assert recorder.dev("check") == 1
    for words in ("ruff format --check .", "ruff check .", "-m mypy"):
        assert recorder.did(words)
    assert recorder.said[-1] == "failed: ruff format"


def test_checks_that_pass_are_named(recorder: Recorder) -> None:
    assert recorder.dev("check") == 0
    assert recorder.said[-1] == "passed: ruff format, ruff check, mypy"


def test_the_real_llama_server_is_built_with_the_environments_own_pip(recorder: Recorder) -> None:
    recorder.dev("llama-cpp")
    assert recorder.commands[-1].endswith("tools/llama_cpp.py")
    assert ".venv" in recorder.commands[-1]


@pytest.mark.parametrize("word", ["check", "clean", "llama-cpp"])
def test_a_task_without_arguments_refuses_them(recorder: Recorder, word: str) -> None:
    assert recorder.dev(word, "--fix") == 1
    assert f"{word} takes no arguments; '--fix' was given." in recorder.heard()


def test_the_benchmarks_get_their_arguments(recorder: Recorder) -> None:
    recorder.dev("bench", "--smoke")
    assert recorder.commands[-1].endswith("benchmarks/run.py --smoke")


def test_the_exit_status_is_that_of_the_task(recorder: Recorder) -> None:
    recorder.statuses["-m pytest"] = 5
    assert recorder.dev("demo") == 5


def test_clean_removes_what_can_be_made_again_and_keeps_results(recorder: Recorder) -> None:
    kept = [recorder.root / "runs" / "first" / "__pycache__", recorder.root / "src"]
    gone = [
        recorder.root / ".venv" / "bin",
        recorder.root / ".mypy_cache",
        recorder.root / "src" / "deep" / "__pycache__",
        recorder.root / "package.egg-info",
    ]
    for folder in (*kept, *gone):
        folder.mkdir(parents=True)
    assert recorder.dev("clean") == 0
    assert [folder.exists() for folder in (*kept, *gone)] == [True, True, *[False] * 4]
    assert "kept runs/, your results" in recorder.heard()
    assert recorder.commands == []


# The command line ---------------------------------------------------------------------------------


def dev_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )


def test_help_names_every_task() -> None:
    process = dev_process("--help")
    assert process.returncode == 0
    assert all(f"  {word} " in process.stdout for word in dev.TASKS)


def test_no_task_at_all_shows_the_help_and_is_an_error() -> None:
    process = dev_process()
    assert process.returncode == 2
    assert "usage: python tools/dev.py TASK" in process.stdout


def test_an_unknown_task_gets_the_nearest_one() -> None:
    process = dev_process("dmeo")
    assert process.returncode == 2
    assert process.stdout.startswith("There is no task 'dmeo'; there are demo, test, check,")
    assert process.stdout.strip().endswith("Did you mean demo?")


def test_a_letter_that_the_console_does_not_know_does_not_break_a_message() -> None:
    process = dev_process("démo→", PYTHONIOENCODING="ascii:strict")
    assert process.returncode == 2
    assert process.stdout.isascii()
    assert "Did you mean demo?" in process.stdout


def test_commands_run_in_the_root_and_give_their_status(tmp_path: Path) -> None:
    run: Callable[..., int] = dev.run_in(tmp_path)
    touch = "import pathlib, sys; pathlib.Path('here').touch(); sys.exit(7)"
    assert run([sys.executable, "-c", touch]) == 7
    assert (tmp_path / "here").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to end a process with")
def test_a_command_that_a_signal_ended_counts_as_in_every_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"]
    assert dev.run_in(tmp_path)(command) == 128 + 15


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one Windows process alone")
def test_ctrl_c_leaves_a_command_the_time_to_stop_in_order(tmp_path: Path) -> None:
    """After Ctrl-C pytest stops its servers; whoever started it must wait for that."""
    child = (
        "import pathlib, signal, time\n"
        "try:\n    pathlib.Path('ready').touch(); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(0.6); pathlib.Path('stopped').touch(); exit(2)"
    )
    parent = (
        "import pathlib, runpy, sys\n"
        f"run_in = runpy.run_path({str(SCRIPT)!r})['run_in']\n"
        f"sys.exit(run_in(pathlib.Path({str(tmp_path)!r}))([sys.executable, '-c', {child!r}]))"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 2
    assert (tmp_path / "stopped").exists()
