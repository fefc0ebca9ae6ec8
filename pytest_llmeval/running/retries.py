"""When a trial is asked again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_llmeval.errors import EngineError


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
