#!/usr/bin/env python3
"""A live plot of the charger's current that says when something is wrong with it.

It reads nothing but CAN frame 0x300, the measured current. It opens a window; with --save it
needs no display and writes the picture when --duration is over or when it is stopped.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import contextlib
import logging
import math
import os
import secrets
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evsim import console
from evsim.bus import add_bus_arguments, open_bus
from evsim.can_node import CanNode
from evsim.detectors.turning_points import TurningPoints
from evsim.errors import UserError
from evsim.frames import Frame, MeasuredCurrent

# ── Edit me ──────────────────────────────────────────────────────────────────────────────────

WINDOW_S = 60.0  # how much of the past the plot shows
TOP_A = 110.0  # top of the y axis, unless the current is higher
REDRAW_S = 1.0  # how often animate() is called
NO_DATA_AFTER_S = 3.0  # three frames missed

# ANOMALY DETECTED from so many reversals of the current, each of HYSTERESIS_A or more.
REVERSALS = 5
HYSTERESIS_A = 5.0
ALARM_WINDOW_S = 60.0

SIZE_IN = (9.0, 4.8)
SAVED_DPI = 200
BLUE = "#1f6fb4"
RED = "#d0021b"
GREY = "#5f6b76"

FORMATS = (".png", ".pdf", ".svg")
#: On a bus flooded with 0x300 the plot shows no more samples than this: bounds memory and drawing.
MOST_SAMPLES = 5_000
#: The window answers the mouse and its closing within this time.
WINDOW_EVENTS_S = 0.04

log = logging.getLogger("evsim.plot_current")


class Trace:
    """What 0x300 said in the last WINDOW_S seconds, and the detector that listens in.

    All times are seconds since the start, on a clock that does not go back.
    """

    def __init__(self) -> None:
        self.samples: deque[tuple[float, float]] = deque(maxlen=MOST_SAMPLES)
        self.detector = TurningPoints(HYSTERESIS_A, REVERSALS, ALARM_WINDOW_S)
        self.heard_s = 0.0

    def add(self, time_s: float, current_a: float) -> None:
        """Take a sample."""
        if self.samples and self.is_silent_at(time_s):
            self.samples.append((time_s, math.nan))  # breaks the line: nobody knows what flowed
        self.samples.append((time_s, current_a))
        # The newest sample to the left of the window stays: the line enters from there.
        while self.samples[0][0] < time_s - WINDOW_S and self.samples[1][0] <= time_s - WINDOW_S:
            self.samples.popleft()
        self.detector.sample(time_s, current_a)
        self.heard_s = time_s

    def is_silent_at(self, now_s: float) -> bool:
        """Tell whether the last NO_DATA_AFTER_S brought nothing."""
        return now_s - self.heard_s >= NO_DATA_AFTER_S


class Picture:
    """The artists on a figure, in a window or not; animate() says what they show."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.axes = figure.add_axes((0.09, 0.125, 0.87, 0.695))
        self.axes.set(xlabel="Time since start (s)", ylabel="Current (A)")
        self.axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
        self.axes.ticklabel_format(style="plain", useOffset=False)
        self.axes.grid(color="#dfe4e8", linewidth=0.8)
        self.axes.set_axisbelow(True)
        self.axes.spines[["top", "right"]].set_visible(False)
        (self.line,) = self.axes.plot([], [], color=BLUE, linewidth=2.0, zorder=3)
        self.area = self.axes.fill_between([0.0], [0.0], color=BLUE, alpha=0.18, linewidth=0)

        # The header, above the axes so that it never hides the line.
        figure.text(0.09, 0.925, "Charging current", size=15, weight="bold", va="center")
        figure.text(0.09, 0.862, "CAN frame 0x300", size=10, color=GREY, va="center")
        self.value = figure.text(0.96, 0.9, "", size=23, weight="bold", ha="right", va="center")
        self.indicator = figure.text(
            0.54, 0.93, "ANOMALY DETECTED", size=14, weight="bold", color="white",
            ha="center", va="center", bbox={"boxstyle": "round,pad=0.35", "fc": RED, "ec": RED},
        )  # fmt: skip
        self.reason = figure.text(0.54, 0.856, "", size=10, color=RED, ha="center", va="center")

    def save(self, path: Path) -> None:
        """Write the picture to `path`, whole or not at all; UserError if it can't be written."""
        # For PDF, fonts that journals accept: TrueType, not Type 3.
        with unfinished_beside(path) as unfinished, mpl.rc_context({"pdf.fonttype": 42}):
            self.figure.savefig(unfinished, format=path.suffix[1:].lower(), dpi=SAVED_DPI)
            unfinished.replace(path)
        log.info("saved %s", path)


