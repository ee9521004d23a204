"""The detector fires on repeated fluctuation and on nothing that a plain session does."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.charger import PLANTS, PowerModule
from evsim.detectors.turning_points import MOST_REVERSALS, Reversal, TurningPoints

CYCLE_S = 8


def base_scenario(cycles: int, *, plant: str = "dc", first_sample_s: float = 0.5) -> list[float]:
    """What a real power module measures each second: limit 0, 2 s, 100, 1 s, start, 2 s, stop."""
    module = PowerModule(PLANTS[plant])
    currents_a = []
    for tenth in range(cycles * CYCLE_S * 10):
        moment = tenth % (CYCLE_S * 10)
        if moment == 0:
            module.set_limit(0)
        elif moment == 20:
            module.set_limit(100)
        elif moment == 30:
            module.start()
        elif moment == 50:
            module.stop()
        if tenth % 10 == round(first_sample_s * 10):
            currents_a.append(module.measured_a())
        module.step(0.1)
    return currents_a


def alarms(currents_a: list[float], detector: TurningPoints | None = None) -> list[int]:
    """The seconds at which the alarm is on, one sample a second and 60 s of silence after them."""
    detector = detector or TurningPoints()
    seconds = []
    for second in range(len(currents_a) + 60):
        if second < len(currents_a):
            detector.sample(second, currents_a[second])
        if detector.reason_at(second):
            seconds.append(second)
    return seconds


@pytest.mark.parametrize("plant", ["ideal", "dc", "dc_slow"])
@pytest.mark.parametrize("first_sample_s", [0.0, 0.2, 0.5, 0.9])
def test_the_base_scenario_raises_the_alarm_within_two_cycles(
    plant: str, first_sample_s: float
) -> None:
    currents_a = base_scenario(10, plant=plant, first_sample_s=first_sample_s)
    on_s = alarms(currents_a)
    assert CYCLE_S < on_s[0] <= 2 * CYCLE_S
    assert on_s == list(range(on_s[0], on_s[-1] + 1))


def test_the_alarm_is_over_within_60_s_of_the_last_cycle() -> None:
    currents_a = base_scenario(5) + [0.0] * 120
    assert 5 * CYCLE_S <= alarms(currents_a)[-1] < 5 * CYCLE_S + 60


def test_the_alarm_ends_in_silence_too() -> None:
    detector = TurningPoints()
    for second, current_a in enumerate(base_scenario(5)):
        detector.sample(second, current_a)
    assert detector.reason_at(5 * CYCLE_S)
    assert detector.reason_at(5 * CYCLE_S + 60) is None


def test_the_reason_counts_and_names_the_parameters() -> None:
    detector = TurningPoints(hysteresis_a=2.5, reversals=3, window_s=30, quick_reversals=9)
    for second, current_a in enumerate([0, 10, 0, 10]):
        detector.sample(second, current_a)
    assert detector.reason_at(3) is None
    detector.sample(4, 0)
    assert detector.reason_at(4) == "3 reversals of 2.5 A or more in 30 s"
    detector.sample(5, 10)
    assert detector.reason_at(5) == "4 reversals of 2.5 A or more in 30 s"
    assert TurningPoints().reason_at(0) is None


CHARGING = [*range(0, 101, 25), *[100.0] * 300]
TAPER = [100 * math.exp(-t / 120) for t in range(600)]
ABORTED = [*[100.0] * 5, *[0.0] * 10]  # nobody is quicker in the catalogue
BENIGN = {
    "start, taper, stop, restart": [*CHARGING, *TAPER, 0.0, *CHARGING],
    "stop and restart at once": [*CHARGING, 0.0, 0.0, *CHARGING],
    "aborted start retried twice": [*ABORTED, *ABORTED, *CHARGING],
    "solar surplus, a setpoint each 30 s": [
        amperes for setpoint in (10, 16, 6, 0, 12, 32, 20, 6) * 5 for amperes in [setpoint] * 30
    ],
    "load sharing, a step each 60 s": [a for a in (100, 50, 33, 50, 100) * 5 for _ in range(60)],
    "noise below the hysteresis": [100 + (4.9 if t % 2 else 0) for t in range(600)],
    "ramp with noise": [t + 2 * (-1) ** t for t in range(100)],
    "constant": [16.0] * 100,
}


@pytest.mark.parametrize("name", BENIGN)
def test_no_alarm_on(name: str) -> None:
    assert alarms(list(BENIGN[name])) == []


@given(st.lists(st.floats(50, 54.99)))
def test_a_swing_below_the_hysteresis_is_no_reversal(currents_a: list[float]) -> None:
    detector = TurningPoints()
    for second, current_a in enumerate(currents_a):
        detector.sample(second / 10, current_a)
    assert detector.reversals_at(len(currents_a)) == []


@given(st.lists(st.floats(0, 200), max_size=50))
def test_the_turning_points_alternate_by_the_hysteresis_or_more(currents_a: list[float]) -> None:
    detector = TurningPoints()
    for second, current_a in enumerate(currents_a):
        detector.sample(second, current_a)
    found = detector.reversals_at(len(currents_a))
    rises = [b.current_a - a.current_a for a, b in itertools.pairwise(found)]
    assert all(abs(rise_a) >= 5 for rise_a in rises)
    assert all(a * b < 0 for a, b in itertools.pairwise(rises))
    assert all(currents_a[int(point.time_s)] == point.current_a for point in found)


def test_a_reversal_is_the_end_of_the_plateau_and_counts_from_its_proof() -> None:
    detector = TurningPoints()
    for second, current_a in enumerate([0, 100, 100, 97, 96, 0, 50]):
        detector.sample(second, current_a)
    assert detector.reversals_at(6) == [Reversal(2, 100, found_s=5), Reversal(5, 0, found_s=6)]
    assert detector.reversals_at(5) == [Reversal(2, 100, found_s=5)]
    assert detector.reversals_at(65) == [Reversal(5, 0, found_s=6)]


def test_what_is_no_measurement_changes_nothing() -> None:
    detector, disturbed = TurningPoints(), TurningPoints()
    for second, current_a in enumerate(base_scenario(3)):
        detector.sample(second, current_a)
        disturbed.sample(second, current_a)
        disturbed.sample(second, math.nan)
        disturbed.sample(second, math.inf)
        disturbed.sample(math.nan, 500)
        disturbed.sample(math.inf, 500)
        disturbed.sample(second - 0.5, 500)  # older than the one before
    assert disturbed.reason_at(24) == detector.reason_at(24) is not None
    assert disturbed.reversals_at(24) == detector.reversals_at(24)


def test_a_clock_that_goes_back_by_more_than_the_window_starts_afresh() -> None:
    detector = TurningPoints()
    for second, current_a in enumerate(base_scenario(3)):
        detector.sample(10_000 + second, current_a)
    detector.sample(0, 50)
    assert detector.reversals_at(10_024) == []
    for second, current_a in enumerate(base_scenario(3)):
        detector.sample(1 + second, current_a)
    assert detector.reason_at(25)


def test_reset_forgets_everything() -> None:
    detector = TurningPoints()
    for second, current_a in enumerate(base_scenario(3)):
        detector.sample(second, current_a)
    detector.reset()
    assert detector.reason_at(24) is None
    detector.sample(0, 100)
    detector.sample(1, 0)
    assert detector.reversals_at(1) == []


def test_the_state_is_bounded_under_a_flood() -> None:
    detector = TurningPoints()
    for number in range(3 * MOST_REVERSALS):
        detector.sample(number / 1000, 100.0 * (number % 2))
    assert len(detector.reversals_at(3)) == MOST_REVERSALS


@pytest.mark.parametrize(
    "parameters",
    [
        {"hysteresis_a": 0},
        {"hysteresis_a": math.nan},
        {"reversals": 0},
        {"reversals": MOST_REVERSALS + 1},
        {"window_s": -1},
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="reversals"):
        TurningPoints(**parameters)
