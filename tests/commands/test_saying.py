"""Whatever a command prints acts on no terminal, and JSON reads back as it was."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pytest_llmeval.commands import llmeval as llmeval_module
from pytest_llmeval.commands.llama_orch.app import app as llama_orch
from pytest_llmeval.commands.llmeval import app as llmeval
from pytest_llmeval.orchestrator import showing
from pytest_llmeval.orchestrator.views import InstanceView
from pytest_llmeval.visible import visible

HOSTILE = "\x1b]0;pwned\x07\u202ecod.exe\u2069\x9b31m\u200b"
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


def test_errors_spell_out_what_they_quote(tmp_path: Path) -> None:
    for app in (llmeval, llama_orch):
        words = ["show" if app is llmeval else "describe", f"x{HOSTILE}"]
        place = ["--run-dir", str(tmp_path)] if app is llmeval else []
        result = CliRunner().invoke(app, [*words, *place], env={"LLAMA_ORCH_HOME": str(tmp_path)})
        assert result.exit_code == 1
        assert r"\x1b]0;pwned\x07\u202ecod.exe" in result.output
        assert not ACTS.search(result.output)


def test_logs_lose_their_colours_and_hide_nothing(tmp_path: Path) -> None:
    config = tmp_path / "instances" / "alpha" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("model: {path: x.gguf}\n", encoding="utf-8", newline="\n")
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "alpha.out.log"
    log.write_text(f"\x1b[31mred\x1b[0m é{HOSTILE}\n", encoding="utf-8", newline="\n")
    env = {"LLAMA_ORCH_HOME": str(tmp_path)}
    shown = CliRunner().invoke(llama_orch, ["logs", "alpha"], env=env).stdout
    assert shown == f"red é{visible(HOSTILE)}\n"
    found = CliRunner().invoke(llama_orch, ["logs", "alpha", "--json"], env=env).stdout
    assert json.loads(found)["lines"] == [shown.rstrip("\n")]


def test_json_in_a_terminal_acts_on_nothing_and_reads_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from pytest_llmeval.commands.llama_orch.common import say_json

    say_json({"detail": f"é{HOSTILE}"})
    out = capsys.readouterr().out
    assert not ACTS.search(out)
    assert "é" in out
    assert json.loads(out) == {"detail": f"é{HOSTILE}"}


def test_no_cell_of_the_table_of_instances_acts() -> None:
    view = InstanceView(f"a{HOSTILE}", "up", "error", HOSTILE, HOSTILE, None, HOSTILE, 1, ())
    (row,) = showing.fitted([view], 0.0, None).rows
    assert not ACTS.search("".join(row))
    assert rf"a{visible(HOSTILE)}" in row


def test_every_other_way_to_print_is_for_what_is_ours() -> None:
    """JSON whose escapes are its own, a file as it will be written, a table with our colours."""
    commands = Path(llmeval_module.__file__).parent
    printing = {
        path.relative_to(commands).as_posix(): count
        for path in commands.rglob("*.py")
        if (count := len(re.findall(r"typer\.echo|\bprint\(", path.read_text(encoding="utf-8"))))
    }
    assert printing == {
        "saying.py": 1,
        "llmeval.py": 1,
        "llama_orch/common.py": 1,
        "llama_orch/service_command.py": 1,
        "llama_orch/looking_commands.py": 1,
        "llama_orch/config_commands.py": 1,
    }
