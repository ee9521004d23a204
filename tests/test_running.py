"""The stream of events that detectors are fed: where it leaps, stands still or makes no sense."""

from __future__ import annotations

import math

import pytest

from evsim.detectors.base import Detector
from evsim.detectors.combined import MOST_CHARGE_POINTS
from evsim.events import JITTER_S, CanEvent, Event
from evsim.frames import MeasuredCurrent, encode
from evsim.scoring.running import Alarm, GapError, Runner


class Witness(Detector):
    """Keeps what it is shown, and alarms from the third event on."""

    name = "witness"
    summary = "for tests"

    def reset(self) -> None:
        """Forget all events."""
        self.times_s: list[float] = []

    def observe(self, event: Event) -> None:
        """Take note of the time."""
        self.times_s.append(event.time_s)

    def score_at(self, time_s: float) -> float:
        """Return the share of three events."""
        return len(self.times_s) / 3

    def reason_at(self, time_s: float) -> str | None:
        """Tell how many."""
        return f"{len(self.times_s)} events"


def frame(time_s: float, charge_point: str = "CP_1") -> CanEvent:
    return CanEvent(time_s, charge_point, encode(MeasuredCurrent(0)))


def fed(*times_s: float) -> tuple[Witness, list[Alarm]]:
    """Feed frames; give the detector, and the alarms."""
    witness = Witness()
    runner = Runner({"witness": lambda: witness}, keep_scores=False)
    for time_s in times_s:
        runner.observe(frame(time_s))
    runner.finish()
    return witness, runner.alarms


def test_time_that_goes_back_a_little_stands_still() -> None:
    witness, _ = fed(100.0, 105.0, 105.0 - JITTER_S, 104.5, 106.0)
    assert witness.times_s == [100.0, 105.0, 105.0, 105.0, 106.0]


@pytest.mark.parametrize("then_s", [103.0, 5.0, 105.0 + 86_400 + 3])
def test_where_time_leaps_alarms_end_and_detectors_begin_anew(then_s: float) -> None:
    witness, alarms = fed(100.0, 101.0, 102.0, 105.0, then_s)
    assert witness.times_s == [then_s]
    assert [(alarm.start_s, alarm.end_s) for alarm in alarms] == [(103.0, 105.0)]


def test_a_gap_of_less_than_a_day_is_lived_through() -> None:
    witness, alarms = fed(100.0, 101.0, 102.0, 102.0 + 86_000)
    assert len(witness.times_s) == 4
    assert [alarm.end_s for alarm in alarms] == [86_102.0]


def test_scores_are_kept_of_a_stream_without_leaps_alone() -> None:
    runner = Runner({"witness": Witness})
    runner.observe(frame(100))
    with pytest.raises(GapError, match=r"the events leap back by 2.0 s"):
        runner.observe(frame(98))


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_is_nothing(time_s: float) -> None:
    witness, _ = fed(100.0, time_s, 101.0)
    assert witness.times_s == [100.0, 101.0]


def test_names_of_charge_points_that_somebody_invents_fill_no_memory() -> None:
    runner = Runner({"witness": Witness}, keep_scores=False)
    for number in range(MOST_CHARGE_POINTS + 10):
        runner.observe(frame(100.0, f"invented {number}"))
    assert len(runner.scores) == MOST_CHARGE_POINTS
