"""The detectors: each fires where it must, keeps silent where it must, and its reason is right."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

import can
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsim.clock import to_ocpp
from evsim.detectors import DEFAULT, DETECTORS, detector_named
from evsim.detectors.base import ALARM, Detector
from evsim.errors import UserError
from evsim.events import CanEvent, Direction, Event, Kind, OcppEvent
from evsim.frames import (
    Frame,
    MeasuredCurrent,
    SetLimit,
    StartCharging,
    StateOfCharge,
    StopCharging,
    encode,
)
from evsim.virtual_time import EPOCH

T = EPOCH.timestamp()
UP, DOWN = Direction.TO_CENTRAL_SYSTEM, Direction.TO_CHARGE_POINT


def frame(at_s: float, what: Frame, charge_point: str = "CP_1") -> CanEvent:
    return CanEvent(T + at_s, charge_point, encode(what))


def current(at_s: float, current_a: float, charge_point: str = "CP_1") -> CanEvent:
    return frame(at_s, MeasuredCurrent.nearest(current_a), charge_point)


def currents(values_a: Iterable[float], begin_s: float = 0.0) -> list[Event]:
    return [current(begin_s + at_s, value_a) for at_s, value_a in enumerate(values_a)]


def call(
    at_s: float, direction: Direction, action: str, payload: Mapping[str, Any] | None = None
) -> OcppEvent:
    return OcppEvent(T + at_s, "CP_1", direction, Kind.CALL, f"{at_s}", action, payload or {})


def profile(at_s: float, limit_a: float) -> OcppEvent:
    schedule = {
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit_a}],
    }
    payload = {"csChargingProfiles": {"chargingSchedule": schedule}}
    return call(at_s, DOWN, "SetChargingProfile", payload)


def meter_values(
    at_s: float, current_a: float, energy_wh: float = 0.0, soc: float | None = None
) -> OcppEvent:
    samples = [
        {"value": f"{current_a:g}", "measurand": "Current.Import"},
        {"value": f"{energy_wh:.1f}", "measurand": "Energy.Active.Import.Register"},
    ]
    if soc is not None:
        samples.append({"value": f"{soc:g}", "measurand": "SoC"})
    stamp = to_ocpp(EPOCH.fromtimestamp(T + at_s, EPOCH.tzinfo))
    value = {"timestamp": stamp, "sampledValue": samples}
    return call(at_s, UP, "MeterValues", {"connectorId": 1, "meterValue": [value]})


def watch(detector: Detector, events: Iterable[Event], until_s: float) -> list[float]:
    """Feed a detector; give the seconds at which its alarm was on."""
    return list(reasons(detector, events, until_s))


def reasons(detector: Detector, events: Iterable[Event], until_s: float) -> dict[float, str]:
    """Feed a detector; give what it said at each second at which its alarm was on."""
    waiting = sorted(events, key=lambda event: event.time_s)
    alarms = {}
    for second in range(1, int(until_s) + 1):
        while waiting and waiting[0].time_s <= T + second:
            detector.observe(waiting.pop(0))
        score, reason = detector.score_at(T + second), detector.reason_at(T + second)
        assert (score >= ALARM) == (reason is not None)
        if reason is not None:
            alarms[float(second)] = reason
    return alarms


def numbers(text: str | None) -> list[float]:
    assert text is not None
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"0x\w+", "", text))]


PULSES = [100.0 if second % 8 in (4, 5) else 0.0 for second in range(64)]
SESSION = [0.0] * 10 + [80.0] * 100 + [0.0] * 30


# ── The current alone ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["turning_points", "rainflow", "spectral", "last_ten"])
def test_pulses_are_found(name: str) -> None:
    assert watch(detector_named(name), currents(PULSES), 63)


@pytest.mark.parametrize("name", ["turning_points", "rainflow"])
def test_a_plain_session_is_none(name: str) -> None:
    assert not watch(detector_named(name), currents(SESSION), 140)


def test_the_one_liner_alarms_at_every_start() -> None:
    assert 11 in watch(detector_named("last_ten"), currents(SESSION), 140)


def test_rainflow_tells_the_cycles_of_the_window() -> None:
    detector = detector_named("rainflow")
    watch(detector, currents(PULSES), 63)
    cycles, range_a, window_s = numbers(detector.reason_at(T + 63))
    pulses_in_window = sum(b > a for a, b in itertools.pairwise(PULSES[3:]))
    assert (range_a, window_s) == (5, 60)
    assert cycles == pytest.approx(pulses_in_window, abs=0.5)


def test_spectral_tells_the_period() -> None:
    detector = detector_named("spectral")
    watch(detector, currents(PULSES), 63)
    _, period_s, _ = numbers(detector.reason_at(T + 63))
    assert period_s == pytest.approx(8, abs=0.3)


# ── Commands ─────────────────────────────────────────────────────────────────────────────────


def cycles(count: int) -> list[Event]:
    return [
        event
        for begin_s in range(0, 8 * count, 8)
        for event in (
            profile(begin_s, 0),
            profile(begin_s + 2, 100),
            call(begin_s + 3, DOWN, "RemoteStartTransaction", {"idTag": "USER"}),
            call(begin_s + 5, DOWN, "RemoteStopTransaction", {"transactionId": 1}),
        )
    ]


def test_two_cycles_of_commands_are_found_within_16_s_and_told() -> None:
    detector = detector_named("command_rate")
    alarms = watch(detector, cycles(3), 21)
    assert alarms[0] <= 16
    count, window_s = numbers(detector.reason_at(T + 21))
    assert (count, window_s) == (sum(1 <= e.time_s - T <= 21 for e in cycles(3)) - 0, 20)


def test_a_start_that_is_given_up_twice_is_no_attack() -> None:
    events: list[Event] = []
    for begin_s in (0, 15, 30):
        events += [profile(begin_s, 80), call(begin_s, DOWN, "RemoteStartTransaction")]
        events.append(call(begin_s + 5, DOWN, "RemoteStopTransaction"))
    assert not watch(detector_named("command_rate"), events, 60)


# ── Limits ───────────────────────────────────────────────────────────────────────────────────


def test_an_over_current_is_found_after_7_s_and_told() -> None:
    detector = detector_named("limit_violation")
    events: list[Event] = [frame(0, SetLimit(40)), *currents([30.0] * 10 + [50.0] * 20)]
    assert watch(detector, events, 25)[0] == 17
    current_a, limit_a, for_s = numbers(detector.reason_at(T + 25))
    assert (current_a, limit_a, for_s) == (50, 40, 15)


def test_a_current_within_the_margin_is_none_and_a_slow_car_neither() -> None:
    margin = [frame(0, SetLimit(40)), *currents([44.0] * 60)]
    assert not watch(detector_named("limit_violation"), margin, 60)
    slow = [frame(0, SetLimit(100)), frame(20, SetLimit(40)), *currents([100.0] * 26 + [40.0] * 30)]
    assert not watch(detector_named("limit_violation"), slow, 55)


def test_a_limit_that_was_raised_on_its_way_is_found_and_told() -> None:
    detector = detector_named("limit_violation")
    raised: list[Event] = [profile(1, 30.0), frame(1.01, SetLimit(45))]
    assert watch(detector, raised, 5) == [2, 3, 4, 5]
    assert numbers(detector.reason_at(T + 5)) == [45, 30]
    honest: list[Event] = [profile(1, 30.7), frame(1.01, SetLimit(30))]
    assert not watch(detector_named("limit_violation"), honest, 5)


# ── Meter ────────────────────────────────────────────────────────────────────────────────────


def test_a_scaled_meter_is_found_and_told() -> None:
    detector = detector_named("meter_consistency")
    events = [*currents([80.0] * 30), *[meter_values(at + 0.5, 48, at * 5) for at in range(5, 20)]]
    assert watch(detector, events, 25)[0] == 8
    count, meter_a, can_a = numbers(detector.reason_at(T + 20))
    assert (count, meter_a, can_a) == (15, 48, 80)


def test_an_honest_meter_and_a_late_one_are_not() -> None:
    ramp = [float(at) for at in range(30)]
    honest = [meter_values(at + 0.5, at, at * 5) for at in range(5, 25)]
    assert not watch(detector_named("meter_consistency"), [*currents(ramp), *honest], 29)
    late: list[Event] = [
        event._replace(time_s=T + 28 + n / 100) for n, event in enumerate(honest)
    ]  # after a lost connection
    assert not watch(detector_named("meter_consistency"), [*currents(ramp), *late], 29)


def test_a_register_that_falls_is_found_and_told() -> None:
    detector = detector_named("meter_consistency")
    events = [*currents([10.0] * 9), meter_values(3, 10, 500.5), meter_values(4, 10, 480.0)]
    assert watch(detector, events, 6)[0] == 4
    assert numbers(detector.reason_at(T + 6)) == [500.5, 480.0]


def test_a_state_of_charge_that_rises_too_slowly_is_found_and_told() -> None:
    detector = detector_named("state_of_charge")
    # 600 Wh for each percent, as it learns; from 1,000 s on only a quarter of it is told.
    told = [(at, 40.0, at * 10.0, 20 + at / 60) for at in range(0, 1000, 10)]
    told += [
        (at, 40.0, at * 10.0, 20 + 1000 / 60 + (at - 1000) / 240) for at in range(1000, 2000, 10)
    ]
    events = [meter_values(at, a, wh, round(soc * 2) / 2) for at, a, wh, soc in told]
    first_s, reason = next(iter(reasons(detector, events, 2000).items()))
    assert 1000 < first_s < 1150
    tells, means = numbers(reason)
    # What is due at least: 11 s less, and 10 % less, than the energy since a step.
    taken_percent = (first_s - 1000) / 60
    assert tells <= taken_percent / 4 + 0.5
    assert tells + 0.5 <= means <= taken_percent + tells + 1
    assert not watch(detector_named("state_of_charge"), events[:100], 1000)


def test_a_state_of_charge_that_rises_too_fast_is_found_and_told_once() -> None:
    """As where a false current feeds the register: from 1,000 s on only half of it is counted."""
    register_wh = [at * 10.0 if at < 1000 else 10_000 + (at - 1000) * 5.0 for at in range(2000)]
    events = [
        meter_values(at, 40.0, register_wh[at], round((20 + at / 60) * 2) / 2)
        for at in range(0, 2000, 10)
    ]
    alarms = reasons(detector_named("state_of_charge"), events, 2000)
    first_s, *_, last_s = alarms
    assert 1000 < first_s < 1150
    assert last_s <= first_s + 60
    tells, at_most = numbers(alarms[first_s])
    assert tells > at_most


# ── CAN ──────────────────────────────────────────────────────────────────────────────────────


def test_a_silent_charger_is_found_and_told() -> None:
    detector = detector_named("can_timing")
    assert watch(detector, currents([1.0] * 10), 15)[0] == 12
    assert numbers(detector.reason_at(T + 15)) == [6.0]


def test_foreign_frames_are_found_and_told() -> None:
    detector = detector_named("can_timing")
    foreign = [
        CanEvent(T + 5 + n, "CP_1", can.Message(arbitration_id=0x123 + n, is_extended_id=False))
        for n in range(3)
    ]
    assert watch(detector, [*currents([1.0] * 12), *foreign], 10)[0] == 6
    reason = detector.reason_at(T + 10)
    assert reason is not None
    assert reason.startswith("3 frames in 10 s")
    assert reason.endswith("0x125")


def test_the_protocol_in_time_is_no_anomaly() -> None:
    events: list[Event] = [frame(3.3, SetLimit(10)), frame(3.4, StartCharging())]
    assert not watch(detector_named("can_timing"), [*events, *currents([1.0] * 60)], 60)


def test_a_leap_without_a_command_is_found_and_told() -> None:
    detector = detector_named("unexplained_change")
    events = [
        frame(0, SetLimit(80)),
        frame(0.1, StartCharging()),
        *currents([0.0] * 3 + [80.0] * 97 + [40.0] * 10),
    ]
    assert watch(detector, events, 105)[0] == 100
    assert numbers(detector.reason_at(T + 105)) == [80, 40]


def test_a_leap_that_follows_a_command_is_none() -> None:
    events = [
        frame(0, SetLimit(80)),
        frame(0.1, StartCharging()),
        frame(100, SetLimit(40)),
        frame(200, StopCharging()),
        *currents([0.0] * 3 + [80.0] * 98 + [40.0] * 100 + [0.0] * 50),
    ]
    assert not watch(detector_named("unexplained_change"), events, 250)


def test_a_current_that_sinks_below_its_limit_is_found_unless_it_tapers() -> None:
    sinking = [80.0] * 60 + [80 - at * 0.25 for at in range(120)]
    for percent, found in ((40.0, True), (85.0, False)):
        detector = detector_named("unexplained_change")
        events: list[Event] = [frame(0, SetLimit(80)), frame(0.1, StartCharging())]
        events += [frame(0.2, StateOfCharge(percent)), *currents(sinking, 1.0)]
        assert bool(watch(detector, events, 178)) == found
        if found:
            *_, limit_a, at_percent, taken_a = numbers(detector.reason_at(T + 178))
            assert (limit_a, at_percent, taken_a) == (80, percent, 80)


def noisy(length: int, seed: int = 1) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(round(value)) for value in rng.normal(60.0, 0.4, length)]


def test_a_stuck_value_and_a_repeated_segment_are_found_and_told() -> None:
    stuck = detector_named("plateau")
    values = [*noisy(60), *[61.0] * 200]
    assert watch(stuck, currents(values), 259)
    assert numbers(stuck.reason_at(T + 259)) == [61, 200]
    repeated = detector_named("plateau")
    segment = noisy(40)
    assert watch(repeated, currents([*noisy(100, 2), *segment * 4]), 259)
    *_, lag_s = numbers(repeated.reason_at(T + 259))
    assert lag_s == 40


def test_honest_noise_is_no_plateau() -> None:
    for seed in range(5):
        assert not watch(detector_named("plateau"), currents(noisy(1500, seed)), 1499)


# ── Sessions and fleets ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([call(5, UP, "StopTransaction", {"reason": "Remote"})], "reason Remote"),
        ([call(5, UP, "StopTransaction", {"reason": "DeAuthorized"})], "DeAuthorized"),
        (
            [
                call(4, DOWN, "RemoteStartTransaction", {"idTag": "A"}),
                call(5, UP, "StartTransaction", {"idTag": "B"}),
            ],
            "'B' starts where 'A' was sent",
        ),
        ([call(1 + n / 2, UP, "Heartbeat") for n in range(7)], "7 Heartbeats in 10 s"),
    ],
    ids=["stop", "tag refused", "tag altered", "flood"],
)
def test_what_does_not_fit_together_is_found_and_told(events: list[Event], words: str) -> None:
    detector = detector_named("session")
    alarms = watch(detector, events, 8)
    assert alarms
    assert words in (detector.reason_at(T + alarms[-1]) or "")


def test_an_ordinary_session_is_none() -> None:
    events: list[Event] = [
        call(1, DOWN, "RemoteStartTransaction", {"idTag": "USER"}),
        call(2, UP, "StartTransaction", {"idTag": "user"}),
        *[call(at, UP, "Heartbeat") for at in range(5, 100, 10)],
        call(60, DOWN, "RemoteStopTransaction", {"transactionId": 1}),
        call(61, UP, "StopTransaction", {"reason": "Remote"}),
    ]
    assert not watch(detector_named("session"), events, 100)


def test_a_silent_station_is_found_and_told() -> None:
    detector = detector_named("session")
    assert watch(detector, [call(5, UP, "Heartbeat")], 40)[0] == 30
    assert numbers(detector.reason_at(T + 40)) == [35]


def test_a_fleet_that_switches_at_once_is_found_and_one_by_one_is_not() -> None:
    def fleet(apart_s: float) -> list[Event]:
        return [
            current(
                at_s + number / 10, 50.0 if at_s < 30 + number * apart_s else 0.0, f"CP_{number}"
            )
            for number in range(5)
            for at_s in range(100)
        ]

    detector = detector_named("fleet_switching")
    assert watch(detector, fleet(0.2), 99)
    assert numbers(detector.reason_at(T + 40))[:2] == [5, 5]
    assert not watch(detector_named("fleet_switching"), fleet(8.0), 99)


def test_combined_tells_which_part_alarms() -> None:
    detector = detector_named("combined")
    watch(detector, [call(5, UP, "StopTransaction", {"reason": "DeAuthorized"})], 6)
    assert (detector.reason_at(T + 6) or "").startswith("CP_1, session: ")


def test_the_baselines_are_what_theory_says() -> None:
    always, chance = detector_named("always_on"), detector_named("random")
    assert all(always.score_at(T + second) >= ALARM for second in range(100))
    share = np.mean([chance.score_at(T + second) >= ALARM for second in range(200_000)])
    assert share == pytest.approx(6 / 3600, rel=0.2)


# ── All of them ──────────────────────────────────────────────────────────────────────────────


def test_an_unknown_detector_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="no detector 'oracle'; known are: turning_points"):
        detector_named("oracle")
    assert DEFAULT in DETECTORS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["meterValue", "sampledValue", "timestamp", "value", "measurand", "reason", "idTag",
     "csChargingProfiles", "chargingSchedule", "chargingSchedulePeriod", "limit"]
)  # fmt: skip
PAYLOADS = st.dictionaries(
    KEYS, JSON | st.lists(st.dictionaries(KEYS, JSON, max_size=3), max_size=2)
)
ACTIONS = st.sampled_from(
    ["MeterValues", "Heartbeat", "StopTransaction", "StartTransaction", "SetChargingProfile",
     "RemoteStartTransaction", "RemoteStopTransaction", ""]
)  # fmt: skip
TIMES = st.floats(-100, 4000) | st.just(float("nan"))
EVENTS = st.one_of(
    st.builds(
        lambda at, action, payload, up, kind: OcppEvent(
            T + at, "CP_1", UP if up else DOWN, kind, "1", action, payload
        ),
        TIMES, ACTIONS, PAYLOADS, st.booleans(), st.sampled_from(Kind),
    ),
    st.builds(
        lambda at, number, data: CanEvent(
            T + at, "CP_1", can.Message(arbitration_id=number, data=data, is_extended_id=False)
        ),
        TIMES, st.sampled_from([0x200, 0x201, 0x210, 0x300, 0x310, 0x7FF]), st.binary(max_size=8),
    ),
)  # fmt: skip


@pytest.mark.parametrize("name", DETECTORS)
@settings(max_examples=40, deadline=None)
@given(events=st.lists(EVENTS, max_size=30))
def test_nothing_that_comes_raises_and_reset_forgets_it(name: str, events: list[Event]) -> None:
    detector, fresh = detector_named(name), detector_named(name)
    for event in events:
        detector.observe(event)
        score = detector.score_at(event.time_s if event.time_s == event.time_s else T)
        assert not score < 0
    detector.reset()
    for event in cycles(2) + currents(PULSES):
        detector.observe(event)
        fresh.observe(event)
    assert detector.score_at(T + 64) == fresh.score_at(T + 64)


@pytest.mark.parametrize("name", DETECTORS)
def test_its_memory_is_bounded(name: str) -> None:
    def size(thing: object, depth: int = 4) -> int:
        if depth == 0:
            return 0
        inner = getattr(thing, "__dict__", None) or {}
        values = list(inner.values()) if isinstance(inner, dict) else []
        own = len(thing) if hasattr(thing, "__len__") and not isinstance(thing, str) else 0
        if isinstance(thing, list | tuple):
            values += list(thing[:20])
        return own + sum(size(value, depth - 1) for value in values)

    detector = detector_named(name)
    flood = [0.01 * number for number in range(20_000)]
    for half in (flood[:10_000], flood[10_000:]):
        for at_s in half:
            detector.observe(current(at_s, 100.0 * (round(at_s * 100) % 2)))
            detector.observe(call(at_s, UP, "Heartbeat"))
            detector.observe(profile(at_s, at_s))
    assert size(detector) < 15_000
