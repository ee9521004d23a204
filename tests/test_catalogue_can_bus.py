"""What is played on the CAN bus shows in the data as it was published."""

from __future__ import annotations

import numpy as np
import pytest
from catalogue_runs import (
    EACH_SECOND,
    active,
    calls,
    currents_within,
    differences,
    effect_of,
    frames,
    meter,
    recorded,
    sent_limits,
    without,
)

from evsim.anomalies.can_bus import (
    BIT_RATE,
    BURST_PERIOD_S,
    DEVIATION_A,
    FLOOD_DATA,
    FLOOD_ID,
)
from evsim.can_timing import frame_bits
from evsim.frames import CURRENT_ID, LENGTHS, STATE_OF_CHARGE_ID
from evsim.recording import Run

SEVERITIES = ["low", "medium", "high"]
#: A limit changes every 60 to 120 s, so that something is to be hidden.
LIVELY = "load_sharing"
#: A frame of the very moment in which an anomaly ends was falsified still.
AT_ONCE_S = 0.01
#: What a node has queued in the last moment goes out a little later.
DRAIN_S = 0.05
FRAME_S = frame_bits(FLOOD_ID, FLOOD_DATA, 8) / BIT_RATE


def assert_effect_is_where_it_differs(run: Run) -> None:
    """The label's effect is where 0x300 is not, or not what it is without the anomaly."""
    times_s, off_a = differences(run)
    start_s, end_s = active(run)
    seen_s = times_s[(times_s > start_s) & ~(np.abs(off_a) < DEVIATION_A) & (times_s <= end_s)]
    if len(seen_s):
        assert effect_of(run) == pytest.approx((seen_s[0], seen_s[-1]), abs=1.1)
    else:  # the noise alone would not give it away
        assert run.labels[0].effect_start_s is None
    assert not np.any(off_a[times_s < start_s])


def assert_timing_is_as_ever(run: Run) -> None:
    times_s, _ = frames(run)
    start_s, end_s = active(run)
    gaps_s = np.diff(times_s[(times_s > start_s - 2) & (times_s < end_s + 2)])
    assert gaps_s == pytest.approx(1.0, abs=0.002)


# ── False values at the right time ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_plateau_is_one_value_whatever_the_limit(severity: str) -> None:
    run = recorded("can_plateau", severity=severity, benign=LIVELY)
    start_s, end_s = active(run)
    shown_a = currents_within(run, start_s + 1.1, end_s)
    assert len(set(shown_a)) == 1
    assert len(set(currents_within(run, end_s + 1, end_s + 60))) > 1  # noise, and life, are back
    if severity != "low":  # it is long enough for a new limit
        sent_s, _ = sent_limits(run)
        assert ((sent_s > start_s) & (sent_s < end_s)).any()
        assert np.nanmax(np.abs(differences(run)[1])) >= 5
    assert_timing_is_as_ever(run)
    assert_effect_is_where_it_differs(run)


@pytest.mark.parametrize(("severity", "rate"), [("low", 0.1), ("medium", 0.25), ("high", 0.5)])
def test_a_drift_is_a_straight_line(severity: str, rate: float) -> None:
    run = recorded("can_drift", severity=severity)
    start_s, end_s = active(run)
    times_s, shown_a = frames(run)
    inside = (times_s > start_s) & (times_s <= end_s) & (shown_a > 0)
    slope, _ = np.polyfit(times_s[inside], shown_a[inside], 1)
    assert slope == pytest.approx(-rate, rel=0.03)
    after = np.flatnonzero(times_s > end_s + AT_ONCE_S)[0]
    leap_a = shown_a[after] - shown_a[after - 1]  # back, from 0 A at the lowest
    assert leap_a > 0.9 * min(rate * (end_s - start_s), shown_a[after])
    assert not [t for t in sent_limits(run)[0] if start_s < t < end_s]
    assert_timing_is_as_ever(run)
    assert_effect_is_where_it_differs(run)


