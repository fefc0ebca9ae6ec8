"""What is behind a model of the config."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.engines.fake import FakeEngine
from pytest_llmeval.engines.llama_server import LlamaServerEngine
from pytest_llmeval.errors import ConfigError
from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.records import Message, Request, Sampling
from pytest_llmeval.results.manifest import AdapterFacts
from pytest_llmeval.run import managed
from pytest_llmeval.run.backing import (
    FAKE_URL,
    backing_of,
    fake_backing,
    fewer_slots,
    in_flight,
    is_healthy,
    what_computes,
)
from pytest_llmeval.run.managed import TELL_EVERY, context_of, fit_of, memory_of
from pytest_llmeval.servers.gguf import read_gguf
from pytest_llmeval.servers.spec import LoraAdapter
from tests.adapters import write_adapter

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

GGUF = Path(__file__).parents[2] / "models" / "tiny-s.gguf"
ADOPTED = {"engine": "openai", "url": "http://127.0.0.1:9/v1"}
EMBEDDED = {"engine": "embedded", "gguf": str(GGUF), "context": 256}
LLAMA_SERVER = {**EMBEDDED, "engine": "llama-server"}


def model_of(bench: Workbench, **keys: Any) -> ModelConfig:
    """The model m of a config with these keys."""
    bench.config(models={"m": keys})
    return bench.settings().config.models["m"]


@pytest.mark.parametrize(
    ("keys", "dry_run", "expected"),
    [
        ({**EMBEDDED, "slots": 4}, False, 5),
        ({**LLAMA_SERVER, "slots": 2}, False, 3),
        ({**ADOPTED, "slots": 2}, False, 3),
        ({"engine": "fake", "slots": 4}, False, 4),
        ({**EMBEDDED, "slots": 4}, True, 4),
        ({**EMBEDDED, "exact": True}, False, 1),
        ({"engine": "fake", "exact": True}, True, 1),
    ],
)
def test_one_request_waits_at_the_server_unless_there_is_no_way_to_it(
    bench: Workbench, keys: dict[str, Any], expected: int, *, dry_run: bool
) -> None:
    model = model_of(bench, **keys)
    assert in_flight(model, model.slots, timed=False, dry_run=dry_run) == expected


@pytest.mark.parametrize(
    ("keys", "server", "told", "expected"),
    [
        ({"slots": 4}, {}, 1, 2),
        ({"slots": 2}, {}, 8, 3),
        ({}, {"slots": 2}, 8, 3),
        ({}, {}, 8, 9),  # nobody has said how many of them may be had
        ({"slots": 2}, {}, None, 3),
        ({"url": ["http://127.0.0.1:9", "http://127.0.0.2:9"], "slots": 2}, {}, 8, 4),
    ],
)
def test_somebody_elses_server_gets_what_was_asked_for_and_no_more_than_it_has(
    bench: Workbench, keys: dict[str, Any], server: dict[str, Any], told: int | None, expected: int
) -> None:
    bench.config(models={"m": {**ADOPTED, **keys}}, server=server)
    model = bench.settings().config.models["m"]
    assert in_flight(model, told, timed=False, dry_run=False) == expected


def test_a_server_with_fewer_slots_than_asked_for_is_told_with_both_ways_out(
    bench: Workbench,
) -> None:
    assert fewer_slots(model_of(bench, **ADOPTED, slots=4), 1) == (
        f"m: 4 slots were asked for, and the server at {ADOPTED['url']} has 1: 1 request at a time "
        "will be answered; write slots: 1, or start it with -np 4"
    )
    urls = ["http://127.0.0.1:9", "http://127.0.0.2:9"]
    assert fewer_slots(model_of(bench, engine="openai", url=urls, slots=4), 5) == (
        "m: 8 slots were asked for, and the 2 servers have 5: 5 requests at a time will be "
        "answered; write as many slots as each of them has, or start them with -np 4"
    )


def test_slots_that_nobody_asked_for_or_that_are_there_are_no_matter(bench: Workbench) -> None:
    assert fewer_slots(model_of(bench, **ADOPTED), 1) is None
    assert fewer_slots(model_of(bench, **ADOPTED, slots=4), 4) is None
    assert fewer_slots(model_of(bench, **ADOPTED, slots=4), None) is None
    assert fewer_slots(model_of(bench, **EMBEDDED, slots=4), 1) is None


def test_how_many_slots_were_written_is_not_kept_twice(bench: Workbench) -> None:
    """A run is gone on with where the slots have come from the other section of the config."""
    bench.config(models={"m": {**ADOPTED, "slots": 2}})
    written = bench.settings().config.canonical
    bench.config(models={"m": ADOPTED}, server={"slots": 2})
    assert bench.settings().config.canonical == written


def test_no_request_waits_at_a_server_whose_latency_decides(bench: Workbench) -> None:
    model = model_of(bench, **EMBEDDED, slots=4)
    assert in_flight(model, model.slots, timed=True, dry_run=False) == 4


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (EMBEDDED, "embedded: CPU only; for your GPU use engine: llama-server"),
        (LLAMA_SERVER, "llama-server"),
        ({**LLAMA_SERVER, "gpu_layers": "all"}, "llama-server, gpu_layers: all"),
        ({"engine": "fake"}, "fake: no model at all"),
        (ADOPTED, "openai at http://127.0.0.1:9/v1, adopted: never started or stopped here"),
        (
            {**ADOPTED, "engine": "llama-server"},
            "llama-server at http://127.0.0.1:9/v1, adopted: never started or stopped here",
        ),
    ],
)
def test_the_header_says_what_computes(bench: Workbench, keys: dict[str, Any], words: str) -> None:
    assert what_computes(model_of(bench, **keys)) == words


def test_memory_is_the_file_and_what_each_slot_remembers(bench: Workbench) -> None:
    small = memory_of(model_of(bench, **EMBEDDED, slots=1))
    large = memory_of(model_of(bench, **EMBEDDED, slots=5))
    assert small is not None
    assert large is not None
    assert small.vram == large.vram == 0
    assert small.ram > Path(GGUF).stat().st_size
    per_slot, rest = divmod(large.ram - small.ram, 4)
    assert per_slot > 0
    assert rest == 0


def test_layers_on_the_gpu_take_their_share_of_a_model_with_them(bench: Workbench) -> None:
    def taken(**keys: Any) -> Memory:
        found = memory_of(model_of(bench, **LLAMA_SERVER, **keys), has_gpu=False)
        assert found is not None
        return found

    whole = taken().total
    layers = read_gguf(GGUF).layers
    assert layers is not None
    assert taken() == taken(gpu_layers=0) == Memory(whole, 0)
    assert taken(gpu_layers="all") == taken(gpu_layers=layers + 1) == Memory(0, whole)
    assert taken(gpu_layers=1) == Memory(whole - whole // (layers + 1), whole // (layers + 1))


def test_llama_server_takes_a_gpu_that_is_there_where_nobody_says_how_many_layers(
    bench: Workbench,
) -> None:
    on_gpu = memory_of(model_of(bench, **LLAMA_SERVER), has_gpu=True)
    embedded = memory_of(model_of(bench, **EMBEDDED), has_gpu=True)
    assert on_gpu is not None
    assert embedded is not None
    assert (on_gpu.ram, embedded.vram) == (0, 0)


def test_the_memory_that_a_config_declares_wins(bench: Workbench) -> None:
    declared = {"memory": "6 GiB"}
    assert memory_of(model_of(bench, **EMBEDDED, **declared)) == Memory(6 * 2**30, 0)
    assert memory_of(model_of(bench, **LLAMA_SERVER, gpu_layers="all", **declared)) == Memory(
        0, 6 * 2**30
    )
    assert memory_of(model_of(bench, **ADOPTED, **declared)) == Memory(6 * 2**30, 0)


def test_what_fits_on_the_gpu_is_told_in_words(bench: Workbench) -> None:
    model = model_of(bench, **LLAMA_SERVER, gpu_layers="all")
    words = fit_of(model, Memory(0, 2 * 2**30))
    trained = read_gguf(GGUF).context_length
    assert words == f"its GPU has 2.00 GiB free: room for slots: 8, context: {trained}"
    assert fit_of(model, Memory(0, 2**30)).endswith(
        "too little for all layers, take fewer (gpu_layers) or a smaller file"
    )
    assert fit_of(model, Memory(0, None)) == "how much its GPU has free cannot be told"
    assert fit_of(model_of(bench, **EMBEDDED), Memory(0, None)) == ""


@pytest.mark.parametrize("keys", [ADOPTED, {"engine": "fake"}], ids=["adopted", "fake"])
def test_what_somebody_else_loads_takes_no_memory_of_ours(
    bench: Workbench, keys: dict[str, Any]
) -> None:
    assert memory_of(model_of(bench, **keys)) is None


def test_the_size_of_a_broken_file_is_unknown_and_no_error_here(bench: Workbench) -> None:
    broken = bench.write("broken.gguf", "no model")
    assert memory_of(model_of(bench, **{**EMBEDDED, "gguf": str(broken)})) is None


def test_a_key_that_is_not_set_is_refused_by_its_variables_name(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(bench, **ADOPTED, api_key_env="LLMEVAL_TEST_KEY")
    monkeypatch.delenv("LLMEVAL_TEST_KEY", raising=False)
    with pytest.raises(ConfigError) as refusal:
        backing_of(model, bench.settings().config, bench.root, print)
    assert str(bench.root / "local.yaml") in str(refusal.value)
    assert "LLMEVAL_TEST_KEY, which is not set" in str(refusal.value)


@pytest.mark.parametrize("key", ["s3cret\n", "s3cret\r\nX: y", "s3crét", "s3cret ", " s3cret"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    model = model_of(bench, **ADOPTED, api_key_env="LLMEVAL_TEST_KEY")
    monkeypatch.setenv("LLMEVAL_TEST_KEY", key)
    with pytest.raises(ConfigError, match=r"LLMEVAL_TEST_KEY holds characters") as refusal:
        backing_of(model, bench.settings().config, bench.root, print)
    assert "s3cr" not in str(refusal.value)


def test_a_key_never_shows(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(bench, **ADOPTED, api_key_env="LLMEVAL_TEST_KEY")
    monkeypatch.setenv("LLMEVAL_TEST_KEY", "s3cret")
    backing = backing_of(model, bench.settings().config, bench.root, print)
    assert backing.make_server is None
    assert "s3cret" not in repr(model)
    engine = backing.make_engine(backing.url)
    assert "s3cret" not in repr(engine)


def test_a_server_of_ours_gets_what_the_config_says_and_is_not_started(bench: Workbench) -> None:
    model = model_of(bench, **EMBEDDED, slots=3, threads=1, port=4711)
    backing = backing_of(model, bench.settings().config, bench.root, print)
    assert backing.make_server is not None
    server = backing.make_server(bench.root / "logs")
    assert server is not None
    spec = server.spec
    assert (spec.kind, spec.slots, spec.context, spec.threads) == ("embedded", 3, 256, 1)
    assert (spec.port, spec.log_path) == (4711, bench.root / "logs" / "m.log")
    assert not server.alive()
    assert not (bench.root / "logs").exists()


def test_adapters_go_to_the_server_and_into_what_is_known_of_the_weights(
    bench: Workbench,
) -> None:
    style = write_adapter(bench.root / "style.gguf", GGUF)
    plain = model_of(bench, **EMBEDDED)
    model = model_of(bench, **EMBEDDED, lora={"path": "style.gguf", "scale": 0.5})
    config = bench.settings().config
    backing = backing_of(model, config, bench.root / "cache", print)
    assert backing.make_server is not None
    server = backing.make_server(bench.root)
    assert server is not None
    assert server.spec.lora == (LoraAdapter(style, 0.5),)
    digest = hashlib.sha256(style.read_bytes()).hexdigest()
    assert backing.adapters(lambda: False) == (AdapterFacts("style.gguf", digest, 0.5),)
    without = backing_of(plain, config, bench.root / "cache", print)
    assert without.weights(lambda: False) == without.digest(lambda: False)
    assert backing.digest(lambda: False) == without.digest(lambda: False)
    assert backing.weights(lambda: False) not in {None, without.weights(lambda: False)}


def test_adapters_take_memory_too(bench: Workbench) -> None:
    write_adapter(bench.root / "style.gguf", GGUF)
    plain = memory_of(model_of(bench, **EMBEDDED))
    styled = memory_of(model_of(bench, **EMBEDDED, lora="style.gguf"))
    assert plain is not None
    assert styled is not None
    assert styled.ram > plain.ram
    assert memory_of(model_of(bench, **EMBEDDED, lora="none.gguf")) is None


def test_an_adopted_llama_server_is_never_started_and_gets_llama_cpps_keys(
    bench: Workbench,
) -> None:
    keys = {**ADOPTED, "engine": "llama-server", "chat_template_kwargs": {"a": 1}}
    model = model_of(bench, **keys, exact=True)
    backing = backing_of(model, bench.settings().config, bench.root, print)
    assert (backing.make_server, backing.url) == (None, ADOPTED["url"])
    assert backing.digest(lambda: False) is None
    engine = backing.make_engine(backing.url)
    assert isinstance(engine, LlamaServerEngine)
    assert engine._endpoint.settings == {"chat_template_kwargs": {"a": 1}}


def test_without_a_context_in_the_config_a_model_gets_no_more_than_it_was_trained_for(
    bench: Workbench,
) -> None:
    written = model_of(bench, **EMBEDDED)
    trained = read_gguf(GGUF)
    unsaid = dataclasses.replace(written, context=None)
    assert trained.context_length == 1024
    assert context_of(written, trained) == 256
    assert context_of(unsaid, trained) == 1024
    assert context_of(unsaid, dataclasses.replace(trained, context_length=131_072)) == 4096
    assert context_of(unsaid, dataclasses.replace(trained, context_length=None)) == 4096


def test_loading_is_told_soon_and_then_less_and_less_often(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    reports: list[Any] = []
    monkeypatch.setattr(
        "pytest_llmeval.run.managed.Server", lambda *_, report, **__: reports.append(report)
    )
    backing = backing_of(
        model_of(bench, **EMBEDDED), bench.settings().config, bench.root, said.append
    )
    assert backing.make_server is not None
    backing.make_server(bench.root)
    for second in range(100):
        reports[0](float(second), "load_tensors: 40 %")
    assert said[0] == "llmeval: m is loading, 2 s: load_tensors: 40 %"
    seconds = [int(line.split()[-5]) for line in said]
    gaps = [later - earlier for earlier, later in itertools.pairwise(seconds)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == TELL_EVERY


def test_the_fake_engine_is_always_healthy(bench: Workbench) -> None:
    model = model_of(bench, engine="fake")
    assert fake_backing(model).url == FAKE_URL
    assert is_healthy(bench.settings().config, "m", FAKE_URL)


def test_the_fake_of_a_dry_run_keeps_no_requests(bench: Workbench) -> None:
    backing = fake_backing(model_of(bench, engine="fake"))
    engine = backing.make_engine(FAKE_URL)
    assert isinstance(engine, FakeEngine)
    asyncio.run(engine.complete(Request((Message("user", "?"),), Sampling(8))))
    assert engine.requests == []


def test_an_endpoint_that_is_not_there_is_not_healthy(bench: Workbench) -> None:
    bench.config(models={"m": ADOPTED})
    assert not is_healthy(bench.settings().config, "m", ADOPTED["url"])


@pytest.mark.parametrize(
    ("role", "embeds"), [("model", False), ("judge", False), ("embedder", True)]
)
def test_only_an_embedder_is_started_for_embeddings(
    bench: Workbench, tmp_path: Path, role: str, embeds: bool
) -> None:
    models = {"m": {"engine": "fake"}, **bench.real("tiny-s", role=role)}
    bench.config(models=models)
    model = bench.settings().config.models["tiny-s"]
    spec = managed._server_spec(model, tmp_path)
    assert (spec.embeddings, spec.pooling) == (embeds, "mean")
