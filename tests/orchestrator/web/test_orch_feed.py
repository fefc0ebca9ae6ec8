"""What watchers are told, and when: the differences by themselves, then over a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from pytest_llmeval.errors import ServerStartError, StateError
from pytest_llmeval.orchestrator.listening import listen, serve
from pytest_llmeval.orchestrator.web.access import Access
from pytest_llmeval.orchestrator.web.answers import Job, Outcome, Overview, Problem
from pytest_llmeval.orchestrator.web.app import make_app
from pytest_llmeval.orchestrator.web.feed import Feed, Scene, as_event, messages
from pytest_llmeval.orchestrator.web.server import WebServer
from tests.orchestrator.web.conftest import RIGHT, Served, door, until
from tests.standins.instances import StandIn

Event = tuple[str, Any]


@contextlib.contextmanager
def watching(served: Served) -> Iterator[Iterator[Event]]:
    """The events of one watcher, each as it comes."""
    with httpx.stream("GET", f"{served.url}/events", timeout=60, trust_env=False) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield events(answer)


def events(answer: httpx.Response) -> Iterator[Event]:
    name = ""
    for line in answer.iter_lines():
        field, _, text = line.partition(": ")
        if field == "event":
            name = text
        elif field == "data":
            yield name, json.loads(text)


def following(seen: Iterator[Event], name: str) -> Any:
    """The data of the next event of that name."""
    return next(data for event, data in seen if event == name)


# By themselves ------------------------------------------------------------------------------------


def scene(stand_in: StandIn, **facts: Any) -> Scene:
    return Scene(Overview(1.0, True, stand_in.overview(), **facts))


def names(before: Scene | None, after: Scene) -> list[str]:
    return [name for name, _ in messages(before, after)]


def test_who_knows_nothing_is_told_the_whole_and_no_old_outcomes(stand_in: StandIn) -> None:
    stand_in.add("a")
    after = replace(scene(stand_in), outcomes=(Outcome(1, "a", "start"),))
    assert messages(None, after) == [("overview", after.overview)]


def test_who_knows_all_is_told_nothing(stand_in: StandIn) -> None:
    stand_in.add("a")
    assert messages(scene(stand_in), scene(stand_in)) == []
    later = scene(stand_in)
    assert messages(scene(stand_in), replace(later, overview=replace(later.overview, now=9))) == []


def test_only_what_has_changed_is_told(stand_in: StandIn) -> None:
    for name in ("a", "b", "c"):
        stand_in.add(name)
    before = scene(stand_in)
    stand_in.set("b", health="busy")
    del stand_in.views["c"]
    stand_in.add("d")
    found = messages(before, scene(stand_in))
    assert found == [
        ("gone", {"name": "c"}),
        ("instance", stand_in.views["b"]),
        ("instance", stand_in.views["d"]),
    ]


def test_jobs_daemon_and_trouble_are_told_when_they_change(stand_in: StandIn) -> None:
    stand_in.add("a")
    before = scene(stand_in)
    after = scene(stand_in, pending=(Job("a", "start"),), trouble="locked")
    after = replace(after, overview=replace(after.overview, daemon=False, door=door(a=(1, 0))))
    assert names(before, after) == ["pending", "daemon", "door", "trouble"]
    assert names(after, after) == []


def test_each_outcome_is_told_once(stand_in: StandIn) -> None:
    one, two = Outcome(1, "a", "start"), Outcome(2, "a", "stop", Problem("no", "bad"))
    empty = scene(stand_in)
    first, second = replace(empty, outcomes=(one,)), replace(empty, outcomes=(one, two))
    assert messages(empty, first) == [("outcome", one)]
    assert messages(first, second) == [("outcome", two)]
    assert messages(replace(empty, outcomes=(two,)), replace(empty, outcomes=(two,))) == []


def test_an_event_is_one_block_whatever_its_text(stand_in: StandIn) -> None:
    stand_in.add("a", detail="one\n\nevent: gone\r\ndata: {}\u2028\x00", tokens_per_second=1e400)
    block = as_event(("instance", stand_in.views["a"]))
    assert block.startswith(b"event: instance\ndata: {")
    assert block.endswith(b"}\n\n")
    assert block.count(b"\n") == 3
    assert b"\r" not in block
    data = json.loads(block.split(b"data: ", 1)[1])
    assert data["detail"] == stand_in.views["a"].detail
    assert data["tokens_per_second"] is None  # JSON has no infinity


# Over a real server -------------------------------------------------------------------------------


def test_changes_are_told_as_they_happen(served: Served) -> None:
    served.instances.add("qwen")
    with watching(served) as seen:
        whole = following(seen, "overview")
        assert [view["name"] for view in whole["instances"]] == ["qwen"]
        served.instances.set("qwen", health="loading")
        assert following(seen, "instance")["health"] == "loading"
        served.instances.add("llama")
        assert following(seen, "instance")["name"] == "llama"
        del served.instances.views["llama"]
        assert following(seen, "gone") == {"name": "llama"}
        served.instances.daemon = False
        assert following(seen, "daemon") == {"up": False}
        served.instances.door = door(qwen=(1, 0))
        assert following(seen, "door")["instances"][0]["in_flight"] == 1


def test_an_action_is_told_from_its_beginning_to_its_end(served: Served) -> None:
    served.instances.add("qwen")
    served.instances.go.clear()
    served.instances.fails["qwen"] = ServerStartError("it died", log_tail=("out of memory",))
    with watching(served) as seen:
        following(seen, "overview")
        served.call("POST", "/instances/qwen/start", headers=RIGHT)
        assert following(seen, "pending") == [{"name": "qwen", "action": "start"}]
        served.instances.go.set()
        outcome = following(seen, "outcome")
    assert outcome["error"]["type"] == "server_failed"
    assert outcome["error"]["message"] == "it died\nits last words:\n    out of memory"


def test_trouble_is_told_and_its_end(served: Served) -> None:
    served.instances.add("qwen")
    with watching(served) as seen:
        following(seen, "overview")
        served.instances.trouble = StateError("state.db cannot be read")
        assert following(seen, "trouble") == {"message": "state.db cannot be read"}
        served.instances.trouble = None
        assert following(seen, "trouble") == {"message": None}
    served.instances.trouble = StateError("state.db cannot be read")
    answer = served.call("GET", "/instances")
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "state_unusable")


def test_many_watch_and_nobody_looks_when_they_have_gone(served: Served) -> None:
    served.instances.add("qwen")
    with contextlib.ExitStack() as stack:
        all_seen = [stack.enter_context(watching(served)) for _ in range(20)]
        for seen in all_seen:
            following(seen, "overview")
        assert served.office.feed.watchers == 20
        served.instances.set("qwen", health="busy")
        for seen in all_seen:
            assert following(seen, "instance")["health"] == "busy"
    until(lambda: served.office.feed.watchers == 0)
    assert served.office.feed._looking is None


def test_one_look_serves_all_watchers(stand_in: StandIn) -> None:
    async def told() -> list[bytes]:
        async def look() -> Scene:
            return scene(stand_in)

        stand_in.add("qwen")
        feed = Feed(look, interval=3600)
        all_seen = [feed.events() for _ in range(20)]
        for _ in ("retry", "overview"):
            found = [await seen.__anext__() for seen in all_seen]
        assert stand_in.looks == 1
        stand_in.set("qwen", health="busy")
        feed.poke()
        found = [await seen.__anext__() for seen in all_seen]
        assert stand_in.looks == 2
        return found

    (event,) = set(asyncio.run(told()))
    assert b'"health":"busy"' in event


def test_who_comes_later_begins_with_what_is_known_now(served: Served) -> None:
    served.instances.add("qwen")
    for health in ("loading", "healthy"):
        served.instances.set("qwen", health=health)
        with watching(served) as seen:
            assert following(seen, "overview")["instances"][0]["health"] == health
        until(lambda: served.office.feed.watchers == 0)


def test_silence_is_broken_by_a_comment(stand_in: StandIn) -> None:
    async def first_beats() -> list[bytes]:
        async def look() -> Scene:
            return scene(stand_in)

        feed = Feed(look, interval=0.01, heartbeat=0.02)
        seen = feed.events()
        found = [await seen.__anext__() for _ in range(4)]
        await seen.aclose()  # type: ignore[attr-defined] # it is a generator
        return found

    retry, overview, *beats = asyncio.run(first_beats())
    assert retry == b"retry: 1000\n\n"
    assert overview.startswith(b"event: overview\n")
    assert beats == [b": still here\n\n"] * 2


def test_a_server_that_ends_lets_all_go_who_wait(tmp_path: Path) -> None:
    """Watchers see the end of their stream, and who waits for an action is told that it goes on."""
    stand_in = StandIn(tmp_path)
    stand_in.add("qwen")
    stand_in.go.clear()
    listening = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def answer() -> tuple[httpx.Response, list[str]]:
        app = make_app(stand_in, access=Access(RIGHT["X-Llama-Orch-Token"]), daemon=lambda: True)
        serving = asyncio.ensure_future(serve([WebServer(app, listening)]))
        async with (
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client,
            client.stream("GET", "/events") as events,
        ):
            lines = events.aiter_lines()
            path = "/instances/qwen/start?wait=true"
            waiting = asyncio.ensure_future(client.post(path, headers=RIGHT))
            while not (await lines.__anext__()).startswith('data: [{"name":"qwen"'):
                pass
            serving.cancel()
            rest = [line async for line in lines]
            answered = await waiting
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        return answered, rest

    answered, rest = asyncio.run(answer())
    assert answered.status_code == 503
    assert answered.json()["error"]["message"].endswith("the interface ends; the start goes on")
    assert not [line for line in rest if line.startswith("event")]
    stand_in.go.set()
