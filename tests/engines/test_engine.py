"""Engines by the name of their kind: built in, registered, or from another package."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from pytest_llmeval.engines import engine as engines
from pytest_llmeval.engines.engine import (
    Endpoint,
    Refusing,
    kinds,
    make_engine,
    offered,
    refuse_embedding,
    refuse_request,
    register,
)
from pytest_llmeval.engines.fake import FakeEngine
from pytest_llmeval.engines.llama_server import LlamaServerEngine
from pytest_llmeval.engines.openai import OpenAIEngine
from pytest_llmeval.errors import ConfigError, Unsupported
from pytest_llmeval.records import Message, Request, Sampling

HERE = Endpoint("http://127.0.0.1:1")


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(engines, "_registered", dict(engines._registered))


def offer(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Pretend that an installed package offers an engine."""
    point = EntryPoint(name, value, engines.GROUP)
    monkeypatch.setattr(engines, "_offered", lambda: (point,))


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("openai", OpenAIEngine),
        ("llama-server", LlamaServerEngine),
        ("embedded", LlamaServerEngine),
        ("fake", FakeEngine),
    ],
)
def test_the_built_in_kinds_are_made_by_name(kind: str, made: type) -> None:
    assert type(make_engine(kind, HERE)) is made


def test_an_unknown_kind_is_answered_with_what_there_is_and_the_nearest_match() -> None:
    with pytest.raises(ConfigError) as told:
        make_engine("lama-server", HERE)
    assert str(told.value) == (
        "There is no engine 'lama-server'; known are anthropic, embedded, fake, fireworks, "
        "llama-cpp-python, llama-server, ollama, openai. Did you mean 'llama-server'?"
    )


def test_a_registered_kind_is_known_like_a_built_in_one() -> None:
    mine = FakeEngine()
    register("mine")(lambda endpoint: mine)
    assert make_engine("mine", HERE) is mine
    assert "mine" in kinds()


def test_another_package_may_offer_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "theirs", "pytest_llmeval.engines.fake:make_fake")
    assert "theirs" in kinds()
    assert isinstance(make_engine("theirs", HERE), FakeEngine)


@pytest.mark.parametrize("value", ["no_such_package:make", "pytest_llmeval.errors:no_such_name"])
def test_an_offered_kind_that_cannot_be_loaded_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    offer(monkeypatch, "theirs", value)
    with pytest.raises(ConfigError, match=r"The engine 'theirs' .* cannot be loaded: .*no_such"):
        make_engine("theirs", HERE)


def test_only_the_kind_that_is_asked_for_is_imported() -> None:
    code = (
        "import sys; from pytest_llmeval.engines.engine import *;"
        "make_engine('fake', Endpoint(''));"
        "print([m for m in ('httptools', 'httpx', 'ruamel.yaml')"
        " if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert shown.stdout.strip() == b"[]"


def test_asking_over_plain_http_does_without_httpx() -> None:
    code = (
        "import sys; from pytest_llmeval.engines.engine import *;"
        "make_engine('openai', Endpoint('http://127.0.0.1:1')); print('httpx' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert shown.stdout.strip() == b"False"


def test_what_a_kind_cannot_do_is_refused_by_its_name() -> None:
    engine = make_engine("openai", Endpoint("http://127.0.0.1:9"))
    request = Request((Message("user", "a"),), Sampling(1), continuations=(" b",))
    for asked, words in (
        (engine.likelihoods(request), "The engine openai cannot say how likely a given text is"),
        (engine.tokenize("a"), "The engine openai has no tokenizer that could be asked"),
    ):
        with pytest.raises(Unsupported, match=words):
            asyncio.run(asked)
    with pytest.raises(Unsupported, match="The engine fireworks gives no embeddings"):
        asyncio.run(make_engine("fireworks", Endpoint("http://127.0.0.1:9")).embed(["a"]))


def test_only_engines_that_are_not_built_in_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "their_engine:Theirs", engines.GROUP)
    monkeypatch.setattr(engines, "_offered", lambda: (point,))
    assert "theirs" in offered()
    assert not {"fake", "openai", "embedded", "llama-server"} & set(offered())


def test_a_request_can_be_refused_before_anything_is_contacted() -> None:
    request = Request((Message("user", "a"),), Sampling(1, top_k=3))
    with pytest.raises(Unsupported, match="top_k"):
        refuse_request("openai", request)
    refuse_request("llama-server", request)
    refuse_request("fake", request)


def test_a_kind_that_gives_no_embeddings_is_refused_before_anything_is_contacted() -> None:
    @register("mute")
    class Mute(Refusing):  # type: ignore[type-var] # it has no more than is looked at
        kind = "mute"

        def __init__(self, _: Endpoint) -> None:
            """It is never asked."""

    with pytest.raises(Unsupported, match="The engine mute gives no embeddings"):
        refuse_embedding("mute")
    refuse_embedding("llama-server")
    refuse_embedding("fake")
