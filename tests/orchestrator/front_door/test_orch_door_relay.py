"""What passes through the front door, over real sockets; servers and clients misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmeval.errors import OrchestratorError, ServerStartError, StateError
from pytest_llmeval.orchestrator.front_door.door import open_front_door
from pytest_llmeval.orchestrator.front_door.lane import places
from pytest_llmeval.orchestrator.front_door.reading import Limits
from tests.orchestrator.front_door.conftest import (
    STREAM,
    Replies,
    Step,
    chunk,
    get,
    opened,
    post,
    until,
    whole,
)

if TYPE_CHECKING:
    from tests.orchestrator.front_door.conftest import DoorStandIn, World

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "Zürich 🎈"}]}
Use = Callable[["World"], Awaitable[None]]


def with_world(
    instances: DoorStandIn, use: Use, *scripts: Sequence[Step], seconds: float = 30, **options: Any
) -> None:
    async def main() -> None:
        async with opened(instances, *scripts, **options) as world:
            await use(world)

    asyncio.run(asyncio.wait_for(main(), seconds))


# Requests and answers -----------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_sent_and_its_answer_as_it_was_given(
    stand_in: DoorStandIn,
) -> None:
    async def use(world: World) -> None:
        lines = ("X-Mine: 1", "Connection: x-hop, keep-alive", "X-Hop: 2", "TE: trailers")
        reply = await world.post(ASK, "/v1/chat/completions?a=b", *lines)
        (seen,) = world.upstream.seen
        assert seen.line == "POST /v1/chat/completions?a=b HTTP/1.1"
        assert json.loads(seen.body) == ASK
        assert seen.headers == {
            "host": f"127.0.0.1:{world.upstream.port}",
            "x-mine": "1",
            "content-length": str(len(seen.body)),
        }
        assert reply.status == 201
        assert reply.body == b"\x00\xff"
        assert reply.headers == {"x-theirs": "2", "content-length": "2"}

    script = [whole(b"\x00\xff", "201 Created", "X-Theirs: 2", "Keep-Alive: timeout=5")]
    with_world(stand_in, use, script)


@pytest.mark.parametrize("cut", [1, 2, 7])
def test_a_request_that_comes_in_little_pieces_is_the_same(stand_in: DoorStandIn, cut: int) -> None:
    sent = b"".join(
        [
            b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunk(b'{"model":'),
            chunk(b'"tiny"}'),
            b"0\r\nX-Trailer: 1\r\n\r\n",
        ]
    )

    async def use(world: World) -> None:
        reader, writer = await world.connect()
        for at in range(0, len(sent), cut):
            writer.write(sent[at : at + cut])
            await asyncio.sleep(0)
        replies = Replies()
        while not replies.complete:
            replies.feed(await reader.read(1000))
        (seen,) = world.upstream.seen
        assert seen.body == b'{"model":"tiny"}'
        assert "transfer-encoding" not in seen.headers
        assert "x-trailer" not in seen.headers

    with_world(stand_in, use)


def test_requests_sent_ahead_are_answered_one_by_one_in_their_order(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        sent = post(ASK) + get("/health") + post(ASK) + get("/v1/models") + post({"model": "x"})
        replies = await world.ask(sent, 5)
        assert [reply.json.get("n") for reply in replies] == [1, None, 2, None, None]
        assert [reply.status for reply in replies] == [200, 200, 200, 200, 404]
        assert world.upstream.most == 1

    with_world(stand_in, use, [0.05, whole({"n": 1})], [whole({"n": 2})])


def test_much_that_is_sent_ahead_is_not_read_before_its_turn(stand_in: DoorStandIn) -> None:
    go = asyncio.Event()
    big = post({"model": "tiny", "x": "y" * 500_000})

    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(post(ASK) + big * 20)
        await world.upstream.arrived.wait()
        await asyncio.sleep(0.2)
        assert writer.transport.get_write_buffer_size() > 0
        go.set()
        replies = Replies()
        while len(replies.complete) < 21:
            replies.feed(await reader.read(100_000))
        assert all(reply.status == 200 for reply in replies.complete)

    with_world(stand_in, use, [go, whole({})], [whole({})])


def test_a_stream_passes_piece_by_piece_and_byte_for_byte(stand_in: DoorStandIn) -> None:
    go = [asyncio.Event() for _ in range(3)]
    pieces = [b"data: {\n\n", b"\x00\xf0\x9f", b"data: [DONE]\n\n"]
    script: list[Step] = [STREAM]
    for each, piece in zip(go, pieces, strict=True):
        script += [each, chunk(piece)]
    script.append(b"0\r\n\r\n")

    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(post(ASK))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Type: text/event-stream\r\n" in head
        for each, piece in zip(go, pieces, strict=True):
            each.set()
            assert await reader.readexactly(len(chunk(piece))) == chunk(piece)
        assert await reader.readexactly(5) == b"0\r\n\r\n"
        # The connection goes on, here and there.
        writer.write(get("/health"))
        assert await reader.readuntil(b"}")

    with_world(stand_in, use, script)


def test_an_old_client_gets_a_stream_that_ends_with_the_connection(stand_in: DoorStandIn) -> None:
    body = json.dumps(ASK).encode()

    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"POST /v1/x HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert b"Connection: close" in head
        assert content == b"one, two"

    with_world(stand_in, use, [STREAM, chunk(b"one, "), chunk(b"two"), b"0\r\n\r\n"])


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_has_none(stand_in: DoorStandIn, status: str) -> None:
    async def use(world: World) -> None:
        first, second = await world.ask(post(ASK) + get("/health"), 2)
        assert first.status == int(status[:3])
        assert "transfer-encoding" not in first.headers
        assert second.status == 200

    with_world(stand_in, use, [f"HTTP/1.1 {status}\r\n\r\n".encode()])


def test_a_stream_of_any_length_passes_in_bounded_memory(stand_in: DoorStandIn) -> None:
    """A client that does not read stops the server; then all of it arrives."""
    piece, count = b"x" * 65536, 800  # 52 MB
    script: list[Step] = [STREAM, *[chunk(piece)] * count, b"0\r\n\r\n"]
    progress: list[int] = []

    async def use(world: World) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.door.port, limit=65536)
        writer.write(post(ASK))
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        (client,) = world.door._clients
        held = client._transport.get_write_buffer_size()
        assert 0 < held < 2**20
        assert world.upstream.now == 1
        replies = 0
        while data := await reader.read(2**20):
            replies += data.count(b"x")
            progress.append(replies)
            if replies == count * len(piece):
                break
        assert replies == count * len(piece)

    with_world(stand_in, use, script)


def test_a_body_may_wait_for_our_word(stand_in: DoorStandIn) -> None:
    body = json.dumps(ASK).encode()

    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(post(ASK, "/v1/x", "Expect: 100-continue")[: -len(body)])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        assert "expect" not in world.upstream.seen[0].headers

    with_world(stand_in, use)


# What breaks --------------------------------------------------------------------------------------


def test_a_client_that_goes_cancels_its_request_at_once(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        _, writer = await world.connect()
        writer.write(post(ASK))
        await world.upstream.arrived.wait()
        writer.transport.abort()
        await world.upstream.left.wait()
        await until(lambda: world.door.snapshot().instances[0].in_flight == 0)
        assert world.door.snapshot().clients == 0

    with_world(stand_in, use, ["hang"])


def test_one_that_runs_already_is_asked_at_once(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        await world.post(ASK)
        assert stand_in.calls == []

    with_world(stand_in, use)


def test_a_client_that_goes_in_mid_stream_cancels_it_too(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(post(ASK))
        await reader.readuntil(b"one")
        writer.close()
        await world.upstream.left.wait()
        await until(lambda: world.door.snapshot().instances[0].in_flight == 0)

    with_world(stand_in, use, [STREAM, chunk(b"one"), "hang"])


def test_a_client_that_goes_leaves_the_queue(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        writers = [(await world.connect())[1] for _ in range(5)]
        for writer in writers:
            writer.write(post(ASK))
        figures = world.door.snapshot
        await until(lambda: figures().instances[0].queued == 3)
        assert figures().instances[0].in_flight == places(1) == 2
        for writer in writers[:4]:
            writer.close()
        await until(lambda: len(world.upstream.seen) == 3)
        await until(lambda: figures().instances[0].queued == 0)
        assert figures().instances[0].in_flight == 1

    with_world(stand_in, use, ["hang"])


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize(
    "head", [STREAM, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"], ids=["chunked", "sized"]
)
def test_a_server_that_dies_in_mid_answer_breaks_it_off(
    stand_in: DoorStandIn, head: bytes, ending: Step
) -> None:
    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(post(ASK))
        try:
            got = await reader.read()
        except ConnectionError:
            return
        replies = Replies()
        replies.feed(got)
        assert b"one" in got
        assert replies.complete == []

    piece = chunk(b"one") if head is STREAM else b"one"
    with_world(stand_in, use, [head, piece, 0.05, ending])


def test_an_old_client_sees_a_stream_break_off_as_a_reset(stand_in: DoorStandIn) -> None:
    """For him a connection that ends in order would be the end of the answer."""
    body = json.dumps(ASK).encode()

    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(b"POST /v1/x HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        with pytest.raises(ConnectionResetError):
            await reader.read()

    with_world(stand_in, use, [STREAM, chunk(b"one"), 0.05, "close"])


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ([0.05, "reset"], "broke the connection before it answered"),
        ([b"HTTP/1.1 200 OK\r\nA: ", "close"], "closed the connection in the middle"),
        ([b"SSH-2.0-OpenSSH\r\n"], "something that is not HTTP"),
    ],
)
def test_a_server_that_gives_no_answer_is_told(
    stand_in: DoorStandIn, script: list[Step], why: str
) -> None:
    async def use(world: World) -> None:
        await world.post(ASK)  # so that there is a connection to go stale
        first, second = await world.ask(post(ASK) + get("/health"), 2)
        assert first.status == 502
        assert first.message.startswith("tiny gave no answer: 127.0.0.1:")
        assert why in first.message
        assert second.status == 200
        assert world.door.snapshot().instances[0].counts.failures == 1

    with_world(stand_in, use, [whole({})], script)


def test_a_stale_connection_is_replaced_and_nobody_notices(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        assert (await world.post(ASK)).status == 200
        await asyncio.sleep(0.02)
        assert (await world.post(ASK)).status == 200

    with_world(stand_in, use, [whole({}), 0.02, "close"], [whole({})])


def test_an_answer_that_takes_longer_than_the_config_allows_is_given_up(
    stand_in: DoorStandIn,
) -> None:
    async def use(world: World) -> None:
        reply = await world.post(ASK)
        assert reply.status == 504
        assert "no complete answer within 0.2 s" in reply.message
        await world.upstream.left.wait()

    declare = {"tiny": {"config": {"server": {"timeout": 0.2}}}}
    with_world(stand_in, use, ["hang"], declare=declare)


def test_one_whose_server_is_gone_is_started_and_asked(
    stand_in: DoorStandIn, dead_port: int
) -> None:
    async def use(world: World) -> None:
        assert (await world.post(ASK)).status == 200
        assert world.instances.ups() == ["tiny"]

    async def main() -> None:
        async with opened(stand_in, declare={}) as world:
            stand_in.declare("tiny", f"http://127.0.0.1:{dead_port}")
            stand_in.urls["tiny"] = world.upstream.url
            await use(world)

    asyncio.run(main())


# Instances ----------------------------------------------------------------------------------------


def test_many_requests_at_once_start_an_instance_once(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        stand_in.go.clear()
        asked = [asyncio.ensure_future(world.post({"model": "fast"})) for _ in range(20)]
        await until(lambda: world.door.snapshot().instances[0].queued == 20)
        stand_in.go.set()
        assert {reply.status for reply in await asyncio.gather(*asked)} == {200}
        assert stand_in.ups() == ["tiny"]
        assert world.upstream.most == places(2) == 3

    declare = {"tiny": {"up": False, "slots": 2, "aliases": ("fast",)}}
    with_world(stand_in, use, [0.01, whole({})], declare=declare)


def test_one_that_cannot_be_started_is_told_in_its_own_words(stand_in: DoorStandIn) -> None:
    stand_in.fails["tiny"] = ServerStartError("the GGUF is truncated")

    async def use(world: World) -> None:
        for _ in range(3):
            reply = await world.post(ASK)
            assert reply.status == 503
            assert reply.message == "tiny cannot be started: the GGUF is truncated"
            assert reply.headers["retry-after"] == "5"
        assert stand_in.ups() == ["tiny"]

    with_world(stand_in, use, declare={"tiny": {"up": False}})


def test_past_the_limit_requests_are_refused_with_a_time_to_come_back(
    stand_in: DoorStandIn,
) -> None:
    go = asyncio.Event()

    async def use(world: World) -> None:
        asked = [asyncio.ensure_future(world.post(ASK)) for _ in range(2 + 3)]
        await until(lambda: world.door.snapshot().instances[0].queued == 3)
        reply = await world.post(ASK)
        assert reply.status == 503
        assert reply.message == (
            "3 requests wait for tiny already, and more may not; come back in 15 s"
        )
        assert (reply.headers["retry-after"], reply.json["error"]["code"]) == ("15", "queue_full")
        go.set()
        assert {reply.status for reply in await asyncio.gather(*asked)} == {200}

    with_world(stand_in, use, [go, whole({})], queue_limit=3)


def test_the_key_of_the_server_takes_the_place_of_the_clients(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        refused = await world.post(ASK)
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        await world.post(ASK, "/v1/x", "Authorization: Bearer of-the-door")
        (seen,) = world.upstream.seen
        assert seen.headers["authorization"] == "Bearer of-the-server"
        assert (await world.get("/health")).status == 200
        assert (await world.get("/v1/models")).status == 401

    declare = {"tiny": {"config": {"server": {"api_key_env": "KEY"}}}}
    environ = {"KEY": "of-the-server"}
    with_world(stand_in, use, declare=declare, key="of-the-door", environ=environ)


def test_a_key_that_the_front_door_does_not_have_is_told_before_anything_is_started(
    stand_in: DoorStandIn,
) -> None:
    async def use(world: World) -> None:
        reply = await world.post(ASK)
        assert reply.status == 503
        assert "the front door has none: set MISSING_KEY where `llama-orch serve` is started" in (
            reply.message
        )
        assert stand_in.ups() == []

    declare = {"tiny": {"up": False, "config": {"server": {"api_key_env": "MISSING_KEY"}}}}
    with_world(stand_in, use, declare=declare)


def test_memory_is_made_by_taking_down_the_longest_unused(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        for model in ("a", "b", "a", "c", "a"):
            assert (await world.post({"model": model})).status == 200
        assert stand_in.ups() == ["a", "b", "c"]
        assert stand_in.downs() == ["b"]

    declare = {name: {"up": False} for name in "abc"}
    with_world(stand_in, use, declare=declare, fits=lambda names: len(names) <= 2)


def test_one_that_was_not_asked_for_its_ttl_is_taken_down(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        await world.post(ASK)
        await until(lambda: stand_in.downs() == ["tiny"])

    with_world(stand_in, use, declare={"tiny": {"config": {"ttl": 0.1}}, "other": {}})


# Pages of our own ---------------------------------------------------------------------------------


def test_models_are_listed_with_their_aliases_and_states(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        listed = (await world.get("/v1/models")).json
        assert listed["object"] == "list"
        found = {entry["id"]: (entry["instance"], entry["state"]) for entry in listed["data"]}
        assert found == {
            "a": ("a", "healthy"),
            "b:1/x": ("b:1/x", "unknown"),
            "fast": ("a", "healthy"),
        }
        assert all(entry["object"] == "model" for entry in listed["data"])
        assert all(isinstance(entry["created"], int) for entry in listed["data"])
        assert (await world.get("/v1/models/fast")).json["instance"] == "a"
        assert (await world.get("/v1/models/b:1%2Fx")).json["id"] == "b:1/x"
        unknown = await world.get("/v1/models/fats")
        assert unknown.status == 404
        assert "did you mean 'fast'?" in unknown.message

    with_world(stand_in, use, declare={"a": {"aliases": ("fast",)}, "b:1/x": {"up": False}})


def test_one_declared_this_very_moment_is_found(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        stand_in.declare("new", world.upstream.url)
        assert (await world.post({"model": "new"})).status == 200

    with_world(stand_in, use)


def test_a_request_without_a_model_goes_to_the_only_instance_and_else_nowhere(
    stand_in: DoorStandIn,
) -> None:
    async def use(world: World) -> None:
        assert (await world.post({"prompt": "x"})).status == 200
        stand_in.declare("other", world.upstream.url)
        await world.get("/v1/models")
        reply = await world.post({"prompt": "x"})
        assert reply.status == 400
        assert "set `model` to one of other, tiny" in reply.message

    with_world(stand_in, use, declare={"tiny": {"aliases": ()}})


@pytest.mark.parametrize(
    ("sent", "status", "why"),
    [
        (post(b"model=tiny"), 400, "must be JSON that names a model"),
        (post({"model": "tinny"}), 404, "did you mean 'tiny'? (models: other, tiny)"),
        (post(ASK, "/completion"), 404, "the front door serves /v1/"),
        (get("/"), 404, "the front door serves /v1/"),
        (get("/v1/chat/completions"), 405, "sent by POST"),
        (get("/v1/modelsx"), 405, "sent by POST"),
        (get("/v1/models", "DELETE"), 405, "sent by POST"),
        (get("/v1/models", "GET", "Origin: https://evil.org"), 403, "web pages of 'https://evil"),
    ],
)
def test_what_is_not_served_is_told(
    stand_in: DoorStandIn, sent: bytes, status: int, why: str
) -> None:
    async def use(world: World) -> None:
        reply, health = await world.ask(sent + get("/health"), 2)
        assert reply.status == status
        assert why in reply.message
        assert reply.json["error"]["type"] == "invalid_request_error"
        assert health.json == {"status": "ok"}
        assert world.upstream.seen == []

    with_world(stand_in, use, declare={"tiny": {}, "other": {}})


def test_head_has_the_head_of_get_and_options_says_what_may_be_asked(
    stand_in: DoorStandIn,
) -> None:
    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(get("/v1/models", "HEAD", "Connection: close"))
        head = await reader.read()
        assert head.endswith(b"\r\n\r\n")
        length = len((await world.get("/v1/models")).body)
        assert b"Content-Length: %d\r\n" % length in head
        reply = await world.get("/v1/chat/completions", "OPTIONS", "Origin: http://localhost:3000")
        assert reply.status == 204
        assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"

    with_world(stand_in, use)


def test_a_state_that_cannot_be_read_is_told_and_the_door_stays_open(
    stand_in: DoorStandIn,
) -> None:
    async def use(world: World) -> None:
        stand_in.trouble = StateError("the database is locked")
        assert (await world.post(ASK)).status == 200
        for reply in (await world.get("/v1/models"), await world.post({"model": "new"})):
            assert reply.status == 503
            assert reply.message == "the database is locked"

    with_world(stand_in, use)


# Clients that are slow, or no clients at all ------------------------------------------------------


@pytest.mark.parametrize("begun", [b"POST /v1/x HTT", post(ASK)[:-5]])
def test_one_that_drips_is_told_and_closed(stand_in: DoorStandIn, begun: bytes) -> None:
    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(begun)
        replies = Replies()
        replies.feed(await reader.read())
        (reply,) = replies.complete
        assert reply.status == 408
        assert reply.headers["connection"] == "close"
        await until(lambda: world.door.snapshot().clients == 0)

    limits = Limits(head_seconds=0.1, body_seconds=0.1, farewell_seconds=0.1)
    with_world(stand_in, use, limits=limits)


def test_one_that_says_nothing_is_closed(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        reader, _ = await world.connect()
        assert await reader.read() == b""

    with_world(stand_in, use, limits=Limits(idle_seconds=0.1))


def test_one_that_sends_too_much_still_reads_why(stand_in: DoorStandIn) -> None:
    """Closing at once would reset the connection while it still sends."""

    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(post({"model": "x" * 5_000_000}))
        replies = Replies()
        replies.feed(await reader.read())
        (reply,) = replies.complete
        assert reply.status == 413
        assert reply.message == "the body is longer than 1,000 bytes"

    with_world(stand_in, use, limits=Limits(body=1000))


def test_past_the_limit_of_connections_one_is_told_and_the_others_go_on(
    stand_in: DoorStandIn,
) -> None:
    async def use(world: World) -> None:
        held = [await world.connect() for _ in range(2)]
        await until(lambda: world.door.snapshot().clients == 2)
        reply = (await world.ask(b""))[0]
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert reply.headers["connection"] == "close"
        assert reply.message.startswith("So many connections are open that no more are taken")
        held[0][1].write(post(ASK))
        assert (await held[0][0].readline()) == b"HTTP/1.1 200 OK\r\n"
        held[1][1].close()
        await until(lambda: world.door.snapshot().clients == 1)
        assert (await world.post(ASK)).status == 200

    with_world(stand_in, use, limits=Limits(clients=2, farewell_seconds=0.1))


def test_a_port_that_is_taken_is_told_with_the_option_for_another(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        with pytest.raises(OrchestratorError, match=r"choose another with --proxy-port"):
            await open_front_door(stand_in, port=world.door.port)

    with_world(stand_in, use)


def test_a_door_that_closes_breaks_off_what_goes_on(stand_in: DoorStandIn) -> None:
    async def use(world: World) -> None:
        reader, writer = await world.connect()
        writer.write(post(ASK))
        await world.upstream.arrived.wait()
        await world.door.close()
        assert await reader.read() == b""
        await world.upstream.left.wait()

    with_world(stand_in, use, ["hang"])
