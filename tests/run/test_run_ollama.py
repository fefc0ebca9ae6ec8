"""Models that Ollama runs: adopted where one answers, started where none does."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pytest_llmeval.errors import ConfigError, LlmevalError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.records import Message, Request, Sampling
from pytest_llmeval.run import Run, Selection
from pytest_llmeval.run.backing import backing_of, in_flight, is_healthy, what_computes
from pytest_llmeval.run.managed import memory_of
from pytest_llmeval.run.models import LiveModel
from pytest_llmeval.run.ollama import digest_there, url_of, usual_url
from pytest_llmeval.servers.server import Server
from tests.standins.ollama import Model, Ollama, write_executable, write_store
from tools.real_runs import becomes_true

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

#: So many requests of preflight come before the first item.
PREFLIGHT = 5
ASKED = Request((Message("user", "17 + 25 ="),), Sampling(max_tokens=8, temperature=0))


@pytest.fixture(autouse=True)
def _no_ollama_of_the_users(monkeypatch: pytest.MonkeyPatch, dead_port: int) -> None:
    """Whatever runs on this machine is not looked at, and no executable is found."""
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{dead_port}")
    monkeypatch.setenv("PATH", os.defpath)


@pytest.fixture
def ollama() -> Iterator[Ollama]:
    """A stand-in with one model that takes two requests at once."""
    with Ollama(slots=2) as it:
        yield it
    assert it.complaints == []


@pytest.fixture
def executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An executable `ollama` on PATH; where the stand-ins it starts leave their records."""
    folder = write_executable(tmp_path / "bin").parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), os.environ["PATH"]]))
    store = write_store(tmp_path / "store", Model(), Model("other:1b"))
    monkeypatch.setenv("OLLAMA_MODELS", str(store))
    return store


def records_in(store: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in store.glob("served-*.json")]


def model_of(bench: Workbench, **keys: Any) -> ModelConfig:
    bench.config(models={"m": {"engine": "ollama", "name": "tiny", **keys}})
    return bench.settings().config.models["m"]


def live(bench: Workbench, said: list[str], **keys: Any) -> LiveModel:
    """The model m, not open yet."""
    model = model_of(bench, **keys)
    logs = bench.root / "logs"
    logs.mkdir(exist_ok=True)
    backing = backing_of(model, bench.settings().config, bench.root, said.append)
    return LiveModel("m", backing, logs, said.append, "local.yaml:2: models: m")


# Where it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        (":8000", "http://127.0.0.1:8000"),
        ("[::]:8000", "http://[::1]:8000"),
        ("::1", "http://[::1]:11434"),
        ("box", "http://box:11434"),
        ("http://box", "http://box:80"),
        ("https://box/ollama", "https://box:443/ollama"),
        (' "box:8000" ', "http://box:8000"),
        ("box:99999", "http://box:11434"),
    ],
)
def test_ollamas_own_variable_says_where_it_is(bench: Workbench, variable: str, url: str) -> None:
    assert url_of(model_of(bench), {"OLLAMA_HOST": variable}) == url


def test_the_configs_url_wins_whichever_interface_it_names(bench: Workbench) -> None:
    model = model_of(bench, url="http://127.0.0.1:8000/v1")
    assert url_of(model, {"OLLAMA_HOST": "box"}) == "http://127.0.0.1:8000"


def test_a_variable_that_names_another_machine_sends_nothing_there(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "box:8000")
    with pytest.raises(ConfigError) as refusal:
        live(bench, [])
    assert "OLLAMA_HOST names another machine (box:8000)" in str(refusal.value)
    assert "Write it as `url:`" in str(refusal.value)


def test_a_name_of_ollamas_cloud_is_refused_before_anything_is_sent(bench: Workbench) -> None:
    with pytest.raises(ConfigError) as refusal:
        live(bench, [], name="gpt-oss:120b-cloud")
    assert "gpt-oss:120b-cloud is asked on to another machine" in str(refusal.value)
    assert "write `remote: true`" in str(refusal.value)
    assert str(refusal.value).startswith(f"{bench.root / 'local.yaml'}:3: models: m: ")
    live(bench, [], name="gpt-oss:120b-cloud", remote=True)


# What the config says -----------------------------------------------------------------------------


