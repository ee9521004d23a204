"""trace.jsonl: what became of each command of the central system.

    SetChargingProfile ── decision ── CAN frame ── the current has followed ── an alarm
     time                  decided     frame_time   followed                    alarm.time

A command is a CALL to the charge point. It is tied to its answer by its id, and to the first frame
after it that does what it asks for, unless it was refused. From then on the current is watched,
until it has followed or another frame asks for something else. An alarm is one of the turning
points detector on that charge point's current that began within WATCHED_S of the command. What has
not happened by then is absent from the record.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import can

from evsim.detectors.turning_points import TurningPoints
from evsim.events import Direction, Kind, OcppEvent
from evsim.frames import Frame, MeasuredCurrent, SetLimit, StartCharging, StopCharging

#: A command is watched for this long.
WATCHED_S = 60.0
#: Commands that are watched at a time, of all charge points; the oldest give way.
MOST_WATCHED = 10_000
#: The current has followed a limit that it keeps to within this.
LIMIT_TOLERANCE_A = 1.0
#: Above this a current flows.
FLOWS_A = 0.5

_SET_LIMIT = "SetChargingProfile"
_START = "RemoteStartTransaction"
_STOP = "RemoteStopTransaction"
_FRAMES: dict[str, type] = {_SET_LIMIT: SetLimit, _START: StartCharging, _STOP: StopCharging}
_ACCEPTED = "Accepted"
_LONGEST_DECISION = 50


class _Command:
    """A command that is being watched, and the record of it."""

    __slots__ = ("asked", "frame", "key", "reading_a", "record", "time_s", "wanted", "watched")

    def __init__(self, event: OcppEvent) -> None:
        self.key = (event.charge_point, event.unique_id)
        self.time_s = event.time_s
        self.wanted = _FRAMES[event.action]
        self.asked: int | None = None  # the limit that is to be in the frame, A
        self.frame: Frame | None = None
        self.reading_a: float | None = None  # the last current since the frame
        self.watched = True
        self.record: dict[str, Any] = {
            "command": event.action,
            "id": event.unique_id,
            "charge_point": event.charge_point,
            "time": event.time_s,
        }
        limit_a = _limit_a(event.payload) if event.action == _SET_LIMIT else None
        if limit_a is not None:
            self.record["limit_a"] = limit_a
            self.asked = SetLimit.at_most(limit_a).limit_a

    def fits(self, frame: Frame) -> bool:
        """Whether the frame does what the command asks for."""
        if type(frame) is not self.wanted:
            return False
        return self.asked is None or (isinstance(frame, SetLimit) and frame.limit_a == self.asked)

    def is_ended_by(self, frame: Frame) -> bool:
        """Whether a later frame asks for something else of what the command is about."""
        if isinstance(frame, SetLimit):
            return isinstance(self.frame, SetLimit) and frame != self.frame
        return not isinstance(self.frame, SetLimit) and type(frame) is not type(self.frame)

    def is_followed_by(self, current_a: float) -> bool:
        """Whether the measured current does now what the frame asked for."""
        before_a, self.reading_a = self.reading_a, current_a
        if isinstance(self.frame, StartCharging):
            return current_a > FLOWS_A
        if isinstance(self.frame, StopCharging):
            return current_a < FLOWS_A
        assert isinstance(self.frame, SetLimit)
        over_a = current_a - self.frame.limit_a
        if abs(over_a) <= LIMIT_TOLERANCE_A:
            return True
        # A car may draw less than it is allowed.
        is_steady = before_a is not None and abs(current_a - before_a) <= LIMIT_TOLERANCE_A
        return current_a > FLOWS_A and over_a <= 0 and is_steady


class _Station:
    """What is watched of one charge point; commands in the order in which they came."""

    def __init__(self) -> None:
        self.detector = TurningPoints()
        #: The alarm is on for so long at least; -inf while it is off.
        self.on_until_s = -math.inf
        self.current_a: float | None = None
        self.waiting: list[_Command] = []
        self.following: list[_Command] = []


class Trace:
    """Takes events in order of time and writes a record for each command, in their order.

    :param write: takes the records.
    """

    def __init__(self, write: Callable[[Mapping[str, Any]], object]) -> None:
        self._write = write
        self._stations: dict[str, _Station] = {}
        self._watched: deque[_Command] = deque()
        self._unanswered: dict[tuple[str, str], _Command] = {}
        self._oldest_until_s = math.inf

    def frame(
        self, time_s: float, charge_point: str, message: can.Message, frame: Frame | None
    ) -> None:
        """Take a message on a charge point's CAN bus, and what it means to the charger."""
        if time_s > self._oldest_until_s:
            self._give_up(time_s)
        if frame is None:
            return
        station = self._station(charge_point)
        if type(frame) is MeasuredCurrent:
            self._hear(time_s, charge_point, station, frame.current_a)
        elif type(frame) in _FRAMES.values():
            self._tie(time_s, station, message, frame)

    def message(self, event: OcppEvent) -> None:
        """Take an OCPP message or link event."""
        if event.time_s > self._oldest_until_s:
            self._give_up(event.time_s)
        if event.direction is Direction.TO_CHARGE_POINT:
            if event.kind is Kind.CALL and event.action in _FRAMES:
                self._watch(event)
        elif event.kind is Kind.CALL_RESULT or event.kind is Kind.CALL_ERROR:
            command = self._unanswered.pop((event.charge_point, event.unique_id), None)
            if command is not None:
                name = "status" if event.kind is Kind.CALL_RESULT else "code"
                decision = str(event.payload.get(name, ""))[:_LONGEST_DECISION]
                command.record["decision"] = decision
                command.record["decided"] = event.time_s

    def finish(self) -> None:
        """Write what is still being watched."""
        self._give_up(math.inf)

    def _station(self, charge_point: str) -> _Station:
        station = self._stations.get(charge_point)
        if station is None:
            station = self._stations[charge_point] = _Station()
        return station

    def _watch(self, event: OcppEvent) -> None:
        command = _Command(event)
        self._watched.append(command)
        self._unanswered[command.key] = command
        self._station(event.charge_point).waiting.append(command)
        if len(self._watched) > MOST_WATCHED:
            self._write_oldest()
        self._oldest_until_s = self._watched[0].time_s + WATCHED_S

    def _tie(self, time_s: float, station: _Station, message: can.Message, frame: Frame) -> None:
        station.following = [c for c in station.following if c.watched and not c.is_ended_by(frame)]
        still_waiting = []
        for command in station.waiting:
            if command.record.get("decision", _ACCEPTED) != _ACCEPTED:
                continue
            if not command.fits(frame):
                still_waiting.append(command)
                continue
            command.frame = frame
            command.record["frame"] = f"0x{message.arbitration_id:03X}"
            command.record["frame_data"] = message.data.hex().upper()
            command.record["frame_time"] = time_s
            station.following.append(command)
        station.waiting = still_waiting

    def _hear(self, time_s: float, charge_point: str, station: _Station, current_a: float) -> None:
        if station.following:
            still_following = []
            for command in station.following:
                if not command.watched:
                    continue
                if command.is_followed_by(current_a):
                    command.record["followed"] = time_s
                else:
                    still_following.append(command)
            station.following = still_following
        station.detector.sample(time_s, current_a)
        self._look_for_alarm(time_s, charge_point, station, current_a)
        station.current_a = current_a

    def _look_for_alarm(
        self, time_s: float, charge_point: str, station: _Station, current_a: float
    ) -> None:
        """Ask the detector, but only when its answer may differ from the one at the last reading.

        It can go on only with a reading that differs from the one before, and it stays on while
        the reversals that it was last seen to count are in its windows.
        """
        was_on = station.on_until_s > -math.inf
        if time_s < station.on_until_s or (current_a == station.current_a and not was_on):
            return
        station.on_until_s = station.detector.on_until_s(time_s)
        if station.on_until_s > -math.inf and not was_on:
            self._raise_alarm(time_s, charge_point, station.detector.reason_at(time_s) or "")

    def _raise_alarm(self, time_s: float, charge_point: str, reason: str) -> None:
        for command in self._watched:
            if command.key[0] == charge_point and "alarm" not in command.record:
                alarm = {"detector": "turning_points", "time": time_s, "reason": reason}
                command.record["alarm"] = alarm

    def _give_up(self, now_s: float) -> None:
        while self._watched and now_s > self._watched[0].time_s + WATCHED_S:
            self._write_oldest()
        self._oldest_until_s = self._watched[0].time_s + WATCHED_S if self._watched else math.inf

    def _write_oldest(self) -> None:
        command = self._watched.popleft()
        command.watched = False
        if self._unanswered.get(command.key) is command:
            del self._unanswered[command.key]
        station = self._stations[command.key[0]]
        if station.waiting and station.waiting[0] is command:
            del station.waiting[0]
        self._write(command.record)


def _limit_a(payload: Mapping[str, Any]) -> float | None:
    """Give the first limit of a charging profile, A; None if it is in watts or malformed."""
    try:
        schedule = payload["csChargingProfiles"]["chargingSchedule"]
        limit = schedule["chargingSchedulePeriod"][0]["limit"]
        in_amperes = schedule["chargingRateUnit"] == "A"
    except (KeyError, IndexError, TypeError):
        return None
    is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
    return limit if in_amperes and is_number and math.isfinite(limit) else None
