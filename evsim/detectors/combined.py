"""Combined: the union of the detectors that the project recommends; each keeps its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from evsim.detectors.base import ALARM, Detector
from evsim.detectors.can_timing import CanTiming
from evsim.detectors.command_rate import CommandRate
from evsim.detectors.fleet import FleetSwitching
from evsim.detectors.limit_violation import LimitViolation
from evsim.detectors.meter_consistency import MeterConsistency
from evsim.detectors.plateau import Plateau
from evsim.detectors.session import Session
from evsim.detectors.state_of_charge import StateOfChargeConsistency
from evsim.detectors.turning_points import TurningPointsDetector
from evsim.detectors.unexplained_change import UnexplainedChange
from evsim.events import Event

#: Those that look at one charge point and rest on physics or protocol.
PARTS: Sequence[Callable[[], Detector]] = (
    TurningPointsDetector,
    CommandRate,
    LimitViolation,
    MeterConsistency,
    CanTiming,
    UnexplainedChange,
    Plateau,
    Session,
    StateOfChargeConsistency,
)
#: A central system knows how many stations it has; names beyond that are somebody's invention.
MOST_CHARGE_POINTS = 5000


class Combined(Detector):
    """Alarms when one of its parts does, with whatever charge point.

    :param parts: made anew for each charge point.
    """

    name: ClassVar[str] = "combined"
    summary: ClassVar[str] = "the union of those that rest on physics and protocol, and the fleet's"
    fleet: ClassVar[bool] = True

    def __init__(self, *, parts: Sequence[Callable[[], Detector]] = PARTS) -> None:
        self._make = parts
        super().__init__()

    def reset(self) -> None:
        """Forget all charge points."""
        self._fleet = FleetSwitching()
        self._parts: dict[str, list[Detector]] = {}

    def observe(self, event: Event) -> None:
        """Show the event to the parts of its charge point, and to the fleet's."""
        parts = self._parts.get(event.charge_point)
        if parts is None:
            if len(self._parts) >= MOST_CHARGE_POINTS:
                return
            parts = self._parts[event.charge_point] = [make() for make in self._make]
        for part in parts:
            part.observe(event)
        self._fleet.observe(event)

    def score_at(self, time_s: float) -> float:
        """Return the highest of their scores."""
        scores = [part.score_at(time_s) for parts in self._parts.values() for part in parts]
        return max([self._fleet.score_at(time_s), *scores])

    def reason_at(self, time_s: float) -> str | None:
        """Give the reasons of those that alarm, with charge point and name."""
        alarming = [
            (charge_point, part)
            for charge_point, parts in self._parts.items()
            for part in parts
            if part.score_at(time_s) >= ALARM
        ]
        if self._fleet.score_at(time_s) >= ALARM:
            alarming.append(("fleet", self._fleet))
        reasons = [f"{who}, {part.name}: {part.reason_at(time_s)}" for who, part in alarming]
        return "; ".join(reasons) or None
