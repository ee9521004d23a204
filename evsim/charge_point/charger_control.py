"""What the charge point tells its charger, and whether the charger still speaks."""

from __future__ import annotations

import enum
from collections.abc import Callable

from evsim.frames import (
    CURRENT_PERIOD_S,
    STOP_WINS_S,
    Frame,
    SetLimit,
    StartCharging,
    StopCharging,
)

#: A charger silent for this long is faulted; for the second time, its transaction ends.
FAULTED_AFTER_S = 5.0
GONE_AFTER_S = 10.0
_LIMITS_S = (FAULTED_AFTER_S, GONE_AFTER_S)
#: 0x300 further off its period than this: the charger was away, or has been started anew
#: (SILENT_AFTER_START_S).
ODD_GAP_S = CURRENT_PERIOD_S / 2
#: A charger that is to deliver and doesn't may have missed it; a car's own delays come on top.
NO_CURRENT_S = 3.0


class Health(enum.Enum):
    """How long the charger has been silent."""

    SPEAKING = "speaking"
    FAULTED = "faulted"
    GONE = "gone"


class ChargerControl:
    """Holds what is wanted of the charger and says it again when the charger may have missed it.

    The caller passes the time, in s of one steady clock.

    :param send: puts a frame on the bus.
    :param limit_a: the limit until another is set.
    :param no_current_s: no current for this long although there should be some: the charger may
        not know that it is to deliver.
    """

    def __init__(
        self,
        send: Callable[[Frame], object],
        limit_a: float,
        *,
        now_s: float,
        no_current_s: float = NO_CURRENT_S,
    ) -> None:
        self._send = send
        self.limit = SetLimit.at_most(limit_a)
        self.no_current_s = no_current_s
        self.charging = False
        self._heard_at_s = now_s
        self._heard = False
        self._stopped_at_s = now_s - STOP_WINS_S
        self._current_since_s = now_s

    def set_limit(self, limit_a: float, *, again: bool = True) -> bool:
        """Tell the charger, rounded down to whole amperes; unless `again`, only what is new.

        Returns whether it was told.
        """
        limit = SetLimit.at_most(limit_a)
        if limit == self.limit and not again:
            return False
        self.limit = limit
        self._send(limit)
        return True

    def start(self, now_s: float) -> None:
        """Let the charger deliver."""
        self.charging = True
        self._current_since_s = now_s
        self._send(StartCharging())

    def stop(self, now_s: float) -> None:
        """Let the charger deliver nothing."""
        self.charging = False
        self._stopped_at_s = now_s
        self._send(StopCharging())

    def wait_before_start_s(self, now_s: float) -> float:
        """Return how long a start would still be void because of the last stop."""
        return max(0.0, self._stopped_at_s + STOP_WINS_S * 2 - now_s)

    def hear(self, current_a: int, now_s: float) -> None:
        """Take note of a 0x300; after an odd gap, say again what is wanted."""
        gap_s = now_s - self._heard_at_s
        if current_a > 0 or not self.charging or self.limit.limit_a == 0:
            self._current_since_s = now_s
        if (
            not self._heard
            or abs(gap_s - CURRENT_PERIOD_S) > ODD_GAP_S
            or now_s - self._current_since_s > self.no_current_s
        ):
            self.say_again(now_s)
        self._heard = True
        self._heard_at_s = now_s

    def say_again(self, now_s: float) -> None:
        """Send limit and state once more: each is harmless to a charger that knows it."""
        self._current_since_s = now_s
        self._send(self.limit)
        self._send(StartCharging() if self.charging else StopCharging())

    def health(self, now_s: float) -> Health:
        """Judge by how long nothing was heard."""
        silent_s = now_s - self._heard_at_s
        if silent_s < FAULTED_AFTER_S:
            return Health.SPEAKING
        return Health.FAULTED if silent_s < GONE_AFTER_S else Health.GONE

    def health_may_change_in_s(self, now_s: float) -> float:
        """Return how long the health stays as it is if nothing is heard, at most 1 s if gone."""
        silent_s = now_s - self._heard_at_s
        return next((after_s - silent_s for after_s in _LIMITS_S if silent_s < after_s), 1.0)
