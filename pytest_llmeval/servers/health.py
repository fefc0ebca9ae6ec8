"""Is a server healthy? What it answers is judged by a pure function; waiting has its clock given.

What servers of different kind and age answer: `tests/servers/health_answers.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pytest_llmeval.errors import EndpointTimeout, EngineError
from pytest_llmeval.servers.health_answers import Said, read_answer

HealthState = Literal["unknown", "loading", "healthy", "busy", "unhealthy", "unreachable", "error"]
"""What an answer says, and what it makes of a server: `vitals.py` tells the meaning of each."""

Fetch = Callable[[str, "str | None"], "tuple[int, bytes]"]
"""Get a URL with an API key (None: without one) and give back its HTTP status and body.

When no answer comes it raises EngineError or OSError. A few seconds are patience enough.
"""

Post = Callable[[str, bytes], "tuple[int, bytes]"]
"""Post JSON to a URL, the rest as `Fetch`."""

HEALTH_PATHS = ("/health", "/v1/health", "/v1/models")
"""Where an endpoint is asked for its health, as long as it knows no such path."""

BUSY_WORDS = ("no slot available", "no slots available", "server busy", "server overloaded")
"""What llama.cpp and Ollama say when all their places are taken."""

LOOK_SECONDS = 1.0
"""How often to look for progress, which costs more than a question: a walk over all processes."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a health check found: `busy` is healthy with every slot taken.

    One that is unreachable is `silent` if it is there and gave no answer in time, as servers do
    that compute; else nobody listens, or the connection broke.
    """

    state: HealthState
    detail: str = ""
    silent: bool = False

    @property
    def ready(self) -> bool:
        """Whether requests may be sent."""
        return self.state in ("healthy", "busy")


@dataclass(frozen=True, slots=True)
class Progress:
    """Signs of life of a starting server: the size of its log and its last line, CPU, memory."""

    log_size: int
    last_line: str
    cpu_seconds: float
    memory: int

    def moved_since(self, earlier: Progress, seconds: float) -> bool:
        """Whether something happened in the `seconds` since `earlier`.

        A server that only answers our questions uses about a thousandth of a CPU; one that reads
        weights, however slow the disk, at least a hundredth, or its memory grows.
        """
        return (
            self.log_size != earlier.log_size
            or self.cpu_seconds - earlier.cpu_seconds > max(0.05, 0.01 * seconds)
            or self.memory - earlier.memory > 2**20
        )


@dataclass(frozen=True, slots=True)
class Waited:
    """How waiting for health ended, after how many seconds, and the last that was seen."""

    end: Literal["ready", "died", "stalled"]
    seconds: float
    health: Health


def read_health(status: int | None, body: bytes | None, error: str = "") -> Health:
    """Judge the answer to a question for health; a `status` of None means none came: `error`.

    The status decides, as in Docker's `curl -f`, unless the body says otherwise: servers tell with
    200 that they load, and with 503 that they are too busy.
    """
    if status is None:
        return Health("unreachable", error)
    said = read_answer(body or b"")
    lowered = said.words.lower()
    if status == 429 or any(words in lowered for words in BUSY_WORDS):
        return Health("busy", said.words)
    if _is_loading(status, said, lowered):
        return Health("loading", said.words)
    if 200 <= status < 300 and not said.failure:
        return Health("healthy", said.words)
    key = "it asks for a key" if status in (401, 403) else ""
    return Health("error", ": ".join(filter(None, (f"HTTP {status}", key, said.words))))


def _is_loading(status: int, said: Said, lowered: str) -> bool:
    """Whether the model is being loaded, as opposed to loading that failed."""
    if said.unloaded:
        return True
    # The page of a web interface says that it is loading long after its server has loaded.
    believed = status == 503 or (status == 200 and not said.page)
    return believed and "loading" in lowered and not lowered.startswith(("error", "fail"))


def check_health(
    fetch: Fetch, url: str, api_key: str | None = None, path: str | None = None
) -> Health:
    """Ask the endpoint at `url`, which ends without a slash, for its health, at `path` if given.

    Those that know no /health are asked for /v1/health, then for their models, in this order:
    llama-server may list its models before they are loaded.
    """
    health = Health("unreachable")
    for each in HEALTH_PATHS if path is None else (path,):
        try:
            status, body = fetch(url + each, api_key)
        except EndpointTimeout as error:
            return Health("unreachable", str(error), silent=True)
        except (EngineError, OSError) as error:
            return read_health(None, None, str(error))
        health = read_health(status, body)
        if path is not None or not _knows_no_such_path(status, body):
            return health
    # Whoever has a page for every path has no models to list.
    return health if not health.ready else Health("error", "it answers with web pages only")


def _knows_no_such_path(status: int, body: bytes) -> bool:
    """Whether an answer is about a path that the endpoint does not know.

    LM Studio says so with a status of 200, and KoboldCpp shows its web interface.
    """
    said = read_answer(body)
    return status in (404, 405) or (
        status == 200 and (said.page or said.words.startswith("Unexpected endpoint"))
    )


def wait_until_healthy(
    check: Callable[[], Health],
    *,
    alive: Callable[[], bool],
    progress: Callable[[], Progress],
    patience: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    report: Callable[[float, str], None],
) -> Waited:
    """Ask until the server is healthy, its process is dead, or nothing moved for `patience`.

    There is no limit on the whole, since a big model on a slow disk may take as long as it needs.
    `report(seconds, last log line)` is called at every look for progress, once a second.
    """
    start = moved_at = looked_at = clock()
    seen = progress()
    pause = 0.01
    while True:
        living = alive()  # asked first: an answer on a dead server's port is somebody else's
        health = check()
        now = clock()
        if not living:
            return Waited("died", now - start, health)
        if health.ready:
            return Waited("ready", now - start, health)
        if now - looked_at >= LOOK_SECONDS:
            looked_at, latest = now, progress()
            report(now - start, latest.last_line)
            if latest.moved_since(seen, now - moved_at):
                seen, moved_at = latest, now
            elif now - moved_at > patience:
                return Waited("stalled", now - start, health)
        sleep(pause)
        pause = min(0.25, pause * 1.5)
