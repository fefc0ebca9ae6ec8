"""What callers have set going and what became of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from pytest_llmeval.orchestrator.views import Instances, InstanceView
from pytest_llmeval.orchestrator.web.answers import Action, Job, Outcome, problem_of
from pytest_llmeval.orchestrator.web.threads import in_thread

REMEMBERED = 100
"""So many outcomes are kept for those who watch; a slow one misses what is older."""


class Jobs:
    """Actions under way, at most one of a kind for each instance; `changed` is told of each change.

    An action goes on when the caller who asked for it goes away.
    """

    def __init__(self, instances: Instances, changed: Callable[[], None]):
        self._actions: dict[Action, Callable[[str], InstanceView]] = {
            "start": instances.up,
            "stop": instances.down,
            "restart": instances.restart,
            "reset": instances.reset,
        }
        self._changed = changed
        self._running: dict[Job, asyncio.Task[InstanceView]] = {}
        self._outcomes: deque[Outcome] = deque(maxlen=REMEMBERED)
        self._number = 0
        self._closing = asyncio.Event()

    @property
    def pending(self) -> tuple[Job, ...]:
        """The actions under way, in the order in which they were asked for."""
        return tuple(self._running)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The last that have ended, the newest last."""
        return tuple(self._outcomes)

    def begin(self, name: str, action: Action) -> asyncio.Task[InstanceView]:
        """Set it going; where that very action is under way already, it is the same one."""
        job = Job(name, action)
        task = self._running.get(job)
        if task is None:
            task = asyncio.ensure_future(in_thread(self._actions[action], name))
            self._running[job] = task
            task.add_done_callback(lambda ended: self._note(job, ended))
            self._changed()
        return task

    async def ended(self, task: asyncio.Task[InstanceView]) -> InstanceView | None:
        """What became of an action; None if the interface ends before it does."""
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            # Not awaited itself: whoever asks and goes away must not take the action with them.
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
        return task.result() if task.done() else None

    def close(self) -> None:
        """Let those go who wait for an action; it goes on."""
        self._closing.set()

    def _note(self, job: Job, ended: asyncio.Task[InstanceView]) -> None:
        del self._running[job]
        if ended.cancelled():
            return
        error = ended.exception()
        problem = problem_of(error)[1] if isinstance(error, Exception) else None
        self._number += 1
        self._outcomes.append(Outcome(self._number, job.name, job.action, problem))
        self._changed()
