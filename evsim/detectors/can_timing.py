"""CAN timing: frames that are missing, come too early, or are none of the protocol."""

from __future__ import annotations

from typing import ClassVar

from evsim.detectors.base import Detector
from evsim.detectors.window import Window
from evsim.events import CanEvent, Event
from evsim.frames import CURRENT_ID, CURRENT_PERIOD_S, LENGTHS

#: A charger that was restarted is silent for 1.6 s (evsim.frames.SILENT_AFTER_START_S).
MISSING_S = 2.5 * CURRENT_PERIOD_S
EARLY_S = CURRENT_PERIOD_S / 2
WINDOW_S = 10.0


class CanTiming(Detector):
    """Watches when frames come and which.

    :param missing_s: 0x300 may be silent for so long, once it was heard.
    :param early: from so many 0x300 in 10 s that come before half their period is over.
    :param foreign: from so many frames in 10 s with an id or a length that is not the protocol's.
    """

    name: ClassVar[str] = "can_timing"
    summary: ClassVar[str] = "frames missing, too early, unknown or of a wrong length"

    def __init__(self, *, missing_s: float = MISSING_S, early: int = 3, foreign: int = 2) -> None:
        self.missing_s, self.early, self.foreign = missing_s, early, foreign
        self._early: Window[float] = Window(WINDOW_S)
        self._foreign: Window[int] = Window(WINDOW_S)
        super().__init__()

    def reset(self) -> None:
        """Forget all frames."""
        self._heard_s: float | None = None
        self._early.clear()
        self._foreign.clear()

    def observe(self, event: Event) -> None:
        """Take a frame."""
        if not isinstance(event, CanEvent):
            return
        message = event.message
        known = LENGTHS.get(message.arbitration_id)
        if known is None or message.is_extended_id or len(message.data) != known:
            self._foreign.add(event.time_s, message.arbitration_id)
        elif message.arbitration_id == CURRENT_ID:
            gap_s = event.time_s - self._heard_s if self._heard_s is not None else CURRENT_PERIOD_S
            if gap_s < EARLY_S:
                self._early.add(event.time_s, gap_s)
            self._heard_s = event.time_s

    def score_at(self, time_s: float) -> float:
        """Return the highest of the three scores."""
        return max(
            self._silent_s(time_s) / self.missing_s,
            len(self._early.at(time_s)) / self.early,
            len(self._foreign.at(time_s)) / self.foreign,
        )

    def _silent_s(self, time_s: float) -> float:
        return 0.0 if self._heard_s is None else max(0.0, time_s - self._heard_s)

    def reason_at(self, time_s: float) -> str | None:
        """Tell what is wrong with the frames."""
        foreign = self._foreign.at(time_s)
        if len(foreign) >= self.foreign:
            return (
                f"{len(foreign)} frames in {WINDOW_S:g} s with an id or length that is not the "
                f"protocol's, the last with id 0x{foreign[-1][1]:03X}"
            )
        if self._silent_s(time_s) >= self.missing_s:
            return f"no 0x300 for {self._silent_s(time_s):.1f} s; one is due every second"
        early = self._early.at(time_s)
        if len(early) >= self.early:
            return f"{len(early)} times in {WINDOW_S:g} s 0x300 came within {EARLY_S:g} s"
        return None
