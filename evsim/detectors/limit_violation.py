"""Limit violation: the current stays above what is allowed, or the charger was told more.

EVerest's rule: an over-current is a current above (limit + 0.5 A) × 1.10 for 7 s.
"""

from __future__ import annotations

import math
from typing import ClassVar

from evsim.detectors.base import Detector
from evsim.detectors.signals import current_a, limit_a, profile_limit_a
from evsim.events import Event

MARGIN_A = 0.5
MARGIN_SHARE = 1.10
PATIENCE_S = 7.0
#: A limit that the central system has sent reaches the charger within this time.
ON_ITS_WAY_S = 3.0
#: A whole ampere and the rounding of a profile's limit.
ROUNDING_A = 1.0
#: An alarm about the limit on the bus stays on until that is right again, and for so long at least.
HOLD_S = 10.0


class LimitViolation(Detector):
    """Compares 0x300 with 0x210 and with the central system's profile, and those two.

    :param patience_s: how long the current may be above the limit.
    """

    name: ClassVar[str] = "limit_violation"
    summary: ClassVar[str] = "the current is above the limit, or the limit above what was sent"

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        super().__init__()

    def reset(self) -> None:
        """Forget all events."""
        self._bus_a: float | None = None
        self._sent_a: float | None = None
        self._sent_s = 0.0
        self._current_a = 0.0
        self._over_since_s: float | None = None
        self._raised: tuple[float, float, float] | None = None
        self._ends_s = 0.0

    def observe(self, event: Event) -> None:
        """Take a limit, from either side, or a current."""
        sent_a = profile_limit_a(event)
        if sent_a is not None:
            self._sent_a, self._sent_s = sent_a, event.time_s
            return
        told_a = limit_a(event)
        if told_a is not None:
            self._bus_a = told_a
            arrives = event.time_s - self._sent_s <= ON_ITS_WAY_S
            if self._sent_a is not None and told_a > self._sent_a + ROUNDING_A:
                if arrives:
                    self._raised = (event.time_s, told_a, self._sent_a)
                    self._ends_s = math.inf
            elif self._ends_s == math.inf:
                self._ends_s = event.time_s + HOLD_S
            return
        measured_a = current_a(event)
        if measured_a is not None:
            self._current_a = measured_a
            if measured_a <= self._most_a():
                self._over_since_s = None
            elif self._over_since_s is None or event.time_s < self._over_since_s:
                self._over_since_s = event.time_s

    def _most_a(self) -> float:
        if self._bus_a is None:
            return float("inf")
        return (self._bus_a + MARGIN_A) * MARGIN_SHARE

    def score_at(self, time_s: float) -> float:
        """Return the share of the time for which it may be above the limit."""
        if self._is_raised(time_s):
            return 1.0
        if self._over_since_s is None:
            return 0.0
        return max(0.0, time_s - self._over_since_s) / self.patience_s

    def _is_raised(self, time_s: float) -> bool:
        return self._raised is not None and self._raised[0] <= time_s <= self._ends_s

    def reason_at(self, time_s: float) -> str | None:
        """Tell current and limit, or the two limits."""
        if self._is_raised(time_s) and self._raised is not None:
            _, told_a, sent_a = self._raised
            return f"the charger was told {told_a:g} A, the central system allowed {sent_a:g} A"
        if self.score_at(time_s) < 1 or self._over_since_s is None:
            return None
        return (
            f"{self._current_a:g} A at a limit of {self._bus_a:g} A for "
            f"{time_s - self._over_since_s:.0f} s"
        )
