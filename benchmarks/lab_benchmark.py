#!/usr/bin/env python3
"""How many times faster than the clock the lab runs, on one core and on all.

The base scenario on the real classes of the programs, schema validation on, recorded. Beside it a
pair of the stock `ocpp` library's links, which exchange the very same calls over the same
connection in memory: no CAN, no charger, no ledgers, no waits, no recording.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ocpp.messages
from ocpp.v16 import ChargePoint as StockLink
from ocpp.v16 import call, call_result
from websockets.exceptions import ConnectionClosed

from evsim import console, virtual_time
from evsim.events import Direction, Kind, OcppEvent
from evsim.in_memory import websocket_pair
from evsim.lab.run_spec import RunSpec
from evsim.lab.suite import benchmark
from evsim.ocpp_link import on
from evsim.ocpp_wire import to_snake_case
from evsim.recording import load
from simulate import simulate

TARGET = 5000.0
TARGET_DAY_S = 20.0
DAY_S = 86_400.0
FLEET = 100
TARGET_FLEET = 1.3
TARGET_BUSY = 0.9
ROOT = Path(__file__).parent.parent
_ROW = "{:<52}{:>10}  {}"


def main(options: argparse.Namespace) -> None:
    """Measure and print a line for each figure."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        measure_one(options, directory)
        if options.fleet:
            measure_fleet(directory)
        if options.suite:
            measure_suite(directory)


def measure_one(options: argparse.Namespace, directory: Path) -> None:
    """Measure one charge point, and the peer."""
    base = base_scenario(options.minutes * 60)
    ours_s = best_s(options.repetitions, lambda: simulate(base, directory / "one", force=True))
    run = load(directory / "one")
    calls = [event for event in run.ocpp if event.kind is Kind.CALL]
    console.ready(
        f"{options.minutes:g} min of the base scenario, recorded: "
        f"{run.can.time_s.size} CAN frames, {len(calls)} OCPP calls; best of {options.repetitions}"
    )
    console.ready(_ROW.format("", "measured", "target"))
    row("times real time, everything", base.duration_s / ours_s, f">= {TARGET:,.0f}",
        met=base.duration_s / ours_s >= TARGET)  # fmt: skip
    stock_s = best_s(options.repetitions, lambda: exchange(run.ocpp))
    row("times real time, stock ocpp, its calls alone (peer)", base.duration_s / stock_s, "")
    if options.hours:
        day = base_scenario(options.hours * 3600)
        took_s = best_s(1, lambda: simulate(day, directory / "day"))
        target_s = TARGET_DAY_S * options.hours * 3600 / DAY_S
        row(f"s for {options.hours:g} h", took_s, f"<= {target_s:.1f}", met=took_s <= target_s)


def measure_fleet(directory: Path) -> None:
    """Measure what a charge point costs among many, by that of one alone."""
    one = RunSpec(seed=1, duration_s=1200, benign="load_sharing")
    many = RunSpec(seed=1, duration_s=1200, benign="load_sharing", charge_points=FLEET)
    one_s = best_s(3, lambda: simulate(one, directory / "alone", force=True))
    many_s = best_s(1, lambda: simulate(many, directory / "fleet"))
    ratio = many_s / FLEET / one_s
    text = f"cost of a charge point among {FLEET}, times that of one"
    row(text, ratio, f"<= {TARGET_FLEET}", met=ratio <= TARGET_FLEET, digits=2)


def measure_suite(directory: Path) -> None:
    """Measure how busy the cores are while the benchmark suite is made, and its memory."""
    cores, runs = len(os.sched_getaffinity(0)), len(benchmark([1, 2, 3]))
    command = [sys.executable, str(ROOT / "simulate.py"), "--suite", "benchmark", "--out"]
    began_s = time.perf_counter()
    with subprocess.Popen([*command, str(directory / "set")]) as process:
        memory_mb: list[float] = []
        while True:  # until the runs are made; describing them comes after
            used_s, now_mb = used_by(process.pid)
            done = len(list((directory / "set" / "runs").glob("run_*")))
            if done == runs or process.poll() is not None:
                break
            memory_mb.append(now_mb)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
        took_s = time.perf_counter() - began_s
    console.ready(f"{runs} runs of 20 min in {took_s:.0f} s on {cores} cores")
    busy = used_s / took_s / cores
    row(
        "share of the cores' time used",
        busy,
        f">= {TARGET_BUSY}",
        met=busy >= TARGET_BUSY,
        digits=2,
    )
    middle = len(memory_mb) // 2
    row("MB of all its processes at most, first half", max(memory_mb[:middle]), "")
    row("MB of all its processes at most, second half", max(memory_mb[middle:]), "the same")


