"""Charging profiles: what is taken and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ocpp.v16.enums import ChargingRateUnitType
from profile_example import NOON, RULES, read, transaction, wire

from evsim.charge_point.charging_profiles import (
    ProfileError,
    ProfileRules,
    rate_unit_words,
    read_start_profile,
)
from evsim.charger import PLANTS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"connector_id": 2}, "no connector 2"),
        ({"connector_id": -1}, "no connector -1"),
        ({"purpose": "ChargePointMaxProfile"}, "belongs to connector 0"),
        ({"purpose": "TxProfile"}, "needs a connector with a running transaction"),
        ({"transaction_id": 7}, "belongs to a TxProfile"),
        ({"number": 2**63}, "64 bits"),
        ({"number": -(10**400)}, "64 bits"),
        ({"level": -1}, "stackLevel"),
        ({"level": 10**30}, "stackLevel"),
        ({"kind": "Recurring"}, "recurrencyKind"),
        ({"kind": "Recurring", "recurrency_kind": "Daily"}, "startSchedule"),
        ({"schedule": {"duration": 0}}, "never begins"),
        ({"schedule": {"duration": -(10**400)}}, "never begins"),
        ({"schedule": {"start_schedule": "garbage"}}, "ISO 8601"),
        ({"schedule": {"start_schedule": "9999-12-31T23:59:59Z"}}, "year 9999"),
        ({"schedule": {"min_charging_rate": -1}}, "below 0"),
        ({"schedule": {"min_charging_rate": 10**400}}, "float"),
        ({"valid_from": "tomorrow"}, "ISO 8601"),
        ({"valid_to": "0001-01-01T00:00:00+23:59"}, "ISO 8601"),
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
        [(0, float("inf"))],
        [(0, float("nan"))],
        [(0, 10**400)],
        [(0, 1), (10**30, 2)],
        [(s, 1) for s in range(101)],
    ],
    ids=lambda periods: str(periods)[:30],
)
def test_bad_periods_are_rejected(periods: list[tuple[float, float]]) -> None:
    with pytest.raises(ProfileError):
        read(*periods)


@pytest.mark.parametrize("phases", [0, -1, 4, 10**30])
def test_number_of_phases_is_1_to_3_and_changes_no_limit(phases: int) -> None:
    def period(number_phases: int) -> dict[str, Any]:
        return {
            "charging_schedule_period": [
                {"start_period": 0, "limit": 11_040, "number_phases": number_phases}
            ],
            "min_charging_rate": 6.0,
        }

    ac = ProfileRules(PLANTS["ac"])
    assert read(unit="W", rules=ac, schedule=period(1)).periods == ((0, 16),)
    assert read(unit="W", rules=ac, schedule=period(3)).periods == ((0, 16),)
    with pytest.raises(ProfileError, match="numberPhases"):
        read(schedule=period(phases))


def test_a_tx_profile_is_for_the_running_transaction() -> None:
    running = transaction()
    assert read((0, 10), purpose="TxProfile", running=running).purpose == "TxProfile"
    read((0, 10), purpose="TxProfile", running=running, transaction_id=7)
    with pytest.raises(ProfileError, match="8 is not running"):
        read((0, 10), purpose="TxProfile", running=running, transaction_id=8)
    with pytest.raises(ProfileError):
        read((0, 10), purpose="TxProfile", running=running, connector_id=0)


def test_a_start_takes_a_tx_profile_without_transaction() -> None:
    profile = read_start_profile(1, wire((0, 10), purpose="TxProfile"), now=NOON, rules=RULES)
    assert profile.purpose == "TxProfile"
    for wrong, words in [
        (wire((0, 10)), "not a TxDefaultProfile"),
        (wire((0, 10), purpose="ChargePointMaxProfile"), "not a ChargePointMaxProfile"),
        (wire((0, 10), purpose="TxProfile", transaction_id=7), "no transactionId"),
        (wire((5, 10), purpose="TxProfile"), "first startPeriod"),
    ]:
        with pytest.raises(ProfileError, match=words):
            read_start_profile(1, wrong, now=NOON, rules=RULES)


@pytest.mark.parametrize(("plant", "expected_a"), [("dc", 50.0), ("ac", 20_000 / 690)])
def test_watts_are_the_total_over_the_phases(plant: str, expected_a: float) -> None:
    ((_, limit_a),) = read((0, 20_000), unit="W", rules=ProfileRules(PLANTS[plant])).periods
    assert limit_a == pytest.approx(expected_a)


@pytest.mark.parametrize("unit", ["A", "W"])
def test_a_station_that_takes_one_unit_refuses_the_other(unit: str) -> None:
    rules = ProfileRules(PLANTS["dc"], units=frozenset({ChargingRateUnitType(unit)}))
    other = "W" if unit == "A" else "A"
    read((0, 10), unit=unit, rules=rules)
    with pytest.raises(ProfileError, match=f"limits in {other} are not taken"):
        read((0, 10), unit=other, rules=rules)
    assert rate_unit_words(rules.units) == {"A": "Current", "W": "Power"}[unit]
    assert rate_unit_words(RULES.units) == "Current,Power"