def test_the_slots_of_the_server_section_are_not_ollamas(bench: Workbench) -> None:
    bench.config(
        models={"m": {"engine": "ollama"}, "n": {"engine": "ollama", "slots": 3}},
        server={"slots": 8, "context": 1024, "timeout": 9, "executable": "llama-server-of-mine"},
    )
    models = bench.settings().config.models
    assert (models["m"].slots, models["n"].slots) == (1, 3)
    assert (models["m"].context, models["m"].timeout) == (1024, 9)
    assert models["m"].executable == "ollama"
    assert in_flight(models["m"], 1, timed=False, dry_run=False) == 2


def test_the_header_says_where_and_what_happens_if_it_is_not_there(bench: Workbench) -> None:
    here = model_of(bench, url="http://127.0.0.1:8000")
    assert what_computes(here) == (
        "ollama, tiny, 1 slot: at http://127.0.0.1:8000, or started here if none answers"
    )
    there = model_of(bench, url="http://box:8000", slots=2)
    assert what_computes(there) == "ollama, tiny, 2 slots: at http://box:8000"


# Adopted ------------------------------------------------------------------------------------------


def test_one_that_answers_is_adopted_and_never_stopped(
    bench: Workbench, ollama: Ollama, executable: Path
) -> None:
    async def story() -> None:
        model = live(bench, [], url=ollama.url)
        await model.open()
        assert (model.url, model.log_path) == (ollama.url, None)
        assert model.digest == "a" * 64
        assert (await model.ask(ASKED)).text == "42"
        await model.close()

    asyncio.run(story())
    assert ollama.running  # as its keep_alive says
    assert records_in(executable) == []
    assert is_healthy(bench.settings().config, "m", ollama.url)


def test_one_that_gives_way_is_unloaded(bench: Workbench, ollama: Ollama) -> None:
    async def story() -> None:
        model = live(bench, [], url=ollama.url)
        await model.give_way()  # it was not open, and nothing is asked of it
        await model.open()
        await model.give_way()
        assert ollama.running == {}
        await model.open()
        assert ollama.running
        await model.close()

    asyncio.run(story())
    assert ollama.asked("/api/generate")[1] == {"model": "tiny", "stream": False, "keep_alive": 0}


def test_one_that_cannot_be_unloaded_is_told_and_closed(bench: Workbench, ollama: Ollama) -> None:
    said: list[str] = []

    async def story() -> None:
        model = live(bench, said, url=ollama.url)
        await model.open()
        ollama.key = "another"
        await model.give_way()
        assert model._engine is None

    asyncio.run(story())
    (words,) = said
    assert words.startswith("llmeval: m was not unloaded and still takes memory: HTTP 401: who are")


def test_models_that_take_turns_are_never_loaded_together(bench: Workbench) -> None:
    with Ollama(Model(), Model("other:1b")) as ollama:
        loaded: list[set[str]] = []
        load = ollama._load

        def loading(model: Model, body: Any) -> None:
            load(model, body)
            loaded.append(set(ollama.running))

        ollama._load = loading  # type: ignore[method-assign]  # it still loads
        keys = {"engine": "ollama", "url": ollama.url, "memory": "900000 GiB"}
        bench.config(models={"a": {**keys, "name": "tiny"}, "b": {**keys, "name": "other:1b"}})
        bench.run(bench.suite())
    assert {frozenset(each) for each in loaded} == {
        frozenset({"tiny:latest"}),
        frozenset({"other:1b"}),
    }
    assert set(ollama.running) == {"other:1b"}  # the last one is left as its keep_alive says


def test_another_machines_ollama_is_never_replaced_by_one_of_ours(
    bench: Workbench, executable: Path
) -> None:
    model = live(bench, [], url="http://127.0.0.1:9", api_key_env="PATH")  # a proxy in front
    with pytest.raises(LlmevalError, match="Start it with `ollama serve`"):
        asyncio.run(model.open())
    assert records_in(executable) == []


# Started ------------------------------------------------------------------------------------------


def test_where_none_answers_one_is_started_and_ended(bench: Workbench, executable: Path) -> None:
    said: list[str] = []

    async def story() -> None:
        model = live(bench, said, slots=3, context=2048)
        await model.open()
        assert model.digest == "a" * 64
        assert model.log_path == str(bench.root / "logs" / "m.log")
        assert (await model.ask(ASKED)).text == "42"
        await model.close()

    asyncio.run(story())
    assert said == [f"llmeval: m: no Ollama answers at {usual_url(os.environ)}; starting one"]
    (record,) = records_in(executable)
    assert record["complaints"] == []
    assert record["loads"] == ["tiny:latest"]
    told = record["environment"]
    assert (told["OLLAMA_NUM_PARALLEL"], told["OLLAMA_CONTEXT_LENGTH"]) == ("3", "2048")
    assert told["OLLAMA_NO_CLOUD"] == "1"


