"""The command line of cp.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from ocpp.v16.enums import ChargingRateUnitType

from evsim import console
from evsim.bus import add_bus_arguments
from evsim.charge_point.charging_profiles import RATE_UNIT_KEY, RATE_UNITS, rate_unit_words
from evsim.charge_point.credentials import add_security_arguments
from evsim.charge_point.hardware import Cable, Hardware
from evsim.charger import DEFAULT_PLANT, PLANTS
from evsim.live.options import add_record_argument
from evsim.sqlite import state_directory
from evsim.text import is_charge_point_id


def read_options(description: str | None, arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; `hardware` and `configuration` are what the options of these say."""
    parser = console.argument_parser(
        description or "", "./cp.py --id CP_2 --url ws://127.0.0.1:9000"
    )
    parser.add_argument("--id", default="CP_1", help="charge point id (default: %(default)s)")
    parser.add_argument(
        "--url",
        default="ws://127.0.0.1:9000",
        help="central system, without the charge point id (default: %(default)s)",
    )
    parser.add_argument(
        "--meter-interval",
        type=console.positive,
        default=1.0,
        metavar="S",
        help="between MeterValues in a transaction (default: %(default)s s)",
    )
    parser.add_argument(
        "--plant",
        choices=PLANTS,
        default=DEFAULT_PLANT,
        help="the charger's kind, for voltage and phases (default: %(default)s)",
    )
    parser.add_argument(
        "--rate-units",
        type=rate_units,
        default=RATE_UNITS,
        metavar="UNITS",
        help="of the limits that charging profiles may have: A, W or A,W (default: A,W)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=state_directory(),
        metavar="DIR",
        help="where transactions are kept until they are delivered (default: %(default)s)",
    )
    parser.add_argument(
        "--network-faults",
        metavar="SPEC",
        help='trouble on the OCPP link, e.g. "latency=80ms,jitter=40ms,loss=5min,duplicate=1%%,'
        'reorder=1%%,throttle=2kB/s" (default: none)',
    )
    parser.add_argument(
        "--seed", type=console.seed, default=1, help="of --network-faults (default: %(default)s)"
    )
    parser.add_argument(
        "--config",
        type=_key_and_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a configuration key's value until the central system changes it, e.g. "
        "ConnectionTimeOut=30; may be given several times",
    )
    _add_hardware_arguments(parser)
    add_record_argument(parser, "record the CAN bus in DIR/can.log")
    add_bus_arguments(parser)
    add_security_arguments(parser)
    return _finish(parser, arguments)


def _add_hardware_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the station is built")
    group.add_argument(
        "--cable",
        choices=[cable.value for cable in Cable],
        default=Cable.AUTOMATIC.value,
        help="automatic: the car plugs itself in when a start is under way, and leaves at the end; "
        "by-hand: only the commands plug and unplug do (default: %(default)s)",
    )
    group.add_argument(
        "--fixed-cable", action="store_true", help="the cable is the station's: nothing to unlock"
    )
    group.add_argument(
        "--lock-fails", action="store_true", help="the lock of the cable neither closes nor opens"
    )


def _finish(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    options = parser.parse_args(arguments)
    if not is_charge_point_id(options.id):
        parser.error(f"argument --id: {options.id!r} is not 1 to 48 printable characters")
    options.hardware = Hardware(
        cable=Cable(options.cable),
        is_fixed_cable=options.fixed_cable,
        lock_fails=options.lock_fails,
    )
    options.configuration = {
        RATE_UNIT_KEY: rate_unit_words(options.rate_units),
        **dict(options.config),
    }
    return options


def rate_units(text: str) -> frozenset[ChargingRateUnitType]:
    """Read the units of limits that a charge point takes from the command line: A, W or A,W."""
    words = text.upper().split(",")
    if not {*words} <= {*ChargingRateUnitType}:
        raise argparse.ArgumentTypeError(f"{text!r} is not A, W or A,W")
    return frozenset(map(ChargingRateUnitType, words))


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
