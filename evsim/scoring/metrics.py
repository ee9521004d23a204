"""What the alarms of a detector are worth, by the labels: nothing here is accuracy.

A label is found if an alarm is on, or begins, between its start and GRACE_S after its end. An alarm
is true if it finds a label; any other is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np

from evsim.labels import Label
from evsim.scoring.ranges import RangeCounts
from evsim.scoring.running import FLEET, Alarm

#: What follows an anomaly, a drift that leaps back for instance, may be what gives it away.
GRACE_S = 30.0
#: Of the interval that a bootstrap gives.
CONFIDENCE = 0.95
RESAMPLES = 1000


@dataclass(frozen=True)
class Found:
    """One label, and how long after its start the first alarm began, s; None: it was missed."""

    label: Label
    delay_s: float | None

    @property
    def visible(self) -> bool:
        """Whether the label says that there was anything to see."""
        return self.label.effect_start_s is not None


@dataclass(frozen=True)
class Outcome:
    """What one detector brought on one run.

    `vus_pr` is NaN for a run without a visible label.
    """

    found: tuple[Found, ...]
    true_alarms: int
    false_alarms: tuple[Alarm, ...]
    hours: float
    vus_pr: float = float("nan")
    ranges: RangeCounts = field(default_factory=RangeCounts)
    events: int = 0
    #: Processor time, that of handing events on included, s.
    took_s: float = 0.0


def judge(labels: Sequence[Label], alarms: Sequence[Alarm], hours: float) -> Outcome:
    """Compare the alarms of one detector on one run with the run's labels.

    :param hours: of the run, times its charge points.
    """
    found, true = [], set()
    for label in labels:
        fitting = [a for a in alarms if _fits(label, a)]
        true.update(fitting)
        delays_s = [max(0.0, a.start_s - label.t_start_s) for a in fitting]
        found.append(Found(label, min(delays_s, default=None)))
    false = tuple(a for a in alarms if a not in true)
    return Outcome(tuple(found), len(true), false, hours)


def _fits(label: Label, alarm: Alarm) -> bool:
    its_own = alarm.charge_point == FLEET or alarm.charge_point in label.targets
    return its_own and alarm.start_s <= label.t_end_s + GRACE_S and alarm.end_s >= label.t_start_s


@dataclass
class Score:
    """What a detector brought on many runs."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def visible(self) -> list[Found]:
        """The labels whose effect could be seen."""
        return [found for outcome in self.outcomes for found in outcome.found if found.visible]

    @property
    def recall(self) -> float:
        """The share of the visible labels that were found; NaN without any."""
        visible = self.visible
        if not visible:
            return float("nan")
        return sum(found.delay_s is not None for found in visible) / len(visible)

    @property
    def precision(self) -> float:
        """The share of the alarms that were true; NaN without any."""
        true = sum(outcome.true_alarms for outcome in self.outcomes)
        every = true + sum(len(outcome.false_alarms) for outcome in self.outcomes)
        return true / every if every else float("nan")

    @property
    def f1(self) -> float:
        """The harmonic mean of recall and precision; NaN where one of them is."""
        both = self.recall + self.precision
        return 2 * self.recall * self.precision / both if both else 0.0

    @property
    def delays_s(self) -> list[float]:
        """How long the found visible labels waited, s."""
        return [found.delay_s for found in self.visible if found.delay_s is not None]

    @property
    def false_alarms_per_hour(self) -> float:
        """False alarms per hour and charge point; NaN without any run."""
        hours = sum(outcome.hours for outcome in self.outcomes)
        false = sum(len(outcome.false_alarms) for outcome in self.outcomes)
        return false / hours if hours else float("nan")

    @property
    def vus_pr(self) -> float:
        """The mean over the runs with a visible label; NaN without any."""
        volumes = [o.vus_pr for o in self.outcomes if not np.isnan(o.vus_pr)]
        return float(np.mean(volumes)) if volumes else float("nan")

    @property
    def range_f1(self) -> float:
        """Of all runs as if they were one; NaN without any visible label."""
        return reduce(add, (outcome.ranges for outcome in self.outcomes), RangeCounts()).f1

    @property
    def us_per_event(self) -> float:
        """Processor time for each event, µs; NaN without any."""
        events = sum(outcome.events for outcome in self.outcomes)
        took_s = sum(outcome.took_s for outcome in self.outcomes)
        return 1e6 * took_s / events if events else float("nan")

    def recall_interval(self, seed: int = 0) -> tuple[float, float]:
        """Give the bootstrap interval of the recall, resampling runs."""
        rng = np.random.default_rng(seed)
        hits = np.array(
            [
                [sum(f.visible and f.delay_s is not None for f in outcome.found),
                 sum(f.visible for f in outcome.found)]
                for outcome in self.outcomes
            ],
            dtype=float,
        )  # fmt: skip
        hits = hits[hits[:, 1] > 0] if len(hits) else hits
        if not len(hits):
            return float("nan"), float("nan")
        chosen = rng.integers(0, len(hits), (RESAMPLES, len(hits)))
        sums = hits[chosen].sum(axis=1)
        edges = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
        low, high = np.quantile(sums[:, 0] / sums[:, 1], edges)
        return float(low), float(high)


def percentile_s(delays_s: Sequence[float], percent: float) -> float:
    """Give a percentile of delays, s; NaN without any."""
    return float(np.percentile(delays_s, percent)) if delays_s else float("nan")
