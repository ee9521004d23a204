"""The trace ties each command to what became of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from recorded_run import profile

from evsim.events import Direction, Kind, OcppEvent
from evsim.frames import (
    Frame,
    MeasuredCurrent,
    SetLimit,
    StartCharging,
    StateOfCharge,
    StopCharging,
    encode,
)
from evsim.recording.trace import MOST_WATCHED, Trace

T0 = 1_767_225_600.0
START, STOP, LIMIT = "RemoteStartTransaction", "RemoteStopTransaction", "SetChargingProfile"


class Station:
    """Tells a trace what happens, in seconds from T0, and keeps its records."""

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.trace = Trace(self.records.append)

    def command(
        self, at_s: float, action: str, payload: dict[str, Any] | None = None, unique_id: str = "a"
    ) -> None:
        direction = Direction.TO_CHARGE_POINT
        self.trace.message(
            OcppEvent(T0 + at_s, "CP_1", direction, Kind.CALL, unique_id, action, payload or {})
        )

    def answer(self, at_s: float, status: str = "Accepted", unique_id: str = "a") -> None:
        direction, payload = Direction.TO_CENTRAL_SYSTEM, {"status": status}
        self.trace.message(
            OcppEvent(T0 + at_s, "CP_1", direction, Kind.CALL_RESULT, unique_id, "", payload)
        )

    def frame(self, at_s: float, frame: Frame, charge_point: str = "CP_1") -> None:
        self.trace.frame(T0 + at_s, charge_point, encode(frame), frame)

    def currents(self, first_s: float, *currents_a: int) -> None:
        for second, current_a in enumerate(currents_a):
            self.frame(first_s + second, MeasuredCurrent(current_a))

    def finish(self) -> list[dict[str, Any]]:
        """Give the records, with times from T0 on."""
        self.trace.finish()
        times = ("time", "decided", "frame_time", "followed")
        return [
            {k: round(v - T0, 6) if k in times else v for k, v in record.items()}
            for record in self.records
        ]


def test_a_limit_from_command_to_current() -> None:
    station = Station()
    station.currents(0, 50, 50)
    station.command(1.5, LIMIT, profile(16.9))
    station.answer(1.51)
    station.frame(1.52, SetLimit(16))
    station.currents(2, 40, 30, 20, 16, 16)
    assert station.finish() == [
        {
            "command": LIMIT,
            "id": "a",
            "charge_point": "CP_1",
            "time": 1.5,
            "limit_a": 16.9,
            "decision": "Accepted",
            "decided": 1.51,
            "frame": "0x210",
            "frame_data": "1000",
            "frame_time": 1.52,
            "followed": 5.0,
        }
    ]


def test_a_frame_may_come_before_the_answer() -> None:
    station = Station()
    station.command(0, START)
    station.frame(0.1, StartCharging())
    station.answer(0.2)
    station.currents(1, 0, 0, 3)
    (record,) = station.finish()
    assert (record["frame"], record["frame_data"]) == ("0x200", "")
    assert (record["frame_time"], record["decided"], record["followed"]) == (0.1, 0.2, 3.0)


def test_a_stop() -> None:
    station = Station()
    station.command(0, STOP)
    station.frame(0.1, StopCharging())
    station.currents(1, 60, 20, 0)
    (record,) = station.finish()
    assert (record["frame"], record["followed"]) == ("0x201", 3.0)


@pytest.mark.parametrize(
    ("limit_a", "currents_a", "followed"),
    [
        (0, [50, 0], 2.0),
        (100, [0, 0, 100], 3.0),  # not charging yet: it follows when it charges
        (100, [0, 50, 100], 3.0),
        (100, [40, 60, 60], 3.0),  # the car takes no more
        (100, [101], 1.0),
        (100, [99], 1.0),
        (100, [120, 120, 120], None),  # the limit is ignored
        (100, [0, 0, 0], None),  # nothing flows
        (70_000, [65_535], 1.0),  # more than a frame can say
    ],
)
def test_when_the_current_has_followed_a_limit(
    limit_a: float, currents_a: list[int], followed: float | None
) -> None:
    station = Station()
    station.command(0, LIMIT, profile(limit_a))
    station.frame(0.1, SetLimit.at_most(limit_a))
    station.currents(1, *currents_a)
    (record,) = station.finish()
    assert record.get("followed") == followed


def test_the_frame_must_fit_and_come_after_the_command() -> None:
    station = Station()
    station.frame(0, SetLimit(16))
    station.command(1, LIMIT, profile(16))
    station.frame(2, SetLimit(15))
    station.frame(3, StartCharging())
    station.frame(3.5, SetLimit(16), charge_point="CP_2")
    (record,) = station.finish()
    assert "frame" not in record
    assert "followed" not in record


def test_a_refused_command_causes_nothing() -> None:
    station = Station()
    station.command(0, START)
    station.answer(0.1, "Rejected")
    station.command(5, START, unique_id="b")
    station.answer(5.1, unique_id="b")
    station.frame(5.2, StartCharging())
    station.currents(6, 10)
    refused, accepted = station.finish()
    assert refused["decision"] == "Rejected"
    assert "frame" not in refused
    assert accepted["followed"] == 6.0


def test_an_error_is_a_decision_too() -> None:
    station = Station()
    station.command(0, START)
    error = {"code": "NotSupported", "description": "", "details": {}}
    station.trace.message(
        OcppEvent(T0 + 1, "CP_1", Direction.TO_CENTRAL_SYSTEM, Kind.CALL_ERROR, "a", START, error)
    )
    station.frame(2, StartCharging())
    (record,) = station.finish()
    assert (record["decision"], record["decided"]) == ("NotSupported", 1.0)
    assert "frame" not in record


def test_a_limit_that_another_replaces_is_not_followed_any_more() -> None:
    station = Station()
    station.command(0, LIMIT, profile(0))
    station.frame(0.1, SetLimit(0))
    station.command(1, LIMIT, profile(100), unique_id="b")
    station.frame(1.1, SetLimit(100))
    station.currents(2, 100, 0)
    first, second = station.finish()
    assert "followed" not in first
    assert second["followed"] == 2.0


def test_a_start_that_a_stop_undoes_is_not_followed_any_more() -> None:
    station = Station()
    station.command(0, START)
    station.frame(0.1, StartCharging())
    station.frame(0.5, SetLimit(5))  # about something else
    station.frame(1, StopCharging())
    station.currents(2, 10)
    (record,) = station.finish()
    assert "followed" not in record


def test_a_frame_that_is_repeated_replaces_nothing() -> None:
    station = Station()
    station.command(0, LIMIT, profile(16))
    station.frame(0.1, SetLimit(16))
    station.frame(1, SetLimit(16))
    station.currents(2, 16)
    (record,) = station.finish()
    assert (record["frame_time"], record["followed"]) == (0.1, 2.0)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"csChargingProfiles": None},
        {"csChargingProfiles": {"chargingSchedule": {"chargingSchedulePeriod": []}}},
        profile(True),  # noqa: FBT003
        profile("16"),  # type: ignore[arg-type]
        profile(float("nan")),
    ],
)
def test_a_profile_without_a_limit_in_amperes_fits_any_limit(payload: dict[str, Any]) -> None:
    station = Station()
    station.command(0, LIMIT, payload)
    station.frame(1, SetLimit(12))
    station.currents(2, 12)
    (record,) = station.finish()
    assert "limit_a" not in record
    assert (record["frame_data"], record["followed"]) == ("0C00", 2.0)


def test_a_limit_in_watts_is_not_one_in_amperes() -> None:
    payload = profile(11_000)
    payload["csChargingProfiles"]["chargingSchedule"]["chargingRateUnit"] = "W"
    station = Station()
    station.command(0, LIMIT, payload)
    (record,) = station.finish()
    assert "limit_a" not in record


def base_scenario(station: Station, cycles: int, first_s: float = 0.0) -> None:
    for cycle in range(cycles):
        at_s = first_s + 8 * cycle
        station.command(at_s, START, unique_id=f"start {cycle}")
        station.frame(at_s + 0.1, StartCharging())
        station.currents(at_s + 0.5, 100, 100)
        station.command(at_s + 2, STOP, unique_id=f"stop {cycle}")
        station.frame(at_s + 2.1, StopCharging())
        station.currents(at_s + 2.5, 0, 0, 0, 0, 0)


def test_the_alarm_belongs_to_the_commands_of_the_minute_before_it() -> None:
    station = Station()
    station.command(0, LIMIT, profile(100))
    base_scenario(station, 40, first_s=50)
    records = station.finish()
    alarms = [record.get("alarm") for record in records]
    first = next(alarm for alarm in alarms if alarm is not None)
    assert first["detector"] == "turning_points"
    assert first["reason"] == "3 reversals of 5 A or more in 12 s"
    at_s = first["time"] - T0
    assert 58 < at_s < 68  # in the second cycle
    for record, alarm in zip(records, alarms, strict=True):
        is_of_the_minute_before = at_s - 60 <= record["time"] <= at_s
        assert (alarm == first) is is_of_the_minute_before
    assert {alarm["time"] for alarm in alarms if alarm} == {first["time"]}  # it stays on


def test_an_alarm_that_is_over_comes_anew() -> None:
    station = Station()
    base_scenario(station, 5)
    station.currents(48, *[0] * 120)
    base_scenario(station, 5, first_s=200)
    records = station.finish()
    times = sorted({r["alarm"]["time"] - T0 for r in records if "alarm" in r})
    assert len(times) == 2
    assert times[0] + 200 == pytest.approx(times[1], abs=8)


def test_an_alarm_after_more_than_a_minute_is_no_consequence() -> None:
    station = Station()
    station.command(0, LIMIT, profile(100))
    base_scenario(station, 5, first_s=61)
    assert "alarm" not in station.finish()[0]


def test_another_charge_point_is_another_story() -> None:
    station = Station()
    station.command(0, START)
    station.frame(1, StartCharging(), charge_point="CP_2")
    for second in range(2, 40):
        current_a = 100 * (second // 4 % 2)
        station.frame(second, MeasuredCurrent(current_a), charge_point="CP_2")
    assert station.finish() == [{"command": START, "id": "a", "charge_point": "CP_1", "time": 0.0}]


def test_records_come_in_the_order_of_the_commands_a_minute_later() -> None:
    station = Station()
    station.command(0, START, unique_id="a")
    station.command(1, STOP, unique_id="b")
    station.answer(1.1, unique_id="b")
    station.frame(60, StateOfCharge(50.0))
    assert station.records == []
    station.frame(60.5, StateOfCharge(50.0))
    assert [record["id"] for record in station.records] == ["a"]
    station.answer(60.6, unique_id="a")  # too late
    station.finish()
    assert [record["id"] for record in station.records] == ["a", "b"]
    assert "decision" not in station.records[0]


def test_what_is_no_command_makes_no_record() -> None:
    station = Station()
    station.command(0, "Reset")
    station.trace.message(
        OcppEvent(T0, "CP_1", Direction.TO_CENTRAL_SYSTEM, Kind.CALL, "a", START, {})
    )
    station.answer(0.1)
    assert station.finish() == []


def test_a_flood_of_commands_is_bounded() -> None:
    station = Station()
    for number in range(MOST_WATCHED + 5):
        station.command(number / 1e6, START, unique_id=str(number))
    assert [record["id"] for record in station.records] == ["0", "1", "2", "3", "4"]
    assert len(station.finish()) == MOST_WATCHED + 5


def test_memory_does_not_grow() -> None:
    trace = Station()
    trace.records = []
    trace.trace = Trace(len)
    base_scenario(trace, 600)  # so long that the detector keeps all that it ever will
    tracemalloc.start()
    base_scenario(trace, 100, first_s=4800)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 150_000  # the commands of the last minute, and the detector's reversals
