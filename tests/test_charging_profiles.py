"""Charging profiles: what is taken, what is refused, the limit at a moment."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.charge_point.charging_profiles import (
    MAX_PROFILES,
    Profile,
    ProfileError,
    ProfileStore,
    read_profile,
)
from evsim.charge_point.transaction import Transaction
from evsim.charger import PLANTS

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def _transaction(started_at: datetime) -> Transaction:
    return Transaction(1, "TAG", started_at, transaction_id=7)


def transaction(started_at: datetime = NOON) -> Transaction:
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
    plant: str = "dc",
    running: Transaction | None = None,
    **more: Any,
) -> Profile:
    return read_profile(
        connector_id,
        wire(*periods, **more),
        now=NOON,
        plant=PLANTS[plant],
        connectors=1,
        transaction=running,
    )


def store(*profiles: Profile) -> ProfileStore:
    made = ProfileStore()
    for profile in profiles:
        made.put(profile)
    return made


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"connector_id": 2}, "no connector 2"),
        ({"connector_id": -1}, "no connector -1"),
        ({"purpose": "ChargePointMaxProfile"}, "belongs to connector 0"),
        ({"purpose": "TxProfile"}, "needs a connector with a running transaction"),
        ({"level": -1}, "stackLevel"),
        ({"level": 10**30}, "stackLevel"),
        ({"kind": "Recurring"}, "recurrencyKind"),
        ({"schedule": {"duration": 0}}, "never begins"),
        ({"schedule": {"start_schedule": "garbage"}}, "ISO 8601"),
        ({"schedule": {"start_schedule": "9999-12-31T23:59:59Z"}}, "year 9999"),
        ({"valid_from": "tomorrow"}, "ISO 8601"),
    ],
)
def test_what_ocpp_wants_rejected_is_rejected(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        read((0, 10), **arguments)


@pytest.mark.parametrize(
    "periods",
    [
        [],
        [(1, 10)],
        [(0, 10), (0, 11)],
        [(0, 10), (20, 1), (10, 2)],
        [(0, -1)],
        [(0, 10**400)],
        [(0, 1), (10**30, 2)],
        [(s, 1) for s in range(101)],
    ],
    ids=lambda periods: str(periods)[:30],
)
def test_bad_periods_are_rejected(periods: list[tuple[float, float]]) -> None:
    with pytest.raises(ProfileError):
        read(*periods)


def test_a_tx_profile_is_for_the_running_transaction() -> None:
    running = transaction()
    assert read((0, 10), purpose="TxProfile", running=running).purpose == "TxProfile"
    named = read((0, 10), purpose="TxProfile", running=running, transaction_id=7)
    assert named.transaction_id == 7
    with pytest.raises(ProfileError, match="8 is not running"):
        read((0, 10), purpose="TxProfile", running=running, transaction_id=8)
    with pytest.raises(ProfileError):
        read((0, 10), purpose="TxProfile", running=running, connector_id=0)


@pytest.mark.parametrize(("plant", "expected_a"), [("dc", 50.0), ("ac", 20_000 / 690)])
def test_watts_are_the_total_over_the_phases(plant: str, expected_a: float) -> None:
    profile = read((0, 20_000), unit="W", plant=plant)
    assert profile.limit_a(NOON, None) == pytest.approx(expected_a)


def test_periods_take_effect_at_their_time_and_end_with_the_duration() -> None:
    profiles = store(read((0, 10), (60, 20), (120, 0), schedule={"duration": 180}))
    seen = [profiles.limit_a(after(s), None) for s in (0, 59.9, 60, 119, 120, 179, 180)]
    assert seen == [10, 10, 20, 20, 0, 0, None]
    boundaries, moment = [], NOON
    while (change := profiles.next_change(moment, None)) is not None:
        boundaries.append((change - NOON).total_seconds())
        moment = change
    assert boundaries == [60, 120, 180]


def test_a_relative_profile_begins_with_the_transaction() -> None:
    profiles = store(read((0, 10), (60, 20)))
    assert profiles.limit_a(after(1000), None) == 20
    assert profiles.limit_a(after(1000), transaction(after(990))) == 10


def test_a_duration_beyond_all_measure_is_taken() -> None:
    profiles = store(read((0, 10), schedule={"duration": 2**62}))
    assert profiles.limit_a(after(1e6), None) == 10
    assert profiles.next_change(NOON, None) is not None


def test_a_daily_profile_comes_back() -> None:
    day = read(
        (0, 10),
        (3600, 20),
        kind="Recurring",
        recurrency_kind="Daily",
        schedule={"start_schedule": "2026-05-01T12:00:00Z"},
    )
    profiles = store(day)
    assert profiles.limit_a(after(0), None) == 10
    assert profiles.limit_a(after(3600), None) == 20
    assert profiles.limit_a(after(86_400), None) == 10
    assert profiles.next_change(after(4000), None) == after(86_400)


def test_the_higher_stack_level_counts_while_it_is_valid() -> None:
    low = read((0, 10), level=0, number=1)
    high = read((0, 20), level=1, number=2, schedule={"duration": 60})
    profiles = store(high, low)
    assert profiles.limit_a(after(59), None) == 20
    assert profiles.limit_a(after(60), None) == 10


def test_tx_profile_overrides_default_and_the_maximum_caps_both() -> None:
    running = transaction()
    profiles = store(
        read((0, 30), number=1),
        read((0, 50), number=2, purpose="TxProfile", running=running),
        read((0, 40), number=3, purpose="ChargePointMaxProfile", connector_id=0),
    )
    assert profiles.limit_a(NOON, running) == 40
    assert profiles.limit_a(NOON, None) == 30
    profiles.end_transaction()
    assert profiles.limit_a(NOON, running) == 30


def test_same_id_or_same_place_replaces_and_there_is_an_end_to_it() -> None:
    profiles = store(read((0, 10), number=1), read((0, 20), number=1, level=3))
    assert profiles.limit_a(NOON, None) == 20
    profiles.put(read((0, 5), number=9, level=3))
    assert profiles.limit_a(NOON, None) == 5
    places = [(connector_id, level) for connector_id in (0, 1) for level in range(11)]
    full = ProfileStore()
    for number, (connector_id, level) in enumerate(places[:MAX_PROFILES]):
        full.put(read((0, 1), number=number, level=level, connector_id=connector_id))
    connector_id, level = places[MAX_PROFILES]
    with pytest.raises(ProfileError, match="already"):
        full.put(read((0, 1), number=99, level=level, connector_id=connector_id))
    full.put(read((0, 2), number=99, level=0, connector_id=1))


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 300), st.floats(0, 100), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_nothing_changes_between_two_boundaries(
    specs: list[tuple[int, int, float, bool]],
) -> None:
    profiles = store(
        *(
            read(
                (0, limit),
                (duration / 2, limit / 2),
                number=number,
                level=level,
                connector_id=int(mine),
                schedule={"duration": duration},
            )
            for number, (level, duration, limit, mine) in enumerate(specs)
        )
    )
    change = profiles.next_change(NOON, None)
    for second in range(320):
        moment = after(second)
        if change is not None and moment >= change:
            change = profiles.next_change(moment, None)
        elif second:
            before = profiles.limit_a(after(second - 1), None)
            assert profiles.limit_a(moment, None) == before
