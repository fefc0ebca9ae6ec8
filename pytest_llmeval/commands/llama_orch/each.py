"""One command for several instances: all are tried at once, and each failure is told."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import typer

from pytest_llmeval.errors import LlmevalError, ServerError
from pytest_llmeval.orchestrator.views import InstanceView
from pytest_llmeval.redaction import Redactor, known_secrets

SLICE_SECONDS = 0.2
"""The longest single wait: on Windows, Ctrl-C is only noticed between waits."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it went with one of them: there is a `view`, or an `error`."""

    name: str
    view: InstanceView | None = None
    error: Exception | None = None


def chosen(
    names: Sequence[str], all_names: Callable[[], Sequence[str]], *, everything: bool
) -> tuple[str, ...]:
    """The names that a command is about, each once; a mistake of the command line when none is."""
    if names and everything:
        raise typer.BadParameter("give names or --all, not both")
    if not names and not everything:
        raise typer.BadParameter("name an instance, or give --all")
    return tuple(dict.fromkeys(all_names() if everything else names))


def do_each(names: Sequence[str], act: Callable[[str], InstanceView]) -> Iterator[Ended]:
    """Do the same to each of them, at once; they come back in the order in which they end.

    The threads hold nobody up: on Ctrl-C we leave, and the daemon goes on.
    """
    ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()

    def do(name: str) -> None:
        try:
            ended.put(Ended(name, view=act(name)))
        except Exception as error:  # noqa: BLE001 # raised again where it is waited for
            ended.put(Ended(name, error=error))

    for name in names:
        threading.Thread(target=do, args=(name,), name=f"llama-orch-{name}", daemon=True).start()
    for _ in names:
        found = _next(ended)
        if found.error is not None and not isinstance(found.error, LlmevalError):
            raise found.error
        yield found


def _next(ended: queue.SimpleQueue[Ended]) -> Ended:
    while True:
        try:
            return ended.get(timeout=SLICE_SECONDS)
        except queue.Empty:
            continue


def as_object(ended: Ended) -> dict[str, object]:
    """What became of one instance, as `--json` has it."""
    if ended.error is None:
        return {"name": ended.name, "done": True, "instance": ended.view}
    clean = Redactor(known_secrets(os.environ)).text
    told: dict[str, object] = {"name": ended.name, "done": False}
    if isinstance(ended.error, ServerError):
        log_tail = [*map(clean, ended.error.log_tail)]
        return told | {"error": clean(ended.error.message), "log_tail": log_tail}
    return told | {"error": clean(str(ended.error))}
