"""For run_all.sh: which programs take part in a play, and with which arguments.

    python -m evsim.live.cast --anomaly can_masquerade --record runs/a

prints a line for each argument, "PROGRAM ARGUMENT", where PROGRAM is charger, csms, cp or attack.
"""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path
from typing import NoReturn

from evsim import console
from evsim.anomalies import anomaly_named, benign_named
from evsim.anomalies.base import CatalogueError, Player
from evsim.bus import DEFAULT_INTERFACE, EvsimBus, add_bus_arguments, configured
from evsim.errors import UserError
from evsim.live.options import (
    BASE_SCENARIO,
    PLAIN,
    add_live_arguments,
    chosen_playing,
    has,
)
from evsim.play_options import SCRIPTS
from evsim.recording import layout
from evsim.text import visible

#: Measured currents are as noisy as in the lab: some anomalies betray themselves by less noise.
NOISE_A = 0.3
PROGRAMS = {"csms.py": "csms", "charger_module.py": "charger", "attack_can.py": "attack"}


def cast(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Give the arguments of each program, as (program, argument); UserError for what can't be."""
    arguments: list[tuple[str, str]] = []

    def give(program: str, *words: object) -> None:
        arguments.extend((program, str(word)) for word in words)

    anomaly = None if options.anomaly is None else anomaly_named(options.anomaly)
    script = "csms.py" if anomaly is None else SCRIPTS[anomaly.player]
    player = PROGRAMS[script]
    if chosen_playing(options, script) is not None or options.benign is not None:
        give("charger", "--noise", NOISE_A)
    if anomaly is not None:
        if anomaly.fleet:
            raise CatalogueError(
                f"{anomaly.name} is about several charge points, run_all.sh starts one: start "
                f"./csms.py --anomaly {anomaly.name}, and for each charge point ./cp.py --id ID "
                "--can-channel CHANNEL and ./charger_module.py --can-channel CHANNEL"
            )
        give(player, "--anomaly", anomaly.name)
        if anomaly.name != BASE_SCENARIO:
            give(player, "--target", options.target)
        for name in ("severity", "after"):
            if has(options, name):
                give(player, f"--{name}", getattr(options, name))
        for name, value in options.parameter:
            give(player, "--parameter", f"{name}={value!r}")
        if anomaly.player is Player.CAN_GATEWAY:
            channel = options.charger_channel or channel_beside(options)
            give("charger", "--can-channel", channel)
            give("attack", "--charger-channel", channel)
    if options.benign is not None or player != "csms":
        benign = benign_named(options.benign or PLAIN)
        give("csms", "--benign", benign.name)
        if options.benign is not None:  # its cars matter too
            give("charger", "--state-of-charge", f"{100 * sum(benign.state_of_charge) / 2:g}")
            give("charger", "--battery", f"{sum(benign.capacity_wh) / 2000:g}")
    if options.record is not None:
        refuse_a_recording(options.record)
        for program in dict.fromkeys(("csms", "cp", player)):
            give(program, "--record", options.record)
    return arguments


def channel_beside(options: argparse.Namespace) -> str:
    """Give the charger a bus beside that of all others, which only evsim has at will."""
    interface = options.can_interface or configured("interface") or DEFAULT_INTERFACE
    channel = options.can_channel or configured("channel") or EvsimBus.DEFAULT_GROUP_IPv4
    if interface != DEFAULT_INTERFACE:
        raise CatalogueError(
            f"{options.anomaly} needs a second {interface} bus for the charger alone; name it with "
            "--charger-channel"
        )
    try:
        group = ipaddress.IPv4Address(channel)
    except ValueError:
        return channel  # the programs will say what is wrong with it
    return str(ipaddress.IPv4Address(int(group) ^ 1 << 16))  # 239.74.163.2: 239.75.163.2


def refuse_a_recording(directory: Path) -> None:
    """Raise UserError if something is recorded there already."""
    for name in (layout.INFO, layout.can_file("log"), layout.OCPP, layout.LABELS):
        if (directory / name).exists():
            raise UserError(
                f"{directory} already holds a recording ({name}); choose another directory"
            )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with one line, as run_all.sh does."""
        self.exit(2, f"{self.prog}: {visible(message)} (see ./run_all.sh --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = _Parser(prog="run_all.sh")
    add_bus_arguments(parser)
    parser.add_argument("--charger-channel")
    add_live_arguments(parser, benign=True)
    options = parser.parse_args(arguments)
    try:
        console.ready("\n".join(f"{program} {word}" for program, word in cast(options)))
    except CatalogueError as error:
        parser.error(str(error))
    except UserError as error:
        sys.stderr.write(f"{parser.prog}: {visible(str(error))}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
