"""A time limit for scorers of other people, which may run for ever."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

Value = TypeVar("Value")

#: Seconds between two looks: on Windows nothing else lets Ctrl-C through.
_SLICE = 0.2


class LeftBehindError(TimeoutError):
    """A call took longer than its limit, and may be running still."""


class _Call(Generic[Value]):
    """A call in a thread of its own, and what became of it."""

    def __init__(self, call: Callable[[], Value]):
        self.done = threading.Event()
        self.value: Value
        self.error: BaseException | None = None
        context = copy_context()
        self.thread = threading.Thread(
            target=context.run, args=(self._run, call), name="llmeval-scorer", daemon=True
        )

    def _run(self, call: Callable[[], Value]) -> None:
        try:
            self.value = call()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self.error = error
        finally:
            self.done.set()


def within(seconds: float, call: Callable[[], Value], message: str) -> Value:
    """What a call gives or raises; LeftBehindError with the message when it takes longer.

    It runs in a daemon thread. One that takes longer is left behind, and asked to end at its next
    step, so that a loop does not go on to slow down everything else. What never takes a next step
    because it holds Python's lock all the time (a pattern of `re` that backtracks without end)
    cannot be left behind.
    """
    running = _Call(call)
    running.thread.start()
    left = seconds
    try:
        while left > 0 and not running.done.wait(min(left, _SLICE)):
            left -= _SLICE
    finally:  # whoever waits may be interrupted, too
        if not running.done.is_set():
            _end(running.thread)
    if not running.done.is_set():
        raise LeftBehindError(message)
    if running.error is not None:
        raise running.error
    return running.value


def _end(thread: threading.Thread) -> None:
    """Raise SystemExit in a thread, which ends it without a word."""
    if thread.ident is not None:
        identity, ending = ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ending)
