"""The charging profiles of a charge point with one connector, kept in its file.

A TxProfile is never written: it ends with its transaction, and no transaction outlives the process
(cp.py ends those that a crash left open).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from ocpp.v16.enums import ChargingProfilePurposeType, ChargingRateUnitType

from evsim.charge_point.charging_profiles import (
    MAX_PROFILES,
    Profile,
    ProfileError,
    ProfileRules,
    read_profile,
)
from evsim.charge_point.composite_schedule import CompositeSchedule, composite_schedule, limit_at
from evsim.charge_point.transaction import Transaction
from evsim.clock import from_ocpp, to_ocpp
from evsim.sqlite import Database

log = logging.getLogger("evsim.charge_point")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS charging_profiles (
    profile_id INTEGER PRIMARY KEY,
    connector_id INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    stack_level INTEGER NOT NULL,
    taken_at TEXT NOT NULL,
    profile TEXT NOT NULL,             -- csChargingProfiles as it came
    UNIQUE (connector_id, purpose, stack_level)
)
"""
_TX_PROFILE = ChargingProfilePurposeType.tx_profile


class ProfileStore:
    """The profiles taken, those of before the program was ended too."""

    def __init__(self, database: Database, rules: ProfileRules) -> None:
        """Load what is kept; what `rules` or damage make unreadable is left out, with a warning."""
        self.rules = rules
        self._database = database
        database.add_tables(_SCHEMA)
        self._profiles = list(self._load())

    def _load(self) -> Iterable[Profile]:
        rows = self._database.execute(
            "SELECT connector_id, taken_at, profile FROM charging_profiles"
        )
        unreadable: list[str] = []
        for connector_id, taken_at, text in rows.fetchall():
            try:
                yield read_profile(
                    connector_id,
                    json.loads(text),
                    now=from_ocpp(taken_at),
                    rules=self.rules,
                    transaction=None,
                )
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
                unreadable.append(f"{type(error).__name__}: {error}")
        if unreadable:
            log.warning(
                "%d of the charging profiles kept cannot be used: %s",
                len(unreadable),
                unreadable[0],
            )

    # ── Changes ──────────────────────────────────────────────────────────────────────────────

    def check_room(self, profile: Profile) -> None:
        """Raise ProfileError if put() would."""
        kept = sum(not _replaces(profile, old) for old in self._profiles)
        if kept >= MAX_PROFILES:
            raise ProfileError(f"there are {MAX_PROFILES} profiles already")

    def put(self, profile: Profile) -> None:
        """Take a profile; the same id, or purpose and stack level on a connector, is replaced.

        Raises ProfileError if there is no room, StorageError if it cannot be kept.
        """
        self.check_room(profile)
        if profile.purpose == _TX_PROFILE:
            self._remove(lambda old: _replaces(profile, old))
        else:
            self._database.write(
                "INSERT OR REPLACE INTO charging_profiles VALUES (?, ?, ?, ?, ?, ?)",
                (
                    profile.profile_id,
                    profile.connector_id,
                    profile.purpose,
                    profile.stack_level,
                    to_ocpp(profile.taken_at),
                    json.dumps(profile.wire),
                ),
            )
        self._profiles = [old for old in self._profiles if not _replaces(profile, old)]
        self._profiles.append(profile)

    def end_transaction(self) -> None:
        """Drop the TxProfiles: they end with their transaction."""
        self._remove(lambda profile: profile.purpose == _TX_PROFILE)

    def clear(
        self,
        *,
        profile_id: int | None = None,
        connector_id: int | None = None,
        purpose: ChargingProfilePurposeType | None = None,
        stack_level: int | None = None,
    ) -> int:
        """Drop the profiles that are all of what is given, all if nothing is; say how many."""
        return self._remove(
            lambda profile: (
                profile_id in (None, profile.profile_id)
                and connector_id in (None, profile.connector_id)
                and purpose in (None, profile.purpose)
                and stack_level in (None, profile.stack_level)
            )
        )

    def _remove(self, is_meant: Callable[[Profile], bool]) -> int:
        removed = [profile for profile in self._profiles if is_meant(profile)]
        ids = [profile.profile_id for profile in removed if profile.purpose != _TX_PROFILE]
        if ids:
            self._database.write(
                "DELETE FROM charging_profiles WHERE profile_id IN"
                " (SELECT value FROM json_each(?))",
                (json.dumps(ids),),
            )
        self._profiles = [profile for profile in self._profiles if profile not in removed]
        return len(removed)

    # ── What follows from them ───────────────────────────────────────────────────────────────

    def limit_a(self, now: datetime, transaction: Transaction | None) -> float | None:
        """Return the limit in A at `now`, or None if nothing limits."""
        return limit_at(self._profiles, now, _began(transaction))[0]

    def next_change(self, now: datetime, transaction: Transaction | None) -> datetime | None:
        """Return the first moment after `now` at which limit_a() may differ."""
        return limit_at(self._profiles, now, _began(transaction))[1]

    def composite_schedule(
        self,
        now: datetime,
        duration_s: int,
        unit: ChargingRateUnitType,
        transaction: Transaction | None,
    ) -> CompositeSchedule:
        """Return how limit_a() goes on from `now` if nothing else happens, and what is possible."""
        return composite_schedule(
            self._profiles,
            now,
            duration_s,
            began=_began(transaction),
            plant=self.rules.plant,
            unit=unit,
        )


def _began(transaction: Transaction | None) -> datetime | None:
    return None if transaction is None else transaction.started_at


def _replaces(new: Profile, old: Profile) -> bool:
    return new.profile_id == old.profile_id or (
        (new.connector_id, new.purpose, new.stack_level)
        == (old.connector_id, old.purpose, old.stack_level)
    )
