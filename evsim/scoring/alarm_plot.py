"""A picture of a log for a page or a paper: the current, the commands, and the alarms.

It is gathered while the log streams by, in memory that does not grow with it: what lies close
together becomes the span between its least and its greatest value.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evsim.detectors.signals import call, current_a, limit_a, meter
from evsim.events import Direction, Event
from evsim.scoring.running import FLEET, Alarm

WIDTH_IN = 9.0
CURRENT_IN, ROW_IN, LINE_IN, MARGIN_IN = 3.0, 0.24, 0.2, 1.1
DPI = 200
#: More points than that are not seen in a picture so wide.
MOST_POINTS = 2000
#: A line of a current ends where nothing was heard for so long.
SILENCE_S = 5.0
#: So many charge points are drawn; so many have a colour and a name of their own.
MOST_DRAWN, MOST_NAMED = 12, 5
#: So many alarms are listed below the picture, each in so many letters.
MOST_LISTED, LETTERS = 6, 128

BLUE, ORANGE, RED, GREY, BLACK = "#1f6fb4", "#d9822b", "#d0021b", "#5f6b76", "#1c2126"
COLOURS = (BLUE, "#2d7d46", "#7b4fa3", "#a0522d", "#0f8b8d")
#: The commands that have a row of their own, from top to bottom.
COMMANDS = ("SetChargingProfile", "RemoteStartTransaction", "RemoteStopTransaction")
OTHERS = "other commands"
UNITS = ((7200.0, 3600.0, "h"), (600.0, 60.0, "min"), (0.0, 1.0, "s"))


class Point(NamedTuple):
    """A value and its time."""

    time_s: float
    value: float


class Curve:
    """Values over time, of which no more than about twice MOST_POINTS are kept."""

    def __init__(self, width_s: float = 0.5) -> None:
        self.width_s = width_s
        self._bins: dict[int, tuple[Point, Point, Point]] = {}  # least, greatest, last

    def add(self, time_s: float, value: float) -> None:
        """Take a value."""
        self._put(math.floor(time_s / self.width_s), *(Point(time_s, value),) * 3)
        if len(self._bins) > MOST_POINTS:
            bins, self._bins = self._bins, {}
            self.width_s *= 2
            for number, points in bins.items():
                self._put(number // 2, *points)

    def _put(self, number: int, least: Point, greatest: Point, last: Point) -> None:
        known = self._bins.get(number)
        if known is not None:
            least = min(known[0], least, key=lambda point: point.value)
            greatest = max(known[1], greatest, key=lambda point: point.value)
            last = max(known[2], last)
        self._bins[number] = (least, greatest, last)

    def points(self) -> list[Point]:
        """Give them in order of time."""
        return sorted({point for points in self._bins.values() for point in points})

    def __len__(self) -> int:
        return len(self._bins)


class AlarmPlot:
    """Takes the events of a log, then draws them with the alarms that were raised."""

    def __init__(self) -> None:
        self._currents: dict[str, Curve] = {}
        self._limits: dict[str, Curve] = {}
        self._meters: dict[str, Curve] = {}
        self._commands: dict[str, Curve] = {}
        self._more = False
        self._from_s, self._to_s = math.inf, -math.inf

    def observe(self, event: Event) -> None:
        """Take an event."""
        self._from_s, self._to_s = min(self._from_s, event.time_s), max(self._to_s, event.time_s)
        measured_a = current_a(event)
        if measured_a is not None:
            self._take(self._currents, event, event.time_s, measured_a)
            return
        told_a = limit_a(event)
        if told_a is not None:
            self._take(self._limits, event, event.time_s, told_a)
            return
        command = call(event, Direction.TO_CHARGE_POINT)
        if command is not None:
            row = command.action if command.action in COMMANDS else OTHERS
            self._commands.setdefault(row, Curve()).add(event.time_s, 0.0)
            return
        values = meter(event)
        if values is not None and values.current_a is not None:
            self._take(self._meters, event, event.time_s, values.current_a)

    def _take(self, curves: dict[str, Curve], event: Event, time_s: float, value: float) -> None:
        curve = curves.get(event.charge_point)
        if curve is None:
            if len(curves) >= MOST_DRAWN:
                self._more = True
                return
            curve = curves[event.charge_point] = Curve()
        curve.add(time_s, value)

    # ── Drawing ──────────────────────────────────────────────────────────────────────────────

    def draw(self, alarms: Sequence[Alarm], title: str) -> Figure:
        """Draw what was taken; `alarms` in order of time."""
        detectors = sorted({alarm.detector for alarm in alarms}) or ["no alarm"]
        commands = [row for row in (*COMMANDS, OTHERS) if row in self._commands]
        listed = self._listed(alarms)
        heights = [CURRENT_IN, *([_rows_in(commands)] if commands else []), _rows_in(detectors)]
        text_in = LINE_IN * len(listed) + 0.1 * bool(listed)
        height_in = sum(heights) + text_in + MARGIN_IN
        figure = Figure((WIDTH_IN, height_in), layout="constrained")
        figure.get_layout_engine().set(rect=(0, text_in / height_in, 1, 1 - text_in / height_in))  # type: ignore[union-attr,call-arg]
        panels = list(
            figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        )
        at = self._axis(panels[-1])
        self._draw_currents(panels[0], at)
        if commands:
            for number, row in enumerate(commands):
                times = [at(point.time_s) for point in self._commands[row].points()]
                panels[1].plot(times, [number] * len(times), "|", color=BLACK, markersize=8)
            _name_rows(panels[1], commands)
        for number, name in enumerate(detectors):
            own = _together(alarm for alarm in alarms if alarm.detector == name)
            bars = [(at(start_s), at(end_s) - at(start_s)) for start_s, end_s in own]
            panels[-1].broken_barh(bars, (number - 0.3, 0.6), color=RED, linewidth=0.8)
        for start_s, end_s in _together(alarms):
            for axes in panels[:-1]:
                axes.axvspan(at(start_s), at(end_s), color=RED, alpha=0.1, linewidth=0)
        _name_rows(panels[-1], detectors)
        panels[0].set_title(title, loc="left", fontsize=11, fontweight="bold")
        for number, line in enumerate(listed):
            y = (text_in - LINE_IN * (number + 0.7)) / height_in
            figure.text(0.012, y, line, fontsize=7.5, color=BLACK if number else RED)
        return figure

    def _axis(self, lowest: Axes) -> Callable[[float], float]:
        """Set up the axis of time; give the place of a time on it."""
        from_s, to_s = math.floor(self._from_s), self._to_s
        span_s = max(1.0, to_s - from_s)
        scale_s, unit = next((s, unit) for least_s, s, unit in UNITS if span_s >= least_s)
        begin = datetime.fromtimestamp(from_s, UTC)
        lowest.set_xlabel(f"time since {begin:%Y-%m-%d %H:%M:%S} UTC [{unit}]")
        lowest.set_xlim(0, span_s / scale_s)
        lowest.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 2.5, 5, 10]))
        return lambda time_s: (time_s - from_s) / scale_s

    def _draw_currents(self, axes: Axes, at: Callable[[float], float]) -> None:
        highest_a = 0.0
        alone = len(self._currents) <= 1
        if alone:
            for curve in list(self._limits.values())[:1]:
                points = curve.points()
                points.append(Point(self._to_s, points[-1].value))  # until there is another one
                highest_a = max(point.value for point in points)
                axes.step(*_placed(points, at), "--", where="post", color=GREY, linewidth=1.1,
                          label="limit (CAN)")  # fmt: skip
            for curve in list(self._meters.values())[:1]:
                points = curve.points()
                highest_a = max(highest_a, *(point.value for point in points))
                axes.plot(*_placed(points, at), ".", color=ORANGE, markersize=4,
                          label="meter (OCPP)")  # fmt: skip
        named = len(self._currents) <= MOST_NAMED
        for number, (name, curve) in enumerate(sorted(self._currents.items())):
            points = _with_silence(curve)
            highest_a = max([highest_a, *(p.value for p in points if not math.isnan(p.value))])
            axes.plot(
                *_placed(points, at),
                color=COLOURS[number] if named else BLUE,
                linewidth=1.3 if named else 0.8,
                alpha=1.0 if named else 0.5,
                label=self._label(name, number),
            )
        if not self._currents:
            axes.text(
                0.5, 0.5, "no current in this log", ha="center", color=GREY,
                transform=axes.transAxes,
            )  # fmt: skip
        axes.set_ylim(0, (highest_a or 1.0) * 1.08)
        axes.set_ylabel("current [A]")
        axes.grid(color="#dfe4e8", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(
                loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=6, fontsize=8.5, frameon=False,
                borderpad=0.2, handlelength=1.6,
            )  # fmt: skip

    def _label(self, name: str, number: int) -> str | None:
        count = len(self._currents)
        if count == 1:
            return f"current of {name} (CAN)"
        if count <= MOST_NAMED:
            return name
        first = f"the first {count}" if self._more else f"{count}"
        return f"currents of {first} charge points (CAN)" if number == 0 else None

    def _listed(self, alarms: Sequence[Alarm]) -> list[str]:
        """Tell the first alarms in words."""
        if not alarms:
            return []
        more = f", the first {MOST_LISTED}" if len(alarms) > MOST_LISTED else ""
        lines = [f"{len(alarms)} alarm{'s' * (len(alarms) > 1)}{more}:"]
        for alarm in alarms[:MOST_LISTED]:
            begin = datetime.fromtimestamp(alarm.start_s, UTC)
            who = "" if alarm.charge_point == FLEET else f"{alarm.charge_point}  "
            text = f"{begin:%H:%M:%S}  {who}{alarm.detector}: {alarm.reason}"
            # Matplotlib would take a pair of $ for a formula.
            lines.append(textwrap.shorten(text, LETTERS, placeholder=" …").replace("$", r"\$"))
        return lines


def _placed(
    points: Sequence[Point], at: Callable[[float], float]
) -> tuple[list[float], list[float]]:
    return [at(point.time_s) for point in points], [point.value for point in points]


def _together(alarms: Iterable[Alarm]) -> list[tuple[float, float]]:
    """Give from when to when any of the alarms is on."""
    spans: list[tuple[float, float]] = []
    for start_s, end_s in sorted((alarm.start_s, alarm.end_s) for alarm in alarms):
        if spans and start_s <= spans[-1][1]:
            start_s, before_s = spans.pop()
            end_s = max(end_s, before_s)
        spans.append((start_s, end_s))
    return spans


def _rows_in(rows: Sequence[str]) -> float:
    return ROW_IN * (len(rows) + 0.4)


def _name_rows(axes: Axes, rows: Iterable[str]) -> None:
    names = list(rows)
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dfe4e8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _with_silence(curve: Curve) -> list[Point]:
    """Give the points of a curve, with NaN where nothing was heard."""
    points: list[Point] = []
    for point in curve.points():
        if points and point.time_s - points[-1].time_s > max(SILENCE_S, 3 * curve.width_s):
            points.append(Point(points[-1].time_s, math.nan))
        points.append(point)
    return points
