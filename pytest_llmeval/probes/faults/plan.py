"""Which fault hits which request. Pure but for what it counts: same seed, same requests in the same
order, same faults.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

from .vocabulary import Fault

CHAT = ("/chat/completions", "/messages", "/api/chat")
"""How the path of a request for chat ends: OpenAI's, Anthropic's, Ollama's."""


@dataclass(frozen=True)
class Asked:
    """A request as far as faults are chosen by it."""

    method: str
    path: str
    body: bytes = field(default=b"", repr=False)

    @property
    def chat(self) -> bool:
        """Whether it is one for chat."""
        return self.path.endswith(CHAT)

    @cached_property
    def stream(self) -> bool:
        """Whether it asks for a stream."""
        try:
            asked = json.loads(self.body) if b'"stream"' in self.body else {}
        except (ValueError, RecursionError):
            return False
        return isinstance(asked, dict) and asked.get("stream") is True


@dataclass(slots=True)
class Hit:
    """A fault that hits a request. `chance` draws its details; `position` is the fault's own.

    `happened` says whether anything has come of it: arguments can only be cut where there are any.
    `tell` is told when it does.
    """

    fault: Fault
    position: int
    chance: random.Random = field(repr=False)
    happened: bool = False
    tell: Callable[[Fault], None] = lambda _: None

    def happen(self) -> None:
        """It begins to act."""
        if not self.happened:
            self.happened = True
            self.tell(self.fault)


class Plan:
    """Chooses the faults of each request, and counts."""

    def __init__(self, faults: Sequence[Fault], seed: int = 0) -> None:
        self.faults = tuple(faults)
        self.seed = seed
        self._seen = [0] * len(self.faults)
        self._hits = [0] * len(self.faults)

    def choose(self, asked: Asked) -> list[Hit]:
        """The faults that hit this request, in the order in which they were given.

        Of those that refuse it, the first one counts alone.
        """
        hits: list[Hit] = []
        for position, fault in enumerate(self.faults):
            refused = any(hit.fault.kind.layer == "refusal" for hit in hits)
            if fault.kind.layer == "refusal" and refused:
                continue
            if could_hit(fault, asked) and (hit := self._draw(position, fault)):
                hits.append(hit)
        return hits

    def at_once(self) -> Fault | None:
        """A `down` that waits for no request: the proxy begins with it."""
        for position, fault in enumerate(self.faults):
            if _begins_at_once(fault):
                self._hits[position] += 1
                return fault
        return None

    def take_back(self, hit: Hit) -> None:
        """It could not happen with this request: it does not count as one of its `times`."""
        self._hits[hit.position] -= 1

    def _draw(self, position: int, fault: Fault) -> Hit | None:
        when = fault.when
        self._seen[position] += 1
        number = self._seen[position]
        # What has come up again stays up, unless it is said how often it is to go down.
        once = fault.kind.name == "down" and when.share == 1.0
        times = 1 if when.times is None and once else when.times
        if number <= when.after or (times is not None and self._hits[position] >= times):
            return None
        # A text as seed means the same on every system and in every Python.
        chance = random.Random(f"{self.seed}/{position}/{number}")  # noqa: S311 - no secret
        if chance.random() >= when.share:
            return None
        self._hits[position] += 1
        return Hit(fault, position, chance)


def _begins_at_once(fault: Fault) -> bool:
    return fault.kind.name == "down" and fault.when.always


def could_hit(fault: Fault, asked: Asked) -> bool:
    """Whether a fault is meant for such a request.

    Faults of the answer are for what is asked of a model (POST), unless a path is named.
    """
    kind, when = fault.kind, fault.when
    if when.path is not None and not fnmatchcase(asked.path, when.path):
        return False
    if when.path is None and kind.layer != "connection" and asked.method != "POST":
        return False
    if kind.streams and not asked.stream:
        return False
    if when.only == "chat":
        return asked.chat
    return when.only is None or asked.stream is (when.only == "stream")
