#!/usr/bin/env python3
"""A charger's power module on the CAN bus.

It obeys 0x200 (start), 0x201 (stop) and 0x210 (current limit), moves its current as the chosen
plant does, and sends the measured current as 0x300 every second. With --anomaly something breaks.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import logging
import sys

import numpy as np

from evsim import console
from evsim.anomalies.base import Player
from evsim.bus import add_bus_arguments, open_bus
from evsim.can_node import CanNode
from evsim.car import Car
from evsim.charger import DEFAULT_PLANT, PLANTS, PowerModule
from evsim.frames import (
    CURRENT_PERIOD_S,
    SILENT_AFTER_START_S,
    STATE_OF_CHARGE_PERIOD_S,
    Frame,
    MeasuredCurrent,
    SetLimit,
    StartCharging,
    StateOfCharge,
    StopCharging,
)
from evsim.live.moment import can_scene, play_once
from evsim.live.options import add_live_arguments, playing_from
from evsim.live.recording import Recording

DEFAULT_CAR = Car()

log = logging.getLogger("evsim.charger_module")


class ChargerModule:
    """Ties a power module, and a car if there is one, to a CAN node and the event loop's clock."""

    def __init__(self, module: PowerModule, node: CanNode, car: Car | None = None) -> None:
        self.module = module
        self.node = node
        self.car = car
        node.on_frame = self.on_frame
        self._stepped_at_s = asyncio.get_running_loop().time()

    def on_frame(self, frame: Frame) -> None:
        """Obey a command from the bus."""
        self.catch_up()
        if isinstance(frame, StartCharging):
            was_started = self.module.started
            if self.module.start():
                level = logging.DEBUG if was_started else logging.INFO
                log.log(level, "start: up to %g A", self.module.limit_a)
            else:
                log.warning("start ignored: it came together with a stop, and a stop wins")
        elif isinstance(frame, StopCharging):
            if self.module.started:
                log.info("stop at %.0f A", self.module.current_a)
            self.module.stop()
        elif isinstance(frame, SetLimit):
            before_a = self.module.limit_a
            if self.module.set_limit(frame.limit_a):
                level = logging.DEBUG if self.module.limit_a == before_a else logging.INFO
                log.log(level, "limit %d A", frame.limit_a)
            else:
                log.warning(
                    "limit %d A is above the rated maximum; clamped to %g A",
                    frame.limit_a,
                    self.module.limit_a,
                )

    async def run(self) -> None:
        """Send the measured current once a period, for ever, without drift.

        What the car tells of its state of charge comes less often.
        """
        loop = asyncio.get_running_loop()
        due_s = told_s = loop.time() + SILENT_AFTER_START_S
        while True:
            # After a machine's sleep, go on from now instead of sending what was missed at once.
            due_s = max(due_s, loop.time() - CURRENT_PERIOD_S)
            await asyncio.sleep(due_s - loop.time())
            self.catch_up()
            self.node.send(MeasuredCurrent.nearest(self.module.measured_a()))
            if self.car is not None and due_s >= told_s:
                self.node.send(StateOfCharge.nearest(self.car.told_state_of_charge))
                told_s = due_s + STATE_OF_CHARGE_PERIOD_S
            due_s += CURRENT_PERIOD_S

    def catch_up(self) -> None:
        """Bring the physics up to now."""
        now_s = asyncio.get_running_loop().time()
        before_wh = self.module.energy_wh
        self.module.step(now_s - self._stepped_at_s)
        self._stepped_at_s = now_s
        if self.car is not None:
            self.car.take(self.module.energy_wh - before_wh)
            self.module.demand_a = self.car.demand_a
            self.module.insisted_a = self.car.insists_a


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "./charger_module.py --plant dc_slow --noise 0.5")
    parser.add_argument(
        "--plant",
        choices=PLANTS,
        default=DEFAULT_PLANT,
        help="; ".join(f"{name}: {plant.summary}" for name, plant in PLANTS.items())
        + " (default: %(default)s)",
    )
    parser.add_argument(
        "--noise",
        type=console.not_negative,
        default=0.0,
        metavar="A",
        help="standard deviation of the measured current (default: %(default)s A)",
    )
    parser.add_argument(
        "--seed", type=console.seed, default=1, help="of noise and delays (default: %(default)s)"
    )
    car = parser.add_argument_group("car (there is none unless asked for, or it plays the anomaly)")
    car.add_argument(
        "--state-of-charge",
        type=percentage,
        metavar="PERCENT",
        help=f"as it arrives (default: {DEFAULT_CAR.state_of_charge * 100:g})",
    )
    car.add_argument(
        "--battery",
        type=console.positive,
        metavar="KWH",
        help=f"(default: {DEFAULT_CAR.capacity_wh / 1000:g})",
    )
    add_bus_arguments(parser)
    add_live_arguments(parser)
    options = parser.parse_args(arguments)
    options.playing = playing_from(parser, options, "charger_module.py")
    if options.record is not None and options.playing is None:
        parser.error("--record labels an --anomaly here; cp.py --record records the CAN bus")
    return options


def percentage(text: str) -> float:
    """Read a percentage from the command line."""
    number = float(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 100")
    return number


def car_from(options: argparse.Namespace) -> Car | None:
    """Give the car that the options ask for, or that the anomaly needs."""
    car = Car()
    is_there = options.playing is not None and options.playing.anomaly.player is Player.CAR
    if options.state_of_charge is not None:
        car, is_there = Car(state_of_charge=options.state_of_charge / 100), True
    if options.battery is not None:
        car.capacity_wh, is_there = options.battery * 1000, True
    return car if is_there else None


async def main(options: argparse.Namespace) -> None:
    """Run the power module until it is cancelled."""
    rng = np.random.default_rng(options.seed)
    module = PowerModule(PLANTS[options.plant], noise_a=options.noise, rng=rng)
    node = CanNode(open_bus(options.can_interface, options.can_channel))
    charger = ChargerModule(module, node, car_from(options))
    with Recording(options.record) as recording, node:
        console.ready(f"Listening for CAN commands ({options.plant}, {node.bus.channel_info})")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(charger.run())
            tasks.create_task(node.watch())
            tasks.create_task(recording.watch())
            if options.playing is not None:
                plant = PLANTS[options.plant]
                scene = can_scene(
                    node, options.playing, recording, options.seed, plant=plant, charger=charger
                )
                tasks.create_task(play_once(options.playing, scene))


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    sys.exit(console.run(lambda: main(options)))
