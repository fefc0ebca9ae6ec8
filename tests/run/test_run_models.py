"""A model while the run lives, on a real server where it counts."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmeval.engines.engine import EndpointFacts, Engine
from pytest_llmeval.engines.fake import FakeEngine
from pytest_llmeval.errors import (
    EndpointUnreachable,
    LlmevalError,
    ModelFileError,
    ServerStartError,
    Unsupported,
)
from pytest_llmeval.records import Check, Message, Request, Sampling
from pytest_llmeval.run.backing import backing_of
from pytest_llmeval.run.models import Backing, LiveModel, close_all
from pytest_llmeval.running.preflight import Examined
from pytest_llmeval.servers.server import Server
from tools.real_runs import becomes_true

if TYPE_CHECKING:
    from tests.run.conftest import Workbench

ASKED = Request((Message("user", "17 + 25 ="),), Sampling(max_tokens=8, temperature=0))


@asynccontextmanager
async def live(
    bench: Workbench, said: list[str], opened: Callable[[LiveModel], None] = lambda _: None
) -> AsyncIterator[LiveModel]:
    """The config's only model, closed in the end."""
    config = bench.settings().config
    ((name, model),) = config.models.items()
    logs = bench.root / "logs"
    logs.mkdir(exist_ok=True)
    backing = backing_of(model, config, bench.root / "cache", said.append)
    it = LiveModel(name, backing, logs, said.append, "local.yaml:2", opened)
    try:
        yield it
    finally:
        await close_all([it])


def test_a_real_model_lives_dies_comes_back_and_is_opened_again(bench: Workbench) -> None:
    bench.config(models=bench.real("tiny-s"))
    said: list[str] = []
    announced: list[str | None] = []

    async def story() -> None:
        async with live(bench, said, lambda m: announced.append(m.digest)) as model:
            with pytest.raises(EndpointUnreachable, match="tiny-s is not open"):
                await model.ask(ASKED)
            await asyncio.gather(model.open(), model.open())
            assert announced == [model.digest]
            assert model.digest is not None
            assert model.facts is not None
            assert (model.facts.slots, model.facts.context) == (2, 256)
            first = await model.ask(ASKED)
            await model.recover()
            assert model.restarts == 0  # it lives, so nothing is done

            server = model._server
            assert isinstance(server, Server)
            await asyncio.to_thread(kill, model)
            with pytest.raises(EndpointUnreachable) as lost:
                await model.ask(ASKED)
            assert "its last words" in model.explain(lost.value)
            assert "; the server ended: SIGKILL (killed, by hand" in model.explain(lost.value)
            await asyncio.gather(model.recover(), model.recover())
            assert model.restarts == 1
            assert (await model.ask(ASKED)).text == first.text
            assert "; the server ended: SIGKILL" in model.explain(lost.value)  # the one before
            assert any("its server ended (SIGKILL" in line for line in said)

            await model.close()
            assert not server.alive()
            await model.open()
            assert (await model.ask(ASKED)).text == first.text
            assert model.restarts == 1  # in a turn before this one

    asyncio.run(story())


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_server_that_dies_before_it_has_said_what_it_is_is_started_again(
    bench: Workbench, deaths: int
) -> None:
    bench.config(models=bench.real("tiny-s"))
    said: list[str] = []

    async def story() -> None:
        async with live(bench, said) as model:
            make, left = model._backing.make_engine, iter(range(deaths))

            def make_and_kill(url: str) -> Engine:
                if next(left, None) is not None:
                    kill(model)
                return make(url)

            model._backing = dataclasses.replace(model._backing, make_engine=make_and_kill)
            await model.open()
            assert model.restarts == deaths
            assert (await model.ask(ASKED)).text

    asyncio.run(story())
    assert sum("its server ended (SIGKILL" in line for line in said) == deaths


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_server_that_dies_while_it_is_examined_is_examined_once_more(
    bench: Workbench, deaths: int
) -> None:
    bench.config(models=bench.real("tiny-s"))
    looks: list[str] = []

    async def story() -> None:
        async with live(bench, []) as model:

            async def examine(_: Engine, __: EndpointFacts, ___: str | None) -> Examined:
                looks.append(model.url)
                if len(looks) <= deaths:
                    kill(model)
                return Examined((Check("alive", "ok", f"look {len(looks)}"),), 1, 0.0)

            model._examine = examine
            await model.open()
            assert model.checks == (Check("alive", "ok", "look 2"),)
            assert model.restarts == 1  # what kills it each time is found by the trials
            await model.recover()
            assert (await model.ask(ASKED)).text

    asyncio.run(story())
    assert len(looks) == 2


def kill(model: LiveModel) -> None:
    """`kill -9` of its server, seen to be dead."""
    server = model._server
    assert isinstance(server, Server)
    psutil.Process(server.pid).kill()
    becomes_true(lambda: not server.alive())


