"""Baselines: what a figure is worth shows beside these."""

from __future__ import annotations

import zlib
from collections import deque
from typing import ClassVar

from evsim.detectors.base import Detector
from evsim.detectors.signals import current_a
from evsim.events import Event


class AlwaysOn(Detector):
    """Alarms all the time."""

    name: ClassVar[str] = "always_on"
    summary: ClassVar[str] = "baseline: alarms all the time"

    def observe(self, event: Event) -> None:
        """Take no note."""

    def reset(self) -> None:
        """Nothing to forget."""

    def score_at(self, time_s: float) -> float:
        """Return 1."""
        return 1.0

    def reason_at(self, time_s: float) -> str | None:
        """Say so."""
        return "always on"


class Random(AlwaysOn):
    """Scores by chance, from the second alone: the same for the same second.

    :param alarms_per_hour: seconds of an hour in which the alarm is on.
    """

    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "baseline: alarms by chance"

    def __init__(self, *, alarms_per_hour: float = 6.0) -> None:
        self.threshold = 1 - alarms_per_hour / 3600
        super().__init__()

    def score_at(self, time_s: float) -> float:
        """Return a number from 0 up, evenly spread."""
        return zlib.crc32(f"{time_s:.0f}".encode()) / 2**32 / self.threshold

    def reason_at(self, time_s: float) -> str | None:
        """Say so."""
        return "by chance" if self.score_at(time_s) >= 1 else None


class LastTen(Detector):
    """The one-liner of an earlier project: the range of the last 10 readings is above 20 A.

    It alarms at every ordinary start.
    """

    name: ClassVar[str] = "last_ten"
    summary: ClassVar[str] = "baseline: the range of the last 10 readings is above 20 A"

    def __init__(self, *, range_a: float = 20.0) -> None:
        self.range_a = range_a
        super().__init__()

    def reset(self) -> None:
        """Forget all readings."""
        self._last: deque[float] = deque(maxlen=10)

    def observe(self, event: Event) -> None:
        """Take the current of a 0x300."""
        value_a = current_a(event)
        if value_a is not None:
            self._last.append(value_a)

    def score_at(self, time_s: float) -> float:
        """Return the range's share of the threshold."""
        return (max(self._last) - min(self._last)) / self.range_a if self._last else 0.0

    def reason_at(self, time_s: float) -> str | None:
        """Tell the range."""
        if self.score_at(time_s) < 1:
            return None
        return f"the last {len(self._last)} readings span {max(self._last) - min(self._last):g} A"
