"""State of charge: what the car tells rises slower, or faster, than the energy it takes."""

from __future__ import annotations

from typing import ClassVar

from evsim.detectors.base import Detector
from evsim.detectors.signals import meter
from evsim.events import Event

#: The capacity is known once so much was told; 0x310 counts in 0.5 %.
LEARNED_PERCENT = 3.0
#: And looked at anew each time when so much should have been told.
LOOKED_AT_PERCENT = 3.0
#: Two readings at the ends, each off by a step at most.
ROUNDING_PERCENT = 1.0
#: From one message to the next; a greater step, or one down, is another car.
SAME_CAR_PERCENT = 1.5
HOLD_S = 60.0


class StateOfChargeConsistency(Detector):
    """Learns a battery's capacity from the first percents, then compares.

    :param share: of what should have been told that may be missing, or be told too much.
    """

    name: ClassVar[str] = "state_of_charge"
    summary: ClassVar[str] = "the state of charge does not fit the energy"

    def __init__(self, *, share: float = 0.1) -> None:
        self.share = share
        super().__init__()

    def reset(self) -> None:
        """Forget all readings."""
        self._forget_car()
        self._raised: tuple[float, str] | None = None

    def _forget_car(self) -> None:
        self._first: tuple[float, float] | None = None
        self._anchor: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None
        self._wh_per_percent: float | None = None

    def observe(self, event: Event) -> None:
        """Take the meter values."""
        values = meter(event)
        if values is None or values.energy_wh is None or values.state_of_charge is None:
            return
        here = (values.energy_wh, values.state_of_charge)
        last, self._last = self._last, here
        if last is None or not 0 <= here[1] - last[1] <= SAME_CAR_PERCENT or here[0] < last[0]:
            self._forget_car()
            self._first = self._last = here
            return
        if self._first is None:
            self._first = here
        elif self._wh_per_percent is None:
            told = here[1] - self._first[1]
            if told >= LEARNED_PERCENT:
                self._wh_per_percent = (here[0] - self._first[0]) / told
                self._anchor = here
        elif self._anchor is not None and self._wh_per_percent > 0:
            due = (here[0] - self._anchor[0]) / self._wh_per_percent
            told = here[1] - self._anchor[1]
            if abs(due) < LOOKED_AT_PERCENT and abs(told) < LOOKED_AT_PERCENT:
                return
            self._anchor = here
            if abs(told - due) > ROUNDING_PERCENT + self.share * abs(due):
                text = f"the car tells {told:+.1f} % where its energy means {due:+.1f} %"
                self._raised = (event.time_s, text)

    def score_at(self, time_s: float) -> float:
        """Return 1 while an alarm is on."""
        return float(self._raised is not None and 0 <= time_s - self._raised[0] <= HOLD_S)

    def reason_at(self, time_s: float) -> str | None:
        """Tell what was told, and what was due."""
        return self._raised[1] if self._raised and self.score_at(time_s) >= 1 else None
