"""Limits in amperes or watts, and the profiles that a central system may send."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import StartScript
from hypothesis import given
from hypothesis import strategies as st
from played_charge_point import PlayedChargePoint, in_virtual_time, played

from evsim.central_system.profiles import charging_profile, checked_profile
from evsim.central_system.rate_unit import watts, watts_per_a
from evsim.errors import RefusedError, UserError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
UNIT_KEY = "ChargingScheduleAllowedChargingRateUnit"


def unit_is(value: str | None, key: str = UNIT_KEY) -> dict[str, Any]:
    entry = {"key": key, "readonly": True}
    return {"configurationKey": [entry if value is None else entry | {"value": value}]}


def limits(charge_point: PlayedChargePoint) -> list[tuple[float, str]]:
    found = []
    for action, payload in charge_point.asked:
        if action == "SetChargingProfile":
            charging_schedule = payload["csChargingProfiles"]["chargingSchedule"]
            (period,) = charging_schedule["chargingSchedulePeriod"]
            found.append((period["limit"], charging_schedule["chargingRateUnit"]))
    return found


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        (unit_is("Current"), (32, "A")),
        (unit_is("Current,Power"), (32, "A")),
        (unit_is("Power, Current"), (32, "A")),
        (unit_is("Power"), (12800, "W")),
        (unit_is(" power "), (12800, "W")),
        (unit_is("W"), (12800, "W")),
        (unit_is("Power", UNIT_KEY.lower()), (12800, "W")),
        (unit_is(""), (32, "A")),
        (unit_is(None), (32, "A")),
        (unit_is("Horses"), (32, "A")),
        (unit_is("Power", "Another"), (32, "A")),
        ({}, (32, "A")),
        ({"unknownKey": [UNIT_KEY]}, (32, "A")),
        ({"configurationKey": []}, (32, "A")),
        ({"configurationKey": [{"nonsense": 1}]}, (32, "A")),
        ({"configurationKey": "Power"}, (32, "A")),
        ("NotSupported", (32, "A")),
        ("InternalError", (32, "A")),
        (None, (32, "A")),
    ],
    ids=str,
)
def test_it_is_asked_once_which_unit_it_takes_and_gets_that(
    answer: dict[str, Any] | str | None, limit: tuple[float, str]
) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            charge_point.answers["GetConfiguration"] = answer
            for _ in range(3):
                await station.set_limit(32)
            assert limits(charge_point) == [limit] * 3
            actions = [action for action, _ in charge_point.asked]
            assert actions == ["GetConfiguration", *["SetChargingProfile"] * 3]
            assert charge_point.asked[0][1] == {"key": [UNIT_KEY]}

    in_virtual_time(test())


def test_two_limits_at_once_ask_only_once() -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            charge_point.answers["GetConfiguration"] = unit_is("Power")
            await asyncio.gather(station.set_limit(10), station.set_limit(20))
            assert limits(charge_point) == [(4000, "W"), (8000, "W")]
            assert len(charge_point.asked) == 3

    in_virtual_time(test())


def test_a_refused_limit_in_watts_says_both() -> None:
    async def test() -> None:
        async with played(watts_per_a=690) as (station, charge_point):
            charge_point.answers["GetConfiguration"] = unit_is("Power")
            charge_point.answers["SetChargingProfile"] = {"status": "NotSupported"}
            refused = r"the 16 A limit \(11040 W\) was answered with NotSupported"
            with pytest.raises(RefusedError, match=refused):
                await station.set_limit(16)

    in_virtual_time(test())


@pytest.mark.processes
def test_the_base_scenario_with_a_real_charge_point_that_takes_watts_only(
    start_script: StartScript, free_port: int
) -> None:
    start_script("charger_module.py").wait_for("Listening for CAN commands")
    csms = start_script("csms.py", "--port", str(free_port), "--cycles", "2")
    csms.wait_for("running on")
    cp = start_script("cp.py", "--url", f"ws://127.0.0.1:{free_port}", "--rate-units", "W")
    csms.wait_for("CP_1: takes limits in watts only")
    csms.wait_for("CP_1: limit 100 A (40000 W)")
    csms.wait_for("CP_1: the anomaly is over")
    assert "ended early" not in csms.output
    assert [line.split()[-2] for line in cp.lines if " limit " in line][:4] == [
        "0",
        "100",
        "0",
        "100",
    ]


def sample(measurand: str, value: object, phase: str = "", unit: str = "") -> dict[str, Any]:
    made = {"measurand": measurand, "value": str(value), "phase": phase, "unit": unit}
    return {name: text for name, text in made.items() if text}


P, I, V = "Power.Active.Import", "Current.Import", "Voltage"  # noqa: E741 - as physics has it
THREE_CURRENTS = [sample(I, 16, phase) for phase in ("L1", "L2", "L3")]


@pytest.mark.parametrize(
    ("samples", "per_a"),
    [
        # Power and current say it best.
        ([sample(I, 50), sample(P, 25_000), sample(V, 400)], 500),
        ([sample(I, 50), sample(P, 25, unit="kW")], 500),
        ([*THREE_CURRENTS, sample(P, 11_040)], 690),
        ([*THREE_CURRENTS, *(sample(P, 3_680, p) for p in ("L1", "L2", "L3"))], 690),
        ([*THREE_CURRENTS, sample(I, 3, "N"), sample(P, 11_040)], 690),
        # Too little current to divide by: the voltages.
        ([sample(I, 1), sample(P, 3_000), sample(V, 400)], 400),
        ([sample(V, 230, f"L{n}-N") for n in (1, 2, 3)], 690),
        ([sample(V, 230, f"L{n}") for n in (1, 2, 3)], 690),
        ([sample(V, 400, p) for p in ("L1-L2", "L2-L3", "L3-L1")], pytest.approx(692.8, abs=0.1)),
        ([sample(V, 0.4, unit="kV")], 400),
        # Nothing that could be a measurement.
        ([], None),
        ([sample(V, 0)], None),
        ([sample(V, 1e9)], None),
        ([sample(V, "nan"), sample(I, "inf"), sample(P, "x")], None),
        ([sample(I, 50), sample(P, 1)], None),
        ([{"measurand": V}], None),
        ([{"value": "12345"}], None),  # an energy, by OCPP's default
    ],
)
def test_what_an_ampere_is_there(samples: list[dict[str, Any]], per_a: float | None) -> None:
    assert watts_per_a(samples) == per_a


def test_its_own_meter_values_count_more_than_the_constant() -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            charge_point.answers["GetConfiguration"] = unit_is("Power")
            await station.set_limit(10)
            station.note_sampled_values([sample(I, 16), sample(P, 11_040)])
            await station.set_limit(10)
            station.note_sampled_values([sample(V, "nonsense")])
            await station.set_limit(10)
            assert [limit for limit, _ in limits(charge_point)] == [4000, 6900, 6900]

    in_virtual_time(test())


@given(st.floats(0, 1000), st.floats(100, 1000))
def test_watts_are_never_more_than_the_amperes_and_have_one_decimal(
    limit_a: float, per_a: float
) -> None:
    limit_w = watts(limit_a, per_a)
    assert limit_a * per_a - 0.1 - 1e-6 <= limit_w <= limit_a * per_a + 1e-6
    assert round(limit_w, 1) == limit_w


# ── Profiles ─────────────────────────────────────────────────────────────────────────────────


def tx(**more: Any) -> dict[str, Any]:
    return charging_profile([(0, 16), (60, 8)], purpose="TxProfile", **more)


def test_a_relative_profile_has_no_start_and_no_recurrency() -> None:
    profile = tx(transaction_id=7, duration_s=600)
    assert profile["charging_profile_kind"] == "Relative"
    assert profile["transaction_id"] == 7
    assert profile["charging_schedule"]["duration"] == 600
    assert "start_schedule" not in profile["charging_schedule"]
    assert "recurrency_kind" not in profile
    checked_profile(profile, 1)


def test_an_absolute_profile_has_all_four_times_and_no_recurrency() -> None:
    profile = tx(transaction_id=7, start=NOON, duration_s=3600)
    assert profile["charging_profile_kind"] == "Absolute"
    assert profile["valid_from"] == "2026-01-01T12:00:00.000Z"
    assert profile["valid_to"] == "2026-01-01T13:00:00.000Z"
    assert profile["charging_schedule"]["start_schedule"] == "2026-01-01T12:00:00.000Z"
    assert profile["charging_schedule"]["duration"] == 3600
    assert "recurrency_kind" not in profile
    checked_profile(profile, 1)
    assert tx(start=NOON)["charging_schedule"]["duration"] == 86400


def test_a_recurring_profile_says_how_often() -> None:
    profile = charging_profile([(0, 16)], start=NOON, recurrency="Daily", duration_s=3600)
    assert (profile["charging_profile_kind"], profile["recurrency_kind"]) == ("Recurring", "Daily")
    checked_profile(profile, 0)
    with pytest.raises(UserError, match="needs a start"):
        charging_profile([(0, 16)], recurrency="Daily")


def test_a_remote_start_carries_a_profile_without_a_transaction() -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            await station.remote_start("TAG", 1, tx())
            ((_, payload),) = charge_point.asked
            sent = payload["chargingProfile"]
            assert sent["chargingProfilePurpose"] == "TxProfile"
            assert "transactionId" not in sent
            assert sent["chargingSchedule"]["chargingSchedulePeriod"][0]["startPeriod"] == 0

    in_virtual_time(test())


def with_periods(*periods: Any) -> dict[str, Any]:
    return charging_profile([]) | {
        "charging_schedule": {"charging_rate_unit": "A", "charging_schedule_period": list(periods)}
    }


MAXIMUM = charging_profile([(0, 16)], purpose="ChargePointMaxProfile")
RELATIVE_WITH_START = charging_profile([(0, 16)], start=NOON) | {
    "charging_profile_kind": "Relative"
}


@pytest.mark.parametrize(
    ("profile", "connector_id", "at_start", "problem"),
    [
        (tx(), 1, False, "needs the transactionId"),
        (tx(transaction_id=1), 0, False, "a connector above 0"),
        (charging_profile([(0, 1)], transaction_id=1), 1, False, "only a TxProfile"),
        (tx(transaction_id=1), 1, True, "without transactionId"),
        (charging_profile([(0, 1)]), 1, True, "a TxProfile without"),
        (MAXIMUM, 1, False, "belongs to connector 0"),
        (RELATIVE_WITH_START, 1, False, "has no startSchedule"),
        (charging_profile([(0, 1)]) | {"charging_profile_kind": "Absolute"}, 1, False, "needs a"),
        (charging_profile([(0, 1)]) | {"recurrency_kind": "Daily"}, 1, False, "to no other"),
        (
            charging_profile([(0, 1)], start=NOON) | {"charging_profile_kind": "Recurring"},
            1,
            False,
            "recurrencyKind, Daily or Weekly",
        ),
        (charging_profile([]), 1, False, "the list of periods is empty"),
        (tx(transaction_id=1) | {"charging_schedule": None}, 1, False, "needs a chargingSchedule"),
        (with_periods(1), 1, False, "needs a chargingSchedule with a list"),
        (with_periods({}), 1, False, "a startPeriod is no whole number"),
        (charging_profile([(5, 1)]), 1, False, "the first startPeriod is 5"),
        (charging_profile([(0, 1), (9, 1), (9, 2)]), 1, False, "do not rise"),
        (charging_profile([(0, -1)]), 1, False, "a limit is no number"),
        (with_periods({"start_period": 0, "limit": "x"}), 1, False, "a limit is no number"),
        (with_periods({"startPeriod": 0}), 1, False, "a limit is no number"),
    ],
)
def test_what_ocpp_does_not_allow_is_not_sent(
    profile: dict[str, Any], connector_id: int, at_start: bool, problem: str
) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            if at_start:
                asking: Coroutine[Any, Any, Any] = station.remote_start(
                    "TAG", connector_id, profile
                )
            else:
                asking = station.set_profile(connector_id, profile)
            with pytest.raises(UserError, match=f"^not sent: .*{problem}"):
                await asking
            assert charge_point.asked == []

    in_virtual_time(test())
