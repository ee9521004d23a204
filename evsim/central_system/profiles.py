"""Charging profiles that a central system makes, and what it may expect back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from ocpp.v16.enums import (
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingRateUnitType,
    RecurrencyKind,
)

from evsim.clock import from_ocpp, to_ocpp
from evsim.errors import AbsurdAnswerError, UserError
from evsim.ocpp_wire import to_snake_case

#: The largest number of OCPP's integers.
LARGEST = 2**31 - 1
#: A profile that shall hold for a while only, without more said.
DEFAULT_DURATION_S = 86400

#: Seconds from the start of the schedule, and the limit from then on.
Periods = Sequence[tuple[int, float]]


def charging_profile(
    periods: Periods,
    *,
    purpose: str = ChargingProfilePurposeType.tx_default_profile,
    unit: str = ChargingRateUnitType.amps,
    profile_id: int = 1,
    stack_level: int = 0,
    start: datetime | None = None,
    duration_s: int | None = None,
    recurrency: str | None = None,
    transaction_id: int | None = None,
) -> dict[str, Any]:
    """Make a profile as SetChargingProfile and RemoteStartTransaction carry it.

    Without `start` it is Relative, to the start of the transaction; with it Absolute, and valid
    only until its duration is over; with `recurrency`, Daily or Weekly, Recurring from then on.
    """
    schedule: dict[str, Any] = {
        "charging_rate_unit": unit,
        "charging_schedule_period": [
            {"start_period": start_s, "limit": limit} for start_s, limit in periods
        ],
    }
    profile: dict[str, Any] = {
        "charging_profile_id": profile_id,
        "stack_level": stack_level,
        "charging_profile_purpose": purpose,
        "charging_profile_kind": ChargingProfileKindType.relative,
        "charging_schedule": schedule,
    }
    if transaction_id is not None:
        profile["transaction_id"] = transaction_id
    if start is None:
        if recurrency is not None:
            raise UserError("a recurring profile needs a start")
        if duration_s is not None:
            schedule["duration"] = duration_s
        return profile
    schedule["start_schedule"] = to_ocpp(start)
    if recurrency is not None:
        profile["charging_profile_kind"] = ChargingProfileKindType.recurring
        profile["recurrency_kind"] = recurrency
        if duration_s is not None:
            schedule["duration"] = duration_s
        return profile
    lasts_s = DEFAULT_DURATION_S if duration_s is None else duration_s
    profile["charging_profile_kind"] = ChargingProfileKindType.absolute
    profile["valid_from"] = to_ocpp(start)
    profile["valid_to"] = to_ocpp(start + timedelta(seconds=lasts_s))
    schedule["duration"] = lasts_s
    return profile


def checked_profile(
    profile: Mapping[str, Any], connector_id: int | None, *, at_start: bool = False
) -> dict[str, Any]:
    """Give a profile with snake_case keys; UserError if OCPP lets no central system send it.

    :param at_start: it goes with a RemoteStartTransaction.
    """
    wanted: dict[str, Any] = to_snake_case(dict(profile))
    purpose, kind = wanted.get("charging_profile_purpose"), wanted.get("charging_profile_kind")
    schedule = wanted.get("charging_schedule")
    periods = schedule.get("charging_schedule_period") if isinstance(schedule, dict) else None
    has_transaction = wanted.get("transaction_id") is not None
    has_start = isinstance(schedule, dict) and schedule.get("start_schedule") is not None
    is_tx = purpose == ChargingProfilePurposeType.tx_profile
    problem = ""
    if not isinstance(periods, list) or not all(isinstance(p, dict) for p in periods):
        problem = "it needs a chargingSchedule with a list chargingSchedulePeriod"
    elif fault := _fault_of(periods):
        problem = fault
    elif at_start and (not is_tx or has_transaction):
        problem = "with a remote start goes a TxProfile without transactionId"
    elif is_tx and not at_start and not has_transaction:
        problem = "a TxProfile needs the transactionId of the running transaction"
    elif has_transaction and not is_tx:
        problem = "only a TxProfile has a transactionId"
    elif is_tx and connector_id == 0:
        problem = "a TxProfile belongs to a connector above 0"
    elif purpose == ChargingProfilePurposeType.charge_point_max_profile and connector_id != 0:
        problem = "a ChargePointMaxProfile belongs to connector 0"
    elif kind == ChargingProfileKindType.relative and has_start:
        problem = "a Relative profile has no startSchedule"
    elif kind == ChargingProfileKindType.absolute and not has_start:
        problem = "an Absolute profile needs a startSchedule"
    elif (kind == ChargingProfileKindType.recurring) is (wanted.get("recurrency_kind") is None):
        known = " or ".join(RecurrencyKind)
        problem = f"recurrencyKind, {known}, belongs to a Recurring profile and to no other"
    if problem:
        raise UserError(f"not sent: {problem}")
    return wanted


def check_composite_schedule(answer: Any, connector_id: int, unit: str | None) -> None:
    """Raise AbsurdAnswerError that says what is absurd in an accepted GetCompositeSchedule."""
    schedule = answer.charging_schedule
    fault = ""
    if schedule is None:
        fault = "accepted, but without a schedule"
    elif answer.connector_id is not None and answer.connector_id != connector_id:
        fault = f"it is about connector {answer.connector_id}"
    elif unit is not None and schedule["charging_rate_unit"] != unit:
        fault = f"{unit} was asked for, and the limits are in {schedule['charging_rate_unit']}"
    elif not 0 <= schedule.get("duration", 0) <= LARGEST:
        fault = f"a duration of {schedule['duration']} s"
    else:
        fault = _fault_of(schedule["charging_schedule_period"])
        for name, moment in (
            ("scheduleStart", answer.schedule_start),
            ("startSchedule", schedule.get("start_schedule")),
        ):
            if moment is not None and not _is_moment(moment):
                fault = f"{name} is no moment: {moment!r}"
    if fault:
        raise AbsurdAnswerError(f"the composite schedule is absurd: {fault}")


def _fault_of(periods: Sequence[Mapping[str, Any]]) -> str:
    """Say what is wrong with the periods of a schedule, "" if nothing is."""
    starts_s = [period.get("start_period") for period in periods]
    limits = [period.get("limit") for period in periods]
    if not periods:
        return "the list of periods is empty"
    if not all(type(start_s) is int and 0 <= start_s <= LARGEST for start_s in starts_s):
        return "a startPeriod is no whole number from 0 up"
    if starts_s[0] != 0:
        return f"the first startPeriod is {starts_s[0]}, not 0"
    if any(one >= other for one, other in pairwise(starts_s)):  # type: ignore[operator]
        return "the startPeriods do not rise"
    if not all(type(limit) in (int, float) and 0 <= limit < LARGEST for limit in limits):  # type: ignore[operator]
        return "a limit is no number from 0 up"
    return ""


def _is_moment(text: str) -> bool:
    try:
        from_ocpp(text)
    except ValueError:
        return False
    return True
