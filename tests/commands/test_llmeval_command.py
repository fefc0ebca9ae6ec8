"""The command itself: help, version, schemas, exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from pytest_llmeval import __version__
from pytest_llmeval.commands.llmeval import app

COMMANDS = [
    [],
    ["batch"],
    ["batch", "build"],
    ["batch", "combine"],
    ["batch", "run"],
    ["calibrate"],
    ["doctor"],
    ["faults"],
    ["power"],
    ["schema"],
    ["runs"],
    ["runs", "list"],
    ["runs", "prune"],
    ["show"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(words: list[str]) -> None:
    found = CliRunner().invoke(app, [*words, "--help"])
    assert found.exit_code == 0
    assert "Usage:" in found.stdout


def test_the_version_is_that_of_the_package() -> None:
    found = CliRunner().invoke(app, ["--version"])
    assert (found.exit_code, found.stdout) == (0, f"llmeval {__version__}\n")


@pytest.mark.parametrize("words", [["nonsense"], ["schema", "nonsense"], ["show", "--limit", "-1"]])
def test_a_wrong_word_is_a_usage_error(words: list[str]) -> None:
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 2
    assert "Traceback" not in found.output


@pytest.mark.parametrize("name", ["config", "suite", "significance"])
def test_a_schema_is_printed_as_json_that_a_validator_takes(name: str) -> None:
    found = CliRunner().invoke(app, ["schema", name])
    assert found.exit_code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(found.stdout))


def test_it_runs_as_a_module_too() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "pytest_llmeval.commands.llmeval", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"llmeval {__version__}\n"


def test_an_error_of_ours_is_one_message_on_stderr_and_status_1(tmp_path: Path) -> None:
    found = subprocess.run(
        [
            *(sys.executable, "-m", "pytest_llmeval.commands.llmeval"),
            *("show", "last", "--run-dir", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("llmeval: there is no run in ")
    assert found.stderr.count("\n") == 1
