"""The alarms of a detector, each from its beginning to its end, the newest last."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

#: A detector that alarms again and again for days fills no memory.
MOST_ALARMS = 1000


@dataclass
class Alarm:
    """An alarm; in s on the clock of whoever keeps the list.

    :param reason: what raised it.
    :param end_s: None while it is on.
    """

    begin_s: float
    reason: str
    end_s: float | None = None


class AlarmList:
    """What a detector's reason was from look to look, as alarms."""

    def __init__(self) -> None:
        self.alarms: deque[Alarm] = deque(maxlen=MOST_ALARMS)

    def look(self, now_s: float, reason: str | None) -> None:
        """Take note of the detector's reason at `now_s`, None if it sees nothing wrong."""
        is_on = bool(self.alarms) and self.alarms[-1].end_s is None
        if reason is not None and not is_on:
            self.alarms.append(Alarm(now_s, reason))
        elif reason is None and is_on:
            self.alarms[-1].end_s = now_s

    def spans(self, begin_s: float, now_s: float) -> list[tuple[float, float]]:
        """Return from when to when an alarm was on between `begin_s` and `now_s`, oldest first."""
        found = []
        for alarm in reversed(self.alarms):
            end_s = now_s if alarm.end_s is None else alarm.end_s
            if end_s <= begin_s:
                break
            found.append((max(alarm.begin_s, begin_s), min(end_s, now_s)))
        return found[::-1]

    def last(self, count: int) -> list[Alarm]:
        """Return the last alarms, the newest first."""
        return [self.alarms[-1 - back] for back in range(min(count, len(self.alarms)))]
