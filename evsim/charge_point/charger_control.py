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
#: A current that is not as wanted for this long, and a car's own delays on top: the charger may
#: have missed a frame. The margin of what is wanted is that of EVerest's over-current rule.
PATIENCE_S = 3.0


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
    :param follow_s: a current may take this long until it follows, s.
    :param wake_up_s: and this long on top after a start, until there is any at all, s.
    """

    def __init__(
        self,
        send: Callable[[Frame], object],
        limit_a: float,
        *,
        now_s: float,
        follow_s: float = 0.0,
        wake_up_s: float = 0.0,
    ) -> None:
        self._send = send
        self.limit = SetLimit.at_most(limit_a)
        self._follow_s = PATIENCE_S + follow_s
        self._wake_up_s = wake_up_s
        self.charging = False
        self._heard_at_s = now_s
        self._heard = False
        self._stopped_at_s = now_s - STOP_WINS_S
        self._as_wanted_at_s = now_s
        self._said_again_at_s = now_s - CURRENT_PERIOD_S

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
        self._as_wanted_at_s = now_s
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
        missing = self.charging and self.limit.limit_a > 0 and current_a == 0
        if not missing and current_a <= self._most_a():
            self._as_wanted_at_s = now_s
        patience_s = self._follow_s + (self._wake_up_s if missing else 0.0)
        is_odd = not self._heard or abs(gap_s - CURRENT_PERIOD_S) > ODD_GAP_S
        missed = now_s - self._as_wanted_at_s > patience_s
        # Once a period is enough, also when 0x300 floods the bus or two chargers send it.
        if (is_odd or missed) and now_s - self._said_again_at_s >= CURRENT_PERIOD_S:
            self.say_again(now_s)
        self._heard = True
        self._heard_at_s = now_s

    def _most_a(self) -> float:
        """Return the most that may flow if the charger knows what is wanted, A."""
        return (self.limit.limit_a + 0.5) * 1.1 if self.charging else 0.5

    def say_again(self, now_s: float) -> None:
        """Send limit and state once more: each is harmless to a charger that knows it."""
        self._as_wanted_at_s = self._said_again_at_s = now_s
        self._send(self.limit)
        self._send(StartCharging() if self.charging else StopCharging())

    def health(self, now_s: float) -> Health:
        """Judge by how long nothing was heard."""
        if now_s < self._heard_at_s + FAULTED_AFTER_S:
            return Health.SPEAKING
        return Health.FAULTED if now_s < self._heard_at_s + GONE_AFTER_S else Health.GONE

    def health_may_change_at_s(self, now_s: float) -> float:
        """Return until when the health stays as it is if nothing is heard; 1 s at most if gone.

        It is always later than `now_s`: no difference of times here, which rounding may make 0.
        """
        limits_s = (self._heard_at_s + after_s for after_s in _LIMITS_S)
        return next((limit_s for limit_s in limits_s if now_s < limit_s), now_s + 1.0)
