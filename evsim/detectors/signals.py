"""What detectors read out of events: values, or None for what is not there or makes no sense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from evsim.clock import from_ocpp
from evsim.events import CanEvent, Direction, Event, Kind, OcppEvent
from evsim.frames import (
    CURRENT_ID,
    LIMIT_ID,
    Frame,
    FrameError,
    MeasuredCurrent,
    SetLimit,
    decode,
)

#: The central system's commands that move the current.
COMMANDS = frozenset({"SetChargingProfile", "RemoteStartTransaction", "RemoteStopTransaction"})


class Meter(NamedTuple):
    """One MeterValues message: A, Wh, %, and when the charge point read it, Unix s."""

    read_s: float
    current_a: float | None
    energy_wh: float | None
    state_of_charge: float | None


def frame_of(event: Event) -> Frame | None:
    """Give the frame of a CAN event, if it is one of our protocol."""
    if not isinstance(event, CanEvent):
        return None
    try:
        return decode(event.message)
    except FrameError:
        return None


def current_a(event: Event) -> float | None:
    """Give the measured current of a 0x300."""
    if not isinstance(event, CanEvent) or event.message.arbitration_id != CURRENT_ID:
        return None
    frame = frame_of(event)
    return float(frame.current_a) if isinstance(frame, MeasuredCurrent) else None


def limit_a(event: Event) -> float | None:
    """Give the limit of a 0x210."""
    if not isinstance(event, CanEvent) or event.message.arbitration_id != LIMIT_ID:
        return None
    frame = frame_of(event)
    return float(frame.limit_a) if isinstance(frame, SetLimit) else None


def call(event: Event, direction: Direction) -> OcppEvent | None:
    """Give the event if it is a CALL in that direction."""
    if isinstance(event, OcppEvent) and event.kind == Kind.CALL and event.direction == direction:
        return event
    return None


def command(event: Event) -> OcppEvent | None:
    """Give the event if it is a command of the central system that moves the current."""
    found = call(event, Direction.TO_CHARGE_POINT)
    return found if found is not None and found.action in COMMANDS else None


def profile_limit_a(event: Event) -> float | None:
    """Give the highest limit of a SetChargingProfile that the central system sends, A."""
    found = command(event)
    if found is None or found.action != "SetChargingProfile":
        return None
    try:
        schedule = found.payload["csChargingProfiles"]["chargingSchedule"]
        if schedule.get("chargingRateUnit") != "A":
            return None
        limits = [_finite(period["limit"]) for period in schedule["chargingSchedulePeriod"]]
    except (LookupError, TypeError, AttributeError):
        return None
    known = [limit for limit in limits if limit is not None]
    return max(known) if known else None


def meter(event: Event) -> Meter | None:
    """Read the last values of a MeterValues that reaches the central system."""
    found = call(event, Direction.TO_CENTRAL_SYSTEM)
    if found is None or found.action != "MeterValues":
        return None
    try:
        last = found.payload["meterValue"][-1]
        read_s = _moment(last["timestamp"])
        values = {
            sample.get("measurand", "Energy.Active.Import.Register"): _finite(sample["value"])
            for sample in last["sampledValue"]
            if "phase" not in sample
        }
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError):
        return None
    return Meter(
        read_s,
        values.get("Current.Import"),
        values.get("Energy.Active.Import.Register"),
        values.get("SoC"),
    )


def text(payload: Mapping[str, Any], key: str) -> str:
    """Give a text of a payload, "" if it is none."""
    value = payload.get(key)
    return value if isinstance(value, str) else ""


def _moment(stamp: object) -> float:
    if not isinstance(stamp, str):
        raise TypeError("a time stamp is text")
    moment: datetime = from_ocpp(stamp)
    return moment.timestamp()


def _finite(value: object) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
