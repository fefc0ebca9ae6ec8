"""The faults there are: their names, their attributes, and what a written one must be. Pure data.

The faults of the connection are toxiproxy's, with its names, attributes and units; those of the
answer are what servers of language models really do. Each hits single requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Value = int | str

Layer = Literal["connection", "refusal", "answer"]
"""What a fault touches: bytes on their way, all of an answer, or something in the real one."""

Only = Literal["chat", "stream", "whole"]
"""Requests for chat, those that ask for a stream, and those that ask for none."""

ONLY: tuple[Only, ...] = ("chat", "stream", "whole")

DAY = 24 * 60 * 60 * 1000
"""Milliseconds: nothing is delayed for longer."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """What may be said of a fault: a whole number between `least` and `most`, or one of `words`."""

    name: str
    about: str
    default: Value
    least: int = 0
    most: int = DAY
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault that there is. `streams` hold those that make sense in streams of events only."""

    name: str
    layer: Layer
    about: str
    attributes: tuple[Attribute, ...] = ()
    streams: bool = False


STREAM = Attribute(
    "stream", "which way: `downstream` is the reply", "downstream", words=("downstream", "upstream")
)

_KINDS = (
    Kind(
        "latency",
        "connection",
        "all data come later by `latency` ± `jitter`",
        (
            Attribute("latency", "ms", 100),
            Attribute("jitter", "ms, at most `latency`", 0),
            STREAM,
        ),
    ),
    Kind(
        "bandwidth",
        "connection",
        "data come at no more than `rate`",
        (Attribute("rate", "KB/s", 1, least=1, most=10**9), STREAM),
    ),
    Kind(
        "slow_close",
        "connection",
        "the connection ends later than it would",
        (Attribute("delay", "ms", 1000), STREAM),
    ),
    Kind(
        "timeout",
        "connection",
        "no data pass, and the connection is closed after `timeout`; 0: never",
        (Attribute("timeout", "ms", 0), STREAM),
    ),
    Kind(
        "reset_peer",
        "connection",
        "the connection is reset (RST) `timeout` after the first data, which are lost",
        (Attribute("timeout", "ms", 0), STREAM),
    ),
    Kind(
        "slicer",
        "connection",
        "data come in small pieces",
        (
            Attribute("average_size", "bytes of a piece", 64, least=1, most=2**30),
            Attribute("size_variation", "bytes, less than `average_size`", 0, most=2**30),
            Attribute("delay", "µs after each piece", 0),
            STREAM,
        ),
    ),
    Kind(
        "limit_data",
        "connection",
        "the connection is closed after so many bytes of this request",
        (Attribute("bytes", "bytes", 0, most=2**40), STREAM),
    ),
    Kind(
        "down",
        "connection",
        "all connections break and new ones are refused, for `duration`; 0: for good",
        (Attribute("duration", "ms", 0),),
    ),
    Kind("loading", "refusal", "503 `Loading model`, as llama.cpp says it"),
    Kind(
        "rate_limit",
        "refusal",
        "429 with the header Retry-After",
        (
            Attribute("retry_after", "s", 1),
            Attribute("form", "how it is written", "seconds", words=("seconds", "date")),
        ),
    ),
    Kind(
        "server_error",
        "refusal",
        "`status` with an error as llama.cpp writes it",
        (Attribute("status", "500 to 599", 500, least=500, most=599),),
    ),
    Kind("html", "refusal", "a page of HTML with status 200, as a proxy in between sends it"),
    Kind("invalid_json", "answer", "the JSON (of one event, in a stream) is cut short"),
    Kind("cut_arguments", "answer", "the arguments of tool calls are cut short"),
    Kind("garbage_utf8", "answer", "bytes that are no UTF-8 (in one event, in a stream)"),
    Kind(
        "duplicate_index",
        "answer",
        "a call begins twice under its index, or a choice stands twice",
    ),
    Kind("empty_deltas", "answer", "chunks that say nothing, before each that does", streams=True),
    Kind("missing_done", "answer", "a stream ends without `data: [DONE]`", streams=True),
    Kind(
        "ping_flood",
        "answer",
        "comments before a stream, blank lines before a whole answer; `count` 0: for ever",
        (
            Attribute("interval", "ms", 1),
            Attribute("count", "pings", 0, most=10**9),
        ),
    ),
    Kind(
        "hang",
        "answer",
        "nothing more comes after the headers and `events` events",
        (Attribute("events", "events of a stream", 0, most=10**9),),
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
"""Every fault, by its name."""

SELECTORS: Mapping[str, str] = {
    "times": "hit so many requests, then no more",
    "after": "let so many pass first",
    "share": "of the others, hit this share: 0.2 is every fifth, drawn with the seed",
    "toxicity": "toxiproxy's word for `share`",
    "path": "only requests for this path; `*` stands for anything",
    "only": "`chat`, `stream` or `whole`: requests for chat, for a stream, for none",
}
"""What may be said of every fault, to choose the requests that it hits."""


@dataclass(frozen=True, slots=True)
class When:
    """Which requests a fault hits, by their order among those that it could."""

    times: int | None = None
    after: int = 0
    share: float = 1.0
    path: str | None = None
    only: Only | None = None

    @property
    def always(self) -> bool:
        """It waits for no particular request."""
        return self.after == 0 and self.share == 1.0 and self.path is None and self.only is None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as somebody wants it: `values` holds every attribute, `text` is how it was written.

    `parsing.parse_fault` makes them.
    """

    kind: Kind
    values: Mapping[str, Value]
    when: When
    text: str

    def number(self, name: str) -> int:
        """The value of an attribute that is a number."""
        value = self.values[name]
        assert isinstance(value, int)
        return value
