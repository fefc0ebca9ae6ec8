"""`llama-orch config`, `init` and `install-service`, as their user sees them."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pytest_llmeval.commands.llama_orch.app import app

MODEL = Path(__file__).resolve().parents[2] / "models" / "tiny-l.gguf"

Call = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def call(home: Path) -> Call:
    """Calls the command on a home of the test's own."""

    def call(*arguments: str | Path, **environment: str) -> Result:
        # Whatever the terminal of the tests is, nothing here is one.
        env = {"COLUMNS": "200", "FORCE_COLOR": None, "TTY_COMPATIBLE": None, **environment}
        return CliRunner().invoke(app, ["--home", str(home), *map(str, arguments)], env=env)

    return call


def write(home: Path, name: str, text: str) -> Path:
    path = home / "instances" / name / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def fine(rest: str = "") -> str:
    """The config of an instance that nothing is wrong with."""
    return (
        f"model: {{path: '{MODEL}', context_size: 1024}}\n"
        f"server: {{executable: '{sys.executable}'}}\n{rest}"
    )


# config validate ----------------------------------------------------------------------------------


def test_validate_says_nothing_is_wrong_and_ends_with_0(call: Call, home: Path) -> None:
    result = call("config", "validate", write(home, "a", fine()))
    assert (result.exit_code, result.stdout) == (0, "1 config: nothing found\n")


def test_validate_tells_each_mistake_at_its_line_and_ends_with_1(call: Call, home: Path) -> None:
    path = write(home, "a", "model: {pth: x}\nttl: -1\n")
    result = call("config", "validate", home / "instances")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{path}:1: error: a: the key 'path' is missing",
        (
            f"{path}:1: error: a: unknown key 'pth'; did you mean 'path'? (allowed: path, "
            "context_size, batch_size, ubatch_size, threads, embeddings)"
        ),
        f"{path}:2: error: a: ttl: expected more than 0, found -1",
        "1 config: 3 errors",
    ]


def test_validate_of_a_host_without_a_token(call: Call, home: Path) -> None:
    result = call("config", "validate", write(home, "a", fine("").replace(
        "server: {", "server: {host: 0.0.0.0, ")))  # fmt: skip
    assert result.exit_code == 1
    assert "server.host: '0.0.0.0' is not local without a token" in result.stdout


def test_validate_of_a_place_without_configs_ends_with_1(call: Call, tmp_path: Path) -> None:
    result = call("config", "validate", tmp_path)
    assert result.exit_code == 1
    assert "llama-orch: " in result.stderr
    assert "there is no config here: expected a config file" in result.stderr


def test_validate_as_json(call: Call, home: Path) -> None:
    path = write(home, "a", fine("ttl: x\n"))
    result = call("config", "validate", path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "checked": 1,
        "findings": [
            {
                "severity": "error",
                "rule": "config",
                "instance": "a",
                "path": str(path),
                "line": 3,
                "message": "ttl: expected a number, found 'x'",
                "way_out": "",
            }
        ],
    }


# config lint --------------------------------------------------------------------------------------


def test_lint_of_an_empty_home_says_how_to_begin(call: Call, home: Path) -> None:
    result = call("config", "lint")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"no instances yet in {home / 'instances'}",
        "make one: llama-orch init --profile cpu --name NAME",
    ]
    assert not home.exists()
    assert json.loads(call("config", "lint", "--json").stdout) == {
        "ok": True,
        "checked": 0,
        "findings": [],
    }


def test_lint_ends_with_0_when_there_are_only_warnings(call: Call, home: Path) -> None:
    write(home, "a", fine("healthcheck: {interval: 1, timeout: 2}\nenv: {A: '${B}'}\n"))
    result = call("config", "lint")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "1 instance: 1 warning, 1 note"


def test_lint_ends_with_1_when_there_is_an_error(call: Call, home: Path) -> None:
    path = write(home, "a", fine().replace("tiny-l", "nothing"))
    write(home, "b", fine())
    result = call("config", "lint")
    assert result.exit_code == 1
    missing = MODEL.with_name("nothing.gguf")
    assert result.stdout.splitlines() == [
        f"{path}:1: error: a: {missing}: there is no such file",
        "2 instances: 1 error",
    ]


def test_lint_is_a_table_in_a_terminal(call: Call, home: Path) -> None:
    path = write(home, "qwen", "model: {}\n")
    result = call("config", "lint", FORCE_COLOR="1", NO_COLOR="1", TERM="xterm")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout).splitlines()
    assert lines[0].split() == ["instance", "what,", "and", "where"]
    assert lines[1].split()[:2] == ["error", "qwen"]
    assert f"{path}:1" in "".join(line.strip() for line in lines[2:])  # it may be folded
    assert "\x1b[" in result.stdout


# init ---------------------------------------------------------------------------------------------


