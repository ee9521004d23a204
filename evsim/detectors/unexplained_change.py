"""Unexplained change: the current leaps, or sinks below its limit, and nothing says why."""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar, NamedTuple

from evsim.charger import PLANTS
from evsim.detectors.base import Detector
from evsim.detectors.signals import frame_of
from evsim.events import CanEvent, Event
from evsim.frames import MeasuredCurrent, SetLimit, StartCharging, StateOfCharge, StopCharging

_FINITE = [plant for plant in PLANTS.values() if math.isfinite(plant.rise_a_per_s)]
#: The slowest charger has followed a limit or a start after this: hold, reaction, whole ramp.
FOLLOW_S = max(p.hold_s + p.reaction_s + p.rated_max_a / p.rise_a_per_s for p in _FINITE)
#: And after a start a car may sleep before it draws.
WAKE_UP_S = max(plant.wake_up_s[1] for plant in _FINITE)
#: A car tapers from a state of charge of 80 % on (acnportal); the frame rounds to 0.5 %.
TAPER_PERCENT = 78.0
#: Below this a limit cannot be signalled to a car on AC: it pauses.
LOWEST_A = max(plant.lowest_a for plant in PLANTS.values())
#: A current within this of its limit has reached it: rounding and noise.
REACHED_A = 2.0
#: So many readings in a row there, and what was commanded is done.
SETTLED = 3
#: An alarm is on for so long,
HOLD_S = 30.0
#: and while the current stays off its limit, but no longer than this.
LONGEST_HOLD_S = 300.0
#: Commands that may still be on their way to the current.
MOST_COMMANDS = 16


class Command(NamedTuple):
    """What the current may be moving to, and until when."""

    wanted_a: float
    until_s: float


class UnexplainedChange(Detector):
    """Looks for changes of 0x300 that neither a command nor the state of charge explains.

    A charger takes its commands in order. So a leap is explained if it leads towards what one of
    the last commands wants; then those before that one are done with, and explain nothing more.

    :param leap_a: from one frame to the next.
    :param deficit_a: below a limit that the car can take, while it should not taper yet.
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
        self._started = False
        self._commands: deque[Command] = deque(maxlen=MOST_COMMANDS)
        self._settled = 0
        #: The most that this car has taken since its start.
        self._taken_a = 0.0
        self._below_since_s: float | None = None
        #: When the leap was that took the current off its limit; None if it is not off.
        self._off_since_s: float | None = None
        self._raised: tuple[float, str] | None = None

    def observe(self, event: Event) -> None:
        """Take a frame."""
        if not isinstance(event, CanEvent):
            return
        frame = frame_of(event)
        if isinstance(frame, MeasuredCurrent):
            self._measure(event.time_s, float(frame.current_a))
        elif isinstance(frame, SetLimit):
            # Said again, it explains nothing: the charge point wonders itself.
            if frame.limit_a != self._limit_a:
                self._limit_a = float(frame.limit_a)
                self._explain(event.time_s, FOLLOW_S)
        elif isinstance(frame, StopCharging):
            self._started = False
            self._explain(event.time_s, FOLLOW_S)
        elif isinstance(frame, StartCharging):
            self._started = True
            if self._current_a is None or self._current_a < self.leap_a:
                self._taken_a = 0.0  # it may be another car
                self._explain(event.time_s, WAKE_UP_S + FOLLOW_S)
        elif isinstance(frame, StateOfCharge):
            self._state_of_charge = frame.percent

    @property
    def _wanted_a(self) -> float:
        """What was commanded last; before the first limit a start may bring anything."""
        if not self._started:
            return 0.0
        return math.inf if self._limit_a is None else self._limit_a

    def _explain(self, time_s: float, for_s: float) -> None:
        # What a command before this one may take long for, this one may too.
        before_s = self._commands[-1].until_s if self._commands else -math.inf
        until_s = time_s + for_s
        if before_s - time_s <= WAKE_UP_S + FOLLOW_S:  # else time went back
            until_s = max(until_s, before_s)
        self._commands.append(Command(self._wanted_a, until_s))
        self._below_since_s = None
        self._settled = 0

    def _measure(self, time_s: float, measured_a: float) -> None:
        before_a, self._current_a = self._current_a, measured_a
        self._taken_a = max(self._taken_a, measured_a)
        while self._commands and self._commands[0].until_s < time_s:
            self._commands.popleft()
        if before_a is not None and abs(measured_a - before_a) >= self.leap_a:
            self._look_at_leap(time_s, before_a, measured_a)
        reached = abs(measured_a - self._wanted_a) <= REACHED_A
        self._settled = self._settled + 1 if reached else 0
        if self._settled >= SETTLED:  # whoever is as quick as that needs no longer time
            self._commands.clear()
        self._hold(time_s, is_off=not reached)
        self._look_at_deficit(time_s, measured_a)

    def _look_at_leap(self, time_s: float, before_a: float, measured_a: float) -> None:
        for done, command in enumerate(self._commands):
            if _leads_to(command.wanted_a, before_a, measured_a):
                for _ in range(done):
                    self._commands.popleft()
                return
        text = f"from {before_a:g} A to {measured_a:g} A without a command"
        self._raised = (time_s, f"the current leaps {text}")
        if abs(before_a - self._wanted_a) <= REACHED_A:
            self._off_since_s = time_s

    def _hold(self, time_s: float, *, is_off: bool) -> None:
        """Let the alarm of a leap go on while the current is where it leapt to."""
        if self._off_since_s is None or self._raised is None:
            return
        if is_off and 0 <= time_s - self._off_since_s <= LONGEST_HOLD_S:
            self._raised = (time_s, self._raised[1])
        else:
            self._off_since_s = None

    def _look_at_deficit(self, time_s: float, measured_a: float) -> None:
        limit_a, percent = self._limit_a, self._state_of_charge
        can_take = limit_a is not None and LOWEST_A <= limit_a <= self._taken_a + REACHED_A
        tapers = percent is None or percent >= TAPER_PERCENT
        if limit_a is None or not can_take or tapers or not self._started or self._commands:
            return
        if measured_a > limit_a - self.deficit_a:
            self._below_since_s = None
        elif self._below_since_s is None or time_s < self._below_since_s:
            self._below_since_s = time_s
        elif time_s - self._below_since_s >= self.deficit_s:
            text = (
                f"{measured_a:g} A for {time_s - self._below_since_s:.0f} s at a limit of "
                f"{limit_a:g} A, at {percent:g} %, of a car that has taken {self._taken_a:g} A"
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


def _leads_to(wanted_a: float, before_a: float, measured_a: float) -> bool:
    if wanted_a == math.inf:
        return measured_a > before_a
    return abs(measured_a - wanted_a) < abs(before_a - wanted_a)
