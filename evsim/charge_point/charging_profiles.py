"""Charging profiles: what a charge point takes, and reading one without trust.

OCPP 1.6 smart charging (sections 3.13 and 7.8 to 7.14). A limit has at most one decimal: the
message's schema sees to that (PropertyConstraintViolation), and to the types. How profiles add up
to a limit is in composite_schedule, how they are kept in profile_store.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from ocpp.v16.enums import (
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingRateUnitType,
    RecurrencyKind,
)

from evsim.charge_point.transaction import Transaction
from evsim.charger import Plant
from evsim.clock import from_ocpp

MAX_STACK_LEVEL = 10
MAX_PERIODS = 100
MAX_PROFILES = 20
#: The key that names the units of limits that are taken, and the word for each unit.
RATE_UNIT_KEY = "ChargingScheduleAllowedChargingRateUnit"
RATE_UNIT_WORDS = {ChargingRateUnitType.amps: "Current", ChargingRateUnitType.watts: "Power"}
RATE_UNITS = frozenset(RATE_UNIT_WORDS)
#: Ten years: nothing in a schedule is taken to last longer.
LONGEST_S = 3650 * 86_400.0
#: Time stamps outside these years are refused; sums with LONGEST_S stay within datetime's range.
YEARS = range(1970, 2200)
#: What SQLite keeps of an id.
IDS = range(-(2**63), 2**63)
_DAY_S = 86_400.0
_REPEAT_S = {RecurrencyKind.daily: _DAY_S, RecurrencyKind.weekly: 7 * _DAY_S}


class ProfileError(ValueError):
    """A charging profile that must be refused; the text says why."""


def rate_unit_words(units: Collection[ChargingRateUnitType]) -> str:
    """Write units as RATE_UNIT_KEY has them."""
    return ",".join(word for unit, word in RATE_UNIT_WORDS.items() if unit in units)


def rate_units_of(words: Collection[str]) -> frozenset[ChargingRateUnitType]:
    """Read the words that RATE_UNIT_KEY has."""
    return frozenset(unit for unit, word in RATE_UNIT_WORDS.items() if word in words)


@dataclass(frozen=True)
class ProfileRules:
    """What a charge point is built like, as far as it decides which profiles it takes.

    :param units: of the limits it takes.
    """

    plant: Plant
    connectors: int = 1
    units: frozenset[ChargingRateUnitType] = RATE_UNITS


@dataclass(frozen=True)
class Profile:
    """A charging profile that was taken; limits in A (per phase)."""

    profile_id: int
    connector_id: int
    purpose: ChargingProfilePurposeType
    stack_level: int
    #: (start_s, limit_a), the first at 0 s, ascending.
    periods: tuple[tuple[float, float], ...]
    taken_at: datetime
    #: None: relative to the start of the transaction, or to what else counts as the start.
    start_at: datetime | None = None
    duration_s: float | None = None
    repeat_s: float | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    #: csChargingProfiles as it came, to be kept.
    wire: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def starts_us(self) -> tuple[int, ...]:
        """When the periods begin, µs after the schedule's start."""
        return tuple(round(start_s * 1e6) for start_s, _ in self.periods)


def read_profile(
    connector_id: int,
    wire: Mapping[str, Any],
    *,
    now: datetime,
    rules: ProfileRules,
    transaction: Transaction | None,
) -> Profile:
    """Read a csChargingProfiles object (snake_case keys, schema already checked).

    Raises ProfileError where OCPP 1.6 wants the profile rejected.
    """
    purpose = ChargingProfilePurposeType(wire["charging_profile_purpose"])
    transaction_id = wire.get("transaction_id")
    if not 0 <= connector_id <= rules.connectors:
        raise ProfileError(f"there is no connector {connector_id}")
    if purpose == ChargingProfilePurposeType.charge_point_max_profile and connector_id != 0:
        raise ProfileError("a ChargePointMaxProfile belongs to connector 0")
    if purpose == ChargingProfilePurposeType.tx_profile:
        if connector_id == 0 or transaction is None:
            raise ProfileError("a TxProfile needs a connector with a running transaction")
        if transaction_id not in (None, transaction.transaction_id):
            raise ProfileError(f"transaction {transaction_id} is not running here")
    elif transaction_id is not None:
        raise ProfileError(f"transactionId belongs to a TxProfile, not to a {purpose}")
    return _read(connector_id, wire, now, rules)


