"""What the learned detectors look at: ten numbers about the last minute."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evsim.detectors.signals import command, current_a, meter
from evsim.detectors.window import Window
from evsim.events import CanEvent, Event, Kind
from evsim.frames import LENGTHS

WINDOW_S = 60.0
#: A change of the current that is no noise.
CHANGE_A = 5.0


class Feature(NamedTuple):
    """Its name and unit, as a reason tells them."""

    name: str
    unit: str


FEATURES = (
    Feature("the mean current", "A"),
    Feature("the spread of the current", "A"),
    Feature("the range of the current", "A"),
    Feature("the number of changes of 5 A or more", ""),
    Feature("the longest time between two 0x300", "s"),
    Feature("the number of CAN frames", ""),
    Feature("the number of foreign CAN frames", ""),
    Feature("the number of OCPP messages", ""),
    Feature("the number of commands", ""),
    Feature("the difference of meter and 0x300", "A"),
)


class WindowFeatures:
    """Keeps what the last minute brought; bounded, whatever comes."""

    def __init__(self) -> None:
        self._currents: Window[float] = Window(WINDOW_S, most=256)
        self._meters_off: Window[float] = Window(WINDOW_S, most=256)
        self._frames: Window[bool] = Window(WINDOW_S)
        self._messages: Window[bool] = Window(WINDOW_S)

    def reset(self) -> None:
        """Forget all events."""
        for window in (self._currents, self._meters_off, self._frames, self._messages):
            window.clear()

    def observe(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, CanEvent):
            is_foreign = LENGTHS.get(event.message.arbitration_id) != len(event.message.data)
            self._frames.add(event.time_s, is_foreign)
            value_a = current_a(event)
            if value_a is not None:
                self._currents.add(event.time_s, value_a)
            return
        if event.kind is not Kind.LINK:
            self._messages.add(event.time_s, command(event) is not None)
        values = meter(event)
        if values is not None and values.current_a is not None:
            newest = self._currents.between(event.time_s - WINDOW_S, event.time_s)
            if newest:
                self._meters_off.add(event.time_s, abs(values.current_a - newest[-1]))

    def at(self, time_s: float) -> NDArray[np.float64] | None:
        """Give the features of the minute that ends `time_s`; None before any current."""
        readings = self._currents.at(time_s)
        if not readings:
            return None
        times_s, currents_a = np.array(readings).T
        gaps_s = np.diff(np.append(times_s, time_s))
        frames, messages = self._frames.at(time_s), self._messages.at(time_s)
        meters_off = self._meters_off.at(time_s)
        return np.array(
            [
                currents_a.mean(),
                currents_a.std(),
                np.ptp(currents_a),
                np.count_nonzero(np.abs(np.diff(currents_a)) >= CHANGE_A),
                gaps_s.max(),
                len(frames),
                sum(is_foreign for _, is_foreign in frames),
                len(messages),
                sum(is_command for _, is_command in messages),
                np.median([off_a for _, off_a in meters_off]) if meters_off else 0.0,
            ]
        )
