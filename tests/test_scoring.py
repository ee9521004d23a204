"""Scores: alarms against labels, and what theory says of the baselines."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from evsim.detectors import DETECTORS
from evsim.detectors.base import ALARM
from evsim.detectors.baselines import AlwaysOn
from evsim.events import CanEvent
from evsim.frames import MeasuredCurrent, encode
from evsim.labels import Label
from evsim.scoring.metrics import Outcome, Score, judge
from evsim.scoring.ranges import Widened, count_ranges
from evsim.scoring.running import Alarm, GapError, Runner, run_detectors
from evsim.scoring.sets import visible_seconds


def label(start_s: float, end_s: float, *, visible: bool = True, target: str = "CP_1") -> Label:
    seen_from_s, seen_to_s = (start_s, end_s) if visible else (None, None)
    return Label("can_drift", "can", target, start_s, end_s, seen_from_s, seen_to_s, "medium")


def alarm(start_s: float, end_s: float, charge_point: str = "CP_1") -> Alarm:
    return Alarm("d", charge_point, start_s, end_s, "reason")


def frames(count: int, charge_point: str = "CP_1") -> list[CanEvent]:
    return [
        CanEvent(
            1000.0 + at_s, charge_point, encode(MeasuredCurrent(100 if at_s % 8 in (4, 5) else 0))
        )
        for at_s in range(count)
    ]


@pytest.mark.parametrize(
    ("alarms", "delay_s", "false"),
    [
        ([], None, 0),
        ([alarm(110, 115)], 10.0, 0),
        ([alarm(90, 105)], 0.0, 0),  # on already
        ([alarm(80, 99)], None, 1),
        ([alarm(229, 240)], 129.0, 0),  # what follows gives it away
        ([alarm(231, 240)], None, 1),
        ([alarm(120, 121), alarm(110, 111), alarm(500, 501)], 10.0, 1),
        ([alarm(110, 115, "CP_2")], None, 1),
        ([alarm(110, 115, "*")], 10.0, 0),
    ],
)
def test_alarms_are_judged_by_the_labels(
    alarms: list[Alarm], delay_s: float | None, false: int
) -> None:
    outcome = judge([label(100, 200)], alarms, 1.0)
    assert outcome.found[0].delay_s == delay_s
    assert len(outcome.false_alarms) == false
    assert outcome.true_alarms == len(alarms) - false


def test_the_figures_of_several_runs() -> None:
    score = Score(
        [
            judge([label(100, 200)], [alarm(110, 120), alarm(500, 510)], 0.5),
            judge([label(100, 200)], [], 0.5),
            judge([label(100, 200, visible=False)], [], 0.5),
            judge([], [alarm(1, 2)], 0.5),
        ]
    )
    assert score.recall == 0.5
    assert score.precision == pytest.approx(1 / 3)
    assert score.f1 == pytest.approx(0.4)
    assert score.false_alarms_per_hour == 1.0
    assert score.delays_s == [10.0]
    low, high = score.recall_interval()
    assert low == 0.0
    assert high == 1.0


def test_without_anything_there_is_no_figure() -> None:
    empty = Score([Outcome((), 0, (), 0.0)])
    assert math.isnan(empty.recall)
    assert math.isnan(empty.precision)
    assert math.isnan(empty.false_alarms_per_hour)
    assert all(math.isnan(edge) for edge in empty.recall_interval())


def test_always_on_finds_all_with_one_alarm() -> None:
    runner = run_detectors(frames(100), {"always_on": AlwaysOn})
    assert [(a.start_s, a.end_s) for a in runner.alarms] == [(1001.0, 1099.0)]
    outcome = judge([label(1020, 1030), label(1050, 1060)], runner.alarms, 100 / 3600)
    assert [found.delay_s for found in outcome.found] == [0.0, 0.0]
    assert not outcome.false_alarms


RUN_S = 1200


def baseline_score(name: str, runs: int) -> Score:
    """Score a baseline on runs of 20 min, every second one with an anomaly of 2 min."""
    outcomes = []
    for number in range(runs):
        begin_s = 10_000.0 * (number + 1)
        runner = Runner({name: DETECTORS[name]})
        runner.begin(begin_s)
        runner.know("CP_1")
        runner.finish(begin_s + RUN_S)
        labels = [label(begin_s + 300, begin_s + 420)] if number % 2 else []
        scores = runner.highest_scores()
        assert len(scores) == RUN_S
        visible = visible_seconds(labels, begin_s, len(scores))
        outcome = judge(labels, runner.alarms, RUN_S / 3600)
        outcomes.append(
            replace(
                outcome,
                vus_pr=Widened(visible).vus_pr(scores) if labels else math.nan,
                ranges=count_ranges(visible, scores >= ALARM),
            )
        )
    return Score(outcomes)


def test_always_on_scores_as_theory_says() -> None:
    score = baseline_score("always_on", 40)
    assert score.recall == 1
    assert score.delays_s == [0.0] * 20
    assert score.precision == 0.5  # one alarm in each run, half of them with a label
    benign = Score([outcome for outcome in score.outcomes if not outcome.found])
    assert benign.false_alarms_per_hour == pytest.approx(3600 / RUN_S)
    share = 122 / RUN_S  # of the seconds: those of the label, and both that it borders on
    assert score.vus_pr == pytest.approx(share, rel=0.4)  # and the slopes of up to 50 s
    assert score.vus_pr >= share
    precision = share / 2  # alarms in runs with and without a label
    assert score.range_f1 == pytest.approx(2 * precision / (precision + 1))


def test_chance_scores_as_theory_says() -> None:
    score, always = baseline_score("random", 200), baseline_score("always_on", 200)
    rate = 6 / 3600  # seconds of an hour in which it is on
    assert score.false_alarms_per_hour == pytest.approx(6 * (1 - 0.5 * 150 / RUN_S), rel=0.15)
    # It finds a label if any second from its start to 30 s after its end is on.
    assert score.recall == pytest.approx(1 - (1 - rate) ** 151, abs=0.1)
    assert score.vus_pr == pytest.approx(always.vus_pr, abs=0.02)
    assert score.range_f1 < 0.1


def test_the_seconds_of_a_label_are_those_that_it_touches() -> None:
    seconds = visible_seconds([label(102.5, 104.2), label(1, 2, visible=False)], 100.0, 8)
    assert seconds.tolist() == [False, False, True, True, True, False, False, False]
    assert visible_seconds([label(103.0, 103.0)], 100.0, 8).sum() == 2  # on the border of two


def test_the_runner_asks_each_second_and_keeps_charge_points_apart() -> None:
    events = sorted([*frames(64), *frames(30, "CP_2")], key=lambda event: event.time_s)
    runner = run_detectors(events, {"turning_points": DETECTORS["turning_points"]})
    assert {name for _, name in runner.scores} == {"CP_1", "CP_2"}
    assert {len(scores) for scores in runner.scores.values()} == {63}
    (first, *_) = [a for a in runner.alarms if a.charge_point == "CP_1"]
    assert first.reason == "3 reversals of 5 A or more in 12 s"
    assert first.start_s == pytest.approx(1014, abs=2)


def test_an_alarm_is_told_when_it_begins() -> None:
    told: list[Alarm] = []
    runner = Runner(
        {"can_timing": DETECTORS["can_timing"]}, keep_scores=False, on_alarm=told.append
    )
    for event in frames(10):
        runner.observe(event)
    runner.advance(1011.0)
    assert not told
    runner.advance(1012.0)
    assert [(a.start_s, a.end_s) for a in told] == [(1012.0, math.inf)]
    runner.finish(1020.0)
    assert [(a.start_s, a.end_s) for a in runner.alarms] == [(1012.0, 1020.0)]


def test_time_that_leaps_is_a_clear_error_and_nan_is_nothing() -> None:
    runner = Runner({"always_on": AlwaysOn})
    runner.observe(frames(1)[0]._replace(time_s=math.nan))
    assert runner.begin_s is None
    runner.observe(frames(1)[0])
    with pytest.raises(GapError, match="the events leap by 278 h"):
        runner.observe(frames(1)[0]._replace(time_s=1000.0 + 1e6))
