"""The compliance tool's cases for a charge point: charging profiles.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_bench.py.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ocpp.exceptions import OCPPError
from ocpp.v16 import call
from ocpp.v16.enums import ChargingProfilePurposeType, ChargingRateUnitType
from octt_bench import Bench, octt

from evsim.clock import from_ocpp, to_ocpp
from evsim.ocpp_wire import error_code

MAXIMUM = ChargingProfilePurposeType.charge_point_max_profile
DEFAULT = ChargingProfilePurposeType.tx_default_profile
TX = ChargingProfilePurposeType.tx_profile
RATED_A = 150.0

Periods = list[tuple[float, float]]


def profile(
    it: Bench,
    purpose: ChargingProfilePurposeType,
    *periods: tuple[int, float],
    profile_id: int = 1,
    stack_level: int = 0,
    duration_s: int | None = None,
    **more: object,
) -> dict[str, Any]:
    """Make an Absolute profile that begins now, of (startPeriod, limit in A)."""
    schedule: dict[str, object] = {
        "charging_rate_unit": "A",
        "start_schedule": to_ocpp(it.now()),
        "charging_schedule_period": [{"start_period": s, "limit": a} for s, a in periods],
    }
    if duration_s is not None:
        schedule["duration"] = duration_s
    return {
        "charging_profile_id": profile_id,
        "stack_level": stack_level,
        "charging_profile_purpose": purpose,
        "charging_profile_kind": "Absolute",
        "charging_schedule": schedule,
        **more,
    }


async def take(it: Bench, connector_id: int, sent: dict[str, Any]) -> None:
    await it.ask("Accepted", call.SetChargingProfile(connector_id, sent))


async def composite(it: Bench, duration_s: int, unit: str = "A") -> Periods:
    """Give the composite schedule of connector 1: (s from now, limit)."""
    request = call.GetCompositeSchedule(1, duration_s, ChargingRateUnitType(unit))
    answer = await it.ask("Accepted", request)
    assert answer.connector_id == 1
    schedule = answer.charging_schedule
    assert schedule["charging_rate_unit"] == unit
    assert schedule.get("duration", duration_s) == duration_s
    start = from_ocpp(answer.schedule_start)
    assert abs((start - it.now()).total_seconds()) <= 1
    return [(p["start_period"], p["limit"]) for p in schedule["charging_schedule_period"]]


def about(*periods: tuple[float, float]) -> Any:
    """Compare with (s, A); a start may be a second off, as startPeriods are whole seconds."""
    return [(pytest.approx(s, abs=1), pytest.approx(a)) for s, a in periods]


async def flows(it: Bench, current_a: float) -> None:
    await asyncio.sleep(5)
    assert it.current_a == pytest.approx(current_a, abs=0.5)


# ── Default, and for a transaction ───────────────────────────────────────────────────────────


@octt()
@pytest.mark.parametrize("connector_id", [0, 1])
async def test_tc_056_cs_default_profile(it: Bench, connector_id: int) -> None:
    await take(it, connector_id, profile(it, DEFAULT, (0, 16.0), (300, 32.0)))
    transaction_id = await it.start()
    await flows(it, 16)
    assert await composite(it, 400) == about((0, 16), (295, 32))
    await asyncio.sleep(300)
    await flows(it, 32)
    await it.stop(transaction_id)


@octt()
async def test_tc_057_cs_profile_of_the_transaction(it: Bench) -> None:
    await take(it, 1, profile(it, DEFAULT, (0, 16.0)))
    transaction_id = await it.start()
    sent = profile(it, TX, (0, 40.0), profile_id=2, transaction_id=transaction_id)
    await take(it, 1, sent)
    await flows(it, 40)
    assert await composite(it, 60) == about((0, 40))
    await it.stop(transaction_id)
    await it.start()  # the next one has the default again
    await flows(it, 16)


@octt()
async def test_tc_058_1_cs_profile_of_a_transaction_without_one(it: Bench) -> None:
    sent = profile(it, TX, (0, 16.0))
    await it.ask("Rejected", call.SetChargingProfile(1, sent))
    await it.ask("Rejected", call.SetChargingProfile(1, {**sent, "transaction_id": 1001}))
    await it.start()
    await flows(it, RATED_A)


@octt()
async def test_tc_058_2_cs_profile_of_another_transaction(it: Bench) -> None:
    transaction_id = await it.start()
    sent = profile(it, TX, (0, 16.0), transaction_id=transaction_id + 1)
    await it.ask("Rejected", call.SetChargingProfile(1, sent))
    await flows(it, RATED_A)


@octt()
async def test_tc_082_cs_default_profile_while_a_transaction_runs(it: Bench) -> None:
    await it.start()
    await flows(it, RATED_A)
    await take(it, 1, profile(it, DEFAULT, (0, 16.0)))
    await flows(it, 16)
    assert await composite(it, 60) == about((0, 16))


# ── Remote start ─────────────────────────────────────────────────────────────────────────────


@octt()
async def test_tc_059_cs_remote_start_with_a_profile(it: Bench) -> None:
    await it.plug()
    sent = profile(it, TX, (0, 20.0), (120, 10.0))
    await it.ask("Accepted", call.RemoteStartTransaction("TAG", 1, sent))
    transaction_id = await it.started()
    await flows(it, 20)
    assert await composite(it, 300) == about((0, 20), (115, 10))
    await it.stop(transaction_id)
    await it.start()
    await flows(it, RATED_A)


@octt()
@pytest.mark.parametrize("purpose", [DEFAULT, MAXIMUM])
async def test_tc_060_cs_remote_start_with_a_profile_of_another_purpose(
    it: Bench, purpose: ChargingProfilePurposeType
) -> None:
    await it.plug()
    request = call.RemoteStartTransaction("TAG", 1, profile(it, purpose, (0, 20.0)))
    try:
        answer = await it.central.call(request)
    except OCPPError as error:
        assert error_code(error) == "PropertyConstraintViolation"  # noqa: PT017 - one of two right answers
    else:
        assert answer.status == "Rejected"
    await it.central.silence(60)
    assert it.current_a == 0


# ── Together ─────────────────────────────────────────────────────────────────────────────────


@octt()
async def test_tc_066_cs_composite_schedule_of_all_purposes(it: Bench) -> None:
    await take(it, 0, profile(it, MAXIMUM, (0, 50.0), (200, 24.0), profile_id=1))
    await take(it, 1, profile(it, DEFAULT, (0, 16.0), (250, 30.0), profile_id=2))
    transaction_id = await it.start()
    sent = profile(
        it, TX, (0, 60.0), (100, 40.0), profile_id=3, duration_s=230, transaction_id=transaction_id
    )
    await take(it, 1, sent)
    # The TxProfile ends at 230 s, and the default shows again, which rises at 250 s.
    whole = about((0, 50), (100, 40), (200, 24), (230, 16), (250, 24))
    assert await composite(it, 400) == whole
    assert await composite(it, 150, "W") == about((0, 50 * 400), (100, 40 * 400))
    assert await composite(it, 150) == about((0, 50), (100, 40))
    since_s = it.loop.time()
    await asyncio.sleep(400)
    assert [limit for limit in it.limits(since_s) if limit[0] > 0] == whole[1:]


@octt()
async def test_tc_072_cs_stacked_profiles(it: Bench) -> None:
    await take(it, 1, profile(it, DEFAULT, (0, 32.0), profile_id=1, stack_level=0))
    await it.start()
    sent = profile(it, DEFAULT, (0, 10.0), profile_id=2, stack_level=1, duration_s=120)
    await take(it, 1, sent)
    since_s = it.loop.time()
    assert await composite(it, 300) == about((0, 10), (120, 32))
    await flows(it, 10)
    await asyncio.sleep(200)
    assert it.limits(since_s)[-1] == about((120, 32))[0]
    await flows(it, 32)


@octt()
async def test_tc_067_cs_clear_profiles(it: Bench) -> None:
    async def take_three() -> None:
        await take(it, 1, profile(it, DEFAULT, (0, 10.0), profile_id=1, stack_level=2))
        await take(it, 1, profile(it, DEFAULT, (0, 20.0), profile_id=2, stack_level=1))
        await take(it, 0, profile(it, MAXIMUM, (0, 30.0), profile_id=3, stack_level=0))
        assert await composite(it, 60) == about((0, 10))

    await it.ask("Unknown", call.ClearChargingProfile())
    await it.start()
    await take_three()
    await it.ask("Accepted", call.ClearChargingProfile(id=1))
    assert await composite(it, 60) == about((0, 20))
    await it.ask("Unknown", call.ClearChargingProfile(id=1))
    await it.ask("Accepted", call.ClearChargingProfile(charging_profile_purpose=MAXIMUM))
    await it.ask(
        "Unknown",
        call.ClearChargingProfile(connector_id=1, charging_profile_purpose=DEFAULT, stack_level=2),
    )
    await it.ask(
        "Accepted",
        call.ClearChargingProfile(connector_id=1, charging_profile_purpose=DEFAULT, stack_level=1),
    )
    await flows(it, RATED_A)
    await take_three()
    await it.ask("Accepted", call.ClearChargingProfile())
    await flows(it, RATED_A)
    await it.ask("Unknown", call.ClearChargingProfile())
