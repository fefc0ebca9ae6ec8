"""What `llama-orch init` begins: configs without a mistake, and nothing overwritten."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import get_args

import pytest

from pytest_llmeval.errors import InstanceConfigError, OrchestratorError
from pytest_llmeval.orchestrator.configs import load_file, load_instance
from pytest_llmeval.orchestrator.consistency import PLACEHOLDER
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.profiles import Profile, begin_instance, engine_here

MODEL = Path(__file__).resolve().parents[2] / "models" / "tiny-l.gguf"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.mark.parametrize("profile", get_args(Profile))
def test_a_profile_is_loaded_without_a_mistake(home: Home, profile: Profile) -> None:
    begun = begin_instance(home, "a", profile, str(MODEL))
    loaded = load_instance(home, "a")
    assert loaded.path == begun.path
    assert loaded.config.model.path == str(MODEL)
    assert loaded.config.gpu.backend == profile
    assert loaded.config.gpu.layers == (None if profile == "cpu" else "all")
    assert loaded.config.model.threads is None
    assert begun.next_steps == ("llama-orch config lint", "llama-orch up a")


@pytest.mark.parametrize("profile", get_args(Profile))
def test_what_is_commented_out_in_a_profile_can_be_used(home: Home, profile: Profile) -> None:
    path = begin_instance(home, "a", profile, str(MODEL)).path
    text = path.read_text(encoding="utf-8")
    for line in ("engine: embedded", "device_id: 0", "aliases: [my-model]", "ttl: 600"):
        text = text.replace(f"# {line}", line)
    path.write_text(text, encoding="utf-8", newline="\n")
    config = load_file(path).config
    assert (config.aliases, config.ttl) == (("my-model",), 600)
    assert (config.server.engine == "embedded") == (profile == "cpu")
    assert (config.gpu.device_id == 0) == (profile in {"vulkan", "cuda"})


def test_the_package_serves_where_there_is_no_llama_server(home: Home, tmp_path: Path) -> None:
    nowhere = {"PATH": str(tmp_path)}
    assert engine_here("cuda", nowhere) == "llama-server"
    assert engine_here("cpu", nowhere) == "embedded"
    begin_instance(home, "a", "cpu", str(MODEL), engine="embedded")
    assert load_instance(home, "a").config.server.engine == "embedded"


def test_a_llama_server_on_path_is_taken(tmp_path: Path) -> None:
    program = tmp_path / ("llama-server.exe" if os.name == "nt" else "llama-server")
    program.write_bytes(b"")
    program.chmod(0o755)
    assert engine_here("cpu", {"PATH": str(tmp_path), "PATHEXT": ".EXE"}) == "llama-server"


def test_without_a_model_it_is_said_where_to_name_one(home: Home) -> None:
    begun = begin_instance(home, "a", "cuda", None)
    first = begun.next_steps[0]
    assert first.endswith(f" of {begun.path}: the path of your GGUF")
    line = int(first.split()[2])
    assert PLACEHOLDER in begun.path.read_text(encoding="utf-8").splitlines()[line - 1]
    with pytest.raises(InstanceConfigError) as caught:
        load_file(begun.path)
    assert str(caught.value) == (
        f"{begun.path}:{line}: model.path: {PLACEHOLDER} stands for a model; write the path of "
        "your GGUF there"
    )


def test_the_context_is_no_longer_than_what_the_model_was_trained_for(home: Home) -> None:
    begin_instance(home, "a", "cuda", str(MODEL))
    assert load_instance(home, "a").config.model.context_size == 1024
    begin_instance(home, "b", "cuda", str(MODEL.with_name("no.gguf")))
    assert load_instance(home, "b").config.model.context_size == 8192


@pytest.mark.parametrize("folder", ["a $HOME b", "${HOME}", "quote's", 'ba"ck', "ümläut#1: x"])
def test_whatever_the_path_of_the_model_holds_is_read_back(
    home: Home, tmp_path: Path, folder: str
) -> None:
    if os.name == "nt" and '"' in folder:
        pytest.skip("Windows has no such path")
    model = tmp_path / folder / "m.gguf"
    model.parent.mkdir()
    shutil.copyfile(MODEL, model)
    begin_instance(home, "a", "cpu", str(model))
    assert load_instance(home, "a").config.model.path == str(model)


def test_a_model_is_seen_from_where_we_are(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begin_instance(home, "a", "cpu", "m.gguf")
    assert load_instance(home, "a").config.model.path == str(tmp_path / "m.gguf")


@pytest.mark.parametrize("file", ["config.yaml", "config.json"])
def test_nothing_is_overwritten(home: Home, file: str) -> None:
    path = home.instances / "a" / file
    path.parent.mkdir(parents=True)
    path.write_text("mine", encoding="utf-8", newline="\n")
    with pytest.raises(OrchestratorError) as caught:
        begin_instance(home, "a", "cpu", None)
    assert str(caught.value) == (
        f"{path} is there already, and was left as it is; choose another --name, or edit that file"
    )
    assert [each.name for each in path.parent.iterdir()] == [file]
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_name_that_differs_by_case_only_is_refused(home: Home) -> None:
    begin_instance(home, "qwen", "cpu", str(MODEL))
    words = "is there already" if (home.instances / "QWEN").exists() else "differs from it by case"
    with pytest.raises(OrchestratorError, match=words):
        begin_instance(home, "QWEN", "cpu", None)


def test_a_name_that_none_can_have_is_refused_with_one_that_can(home: Home) -> None:
    with pytest.raises(InstanceConfigError, match=r"'qwen3:8b' cannot be used: .*; 'qwen3-8b'"):
        begin_instance(home, "qwen3:8b", "cpu", None)
    assert not home.root.exists()


def test_a_home_that_cannot_be_written_is_told(home: Home) -> None:
    home.root.write_text("a file in its place", encoding="utf-8", newline="\n")
    with pytest.raises(OrchestratorError, match="cannot be"):
        begin_instance(home, "a", "cpu", None)
