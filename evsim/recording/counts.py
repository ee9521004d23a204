"""What is in a set: runs, hours, messages, frames, episodes, and where in time they lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.events import Kind
from evsim.labels import SEVERITIES, Label
from evsim.recording import layout
from evsim.recording.errors import RecordingError
from evsim.recording.loading import Run

#: The files of every run besides its CAN frames, whose name tells their format.
FILES = (layout.DBC, layout.OCPP, layout.SERIES, layout.LABELS, layout.TRACE, layout.INFO)


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The numbers of one run, for which its files need not be open any more."""

    name: str
    can_file: str
    seed: int
    plant: str
    benign: str
    anomaly: str
    severity: str
    duration_s: float
    messages: int
    frames: int
    labels: tuple[Label, ...]
    start_s: float
    versions: tuple[tuple[str, str], ...]

    @property
    def onsets(self) -> list[float]:
        """Where in the run its episodes begin, 0 to 1."""
        return [(one.t_start_s - self.start_s) / self.duration_s for one in self.labels]

    @property
    def active_s(self) -> float:
        """How long at least one anomaly was active."""
        return _covered_s((one.t_start_s, one.t_end_s) for one in self.labels)

    @property
    def visible_s(self) -> float:
        """How long at least one anomaly's effect was visible."""
        return _covered_s(
            (one.effect_start_s, one.effect_end_s)
            for one in self.labels
            if one.effect_start_s is not None and one.effect_end_s is not None
        )


@dataclass(slots=True)
class Sum:
    """The numbers of several runs together."""

    runs: int = 0
    seconds: float = 0.0
    messages: int = 0
    frames: int = 0
    episodes: int = 0
    visible_episodes: int = 0
    active_s: float = 0.0
    visible_s: float = 0.0
    by_severity: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SEVERITIES, 0))

    @property
    def hours(self) -> float:
        """The runs' length."""
        return self.seconds / 3600

    @property
    def density(self) -> float:
        """The share of time in which an anomaly was active."""
        return self.active_s / self.seconds if self.seconds else 0.0

    @property
    def visible_density(self) -> float:
        """The share of time in which an anomaly's effect was visible."""
        return self.visible_s / self.seconds if self.seconds else 0.0


def count(run: Run) -> RunCounts:
    """Count what a run has; RecordingError for what run.json lacks or a file that is gone."""
    path = run.directory / layout.INFO
    seed, duration_s = run.info.get("seed"), run.info.get("duration_s")
    if type(seed) is not int:
        raise RecordingError(path, f"'seed' is {seed!r}, not a whole number")
    if type(duration_s) not in (int, float) or not 0 < float(duration_s or 0) < math.inf:
        raise RecordingError(path, f"'duration_s' is {duration_s!r}, not a number above 0")
    if not run.info.get("plant"):
        raise RecordingError(path, "'plant' is missing")
    if not len(run.series["time"]):
        raise RecordingError(run.directory / layout.SERIES, "has no rows")
    can_file = layout.can_file((run.info.get("can") or {}).get("format", "log"))
    for name in (*FILES, can_file):
        if not (run.directory / name).is_file():
            raise RecordingError(run.directory / name, "the file is missing")
    anomaly = _words(run.info.get("anomaly"))
    return RunCounts(
        name=run.directory.name,
        can_file=can_file,
        seed=seed,
        plant=_words(run.info["plant"]),
        benign=_words(run.info.get("benign")),
        anomaly=anomaly,
        severity=_words(run.info.get("severity")) if anomaly else "",
        duration_s=float(duration_s or 0),
        messages=sum(event.kind is not Kind.LINK for event in run.ocpp),
        frames=len(run.can),
        labels=tuple(sorted(run.labels, key=lambda label: label.t_start_s)),
        start_s=start_s(run),
        versions=tuple(sorted((str(k), str(v)) for k, v in run.info.get("versions", {}).items())),
    )


def start_s(run: Run) -> float:
    """When the run's series begins, Unix s."""
    return float(run.series["time"][0])


def rows_by_charge_point(run: Run) -> dict[str, dict[str, NDArray[Any]]]:
    """Give each charge point's rows of the series, column by column."""
    charge_points = run.series["charge_point"]
    return {
        str(name): {column: values[charge_points == name] for column, values in run.series.items()}
        for name in np.unique(charge_points)
    }


def total(runs: Iterable[RunCounts]) -> Sum:
    """Add runs up."""
    numbers = Sum()
    for run in runs:
        numbers.runs += 1
        numbers.seconds += run.duration_s
        numbers.messages += run.messages
        numbers.frames += run.frames
        numbers.episodes += len(run.labels)
        numbers.visible_episodes += sum(one.effect_start_s is not None for one in run.labels)
        numbers.active_s += run.active_s
        numbers.visible_s += run.visible_s
        if run.severity in numbers.by_severity:
            numbers.by_severity[run.severity] += 1
    return numbers


def deciles(shares: Sequence[float]) -> list[int]:
    """Count how many shares, 0 to 1, lie in each tenth."""
    counts = [0] * 10
    for share in shares:
        counts[min(9, max(0, int(share * 10)))] += 1
    return counts


def _covered_s(spans: Iterable[tuple[float, float]]) -> float:
    covered_s = 0.0
    last_end = float("-inf")
    for start_s, end_s in sorted(spans):
        covered_s += max(0.0, end_s - max(start_s, last_end))
        last_end = max(last_end, end_s)
    return covered_s


def _words(value: object) -> str:
    """Write a name or a list of names; None is none."""
    if isinstance(value, list):
        return ";".join(map(str, value))
    return "" if value is None else str(value)
