"""Turning points: an alarm when the current reverses its course too often.

A current that climbs and falls again and again is what repeated commands to start, stop and
change the limit do to a charger. A plain session climbs once and falls once, slowly or at once.

    current_a
      100      _x      _x      _x        x  turning point: the last sample before the current
              / |     / |     / |           went back by the hysteresis or more
        0  __/  |__x_/  |__x_/  |__         3 of them in 12 s raise the alarm, here at the end of
                1  2    3  4    5           the second cycle, or 5 in 60 s; the first climb
                                            reverses nothing

The closest ancestor is Hägglund's on-line oscillation detector (2005). Each sample costs O(1).
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from typing import ClassVar, NamedTuple

from evsim.detectors.base import Detector
from evsim.detectors.signals import current_a
from evsim.events import Event

#: Reversals that are kept, and so counted, at most. A charger that measures once a second makes no
#: more than 60 in 60 s.
MOST_REVERSALS = 1000
#: Up and down twice within so many seconds is nobody's way to charge: a user who gives up a start
#: after 5 s and tries again after 10 s needs 15 s for it (see the catalogue's aborted_start).
QUICK_REVERSALS = 3
QUICK_WINDOW_S = 12.0


class Reversal(NamedTuple):
    """The current turned back at `current_a`, which it last had at `time_s`; known `found_s`."""

    time_s: float
    current_a: float
    found_s: float


class TurningPoints:
    """Counts reversals with hysteresis in a window of time.

    A reversal counts from the sample that proves it, if the current went the other way for no
    longer than the window: the end of a session of an hour is none. So the alarm is over
    `window_s` after the last reversal at the latest, even if no sample comes any more.

    :param hysteresis_a: a swing smaller than this is noise.
    :param reversals: the alarm is on from so many reversals in the window.
    :param window_s: length of the window.
    :param quick_reversals: or from so many
    :param quick_window_s: in this shorter one; it then stays on as long as they are in the other.

    Raises ValueError for parameters that are not above 0.
    """

    def __init__(
        self,
        hysteresis_a: float = 5.0,
        reversals: int = 5,
        window_s: float = 60.0,
        quick_reversals: int = QUICK_REVERSALS,
        quick_window_s: float = QUICK_WINDOW_S,
    ) -> None:
        if not (quick_reversals > 0 and quick_window_s > 0):
            raise ValueError(
                "quick reversals and their window must be above 0, not "
                f"{quick_reversals} and {quick_window_s} s"
            )
        if not (hysteresis_a > 0 and reversals > 0 and window_s > 0):
            raise ValueError(
                "hysteresis, reversals and window must be above 0, not "
                f"{hysteresis_a} A, {reversals} and {window_s} s"
            )
        if reversals > MOST_REVERSALS:
            raise ValueError(f"{reversals} reversals are more than the {MOST_REVERSALS} kept")
        self.hysteresis_a = hysteresis_a
        self.reversals = reversals
        self.window_s = window_s
        self.quick_reversals = quick_reversals
        self.quick_window_s = quick_window_s
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self._found: deque[Reversal] = deque(maxlen=MOST_REVERSALS)
        self._newest_s = -math.inf
        # The extremes since the last reversal, as (time, current), and the way the current goes:
        # up, down or, until its first swing, neither.
        self._high = (-math.inf, -math.inf)
        self._low = (-math.inf, math.inf)
        self._going = 0
        self._turned_s = -math.inf
        #: How many reversals the quick rule counted when it last raised the alarm, and when.
        self._quick = (0, -math.inf)

    def sample(self, time_s: float, current_a: float) -> None:
        """Take the current measured at `time_s`, of any clock that does not go back.

        A time or current that is not finite is no measurement and changes nothing. A sample older
        than the one before is ignored; one older by more than the window belongs to another
        recording, so everything before it is forgotten.
        """
        if not (math.isfinite(time_s) and math.isfinite(current_a)):
            return
        if time_s < self._newest_s - self.window_s:
            self.reset()
        if time_s < self._newest_s:
            return
        self._newest_s = time_s
        # Of a plateau its last sample is the turning point.
        if current_a >= self._high[1]:
            self._high = (time_s, current_a)
        if current_a <= self._low[1]:
            self._low = (time_s, current_a)
        if self._going >= 0 and self._high[1] - current_a >= self.hysteresis_a:
            self._turn(-1, self._high, (time_s, current_a))
        elif self._going <= 0 and current_a - self._low[1] >= self.hysteresis_a:
            self._turn(1, self._low, (time_s, current_a))

    def _turn(self, going: int, extreme: tuple[float, float], here: tuple[float, float]) -> None:
        # The first start after an hour's rest reverses nothing that swings.
        if self._going != 0 and here[0] - self._turned_s <= self.window_s:
            self._found.append(Reversal(*extreme, found_s=here[0]))
            begin_s = here[0] - self.quick_window_s
            quick = sum(
                1
                for _ in itertools.takewhile(lambda r: r.found_s >= begin_s, reversed(self._found))
            )
            if quick >= self.quick_reversals:
                self._quick = (quick, here[0])
        self._turned_s = here[0]
        self._going = going
        self._high = self._low = here

    def reversals_at(self, now_s: float) -> list[Reversal]:
        """Return the reversals found in the window that ends `now_s`, oldest first."""
        begin_s = now_s - self.window_s
        recent = itertools.takewhile(lambda r: r.found_s > begin_s, reversed(self._found))
        return [r for r in recent if r.found_s <= now_s][::-1]

    def score_at(self, now_s: float) -> float:
        """Return the share of the reversals that raise the alarm; it is on from 1."""
        share = len(self.reversals_at(now_s)) / self.reversals
        return max(1.0, share) if self._is_quick(now_s) else share

    def _is_quick(self, now_s: float) -> bool:
        return 0 <= now_s - self._quick[1] < self.window_s

    def on_until_s(self, now_s: float) -> float:
        """Return until when the alarm stays on, whatever comes; -inf if it is off."""
        until_s = self._quick[1] + self.window_s if self._is_quick(now_s) else -math.inf
        reversals = self.reversals_at(now_s)
        if len(reversals) < self.reversals:
            return until_s
        return max(until_s, reversals[-self.reversals].found_s + self.window_s)

    def reason_at(self, now_s: float) -> str | None:
        """Say why the alarm is on, e.g. "5 reversals of 5 A or more in 60 s"; None if it is off."""
        count = len(self.reversals_at(now_s))
        if count >= self.reversals:
            return f"{count} reversals of {self.hysteresis_a:g} A or more in {self.window_s:g} s"
        if not self._is_quick(now_s):
            return None
        return (
            f"{self._quick[0]} reversals of {self.hysteresis_a:g} A or more in "
            f"{self.quick_window_s:g} s"
        )


class TurningPointsDetector(Detector):
    """The default: turning points of the measured current."""

    name: ClassVar[str] = "turning_points"
    summary: ClassVar[str] = "the current reverses its course too often"

    def __init__(
        self,
        *,
        hysteresis_a: float = 5.0,
        reversals: int = 5,
        window_s: float = 60.0,
        quick_reversals: int = QUICK_REVERSALS,
        quick_window_s: float = QUICK_WINDOW_S,
    ) -> None:
        self._points = TurningPoints(
            hysteresis_a, reversals, window_s, quick_reversals, quick_window_s
        )
        super().__init__()

    def observe(self, event: Event) -> None:
        """Take the current of a 0x300."""
        value_a = current_a(event)
        if value_a is not None:
            self._points.sample(event.time_s, value_a)

    def score_at(self, time_s: float) -> float:
        """Return the share of the reversals that raise the alarm."""
        return self._points.score_at(time_s)

    def reason_at(self, time_s: float) -> str | None:
        """Tell the number of reversals."""
        return self._points.reason_at(time_s)

    def reversals_at(self, time_s: float) -> list[Reversal]:
        """Return the reversals that count at `time_s`, oldest first."""
        return self._points.reversals_at(time_s)

    def reset(self) -> None:
        """Forget all samples."""
        self._points.reset()