def test_init_writes_a_config_that_is_valid_once_the_model_is_named(call: Call, home: Path) -> None:
    result = call("init", "--profile", "cpu", "--name", "tiny")
    path = home / "instances" / "tiny" / "config.yaml"
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"wrote {path}",
        "next:",
        f"  edit line 5 of {path}: the path of your GGUF",
        "  llama-orch config lint",
        "  llama-orch up tiny",
    ]
    refused = call("config", "validate", path)
    assert refused.exit_code == 1
    assert f"{path}:5: error: tiny: model.path: /path/to/model.gguf stands for a model" in (
        refused.stdout
    )
    text = path.read_text(encoding="utf-8").replace("/path/to/model.gguf", str(MODEL))
    path.write_text(text, encoding="utf-8", newline="\n")
    assert call("config", "validate", path).exit_code == 0


def test_init_never_overwrites(call: Call, home: Path) -> None:
    path = write(home, "tiny", "mine")
    result = call("init", "--profile", "cuda", "--name", "tiny", "--model", MODEL)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"llama-orch: {path} is there already, and was left as it is")
    assert path.read_text(encoding="utf-8") == "mine"


def test_init_knows_its_profiles(call: Call) -> None:
    result = call("init", "--profile", "tpu")
    assert result.exit_code == 2
    for profile in ("cpu", "vulkan", "cuda", "metal"):
        assert f"'{profile}'" in result.stderr


def test_init_as_json(call: Call, home: Path) -> None:
    result = call("init", "--profile", "cuda", "--name", "a", "--model", MODEL, "--json")
    assert json.loads(result.stdout) == {
        "name": "a",
        "path": str(home / "instances" / "a" / "config.yaml"),
        "next_steps": ["llama-orch config lint", "llama-orch up a"],
    }


# install-service ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "beginning", "name"),
    [
        ("systemd", "[Unit]\n", ".service"),
        ("launchd", "<?xml", ".plist"),
        ("task-scheduler", '<?xml version="1.0" encoding="UTF-16"?>', ".xml"),
        ("nssm", "@echo off", ".cmd"),
    ],
)
def test_a_service_is_shown_and_nothing_is_written(
    call: Call, home: Path, tmp_path: Path, kind: str, beginning: str, name: str
) -> None:
    result = call("install-service", "--kind", kind, XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert result.exit_code == 0
    assert result.stdout.startswith(beginning)
    assert str(home) in result.stdout
    assert "pytest_llmeval.commands.llama_orch" in result.stdout
    assert f"{name}: --write puts it there" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_service_is_written_when_asked(call: Call, tmp_path: Path) -> None:
    there = tmp_path / "llama orch.service"
    result = call("install-service", "--kind", "systemd", "--to", there)
    assert result.exit_code == 0
    assert result.stdout == f"wrote {there}\n"
    assert there.read_text(encoding="utf-8").startswith("[Unit]\n")
    assert "systemctl --user enable --now" in result.stderr

    result = call("install-service", "--kind", "systemd", "--write", XDG_CONFIG_HOME=str(tmp_path))
    (written,) = (tmp_path / "systemd" / "user").iterdir()
    assert result.stdout == f"wrote {written}\n"


def test_a_service_has_the_variables_of_the_configs_paths(call: Call, home: Path) -> None:
    write(home, "a", "model: {path: '${MY_MODELS}/m.gguf'}\nargs: ['${NOT_ME}']\n")
    shown = call("install-service", "--kind", "systemd", MY_MODELS="/m", NOT_ME="x").stdout
    assert 'Environment="MY_MODELS=/m"' in shown
    assert "NOT_ME" not in shown


def test_a_config_with_a_mistake_is_told_and_the_service_is_shown(call: Call, home: Path) -> None:
    write(home, "a", "model: 3\n")
    result = call("install-service", "--kind", "systemd")
    assert result.exit_code == 0
    assert "model: expected a mapping, found 3" in result.stderr


def test_a_service_that_is_installed_goes_to_its_own_place(call: Call, tmp_path: Path) -> None:
    result = call("install-service", "--install", "--to", tmp_path / "x")
    assert result.exit_code == 2
    assert "leave out --to" in result.stderr.replace("\n", " ")


@pytest.mark.skipif(sys.platform == "win32", reason="the program in the way is a shell script")
def test_installing_runs_the_system_s_own_program(call: Call, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    said = tmp_path / "said"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> "{said}"\necho no bus; exit "${{BROKEN:-0}}"\n',
        encoding="utf-8",
        newline="\n",
    )
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    call_it = ("install-service", "--kind", "systemd", "--install")

    result = call(*call_it, **environment)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "installed and started"
    (unit,) = (tmp_path / "config" / "systemd" / "user").iterdir()
    assert said.read_text(encoding="utf-8").splitlines() == [
        "--user daemon-reload",
        f"--user enable --now {unit.name}",
    ]

    broken = call(*call_it, **environment, BROKEN="1")
    assert broken.exit_code == 1
    assert "`systemctl --user daemon-reload` failed: no bus" in broken.stderr


def test_a_service_as_json(call: Call) -> None:
    told = json.loads(call("install-service", "--kind", "launchd", "--json").stdout)
    assert (told["kind"], told["written"], told["installed"]) == ("launchd", False, False)
    assert told["text"].startswith("<?xml")
    assert told["commands"][-1][:2] == ["launchctl", "bootstrap"]