def test_one_that_dies_is_started_again_and_asked_as_before(
    bench: Workbench, executable: Path
) -> None:
    write_store(executable, Model(trained=1024))
    said: list[str] = []

    async def story() -> None:
        model = live(bench, said)
        await model.open()
        server = model._server
        assert isinstance(server, Server)
        psutil.Process(server.pid).kill()
        await asyncio.to_thread(becomes_true, lambda: not server.alive())
        await model.recover()
        assert (await model.ask(ASKED)).text == "42"
        await model.close()

    asyncio.run(story())
    assert any("its server ended" in words for words in said)
    (record,) = records_in(executable)  # the killed one could leave none
    assert record["complaints"] == []
    assert record["paths"][-2:] == ["/api/show", "/api/chat"]


def test_without_an_executable_every_way_out_is_told_with_its_place(bench: Workbench) -> None:
    said: list[str] = []
    model = live(bench, said)
    with pytest.raises(LlmevalError) as refusal:
        asyncio.run(model.open())
    assert str(refusal.value).startswith("local.yaml:2: models: m: model m needs Ollama, but no")
    assert said == []  # nothing is started


def test_two_models_have_a_server_each(bench: Workbench, executable: Path) -> None:
    models = {"a": {"name": "tiny"}, "b": {"name": "other:1b"}}
    bench.config(models={name: {"engine": "ollama", **keys} for name, keys in models.items()})
    bench.run(bench.suite())
    records = records_in(executable)
    assert sorted(record["loads"] for record in records) == [["other:1b"], ["tiny:latest"]]
    assert [record["complaints"] for record in records] == [[], []]


# Resumed ------------------------------------------------------------------------------------------


def test_a_run_is_resumed_on_the_same_weights_only(bench: Workbench, ollama: Ollama) -> None:
    bench.config(models={"m": {"engine": "ollama", "name": "tiny", "url": ollama.url}})
    suite = bench.suite()
    ollama.faults = [*[""] * PREFLIGHT, "no memory"]
    folder = bench.run(suite)
    facts = json.loads((folder / "manifest.json").read_text("utf-8"))["models"][0]
    assert (facts["digest"], facts["server"]) == ("a" * 64, "ollama 0.14.2")
    settings = bench.settings(resume=folder.name)
    ollama.models["tiny:latest"].weights = "b" * 64
    asked = len(ollama.asked("/api/chat"))
    Run(settings, print).begin(Selection(bench.trials(settings, suite)))
    (mistake,) = settings.mistakes
    assert f"model m: sha256 of the weights was {'a' * 64}, is {'b' * 64}" in mistake
    assert len(ollama.asked("/api/chat")) == asked
    ollama.models["tiny:latest"].weights = "a" * 64
    bench.run(suite, resume=folder.name)
    # One is asked that had failed.
    assert len(ollama.asked("/api/chat")) == asked + PREFLIGHT + 1


def test_weights_that_are_only_known_once_it_runs_are_compared_then(
    bench: Workbench, executable: Path
) -> None:
    """A server of ours says what it has when it is started, after the run was taken up again."""
    bench.config(models={"m": {"engine": "ollama", "name": "tiny"}})
    suite = bench.suite()
    write_store(executable, Model(), faults=[*[""] * PREFLIGHT, "no memory"])
    folder = bench.run(suite)
    write_store(executable, Model(weights="b" * 64))
    bench.run(suite, resume=folder.name)
    rows = (folder / "m" / "predictions.csv").read_text("utf-8")
    assert rows.count("the run has answers by other weights; model m: sha256 of the weights") == 1
    assert "requires more system memory" not in rows


def test_what_no_ollama_says_is_no_digest(dead_port: int, ollama: Ollama) -> None:
    assert digest_there("tiny", f"http://127.0.0.1:{dead_port}", None) is None
    assert digest_there("unknown", ollama.url, None) is None
    ollama.models["tiny:latest"].adapter = "b" * 64
    assert digest_there("tiny", ollama.url, None) == ollama.models["tiny:latest"].digest


def test_a_declared_size_lies_on_the_gpu_where_there_is_one(bench: Workbench) -> None:
    model = model_of(bench, memory="6 GiB")
    assert memory_of(model, has_gpu=True) == Memory(ram=0, vram=6 * 2**30)
    assert memory_of(model, has_gpu=False) == Memory(ram=6 * 2**30, vram=0)
    assert memory_of(model_of(bench)) is None
