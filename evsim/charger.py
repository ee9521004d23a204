"""The physics of a charger's power module: pure, no clock of its own, exact for any step.

Between events (a command, an alternating-current delay running out) the current moves along a
straight line, so `step(dt_s)` is exact whether it is called each millisecond or once an hour.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from evsim.frames import STOP_WINS_S

#: The rated maximum of the direct-current module.
RATED_MAX_A = 150.0


@dataclass(frozen=True)
class Plant:
    """How a kind of charger and the car on it move the current."""

    summary: str
    rise_a_per_s: float
    fall_a_per_s: float
    rated_max_a: float
    voltage_v: float
    phases: int = 1
    #: A limit below this can't be signalled to the car; it pauses instead.
    lowest_a: float = 0.0
    #: A new limit is passed on to the car no sooner than this after the one before.
    hold_s: float = 0.0
    #: The car follows a new limit this much later.
    reaction_s: float = 0.0
    #: After a start the car waits between these two before it draws at all.
    wake_up_s: tuple[float, float] = (0.0, 0.0)

    def power_w(self, current_a: float) -> float:
        """Return the power at `current_a` amperes (per phase), in W."""
        return current_a * self.voltage_v * self.phases


#: Sources: IEC 61851-23 asks a DC charger for at least 20 A/s; EVerest's default is 25 A/s since
#: its PR 1999; modern modules are near 200 A/s. They fall faster than they rise. AC: the control
#: pilot (IEC 61851-1) spans 6 to 80 A; EVerest changes its duty at most every 5 s; cars follow
#: within about 6 s (EVerest PR 762) and first draw 10 to 40 s after the start (SmartEVSE #19).
PLANTS: Mapping[str, Plant] = MappingProxyType(
    {
        "ideal": Plant("follows at once", float("inf"), float("inf"), RATED_MAX_A, 400.0),
        "dc": Plant("a modern DC module, 200 A/s", 200.0, 400.0, RATED_MAX_A, 400.0),
        "dc_slow": Plant("a DC module of 25 A/s", 25.0, 100.0, RATED_MAX_A, 400.0),
        "ac": Plant(
            "a car on a three-phase AC wall box",
            rise_a_per_s=10.0,
            fall_a_per_s=40.0,
            rated_max_a=80.0,
            voltage_v=230.0,
            phases=3,
            lowest_a=6.0,
            hold_s=5.0,
            reaction_s=3.0,
            wake_up_s=(10.0, 40.0),
        ),
    }
)
DEFAULT_PLANT = "dc"


class State(enum.Enum):
    """What the power module is doing."""

    OFF = "off"
    RAMPING = "ramping"
    CHARGING = "charging"


class PowerModule:
    """A power module: obeys start, stop and limit, and moves its current as its plant does.

    :param plant: one of PLANTS.
    :param noise_a: standard deviation of the measured current, A.
    :param rng: where noise and wake-up delays come from.
    """

    def __init__(
        self,
        plant: Plant = PLANTS[DEFAULT_PLANT],
        *,
        noise_a: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.plant = plant
        self.noise_a = noise_a
        self.rng = np.random.default_rng(0) if rng is None else rng
        self.current_a = 0.0
        self.energy_wh = 0.0
        #: What may flow: the last limit taken, the rated maximum before the first one.
        self.limit_a = plant.rated_max_a
        self.started = False
        #: What the car asks for; it never gets more.
        self.demand_a = float("inf")
        #: What a car draws that obeys no limit, once it is started; None for one that obeys.
        self.insisted_a: float | None = None
        #: Open, no current can flow, whatever is asked for.
        self.contactor_closed = True
        self._now_s = 0.0
        self._stopped_at_s = float("-inf")
        self._awake_at_s = 0.0
        #: The limit that the car obeys now, when it was signalled, and those on their way to the
        #: car: (signalled_at_s, limit_a), of which only the last may lie in the future.
        self._followed_a = self.limit_a
        self._signalled_at_s = float("-inf")
        self._on_the_way: list[tuple[float, float]] = []

    @property
    def target_a(self) -> float:
        """What the current is moving towards, A."""
        if not self.started or not self.contactor_closed or self._now_s < self._awake_at_s:
            return 0.0
        if self.insisted_a is not None:
            return min(self.insisted_a, self.plant.rated_max_a)
        return min(self._followed_a, self.demand_a) if self._is_signalled else 0.0

    @property
    def _is_signalled(self) -> bool:
        return self._followed_a >= self.plant.lowest_a

    @property
    def state(self) -> State:
        """Off, ramping (in either direction, or waiting for the car) or charging."""
        if not self.started and self.current_a == 0.0:
            return State.OFF
        waiting = self.started and (self._now_s < self._awake_at_s or bool(self._on_the_way))
        return State.RAMPING if waiting or self.current_a != self.target_a else State.CHARGING

    def start(self) -> bool:
        """Obey a start; False if it is void because a stop came with it (STOP_WINS_S)."""
        if self._now_s - self._stopped_at_s < STOP_WINS_S:
            return False
        if not self.started:
            self.started = True
            shortest_s, longest_s = self.plant.wake_up_s
            wait_s = self.rng.uniform(shortest_s, longest_s) if longest_s > 0 else 0.0
            self._awake_at_s = self._now_s + wait_s
        return True

    def stop(self) -> None:
        """Obey a stop: at once, whatever else is waiting."""
        self.started = False
        self._stopped_at_s = self._now_s

    def set_limit(self, limit_a: float) -> bool:
        """Obey a limit; False if it was above the rated maximum and clamped to that."""
        self.limit_a = min(limit_a, self.plant.rated_max_a)
        if self._on_the_way and self._on_the_way[-1][0] > self._now_s:
            self._on_the_way.pop()  # not signalled yet: the newer limit takes its place
        last_s = self._on_the_way[-1][0] if self._on_the_way else self._signalled_at_s
        self._on_the_way.append((max(self._now_s, last_s + self.plant.hold_s), self.limit_a))
        self._arrive()
        return limit_a <= self.plant.rated_max_a

    def open_contactor(self) -> None:
        """Cut the current at once; closing it again is a new ramp."""
        self.contactor_closed = False
        self.current_a = 0.0

    def close_contactor(self) -> None:
        """Let current flow again."""
        self.contactor_closed = True

    def step(self, dt_s: float) -> None:
        """Let `dt_s` seconds pass."""
        end_s = self._now_s + dt_s
        while self._now_s < end_s:
            self._move_until(min(end_s, self._next_event_s()))

    def measured_a(self) -> float:
        """Return what a meter shows: the current with noise, never below 0."""
        if self.noise_a == 0.0:
            return self.current_a
        return max(0.0, self.current_a + float(self.rng.normal(0.0, self.noise_a)))

    def _next_event_s(self) -> float:
        """Return when the target next changes by itself; always later than now."""
        events_s = [at_s + self.plant.reaction_s for at_s, _ in self._on_the_way]
        if self.started and self._now_s < self._awake_at_s:
            events_s.append(self._awake_at_s)
        return min(events_s, default=float("inf"))

    def _move_until(self, end_s: float) -> None:
        """Move along a straight line to the target, then stay there; no event before `end_s`."""
        dt_s = end_s - self._now_s
        before_a, target_a = self.current_a, self.target_a
        rising = target_a > before_a
        slope = self.plant.rise_a_per_s if rising else self.plant.fall_a_per_s
        ramp_s = abs(target_a - before_a) / slope
        if ramp_s <= dt_s:
            self.current_a = target_a
        else:
            ramp_s = dt_s
            self.current_a += slope * dt_s if rising else -slope * dt_s
        ampere_s = (before_a + self.current_a) / 2 * ramp_s + self.current_a * (dt_s - ramp_s)
        self.energy_wh += self.plant.power_w(ampere_s) / 3600
        self._now_s = end_s
        self._arrive()

    def _arrive(self) -> None:
        """Let the car take over the limits whose time has come."""
        while self._on_the_way and self._on_the_way[0][0] + self.plant.reaction_s <= self._now_s:
            self._signalled_at_s, self._followed_a = self._on_the_way.pop(0)
