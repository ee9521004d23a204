#!/usr/bin/env python3
"""An attacker on the CAN bus: plays an anomaly of the catalogue.

A node that joins the bus and sends what it likes; or a gateway between the bus and a charger that
is alone on another one, which passes every message on but for what the anomaly changes.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import logging
import sys
from contextlib import ExitStack

from evsim import console
from evsim.anomalies.base import Player
from evsim.bus import BusError, add_bus_arguments, open_bus
from evsim.can_gateway import CanGateway
from evsim.can_node import CanNode
from evsim.live.moment import can_scene, play_once
from evsim.live.options import Playing, add_live_arguments, playing_from
from evsim.live.recording import Recording

log = logging.getLogger("evsim.attack_can")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(
        __doc__,
        "./attack_can.py --anomaly can_flooding --severity high\n"
        "  ./attack_can.py --anomaly can_masquerade --charger-channel 239.75.163.2\n"
        "  (and ./charger_module.py --can-channel 239.75.163.2)",
    )
    parser.add_argument(
        "--once", action="store_true", help="end when the anomaly is over (default: stay)"
    )
    parser.add_argument(
        "--seed", type=console.seed, default=1, help="of what is random (default: %(default)s)"
    )
    add_bus_arguments(parser)
    parser.add_argument_group("gateway").add_argument(
        "--charger-channel",
        metavar="CHANNEL",
        help="the bus on which the charger is alone; a gateway's anomalies need it",
    )
    add_live_arguments(parser)
    options = parser.parse_args(arguments)
    options.playing = playing_from(parser, options, "attack_can.py")
    if options.playing is None:
        parser.error("nothing to play; name an --anomaly (--list shows them)")
    name = options.playing.anomaly.name
    if options.playing.anomaly.player is Player.CAN_GATEWAY:
        if options.charger_channel is None:
            parser.error(
                f"{name} needs a gateway: start charger_module.py on a CAN channel of its own, "
                "and name that with --charger-channel"
            )
    elif options.charger_channel is not None:
        parser.error(f"--charger-channel is for a gateway's anomalies; {name} needs none")
    return options


async def main(options: argparse.Namespace) -> None:
    """Attack until cancelled, or with --once until the anomaly is over."""
    playing: Playing = options.playing
    with ExitStack() as stack:
        recording = stack.enter_context(Recording(options.record))
        node = CanNode(open_bus(options.can_interface, options.can_channel))
        nodes = [stack.enter_context(node)]
        gateway, place = None, str(node.bus.channel_info)
        if options.charger_channel is not None:
            charger_side = CanNode(open_bus(options.can_interface, options.charger_channel))
            nodes.append(stack.enter_context(charger_side))
            if charger_side.bus.channel_info == node.bus.channel_info:
                raise BusError(
                    f"--charger-channel {options.charger_channel!r} is the bus that all others are "
                    "on; give the charger one of its own"
                )
            gateway = CanGateway(charger_side, node)
            place = f"{place}, charger on {charger_side.bus.channel_info}"
        port = node if gateway is None else None
        scene = can_scene(node, playing, recording, options.seed, port=port, gateway=gateway)
        console.ready(f"Attacking the CAN bus ({playing.anomaly.name}; {place})")
        async with asyncio.TaskGroup() as tasks:
            watchers = [tasks.create_task(node.watch()) for node in nodes]
            watchers.append(tasks.create_task(recording.watch()))
            await play_once(playing, scene)
            if options.once:
                for watcher in watchers:
                    watcher.cancel()


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    sys.exit(console.run(lambda: main(options)))
