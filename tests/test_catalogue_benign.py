"""Benign behaviours look as they do on an ordinary day, for hours, and charge cars."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from catalogue_runs import calls, frames, logged, recorded, runs_of, sent_limits

from evsim.anomalies import BENIGN
from evsim.clock import from_ocpp
from evsim.recording import Run

HOURS_S = 7200.0
#: At which a car charges.
FLOWS_A = 3.0
#: Said at each start, and no trouble: the start was accepted a moment before.
EXPECTED = "no StartTransaction yet"


def run_of(benign: str, plant: str = "dc") -> Run:
    return recorded(benign=benign, plant=plant, duration_s=HOURS_S, meter_interval_s=60.0)


def transactions(run: Run) -> list[tuple[float, float]]:
    """Give when each transaction began and ended, Unix s, but for one that the run ends."""
    starts = [from_ocpp(e.payload["timestamp"]).timestamp() for e in calls(run, "StartTransaction")]
    stops = [
        from_ocpp(event.payload["timestamp"]).timestamp()
        for event in calls(run, "StopTransaction")
        if event.payload.get("reason") != "Reboot"
    ]
    return list(zip(starts, stops, strict=False))


def within(run: Run, start_s: float, end_s: float) -> np.ndarray:
    times_s, currents_a = frames(run)
    return currents_a[(times_s >= start_s) & (times_s < end_s)]


@pytest.mark.parametrize("plant", ["dc", "ac"])
@pytest.mark.parametrize("benign", BENIGN)
def test_a_benign_behaviour_charges_for_hours_without_a_word(benign: str, plant: str) -> None:
    run = run_of(benign, plant)
    said = logged(benign=benign, plant=plant, duration_s=HOURS_S, meter_interval_s=60.0)
    assert [text for text in said if EXPECTED not in text] == []
    assert run.labels == []
    _, currents_a = frames(run)
    assert (currents_a > FLOWS_A).mean() > 0.3
    thirds = np.array_split(currents_a, 3)
    assert all((third > FLOWS_A).mean() > 0.1 for third in thirds)  # to the end
    assert currents_a.max() <= max(sent_limits(run)[1]) + 2
    percent = run.series["state_of_charge_percent"]
    assert np.nanmax(percent) <= 100


@pytest.mark.parametrize("plant", ["ideal", "dc_slow"])
@pytest.mark.parametrize("benign", BENIGN)
def test_a_benign_behaviour_charges_on_the_other_plants(benign: str, plant: str) -> None:
    spec: dict[str, Any] = {
        "benign": benign,
        "plant": plant,
        "duration_s": 1200.0,
        "meter_interval_s": 60.0,
    }
    assert [text for text in logged(**spec) if EXPECTED not in text] == []
    assert (frames(recorded(**spec))[1] > FLOWS_A).mean() > 0.3


def test_a_plain_session_is_one_rise_and_one_fall() -> None:
    run = run_of("plain_session")
    sessions = transactions(run)
    assert len(sessions) >= 3
    for start_s, end_s in sessions:
        pulses = runs_of(within(run, start_s - 5, end_s + 5) > FLOWS_A)
        assert len(pulses) == 1
        (first, last), level = pulses[0], within(run, start_s + 5, end_s - 2)
        assert last - first == pytest.approx(end_s - start_s, abs=3)
        assert np.ptp(level) <= 3  # noise
    pauses_s = [start - end for (_, end), (start, _) in itertools.pairwise(sessions)]
    assert all(60 <= pause_s <= 302 for pause_s in pauses_s)


def test_a_taper_falls_steadily_once_it_falls() -> None:
    run = run_of("taper")
    sessions = transactions(run)
    assert len(sessions) >= 3
    for start_s, end_s in sessions:
        current_a = within(run, start_s + 3, end_s - 1)
        level_a = np.median(current_a[:60])
        (falls_from, _), *_ = runs_of(current_a < 0.9 * level_a)
        assert np.abs(current_a[: falls_from - 60] - level_a).max() < 0.1 * level_a
        minutes = current_a[falls_from:]
        means = [part.mean() for part in np.array_split(minutes, max(2, len(minutes) // 30))]
        assert np.all(np.diff(means) < 0.5)
        assert means[-1] < 4
        assert np.abs(np.diff(minutes)).max() <= 3  # no leap


def test_solar_surplus_is_a_new_level_every_thirty_seconds() -> None:
    run = run_of("solar_surplus")
    sent_s, sent_a = sent_limits(run)
    between_s = np.diff(sent_s)
    assert (np.abs(between_s - 30) < 0.1).mean() > 0.95
    assert ((sent_a == 0) | (sent_a >= 6)).all()
    assert (sent_a == 0).any()
    steps_a = np.abs(np.diff(sent_a))
    assert np.median(steps_a) < 0.25 * sent_a.max()  # mostly near the one before
    paused = runs_of(sent_a == 0)
    assert all(between_s[first] == pytest.approx(30, abs=0.1) for first, _ in paused[:-1])


def test_load_sharing_is_whole_half_and_third() -> None:
    run = run_of("load_sharing")
    sent_s, sent_a = sent_limits(run)
    between_s = np.diff(sent_s)
    steps = between_s < 125
    assert steps.mean() > 0.9
    assert between_s.min() >= 60
    for start_s, end_s in transactions(run):
        levels = sorted(set(sent_a[(sent_s >= start_s - 1) & (sent_s < end_s)]))
        assert len(levels) == 3
        assert levels[2] / levels[0] == pytest.approx(3, abs=0.05)
        assert levels[2] / levels[1] == pytest.approx(2, abs=0.05)


def test_a_long_pause_keeps_its_transaction() -> None:
    run = run_of("long_pause")
    times_s, currents_a = frames(run)
    pauses = 0
    for start_s, end_s in transactions(run):
        inside = (times_s > start_s + 5) & (times_s < end_s - 1)
        for first, last in runs_of((currents_a < FLOWS_A) & inside):
            assert 178 <= times_s[last] - times_s[first] <= 481
            pauses += 1
    assert pauses >= 4
    statuses = {e.payload["status"] for e in calls(run, "StatusNotification")}
    assert "SuspendedEVSE" in statuses


def test_an_aborted_start_is_two_pulses_and_one_that_holds() -> None:
    run = run_of("aborted_start")
    sessions = transactions(run)
    lasts_s = [end - start for start, end in sessions]
    for number, duration_s in enumerate(lasts_s):
        if number % 3 < 2:
            assert 5 <= duration_s <= 15.5
        else:
            assert 600 <= duration_s <= 1201
    assert len(sessions) >= 9
    for number in range(0, len(sessions) - 1, 3):
        apart_s = sessions[number + 1][0] - sessions[number][0]
        assert 15 <= apart_s <= 41
    times_s, currents_a = frames(run)
    inside = times_s < sessions[2][1]
    assert len(runs_of((currents_a > FLOWS_A) & inside)) == 3


def test_on_ac_an_aborted_start_is_mostly_commands() -> None:
    run = run_of("aborted_start", "ac")
    aborted = [(a, b) for a, b in transactions(run) if b - a < 20]
    pulses = [np.any(within(run, a, b + 2) > FLOWS_A) for a, b in aborted]
    assert len(aborted) >= 6
    assert np.mean(pulses) < 0.5


def test_integer_requests_are_steps_of_one_ampere() -> None:
    run = run_of("integer_requests")
    sent_s, sent_a = sent_limits(run)
    assert (sent_a == np.round(sent_a)).all()
    sessions = transactions(run)
    assert sessions
    for start_s, end_s in sessions:
        mine = (sent_s >= start_s - 1) & (sent_s < end_s)
        assert set(np.abs(np.diff(sent_a[mine]))) == {0, 1}
        assert np.diff(sent_s[mine]) == pytest.approx(10, abs=0.1)
    steady = np.abs(np.diff(within(run, sessions[0][0] + 5, sessions[0][1] - 600)))
    assert steady.max() <= 3


def test_a_restart_follows_within_a_minute() -> None:
    run = run_of("user_restart")
    sessions = transactions(run)
    pauses_s = np.array([start - end for (_, end), (start, _) in itertools.pairwise(sessions)])
    short = pauses_s[pauses_s < 60.5]
    assert len(short) >= 4
    assert short.min() >= 20
    assert all(119 <= end - start <= 421 for start, end in sessions)
    assert pauses_s.max() <= 302
