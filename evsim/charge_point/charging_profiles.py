"""Charging profiles: read one without trust, tell the limit at a moment and when it next changes.

OCPP 1.6 smart charging (section 3.13): per purpose the highest stack level that is valid now
counts; a TxProfile overrides the TxDefaultProfiles; ChargePointMaxProfile caps the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
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
#: Ten years: nothing in a schedule is taken to last longer.
LONGEST_S = 3650 * 86_400.0
#: Time stamps outside these years are refused; sums with LONGEST_S stay within datetime's range.
YEARS = range(1970, 2200)
_DAY_S = 86_400.0
_REPEAT_S = {RecurrencyKind.daily: _DAY_S, RecurrencyKind.weekly: 7 * _DAY_S}


class ProfileError(ValueError):
    """A charging profile that must be refused; the text says why."""


@dataclass(frozen=True)
class Profile:
    """A charging profile that was taken; limits in A (per phase)."""

    profile_id: int
    connector_id: int
    purpose: ChargingProfilePurposeType
    stack_level: int
    kind: ChargingProfileKindType
    #: (start_s, limit_a), the first at 0 s, ascending.
    periods: tuple[tuple[float, float], ...]
    taken_at: datetime
    start_at: datetime | None = None
    duration_s: float | None = None
    repeat_s: float | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    transaction_id: int | None = None

    def schedule_start(self, now: datetime, transaction: Transaction | None) -> datetime:
        """Return when the schedule that matters at `now` began (or will begin)."""
        if self.kind == ChargingProfileKindType.relative or self.start_at is None:
            # A clock that was set back does not lift the limit until it is that late again.
            return min(now, transaction.started_at if transaction else self.taken_at)
        if self.repeat_s is None or now < self.start_at:
            return self.start_at
        repeats = (now - self.start_at).total_seconds() // self.repeat_s
        return self.start_at + timedelta(seconds=repeats * self.repeat_s)

    def limit_a(self, now: datetime, transaction: Transaction | None) -> float | None:
        """Return the limit at `now`, or None where this profile says nothing."""
        if (self.valid_from and now < self.valid_from) or (self.valid_to and now >= self.valid_to):
            return None
        elapsed_s = (now - self.schedule_start(now, transaction)).total_seconds()
        if elapsed_s < 0 or (self.duration_s is not None and elapsed_s >= self.duration_s):
            return None
        return next(limit for start, limit in reversed(self.periods) if start <= elapsed_s)

    def changes(self, now: datetime, transaction: Transaction | None) -> Iterable[datetime]:
        """Give the moments around `now` at which limit_a() may change."""
        start = self.schedule_start(now, transaction)
        yield from (start + timedelta(seconds=s) for s, _ in self.periods)
        if self.duration_s is not None:
            yield start + timedelta(seconds=self.duration_s)
        if self.repeat_s is not None:
            yield start + timedelta(seconds=self.repeat_s)
        yield from (moment for moment in (self.valid_from, self.valid_to) if moment)


def read_profile(
    connector_id: int,
    wire: Mapping[str, Any],
    *,
    now: datetime,
    plant: Plant,
    connectors: int,
    transaction: Transaction | None,
) -> Profile:
    """Read a csChargingProfiles object (snake_case keys, schema already checked).

    Raises ProfileError where OCPP 1.6 wants the profile rejected.
    """
    purpose = ChargingProfilePurposeType(wire["charging_profile_purpose"])
    kind = ChargingProfileKindType(wire["charging_profile_kind"])
    if not 0 <= connector_id <= connectors:
        raise ProfileError(f"there is no connector {connector_id}")
    if purpose == ChargingProfilePurposeType.charge_point_max_profile and connector_id != 0:
        raise ProfileError("a ChargePointMaxProfile belongs to connector 0")
    if purpose == ChargingProfilePurposeType.tx_profile:
        _check_transaction(connector_id, wire.get("transaction_id"), transaction)
    if not 0 <= wire["stack_level"] <= MAX_STACK_LEVEL:
        raise ProfileError(f"stackLevel {wire['stack_level']} is not 0 to {MAX_STACK_LEVEL}")
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
        purpose=purpose,
        stack_level=wire["stack_level"],
        kind=kind,
        periods=_periods(schedule, plant),
        taken_at=now,
        start_at=None if kind == ChargingProfileKindType.relative else start_at,
        duration_s=duration_s,
        repeat_s=repeat_s,
        valid_from=_moment(wire, "valid_from"),
        valid_to=_moment(wire, "valid_to"),
        transaction_id=wire.get("transaction_id"),
    )


def _check_transaction(
    connector_id: int, transaction_id: int | None, running: Transaction | None
) -> None:
    if connector_id == 0 or running is None:
        raise ProfileError("a TxProfile needs a connector with a running transaction")
    if transaction_id is not None and transaction_id != running.transaction_id:
        raise ProfileError(f"transaction {transaction_id} is not running here")


def _periods(schedule: Mapping[str, Any], plant: Plant) -> tuple[tuple[float, float], ...]:
    """Read the periods, limits in A."""
    wire = schedule["charging_schedule_period"]
    if not 1 <= len(wire) <= MAX_PERIODS:
        raise ProfileError(f"{len(wire)} periods; 1 to {MAX_PERIODS} are taken")
    watts = schedule["charging_rate_unit"] == ChargingRateUnitType.watts
    per_a = plant.power_w(1.0) if watts else 1.0
    try:
        periods = tuple((float(p["start_period"]), float(p["limit"]) / per_a) for p in wire)
    except OverflowError as error:
        raise ProfileError("a number beyond what a float holds") from error
    starts = [start for start, _ in periods]
    if starts[0] != 0:
        raise ProfileError(f"the first startPeriod is {starts[0]:g}, 0 was expected")
    if any(later <= earlier for earlier, later in itertools.pairwise(starts)):
        raise ProfileError("the startPeriods do not ascend")
    if starts[-1] > LONGEST_S:
        raise ProfileError("a startPeriod is more than ten years away")
    if any(limit < 0 for _, limit in periods):
        raise ProfileError("a limit is below 0")
    return periods


def _moment(wire: Mapping[str, Any], key: str) -> datetime | None:
    if wire.get(key) is None:
        return None
    try:
        moment = from_ocpp(wire[key])
    except (ValueError, OverflowError) as error:
        raise ProfileError(f"{key} is no ISO 8601 time stamp") from error
    if moment.year not in YEARS:
        raise ProfileError(f"{key} lies in the year {moment.year}")
    return moment


class ProfileStore:
    """The profiles of a charge point with one connector."""

    def __init__(self) -> None:
        #: Those that go before others come first.
        self._profiles: list[Profile] = []

    def put(self, profile: Profile) -> None:
        """Take a profile; the same id, or purpose and stack level on a connector, is replaced.

        Raises ProfileError if there is no room.
        """
        kept = [p for p in self._profiles if not _replaces(profile, p)]
        if len(kept) >= MAX_PROFILES:
            raise ProfileError(f"there are {MAX_PROFILES} profiles already")
        # A profile of the connector goes before one of connector 0, then the stack level counts.
        self._profiles = sorted(
            [*kept, profile], key=lambda p: (p.connector_id, p.stack_level), reverse=True
        )

    def end_transaction(self) -> None:
        """Drop the TxProfiles: they end with their transaction."""
        self._profiles = [
            p for p in self._profiles if p.purpose != ChargingProfilePurposeType.tx_profile
        ]

    def limit_a(self, now: datetime, transaction: Transaction | None) -> float | None:
        """Return the limit in A at `now`, or None if nothing limits."""
        limit_a = None
        if transaction is not None:
            limit_a = self._of(ChargingProfilePurposeType.tx_profile, now, transaction)
        if limit_a is None:
            limit_a = self._of(ChargingProfilePurposeType.tx_default_profile, now, transaction)
        cap_a = self._of(ChargingProfilePurposeType.charge_point_max_profile, now, transaction)
        known_a = [a for a in (limit_a, cap_a) if a is not None]
        return min(known_a, default=None)

    def next_change(self, now: datetime, transaction: Transaction | None) -> datetime | None:
        """Return the first moment after `now` at which limit_a() may differ."""
        return min(
            (m for p in self._profiles for m in p.changes(now, transaction) if m > now),
            default=None,
        )

    def _of(
        self, purpose: ChargingProfilePurposeType, now: datetime, transaction: Transaction | None
    ) -> float | None:
        for profile in self._profiles:
            if profile.purpose == purpose:
                limit_a = profile.limit_a(now, transaction)
                if limit_a is not None:
                    return limit_a
        return None


def _replaces(new: Profile, old: Profile) -> bool:
    return new.profile_id == old.profile_id or (
        (new.connector_id, new.purpose, new.stack_level)
        == (old.connector_id, old.purpose, old.stack_level)
    )
