#!/usr/bin/env python3
"""What the live plot costs: its share of one core, in a window and as a page that is looked at.

The real plot_current.py as a process, fed the base scenario over the loopback bus at 1 Hz; the
processor time is the system's count of it. Beside it, one redraw of what has changed as a ratio of
one drawing of the whole figure, both on the same canvas in the same run. The window needs a
display, and is left out without one: `xvfb-run python -m benchmarks.plot_benchmark`.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from websockets.asyncio.client import connect

import plot_current
from evsim import console
from evsim.bus import open_bus
from evsim.errors import UserError
from evsim.figure_window import Redrawer
from evsim.frames import MeasuredCurrent, encode
from plot_current import Picture, Trace, animate

ROOT = Path(__file__).resolve().parent.parent
CHANNEL = "239.74.165.4"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
CYCLE_A = [0, 0, 0, 100, 100, 0, 0, 0]
REDRAWS = 100


class _Canvas(FigureCanvasAgg):
    supports_blit = True

    def blit(self, bbox: object = None) -> None:
        """Nothing to show it on."""


def redraw_cost() -> None:
    """Print the processor time of a redraw beside that of a whole drawing."""
    picture = Picture(Figure(figsize=plot_current.SIZE_IN))
    canvas: Any = _Canvas(picture.figure)  # Agg has no annotations
    redrawer = Redrawer(picture.figure, picture.changing)
    trace = Trace()
    ours_s = whole_s = 0.0
    for second in range(REDRAWS):
        trace.add(second, CYCLE_A[second % len(CYCLE_A)])
        animate(picture, trace, second)
        before_s = time.process_time()
        redrawer.redraw()
        between_s = time.process_time()
        canvas.draw()
        ours_s += between_s - before_s
        whole_s += time.process_time() - between_s
    console.ready(
        f"redraw of what changed: {1000 * ours_s / REDRAWS:.1f} ms, "
        f"{ours_s / whole_s:.2f} of a whole drawing ({1000 * whole_s / REDRAWS:.1f} ms)"
    )


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used, as Linux counts it."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


async def feed() -> None:
    """Send the base scenario's current, a frame a second."""
    with open_bus("evsim", CHANNEL) as bus:
        while True:
            for current_a in CYCLE_A:
                bus.send(encode(MeasuredCurrent(current_a)))
                await asyncio.sleep(1)


async def look_at(address: str) -> None:
    """Take all pictures of the page, as a browser does."""
    at = address.removeprefix("http://").rstrip("/")
    async with connect(f"ws://{at}/socket", origin=f"http://{at}", max_size=None) as page:  # type: ignore[arg-type]
        await page.send('{"type": "refresh"}')
        async for _ in page:
            pass


async def share_of_a_core(seconds: float, *arguments: str) -> float:
    """Return the plot's share of one core over `seconds`, once its window is full."""
    plot = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "plot_current.py"), *arguments, "--can-channel", CHANNEL,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert plot.stdout is not None
    tasks = [asyncio.create_task(feed())]
    try:
        ready = (await plot.stdout.readline()).decode()
        if (page := re.search(r"http://\S+", ready)) is not None:
            tasks.append(asyncio.create_task(look_at(page[0])))
        await asyncio.sleep(plot_current.WINDOW_S)
        before_s, at_s = processor_s(plot.pid), time.monotonic()
        await asyncio.sleep(seconds)
        return (processor_s(plot.pid) - before_s) / (time.monotonic() - at_s)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        plot.terminate()
        await plot.wait()


async def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    if sys.platform != "linux":
        raise UserError("this benchmark reads processor times from /proc, which is Linux's")
    redraw_cost()
    ways = {"as a page": ["--web", "--web-port", "0"]}
    if os.environ.get("DISPLAY"):
        ways["in a window"] = []
    for way, arguments in ways.items():
        share = await share_of_a_core(options.seconds, *arguments)
        console.ready(f"{way}: {share:.1%} of one core; target: under 5 %")


if __name__ == "__main__":
    parser = console.argument_parser(__doc__, "xvfb-run python -m benchmarks.plot_benchmark")
    parser.add_argument("--seconds", type=console.positive, default=60.0, help="of measuring")
    options = parser.parse_args()
    console.set_up_logging(options.log_level)
    sys.exit(console.run(lambda: main(options)))
