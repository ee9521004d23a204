"""Unexplained change: the current leaps, or sinks below its limit, and nothing says why."""

from __future__ import annotations

import math
from typing import ClassVar

from evsim.charger import PLANTS
from evsim.detectors.base import Detector
from evsim.detectors.signals import current_a, frame_of, limit_a
from evsim.events import CanEvent, Event
from evsim.frames import StartCharging, StateOfCharge, StopCharging

_FINITE = [plant for plant in PLANTS.values() if math.isfinite(plant.rise_a_per_s)]
#: The slowest charger has followed a limit or a start after this: hold, reaction, whole ramp.
FOLLOW_S = max(p.hold_s + p.reaction_s + p.rated_max_a / p.rise_a_per_s for p in _FINITE)
#: And after a start a car may sleep before it draws.
WAKE_UP_S = max(plant.wake_up_s[1] for plant in _FINITE)
#: A car tapers from a state of charge of 80 % on (acnportal); the frame rounds to 0.5 %.
TAPER_PERCENT = 78.0
#: A current within this of its limit has reached it: rounding and noise.
REACHED_A = 2.0
#: So many readings in a row there, and what was commanded is done.
SETTLED = 3
#: An alarm is on for so long.
HOLD_S = 30.0


class UnexplainedChange(Detector):
    """Looks for changes of 0x300 that neither a command nor the state of charge explains.

    :param leap_a: from one frame to the next.
    :param deficit_a: below a limit that it had reached, while the car should not taper yet.
    :param deficit_s: for so long.
    """

    name: ClassVar[str] = "unexplained_change"
    summary: ClassVar[str] = "the current leaps or sinks without a command"

    def __init__(
        self, *, leap_a: float = 5.0, deficit_a: float = 4.0, deficit_s: float = 10.0
    ) -> None:
        self.leap_a, self.deficit_a, self.deficit_s = leap_a, deficit_a, deficit_s
        super().__init__()

    def reset(self) -> None:
        """Forget all events."""
        self._current_a: float | None = None
        self._limit_a: float | None = None
        self._state_of_charge: float | None = None
        self._explained_until_s = -math.inf
        self._started = False
        self._settled = 0
        self._reached = False
        self._below_since_s: float | None = None
        self._raised: tuple[float, str] | None = None

    def observe(self, event: Event) -> None:
        """Take a frame."""
        if not isinstance(event, CanEvent):
            return
        measured_a = current_a(event)
        if measured_a is not None:
            self._measure(event.time_s, measured_a)
            return
        told_a = limit_a(event)
        frame = frame_of(event)
        if told_a is not None:
            # Said again, it explains nothing: the charge point wonders itself.
            if told_a != self._limit_a:
                self._explain(event.time_s, FOLLOW_S)
            self._limit_a = told_a
        elif isinstance(frame, StopCharging):
            self._started = False
            self._explain(event.time_s, FOLLOW_S)
        elif isinstance(frame, StartCharging):
            self._started = True
            if not self._charges():
                self._explain(event.time_s, WAKE_UP_S + FOLLOW_S)
        elif isinstance(frame, StateOfCharge):
            self._state_of_charge = frame.percent

    def _charges(self) -> bool:
        return self._current_a is not None and self._current_a >= self.leap_a

    def _explain(self, time_s: float, for_s: float) -> None:
        if time_s + for_s > self._explained_until_s or time_s < self._explained_until_s - 600:
            self._explained_until_s = time_s + for_s
        self._reached, self._below_since_s = False, None
        self._settled = 0

    def _measure(self, time_s: float, measured_a: float) -> None:
        before_a, self._current_a = self._current_a, measured_a
        leaps = before_a is not None and abs(measured_a - before_a) >= self.leap_a
        if leaps and time_s > self._explained_until_s:
            text = f"from {before_a:g} A to {measured_a:g} A without a command"
            self._raised = (time_s, f"the current leaps {text}")
            self._reached = False
        wanted_a = self._limit_a if self._started else 0.0
        settled = wanted_a is not None and abs(measured_a - wanted_a) <= REACHED_A
        self._settled = self._settled + 1 if settled else 0
        if self._settled == SETTLED:  # whoever is as quick as that needs no longer time
            self._explained_until_s = min(self._explained_until_s, time_s)
        self._look_at_deficit(time_s, measured_a)

    def _look_at_deficit(self, time_s: float, measured_a: float) -> None:
        if self._limit_a is None or self._state_of_charge is None or not self._started:
            return  # it may be a taper, or off
        if abs(measured_a - self._limit_a) <= REACHED_A:
            self._reached, self._below_since_s = True, None
        elif measured_a > self._limit_a - self.deficit_a:
            self._below_since_s = None
        elif self._reached and self._state_of_charge < TAPER_PERCENT:
            if self._below_since_s is None or time_s < self._below_since_s:
                self._below_since_s = time_s
            elif time_s - self._below_since_s >= self.deficit_s:
                text = (
                    f"{measured_a:g} A for {time_s - self._below_since_s:.0f} s at a limit of "
                    f"{self._limit_a:g} A that was reached before, at {self._state_of_charge:g} %"
                )
                self._raised = (time_s, text)

    def score_at(self, time_s: float) -> float:
        """Return 1 while an alarm is on, else the share of the time of a deficit."""
        if self._raised is not None and 0 <= time_s - self._raised[0] <= HOLD_S:
            return 1.0
        if self._below_since_s is None:
            return 0.0
        return min(0.99, max(0.0, time_s - self._below_since_s) / self.deficit_s)

    def reason_at(self, time_s: float) -> str | None:
        """Tell the leap, or the deficit."""
        return self._raised[1] if self._raised and self.score_at(time_s) >= 1 else None
