#!/usr/bin/env python3
"""A live plot of the charger's current that says when something is wrong with it.

It reads nothing but CAN frame 0x300, the measured current. It opens a window; with --web, or where
there is no display, it is a page for a browser on this machine. With --save nobody need look: it
writes the picture when --duration is over or when it is stopped.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import logging
import math
import sys
import textwrap
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from evsim import console
from evsim.alarm_list import AlarmList
from evsim.bus import add_bus_arguments, open_bus
from evsim.can_node import CanNode
from evsim.clock import utc_now
from evsim.detectors import DEFAULT, DETECTORS, Detector
from evsim.detectors.turning_points import Reversal, TurningPointsDetector
from evsim.events import CanEvent
from evsim.figure_page import DEFAULT_PORT, FigurePage
from evsim.figure_window import Nowhere, NoWindowError, View, Window
from evsim.frames import Frame, MeasuredCurrent, encode
from evsim.picture_file import FORMATS, check_writable, picture_path, save

# ── Edit me ──────────────────────────────────────────────────────────────────────────────────

WINDOW_S = 60.0  # how much of the past the plot shows
TOP_A = 110.0  # top of the y axis, unless the current is higher
REDRAW_S = 1.0  # how often animate() is called
NO_DATA_AFTER_S = 3.0  # three frames missed

# ANOMALY DETECTED from so many reversals of the current, each of HYSTERESIS_A or more.
REVERSALS = 5
HYSTERESIS_A = 5.0
ALARM_WINDOW_S = 60.0
QUICK_REVERSALS = 3  # or from so many in this shorter time: up and down twice
QUICK_WINDOW_S = 12.0

LAST_ALARMS = 3  # so many are listed below the plot
TITLE = "Charging current"
SIZE_IN = (9.0, 5.6)
SAVED_DPI = 200
BLUE = "#1f6fb4"
RED = "#d0021b"
GREY = "#5f6b76"
BLACK = "#1c2126"

#: Those that need nothing but the measured current; --detector takes one of them.
DETECTORS_OF_CURRENT = (DEFAULT, "rainflow", "spectral", "plateau", "last_ten")
#: On a bus flooded with 0x300 the plot shows no more samples than this: bounds memory and drawing,
#: and the detector is asked no more often than this.
MOST_SAMPLES = 5_000
LEAST_LOOK_S = 0.1
#: Letters that have room: in the header a line has so many, of two; in the list.
LETTERS_IN_HEADER = 50
LETTERS_IN_LIST = 76

log = logging.getLogger("evsim.plot_current")


def make_detector(name: str) -> Detector:
    """Make the detector `name`, the default one with the numbers above."""
    if name == TurningPointsDetector.name:
        return TurningPointsDetector(
            reversals=REVERSALS,
            hysteresis_a=HYSTERESIS_A,
            window_s=ALARM_WINDOW_S,
            quick_reversals=QUICK_REVERSALS,
            quick_window_s=QUICK_WINDOW_S,
        )
    return DETECTORS[name]()


class Trace:
    """What 0x300 said in the last WINDOW_S seconds, and the detector that listens in.

    All times are seconds since the start, on a clock that does not go back.

    :param began_at: the start by the wall clock, for the list of alarms.
    """

    def __init__(self, detector: str = DEFAULT, began_at: datetime | None = None) -> None:
        self.samples: deque[tuple[float, float]] = deque(maxlen=MOST_SAMPLES)
        self.detector = make_detector(detector)
        self.alarms = AlarmList()
        self.began_at = began_at or utc_now()
        self.heard_s = 0.0
        self._looked_s = -math.inf

    def add(self, time_s: float, current_a: int) -> None:
        """Take a sample."""
        if self.samples and self.is_silent_at(time_s):
            self.samples.append((time_s, math.nan))  # breaks the line: nobody knows what flowed
        self.samples.append((time_s, current_a))
        # The newest sample to the left of the window stays: the line enters from there.
        while self.samples[0][0] < time_s - WINDOW_S and self.samples[1][0] <= time_s - WINDOW_S:
            self.samples.popleft()
        self.detector.observe(CanEvent(time_s, "CAN", encode(MeasuredCurrent(current_a))))
        self.heard_s = time_s
        if time_s >= self._looked_s + LEAST_LOOK_S:
            self.look(time_s)

    def look(self, now_s: float) -> str | None:
        """Ask the detector for the reason of its alarm, and take note of it in the list."""
        reason = self.detector.reason_at(now_s)
        self.alarms.look(now_s, reason)
        self._looked_s = now_s
        return reason

    def is_silent_at(self, now_s: float) -> bool:
        """Tell whether the last NO_DATA_AFTER_S brought nothing."""
        return now_s - self.heard_s >= NO_DATA_AFTER_S

    def reversals_at(self, now_s: float) -> list[Reversal]:
        """Return the reversals that count at `now_s`; none if the detector counts others."""
        if isinstance(self.detector, TurningPointsDetector):
            return self.detector.reversals_at(now_s)
        return []


class Picture:
    """The artists on a figure, in a window or not; animate() says what they show.

    What animate() changes from second to second is in `changing`. What is not there may be changed
    as well, but then the whole figure is drawn, which costs more.
    """

    def __init__(self, figure: Figure, detector: str = DEFAULT) -> None:
        self.figure = figure
        self.axes = axes = figure.add_axes((0.09, 0.3, 0.87, 0.535))
        axes.set(ylabel="Current (A)", ylim=(0, TOP_A))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
        axes.ticklabel_format(style="plain", useOffset=False)
        axes.grid(color="#dfe4e8", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        (self.line,) = axes.plot([], [], color=BLUE, linewidth=2.0, zorder=3)
        self.area = axes.fill_between([0.0], [0.0], color=BLUE, alpha=0.18, linewidth=0)
        # While an alarm is on: from the bottom of the axes to the top.
        self.spans = axes.fill_between(
            [0.0], [0.0], color=RED, alpha=0.13, linewidth=0, label="alarm",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
        (self.reversals,) = axes.plot(
            [], [], "o", color=BLACK, markerfacecolor="white", markersize=6.5,
            markeredgewidth=1.4, zorder=4, clip_on=False, label="reversal that counts",
        )  # fmt: skip
        explained: list[Artist] = [self.reversals] if detector == DEFAULT else []
        figure.legend(
            handles=[*explained, self.spans], loc="upper right", bbox_to_anchor=(0.96, 0.243),
            ncols=2, frameon=False, fontsize=9, borderpad=0, borderaxespad=0,
            handletextpad=0.5, columnspacing=1.5,
        )  # fmt: skip

        # Not the axis's own label, which would be drawn anew with the ticks.
        self._text(0.525, 0.2305, "Time since start (s)", ha="center", size=10)
        # The header, above the axes so that it never hides the line.
        self._text(0.09, 0.94, TITLE, size=15, weight="bold")
        self._text(0.09, 0.888, "CAN frame 0x300", size=10, color=GREY)
        self.value = self._text(0.96, 0.917, ha="right", size=23, weight="bold")
        self.indicator = self._text(
            0.56, 0.945, "ANOMALY DETECTED", ha="center", size=14, weight="bold", color="white",
            bbox={"boxstyle": "round,pad=0.35", "fc": RED, "ec": RED},
        )  # fmt: skip
        self.reason = self._text(0.56, 0.903, ha="center", va="top", size=10, color=RED)
        # The last alarms, below the axes, in three columns.
        self._text(0.09, 0.175, f"Last alarms of {detector}", size=10, weight="bold")
        self.listed = [
            self._text(x, 0.148, va="top", size=10, color=color)
            for x, color in ((0.09, GREY), (0.185, BLACK), (0.345, BLACK))
        ]
        self.changing: list[Artist] = [
            axes.xaxis, *axes.spines.values(), self.line, self.area, self.spans, self.reversals,
            self.value, self.reason,
        ]  # fmt: skip

    def _text(self, x: float, y: float, words: str = "", **style: Any) -> Text:
        # In the axes, not in the figure: a figure's own texts are not saved if they are in
        # `changing`.
        place = {"transform": self.figure.transFigure, "va": "center", **style}
        return self.axes.text(x, y, words, **place)


def animate(picture: Picture, trace: Trace, now_s: float) -> None:
    """Redraw: show the trace as it is at `now_s`. Called every REDRAW_S. Edit me, too."""
    times_s = [time_s for time_s, _ in trace.samples]
    currents_a = [current_a for _, current_a in trace.samples]
    picture.line.set_data(times_s, currents_a)
    picture.area.set_data(times_s, 0, currents_a)

    left_s = max(0.0, now_s - WINDOW_S)
    picture.axes.set_xlim(left_s, left_s + WINDOW_S)
    highest_a = max((a for a in currents_a if not math.isnan(a)), default=0.0)
    top_a = max(TOP_A, 1.05 * highest_a)
    if picture.axes.get_ylim() != (0, top_a):
        picture.axes.set_ylim(0, top_a)

    if trace.is_silent_at(now_s):
        picture.value.set(text="NO DATA", color=GREY)
    else:
        picture.value.set(text=f"{currents_a[-1]:.0f} A" if currents_a else "– A", color=BLUE)

    reason = trace.look(now_s)
    picture.indicator.set_visible(reason is not None)
    picture.reason.set_text(textwrap.fill(reason or "", LETTERS_IN_HEADER, max_lines=2))
    marked = [r for r in trace.reversals_at(now_s) if r.time_s >= left_s]
    picture.reversals.set_data([r.time_s for r in marked], [r.current_a for r in marked])
    show_alarms(picture, trace, left_s, now_s)


def show_alarms(picture: Picture, trace: Trace, left_s: float, now_s: float) -> None:
    """Shade when an alarm was on, and list the last ones."""
    edges_s, heights = [], []
    for begin_s, end_s in trace.alarms.spans(left_s, now_s):
        edges_s += [begin_s, begin_s, end_s, end_s]
        heights += [0, 1, 1, 0]
    picture.spans.set_data(edges_s, 0, heights)

    clocks, times, reasons = [], [], []
    for alarm in trace.alarms.last(LAST_ALARMS):
        at = (trace.began_at + timedelta(seconds=alarm.begin_s)).astimezone()
        clocks.append(f"{at:%H:%M:%S}")
        end = "now" if alarm.end_s is None else f"{alarm.end_s:.0f} s"
        times.append(f"{alarm.begin_s:.0f} s to {end}")
        reasons.append(textwrap.shorten(alarm.reason, LETTERS_IN_LIST, placeholder=" …"))
    for column, lines in zip(
        picture.listed, (clocks or ["none so far"], times, reasons), strict=True
    ):
        column.set_text("\n".join(lines))


class Announcer:
    """Logs the alarm and the silence when they begin and when they are over."""

    def __init__(self) -> None:
        self._going_on = {"anomaly": False, "no data": False}

    def look_at(self, trace: Trace, now_s: float) -> None:
        """Log what has changed since the last look."""
        alarm = trace.look(now_s)
        self._tell("anomaly", alarm is not None, f"ANOMALY DETECTED: {alarm}")
        silence = f"NO DATA: no frame 0x300 for {NO_DATA_AFTER_S:g} s"
        self._tell("no data", trace.is_silent_at(now_s), silence)

    def _tell(self, what: str, is_going_on: bool, text: str) -> None:
        if self._going_on[what] != is_going_on:
            self._going_on[what] = is_going_on
            level = logging.WARNING if is_going_on else logging.INFO
            log.log(level, "%s", text if is_going_on else f"{what}: over")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "./plot_current.py --save plot.png --duration 60")
    parser.add_argument(
        "--detector",
        choices=DETECTORS_OF_CURRENT,
        default=DEFAULT,
        metavar="NAME",
        help=f"{', '.join(DETECTORS_OF_CURRENT)} (default: %(default)s)",
    )
    parser.add_argument(
        "--web",
        action="store_true",
        help="open no window, serve the plot as a page for a browser on this machine",
    )
    parser.add_argument(
        "--web-port",
        type=console.port_number,
        metavar="PORT",
        help=f"of the page (default: {DEFAULT_PORT}, or a free one if that is taken)",
    )
    parser.add_argument(
        "--save",
        type=picture_path,
        metavar="FILE",
        help=f"open no window, write the picture to FILE at the end ({', '.join(FORMATS)})",
    )
    parser.add_argument(
        "--duration",
        type=console.positive,
        default=math.inf,
        metavar="S",
        help="end after S seconds (default: when stopped or the window is closed)",
    )
    add_bus_arguments(parser)
    return parser.parse_args(arguments)


def choose_view(options: argparse.Namespace, on_close: Callable[[], None]) -> View:
    """Choose where the plot is seen: on a page, nowhere until it is saved, or in a window."""
    if options.web or options.web_port is not None:
        return FigurePage(TITLE, SIZE_IN)
    if options.save:
        return Nowhere(SIZE_IN)
    try:
        return Window(TITLE, SIZE_IN, on_close)
    except NoWindowError as error:
        log.info("%s, so the plot is a page; for a picture: --save plot.png", error)
        return FigurePage(TITLE, SIZE_IN)


async def main(options: argparse.Namespace) -> None:
    """Plot until the duration is over, the window is closed or the program is stopped."""
    closed = asyncio.Event()
    if options.save:
        check_writable(options.save)
    view = choose_view(options, closed.set)
    picture = Picture(view.figure, options.detector)
    trace, announcer = Trace(options.detector, utc_now()), Announcer()
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    redraw_s = 0.0

    def on_frame(frame: Frame) -> None:
        if isinstance(frame, MeasuredCurrent):
            trace.add(loop.time() - start_s, frame.current_a)

    node = CanNode(open_bus(options.can_interface, options.can_channel), on_frame)
    try:
        with node:
            async with AsyncExitStack() as stack:
                where = ""
                if isinstance(view, FigurePage):
                    where = f" on {await stack.enter_async_context(view.listen(options.web_port))}"
                view.show(picture.changing)
                console.ready(f"Plotting CAN frame 0x300 ({node.bus.channel_info}){where}")
                failure = asyncio.create_task(node.watch())
                while not (closed.is_set() or failure.done()):
                    now_s = loop.time() - start_s
                    if now_s >= redraw_s:
                        redraw_s = now_s + REDRAW_S
                        animate(picture, trace, now_s)
                        announcer.look_at(trace, now_s)
                        view.redraw()
                    view.serve()
                    if now_s >= options.duration:
                        break
                    pause_s = min(redraw_s - now_s, view.serve_every_s, options.duration - now_s)
                    await asyncio.wait([failure], timeout=pause_s)
                if failure.done():
                    failure.result()
                failure.cancel()
    finally:
        if options.save:
            animate(picture, trace, loop.time() - start_s)
            save(view.figure, options.save, SAVED_DPI)
            log.info("saved %s", options.save)


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    sys.exit(console.run(lambda: main(options)))
