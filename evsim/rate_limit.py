"""A token bucket: how often something may happen, with room for a burst."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """So many a second in the long run, and `burst` at once."""

    per_s: float
    burst: float


class TokenBucket:
    """Tells whether one more is within the rate; the caller passes the time."""

    def __init__(self, rate: Rate, now_s: float) -> None:
        self.rate = rate
        self._tokens = rate.burst
        self._filled_at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token at `now_s`; False if there is none."""
        if not self.has(now_s):
            return False
        self._tokens -= 1
        return True

    def has(self, now_s: float) -> bool:
        """Whether there is a token at `now_s`."""
        gained = max(0.0, now_s - self._filled_at_s) * self.rate.per_s
        self._tokens = min(self.rate.burst, self._tokens + gained)
        self._filled_at_s = now_s
        return self._tokens >= 1

    def reserve(self, now_s: float) -> float:
        """Take one token, if need be of those to come; return how long it is to be waited for."""
        self.has(now_s)
        self._tokens -= 1
        return max(0.0, -self._tokens / self.rate.per_s)
