"""`tools/llama_cpp.py` builds once, keeps the wheel, unpacks it so that its programs run.

Nothing is built here: pip is a recorder that writes the wheel a build would leave.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import stat
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "llama_cpp.py"


def load_tool() -> ModuleType:
    """Import the script, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("llmeval_tools_llama_cpp", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tool = load_tool()
SERVER = "llama-server.exe" if sys.platform == "win32" else "llama-server"


@dataclass
class Workshop:
    """A repository, a folder for wheels, and a pip that writes a small wheel instead of building.

    `files` are what the wheel holds, `status` is how pip ends, `runs` how the server does.
    """

    root: Path
    files: tuple[str, ...] = (f"bin/{SERVER}", "llama_cpp/__init__.py")
    status: int = 0
    runs: int = 0
    compiler: str | None = "/usr/bin/c++"
    environ: dict[str, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environ = {"LLMEVAL_WHEELS": str(self.root / "wheels"), **self.environ}

    def run(self, command: list[str], environ: Mapping[str, str], log: Path) -> int:
        log.write_text("\n".join(f"line {n}" for n in range(100)), "utf-8", newline="\n")
        if "pip" not in command:
            return self.runs
        self.commands.append(command)
        self.environments.append(environ)
        if self.status == 0:
            folder = Path(command[command.index("--wheel-dir") + 1])
            with zipfile.ZipFile(folder / "llama_cpp_python-0-py3-none-any.whl", "w") as wheel:
                for name in self.files:
                    wheel.writestr(name, name)
        return self.status

    def make(self) -> int:
        outside = tool.Outside(
            self.root, self.environ, self.run, self.said.append, lambda _: self.compiler
        )
        return int(tool.main(outside))

    @property
    def heard(self) -> str:
        return "\n".join(self.said)

    @property
    def unpacked(self) -> Path:
        return self.root / ".llama-cpp"


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_the_first_call_builds_the_second_takes_what_was_kept(workshop: Workshop) -> None:
    assert workshop.make() == 0
    assert workshop.make() == 0
    assert len(workshop.commands) == 1
    assert "kept from an earlier build: " in workshop.heard


def test_pip_builds_the_pinned_version_with_the_flags_and_without_a_cache_that_ignores_them(
    workshop: Workshop,
) -> None:
    workshop.make()
    command, environ = workshop.commands[0], workshop.environments[0]
    assert command[-1] == f"llama-cpp-python=={tool.VERSION}"
    assert "--no-cache-dir" in command
    assert environ["CMAKE_ARGS"].split() == list(tool.FLAGS)
    assert "-DLLAVA_BUILD=OFF" in tool.FLAGS


def test_as_many_compilers_run_as_there_are_usable_cores_unless_the_user_says_otherwise(
    workshop: Workshop,
) -> None:
    workshop.make()
    assert workshop.environments[0]["CMAKE_BUILD_PARALLEL_LEVEL"] == str(tool.usable_cores())
    other = Workshop(workshop.root / "other", environ={"CMAKE_BUILD_PARALLEL_LEVEL": "1"})
    other.root.mkdir()
    other.make()
    assert other.environments[0]["CMAKE_BUILD_PARALLEL_LEVEL"] == "1"


def test_the_unpacked_programs_are_executable_and_where_they_are_is_said(
    workshop: Workshop,
) -> None:
    workshop.make()
    server = workshop.unpacked / "bin" / SERVER
    assert server.stat().st_mode & stat.S_IXUSR
    assert f"ready: {server}" in workshop.heard
    assert (workshop.unpacked / "llama_cpp" / "__init__.py").is_file()


def test_an_unpacked_wheel_is_left_alone_and_another_one_replaces_it(workshop: Workshop) -> None:
    workshop.make()
    mine = workshop.unpacked / "mine.txt"
    mine.touch()
    workshop.make()
    assert mine.exists()
    (workshop.unpacked / tool.STAMP).write_text("of another wheel", "utf-8", newline="\n")
    workshop.make()
    assert not mine.exists()
    assert (workshop.unpacked / "bin" / SERVER).is_file()


def test_without_a_compiler_it_says_how_to_get_one_and_ends_with_a_status_of_its_own(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.compiler = None
    monkeypatch.setattr(tool.sys, "platform", "linux")
    assert workshop.make() == tool.NO_COMPILER == 3
    assert "there is no C++ compiler" in workshop.heard
    assert "apt-get install build-essential cmake" in workshop.heard
    assert workshop.commands == []


def test_a_kept_wheel_needs_no_compiler(workshop: Workshop) -> None:
    workshop.make()
    workshop.compiler = None
    assert workshop.make() == 0


def test_a_failed_build_shows_the_end_of_its_log_and_keeps_all_of_it(workshop: Workshop) -> None:
    workshop.status = 1
    assert workshop.make() == 1
    assert "could not be built: pip ended with 1" in workshop.heard
    assert "line 99" in workshop.heard
    assert "line 3\n" not in workshop.heard
    log = Path(workshop.heard.rpartition("All of it: ")[2])
    assert log.read_text(encoding="utf-8").startswith("line 0\n")
    assert not workshop.unpacked.exists()


def test_a_failed_build_leaves_nothing_that_a_later_call_would_take_for_one(
    workshop: Workshop,
) -> None:
    workshop.status = 1
    workshop.make()
    assert not [path for path in (workshop.root / "wheels").iterdir() if path.is_dir()]
    workshop.status = 0
    assert workshop.make() == 0


def test_a_wheel_without_the_server_is_no_success(workshop: Workshop) -> None:
    workshop.files = ("llama_cpp/__init__.py",)
    assert workshop.make() == 1
    assert "the wheel holds no llama-server" in workshop.heard


def test_a_server_that_does_not_run_is_told_with_its_words(workshop: Workshop) -> None:
    workshop.runs = 127
    assert workshop.make() == 1
    assert "does not run (exit status 127): line 0" in workshop.heard


@pytest.mark.parametrize(
    ("version", "flags", "tag"),
    [("2", ("-DA=ON",), "cp311-linux"), ("1", ("-DB=ON",), "cp311-linux"), ("1", ("-DA=ON",), "x")],
)
def test_another_version_other_flags_or_another_platform_is_another_build(
    version: str, flags: tuple[str, ...], tag: str
) -> None:
    name = tool.build_name("1", ("-DA=ON",), "cp311-linux")
    assert name.startswith("llama_cpp_python-1-")
    assert tool.build_name(version, flags, tag) != name


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {}, "home/.cache/pytest-llmeval/wheels"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/pytest-llmeval/wheels"),
        ("darwin", {}, "home/Library/Caches/pytest-llmeval/wheels"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/pytest-llmeval/wheels"),
        ("win32", {}, "home/AppData/Local/pytest-llmeval/wheels"),
    ],
)
def test_wheels_are_kept_where_the_system_keeps_a_users_caches(
    platform: str, environ: dict[str, str], expected: str
) -> None:
    assert tool.wheels_folder(environ, platform, Path("home")).as_posix() == expected


def test_a_folder_of_ones_own_for_wheels_is_obeyed(tmp_path: Path) -> None:
    environ = {"LLMEVAL_WHEELS": str(tmp_path)}
    assert tool.wheels_folder(environ, "linux", Path("home")) == tmp_path


def test_the_tool_imports_only_the_standard_library() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    names: set[Any] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_the_real_thing_runs_where_it_was_unpacked(real_llama_server: Path, tmp_path: Path) -> None:
    log = tmp_path / "version.txt"
    assert tool.run_logged([str(real_llama_server), "--version"], os.environ, log) == 0
    assert "version" in log.read_text(encoding="utf-8")
