"""The limit as it goes on: charging profiles stacked, against a reference second by second."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp.v16.enums import ChargingRateUnitType
from profile_example import NOON, after, read, transaction, wire

from evsim.charge_point.charging_profiles import (
    MAX_PERIODS,
    Profile,
    ProfileRules,
    read_profile,
    read_start_profile,
)
from evsim.charge_point.composite_schedule import (
    LONGEST_SCHEDULE_S,
    composite_schedule,
    limit_at,
)
from evsim.charger import PLANTS
from evsim.clock import from_ocpp, to_ocpp

A, W = ChargingRateUnitType.amps, ChargingRateUnitType.watts
DAY_S = 86_400


def limit_a(profiles: list[Profile], at_s: float, began: datetime | None = None) -> float | None:
    return limit_at(profiles, after(at_s), began)[0]


def schedule(
    *profiles: Profile,
    duration_s: int,
    at_s: float = 0,
    began: datetime | None = None,
    plant: str = "dc",
    unit: ChargingRateUnitType = A,
) -> list[tuple[int, float]]:
    made = composite_schedule(
        profiles, after(at_s), duration_s, began=began, plant=PLANTS[plant], unit=unit
    )
    assert made.duration_s == duration_s
    return [*made.periods]


# ── One profile ──────────────────────────────────────────────────────────────────────────────


def test_periods_take_effect_at_their_time_and_end_with_the_duration() -> None:
    profile = read((0, 10), (60, 20), (120, 0), schedule={"duration": 180})
    seen = [limit_a([profile], s) for s in (0, 59.9, 60, 119, 120, 179, 180)]
    assert seen == [10, 10, 20, 20, 0, 0, None]
    assert schedule(profile, duration_s=300) == [(0, 10), (60, 20), (120, 0), (180, 150)]
    boundaries, moment = [], NOON
    while (change := limit_at([profile], moment, None)[1]) is not None:
        boundaries.append((change - NOON).total_seconds())
        moment = change
    assert boundaries == [60, 120, 180]


def test_a_relative_profile_begins_with_the_transaction_or_when_it_was_taken() -> None:
    profile = read((0, 10), (60, 20))
    assert limit_a([profile], 1000) == 20
    assert limit_a([profile], 1000, after(990)) == 10
    began = after(990)
    assert schedule(profile, at_s=1000, began=began, duration_s=99) == [(0, 10), (50, 20)]


def test_an_absolute_profile_without_a_start_is_relative() -> None:
    profile = read((0, 10), (60, 20), kind="Absolute")
    assert limit_a([profile], 1000, after(990)) == 10


def test_an_absolute_profile_says_nothing_before_its_start() -> None:
    start = {"start_schedule": to_ocpp(after(100)), "duration": 50}
    profile = read((0, 10), kind="Absolute", schedule=start)
    expected = [(0, 150), (100, 10), (150, 150)]
    assert schedule(profile, duration_s=200) == expected
    assert schedule(profile, duration_s=200, began=after(-5)) == expected


def test_a_maximum_is_of_no_transaction() -> None:
    cap = read((0, 10), (60, 20), purpose="ChargePointMaxProfile", connector_id=0)
    assert schedule(cap, at_s=30, began=after(29), duration_s=99) == [(0, 10), (30, 20)]


def test_validity_begins_and_ends() -> None:
    profile = read((0, 10), valid_from=to_ocpp(after(10)), valid_to=to_ocpp(after(20)))
    assert schedule(profile, duration_s=30) == [(0, 150), (10, 10), (20, 150)]


def test_a_clock_that_was_set_back_does_not_lift_the_limit() -> None:
    profile = read((0, 10), schedule={"duration": 60})
    assert limit_a([profile], -3600) == 10
    assert limit_a([profile], -60, NOON) == 10


@pytest.mark.parametrize(("recurrency", "every_s"), [("Daily", DAY_S), ("Weekly", 7 * DAY_S)])
def test_a_recurring_profile_comes_back(recurrency: str, every_s: int) -> None:
    profile = read(
        (0, 10),
        (3600, 20),
        kind="Recurring",
        recurrency_kind=recurrency,
        schedule={"start_schedule": to_ocpp(after(-70 * DAY_S)), "duration": 7200},
    )
    week = schedule(profile, duration_s=7 * DAY_S)
    days = range(0, 7 * DAY_S, every_s)
    assert week == [
        period for day in days for period in ((day, 10), (day + 3600, 20), (day + 7200, 150))
    ]
    before = limit_at([profile], after(-71 * DAY_S), None)
    assert before == (None, after(-70 * DAY_S))
    assert limit_at([profile], after(7200), None) == (None, after(every_s))


def test_a_duration_longer_than_the_recurrence_is_cut_by_it() -> None:
    profile = read(
        (0, 10),
        (80_000, 20),
        kind="Recurring",
        recurrency_kind="Daily",
        schedule={"start_schedule": to_ocpp(NOON), "duration": 2**62},
    )
    assert schedule(profile, duration_s=2 * DAY_S) == [
        (0, 10),
        (80_000, 20),
        (DAY_S, 10),
        (DAY_S + 80_000, 20),
    ]


def test_a_duration_beyond_all_measure_is_taken() -> None:
    profile = read((0, 10), schedule={"duration": 2**62})
    assert limit_a([profile], 1e6) == 10
    assert limit_at([profile], NOON, None)[1] is not None


# ── Several ──────────────────────────────────────────────────────────────────────────────────


def test_the_higher_stack_level_counts_while_it_says_something() -> None:
    low = read((0, 10), level=0, number=1)
    high = read((0, 20), level=1, number=2, schedule={"duration": 60})
    assert schedule(high, low, duration_s=99) == [(0, 20), (60, 10)]


def test_a_default_of_the_connector_goes_before_one_of_all() -> None:
    all_connectors = read((0, 10), level=9, connector_id=0)
    its_own = read((0, 20), number=2, schedule={"duration": 60})
    assert schedule(all_connectors, its_own, duration_s=99) == [(0, 20), (60, 10)]


def test_tx_profile_overrides_default_and_the_maximum_caps_both() -> None:
    running = transaction()
    profiles = [
        read((0, 30), (50, 100), number=1),
        read((0, 50), number=2, purpose="TxProfile", running=running, schedule={"duration": 20}),
        read((0, 40), number=3, purpose="ChargePointMaxProfile", connector_id=0),
    ]
    assert schedule(*profiles, duration_s=99, began=NOON) == [(0, 40), (20, 30), (50, 40)]
    assert schedule(*profiles, duration_s=99) == [(0, 30), (50, 40)]


def test_a_maximum_alone_limits() -> None:
    cap = read((0, 40), purpose="ChargePointMaxProfile", connector_id=0)
    assert limit_a([cap], 0) == 40
    assert limit_at([], NOON, None) == (None, None)


# ── The schedule as it is told ───────────────────────────────────────────────────────────────


def test_where_nothing_limits_the_charger_does() -> None:
    assert schedule(duration_s=60) == [(0, 150)]
    assert schedule(duration_s=60, unit=W) == [(0, 60_000)]
    assert schedule(duration_s=60, plant="ac", unit=W) == [(0, 55_200)]
    assert schedule(read((0, 1e300)), duration_s=60) == [(0, 150)]


@pytest.mark.parametrize(
    ("plant", "given", "asked", "expected"),
    [
        ("ac", (11_000, "W"), A, 15.9),  # 15.94 A
        ("ac", (11_000.1, "W"), W, 11_000.1),
        ("ac", (31.9, "A"), A, 31.9),
        ("ac", (0.3, "A"), W, 207),
        ("dc", (29_999.9, "W"), A, 74.9),
    ],
)
def test_limits_are_told_in_the_unit_asked_for_rounded_down(
    plant: str, given: tuple[float, str], asked: ChargingRateUnitType, expected: float
) -> None:
    limit, unit = given
    profile = read((0, limit), unit=unit, rules=ProfileRules(PLANTS[plant]))
    assert schedule(profile, duration_s=60, plant=plant, unit=asked) == [(0, expected)]


def test_equal_limits_are_one_period() -> None:
    profile = read((0, 10), (10, 10), (20, 10.04), (30, 11))
    assert schedule(profile, duration_s=99) == [(0, 10), (30, 11)]


def test_what_is_over_before_a_whole_second_is_not_told() -> None:
    low = read((0, 10))
    start = {"start_schedule": to_ocpp(after(5.2))}
    high = read((0, 20), kind="Absolute", level=1, schedule=start, valid_to=to_ocpp(after(5.7)))
    assert schedule(low, high, duration_s=9) == [(0, 10)]
    assert schedule(low, high, at_s=0.5, duration_s=9) == [(0, 10), (5, 20), (6, 10)]


def test_a_schedule_is_not_longer_than_a_week() -> None:
    made = composite_schedule([], NOON, 2**70, began=None, plant=PLANTS["dc"], unit=A)
    assert made.duration_s == LONGEST_SCHEDULE_S


def test_a_schedule_of_too_many_periods_ends_early_and_says_so() -> None:
    low = read(*((2 * n, n % 2) for n in range(MAX_PERIODS)))
    high = read(*((n, 10 + n) for n in range(70)), level=1, number=2, schedule={"duration": 71})
    made = composite_schedule([low, high], NOON, 500, began=None, plant=PLANTS["dc"], unit=A)
    assert len(made.periods) == MAX_PERIODS
    assert made.periods[-1] == (71 + 2 * 29 - 1, made.periods[-1][1])
    assert made.duration_s == 71 + 2 * 30 - 1


# ── Second by second ─────────────────────────────────────────────────────────────────────────


def says(
    profile: dict[str, Any], connector_id: int, at: datetime, began: datetime | None
) -> Fraction | None:
    """Return the limit that one profile gives at a moment, in its unit."""
    if "valid_from" in profile and at < from_ocpp(profile["valid_from"]):
        return None
    if "valid_to" in profile and not at < from_ocpp(profile["valid_to"]):
        return None
    plan = profile["charging_schedule"]
    if profile["charging_profile_kind"] == "Relative" or "start_schedule" not in plan:
        is_maximum = profile["charging_profile_purpose"] == "ChargePointMaxProfile"
        start = began if began is not None and not is_maximum else NOON
        passed = max(at - start, timedelta(0))
    else:
        passed = at - from_ocpp(plan["start_schedule"])
    if passed < timedelta(0):
        return None
    if profile["charging_profile_kind"] == "Recurring":
        days = {"Daily": 1, "Weekly": 7}[profile["recurrency_kind"]]
        while passed >= timedelta(days=days):
            passed -= timedelta(days=days)
    if "duration" in plan and passed >= timedelta(seconds=plan["duration"]):
        return None
    limit = None
    for period in plan["charging_schedule_period"]:
        if timedelta(seconds=period["start_period"]) <= passed:
            limit = Fraction(str(period["limit"]))
    return limit


def reference(
    stack: list[tuple[int, dict[str, Any]]], at: datetime, began: datetime | None, plant: str
) -> Fraction | None:
    """Return the limit at a moment in A, looking at every profile."""
    per_a = Fraction(PLANTS[plant].voltage_v) * PLANTS[plant].phases
    best: dict[str, tuple[tuple[int, int], Fraction]] = {}
    for connector_id, profile in stack:
        limit = says(profile, connector_id, at, began)
        if limit is None:
            continue
        if profile["charging_schedule"]["charging_rate_unit"] == "W":
            limit /= per_a
        purpose, rank = profile["charging_profile_purpose"], (connector_id, profile["stack_level"])
        if purpose not in best or rank > best[purpose][0]:
            best[purpose] = (rank, limit)
    if began is None:
        best.pop("TxProfile", None)
    if "TxProfile" in best:
        best.pop("TxDefaultProfile", None)
    return min((limit for _, limit in best.values()), default=None)


SECONDS = 120
seconds = st.integers(-SECONDS, SECONDS)
tenths = st.integers(0, 1600).map(lambda tenth: tenth / 10)


@st.composite
def profiles(draw: st.DrawFn, fractions: st.SearchStrategy[float]) -> tuple[int, dict[str, Any]]:
    """Make a profile that has something to say around noon, and its connector."""
    purpose = draw(st.sampled_from(["ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"]))
    kind = draw(st.sampled_from(["Absolute", "Relative", "Recurring"]))
    unit = draw(st.sampled_from(["A", "W"]))
    limits = tenths if unit == "A" else tenths.map(lambda tenth: round(tenth * 400.7, 1))
    starts = [0, *sorted(draw(st.sets(st.integers(1, SECONDS), max_size=5)))]
    periods = [(start, draw(limits)) for start in starts]
    plan: dict[str, Any] = {}
    more: dict[str, Any] = {}
    if draw(st.booleans()):
        plan["duration"] = draw(st.integers(1, 2 * SECONDS))
    start_s = draw(seconds) + draw(fractions)
    if kind == "Recurring":
        more["recurrency_kind"] = draw(st.sampled_from(["Daily", "Weekly"]))
        start_s -= DAY_S * draw(st.integers(0, 15))
        if draw(st.booleans()):  # its end is in sight too
            periods = [(DAY_S - 60 + start, limit) for start, limit in periods]
            periods = [(0, draw(limits)), *periods]
    if kind == "Recurring" or (kind == "Absolute" and draw(st.booleans())):
        plan["start_schedule"] = to_ocpp(after(start_s))
    for key in ("valid_from", "valid_to"):
        if draw(st.integers(0, 3)) == 0:
            more[key] = to_ocpp(after(draw(seconds) + draw(fractions)))
    connector_id = {"ChargePointMaxProfile": 0, "TxProfile": 1}.get(purpose)
    if connector_id is None:
        connector_id = draw(st.integers(0, 1))
    level = draw(st.integers(0, 3))
    made = wire(*periods, purpose=purpose, kind=kind, unit=unit, level=level, schedule=plan, **more)
    return connector_id, made


def place(profile: tuple[int, dict[str, Any]]) -> tuple[int, str, int]:
    connector_id, made = profile
    return connector_id, made["charging_profile_purpose"], made["stack_level"]


def stacks(fractions: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    return st.lists(profiles(fractions), max_size=8, unique_by=place)


whole = st.just(0.0)
milliseconds = st.integers(0, 999).map(lambda number: number / 1000)
began_s = st.none() | st.integers(-SECONDS, SECONDS // 2)


def read_all(stack: list[tuple[int, dict[str, Any]]], plant: str) -> list[Profile]:
    rules = ProfileRules(PLANTS[plant])
    return [
        read_start_profile(connector_id, made, now=NOON, rules=rules)
        if made["charging_profile_purpose"] == "TxProfile"
        else read_profile(connector_id, made, now=NOON, rules=rules, transaction=None)
        for connector_id, made in stack
    ]


@pytest.mark.parametrize("fractions", [whole, milliseconds], ids=["whole", "milliseconds"])
@pytest.mark.parametrize("unit", [A, W])
def test_it_is_what_a_look_at_each_second_finds(
    fractions: st.SearchStrategy[float], unit: ChargingRateUnitType
) -> None:
    @given(stacks(fractions), began_s, seconds, st.sampled_from(["ac", "dc"]), fractions, st.data())
    def check(
        stack: list[tuple[int, dict[str, Any]]],
        transaction_s: int | None,
        from_s: int,
        plant: str,
        fraction: float,
        data: st.DataObject,
    ) -> None:
        began = None if transaction_s is None else after(transaction_s + data.draw(fractions))
        start = after(from_s + fraction)
        made = composite_schedule(
            read_all(stack, plant),
            start,
            SECONDS,
            began=began,
            plant=PLANTS[plant],
            unit=unit,
        )
        at_most = Fraction(PLANTS[plant].rated_max_a)
        per_a = 1 if unit == A else Fraction(PLANTS[plant].voltage_v) * PLANTS[plant].phases
        expected: list[tuple[int, float]] = []
        for second in range(SECONDS):
            limit = reference(stack, start + timedelta(seconds=second), began, plant)
            allowed = at_most if limit is None else min(limit, at_most)
            told = math.floor(allowed * per_a * 10) / 10
            if not expected or expected[-1][1] != told:
                expected.append((second, told))
        assert [*made.periods] == expected
        assert made.duration_s == SECONDS

    check()


@given(stacks(milliseconds), began_s, seconds)
def test_the_limit_now_and_its_next_change_are_those_of_the_schedule(
    stack: list[tuple[int, dict[str, Any]]], transaction_s: int | None, from_s: int
) -> None:
    began = None if transaction_s is None else after(transaction_s)
    made = read_all(stack, "dc")
    now, end = after(from_s), after(from_s + SECONDS)
    while now < end:
        limit, until = limit_at(made, now, began)
        expected = reference(stack, now, began, "dc")
        assert limit == (None if expected is None else pytest.approx(float(expected)))
        later = min(until or end, end)
        assert later > now
        for moment in (now + (later - now) / 2, later - timedelta(microseconds=1)):
            assert limit_at(made, moment, began)[0] == limit
            assert reference(stack, moment, began, "dc") == expected
        now = later
