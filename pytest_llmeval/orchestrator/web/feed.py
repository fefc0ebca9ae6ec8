"""What changes, as it happens: one look at the instances serves all who watch.

A watcher is given the difference between what it was given last and what is known now. So nothing
queues up for one that reads slowly, and one that comes late begins with the whole.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from pytest_llmeval.orchestrator.web.answers import Outcome, Overview, problem_of

INTERVAL = 0.5
"""Seconds from look to look while somebody watches."""

HEARTBEAT = 15.0
"""Seconds of silence after which a comment tells both ends that the other is still there."""

_JSON: TypeAdapter[Any] = TypeAdapter(Any)


@dataclass(frozen=True, slots=True)
class Scene:
    """All that watchers are told of, at one moment."""

    overview: Overview
    outcomes: tuple[Outcome, ...] = ()


Message = tuple[str, Any]
"""The name of an event and its data."""


def messages(before: Scene | None, after: Scene) -> list[Message]:
    """What somebody must be told who knows of `before`; who knows nothing is told the whole."""
    if before is None:
        return [("overview", after.overview)]
    was, now = before.overview, after.overview
    known = {view.name: view for view in was.instances}
    names = {view.name for view in now.instances}
    told = max((outcome.number for outcome in before.outcomes), default=0)
    found: list[Message] = [("gone", {"name": name}) for name in known if name not in names]
    found += [("instance", view) for view in now.instances if known.get(view.name) != view]
    if now.pending != was.pending:
        found.append(("pending", now.pending))
    if now.daemon != was.daemon:
        found.append(("daemon", {"up": now.daemon}))
    if now.door != was.door:
        found.append(("door", now.door))
    if now.trouble != was.trouble:
        found.append(("trouble", {"message": now.trouble}))
    return found + [("outcome", each) for each in after.outcomes if each.number > told]


def as_event(message: Message) -> bytes:
    """A message as one server-sent event."""
    event, data = message
    return b"event: %s\ndata: %s\n\n" % (event.encode(), _JSON.dump_json(data))


class Feed:
    """Looks at the instances as long as somebody watches.

    `look` gives the scene now; what it raises is told as trouble, beside the last known scene.
    """

    def __init__(
        self,
        look: Callable[[], Awaitable[Scene]],
        *,
        interval: float = INTERVAL,
        heartbeat: float = HEARTBEAT,
    ):
        self._look = look
        self._interval = interval
        self._heartbeat = heartbeat
        self._scene: Scene | None = None
        self._news = asyncio.Event()
        self._poked = asyncio.Event()
        self._watchers = 0
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return self._watchers

    def poke(self) -> None:
        """Look at once: something has changed."""
        self._poked.set()

    def close(self) -> None:
        """End all that watch."""
        self._closed = True
        self._tell()

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events for one watcher, until it goes or the feed is closed."""
        self._enter()
        try:
            seen: Scene | None = None
            yield b"retry: 1000\n\n"
            while not self._closed:
                news, scene = self._news, self._scene
                if scene is not None and scene is not seen:
                    for message in messages(seen, scene):
                        yield as_event(message)
                    seen = scene
                elif not await _within(self._heartbeat, news):
                    yield b": still here\n\n"
        finally:
            self._leave()

    def _enter(self) -> None:
        self._watchers += 1
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._keep_looking())

    def _leave(self) -> None:
        self._watchers -= 1
        if not self._watchers and self._looking is not None:
            self._looking.cancel()
            # The next watcher must not be shown what is old by then.
            self._looking, self._scene = None, None

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _keep_looking(self) -> None:
        while True:
            self._poked.clear()
            scene = await self._seen()
            if scene != self._scene:
                self._scene = scene
                self._tell()
            await _within(self._interval, self._poked)

    async def _seen(self) -> Scene:
        try:
            return await self._look()
        except Exception as error:  # noqa: BLE001 # told to all who watch, and tried again
            last = self._scene or Scene(Overview(0, False, ()))
            trouble = problem_of(error)[1].message
            return dataclasses.replace(
                last, overview=dataclasses.replace(last.overview, trouble=trouble)
            )


async def _within(seconds: float, event: asyncio.Event) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return False
    return True
