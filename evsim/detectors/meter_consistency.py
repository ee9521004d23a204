"""Meter against CAN: what MeterValues tell the central system is not what 0x300 told."""

from __future__ import annotations

from typing import ClassVar

from evsim.detectors.base import Detector
from evsim.detectors.signals import current_a, meter
from evsim.detectors.window import Window
from evsim.events import Event, Kind, OcppEvent
from evsim.frames import CURRENT_PERIOD_S

#: Readings of 0x300 that a MeterValues may stem from: the last ones before it was read.
NEAR_S = 2.5 * CURRENT_PERIOD_S
#: 0x300 is kept for so long, for what comes late.
KEPT_S = 600.0
#: A register is written with 0.1 Wh.
ROUNDING_WH = 0.2
HOLD_S = 20.0


class MeterConsistency(Detector):
    """Compares each MeterValues with the frames from which it stems, and with the one before.

    :param deviation_a: and
    :param deviation_share: of the CAN current, whichever is more, may lie between the two.
    :param messages: from so many in a row that deviate.
    """

    name: ClassVar[str] = "meter_consistency"
    summary: ClassVar[str] = "MeterValues part from 0x300, or the register falls back"

    def __init__(
        self, *, deviation_a: float = 1.0, deviation_share: float = 0.08, messages: int = 3
    ) -> None:
        self.deviation_a, self.deviation_share = deviation_a, deviation_share
        self.messages = messages
        self._can: Window[float] = Window(KEPT_S)
        super().__init__()

    def reset(self) -> None:
        """Forget all events."""
        self._can.clear()
        self._deviating = 0
        self._energy_wh: float | None = None
        self._read_s = 0.0
        self._last = (0.0, 0.0)
        self._raised: tuple[float, str] | None = None

    def observe(self, event: Event) -> None:
        """Take a reading from either side."""
        can_a = current_a(event)
        if can_a is not None:
            self._can.add(event.time_s, can_a)
            return
        if isinstance(event, OcppEvent) and event.kind == Kind.LINK:
            self._energy_wh = None  # what waited may come in any order
        values = meter(event)
        if values is None:
            return
        if values.energy_wh is not None:
            before_wh, newer = self._energy_wh, values.read_s >= self._read_s
            if before_wh is not None and newer and values.energy_wh < before_wh - ROUNDING_WH:
                text = f"the register falls from {before_wh:.1f} Wh to {values.energy_wh:.1f} Wh"
                self._raised = (event.time_s, text)
            if newer:
                self._energy_wh, self._read_s = values.energy_wh, values.read_s
        if values.current_a is not None:
            self._compare(event.time_s, values.read_s, values.current_a)

    def _compare(self, time_s: float, read_s: float, meter_a: float) -> None:
        known = self._can.between(read_s - NEAR_S, min(read_s, time_s))
        if not known:
            return  # too old, or the bus was silent
        off_a = max(min(known) - meter_a, meter_a - max(known), 0.0)
        if off_a <= max(self.deviation_a, self.deviation_share * max(known)):
            self._deviating = 0
            return
        self._deviating += 1
        self._last = (meter_a, known[-1])
        if self._deviating >= self.messages:
            text = (
                f"{self._deviating} MeterValues in a row deviate, the last with {meter_a:g} A "
                f"where 0x300 had {known[-1]:g} A"
            )
            self._raised = (time_s, text)

    def score_at(self, time_s: float) -> float:
        """Return 1 while an alarm is on, else the share of the messages that raise it."""
        if self._raised is not None and 0 <= time_s - self._raised[0] <= HOLD_S:
            return 1.0
        return min(0.99, self._deviating / self.messages)

    def reason_at(self, time_s: float) -> str | None:
        """Tell both values."""
        return self._raised[1] if self._raised and self.score_at(time_s) >= 1 else None
