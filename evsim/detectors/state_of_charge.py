"""State of charge: what the car tells rises slower, or faster, than the energy that it takes.

The state of charge comes in steps of 0.5 %, each some seconds old, so a step tells between which
two energies it happened. Any two steps bound the energy of a percent, and so does a step that does
not come. The bounds of an honest car have an energy in common that fits them all; those of a car
that begins to tell less do not, nor do those of a register that a false current feeds. Once they
contradict each other, nothing that was learned of this car can be trusted: it is not judged again.
"""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar, NamedTuple

from evsim.detectors.base import Detector
from evsim.detectors.signals import Meter, call, meter
from evsim.events import Direction, Event
from evsim.frames import PERCENT_PER_BIT

#: The car tells its state of charge this often (0x310); a second for the way.
AGE_S = 11.0
#: Batteries are larger than this and smaller than that: of a scooter, and of a lorry.
LEAST_CAPACITY_WH, MOST_CAPACITY_WH = 5_000.0, 200_000.0
#: From one message to the next; a greater step, or one down, is another car.
SAME_CAR_PERCENT = 1.5
#: No charger brings more between two messages: a register that leaps is another, or is false.
MOST_W = 200_000.0
#: Steps that are compared with a new one: they span 12 %.
KEPT = 24
HOLD_S = 60.0


class Step(NamedTuple):
    """The state of charge became `percent` when the register was between these two, Wh."""

    percent: float
    after_wh: float
    before_wh: float


class StateOfChargeConsistency(Detector):
    """Bounds the energy of a percent from all pairs of steps, and looks for a contradiction.

    :param share: by which energies may be wrong: rounding of the current, losses that change.
    """

    name: ClassVar[str] = "state_of_charge"
    summary: ClassVar[str] = "the state of charge does not rise as the energy does"

    def __init__(self, *, share: float = 0.1) -> None:
        self.share = share
        super().__init__()

    def reset(self) -> None:
        """Forget all readings."""
        self._forget_car()
        self._raised: tuple[float, str] | None = None

    def _forget_car(self) -> None:
        self._last: Meter | None = None
        #: Time and register of the last AGE_S.
        self._lately: deque[tuple[float, float]] = deque(maxlen=100)
        self._steps: deque[Step] = deque(maxlen=KEPT)
        #: The most and the least energy of a percent, Wh, that an honest car of these steps has.
        self._most_wh, self._least_wh = MOST_CAPACITY_WH / 100, LEAST_CAPACITY_WH / 100
        #: When its steps have last contradicted each other.
        self._doubted_s: float | None = None

    def observe(self, event: Event) -> None:
        """Take the meter values."""
        told = call(event, Direction.TO_CENTRAL_SYSTEM)
        if told is not None and told.action == "StartTransaction":
            self._forget_car()
        values = meter(event)
        if values is None or values.energy_wh is None or values.state_of_charge is None:
            return
        if not self._is_same_car(values):
            self._forget_car()
        before, self._last = self._last, values
        self._lately.append((values.read_s, values.energy_wh))
        while len(self._lately) > 1 and self._lately[1][0] <= values.read_s - AGE_S:
            self._lately.popleft()
        if before is None or before.state_of_charge is None:
            # It became so at any time before.
            self._steps.append(Step(values.state_of_charge, -math.inf, values.energy_wh))
        elif self._lately[0][0] > values.read_s - AGE_S:
            return  # what was told may still be the car's before this one
        elif values.state_of_charge > before.state_of_charge:
            step = Step(values.state_of_charge, self._lately[0][1], values.energy_wh)
            self._bound(event.time_s, step)
            self._steps.append(step)
        if self._doubted_s is None or event.time_s <= self._doubted_s + HOLD_S:
            self._look(event.time_s)

    def _is_same_car(self, values: Meter) -> bool:
        last = self._last
        if last is None or last.energy_wh is None or last.state_of_charge is None:
            return False
        assert values.energy_wh is not None
        assert values.state_of_charge is not None
        grown_wh, passed_s = values.energy_wh - last.energy_wh, values.read_s - last.read_s
        risen = values.state_of_charge - last.state_of_charge
        return (
            passed_s >= 0
            and 0 <= risen <= SAME_CAR_PERCENT
            and 0 <= grown_wh <= MOST_W / 3600 * (passed_s + 1)
        )

    def _bound(self, time_s: float, new: Step) -> None:
        """Take from each pair the most and the least energy of a percent that it allows."""
        for old in self._steps:
            told = new.percent - old.percent
            at_most_wh = (new.before_wh - old.after_wh) * (1 + self.share)
            at_least_wh = (new.after_wh - old.before_wh) / (1 + self.share)
            if at_most_wh < told * self._least_wh and self._doubted_s is None:
                due = at_most_wh / self._least_wh
                self._raise(
                    time_s,
                    f"the car tells {told:+.1f} % where its energy means {due:+.1f} % at most",
                )
            if self._doubted_s is None:
                self._most_wh = min(self._most_wh, at_most_wh / told)
                self._least_wh = max(self._least_wh, at_least_wh / told)

    def _raise(self, time_s: float, text: str) -> None:
        self._raised = (time_s, text)
        self._doubted_s = time_s

    def _look(self, time_s: float) -> None:
        """Compare what was told since each step with the least that is due."""
        for old in self._steps:
            told = self._steps[-1].percent - old.percent
            # The next step is not told yet, but may have happened already.
            earlier_wh = self._lately[0][1]
            taken_wh = (earlier_wh - old.before_wh) / (1 + self.share)
            due = taken_wh / self._most_wh
            if due >= told + PERCENT_PER_BIT:
                self._raise(
                    time_s,
                    f"the car tells {told:+.1f} % where its energy means {due:+.1f} % at least",
                )
                last = self._steps[-1]
                self._steps.clear()  # from here on, what follows is judged by itself
                self._steps.append(last)
                return

    def score_at(self, time_s: float) -> float:
        """Return 1 while an alarm is on."""
        return float(self._raised is not None and 0 <= time_s - self._raised[0] <= HOLD_S)

    def reason_at(self, time_s: float) -> str | None:
        """Tell what was told, and what was due."""
        return self._raised[1] if self._raised and self.score_at(time_s) >= 1 else None
