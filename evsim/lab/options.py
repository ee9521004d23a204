"""The command line of simulate.py."""

from __future__ import annotations

import argparse
import math
import os
import re
from pathlib import Path
from typing import Any

from evsim import console
from evsim.anomalies import anomaly_named
from evsim.anomalies.base import Severity
from evsim.charger import DEFAULT_PLANT, PLANTS
from evsim.errors import UserError
from evsim.lab.run_spec import FLEET, RunSpec
from evsim.play_options import add_play_arguments, chosen_parameters
from evsim.recording.layout import CAN_FORMATS

#: Options that a suite decides by itself, and what they are if nobody says.
OF_ONE_RUN: dict[str, Any] = {
    "benign": "plain_session",
    "hours": None,
    "seed": 1,
    "plant": DEFAULT_PLANT,
    "severity": Severity.MEDIUM,
    "parameter": [],
    "episodes": None,
    "charge_points": None,
    "throughout": False,
    "network_faults": "",
    "noise": 0.3,
    "meter_interval": 1.0,
}
SHORTEST_H, LONGEST_H = 1 / 3600, 24 * 366.0


def parse_arguments(
    docstring: str | None, arguments: list[str] | None = None
) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(
        docstring or "",
        "./simulate.py --anomaly can_drift --hours 1 --out runs/a\n"
        "  ./simulate.py --suite benchmark --out sets/b",
    )
    parser.set_defaults(log_level="error")  # what a run has to say is in its recording
    what = parser.add_argument_group("what is played")
    add_play_arguments(what)
    what.add_argument(
        "--throughout",
        action="store_true",
        help="play repeated_fluctuation from the boot to the end, as csms.py does",
    )
    what.add_argument(
        "--episodes",
        type=console.at_least_one,
        metavar="N",
        help="how often the anomaly is played, at random moments (default: once an hour)",
    )
    what.add_argument(
        "--suite",
        metavar="NAME",
        help="make a whole data set: example (28 runs), benchmark (272 for each group of seeds) or "
        "benign (208 h for each group, no anomaly)",
    )
    what.add_argument(
        "--seeds",
        type=_groups,
        metavar="N",
        default="3",
        help="groups of seeds: 1 to train, 2 to validate, 3 and more to test with; 3-4 for those "
        "two only (default: the first %(default)s)",
    )

    how = parser.add_argument_group("the test bench")
    how.add_argument("--hours", type=_hours, help="of virtual time (default: 20 min)")
    how.add_argument("--seed", type=console.seed, help="of everything random (default: 1)")
    how.add_argument("--plant", choices=PLANTS, help=f"default: {DEFAULT_PLANT}")
    how.add_argument(
        "--charge-points",
        type=console.at_least_one,
        metavar="N",
        help=f"default: 1; {FLEET} for an anomaly of a fleet",
    )
    how.add_argument(
        "--network-faults",
        metavar="SPEC",
        help='trouble on the OCPP links, e.g. "latency=80ms,loss=5min" (default: none)',
    )
    how.add_argument(
        "--noise",
        type=console.not_negative,
        metavar="A",
        help="standard deviation of the measured current (default: 0.3 A)",
    )
    how.add_argument(
        "--meter-interval",
        type=console.positive,
        metavar="S",
        help="between MeterValues in a transaction (default: 1.0 s)",
    )

    output = parser.add_argument_group("what is written")
    output.add_argument("--out", type=Path, metavar="DIR", help="the new directory; required")
    output.add_argument("--force", action="store_true", help="replace what is in --out")
    output.add_argument(
        "--can-format", choices=CAN_FORMATS, default="log", help="of a run's CAN frames"
    )
    output.add_argument(
        "--tsb-ad", action="store_true", help="write a suite in the layout of TSB-AD too"
    )
    output.add_argument(
        "--jobs",
        type=console.at_least_one,
        metavar="N",
        default=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        help="processes that make a suite (default: one for each core)",
    )
    options = parser.parse_args(arguments)
    if options.list:
        return options
    if options.out is None:
        parser.error("--out DIR is required: where the recording goes")
    if options.suite is not None:
        given = [name for name in OF_ONE_RUN if getattr(options, name)]
        if options.anomaly or given:
            name = "anomaly" if options.anomaly else given[0]
            parser.error(f"--suite decides --{name.replace('_', '-')} by itself; leave it out")
    else:
        for name, default in OF_ONE_RUN.items():
            if getattr(options, name) is None:
                setattr(options, name, default)
    return options


def run_spec(options: argparse.Namespace) -> RunSpec:
    """Make the specification of one run; UserError for what cannot be."""
    anomaly = anomaly_named(options.anomaly) if options.anomaly else None
    if anomaly is None and options.episodes is not None:
        raise UserError("--episodes belongs to an --anomaly")
    charge_points = options.charge_points
    if charge_points is None:
        charge_points = FLEET if anomaly is not None and anomaly.fleet else 1
    hours = 1 / 3 if options.hours is None else options.hours
    return RunSpec(
        seed=options.seed,
        duration_s=hours * 3600,
        plant=options.plant,
        benign=options.benign,
        anomaly=options.anomaly,
        severity=Severity(options.severity),
        parameters=chosen_parameters(options),
        episodes=options.episodes or max(1, math.floor(hours)),
        charge_points=charge_points,
        throughout=options.throughout,
        network_faults=options.network_faults,
        noise_a=options.noise,
        meter_interval_s=options.meter_interval,
    )


def _groups(text: str) -> range:
    """Read so many groups of seeds, or from which to which."""
    found = re.fullmatch(r"(?:([0-9]{1,4})-)?([0-9]{1,4})", text)
    groups = range(int(found[1] or 1), int(found[2]) + 1) if found else range(0)
    if not groups or groups[0] < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 1 up nor two like 3-4")
    return groups


def _hours(text: str) -> float:
    hours = float(text)
    if not SHORTEST_H <= hours <= LONGEST_H:
        raise argparse.ArgumentTypeError(f"{text} is not a number of hours from 1 s to a year")
    return hours
