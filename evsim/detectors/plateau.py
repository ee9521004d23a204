"""Plateau and replay: a measurement without noise, or the same measurements again."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from evsim.detectors.base import Detector
from evsim.detectors.signals import current_a
from evsim.events import Event

#: Below this nothing flows, and nothing is noisy.
FLOWS_A = 2.0
#: Segments up to this long are looked for.
LONGEST_SEGMENT_S = 120
SHORTEST_SEGMENT_S = 8
#: Where a value lies between two whole amperes, each reading is a toss: so many equal ones by
#: chance are 1 in 30,000,000.
LEAST_REPEATED = 25


class Plateau(Detector):
    """Looks at 0x300 for values that never change, and for segments that come again.

    A meter shows noise: with a standard deviation of 0.3 A, rounded to whole amperes, one reading
    in ten differs from the rest; that 150 in a row do not is a chance of 1 in 4,000,000.

    :param stuck: so many equal readings in a row.
    :param changes: a repeated segment must have so many changes of value, or it is chance.
    """

    name: ClassVar[str] = "plateau"
    summary: ClassVar[str] = "0x300 is stuck, or repeats a segment"

    def __init__(self, *, stuck: int = 150, changes: int = 12) -> None:
        self.stuck, self.changes = stuck, changes
        super().__init__()

    def reset(self) -> None:
        """Forget all readings."""
        self._last: np.ndarray[tuple[int], np.dtype[np.float64]] = np.full(
            LONGEST_SEGMENT_S + 1, np.nan
        )
        #: For each lag: how many readings in a row equal the one so long before, and how many of
        #: them were changes.
        self._equal = np.zeros(LONGEST_SEGMENT_S + 1, dtype=np.int64)
        self._changes = np.zeros(LONGEST_SEGMENT_S + 1, dtype=np.int64)
        self._same = 0
        self._noisy = False

    def observe(self, event: Event) -> None:
        """Take the current of a 0x300."""
        value_a = current_a(event)
        if value_a is None:
            return
        before_a = self._last[0]
        equal = self._last == value_a
        self._equal[1:] = np.where(equal[:-1], self._equal[1:] + 1, 0)
        changed = int(value_a != before_a)
        self._changes[1:] = np.where(equal[:-1], self._changes[1:] + changed, 0)
        self._last[1:] = self._last[:-1]
        self._last[0] = value_a
        if changed or value_a < FLOWS_A:
            # One whose meter was never noisy tells nothing by not being so.
            self._noisy = value_a >= FLOWS_A and (self._noisy or 0 < abs(value_a - before_a) <= 2)
            self._same = 1
        else:
            self._same += 1

    def _best_lag(self) -> int:
        lags = np.arange(LONGEST_SEGMENT_S + 1)
        whole = (lags >= SHORTEST_SEGMENT_S) & (self._equal >= np.maximum(lags, LEAST_REPEATED))
        return int(np.argmax(np.where(whole, self._changes, -1)))

    def score_at(self, time_s: float) -> float:
        """Return how much of a plateau, or of a repeated segment, there is."""
        stuck = self._same / self.stuck if self._noisy else 0.0
        lag = self._best_lag()
        repeated = self._changes[lag] / self.changes if self._equal[lag] >= LEAST_REPEATED else 0.0
        return float(max(stuck, repeated))

    def reason_at(self, time_s: float) -> str | None:
        """Tell which value is stuck, or how long the repeated segment is."""
        if self.score_at(time_s) < 1:
            return None
        if self._noisy and self._same >= self.stuck:
            return f"0x300 shows {self._last[0]:g} A {self._same} times in a row, without noise"
        lag = self._best_lag()
        return (
            f"the last {self._equal[lag]} readings of 0x300, with {self._changes[lag]} changes, "
            f"are those of {lag} s before"
        )
