"""A small run that several tests record: a session of one charge point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import can

from evsim.frames import (
    Frame,
    MeasuredCurrent,
    SetLimit,
    StartCharging,
    StopCharging,
    encode,
)
from evsim.labels import Label
from evsim.recording import Recorder

#: Which way a message goes, seen from the central system.
SENT, RECEIVED = True, False
START_S = 1_767_225_600.0
LABEL = Label("can_drift", "can", "CP_1", START_S + 3, START_S + 5.5, None, None, "low")


class Records(Protocol):
    """What Recorder and LiveRecorder have in common."""

    def can(self, charge_point: str, message: can.Message, time_s: float) -> None: ...
    def ocpp(
        self,
        charge_point: str,
        sent_by_central_system: bool,
        message: list[Any] | str,
        time_s: float,
    ) -> None: ...
    def link(self, charge_point: str, event: str, text: str, time_s: float) -> None: ...


def profile(limit_a: float) -> dict[str, Any]:
    schedule = {
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit_a}],
    }
    return {"connectorId": 1, "csChargingProfiles": {"chargingSchedule": schedule}}


def meter_values(current_a: str, energy_kwh: str, soc: str) -> dict[str, Any]:
    samples = [
        {"value": current_a, "measurand": "Current.Import", "unit": "A"},
        {"value": energy_kwh, "unit": "kWh"},  # the default measurand
        {"value": soc, "measurand": "SoC", "unit": "Percent"},
        {"value": "7", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
    ]
    meter_value = [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": samples}]
    return {"connectorId": 1, "meterValue": meter_value}


def ocpp_part(
    recorder: Records, charge_point: str = "CP_1"
) -> list[tuple[float, Callable[[], None]]]:
    """When each OCPP message is recorded, s from the start, and how."""

    def event(
        at_s: float, sent: bool, message: list[Any] | str
    ) -> tuple[float, Callable[[], None]]:
        time_s = START_S + at_s
        return at_s, lambda: recorder.ocpp(charge_point, sent, message, time_s)

    status = {"connectorId": 1, "errorCode": "NoError", "status": "Charging"}
    return [
        (0.1, lambda: recorder.link(charge_point, "connected", "127.0.0.1", START_S + 0.1)),
        event(1.0, SENT, [2, "a", "SetChargingProfile", profile(16.9)]),
        event(1.01, RECEIVED, [3, "a", {"status": "Accepted"}]),
        event(2.0, SENT, [2, "b", "RemoteStartTransaction", {"idTag": "tag"}]),
        event(2.01, RECEIVED, [3, "b", {"status": "Accepted"}]),
        event(2.4, RECEIVED, [2, "x1", "StatusNotification", status]),
        event(2.41, SENT, [3, "x1", {}]),
        event(4.6, RECEIVED, [2, "x2", "MeterValues", meter_values("16", "1.5", "40.5")]),
        event(4.7, RECEIVED, "{no JSON"),
        event(6.0, SENT, [2, "c", "RemoteStopTransaction", {"transactionId": 7}]),
        event(6.01, RECEIVED, [4, "c", "InternalError", "no", {"why": [1, 2.5, None]}]),
    ]


def can_part(
    recorder: Records, charge_point: str = "CP_1"
) -> list[tuple[float, Callable[[], None]]]:
    """When each CAN frame is recorded, s from the start, and how."""

    def event(at_s: float, frame: Frame) -> tuple[float, Callable[[], None]]:
        time_s = START_S + at_s
        return at_s, lambda: recorder.can(charge_point, encode(frame), time_s)

    return [
        event(0.5, MeasuredCurrent(0)),
        event(1.005, SetLimit(16)),
        event(1.5, MeasuredCurrent(0)),
        event(2.02, StartCharging()),
        event(2.5, MeasuredCurrent(10)),
        event(3.5, MeasuredCurrent(16)),
        event(6.02, StopCharging()),
        event(7.25, MeasuredCurrent(0)),
    ]


def play(*parts: list[tuple[float, Callable[[], None]]]) -> None:
    """Record everything in order of time."""
    for _, record in sorted((event for part in parts for event in part), key=lambda e: e[0]):
        record()


def record_run(directory: Path, **options: Any) -> Path:
    """Record the run with Recorder."""
    with Recorder(directory, **options) as recorder:
        play(ocpp_part(recorder), can_part(recorder))
        recorder.label(LABEL)
        recorder.finish({"seed": 1, "duration_s": 8.0, "charge_points": ["CP_1"]})
    return directory
