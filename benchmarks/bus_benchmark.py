#!/usr/bin/env python3
"""What a busy CAN bus costs and loses: the default bus beside python-can's stock `udp_multicast`.

Four listening processes, built as our programs are (CanNode on an asyncio loop, each frame
decoded), hear one sender. 9,000 frames a second fill a 1 Mbit/s CAN bus.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import can

from evsim import console
from evsim.can_node import CanNode
from evsim.frames import Frame, MeasuredCurrent, encode

LISTENERS = 4
#: Frames are sent in bunches this far apart: threads can't wait much shorter than this.
BUNCH_S = 0.001
#: A listener that has heard nothing for so long has emptied its buffer.
QUIET_S = 1.0
START_S = 30.0

#: Neither reaches beyond this machine. Groups and ports of our own, for stock `udp_multicast`
#: hears every group that anybody on this machine has joined on its port.
BUSES: dict[str, dict[str, Any]] = {
    "evsim": {"channel": "239.74.165.1", "port": 43114},
    "udp_multicast": {"channel": "239.74.165.2", "port": 43115, "hop_limit": 0},
}
_ROW = "{:<15}{:>9}{:>11}   {:<28}{:>8}{:>14}{:>14}"


def main(options: argparse.Namespace) -> None:
    """Measure both buses and print one row for each."""
    console.ready(
        f"{options.rate:g} frames/s for {options.seconds:g} s, {LISTENERS} listening processes, "
        f"{os.cpu_count()} processors"
    )
    console.ready(
        _ROW.format(
            "interface", "sent", "frames/s", "lost by each listener", "lost", "send", "receive"
        )
    )
    for interface in BUSES:
        console.ready(measure(interface, options.rate, options.seconds))


def measure(interface: str, rate: float, seconds: float) -> str:
    """Send at `rate` for `seconds`; the row of the table."""
    processes = multiprocessing.get_context("spawn")
    reports = []
    with ExitStack() as clean_up:
        for _ in range(LISTENERS):
            ours, theirs = processes.Pipe()
            listener = processes.Process(target=listen, args=(interface, theirs), daemon=True)
            listener.start()
            theirs.close()
            clean_up.callback(listener.join)
            clean_up.callback(listener.kill)
            clean_up.enter_context(ours)
            reports.append(ours)
        for report in reports:
            answer(report)
        sent, took_s, send_cpu_s = send(interface, rate, seconds)
        for report in reports:
            report.send("no more frames")
        results: list[tuple[int, float]] = [answer(report) for report in reports]
    lost = [sent - heard for heard, _ in results]
    receive_cpu_s = sum(cpu_s for _, cpu_s in results) / max(1, sum(heard for heard, _ in results))
    return _ROW.format(
        interface,
        sent,
        f"{sent / took_s:.0f}",
        " ".join(map(str, lost)),
        f"{sum(lost) / (sent * LISTENERS):.2%}",
        f"{send_cpu_s / sent * 1e6:.1f} µs/frame",
        f"{receive_cpu_s * 1e6:.1f} µs/frame",
    )


def answer(report: Connection[Any, Any]) -> Any:
    """Wait for what a listener says, not for ever."""
    if not report.poll(START_S):
        raise TimeoutError(f"a listening process has said nothing for {START_S:g} s")
    return report.recv()


def send(interface: str, rate: float, seconds: float) -> tuple[int, float, float]:
    """Send frames at an even pace; how many, in what time, at what processor time."""
    never = threading.Event()
    total = round(rate * seconds)
    sent = 0
    with can.Bus(interface=interface, **BUSES[interface]) as bus:
        cpu_s, began_s = time.process_time(), time.monotonic()
        while sent < total:
            due = min(total, int((time.monotonic() - began_s) * rate) + 1)
            while sent < due:
                bus.send(encode(MeasuredCurrent(sent & 0xFFFF)))
                sent += 1
            never.wait(BUNCH_S)
        return sent, time.monotonic() - began_s, time.process_time() - cpu_s


def listen(interface: str, report: Connection[Any, Any]) -> None:
    """Count the frames heard until told that no more come; report count and processor time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(_listen(interface, report))


async def _listen(interface: str, report: Connection[Any, Any]) -> None:
    heard = 0

    def count(frame: Frame) -> None:
        nonlocal heard
        heard += 1

    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(report.fileno(), told.set)
    with CanNode(can.Bus(interface=interface, **BUSES[interface]), count):
        report.send("listening")
        cpu_s = time.process_time()
        await told.wait()
        loop.remove_reader(report.fileno())
        heard_before = -1
        while heard > heard_before:
            heard_before = heard
            await asyncio.sleep(QUIET_S)
        report.send((heard, time.process_time() - cpu_s))


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "benchmarks/bus_benchmark.py --seconds 3 --rate 2000")
    parser.add_argument(
        "--seconds", type=console.positive, default=10.0, help="default: %(default)g"
    )
    parser.add_argument(
        "--rate", type=console.positive, default=9000.0, help="frames a second (default: 9000)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(options)
    except KeyboardInterrupt:
        sys.exit(0)
    except (can.CanError, OSError, TimeoutError) as error:
        sys.exit(console.fail(error))
