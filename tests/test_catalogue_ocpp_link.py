"""What a man in the middle of the OCPP link does shows in the data as it was published."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from catalogue_runs import (
    EACH_SECOND,
    active,
    before,
    calls,
    currents_within,
    differences,
    effect_of,
    frames,
    label_of,
    limits,
    meter,
    recorded,
    runs_of,
    sent_limits,
    without,
)

from evsim.clock import from_ocpp
from evsim.events import Direction, Kind
from evsim.recording import Run

CURRENT = "Current.Import"
POWER = "Power.Active.Import"
ENERGY = "Energy.Active.Import.Register"
SOC = "SoC"


# ── What the central system commands ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("plant", ["dc", "ac"])
@pytest.mark.parametrize(("severity", "factor"), [("low", 1.25), ("medium", 1.5), ("high", 2.0)])
def test_profile_manipulation_raises_the_limit_on_its_way(
    plant: str, severity: str, factor: float
) -> None:
    run = recorded("profile_manipulation", severity=severity, plant=plant)
    start_s, end_s = active(run)
    set_s, set_a = limits(run)
    sent_s, sent_a = sent_limits(run)
    inside = (set_s > start_s) & (set_s < end_s - 0.1)
    assert inside.any()
    for at_s, limit_a in zip(set_s[inside], set_a[inside], strict=True):
        assert limit_a == np.floor(round(before(at_s, sent_s, sent_a) * factor, 1))
    # Restored at the end, by nobody whom the central system knows.
    after = set_s > end_s - 0.1
    assert set_a[after][0] == np.floor(before(end_s, sent_s, sent_a))
    assert not [t for t in sent_s if end_s - 1 < t < end_s + 1]

    times_s, currents_a = frames(run)
    allowed_a = np.array([before(t, sent_s, sent_a) if t > sent_s[0] else 999 for t in times_s])
    over = (currents_a > (allowed_a + 0.5) * 1.1) & (times_s > start_s)
    over_s = times_s[over]
    assert effect_of(run) == pytest.approx((over_s[0], over_s[-1]), abs=1.1)
    assert over_s[-1] - over_s[0] > 60


def test_denial_of_charge_is_starts_that_end_deauthorized() -> None:
    run = recorded("denial_of_charge")
    within = active(run)
    tag = calls(run, "RemoteStartTransaction")[0].payload["idTag"]
    started = [e for e in calls(run, "StartTransaction") if e.payload["idTag"] != tag]
    stopped = [e for e in calls(run, "StopTransaction") if e.payload["reason"] == "DeAuthorized"]
    assert len(started) == len(stopped) >= 4
    for start, stop in zip(started, stopped, strict=True):
        assert len(start.payload["idTag"]) == len(tag)
        assert 0 <= stop.time_s - start.time_s < 1
    first, last = started[0].time_s, stopped[-1].time_s
    assert within[0] <= first
    assert last <= within[1] + 1
    assert {e.payload["idTag"] for e in calls(run, "RemoteStartTransaction")} == {tag}
    assert currents_within(run, *within).max() < 5
    assert currents_within(run, within[1], np.inf).max() > 30  # afterwards it is as before
    assert effect_of(run) == pytest.approx((first, last), abs=1)


@pytest.mark.parametrize(("severity", "stops"), [("low", 1), ("medium", 3), ("high", 6)])
def test_unauthorised_stops_are_explained_by_no_command(severity: str, stops: int) -> None:
    run = recorded("unauthorised_commands", severity=severity)
    within = active(run)
    told = {event.payload["transactionId"] for event in calls(run, "RemoteStopTransaction")}
    rogue = [
        event
        for event in calls(run, "StopTransaction")
        if event.payload.get("reason") == "Remote" and event.payload["transactionId"] not in told
    ]
    assert len(rogue) == stops
    times_s, currents_a = frames(run)
    for event in rogue:
        assert within[0] <= event.time_s <= within[1]
        assert currents_within(run, event.time_s - 1.1, event.time_s).max() > 30
        assert currents_within(run, event.time_s + 1, event.time_s + 2)[0] < 5
    gaps = runs_of((currents_a < 5) & (times_s > within[0]) & (times_s < within[1]))
    seen = (times_s[gaps[0][0]], times_s[gaps[-1][1]])
    assert effect_of(run) == pytest.approx(seen, abs=1.1)


@pytest.mark.parametrize(("severity", "rate"), [("low", 1), ("medium", 5), ("high", 20)])
def test_heartbeat_flood_is_a_rate_of_messages_and_no_current(severity: str, rate: float) -> None:
    run = recorded("heartbeat_flood", severity=severity)
    start_s, end_s = active(run)
    flooded = calls(run, "Heartbeat", (start_s, end_s))
    others = len(calls(run, "Heartbeat")) - len(flooded)
    usual = others / (run.info["duration_s"] - (end_s - start_s))
    assert len(flooded) / (end_s - start_s) == pytest.approx(rate + usual, rel=0.05)
    assert usual < 0.2
    assert not differences(run)[1].any()  # the current is as ever
    at_s = [event.time_s for event in flooded]
    assert effect_of(run) == pytest.approx((at_s[0], at_s[-1]), abs=1.1)


def test_what_was_injected_has_ids_like_all_others() -> None:
    run = recorded("heartbeat_flood", severity="low")
    ids = [event.unique_id for event in calls(run, "Heartbeat")]
    assert len(set(ids)) == len(ids)
    assert all(str(UUID(i)) == i and UUID(i).version == 4 for i in ids)


def test_the_answers_to_what_was_injected_are_kept() -> None:
    run = recorded("unauthorised_commands")
    asked = {e.unique_id for e in run.ocpp if e.kind is Kind.CALL}
    answered = {e.unique_id for e in run.ocpp if e.kind in (Kind.CALL_RESULT, Kind.CALL_ERROR)}
    assert answered <= asked


# ── What the charge point reports ────────────────────────────────────────────────────────────


def on_can(run: Run, times_s: np.ndarray) -> np.ndarray:
    """Give the last 0x300 before each of some moments."""
    can_s, can_a = frames(run)
    return np.array([before(t, can_s, can_a) for t in times_s])


@pytest.mark.parametrize(("severity", "factor"), [("low", 0.85), ("medium", 0.6), ("high", 0.3)])
def test_scaled_meter_values_part_from_can_by_the_factor(severity: str, factor: float) -> None:
    run = recorded("meter_scaling", severity=severity, **EACH_SECOND)
    start_s, end_s = active(run)
    times_s, currents_a = meter(run, CURRENT)
    inside = (times_s >= start_s) & (times_s <= end_s)
    true_a = on_can(run, times_s)
    assert currents_a[~inside] == pytest.approx(true_a[~inside])
    assert currents_a[inside] == pytest.approx(true_a[inside] * factor, abs=0.51)
    assert true_a[inside].min() > 30

    _, power_w = meter(run, POWER)
    assert power_w == pytest.approx(currents_a * 400, abs=1)  # no contradiction in itself
    _, energy_wh = meter(run, ENERGY)
    grown_wh = np.diff(energy_wh[inside])[1:]
    assert grown_wh.sum() == pytest.approx(400 * factor * true_a[inside][2:].sum() / 3600, rel=0.02)
    growth_wh = np.diff(energy_wh)
    leap = int(np.argmax(growth_wh))  # back to the true register
    assert growth_wh[leap] > 5 * np.sort(growth_wh)[-2]
    assert times_s[leap] == pytest.approx(end_s, abs=1.1)
    parted_s = times_s[np.abs(currents_a - true_a) >= 1]
    assert effect_of(run) == pytest.approx((parted_s[0], parted_s[-1]), abs=1.1)


def test_scaled_values_are_written_like_true_ones() -> None:
    run = recorded("meter_scaling", **EACH_SECOND)
    forms: dict[str, set[int]] = {}
    for event in calls(run, "MeterValues"):
        for sample in event.payload["meterValue"][0]["sampledValue"]:
            decimals = len(sample["value"].partition(".")[2])
            forms.setdefault(sample["measurand"], set()).add(decimals)
    assert forms[CURRENT] == forms[POWER] == {0}
    assert forms[ENERGY] == {1}


@pytest.mark.parametrize(("severity", "segment"), [("low", 60), ("medium", 40), ("high", 20)])
def test_replayed_meter_values_repeat_a_segment(severity: str, segment: int) -> None:
    run = recorded("meter_replay", severity=severity, **EACH_SECOND)
    start_s, end_s = active(run)
    times_s, energy_wh = meter(run, ENERGY)
    inside = np.flatnonzero((times_s > start_s) & (times_s <= end_s))
    ahead = inside[0] - segment
    for measurand in (CURRENT, POWER, ENERGY, SOC):
        _, values = meter(run, measurand)
        recorded_values = values[ahead : inside[0]]
        turns = np.resize(recorded_values, len(inside))
        assert values[inside].tolist() == turns.tolist()
    falls = np.flatnonzero(np.diff(energy_wh) < 0) + 1
    assert falls.tolist() == inside[::segment].tolist()
    # Time stamps go on: they alone don't tell.
    stamps = [e.payload["meterValue"][0]["timestamp"] for e in calls(run, "MeterValues")]
    assert len(set(stamps)) == len(stamps)
    assert effect_of(run) == pytest.approx((times_s[inside[0]], times_s[inside[-1]]), abs=1.1)


# ── The link itself ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("severity", "duration_s"), [("low", 30), ("medium", 90), ("high", 240)])
def test_a_disconnected_station_is_a_gap_and_a_backlog(severity: str, duration_s: float) -> None:
    run = recorded("station_disconnection", severity=severity, **EACH_SECOND)
    start_s, end_s = active(run)
    at_s = np.array([event.time_s for event in run.ocpp if event.kind is not Kind.LINK])
    widest = int(np.argmax(np.diff(at_s)))
    assert at_s[widest] == pytest.approx(start_s, abs=1.1)
    assert at_s[widest + 1] - at_s[widest] == pytest.approx(duration_s, abs=3)
    assert end_s - start_s == pytest.approx(duration_s)
    assert effect_of(run) == pytest.approx((at_s[widest], at_s[widest + 1]), abs=1.1)

    values = calls(run, "MeterValues")
    late_s = np.array(
        [
            event.time_s - from_ocpp(event.payload["meterValue"][0]["timestamp"]).timestamp()
            for event in values
        ]
    )
    came_s = np.array([event.time_s for event in values])
    assert late_s[came_s < start_s].max() < 0.1
    late = late_s > 2.5
    assert late.sum() == pytest.approx(duration_s, abs=4)  # one a second, none is lost
    assert late_s.max() == pytest.approx(duration_s, abs=3)
    assert np.ptp(came_s[late]) < 3  # all at once
    links = [event.action for event in run.ocpp if event.kind is Kind.LINK]
    assert links[:3] == ["connected", "disconnected", "connected"]
    # The current is as ever, and 0x300 has no gap.
    assert np.diff(frames(run)[0]).max() < 1.01
    assert not differences(run)[1].any()


def test_nothing_of_the_catalogue_is_named_in_what_is_recorded() -> None:
    for anomaly in ("denial_of_charge", "meter_scaling", "heartbeat_flood"):
        run = recorded(anomaly, severity="low")
        told = " ".join(f"{e.unique_id} {e.action} {e.payload}" for e in run.ocpp).lower()
        told = told.replace("ev-anomaly-sim", "")  # the vendor, of every run
        for word in ("altered", "anomal", "attack", "rogue", anomaly):
            assert word not in told


def test_the_truth_of_a_run_is_the_run_without() -> None:
    run = recorded("heartbeat_flood")
    truth = without(run)
    assert not truth.labels
    commands = [
        (round(e.time_s, 3), e.action) for e in run.ocpp if e.direction is Direction.TO_CHARGE_POINT
    ]
    true_commands = [
        (round(e.time_s, 3), e.action)
        for e in truth.ocpp
        if e.direction is Direction.TO_CHARGE_POINT
    ]
    assert set(true_commands) <= set(commands)
    assert label_of(run).anomaly == "heartbeat_flood"
