#!/usr/bin/env python3
"""What a frame costs the detectors, and how many frames a second `combined` keeps up with.

The base scenario's current in 0x300 with noise, at 9,000 frames a second of the log's time, which
is what a whole bus at 500 kbit/s brings; each detector is asked once a second, as live. Processor
time, best of several; beside it the peer, a loop that only decodes the same frames.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from evsim import console
from evsim.detectors import DEFAULT, DETECTORS
from evsim.detectors.combined import Combined
from evsim.events import CanEvent
from evsim.frames import MeasuredCurrent, decode, encode
from evsim.scoring.running import Runner

FRAMES_PER_S = 9000
CYCLE_A = (0, 0, 0, 100, 100, 0, 0, 0)
NOISE_A = 0.3
TARGET_US = 2.0
_ROW = "{:<28}{:>12}{:>14}{:>18}"


def frames(seconds: int) -> list[CanEvent]:
    """Make so many seconds of a bus that is full."""
    rng = np.random.default_rng(1)
    events = []
    for number in range(seconds * FRAMES_PER_S):
        time_s = number / FRAMES_PER_S
        true_a = CYCLE_A[int(time_s) % len(CYCLE_A)]
        message = encode(MeasuredCurrent.nearest(true_a + float(rng.normal(0.0, NOISE_A))))
        events.append(CanEvent(1e9 + time_s, "CAN", message))
    return events


def decode_only(events: Sequence[CanEvent]) -> None:
    """Do what every program has to that reads the bus."""
    for event in events:
        decode(event.message)


def run(name: str) -> Callable[[Sequence[CanEvent]], None]:
    """Give the work of one detector, handing on of events included."""

    def work(events: Sequence[CanEvent]) -> None:
        runner = Runner({name: DETECTORS[name]}, keep_scores=False)
        for event in events:
            runner.observe(event)
        runner.finish()

    return work


def us_per_frame(
    work: Callable[[Sequence[CanEvent]], None], events: Sequence[CanEvent], repetitions: int
) -> float:
    """Give the least processor time of several repetitions, by frame."""
    times_s = []
    for _ in range(repetitions):
        began_s = time.process_time()
        work(events)
        times_s.append(time.process_time() - began_s)
    return 1e6 * min(times_s) / len(events)


def main(seconds: int, repetitions: int) -> None:
    """Measure and print a line for each."""
    events = frames(seconds)
    console.ready(f"{len(events)} frames, best of {repetitions}")
    console.ready(_ROW.format("", "µs/frame", "× decoding", "frames/s at most"))
    peer_us = us_per_frame(decode_only, events, repetitions)
    console.ready(_ROW.format("decoding alone (peer)", f"{peer_us:.2f}", "1.0", ""))
    measured_us = {}
    for name in DETECTORS:
        measured_us[name] = one_us = us_per_frame(run(name), events, repetitions)
        at_most = f"{1e6 / one_us:,.0f}"
        console.ready(_ROW.format(name, f"{one_us:.2f}", f"{one_us / peer_us:.1f}", at_most))
    told = "met" if measured_us[DEFAULT] <= TARGET_US else "MISSED"
    console.ready(f"{DEFAULT}: target at most {TARGET_US:g} µs a frame: {told}")
    told = "met" if 1e6 / measured_us[Combined.name] >= FRAMES_PER_S else "MISSED"
    console.ready(f"{Combined.name}: target at least {FRAMES_PER_S:,} frames/s: {told}")


if __name__ == "__main__":
    parser = console.argument_parser(__doc__, "python -m benchmarks.detector_benchmark")
    parser.add_argument(
        "--seconds", type=console.at_least_one, default=8, help="of a full bus (default: 8)"
    )
    parser.add_argument(
        "--repetitions", type=console.at_least_one, default=3, metavar="N", help="default: 3"
    )
    options = parser.parse_args()
    console.set_up_logging(options.log_level)
    try:
        main(options.seconds, options.repetitions)
    except KeyboardInterrupt:
        sys.exit(0)
