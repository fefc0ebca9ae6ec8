"""The front door before real instances that a real daemon keeps."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_llmeval.orchestrator.client import Client, HomeDaemon
from pytest_llmeval.orchestrator.front_door.door import open_front_door
from pytest_llmeval.orchestrator.state import State
from tests.orchestrator.front_door.conftest import Replies, Reply, post, until
from tools.orch_homes import OrchHome

ONE_AT_A_TIME = 1


@pytest.fixture
def home(tmp_path: Path) -> Iterator[OrchHome]:
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`")
    home = OrchHome(tmp_path / "home", "left", "right")
    yield home
    home.end()


def instances_of(home: OrchHome, state: State) -> Client:
    daemon = HomeDaemon(home.home, home.environ)
    return Client(home.home, state, daemon, environ=home.environ)


def question(model: str, tokens: int) -> bytes:
    messages = [{"role": "user", "content": "1 + 2 ="}]
    body = {"model": model, "messages": messages, "max_tokens": tokens, "ignore_eos": True}
    return post({**body, "stream": True})


async def ask(port: int, data: bytes) -> Reply | None:
    """The whole answer; None if the connection was broken off before its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    replies = Replies()
    try:
        while not replies.complete and (piece := await reader.read(65536)):
            replies.feed(piece)
    except ConnectionError:
        return None
    finally:
        writer.close()
    return replies.complete[0] if replies.complete else None


def is_whole(reply: Reply) -> bool:
    return reply.status == 200 and reply.body.endswith(b"data: [DONE]\n\n")


def test_a_server_that_is_killed_under_load_fakes_no_answer_and_comes_back(home: OrchHome) -> None:
    async def main() -> None:
        with contextlib.closing(State.open(home.home.state)) as state:
            door = await open_front_door(instances_of(home, state), port=0)
            first = await ask(door.port, question("left", 8))
            assert first is not None
            assert is_whole(first)
            asked = [asyncio.ensure_future(ask(door.port, question("left", 200))) for _ in range(6)]
            await until(lambda: door.snapshot().instances[0].in_flight > 0)
            (server,) = home.processes("server")
            server.kill()
            for reply in await asyncio.gather(*asked):
                assert reply is None or is_whole(reply) or reply.status in {502, 503}
            last = await ask(door.port, question("left", 8))
            assert last is not None
            assert is_whole(last), json.loads(last.body)
            (another,) = home.processes("server")
            assert another.pid != server.pid
            await door.close()

    asyncio.run(main())


def test_two_models_with_room_for_one_take_turns_and_no_request_is_lost(home: OrchHome) -> None:
    async def main() -> None:
        with contextlib.closing(State.open(home.home.state)) as state:
            door = await open_front_door(
                instances_of(home, state), port=0, fits=lambda names: len(names) <= ONE_AT_A_TIME
            )
            asked = [ask(door.port, question(("left", "right")[n % 2], 8)) for n in range(8)]
            most = 0

            async def count() -> None:
                nonlocal most
                while True:
                    most = max(most, len(home.processes("server")))
                    await asyncio.sleep(0.02)

            counting = asyncio.ensure_future(count())
            replies = await asyncio.gather(*asked)
            counting.cancel()
            assert all(reply is not None and is_whole(reply) for reply in replies)
            assert most == ONE_AT_A_TIME
            assert {row.name for row in home.state.rows()} == {"left", "right"}
            await door.close()

    asyncio.run(main())
