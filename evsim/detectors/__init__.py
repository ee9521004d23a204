"""Detectors: each sees events in time order, answers a score, and says why it alarms.

base.py        what every detector is
signals.py     what they read out of events; window.py keeps the last so many seconds
combined.py    the union that is recommended
baselines.py   what a figure is worth shows beside these
learned.py     challengers, trained on a set; they are not in DETECTORS
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from evsim.detectors.base import Detector
from evsim.detectors.baselines import AlwaysOn, LastTen, Random
from evsim.detectors.can_timing import CanTiming
from evsim.detectors.combined import Combined
from evsim.detectors.command_rate import CommandRate
from evsim.detectors.fleet import FleetSwitching
from evsim.detectors.learned import CHALLENGERS
from evsim.detectors.limit_violation import LimitViolation
from evsim.detectors.meter_consistency import MeterConsistency
from evsim.detectors.oscillation import Rainflow, Spectral
from evsim.detectors.plateau import Plateau
from evsim.detectors.session import Session
from evsim.detectors.state_of_charge import StateOfChargeConsistency
from evsim.detectors.turning_points import TurningPointsDetector
from evsim.detectors.unexplained_change import UnexplainedChange
from evsim.errors import UserError

__all__ = ["CHALLENGERS", "DEFAULT", "DETECTORS", "Detector", "detector_named"]

DEFAULT = TurningPointsDetector.name

DETECTORS: Mapping[str, Callable[[], Detector]] = MappingProxyType(
    {
        detector.name: detector
        for detector in (
            TurningPointsDetector,
            Rainflow,
            Spectral,
            CommandRate,
            LimitViolation,
            MeterConsistency,
            CanTiming,
            UnexplainedChange,
            Plateau,
            Session,
            StateOfChargeConsistency,
            FleetSwitching,
            Combined,
            Random,
            AlwaysOn,
            LastTen,
        )
    }
)


def detector_named(name: str) -> Detector:
    """Make a detector; UserError that lists the known ones."""
    if name in CHALLENGERS:
        raise UserError(
            f"{name} is trained on a set, so it can only be scored: ./detect.py score SET "
            f"--detector {name}"
        )
    if name not in DETECTORS:
        raise UserError(f"no detector {name!r}; known are: {', '.join(DETECTORS)}")
    return DETECTORS[name]()