def test_a_model_that_was_refused_stays_refused(bench: Workbench) -> None:
    missing = {**bench.real("tiny-s")["tiny-s"], "gguf": "missing.gguf"}
    bench.config(models={"m": missing})

    async def story() -> list[ModelFileError]:
        errors = []
        async with live(bench, []) as model:
            for _ in range(2):
                with pytest.raises(ModelFileError, match=r"missing\.gguf") as refusal:
                    await model.open()
                errors.append(refusal.value)
        return errors

    first, second = asyncio.run(story())
    assert first is second


@pytest.mark.skipif(sys.platform == "win32", reason="the slow server is a shell script")
def test_closing_does_not_wait_for_a_model_that_is_still_loading(bench: Workbench) -> None:
    slow = bench.write("slow", "#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    keys = {"engine": "llama-server", "executable": str(slow)}
    bench.config(models=bench.real("tiny-s", **keys))

    async def story() -> None:
        async with live(bench, []) as model:
            opening = asyncio.ensure_future(model.open())
            await asyncio.to_thread(becomes_true, lambda: model._server and model._server.alive())
            await model.close()
            with pytest.raises(ServerStartError, match="it was stopped while it started"):
                await opening

    asyncio.run(story())


def test_an_adopted_endpoint_that_still_loads_is_waited_for_and_that_is_told(
    bench: Workbench, tmp_path: Path
) -> None:
    said: list[str] = []
    loading = [True, True, False]

    async def story() -> None:
        backing = dataclasses.replace(
            backing_of(
                bench.settings().config.models["m"], bench.settings().config, tmp_path, print
            ),
            is_loading=lambda: loading.pop(0),
        )
        model = LiveModel("m", backing, tmp_path, said.append, "local.yaml:2")
        await model.open()
        await model.close()

    asyncio.run(story())
    assert loading == []
    assert said == ["llmeval: m (fake:) is loading: waiting up to 600 s"]


def test_what_the_run_refuses_is_closed_again(bench: Workbench) -> None:
    def refuse(_: LiveModel) -> None:
        raise LlmevalError("not these weights")

    async def story() -> None:
        async with live(bench, [], refuse) as model:
            with pytest.raises(LlmevalError, match="not these weights"):
                await model.open()
            with pytest.raises(EndpointUnreachable):
                await model.ask(ASKED)

    asyncio.run(story())


def test_an_endpoint_that_is_not_ours_is_never_recovered(bench: Workbench) -> None:
    async def story() -> None:
        said: list[str] = []
        async with live(bench, said) as model:
            await model.open()
            await model.recover()
            assert (model.restarts, model.log_path, said) == (0, None, [])
            assert model.explain(EndpointUnreachable("refused")) == "refused"

    asyncio.run(story())


class Exchanged(FakeEngine):
    """An endpoint that is gone once, and comes back with another file."""

    def __init__(self) -> None:
        super().__init__()
        self.file, self.is_gone = "a.gguf", False

    async def describe(self) -> EndpointFacts:
        return EndpointFacts(model_path=self.file)

    async def embed(self, texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        if self.is_gone:
            raise EndpointUnreachable("refused")
        return tuple((1.0,) for _ in texts)


def test_vectors_of_a_model_that_came_back_as_another_are_none(tmp_path: Path) -> None:
    engine = Exchanged()
    backing = Backing(None, lambda _: engine, "http://x", lambda _: None)

    async def story() -> None:
        model = LiveModel("m", backing, tmp_path, print, "local.yaml:2")
        await model.open()
        assert await model.embed(["a"]) == ((1.0,),)
        engine.is_gone = True
        with pytest.raises(EndpointUnreachable):
            await model.embed(["a"])
        engine.is_gone, engine.file = False, "b.gguf"
        with pytest.raises(Unsupported, match=r"came back as something else: model a\.gguf and b"):
            await model.embed(["a"])
        engine.file = "a.gguf"
        assert await model.embed(["a"]) == ((1.0,),)
        await model.close()

    asyncio.run(story())


def test_closing_many_closes_all_and_then_raises_the_first_trouble(bench: Workbench) -> None:
    class Stubborn(LiveModel):
        async def close(self) -> None:
            raise RuntimeError("I stay")

    async def story() -> list[bool]:
        async with live(bench, []) as one, live(bench, []) as other:
            await asyncio.gather(one.open(), other.open())
            stubborn = Stubborn("s", one._backing, bench.root, print, "local.yaml:2")
            with pytest.raises(RuntimeError, match="I stay"):
                await close_all([one, stubborn, other])
            return [model._engine is None for model in (one, other)]

    assert asyncio.run(story()) == [True, True]
