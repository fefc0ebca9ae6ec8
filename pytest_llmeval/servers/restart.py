"""Whether and when a server that died is started again (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_llmeval.servers.spec import RestartPolicy


@dataclass(frozen=True, slots=True)
class RestartHistory:
    """When a server was restarted, in seconds of one clock, and how many times in a row."""

    times: tuple[float, ...] = ()
    in_a_row: int = 0

    def after_health(self, seconds: float, policy: RestartPolicy) -> RestartHistory:
        """The history once the server has been healthy for that long before it died."""
        return replace(self, in_a_row=0) if seconds >= policy.reset_after else self

    def with_restart(self, now: float) -> RestartHistory:
        """The history with one more restart."""
        return RestartHistory((*self.times, now), self.in_a_row + 1)


def restart_delay(
    history: RestartHistory, policy: RestartPolicy, *, now: float, draw: float
) -> float | None:
    """Seconds to wait before the next restart; None when the policy allows no more.

    `draw` is uniform in [0, 1) and places the jitter.
    """
    recent = sum(1 for time in history.times if now - time < policy.window)
    if recent >= policy.max_retries:
        return None
    low, high = policy.jitter
    delay = min(policy.cap, policy.initial * policy.multiplier**history.in_a_row)
    return delay * (low + (high - low) * draw)