def read_start_profile(
    connector_id: int, wire: Mapping[str, Any], *, now: datetime, rules: ProfileRules
) -> Profile:
    """Read the chargingProfile of a RemoteStartTransaction, for the transaction to come.

    Raises ProfileError where OCPP 1.6 wants the start rejected.
    """
    purpose = wire["charging_profile_purpose"]
    if purpose != ChargingProfilePurposeType.tx_profile:
        raise ProfileError(f"a start takes a TxProfile, not a {purpose}")
    if wire.get("transaction_id") is not None:
        raise ProfileError("a transaction that is yet to start has no transactionId")
    return _read(connector_id, wire, now, rules)


def _read(
    connector_id: int, wire: Mapping[str, Any], now: datetime, rules: ProfileRules
) -> Profile:
    """Read what does not depend on where the profile is to count."""
    if wire["charging_profile_id"] not in IDS:
        raise ProfileError("a chargingProfileId beyond 64 bits cannot be kept")
    if not 0 <= wire["stack_level"] <= MAX_STACK_LEVEL:
        raise ProfileError(f"stackLevel {wire['stack_level']} is not 0 to {MAX_STACK_LEVEL}")
    kind = ChargingProfileKindType(wire["charging_profile_kind"])
    schedule = wire["charging_schedule"]
    start_at = _moment(schedule, "start_schedule")
    repeat_s = None
    if kind == ChargingProfileKindType.recurring:
        if wire.get("recurrency_kind") is None or start_at is None:
            raise ProfileError("a Recurring profile needs recurrencyKind and startSchedule")
        repeat_s = _REPEAT_S[RecurrencyKind(wire["recurrency_kind"])]
    duration_s = schedule.get("duration")
    if duration_s is not None:
        if duration_s <= 0:
            raise ProfileError("a duration of 0 s or less never begins")
        duration_s = float(min(duration_s, int(LONGEST_S)))
    return Profile(
        profile_id=wire["charging_profile_id"],
        connector_id=connector_id,
        purpose=ChargingProfilePurposeType(wire["charging_profile_purpose"]),
        stack_level=wire["stack_level"],
        periods=_periods(schedule, rules),
        taken_at=now,
        # An Absolute schedule without a start is relative too (section 7.13).
        start_at=None if kind == ChargingProfileKindType.relative else start_at,
        duration_s=duration_s,
        repeat_s=repeat_s,
        valid_from=_moment(wire, "valid_from"),
        valid_to=_moment(wire, "valid_to"),
        wire=wire,
    )


def _periods(schedule: Mapping[str, Any], rules: ProfileRules) -> tuple[tuple[float, float], ...]:
    """Read the periods, limits in A.

    numberPhases is taken and changes nothing: our chargers cannot switch phases off, so that a W
    limit is shared by all that there are, whatever it says. So is minChargingRate, which is for a
    local controller.
    """
    wire = schedule["charging_schedule_period"]
    if not 1 <= len(wire) <= MAX_PERIODS:
        raise ProfileError(f"{len(wire)} periods; 1 to {MAX_PERIODS} are taken")
    unit = ChargingRateUnitType(schedule["charging_rate_unit"])
    if unit not in rules.units:
        raise ProfileError(f"limits in {unit} are not taken here")
    per_a = rules.plant.power_w(1.0) if unit == ChargingRateUnitType.watts else 1.0
    try:
        periods = tuple((float(p["start_period"]), float(p["limit"]) / per_a) for p in wire)
        lowest = float(schedule.get("min_charging_rate", 0.0))
    except OverflowError as error:
        raise ProfileError("a number beyond what a float holds") from error
    starts = [start for start, _ in periods]
    if starts[0] != 0:
        raise ProfileError(f"the first startPeriod is {starts[0]:g}, 0 was expected")
    if any(later <= earlier for earlier, later in itertools.pairwise(starts)):
        raise ProfileError("the startPeriods do not ascend")
    if starts[-1] > LONGEST_S:
        raise ProfileError("a startPeriod is more than ten years away")
    if not all(0 <= number < math.inf for number in (lowest, *(limit for _, limit in periods))):
        raise ProfileError("a limit is below 0, or beyond all numbers")
    if any(p.get("number_phases", 1) not in (1, 2, 3) for p in wire):
        raise ProfileError("numberPhases is not 1 to 3")
    return periods


def _moment(wire: Mapping[str, Any], key: str) -> datetime | None:
    if wire.get(key) is None:
        return None
    try:
        moment = from_ocpp(wire[key])
    except ValueError as error:
        raise ProfileError(f"{key} is no ISO 8601 time stamp") from error
    if moment.year not in YEARS:
        raise ProfileError(f"{key} lies in the year {moment.year}")
    return moment
