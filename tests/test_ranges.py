"""VUS-PR and range-F1: as aeon has them, and what theory says of scores that know nothing."""

from __future__ import annotations

import json
import time
from functools import reduce
from operator import add

import numpy as np
import pytest
from make_aeon_reference import BUFFERS_S, REFERENCE, cases

from evsim.scoring.ranges import MOST_BUFFER_S, RangeCounts, Widened, count_ranges

ANSWERS = json.loads(REFERENCE.read_text("utf-8"))["answers"]
CASES = list(cases())


def test_the_reference_has_all_cases() -> None:
    assert ANSWERS.keys() == {name for name, _, _ in CASES}
    assert MOST_BUFFER_S in BUFFERS_S


@pytest.mark.parametrize(("name", "labels", "scores"), CASES, ids=[name for name, *_ in CASES])
def test_they_agree_with_aeon(name: str, labels: np.ndarray, scores: np.ndarray) -> None:
    for most_s, volume in ANSWERS[name]["vus_pr"].items():
        assert Widened(labels, int(most_s)).vus_pr(scores) == pytest.approx(volume, abs=1e-6)
    assert count_ranges(labels, scores >= 1).f1 == pytest.approx(
        ANSWERS[name]["range_f1"], abs=1e-6
    )


def test_many_series_count_as_one_after_the_other() -> None:
    chosen = [(labels, scores >= 1) for _, labels, scores in CASES[:20]]
    apart = np.zeros(1, dtype=np.bool_)
    one = count_ranges(
        np.concatenate([part for labels, _ in chosen for part in (labels, apart)]),
        np.concatenate([part for _, alarms in chosen for part in (alarms, apart)]),
    )
    counts = reduce(add, (count_ranges(labels, alarms) for labels, alarms in chosen))
    assert counts.f1 == pytest.approx(one.f1)
    assert (counts.real, counts.predicted) == (one.real, one.predicted)


def labelled(share: float, count: int = 20_000) -> np.ndarray:
    labels = np.zeros(count, dtype=np.bool_)
    labels[1000 : 1000 + round(share * count)] = True
    return labels


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_chance_has_the_area_of_the_labels_share(share: float) -> None:
    labels = labelled(share)
    widened = Widened(labels)
    chance = np.random.default_rng(1).random(len(labels))
    assert widened.vus_pr(chance) == pytest.approx(widened.chance, abs=0.01)
    assert widened.chance == pytest.approx(share, abs=0.01)  # the slopes are short here


def test_a_score_that_ranks_nothing_is_chance_and_a_right_one_is_1() -> None:
    labels = labelled(0.1)
    widened = Widened(labels)
    for constant in (0.0, 1.0):
        assert widened.vus_pr(np.full(len(labels), constant)) == widened.chance
    assert Widened(labels, 0).vus_pr(labels.astype(float)) == pytest.approx(1.0)


def test_an_alarm_that_is_always_on_has_the_labels_share_as_its_precision() -> None:
    labels = labelled(0.1)
    counts = count_ranges(labels, np.ones(len(labels), dtype=np.bool_))
    assert counts.precision_sum == pytest.approx(0.1)
    assert counts.predicted == 1
    assert (counts.recall_sum, counts.real) == (1.0, 1)
    assert counts.f1 == pytest.approx(2 * 0.1 / 1.1)


def test_without_labels_or_alarms_there_is_no_figure_or_0() -> None:
    nothing = np.zeros(10, dtype=np.bool_)
    assert np.isnan(count_ranges(nothing, ~nothing).f1)
    assert count_ranges(~nothing, nothing).f1 == 0
    assert np.isnan(RangeCounts().f1)


def test_an_alarm_in_pieces_is_worth_less_than_one() -> None:
    labels = np.ones(100, dtype=np.bool_)
    whole = np.arange(100) < 50
    pieces = np.arange(100) % 2 == 0
    assert count_ranges(labels, whole).recall_sum == 0.75
    assert count_ranges(labels, pieces).recall_sum == pytest.approx(0.5 + 0.25 / 50)


def test_a_run_is_judged_in_milliseconds() -> None:
    labels = np.arange(1200) // 100 == 5
    widened = Widened(labels)
    scores = np.random.default_rng(1).random(1200)
    took_s = []
    for _ in range(5):
        began_s = time.perf_counter()
        widened.vus_pr(scores)
        took_s.append(time.perf_counter() - began_s)
    assert min(took_s) < 0.1
