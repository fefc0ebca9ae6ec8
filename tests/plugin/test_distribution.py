"""What of pytest-xdist's ways an evaluation takes, and what it refuses, in which words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pytest_llmeval import distribution
from pytest_llmeval.distribution import refusal, version, version_refusal

if TYPE_CHECKING:
    from tests.plugin.conftest import Project


@pytest.mark.parametrize(
    ("dist", "specs"),
    [
        ("no", []),
        ("no", ["ssh=far"]),  # xdist does not distribute, either
        ("load", ["popen", "popen"]),
        ("worksteal", ["3*popen"]),
        ("loadgroup", [f"popen//python={sys.executable}", "popen//id=one//nice=3"]),
    ],
)
def test_workers_on_this_machine_are_fine(dist: str, specs: list[str]) -> None:
    assert refusal(dist, specs) is None


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_an_interpreter_in_a_folder_with_blanks_may_be_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    """As execnet reads it, on Windows as elsewhere."""
    monkeypatch.setattr(distribution, "sys", SimpleNamespace(platform=platform))
    folder = tmp_path / "a folder"
    folder.mkdir()
    python = shutil.copy(sys.executable, folder)
    assert refusal("load", [f'popen//python="{Path(python).as_posix()}"']) is None


@pytest.mark.parametrize(
    ("dist", "spec", "words"),
    [
        ("each", "popen", "--dist each .* use --dist load, loadscope, loadfile, loadgroup or"),
        ("load", "ssh=me@far", r"--tx ssh=me@far: .* on this machine: use -n N, or --tx popen//"),
        ("load", "2*socket=127.0.0.1:8888", r"--tx 2\*socket=.* on this machine"),
        ("load", "popen//via=proxy", "--tx popen//via=proxy: .* on this machine"),
        ("load", "vagrant_ssh=box", "on this machine"),
        ("load", "popen//chdir=elsewhere", "cannot have another folder: leave chdir out"),
        ("load", "popen//python=no-such-python", "there is no program no-such-python"),
        ("load", "popen//python='half", "there is no program 'half: name a Python interpreter"),
        ("load", "popen//python= ", "there is no program  : name a Python interpreter"),
    ],
)
def test_what_cannot_work_is_refused(dist: str, spec: str, words: str) -> None:
    found = refusal(dist, ["popen", spec])
    assert found is not None
    assert re.search(words, found)


def test_versions_are_compared_and_both_are_named() -> None:
    assert version_refusal(version()) is None
    words = version_refusal("pytest-llmeval 9.9 on Python 3.9")
    assert words is not None
    assert words.startswith(f"the worker has {version()} ({sys.executable}), its controller ")
    assert "pytest-llmeval 9.9 on Python 3.9" in words


class TestSessions:
    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (("--dist=each", "-n2"), "*--dist each runs every test in every worker*"),
            (
                ("--dist=load", "--tx=ssh=nobody@127.0.0.1"),
                "*--tx ssh=*run on this machine*",
            ),
            (("--dist=load", "--tx=socket=127.0.0.1:9"), "*--tx socket=*run on this machine*"),
        ],
        ids=["each", "ssh", "socket"],
    )
    def test_a_refused_way_starts_nothing(
        self, project: Project, args: tuple[str, ...], words: str
    ) -> None:
        project.suite("one", [project.right("a")])
        result = project.run(*args)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([words, "*llmeval: nothing was started"])
        assert not (project.root / "runs").exists()

    def test_to_collect_only_nothing_is_refused(self, project: Project) -> None:
        project.suite("one", [project.right("a")])
        assert project.run("--dist=each", "-n2", "--collect-only", "-q").ret == 0

    def test_a_worker_may_have_another_interpreter(
        self, project: Project, another_python: Path
    ) -> None:
        project.suite("one", [project.right(f"r{n}") for n in range(8)])
        project.write(
            "test_own.py", "import sys\n\ndef test_own():\n    print(sys.executable, 'runs it')\n"
        )
        result = project.run(f"--tx=2*popen//python={another_python}", "--dist=load", "-rP")
        result.assert_outcomes(passed=9)
        result.stdout.fnmatch_lines([f"{another_python} runs it"])
        asked = [line["custom_id"] for line in project.journal()]
        assert len(asked) == len(set(asked)) == 8

    def test_a_worker_with_another_version_is_refused_and_both_are_named(
        self, project: Project, another_python: Path
    ) -> None:
        """It has loaded its own before xdist gives it the controller's path."""
        project.suite("one", [project.right("a")])
        code = "import pytest_llmeval; pytest_llmeval.__version__ = '0.0.1'"
        packages(another_python).joinpath("older.pth").write_text(code, encoding="utf-8")
        result = project.run("--tx=popen", f"--tx=popen//python={another_python}", "--dist=load")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        words = f"the worker has pytest-llmeval 0.0.1 on Python *, its controller {version()}: *"
        result.stderr.fnmatch_lines(
            [f"ERROR: worker gw1 (popen//python={another_python}) could not start: {words}"]
        )

    def test_a_worker_whose_interpreter_has_no_pytest_is_refused(
        self, project: Project, bare_python: Path
    ) -> None:
        project.suite("one", [project.right("a")])
        result = project.run(f"--tx=popen//python={bare_python}", "--dist=load")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["*worker gw0 (popen//python=*) could not start: ModuleNotFoundError: *"]
        )


def packages(python: Path) -> Path:
    """Where an environment keeps its packages."""
    folder = python.parents[1]
    if sys.platform == "win32":
        return folder / "Lib" / "site-packages"
    return folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """The interpreter of a virtual environment with nothing in it."""
    folder = tmp_path / "venv"
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True)
    return folder / (Path("Scripts/python.exe") if sys.platform == "win32" else Path("bin/python"))


@pytest.fixture
def another_python(bare_python: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with our packages, as if they were installed there too."""
    ours = [str(Path(__file__).parents[2]), sysconfig.get_paths()["purelib"]]
    packages(bare_python).joinpath("ours.pth").write_text(os.linesep.join(ours), encoding="utf-8")
    return bare_python
