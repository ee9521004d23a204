"""The limit of a connector as it goes on: its charging profiles stacked as OCPP 1.6 has it.

Section 3.13, at each moment: of each purpose the profile counts that says something then and goes
before the others that do: one of the connector itself before one of connector 0, then the higher
stack level. Where a schedule has ended, has not begun or is not valid, it says nothing and a lower
one shows. A TxProfile overrides the TxDefaultProfiles; ChargePointMaxProfile caps the result.

One sweep over the moments where something may change tells all of it: the limit now, when it next
changes, and the composite schedule.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ocpp.v16.enums import ChargingProfilePurposeType, ChargingRateUnitType

from evsim.charge_point.charging_profiles import MAX_PERIODS, Profile
from evsim.charger import Plant

#: A longer composite schedule is not computed: a week shows each recurrence once.
LONGEST_SCHEDULE_S = 7 * 86_400

# Moments are whole microseconds since this: exact, and several times faster than datetimes.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NEVER_US = 2**62
#: Between a tenth and what a float makes of it; no limit lies this close to one without being it.
_TINY = 1e-6


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def limit_at(
    profiles: Iterable[Profile], now: datetime, began: datetime | None
) -> tuple[float | None, datetime | None]:
    """Return the limit at `now` in A, None where nothing limits, and until when it surely stays.

    :param began: when the running transaction did, None without one.
    """
    limit_a, until_us = _Stack(profiles, began).at(_us(now))
    until = None if until_us == _NEVER_US else _EPOCH + until_us * _MICROSECOND
    return limit_a, until


@dataclass(frozen=True)
class CompositeSchedule:
    """What a connector may draw from `start` on, limits rounded down to one decimal."""

    start: datetime
    duration_s: int
    unit: ChargingRateUnitType
    #: (start_s, limit), the first at 0 s, ascending, each limit another than the one before.
    periods: tuple[tuple[int, float], ...]


def composite_schedule(
    profiles: Iterable[Profile],
    start: datetime,
    duration_s: int,
    *,
    began: datetime | None,
    plant: Plant,
    unit: ChargingRateUnitType,
) -> CompositeSchedule:
    """Compute the limit at each whole second after `start`.

    What the charger can do at most is a limit too, and the only one where no profile limits. The
    schedule is shorter than asked for where it would be longer than LONGEST_SCHEDULE_S or have
    more than MAX_PERIODS periods; its duration says so.
    """
    duration_s = min(duration_s, LONGEST_SCHEDULE_S)
    per_a = plant.power_w(1.0) if unit == ChargingRateUnitType.watts else 1.0
    start_us = _us(start)
    periods: list[tuple[int, float]] = []
    for at_us, limit_a in _Stack(profiles, began).sweep(start_us):
        at_s = -((start_us - at_us) // 1_000_000)  # rounded up: the first second it holds at
        if at_s >= duration_s:
            break
        allowed_a = plant.rated_max_a if limit_a is None else min(limit_a, plant.rated_max_a)
        limit = math.floor(allowed_a * per_a * 10 + _TINY) / 10
        if periods and periods[-1][0] == at_s:
            periods.pop()  # it ended before a whole second
        if not periods or periods[-1][1] != limit:
            if len(periods) == MAX_PERIODS:
                duration_s = at_s
                break
            periods.append((at_s, limit))
    return CompositeSchedule(start, duration_s, unit, tuple(periods))


class _Stack:
    """Profiles in one situation: with a transaction that began then, or none."""

    def __init__(self, profiles: Iterable[Profile], began: datetime | None) -> None:
        by_purpose: dict[ChargingProfilePurposeType, list[_Course]] = {
            purpose: [] for purpose in ChargingProfilePurposeType
        }
        for profile in sorted(
            profiles, key=lambda p: (p.connector_id, p.stack_level), reverse=True
        ):
            by_purpose[profile.purpose].append(_Course(profile, began))
        self._of_transaction = (
            by_purpose[ChargingProfilePurposeType.tx_profile] if began is not None else []
        )
        self._defaults = by_purpose[ChargingProfilePurposeType.tx_default_profile]
        self._caps = by_purpose[ChargingProfilePurposeType.charge_point_max_profile]

    def at(self, at_us: int) -> tuple[float | None, int]:
        """Return the limit in A at a moment, and the one until which it stays at least."""
        limit_a, until_us = _prevailing(self._of_transaction, at_us)
        if limit_a is None:
            limit_a, default_until_us = _prevailing(self._defaults, at_us)
            until_us = min(until_us, default_until_us)
        cap_a, cap_until_us = _prevailing(self._caps, at_us)
        if limit_a is None or (cap_a is not None and cap_a < limit_a):
            limit_a = cap_a
        return limit_a, min(until_us, cap_until_us)

    def sweep(self, at_us: int) -> Iterator[tuple[int, float | None]]:
        """Give each moment from `at_us` on at which the limit may change, and the limit then."""
        while at_us < _NEVER_US:
            limit_a, until_us = self.at(at_us)
            yield at_us, limit_a
            at_us = until_us


def _prevailing(courses: Sequence[_Course], at_us: int) -> tuple[float | None, int]:
    """Return what the first says that says anything; it may be interrupted by those before it."""
    until_us = _NEVER_US
    for course in courses:
        if at_us >= course.until_us:
            course.move_to(at_us)
        if course.until_us < until_us:
            until_us = course.until_us
        if course.limit_a is not None:
            return course.limit_a, until_us
    return None, until_us


class _Course:
    """One profile on the axis of time; it is asked for moments that never go back."""

    __slots__ = (
        "_duration_us",
        "_periods",
        "_relative",
        "_repeat_us",
        "_start_us",
        "_starts_us",
        "_valid_from_us",
        "_valid_to_us",
        "limit_a",
        "until_us",
    )

    def __init__(self, profile: Profile, began: datetime | None) -> None:
        #: What it says from the moment that was asked for last, and until when.
        self.limit_a: float | None = None
        self.until_us = -_NEVER_US
        self._periods, self._starts_us = profile.periods, profile.starts_us
        self._relative = profile.start_at is None
        self._start_us = _us(profile.start_at or _situation_start(profile, began))
        self._repeat_us = _NEVER_US if profile.repeat_s is None else round(profile.repeat_s * 1e6)
        self._duration_us = self._repeat_us
        if profile.duration_s is not None:
            self._duration_us = min(self._duration_us, round(profile.duration_s * 1e6))
        self._valid_from_us = -_NEVER_US if profile.valid_from is None else _us(profile.valid_from)
        self._valid_to_us = _NEVER_US if profile.valid_to is None else _us(profile.valid_to)

    def move_to(self, at_us: int) -> None:
        """Find what it says at a moment, and until when."""
        if at_us >= self._valid_to_us:
            self.limit_a, self.until_us = None, _NEVER_US
        elif at_us < self._valid_from_us:
            self.limit_a, self.until_us = None, self._valid_from_us
        else:
            self.limit_a, until_us = self._follow(at_us)
            self.until_us = min(until_us, self._valid_to_us)

    def _follow(self, at_us: int) -> tuple[float | None, int]:
        """Find what the schedule says, valid or not."""
        start_us = self._start_us
        elapsed_us = at_us - start_us
        if elapsed_us < 0:
            if not self._relative:
                return None, start_us
            elapsed_us = 0  # a clock that was set back does not lift the limit
        elif elapsed_us >= self._repeat_us:
            start_us += elapsed_us // self._repeat_us * self._repeat_us
            elapsed_us = at_us - start_us
        if elapsed_us >= self._duration_us:
            return None, min(start_us + self._repeat_us, _NEVER_US)
        following = bisect_right(self._starts_us, elapsed_us)
        until_us = self._duration_us
        if following < len(self._starts_us):
            until_us = min(until_us, self._starts_us[following])
        return self._periods[following - 1][1], min(start_us + until_us, _NEVER_US)


def _situation_start(profile: Profile, began: datetime | None) -> datetime:
    """Say from when a relative schedule counts; the text leaves that to the charge point.

    From the transaction's start; without a transaction, and for the maximum of the whole charge
    point, which is none of a transaction's, from when the profile was taken.
    """
    is_maximum = profile.purpose == ChargingProfilePurposeType.charge_point_max_profile
    return profile.taken_at if began is None or is_maximum else began
