"""Charging profiles as the tests of smart charging make them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from evsim.charge_point.charging_profiles import Profile, ProfileRules, read_profile
from evsim.charge_point.transaction import Transaction
from evsim.charger import PLANTS

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
RULES = ProfileRules(PLANTS["dc"])


def after(seconds: float) -> datetime:
    """Return that many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


async def _transaction(started_at: datetime) -> Transaction:
    return Transaction(1, "TAG", started_at, transaction_id=7)


def transaction(started_at: datetime = NOON) -> Transaction:
    """Make a running transaction, number 7."""
    return asyncio.run(_transaction(started_at))


def wire(
    *periods: tuple[float, float],
    purpose: str = "TxDefaultProfile",
    kind: str = "Relative",
    unit: str = "A",
    level: int = 0,
    number: int = 1,
    schedule: dict[str, Any] | None = None,
    **more: object,
) -> dict[str, Any]:
    """Make a csChargingProfiles object as a handler gets it."""
    return {
        "charging_profile_id": number,
        "stack_level": level,
        "charging_profile_purpose": purpose,
        "charging_profile_kind": kind,
        "charging_schedule": {
            "charging_rate_unit": unit,
            "charging_schedule_period": [
                {"start_period": start, "limit": limit} for start, limit in periods
            ],
            **(schedule or {}),
        },
        **more,
    }


def read(
    *periods: tuple[float, float],
    connector_id: int = 1,
    rules: ProfileRules = RULES,
    running: Transaction | None = None,
    now: datetime = NOON,
    **more: Any,
) -> Profile:
    """Read such a profile as one that came at noon."""
    return read_profile(
        connector_id, wire(*periods, **more), now=now, rules=rules, transaction=running
    )
