"""Runs detectors over a stream of events: a score each second, and alarms with their reasons."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evsim.detectors.base import ALARM, Detector
from evsim.detectors.combined import MOST_CHARGE_POINTS
from evsim.errors import UserError
from evsim.events import JITTER_S, Event

#: A detector is asked for its score this often.
STEP_S = 1.0
#: A stream that leaps further begins anew: nobody wants a score for each second of a year.
LONGEST_GAP_S = 86_400.0
#: Who all charge points are, to a detector of fleets.
FLEET = "*"


log = logging.getLogger("evsim.scoring")


class GapError(UserError):
    """The events leap in time."""


@dataclass(frozen=True)
class Alarm:
    """An alarm from its beginning to its end, Unix s; `charge_point` is "*" for all."""

    detector: str
    charge_point: str
    start_s: float
    end_s: float
    reason: str


@dataclass
class _Track:
    """One detector with one charge point."""

    detector: Detector
    charge_point: str
    scores: list[float] = field(default_factory=list)
    start_s: float | None = None
    reason: str = ""


class Runner:
    """Feeds detectors and collects what they say.

    An event that lies up to JITTER_S before the last one counts as of the same time. Where the
    stream leaps, further back or more than a day ahead, what was seen before explains nothing of
    what comes: all alarms end and the detectors begin anew.

    :param factories: make a detector for each charge point, or one for all if it is of a fleet.
    :param keep_scores: keep the score of each second, which a stream without leaps alone has.
    :param on_alarm: called when an alarm begins, with its end still infinite.
    """

    def __init__(
        self,
        factories: Mapping[str, Callable[[], Detector]],
        *,
        keep_scores: bool = True,
        on_alarm: Callable[[Alarm], None] | None = None,
    ) -> None:
        self._keep_scores, self._on_alarm = keep_scores, on_alarm
        self._single = {}
        self._tracks: dict[str, list[_Track]] = {}
        self._fleet: list[_Track] = []
        for name, make in factories.items():
            detector = make()
            if detector.fleet:
                self._fleet.append(_Track(detector, FLEET))
            else:
                self._single[name] = make
        self.begin_s: float | None = None
        self._next_s = math.inf
        self._last_s = -math.inf
        self.alarms: list[Alarm] = []

    @property
    def scores(self) -> dict[tuple[str, str], list[float]]:
        """The scores by (detector, charge point); the first is that of `begin_s` + 1 s."""
        return {(t.detector.name, t.charge_point): t.scores for t in self._all()}

    def highest_scores(self) -> NDArray[np.float64]:
        """Give for each second the highest score of all charge points."""
        highest: NDArray[np.float64] = np.max(
            [track.scores for track in self._all()], axis=0, initial=0.0
        )
        return highest

    def _all(self) -> Iterator[_Track]:
        for tracks in self._tracks.values():
            yield from tracks
        yield from self._fleet

    def know(self, charge_point: str) -> None:
        """Watch over a charge point, also before it has said anything."""
        if charge_point not in self._tracks:
            self._tracks[charge_point] = [
                _Track(make(), charge_point, [0.0] * self._steps())
                for make in self._single.values()
            ]

    def _steps(self) -> int:
        if self.begin_s is None or not self._keep_scores:
            return 0
        return round((self._next_s - self.begin_s) / STEP_S) - 1

    def observe(self, event: Event) -> None:
        """Take an event; GapError where the events leap, if scores are kept."""
        time_s = event.time_s
        if not math.isfinite(time_s):
            return
        if self.begin_s is None:
            self.begin(math.floor(time_s))
        elif time_s < self._last_s:
            if time_s < self._last_s - JITTER_S:
                self._leap(time_s)
            else:
                time_s = self._last_s
                event = event._replace(time_s=time_s)
        self.advance(time_s)
        self._last_s = time_s
        if event.charge_point not in self._tracks:
            if len(self._tracks) >= MOST_CHARGE_POINTS:
                return
            self.know(event.charge_point)
        for track in self._tracks[event.charge_point]:
            track.detector.observe(event)
        for track in self._fleet:
            track.detector.observe(event)

    def _leap(self, time_s: float) -> None:
        """Begin anew at `time_s`."""
        step_s = time_s - self._last_s
        leap = "leap by" if step_s > 0 else "leap back by"
        far = f"{abs(step_s):.1f} s" if abs(step_s) < 7200 else f"{abs(step_s) / 3600:.0f} h"
        if self._keep_scores:
            raise GapError(f"the events {leap} {far}")
        log.warning("the events %s %s: the detectors begin anew", leap, far)
        self.finish()
        for track in self._all():
            track.detector.reset()
        self._next_s = math.floor(time_s) + STEP_S
        self._last_s = time_s

    def begin(self, time_s: float) -> None:
        """Let the first second begin."""
        self.begin_s, self._next_s, self._last_s = time_s, time_s + STEP_S, time_s

    def advance(self, time_s: float) -> None:
        """Ask for the scores of the seconds that are over at `time_s`."""
        if time_s - self._next_s > LONGEST_GAP_S:
            self._leap(time_s)
        while self._next_s <= time_s:
            for track in self._all():
                self._ask(track, self._next_s)
            self._next_s += STEP_S

    def _ask(self, track: _Track, time_s: float) -> None:
        score = track.detector.score_at(time_s)
        if self._keep_scores:
            track.scores.append(score)
        if score >= ALARM and track.start_s is None:
            track.start_s = time_s
            track.reason = track.detector.reason_at(time_s) or ""
            if self._on_alarm is not None:
                self._on_alarm(self._alarm(track, track.start_s, math.inf))
        elif score < ALARM and track.start_s is not None:
            self.alarms.append(self._alarm(track, track.start_s, time_s))
            track.start_s = None

    @staticmethod
    def _alarm(track: _Track, start_s: float, end_s: float) -> Alarm:
        return Alarm(track.detector.name, track.charge_point, start_s, end_s, track.reason)

    def finish(self, time_s: float | None = None) -> None:
        """End at `time_s`, and all alarms with it."""
        if self.begin_s is None:
            return
        if time_s is not None:
            self.advance(time_s)
        for track in self._all():
            if track.start_s is not None:
                self.alarms.append(self._alarm(track, track.start_s, self._next_s - STEP_S))
                track.start_s = None
        self.alarms.sort(key=lambda alarm: (alarm.start_s, alarm.detector, alarm.charge_point))


def run_detectors(
    events: Iterable[Event], factories: Mapping[str, Callable[[], Detector]]
) -> Runner:
    """Run detectors over all events."""
    runner = Runner(factories)
    for event in events:
        runner.observe(event)
    runner.finish()
    return runner
