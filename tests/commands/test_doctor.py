"""`llmeval doctor` says what is here, what is missing, and how to get it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pytest_llmeval.commands.doctor import EXTRAS, Examination, examine
from pytest_llmeval.commands.llmeval import app
from tests.standins.ollama import Ollama


def bare(name: str) -> None:
    return None


def lines_of(examination: Examination) -> str:
    return "\n".join(examination.lines())


def test_a_bare_machine_is_told_the_exact_line_for_each_missing_piece() -> None:
    text = lines_of(examine(version_of=bare, which=bare, problem_of=lambda _: ""))
    assert 'needs: pip install "pytest-llmeval-local[embedded]"' in text
    assert 'needs: pip install "pytest-llmeval-local[metrics]"' in text
    assert 'needs: pip install "pytest-llmeval-local[parquet]"' in text
    assert 'needs: pip install "pytest-llmeval-local[tokens]"' in text
    assert 'needs: pip install "pytest-llmeval-local[gpu]"' in text
    assert "not installed: math-verify, rapidfuzz, rouge-score, sacrebleu" in text
    assert "winget install llama.cpp" in text
    assert 'needs: pip install "pytest-llmeval-local[llama-cpp]"' in text
    assert "no nvidia-smi on PATH" in text
    assert "scipy         not installed" in text


def test_a_full_machine_needs_nothing() -> None:
    examination = examine(
        version_of=lambda _: "1.2", which=lambda name: f"/bin/{name}", problem_of=lambda _: ""
    )
    assert all(finding.usable for finding in (*examination.engines, *examination.extras))
    assert "needs:" not in lines_of(examination)
    assert "/bin/llama-server" in lines_of(examination)


@pytest.mark.parametrize(
    ("running", "which", "words"),
    [
        ("0.14.2", bare, "yes  ollama  version 0.14.2 is running"),
        (None, lambda _: "/bin/ollama", "/bin/ollama, not running: a run starts one of its own"),
        (None, bare, "no   ollama  not running, and no executable on PATH"),
    ],
)
def test_ollama_is_running_or_installed_or_to_be_had(
    running: str | None, which: Callable[[str], str | None], words: str
) -> None:
    text = lines_of(examine(which=which, ollama_version=lambda: running))
    assert words in re.sub("(?<=ollama) +", "  ", text)
    assert ("winget install Ollama.Ollama" in text) == ("no   ollama" in text)


def test_an_ollama_on_this_machine_is_asked_for_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Ollama() as ollama:
        monkeypatch.setenv("OLLAMA_HOST", ollama.url)
        assert "version 0.14.2 is running" in lines_of(examine())
        assert [seen.path for seen in ollama.seen] == ["/api/version"]


def test_an_ollama_on_another_machine_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "box.example")
    assert "not running" in lines_of(examine(which=bare))


def test_a_package_that_does_not_load_says_why_and_what_to_install() -> None:
    def problem(_: str) -> str:
        return "libgomp.so.1: cannot open shared object file"

    text = lines_of(examine(version_of=lambda _: "1.2", which=bare, problem_of=problem))
    assert "xllamacpp 1.2 does not load: libgomp.so.1" in text
    assert "needs: apt-get install libgomp1" in text
    assert "llama-cpp-python  1.2 does not load" in text
    assert "what is missing is libgomp.so.1: apt-get install libgomp1" in text


def test_every_engine_a_config_may_name_is_examined() -> None:
    from pytest_llmeval.inputs.engine_keys import ENGINES

    found = {finding.name for finding in examine().engines}
    assert found == set(ENGINES)


def test_every_extra_is_examined_with_the_packages_it_declares() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    declared = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    groups = re.findall(r"^([\w-]+) = \[(.*?)\]$", declared, re.MULTILINE | re.DOTALL)
    packages = {name: tuple(re.findall(r'"([\w-]+)>=', listed)) for name, listed in groups}
    of_engines = {"embedded", "llama-cpp"}
    users = {name: its for name, its in packages.items() if name not in {"dev", *of_engines}}
    assert users == {name: its for name, its, _ in EXTRAS}


def test_the_command_exits_0_and_speaks_json() -> None:
    plain = CliRunner().invoke(app, ["doctor"])
    assert plain.exit_code == 0
    assert "Engines" in plain.stdout
    as_json = CliRunner().invoke(app, ["doctor", "--json"])
    assert as_json.exit_code == 0
    assert {"facts", "engines", "extras"} == set(json.loads(as_json.stdout))