def used_by(pid: int) -> tuple[float, float]:
    """Give the processor time, s, and the memory, MB, of a process and its children (Linux)."""
    used_s = memory_mb = 0.0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    for name in [str(pid), *children]:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            fields = Path(f"/proc/{name}/stat").read_text("utf-8").rpartition(")")[2].split()
            used_s += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            memory_mb += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return used_s, memory_mb


def base_scenario(duration_s: float) -> RunSpec:
    """Give the run that plays the base scenario throughout."""
    return RunSpec(anomaly="repeated_fluctuation", throughout=True, duration_s=duration_s)


def row(
    text: str, measured: float, target: str, *, met: bool | None = None, digits: int = 0
) -> None:
    """Print a figure beside its target."""
    verdict = {True: " met", False: " MISSED", None: ""}[met]
    console.ready(_ROW.format(text, f"{measured:,.{digits}f}", target + verdict))


def best_s(repetitions: int, work: Callable[[], object]) -> float:
    """Do it so many times; give the shortest time."""
    times_s = []
    for _ in range(repetitions):
        began_s = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - began_s)
    return min(times_s)


# ── The peer ─────────────────────────────────────────────────────────────────────────────────


def exchange(events: list[OcppEvent]) -> None:
    """Let two stock links exchange the calls of a recording, one after the other."""
    answers = {
        event.action: getattr(call_result, event.action)(**to_snake_case(event.payload))
        for event in events
        if event.kind is Kind.CALL_RESULT
    }
    link_class = type("Stock", (StockLink,), {f"on_{a}": _handler(a, answers) for a in answers})

    async def run() -> None:
        ours, theirs = websocket_pair()
        station, central = link_class("CP_1", ours), link_class("CP_1", theirs)
        serving = [asyncio.create_task(_serve(link)) for link in (station, central)]
        for event in events:
            if event.kind is Kind.CALL and event.action in answers:
                request = getattr(call, event.action)(**to_snake_case(event.payload))
                caller = central if event.direction is Direction.TO_CHARGE_POINT else station
                await caller.call(request, suppress=False)
        await ours.close()
        await asyncio.gather(*serving)

    ocpp.messages.ASYNC_VALIDATION = False  # threads would only be slower here
    try:
        virtual_time.run(run())
    finally:
        ocpp.messages.ASYNC_VALIDATION = True


def _handler(action: Any, answers: dict[str, Any]) -> Callable[..., Any]:
    def answer(_: object, **__: object) -> Any:
        return answers[action]

    answer.__name__ = f"on_{action}"  # by which the stock library finds it
    return on(action)(answer)


async def _serve(link: StockLink) -> None:
    with suppress(ConnectionClosed):  # the stock link raises it
        await link.start()


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "benchmarks/lab_benchmark.py --hours 24")
    parser.add_argument(
        "--minutes",
        type=console.positive,
        default=30.0,
        help="of virtual time in each repetition (default: %(default)g)",
    )
    parser.add_argument(
        "--repetitions",
        type=console.at_least_one,
        default=5,
        metavar="N",
        help="of which the best counts (default: %(default)s)",
    )
    parser.add_argument(
        "--hours", type=console.positive, help="then really run so many hours, once"
    )
    parser.add_argument("--fleet", action="store_true", help=f"then {FLEET} charge points")
    parser.add_argument("--suite", action="store_true", help="then the benchmark suite (Linux)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    logging.disable(logging.CRITICAL)  # the scenario's end interrupts a cycle, which is said
    try:
        main(options)
    except KeyboardInterrupt:
        sys.exit(0)