@pytest.mark.parametrize(("severity", "segment"), [("low", 60), ("medium", 40), ("high", 20)])
def test_a_playback_repeats_a_segment_value_by_value(severity: str, segment: int) -> None:
    run = recorded("can_playback", severity=severity, benign=LIVELY)
    start_s, end_s = active(run)
    times_s, shown_a = frames(run)
    inside = np.flatnonzero((times_s > start_s + AT_ONCE_S) & (times_s <= end_s))
    lengths = [  # one more or less: a value of the moment in which the recording begins or ends
        length
        for length in (segment - 1, segment, segment + 1)
        if np.array_equal(
            shown_a[inside],
            np.resize(shown_a[inside[0] - length : inside[0]], len(inside)),
        )
    ]
    assert lengths
    assert len(inside) >= 1.9 * segment
    true_a = frames(without(run))[1][: len(shown_a)]
    again = np.resize(true_a[inside[0] - segment : inside[0]], len(inside))
    assert true_a[inside].tolist() != again.tolist()  # which nature does not do
    assert_timing_is_as_ever(run)
    assert_effect_is_where_it_differs(run)


@pytest.mark.parametrize(("severity", "share"), [("low", 0.8), ("medium", 0.5), ("high", 0.0)])
def test_a_masquerade_keeps_the_timing_and_leaps(severity: str, share: float) -> None:
    run = recorded("can_masquerade", severity=severity)
    start_s, end_s = active(run)
    times_s, off_a = differences(run)
    true_a = frames(without(run))[1]
    inside = (times_s > start_s) & (times_s <= end_s)
    assert off_a[inside] == pytest.approx(true_a[inside] * (share - 1), abs=0.51)
    assert not off_a[~inside].any()
    assert_timing_is_as_ever(run)
    # What an observer without the truth sees: two leaps that nothing asked for.
    shown_s, shown_a = frames(run)
    for moment_s in (start_s, end_s):
        first = np.flatnonzero(shown_s > moment_s + AT_ONCE_S)[0]
        assert abs(shown_a[first] - shown_a[first - 1]) > (1 - share) * 0.9 * true_a[first]
        assert not [t for t in sent_limits(run)[0] if abs(t - moment_s) < 5]
    assert_effect_is_where_it_differs(run)


def test_a_masquerade_is_betrayed_by_the_cars_state_of_charge() -> None:
    run = recorded("can_masquerade", severity="medium", room_s=150.0, **EACH_SECOND)
    start_s, end_s = active(run)
    times_s, energy_wh = meter(run, "Energy.Active.Import.Register")
    _, percent = meter(run, "SoC")

    def capacity_wh(first_s: float, last_s: float) -> float:
        mask = (times_s > first_s) & (times_s < last_s)
        slope, _ = np.polyfit(percent[mask], energy_wh[mask], 1)
        return float(slope * 100)

    usual = (end_s + 5, end_s + 125)
    ratio = capacity_wh(start_s + 5, end_s) / capacity_wh(*usual)
    assert ratio == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(("severity", "kept"), [("low", 3), ("medium", 8), ("high", 60)])
def test_a_suppression_is_a_gap_and_a_fault_if_it_lasts(severity: str, kept: int) -> None:
    run = recorded("can_suppress", severity=severity)
    start_s, end_s = active(run)
    times_s, _ = frames(run)
    widest = int(np.argmax(np.diff(times_s)))
    assert times_s[widest + 1] - times_s[widest] == pytest.approx(kept + 1, abs=0.1)
    assert times_s[widest] == pytest.approx(start_s, abs=1.1)
    assert times_s[widest + 1] == pytest.approx(end_s, abs=1.1)
    assert effect_of(run) == pytest.approx((times_s[widest], times_s[widest + 1]), abs=1.1)

    faults = [
        event.time_s
        for event in calls(run, "StatusNotification")
        if event.payload["status"] == "Faulted"
    ]
    ended = [e for e in calls(run, "StopTransaction") if e.payload.get("reason") == "Other"]
    if severity == "low":
        assert not faults
    else:
        assert faults[0] == pytest.approx(times_s[widest] + 5, abs=0.1)
    assert len(ended) == (severity == "high")
    # 0x310 is not kept back.
    told_s = run.can.time_s[run.can.arbitration_id == STATE_OF_CHARGE_ID]
    assert np.diff(told_s).max() < 10.1


