"""What a hostile central system commands shows in the data as it was published."""

from __future__ import annotations

import numpy as np
import pytest
from catalogue_runs import (
    active,
    aggregate,
    calls,
    currents_within,
    effect_of,
    frames,
    label_of,
    recorded,
    runs_of,
    sent_limits,
)

CYCLES = {"low": 5, "medium": 10, "high": 20}


@pytest.mark.parametrize("severity", ["low", "medium", "high"])
def test_repeated_fluctuation_is_pulses_eight_seconds_apart(severity: str) -> None:
    run = recorded("repeated_fluctuation", severity=severity)
    times_s, currents_a = frames(run)
    start_s, end_s = active(run)
    inside = (times_s >= start_s) & (times_s <= end_s)
    pulses = runs_of((currents_a > 50) & inside)
    assert len(pulses) == CYCLES[severity]
    tops_s = np.array([times_s[first] for first, _ in pulses])
    assert np.diff(tops_s) == pytest.approx(8.0, abs=1.01)
    assert tops_s[-1] - tops_s[0] == pytest.approx(8 * (len(pulses) - 1), abs=1.01)

    leaps_s = times_s[1:][(np.abs(np.diff(currents_a)) >= 5) & inside[1:]]
    assert effect_of(run) == pytest.approx((leaps_s[0], leaps_s[-1]), abs=1.1)


@pytest.mark.parametrize("plant", ["dc", "ac"])
def test_repeated_fluctuation_is_four_commands_in_each_cycle(plant: str) -> None:
    run = recorded("repeated_fluctuation", plant=plant)
    within = active(run)
    sent_s, sent_a = sent_limits(run)
    assert sent_a[(sent_s >= within[0]) & (sent_s <= within[1])].tolist() == [0, 100] * 10
    starts = [event.time_s for event in calls(run, "RemoteStartTransaction", within)]
    assert np.diff(starts) == pytest.approx(8.0, abs=0.1)
    assert len(starts) == len(calls(run, "RemoteStopTransaction", within)) == 10


def test_repeated_fluctuation_shows_no_current_on_ac() -> None:
    run = recorded("repeated_fluctuation", plant="ac")
    assert currents_within(run, *active(run)).max() < 5
    assert label_of(run).effect_start_s is None
    assert label_of(run).effect_end_s is None


@pytest.mark.parametrize(
    ("plant", "severity", "period_s"),
    [("dc", "low", 160), ("dc", "medium", 120), ("dc", "high", 60), ("ac", "medium", 120)],
)
def test_fleet_oscillation_is_a_peak_in_the_aggregates_spectrum(
    plant: str, severity: str, period_s: float
) -> None:
    run = recorded("fleet_oscillation", severity=severity, plant=plant)
    times_s, sum_a = aggregate(run)
    start_s, end_s = active(run)
    window_a = sum_a[(times_s >= start_s) & (times_s < end_s)]
    power = np.abs(np.fft.rfft(window_a - window_a.mean())) ** 2
    peak = int(np.argmax(power))
    assert len(window_a) / peak == pytest.approx(period_s, rel=0.02)
    assert power[peak] > 0.5 * power.sum()


def test_fleet_oscillation_is_in_phase_and_slow_at_each_charge_point() -> None:
    run = recorded("fleet_oscillation")
    start_s, end_s = active(run)
    falls_s = []
    for charge_point in run.info["charge_points"]:
        mine = run.series["charge_point"] == charge_point
        times_s, on = run.series["time"][mine], run.series["current_a"][mine] > 5
        inside = (times_s >= start_s) & (times_s < end_s)
        pulses = runs_of(on & inside)
        assert len(pulses) == 4
        falls_s.append([times_s[last] for _, last in pulses])
    assert np.ptp(np.array(falls_s), axis=0).max() <= 2  # all of them within 2 s
    assert label_of(run).targets >= set(run.info["charge_points"])
    last_fall_s = max(falls[-1] for falls in falls_s)
    assert effect_of(run)[1] == pytest.approx(last_fall_s + 1, abs=2)


@pytest.mark.parametrize(("severity", "stopped"), [("low", 3), ("medium", 4), ("high", 5)])
def test_mass_on_off_is_a_step_down_and_a_step_up(severity: str, stopped: int) -> None:
    run = recorded("mass_on_off", severity=severity)
    times_s, sum_a = aggregate(run)
    start_s, _ = active(run)

    def step_a(at_s: float) -> float:
        (after,) = np.flatnonzero(times_s == np.floor(at_s) + 2)
        (first,) = np.flatnonzero(times_s == np.floor(at_s) - 1)
        return float(sum_a[after] - sum_a[first])

    down_a, up_a = step_a(start_s), step_a(start_s + 90)
    charging = sum_a[np.flatnonzero(times_s < start_s - 1)[-1]]
    assert down_a < -0.3 * charging
    assert up_a == pytest.approx(-down_a, rel=0.1)
    names = run.series["charge_point"]
    dropped = 0
    for charge_point in run.info["charge_points"]:
        mine = (names == charge_point) & (run.series["time"] > start_s)
        mine &= run.series["time"] < start_s + 80
        dropped += bool(np.all(run.series["current_a"][mine][3:] < 5))
    assert dropped == stopped
    assert effect_of(run) == pytest.approx((start_s, start_s + 91), abs=2)
