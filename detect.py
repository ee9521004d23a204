#!/usr/bin/env python3
"""Look for anomalies: in recordings and logs, in what goes over the CAN bus now, or in a whole set.

Exit code 3: an alarm was raised.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from evsim import console
from evsim.bus import add_bus_arguments, open_bus
from evsim.can_node import CanNode
from evsim.clock import utc_now
from evsim.detectors import CHALLENGERS, DEFAULT, DETECTORS, detector_named
from evsim.detectors.combined import Combined
from evsim.errors import UserError
from evsim.events import CanEvent, Event, OcppEvent
from evsim.lab.progress import progress_bar
from evsim.logs import charge_point_id, charge_point_option, charge_points, read_logs
from evsim.logs.follow import follow_messages, record_of
from evsim.logs.foreign import FOREIGN_PARTS, ForeignDbc, Quantity, signal_option
from evsim.logs.sources import NAMELESS
from evsim.picture_file import FORMATS, check_writable, picture_path, save
from evsim.scoring import html, report
from evsim.scoring.alarm_plot import DPI, AlarmPlot
from evsim.scoring.running import FLEET, STEP_S, Alarm, Runner
from evsim.scoring.sets import purpose_of, runs_of, score_set
from evsim.scoring.training import train
from evsim.text import visible

ALARM_RAISED = 3
#: So many names of charge points are compared between frames and messages.
MOST_NAMES = 1000
#: Groups of seeds, which evsim.lab.suite names.
SPLITS: Mapping[str, str] = {
    "train": "group 1, on which thresholds may be chosen",
    "validation": "group 2, which checks what was chosen",
    "test": "group 3 and those after it, on which no threshold is chosen",
    "all": "all groups: what thresholds were chosen on too",
}

#: What a signal may be besides the current.
WHATS = " or ".join(f"{what}=NAME" for what in Quantity if what is not Quantity.CURRENT)

log = logging.getLogger("evsim.detect")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(
        __doc__,
        "./detect.py run runs/a\n  ./detect.py run can.log ocpp.jsonl --charge-point CP_1\n"
        "  ./detect.py score sets/b --split test --out scores",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{run,live,score}")

    run = verbs.add_parser("run", help="print the alarms of a recording")
    run.add_argument(
        "recording", type=Path, nargs="+", metavar="RECORDING",
        help="a run's directory, or a CAN log (candump, .asc, .blf …), or OCPP messages as JSON "
        "Lines; several are merged by time",
    )  # fmt: skip
    run.add_argument(
        "--charge-point", type=charge_point_option, action="append", default=[],
        metavar="[CHANNEL=]ID",
        help="whose the frames of a log's CAN channel are; without CHANNEL: of all other channels, "
        "and of messages that name nobody",
    )  # fmt: skip
    run.add_argument(
        "--plot", type=picture_path, metavar="FILE",
        help=f"draw current, commands and alarms ({', '.join(FORMATS)})",
    )  # fmt: skip
    live = verbs.add_parser("live", help="print alarms as they come")
    live.add_argument(
        "--csms", type=Path, metavar="PATH",
        help="follow the OCPP messages too that a central system records, ./csms.py --record PATH",
    )  # fmt: skip
    live.add_argument(
        "--charge-point", type=charge_point_id, metavar="ID",
        help=f"whose the bus is (default: {NAMELESS} with --csms, else CAN)",
    )  # fmt: skip
    live.add_argument("--for", type=console.positive, dest="for_s", metavar="S", help="end then")
    live.add_argument("--once", action="store_true", help="end at the first alarm")
    add_bus_arguments(live)
    score = verbs.add_parser("score", help="score detectors on a set")
    score.add_argument(
        "set", type=Path, nargs="+", metavar="SET",
        help="what ./simulate.py --suite has made; several count as one",
    )  # fmt: skip
    score.add_argument(
        "--split", choices=SPLITS, default="test", help="which seeds (default: %(default)s)"
    )
    score.add_argument(
        "--out", type=Path, metavar="DIR", help="write report.html, report.md and scores.json"
    )
    score.add_argument(
        "--jobs", type=console.at_least_one, metavar="N", default=os.cpu_count(),
        help="processes (default: one for each core)",
    )  # fmt: skip
    trained = f"; and, with the extra [ml], {' and '.join(CHALLENGERS)}"
    for verb, default, more in (
        (run, "combined", ""), (live, DEFAULT, ""), (score, "all but the last two", trained)
    ):  # fmt: skip
        verb.add_argument(
            "--detector", action="append", metavar="NAME",
            help=f"{', '.join(DETECTORS)}{more}; may be given again (default: {default})",
        )  # fmt: skip
    for verb in (run, live):
        verb.add_argument(
            "--dbc", type=Path, metavar="FILE",
            help="the frames are another charger's, which FILE describes; needs --signal",
        )  # fmt: skip
        verb.add_argument(
            "--signal", type=signal_option, action="append", default=[],
            metavar="[WHAT=]NAME", help=f"signal of FILE that is the current; also {WHATS}",
        )  # fmt: skip
    usages = "\n".join(verb.format_usage().strip() for verb in (run, live, score))
    parser.epilog = f"{parser.epilog}\n\n{usages}"
    options = parser.parse_args(arguments)
    if options.verb != "score" and bool(options.dbc) != bool(options.signal):
        parser.error("--dbc FILE and --signal NAME belong together")
    defaults = {"run": ["combined"], "live": [DEFAULT], "score": [*DETECTORS]}
    options.detector = options.detector or defaults[options.verb]
    return options


def translator(options: argparse.Namespace) -> Callable[[Event], Iterable[Event]]:
    """Give what makes events of our protocol from those that come."""
    if options.dbc is None:
        return lambda event: (event,)
    return ForeignDbc(options.dbc, dict(options.signal))


def runner_for(options: argparse.Namespace, on_alarm: Callable[[Alarm], None]) -> Runner:
    """Make what runs the detectors."""
    factories = {name: DETECTORS[name] for name in options.detector}
    if options.dbc is not None and Combined.name in factories:
        factories[Combined.name] = functools.partial(Combined, parts=FOREIGN_PARTS)
    return Runner(factories, keep_scores=False, on_alarm=on_alarm)


def say(alarm: Alarm) -> None:
    """Print an alarm as it begins."""
    moment = datetime.fromtimestamp(alarm.start_s, UTC).isoformat(" ", "seconds")
    who = "all charge points" if alarm.charge_point == FLEET else alarm.charge_point
    console.ready(visible(f"{moment[:19]}  {who}  {alarm.detector}: {alarm.reason}"))


# ── A recording ──────────────────────────────────────────────────────────────────────────────


def detect_in_recording(options: argparse.Namespace) -> int:
    """Print the alarms of a recording, or of several logs as one; the exit code."""
    if options.plot is not None:
        check_writable(options.plot)
    plot = AlarmPlot() if options.plot is not None else None
    translate = translator(options)
    runner = runner_for(options, say)
    whose = charge_points(options.charge_point)
    sides: dict[type[Event], set[str]] = {CanEvent: set(), OcppEvent: set()}
    last_s: float | None = None
    for found in read_logs(options.recording, whose):
        last_s = found.time_s
        for event in translate(found):
            names = sides[type(event)]
            if len(names) < MOST_NAMES:
                names.add(event.charge_point)
            runner.observe(event)
            if plot is not None:
                plot.observe(event)
    if last_s is None:
        raise UserError(f"{recordings(options)}: there is no event in it")
    if options.dbc is not None and not sides[CanEvent]:
        raise UserError(f"no frame with {signals(options)} is in {recordings(options)}")
    runner.finish(last_s + STEP_S)  # what the last second brought is judged too
    warn_if_apart(sides[CanEvent], sides[OcppEvent])
    if plot is not None:
        title = " and ".join(path.name for path in options.recording)
        save(plot.draw(runner.alarms, title), options.plot, DPI)
        console.ready(f"{options.plot}")
    return ALARM_RAISED if runner.alarms else 0


def recordings(options: argparse.Namespace) -> str:
    """Name what was read."""
    return ", ".join(map(str, options.recording))


def signals(options: argparse.Namespace) -> str:
    """Name what was looked for."""
    return " or ".join(name for _, name in options.signal)


def warn_if_apart(channels: set[str], charge_points: set[str]) -> None:
    """Say what to do if no charge point has both frames and messages."""
    if channels and charge_points and not channels & charge_points:
        channel, charge_point = min(channels), min(charge_points)
        log.warning(
            "nobody is in both logs, so frames and messages were not compared; "
            "--charge-point %s=%s says whose the frames are",
            channel,
            charge_point,
        )


# ── Live ─────────────────────────────────────────────────────────────────────────────────────


async def detect_live(options: argparse.Namespace, raised: list[Alarm]) -> None:
    """Print alarms as they come, until cancelled or what the command line says."""
    over = asyncio.Event()

    def note(alarm: Alarm) -> None:
        say(alarm)
        raised.append(alarm)
        if options.once:
            over.set()

    def observe(event: Event) -> None:
        """Take what has arrived now, whatever its own stamp says."""
        for seen in translate(event._replace(time_s=utc_now().timestamp())):
            runner.observe(seen)

    async def follow(path: Path) -> None:
        async for event in follow_messages(path, charge_point):
            observe(event)

    translate = translator(options)
    runner = runner_for(options, note)
    charge_point = options.charge_point or ("CAN" if options.csms is None else NAMELESS)
    node = CanNode(open_bus(options.can_interface, options.can_channel))
    node.on_message = lambda message: observe(CanEvent(0.0, charge_point, message))
    record = None if options.csms is None else record_of(options.csms)
    with node:
        what = "the CAN bus" if record is None else f"the CAN bus and {record}"
        console.ready(f"Watching {what} ({', '.join(options.detector)})")
        tasks = [asyncio.create_task(node.watch()), asyncio.create_task(ask(runner))]
        if record is not None:
            tasks.append(asyncio.create_task(follow(record)))
        ending: asyncio.Task[Any] = asyncio.create_task(over.wait())
        try:
            await asyncio.wait(
                [*tasks, ending], timeout=options.for_s, return_when=asyncio.FIRST_COMPLETED
            )
            for task in tasks:
                if task.done():
                    await task
        finally:
            for task in (*tasks, ending):
                task.cancel()


async def ask(runner: Runner) -> None:
    """Let the seconds pass, also when nothing comes."""
    while True:
        await asyncio.sleep(1.0)
        if runner.begin_s is not None:
            runner.advance(utc_now().timestamp())


# ── A set ────────────────────────────────────────────────────────────────────────────────────


def score(options: argparse.Namespace) -> int:
    """Score detectors on a set; the exit code."""
    every = [path for one in options.set for path in runs_of(one)]
    paths = [path for path in every if options.split in ("all", purpose_of(path))]
    if not paths:
        raise UserError(
            f"{' and '.join(map(str, options.set))} holds no run of {SPLITS[options.split]}; make "
            "it with more --seeds, or choose --split"
        )
    challengers = [name for name in options.detector if name in CHALLENGERS]
    if challengers:
        console.ready(f"training {' and '.join(challengers)} on benign runs of group 1 …")
    trained = train(challengers, every) if challengers else {}
    detectors = {name: trained.get(name) or DETECTORS[name] for name in options.detector}
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=len(paths))
        runs = list(
            score_set(paths, detectors, jobs=options.jobs, on_done=lambda: bar.advance(task))
        )
    figures = {name: report.summary(runs, name) for name in options.detector}
    terminal = Console()
    terminal.print(report.terminal_table(figures, terminal.width))
    if options.out is not None:
        command = f"./detect.py score SET --split {options.split}"
        told = (figures, runs, SPLITS[options.split], command)
        report.write(options.out, figures, report.markdown(*told), html.page(*told))
        console.ready(f"{options.out / 'report.html'}")
    return 0


def main() -> int:
    """Do what the command line asks for; the exit code."""
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    try:
        for name in options.detector:
            if options.verb != "score" or name not in CHALLENGERS:
                detector_named(name)
        if options.verb == "run":
            return detect_in_recording(options)
        if options.verb == "score":
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            return score(options)
    except UserError as error:
        return console.fail(error)
    except KeyboardInterrupt:
        return 130
    raised: list[Alarm] = []
    code = console.run(lambda: detect_live(options, raised))
    return ALARM_RAISED if code == 0 and raised else code


if __name__ == "__main__":
    sys.exit(main())
