"""Smart charging end to end: messages in, answers and CAN frames out, in virtual time."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ocpp.exceptions import PropertyConstraintViolationError
from ocpp.v16 import call
from profile_example import wire
from test_cp import Bench, bench, play

from cp import parse_arguments
from evsim import virtual_time
from evsim.charge_point.options import rate_units
from evsim.clock import to_ocpp
from evsim.frames import Frame, SetLimit, StopCharging

DAY_S = 86_400


async def put(it: Bench, profile: dict[str, Any], connector_id: int = 1) -> str:
    answer = await it.central.call(call.SetChargingProfile(connector_id, profile))
    return str(answer.status)


async def clear(it: Bench, **criteria: Any) -> str:
    return str((await it.central.call(call.ClearChargingProfile(**criteria))).status)


async def composite(it: Bench, duration_s: int, **more: Any) -> Any:
    request = call.GetCompositeSchedule(more.pop("connector_id", 1), duration_s, **more)
    return await it.central.call(request)


async def limits(it: Bench, duration_s: int, **more: Any) -> list[tuple[int, float]]:
    """Give the periods that a composite schedule has."""
    schedule = (await composite(it, duration_s, **more)).charging_schedule
    return [(p["start_period"], p["limit"]) for p in schedule["charging_schedule_period"]]


async def start(it: Bench, profile: dict[str, Any] | None = None) -> str:
    request = call.RemoteStartTransaction("TAG", 1, profile)
    answer = str((await it.central.call(request)).status)
    await asyncio.sleep(0.01)
    return answer


def at(it: Bench, after_s: float) -> str:
    return to_ocpp(it.cp.now() + timedelta(seconds=after_s))


def told(it: Bench, since_s: float) -> list[tuple[int, Frame]]:
    """Give the limits that the charger was told, when it was first told each."""
    frames = [(round(t), f) for t, f in it.node.since(since_s) if isinstance(f, SetLimit)]
    return [next(same) for _, same in itertools.groupby(frames, key=lambda told: told[1])]


# ── At the boundaries ────────────────────────────────────────────────────────────────────────


def test_each_boundary_of_a_stack_goes_out_on_the_bus(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            since_s = it.loop.time()
            await put(it, wire((0, 16), (60, 20.9), number=1))
            above = wire((0, 32), (30, 6), number=2, level=1, schedule={"duration": 40})
            await put(it, above)
            await put(it, wire((0, 25), (100, 10), number=3, purpose="ChargePointMaxProfile"), 0)
            expected = [(0, 25), (30, 6), (40, 16), (60, 20.9), (100, 10)]
            assert await limits(it, 200) == expected
            await asyncio.sleep(200)
            in_whole_a = [(second, SetLimit(int(limit_a))) for second, limit_a in expected]
            assert told(it, since_s)[-len(expected) :] == in_whole_a

    play(test())


def test_a_daily_schedule_goes_out_each_day_and_ends_with_its_duration(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            plan = {"start_schedule": at(it, 100 - 3 * DAY_S), "duration": 3600}
            daily = wire(
                (0, 10), (1800, 20), kind="Recurring", recurrency_kind="Daily", schedule=plan
            )
            since_s = it.loop.time()
            assert await put(it, daily) == "Accepted"
            one_day = [(100, 10), (1900, 20), (3700, 150)]
            expected = [(0, 150)] + [
                (day_s + second, limit_a) for day_s in (0, DAY_S) for second, limit_a in one_day
            ]
            assert await limits(it, 2 * DAY_S) == expected
            await asyncio.sleep(2 * DAY_S - 5)
            assert told(it, since_s) == [(second, SetLimit(a)) for second, a in expected]

    async def whole_days() -> None:
        async with asyncio.timeout(3 * DAY_S):
            await test()

    virtual_time.run(whole_days())


def test_what_was_taken_limits_after_a_restart_before_anything_is_said(tmp_path: Path) -> None:
    async def first() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await put(it, wire((0, 16)))

    async def second() -> None:
        async with bench(tmp_path) as it:
            assert [frame for _, frame in it.node.sent[:2]] == [StopCharging(), SetLimit(16)]
            await it.connect()
            assert await limits(it, 60) == [(0, 16)]

    play(first())
    play(second())


# ── TxProfile ────────────────────────────────────────────────────────────────────────────────


def test_a_tx_profile_is_for_the_running_transaction_and_ends_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await put(it, wire((0, 30)))
            own = wire((0, 20), purpose="TxProfile", number=2, transaction_id=2)
            assert await put(it, own) == "Rejected"
            await start(it)
            assert await put(it, own | {"transaction_id": 3}) == "Rejected"
            assert await put(it, own, 0) == "Rejected"
            assert await put(it, own) == "Accepted"
            assert it.node.sent[-1][1] == SetLimit(20)
            await it.central.stop_remotely(2)
            await asyncio.sleep(0.01)
            assert it.node.sent[-1][1] == SetLimit(30)
            await start(it)
            assert await limits(it, 60) == [(0, 30)]

    play(test())


def test_a_tx_profile_in_the_answer_to_a_start_finds_its_transaction(tmp_path: Path) -> None:
    """The central system may send it before its StartTransaction.conf is taken note of."""

    async def test() -> None:
        async with bench(tmp_path) as it:
            it.central.start_delay_s = 1
            await it.connect()
            await start(it)
            own = wire((0, 20), purpose="TxProfile", number=2, transaction_id=2)
            assert await put(it, own) == "Accepted"

    play(test())


def test_the_profile_of_a_remote_start_is_for_the_transaction_it_starts(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await put(it, wire((0, 30)))
            own = wire((0, 20), (60, 10), purpose="TxProfile", number=2)
            await asyncio.sleep(1)
            since_s = it.loop.time()
            assert await start(it, own) == "Accepted"
            assert await limits(it, 100) == [(0, 20), (60, 10)]
            await asyncio.sleep(70)
            assert told(it, since_s) == [(0, SetLimit(20)), (60, SetLimit(10))]
            await it.central.stop_remotely(2)
            await asyncio.sleep(0.01)
            assert await limits(it, 100) == [(0, 30)]

    play(test())


@pytest.mark.parametrize(
    "wrong",
    [
        wire((0, 20)),
        wire((0, 20), purpose="ChargePointMaxProfile"),
        wire((0, 20), purpose="TxProfile", transaction_id=2),
        wire((7, 20), purpose="TxProfile"),
        wire((0, 20), purpose="TxProfile", level=11),
    ],
    ids=["default", "maximum", "transaction id", "starts late", "level"],
)
def test_a_start_with_a_wrong_profile_is_rejected(tmp_path: Path, wrong: dict[str, Any]) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            assert await start(it, wrong) == "Rejected"
            await asyncio.sleep(5)
            assert not it.central.all("StartTransaction")
            assert await start(it) == "Accepted"

    play(test())


def test_a_power_cut_ends_the_tx_profiles_and_no_others(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await put(it, wire((0, 30)))
            await start(it, wire((0, 20), purpose="TxProfile", number=2))
            assert it.node.sent[-1][1] != SetLimit(30)
            it.cp.power_cut()
            await asyncio.sleep(60)
            await it.connect()
            assert await start(it) == "Accepted"
            assert await limits(it, 60) == [(0, 30)]
            assert await clear(it, charging_profile_purpose="TxProfile") == "Unknown"

    play(test())


# ── Asking and clearing ──────────────────────────────────────────────────────────────────────


def test_a_composite_schedule_says_from_when_for_how_long_and_in_which_unit(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await put(it, wire((0, 16.1), (60, 20)))
            for connector_id in (0, 1):
                answer = await composite(it, 300, connector_id=connector_id)
                assert answer.status == "Accepted"
                assert answer.connector_id == connector_id
                assert answer.schedule_start == to_ocpp(it.cp.now())
                assert answer.charging_schedule == {
                    "duration": 300,
                    "start_schedule": answer.schedule_start,
                    "charging_rate_unit": "A",
                    "charging_schedule_period": [
                        {"start_period": 0, "limit": 16.1},
                        {"start_period": 60, "limit": 20.0},
                    ],
                }
            in_watts = await limits(it, 300, charging_rate_unit="W")
            assert in_watts == [(0, 6440), (60, 8000)]

    play(test())


@pytest.mark.parametrize(
    ("connector_id", "duration_s"), [(2, 60), (-1, 60), (10**30, 60), (1, 0), (1, -1)]
)
def test_a_schedule_that_there_is_not_is_rejected(
    tmp_path: Path, connector_id: int, duration_s: int
) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            answer = await composite(it, duration_s, connector_id=connector_id)
            assert answer.status == "Rejected"
            assert answer.charging_schedule is None

    play(test())


def test_a_duration_beyond_all_measure_is_a_week(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            answer = await composite(it, 10**30)
            assert answer.charging_schedule["duration"] == 7 * DAY_S

    play(test())


def test_clearing_tells_the_charger_what_limits_then(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            assert await clear(it) == "Unknown"
            await put(it, wire((0, 30), number=1))
            await put(it, wire((0, 20), number=2, level=1))
            await put(it, wire((0, 10), number=3, purpose="ChargePointMaxProfile"), 0)
            assert it.node.sent[-1][1] == SetLimit(10)
            assert await clear(it, id=9) == "Unknown"
            assert await clear(it, connector_id=1, stack_level=2) == "Unknown"
            assert await clear(it, charging_profile_purpose="ChargePointMaxProfile") == "Accepted"
            assert it.node.sent[-1][1] == SetLimit(20)
            assert await clear(it, id=2) == "Accepted"
            assert it.node.sent[-1][1] == SetLimit(30)
            assert await clear(it) == "Accepted"
            assert it.node.sent[-1][1] == SetLimit(150)
            assert await clear(it) == "Unknown"

    play(test())


def test_a_limit_of_two_decimals_is_refused_as_the_schema_has_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            with pytest.raises(PropertyConstraintViolationError):
                await it.central.call(
                    call.SetChargingProfile(1, wire((0, 16.11))),
                    suppress=False,
                    skip_schema_validation=True,
                )
            assert await put(it, wire((0, 16.1))) == "Accepted"

    play(test())


def test_the_log_says_the_limit_and_why_a_profile_is_rejected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await put(it, wire((0, 100)))
            await put(it, wire((1, 100)))

    caplog.set_level(logging.INFO)
    play(test())
    assert "limit 100 A" in caplog.messages
    assert "charging profile rejected: the first startPeriod is 1, 0 was expected" in (
        caplog.messages
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are open")
def test_what_cannot_be_kept_is_rejected_and_does_not_count(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await put(it, wire((0, 30)))
            (tmp_path / "cp.sqlite").rename(tmp_path / "away.sqlite")
            assert await put(it, wire((0, 20))) == "Rejected"
            assert await clear(it) == "Unknown"
            assert await limits(it, 60) == [(0, 30)]
            (tmp_path / "away.sqlite").rename(tmp_path / "cp.sqlite")
            assert await clear(it) == "Accepted"

    play(test())


# ── One unit only ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "words"),
    [("A", "Current"), ("w", "Power"), ("A,W", "Current,Power"), ("W,A", "Current,Power")],
)
def test_the_units_come_from_the_command_line(text: str, words: str) -> None:
    options = parse_arguments(["--rate-units", text])
    assert options.configuration["ChargingScheduleAllowedChargingRateUnit"] == words


@pytest.mark.parametrize("text", ["", "V", "A,", "A;W"])
def test_other_units_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="A, W or A,W"):
        rate_units(text)


@pytest.mark.parametrize(("own", "other"), [("A", "W"), ("W", "A")])
def test_a_station_of_one_unit_says_so_and_refuses_the_other(
    tmp_path: Path, own: str, other: str
) -> None:
    async def test() -> None:
        words = {"A": "Current", "W": "Power"}[own]
        key = "ChargingScheduleAllowedChargingRateUnit"
        async with bench(tmp_path, configuration={key: words}) as it:
            await it.connect()
            (said,) = (await it.central.call(call.GetConfiguration([key]))).configuration_key
            assert (said["value"], said["readonly"]) == (words, True)
            assert await put(it, wire((0, 8000), unit=own)) == "Accepted"
            assert await put(it, wire((0, 8000), unit=other)) == "Rejected"
            assert (await composite(it, 60, charging_rate_unit=other)).status == "Rejected"
            answer = await composite(it, 60)
            assert answer.charging_schedule["charging_rate_unit"] == own
            assert await limits(it, 60) == [(0, 8000 if own == "W" else 150)]
            assert it.node.sent[-1][1] == SetLimit(20 if own == "W" else 8000)

    play(test())


def test_a_station_that_takes_no_unit_refuses_all(tmp_path: Path) -> None:
    async def test() -> None:
        key = "ChargingScheduleAllowedChargingRateUnit"
        async with bench(tmp_path, configuration={key: ""}) as it:
            await it.connect()
            assert await put(it, wire((0, 16))) == "Rejected"
            assert (await composite(it, 60)).status == "Rejected"

    play(test())