# ── Frames too many ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("severity", "load"), [("low", 0.3), ("medium", 0.6), ("high", 0.9)])
def test_a_flood_collapses_the_times_between_frames(severity: str, load: float) -> None:
    run = recorded("can_flooding", severity=severity)
    start_s, end_s = active(run)
    times_s, ids = run.can.time_s, run.can.arbitration_id
    inside = (times_s >= start_s) & (times_s <= end_s + 0.2)
    assert set(times_s[ids == FLOOD_ID]) <= set(times_s[inside])
    between_s = np.diff(times_s[inside])
    # As close as the frames are long: 8 bytes of 0, stuffed.
    assert np.median(between_s) == pytest.approx(FRAME_S, abs=2e-6)
    assert np.median(np.diff(times_s[~inside])) > 0.5
    assert (ids == FLOOD_ID).sum() * FRAME_S / (end_s - start_s) == pytest.approx(load, rel=0.05)
    flood_s = times_s[ids == FLOOD_ID]
    assert effect_of(run) == pytest.approx((flood_s[0], flood_s[-1]), abs=0.2)


def lateness_s(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Give how late each 0x300 is: in the flood, and in the rest of the run."""
    start_s, end_s = active(run)
    times_s, _ = frames(run)
    number = np.round(times_s - times_s[0])
    late_s = times_s - times_s[0] - number
    late_s -= np.median(late_s)
    inside = (times_s >= start_s) & (times_s <= end_s + DRAIN_S)
    return late_s[inside], late_s[~inside]


@pytest.mark.parametrize(("severity", "load"), [("low", 0.3), ("medium", 0.6), ("high", 0.9)])
def test_a_flood_delays_0x300_by_up_to_a_burst(severity: str, load: float) -> None:
    run = recorded("can_flooding", severity=severity)
    flooded_s, usual_s = lateness_s(run)
    assert np.abs(usual_s).max() < 0.001
    longest_burst_s = load * BURST_PERIOD_S[1]
    assert 0.2 * longest_burst_s < flooded_s.max() <= longest_burst_s + 0.001
    assert flooded_s.min() > -0.001
    assert len(set(np.round(flooded_s, 3))) > 2  # no two wait the same
    # Of all frames, about as many meet a burst as there is load.
    assert (flooded_s > 0.0005).mean() == pytest.approx(load, abs=0.35)


def test_a_heavier_flood_delays_more() -> None:
    mean_s = [
        lateness_s(recorded("can_flooding", severity=severity))[0].mean() for severity in SEVERITIES
    ]
    assert mean_s[0] < mean_s[2]
    assert mean_s[1] < mean_s[2]


@pytest.mark.parametrize(("severity", "rate"), [("low", 2), ("medium", 20), ("high", 200)])
def test_fuzzing_is_ids_and_lengths_that_nobody_knows(severity: str, rate: float) -> None:
    run = recorded("can_fuzzing", severity=severity)
    start_s, end_s = active(run)
    known = np.array(
        [
            LENGTHS.get(int(can_id)) == int(dlc)
            for can_id, dlc in zip(run.can.arbitration_id, run.can.dlc, strict=True)
        ]
    )
    strange_s = run.can.time_s[~known]
    assert len(strange_s) / (end_s - start_s) == pytest.approx(rate, rel=0.35)
    assert strange_s.min() >= start_s
    assert strange_s.max() <= end_s + 0.01
    ids = run.can.arbitration_id[~known]
    assert len(set(ids)) > 0.8 * min(len(ids), 2000)
    assert ids.max() < 0x800
    assert set(run.can.dlc[~known]) == set(range(9)) or severity == "low"
    assert effect_of(run) == pytest.approx((strange_s[0], strange_s[-1]), abs=1.1)


def test_each_plays_its_own_side_of_the_bus() -> None:
    """A gateway adds no frame, a node takes none away."""
    run = recorded("can_drift")
    assert set(run.can.arbitration_id) == set(without(run).can.arbitration_id)
    flooded, truth = recorded("can_flooding"), without(recorded("can_flooding"))
    assert (flooded.can.arbitration_id == CURRENT_ID).sum() == (
        truth.can.arbitration_id == CURRENT_ID
    ).sum()
