"""How well scores per second fit labels that are intervals: VUS-PR and range-F1.

VUS-PR: Paparrizos et al., "Volume Under the Surface", PVLDB 15(11), 2022. The labels are widened by
slopes that fade within `buffer // 2` seconds on each side; for each buffer from 0 to the most there
is a precision-recall curve, whose recall counts only the share of intervals that are found at all;
the measure is the mean of the areas. It asks for no threshold.

Range-F1: Tatbul et al., "Precision and Recall for Time Series", NeurIPS 2018, with flat bias,
reciprocal cardinality, and half of an interval's recall for finding it at all: what the paper calls
alpha, and aeon's default. It judges alarms, not scores.

Both agree with aeon's to 1e-6 wherever the scores are not all the same. Where they are, aeon gives
0 and a warning; here a score that ranks nothing has the area that chance has, the share of the
labels, and an alarm that is always on is judged as any other.

A curve joins its points by straight lines, so a score that only knows 0 and 1 is flattered: one
that is on for a tenth of the label, and never else, has about 0.5. Compare alike with alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: The widest buffer, s: TSB-AD's length for series that have no period of their own.
MOST_BUFFER_S = 100
#: Thresholds on a curve, as the authors have it.
THRESHOLDS = 250
#: Of an interval's recall, the share that it gets for being found at all.
EXISTENCE = 0.5


def intervals(flags: Flags) -> NDArray[np.int64]:
    """Give first and last index of each run of true flags, shape (n, 2)."""
    steps = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1], axis=1)


class Widened:
    """The labels of a series for all buffers: made once for all the scores of the series.

    :param labels: whether each second is in a label, shape (n,), some of them true.
    """

    def __init__(self, labels: Flags, most_buffer_s: int = MOST_BUFFER_S) -> None:
        self.labels = labels
        count = len(labels)
        self._weights = np.empty((most_buffer_s + 1, count))
        #: For each buffer where its intervals begin and end.
        self._bounds: list[NDArray[np.int64]] = []
        found = intervals(labels)
        for buffer_s in range(most_buffer_s + 1):
            weights = self._weights[buffer_s]
            weights[:] = labels
            slope_s = buffer_s // 2 if buffer_s > 1 else 0
            for first, last in found:
                after = np.arange(last, min(last + slope_s, count))
                weights[after] += np.sqrt(1 - (after - last) / max(1, buffer_s))
                before = np.arange(max(first - slope_s, 0), first)
                weights[before] += np.sqrt(1 - (first - before) / max(1, buffer_s))
            np.minimum(weights, 1.0, out=weights)
            self._bounds.append(intervals(weights > 0))
        # The authors weigh recall with a number of positives between the plain and the widened.
        self._positives = (labels.sum() + self._weights.sum(axis=1)) / 2

    @cached_property
    def chance(self) -> float:
        """What scores that have nothing to do with the labels come to: the labels' share."""
        return float(self._weights.mean())

    def vus_pr(self, scores: Numbers) -> float:
        """Give the volume under the surface of a score for each second, 0 to 1."""
        if np.ptp(scores) == 0:
            return self.chance
        count = len(scores)
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        thresholds = falling[np.linspace(0, count - 1, THRESHOLDS, dtype=np.intp)]
        thresholds = np.concatenate(
            [thresholds[:1], thresholds[1:][np.diff(thresholds) != 0]]
        )  # the same threshold again adds no area
        predicted = np.searchsorted(-falling, -thresholds, side="right")
        true = np.cumsum(self._weights[:, order], axis=1)[:, predicted - 1]
        recalls = np.minimum(true / self._positives[:, None], 1.0) * self._found(scores, thresholds)
        precisions = true / predicted
        nothing, everything = np.zeros((len(true), 1)), np.ones((len(true), 1))
        gained = np.diff(np.concatenate([nothing, recalls], axis=1), axis=1)
        before = np.concatenate([everything, precisions[:, :-1]], axis=1)
        return float(np.mean(np.sum(gained * (precisions + before) / 2, axis=1)))

    def _found(self, scores: Numbers, thresholds: Numbers) -> Numbers:
        """Give the share of intervals that reach a threshold, shape (buffers, thresholds)."""
        shares = np.empty((len(self._bounds), len(thresholds)))
        for number, bounds in enumerate(self._bounds):
            highest = np.array([scores[first : last + 1].max() for first, last in bounds])
            shares[number] = (highest[:, None] >= thresholds).mean(axis=0)
        return shares


@dataclass(frozen=True)
class RangeCounts:
    """Rewards of a series' intervals; the sums of several series are those of all in one."""

    predicted: int = 0
    precision_sum: float = 0.0
    real: int = 0
    recall_sum: float = 0.0

    def __add__(self, other: RangeCounts) -> RangeCounts:
        return RangeCounts(
            self.predicted + other.predicted,
            self.precision_sum + other.precision_sum,
            self.real + other.real,
            self.recall_sum + other.recall_sum,
        )

    @property
    def f1(self) -> float:
        """The harmonic mean of both; 0 where nothing was predicted; NaN without any label."""
        if not self.real:
            return float("nan")
        precision = self.precision_sum / self.predicted if self.predicted else 0.0
        recall = self.recall_sum / self.real
        both = precision + recall
        return 2 * precision * recall / both if both else 0.0


def count_ranges(labels: Flags, alarms: Flags) -> RangeCounts:
    """Compare the intervals of labels with those of alarms, second by second."""
    real, predicted = intervals(labels), intervals(alarms)
    return RangeCounts(
        predicted=len(predicted),
        precision_sum=sum(_overlap(one, real, 0.0) for one in predicted),
        real=len(real),
        recall_sum=sum(_overlap(one, predicted, EXISTENCE) for one in real),
    )


def _overlap(
    one: Sequence[int] | NDArray[np.int64], others: NDArray[np.int64], existence: float
) -> float:
    """Give the reward of an interval: how much of it the others cover, less if they are many."""
    shared = np.minimum(one[1], others[:, 1]) - np.maximum(one[0], others[:, 0]) + 1
    shared = shared[shared > 0]
    if not len(shared):
        return 0.0
    covered = shared.sum() / (one[1] - one[0] + 1)
    return float(existence + (1 - existence) * covered / len(shared))
