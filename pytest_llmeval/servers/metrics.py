"""What llama-server's /metrics say: how much it does, and how fast (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_llmeval.servers.health import Health

_LINE = re.compile(r"^llamacpp:(\w+)(?:\{[^}]*\})?\s+([0-9.eE+-]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The tokens it has generated since it started, and the requests it works on now."""

    tokens: float
    processing: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """How fast it generates: `rate` is tokens per second, None until that can be told.

    `tokens` is where the counter stood at `at`, when it last moved or the server had nothing to do.
    """

    tokens: float
    at: float
    rate: float | None = None
    processing: int = 0

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self.processing and not self.rate


def read_metrics(status: int, body: bytes) -> Metrics | None:
    """What an answer to GET /metrics says; None if it is not llama-server's."""
    if status != 200:
        return None
    said = dict(_LINE.findall(body.decode("utf-8", "replace")))
    try:
        tokens = float(said["tokens_predicted_total"])
        return Metrics(tokens, int(float(said.get("requests_processing", 0))))
    except (KeyError, ValueError):
        return None


def next_throughput(before: Throughput | None, metrics: Metrics, now: float) -> Throughput:
    """How fast it generates, after one more look at `now`.

    llama-server counts the tokens of a request when it ends. So a counter that stands still while
    there are requests says nothing, and one that has moved is about all the time since it last did.
    """
    tokens, busy = metrics.tokens, metrics.processing
    if before is None or tokens < before.tokens:  # it has started anew
        return Throughput(tokens, now, None, busy)
    if tokens > before.tokens:
        rate = (tokens - before.tokens) / max(now - before.at, 1e-3)
        return Throughput(tokens, now, rate, busy)
    if busy:
        return Throughput(tokens, before.at, before.rate, busy)
    return Throughput(tokens, now, 0.0, 0)


def with_slots(health: Health, processing: int, slots: int) -> Health:
    """The health of a server that works on so many requests: busy when every slot has one.

    Those since 2024 do not say so themselves.
    """
    if health.state != "healthy" or processing < slots:
        return health
    return Health("busy", f"{processing} of {slots} slots taken")
