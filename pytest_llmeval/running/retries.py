"""When a trial is asked again, and after how long."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from pytest_llmeval.errors import EndpointBusy, EndpointUnreachable, EngineError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `attempts` tries; waits grow from `initial` by `multiplier` up to `cap` seconds.

    A server that asks for more than `longest_asked` (a quota of the day) is not waited for.
    """

    attempts: int = 4
    initial: float = 0.5
    multiplier: float = 2.0
    cap: float = 30.0
    longest_asked: float = 600.0

    def delay(self, error: EngineError, attempts_made: int, jitter: float) -> float | None:
        """Seconds to wait before the next try, None when there is none.

        `jitter` is a random number in [0, 1): the wait lies between half and one and a half of the
        nominal one, so that many trials that failed together do not come back together. What the
        server itself asked for (Retry-After) is obeyed, and never shortened.
        """
        asked = error.retry_after or 0.0
        if not error.retryable or attempts_made >= self.attempts or asked > self.longest_asked:
            return None
        nominal = min(self.cap, self.initial * self.multiplier ** (attempts_made - 1))
        return max(nominal * (0.5 + jitter), asked)


def pause_after_hiccup(
    error: EngineError | None, attempts_made: int, left: float = math.inf
) -> float | None:
    """Seconds before a request that is no trial is sent again, None where it is not.

    It is after what says nothing of the endpoint: a connection that broke, or a moment's refusal;
    and only if the pause ends within the `left` seconds.
    """
    if not isinstance(error, (EndpointBusy, EndpointUnreachable)):
        return None
    pause = RetryPolicy().delay(error, attempts_made, random.random())  # noqa: S311 - no secret
    return pause if pause is not None and pause < left else None
