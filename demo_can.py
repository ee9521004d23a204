#!/usr/bin/env python3
"""Try the CAN bus: send each frame of the protocol from one process to another.

Prints what was sent and what the other process received side by side; exit code 0 only if all
arrived intact. It sends a start command and ends with a stop: on a bus with a real charger, know
what you do.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import sys

from evsim import console
from evsim.bus import add_bus_arguments
from evsim.bus_check import ARRIVAL_S, Exchange, exchange_frames
from evsim.errors import UserError
from evsim.frames import Frame, MeasuredCurrent, SetLimit, StartCharging, StateOfCharge

_ROW = "  {:<22}{:<14}{:<14}{}"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "./demo_can.py --can-channel 239.74.163.9")
    add_bus_arguments(parser)
    return parser.parse_args(arguments)


async def main(options: argparse.Namespace) -> None:
    """Send the frames, print the table; UserError if one did not arrive intact."""
    exchanges = await exchange_frames(options.can_interface, options.can_channel)
    console.ready(table(exchanges))
    wrong = sum(not exchange.intact for exchange in exchanges)
    if wrong:
        raise UserError(
            f"{wrong} of {len(exchanges)} frames did not arrive intact; ./test_environment.py "
            "looks for the cause"
        )
    console.ready(f"All {len(exchanges)} frames arrived intact.")


def table(exchanges: list[Exchange]) -> str:
    """Lay out what was sent and received side by side."""
    rows = [_ROW.format("frame", "sent", "received", "")]
    for exchange in exchanges:
        if exchange.intact:
            verdict = "ok"
        elif exchange.received is None:
            verdict = f"LOST: nothing within {ARRIVAL_S:g} s"
        else:
            verdict = "DIFFERS"
        rows.append(
            _ROW.format(meaning(exchange.frame), exchange.sent, exchange.received or "-", verdict)
        )
    return "\n".join(row.rstrip() for row in rows)


def meaning(frame: Frame) -> str:
    """Say what a frame means."""
    if isinstance(frame, SetLimit):
        return f"limit {frame.limit_a} A"
    if isinstance(frame, MeasuredCurrent):
        return f"measured {frame.current_a} A"
    if isinstance(frame, StateOfCharge):
        return f"state of charge {frame.percent:g} %"
    return "start charging" if isinstance(frame, StartCharging) else "stop charging"


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    sys.exit(console.run(lambda: main(options)))
