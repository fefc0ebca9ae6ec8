"""The front door before llama.cpp's own server with a small model."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.engines.fetch import fetch
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.front_door.door import open_front_door
from pytest_llmeval.orchestrator.views import InstanceView
from pytest_llmeval.servers.server import Server
from pytest_llmeval.servers.spec import ServerSpec
from tests.orchestrator.front_door.conftest import Replies, post, until
from tests.standins.instances import StandIn

if TYPE_CHECKING:
    from tests.orchestrator.front_door.conftest import Reply

MODEL = Path(__file__).parents[3] / "models" / "tiny-s.gguf"


def ask_health(url: str, key: str | None) -> tuple[int, bytes]:
    got = fetch(url, 5, key)
    return got.status or 0, got.body


class RealInstances(StandIn):
    """One instance, with a real server that `up` starts and `down` ends."""

    def __init__(self, folder: Path, **config: Any) -> None:
        super().__init__(folder)
        self.add("tiny", slots=2, aliases=("small",))
        self.configs["tiny"] = InstanceConfig.model_validate(
            {"model": {"path": str(MODEL)}, **config}
        )
        spec = ServerSpec("tiny", "embedded", MODEL, 2, 512, folder / "tiny.log", threads=1)
        self._spec = spec
        self.server: Server | None = None

    def up(self, name: str) -> InstanceView:
        self.calls.append(("up", name))
        self.server = Server(self._spec, ask_health, environ=os.environ)
        self.server.start()
        self.set(name, pid=self.server.pid, health="healthy", url=self.server.url)
        return self.view(name)

    def down(self, name: str) -> InstanceView:
        self.calls.append(("down", name))
        self.stop()
        self.set(name, pid=None, health="unknown", url=None)
        return self.view(name)

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()


@pytest.fixture
def instances(tmp_path: Path) -> Iterator[RealInstances]:
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`")
    instances = RealInstances(tmp_path)
    yield instances
    instances.stop()


ASK = {
    "model": "small",
    "messages": [{"role": "user", "content": "1 + 2 ="}],
    "max_tokens": 24,
    "temperature": 0,
    "seed": 7,
    "cache_prompt": False,
    "ignore_eos": True,
}


async def ask(port: int, body: dict[str, Any]) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post(body))
    replies = Replies()
    while not replies.complete:
        data = await reader.read(65536)
        assert data, "the connection was closed before the answer was complete"
        replies.feed(data)
    writer.close()
    return replies.complete[0]


def events(body: bytes) -> list[Any]:
    """The events of a stream, without what differs between any two answers."""
    found = []
    for event in body.decode().split("\n\n"):
        data = event.removeprefix("data: ")
        if data.startswith("{"):
            content = json.loads(data)
            for volatile in ("id", "created", "timings"):
                content.pop(volatile, None)
            found.append(content)
        elif data:
            found.append(data)
    return found


def test_a_streamed_answer_is_the_one_that_is_given_directly(instances: RealInstances) -> None:
    """Started on demand by an alias; with its usage and its end."""
    body = {**ASK, "stream": True, "stream_options": {"include_usage": True}}

    async def main() -> None:
        door = await open_front_door(instances, port=0)
        through = await ask(door.port, body)
        assert instances.calls == [("up", "tiny")]
        assert instances.server is not None
        direct = await ask(int(instances.server.url.rpartition(":")[2]), body)
        assert through.status == direct.status == 200
        assert through.headers["content-type"] == direct.headers["content-type"]
        assert events(through.body) == events(direct.body)
        assert len(events(through.body)) > 10
        assert any(isinstance(each, dict) and each.get("usage") for each in events(through.body))
        assert through.body.endswith(b"data: [DONE]\n\n")
        whole = await ask(door.port, ASK)
        assert whole.json["usage"]["completion_tokens"] == 24
        await door.close()

    asyncio.run(main())


def test_a_client_that_goes_frees_its_slot(instances: RealInstances) -> None:
    def busy() -> list[bool]:
        assert instances.server is not None
        slots = json.loads(fetch(f"{instances.server.url}/slots", 5).body)
        return [slot["is_processing"] for slot in slots]

    async def main() -> None:
        door = await open_front_door(instances, port=0)
        await ask(door.port, ASK)
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(post({**ASK, "max_tokens": 100_000, "stream": True}))
        await reader.readuntil(b"data: ")
        assert any(await asyncio.to_thread(busy))
        writer.close()
        await until(lambda: door.snapshot().instances[0].in_flight == 0)
        # 2 s is what a server gets to notice; asking it does not take a slot.
        await asyncio.wait_for(asyncio.to_thread(_until_not, busy), 2)
        await door.close()

    asyncio.run(main())


def _until_not(busy: Callable[[], list[bool]]) -> None:
    while any(busy()):
        time.sleep(0.02)


def test_every_byte_of_an_answer_passes_as_the_server_wrote_it(instances: RealInstances) -> None:
    written = bytearray()

    async def tap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on to the server, and writes down what it says."""
        assert instances.server is not None
        port = int(instances.server.url.rpartition(":")[2])
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while data := await from_server.read(65536):
                written.extend(data)
                writer.write(data)
            writer.close()  # it does so after every stream

        answers = asyncio.ensure_future(back())
        while data := await reader.read(65536):
            to_server.write(data)
        to_server.close()
        answers.cancel()
        writer.close()

    async def main() -> None:
        instances.up("tiny")
        server = await asyncio.start_server(tap, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        instances.set("tiny", url=f"http://127.0.0.1:{port}")
        door = await open_front_door(instances, port=0)
        for extra in ({"stream": True, "stream_options": {"include_usage": True}}, {}):
            written.clear()
            through = await ask(door.port, {**ASK, **extra})
            direct = Replies()
            direct.feed(bytes(written))
            assert through.body == direct.complete[0].body
            assert b'"usage"' in through.body
        await door.close()
        server.close()

    asyncio.run(main())


def test_a_server_that_is_killed_is_started_again_for_the_next_request(
    instances: RealInstances,
) -> None:
    async def main() -> None:
        door = await open_front_door(instances, port=0)
        assert (await ask(door.port, ASK)).status == 200
        assert instances.server is not None
        await asyncio.to_thread(instances.server.stop)
        assert (await ask(door.port, ASK)).status == 200
        assert instances.calls == [("up", "tiny"), ("up", "tiny")]
        await door.close()

    asyncio.run(main())


def test_an_unused_server_is_ended_and_started_again_when_it_is_asked_for(
    instances: RealInstances,
) -> None:
    instances.configs["tiny"] = instances.configs["tiny"].model_copy(update={"ttl": 0.2})

    async def main() -> None:
        door = await open_front_door(instances, port=0)
        await ask(door.port, ASK)
        await until(lambda: instances.calls[-1] == ("down", "tiny"))
        assert (await ask(door.port, ASK)).status == 200
        await door.close()

    asyncio.run(main())
    assert [call for call, _ in instances.calls][:3] == ["up", "down", "up"]
