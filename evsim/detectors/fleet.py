"""Fleet: many charge points start or stop in the same moment."""

from __future__ import annotations

import math
from typing import ClassVar

from evsim.detectors.base import Detector
from evsim.detectors.signals import current_a
from evsim.detectors.window import Window
from evsim.events import Event

#: Below and above these a charge point is off or on.
OFF_A, ON_A = 2.0, 5.0
HOLD_S = 60.0


class FleetSwitching(Detector):
    """Counts charge points that go on, or off, within a few seconds.

    Each charge point tells its current once a second, so what happens at once is told within a
    second and the time of a ramp.

    :param share: of the charge points that are known, and at least
    :param least: charge points.
    :param window_s: "the same moment".
    """

    name: ClassVar[str] = "fleet_switching"
    summary: ClassVar[str] = "many charge points start or stop at once"
    fleet: ClassVar[bool] = True

    def __init__(self, *, share: float = 0.5, least: int = 3, window_s: float = 1.6) -> None:
        self.share, self.least = share, least
        self._switched: Window[tuple[str, bool]] = Window(window_s)
        super().__init__()

    def reset(self) -> None:
        """Forget all readings."""
        self._switched.clear()
        self._is_on: dict[str, bool] = {}
        self._raised: tuple[float, str] | None = None

    def observe(self, event: Event) -> None:
        """Take a current."""
        value_a = current_a(event)
        if value_a is None:
            return
        name, was_on = event.charge_point, self._is_on.get(event.charge_point)
        if value_a >= ON_A:
            self._is_on[name] = True
        elif value_a <= OFF_A:
            self._is_on[name] = False
        if was_on is not None and self._is_on[name] != was_on:
            self._switched.add(event.time_s, (name, self._is_on[name]))
            self._count(event.time_s)

    def _needed(self) -> int:
        return max(self.least, math.ceil(self.share * len(self._is_on)))

    def _at_once(self, time_s: float, *, on: bool) -> int:
        return len({name for _, (name, is_on) in self._switched.at(time_s) if is_on == on})

    def _count(self, time_s: float) -> None:
        for on in (True, False):
            count = self._at_once(time_s, on=on)
            if count >= self._needed():
                what = "start" if on else "stop"
                within = f"within {self._switched.length_s:g} s"
                text = f"{count} of {len(self._is_on)} charge points {what} {within}"
                self._raised = (time_s, text)

    def score_at(self, time_s: float) -> float:
        """Return 1 while an alarm is on, else the share of the charge points that raise it."""
        if self._raised is not None and 0 <= time_s - self._raised[0] <= HOLD_S:
            return 1.0
        most = max(self._at_once(time_s, on=True), self._at_once(time_s, on=False))
        return min(0.99, most / self._needed())

    def reason_at(self, time_s: float) -> str | None:
        """Tell how many switched."""
        return self._raised[1] if self._raised and self.score_at(time_s) >= 1 else None