def animate(picture: Picture, trace: Trace, now_s: float) -> None:
    """Redraw: show the trace as it is at `now_s`. Called every REDRAW_S. Edit me, too."""
    times_s = [time_s for time_s, _ in trace.samples]
    currents_a = [current_a for _, current_a in trace.samples]
    picture.line.set_data(times_s, currents_a)
    picture.area.set_data(times_s, 0, currents_a)

    right_s = max(now_s, WINDOW_S)
    picture.axes.set_xlim(right_s - WINDOW_S, right_s)
    highest_a = max((a for a in currents_a if not math.isnan(a)), default=0.0)
    picture.axes.set_ylim(0, max(TOP_A, 1.05 * highest_a))

    if trace.is_silent_at(now_s):
        picture.value.set(text="NO DATA", color=GREY)
    else:
        picture.value.set(text=f"{currents_a[-1]:.0f} A" if currents_a else "– A", color=BLUE)

    reason = trace.detector.reason_at(now_s)
    picture.indicator.set_visible(reason is not None)
    picture.reason.set_text(reason or "")


class Announcer:
    """Logs the alarm and the silence when they begin and when they are over."""

    def __init__(self) -> None:
        self._going_on = {"anomaly": False, "no data": False}

    def look_at(self, trace: Trace, now_s: float) -> None:
        """Log what has changed since the last look."""
        alarm = trace.detector.reason_at(now_s)
        self._tell("anomaly", alarm is not None, f"ANOMALY DETECTED: {alarm}")
        silence = f"NO DATA: no frame 0x300 for {NO_DATA_AFTER_S:g} s"
        self._tell("no data", trace.is_silent_at(now_s), silence)

    def _tell(self, what: str, is_going_on: bool, text: str) -> None:
        if self._going_on[what] != is_going_on:
            self._going_on[what] = is_going_on
            level = logging.WARNING if is_going_on else logging.INFO
            log.log(level, "%s", text if is_going_on else f"{what}: over")


def open_window(on_close: Callable[[], None]) -> Figure:
    """Open a window, whose events the asyncio program serves; UserError where none can be."""
    # Not at the top: with --save there may be no display to choose a back end for.
    from matplotlib import pyplot as plt

    try:
        figure = plt.figure("Charging current", figsize=SIZE_IN)
        if not figure.canvas.required_interactive_framework:
            raise ImportError(f"Matplotlib's back end is {mpl.get_backend()}")
    except Exception as error:  # each GUI toolkit raises errors of its own
        raise UserError(
            f"no window can be opened here ({error}); without a display, save the plot: "
            "--save plot.png --duration 60; with one, Python needs a GUI toolkit, e.g. "
            "Debian's package python3-tk, and no other MPLBACKEND"
        ) from error
    figure.canvas.mpl_connect("close_event", lambda _: on_close())
    plt.show(block=False)
    return figure


@contextlib.contextmanager
def unfinished_beside(path: Path) -> Iterator[Path]:
    """Give the name of a file to become `path`, gone at the end; an OSError is a UserError."""
    unfinished = path.with_name(f".plot-{secrets.token_hex(6)}.tmp")
    try:
        try:
            yield unfinished
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot save {path}: {error.strerror}; --save needs a file in a directory that "
            "exists, may be written to and has space"
        ) from error


def check_writable(path: Path) -> None:
    """Find out at the start, not after an hour, that `path` can't be written; UserError."""
    with unfinished_beside(path) as probe:
        probe.touch(exist_ok=False)
        if path.is_dir():
            raise UserError(f"cannot save {path}: it is a directory; --save needs a file")


def picture_path(text: str) -> Path:
    """Read a picture's file name from the command line."""
    if Path(text).suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text} does not end in {', '.join(FORMATS)}")
    return Path(os.path.realpath(text))


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "./plot_current.py --save plot.png --duration 60")
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


async def main(options: argparse.Namespace) -> None:
    """Plot until the duration is over, the window is closed or the program is stopped."""
    closed = asyncio.Event()
    if options.save:
        check_writable(options.save)
        figure = Figure(figsize=SIZE_IN)
    else:
        figure = open_window(closed.set)
    picture, trace, announcer = Picture(figure), Trace(), Announcer()
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    redraw_s = 0.0

    def on_frame(frame: Frame) -> None:
        if isinstance(frame, MeasuredCurrent):
            trace.add(loop.time() - start_s, frame.current_a)

    node = CanNode(open_bus(options.can_interface, options.can_channel), on_frame)
    try:
        with node:
            console.ready(f"Plotting CAN frame 0x300 ({node.bus.channel_info})")
            failure = asyncio.create_task(node.watch())
            while not (closed.is_set() or failure.done()):
                now_s = loop.time() - start_s
                if now_s >= redraw_s:
                    redraw_s = now_s + REDRAW_S
                    animate(picture, trace, now_s)
                    announcer.look_at(trace, now_s)
                    figure.canvas.draw_idle()
                figure.canvas.flush_events()
                if now_s >= options.duration:
                    break
                pause_s = redraw_s - now_s if options.save else WINDOW_EVENTS_S
                await asyncio.wait([failure], timeout=min(pause_s, options.duration - now_s))
            if failure.done():
                failure.result()
            failure.cancel()
    finally:
        if options.save:
            animate(picture, trace, loop.time() - start_s)
            picture.save(options.save)


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    sys.exit(console.run(lambda: main(options)))
