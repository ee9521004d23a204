"""Fleet: many charge points start or stop, or are told to, in the same moment."""

from __future__ import annotations

import math
from typing import ClassVar

from evsim.detectors.base import Detector
from evsim.detectors.signals import command, current_a
from evsim.detectors.window import Window
from evsim.events import Event, OcppEvent

#: Below and above these a charge point is off or on.
OFF_A, ON_A = 2.0, 5.0
#: Half a period of the slowest oscillation of the catalogue, 80 s, and some more: one alarm.
HOLD_S = 90.0
#: What is commanded at once leaves the central system within this time.
COMMANDED_WITHIN_S = 0.1
SWITCHES = frozenset({"RemoteStartTransaction", "RemoteStopTransaction"})


class FleetSwitching(Detector):
    """Counts charge points that go on, or off, within a few seconds, and those told to at once.

    Each charge point tells its current once a second, so what happens at once is told within a
    second and the time of a ramp. That long a moment brings many together by chance, so more of
    them are asked for than of commands, which leave at once.

    :param share: of the charge points that are known that switch, and at least
    :param least: charge points.
    :param window_s: "the same moment".
    :param commanded_share: of the charge points that are known that are told to, by themselves.
    """

    name: ClassVar[str] = "fleet_switching"
    summary: ClassVar[str] = "many charge points start or stop at once"
    fleet: ClassVar[bool] = True

    def __init__(
        self,
        *,
        share: float = 0.75,
        least: int = 3,
        window_s: float = 1.6,
        commanded_share: float = 0.5,
    ) -> None:
        self.share, self.least, self.commanded_share = share, least, commanded_share
        self._commanded: Window[tuple[str, str]] = Window(COMMANDED_WITHIN_S)
        self._switched: Window[tuple[str, bool]] = Window(window_s)
        super().__init__()

    def reset(self) -> None:
        """Forget all readings."""
        self._switched.clear()
        self._commanded.clear()
        self._is_on: dict[str, bool] = {}
        self._raised: tuple[float, str] | None = None

    def observe(self, event: Event) -> None:
        """Take a current, or a command."""
        told = command(event)
        if told is not None and told.action in SWITCHES:
            self._look_at_commands(told)
            return
        value_a = current_a(event)
        if value_a is None:
            return
        name, was_on = event.charge_point, self._is_on.get(event.charge_point)
        if value_a >= ON_A:
            self._is_on[name] = True
        elif value_a <= OFF_A:
            self._is_on[name] = False
        if was_on is not None and self._is_on[name] != was_on:
            self._switched.add(event.time_s, (name, self._is_on[name]))
            self._count(event.time_s)

    def _needed(self, share: float) -> int:
        return max(self.least, math.ceil(share * len(self._is_on)))

    def _look_at_commands(self, event: OcppEvent) -> None:
        self._commanded.add(event.time_s, (event.charge_point, event.action))
        told = self._commanded.at(event.time_s)
        count = len({name for _, (name, action) in told if action == event.action})
        if count >= self._needed(self.commanded_share):
            text = (
                f"{count} of {len(self._is_on)} charge points get a {event.action} within "
                f"{COMMANDED_WITHIN_S:g} s"
            )
            self._raised = (event.time_s, text)

    def _at_once(self, time_s: float, *, on: bool) -> int:
        return len({name for _, (name, is_on) in self._switched.at(time_s) if is_on == on})

    def _count(self, time_s: float) -> None:
        for on in (True, False):
            count = self._at_once(time_s, on=on)
            if count >= self._needed(self.share):
                what = "start" if on else "stop"
                within = f"within {self._switched.length_s:g} s"
                text = f"{count} of {len(self._is_on)} charge points {what} {within}"
                self._raised = (time_s, text)

    def score_at(self, time_s: float) -> float:
        """Return 1 while an alarm is on, else the share of the charge points that raise it."""
        if self._raised is not None and 0 <= time_s - self._raised[0] <= HOLD_S:
            return 1.0
        most = max(self._at_once(time_s, on=True), self._at_once(time_s, on=False))
        return min(0.99, most / self._needed(self.share))

    def reason_at(self, time_s: float) -> str | None:
        """Tell how many switched."""
        return self._raised[1] if self._raised and self.score_at(time_s) >= 1 else None
