"""The command line options with which programs play the catalogue, and its table."""

from __future__ import annotations

import argparse
import math
import shutil
import textwrap
from collections.abc import Iterable, Mapping

from evsim.anomalies import ANOMALIES, BENIGN
from evsim.anomalies.base import Anomaly, Behaviour, CatalogueError, Player, Severity

#: Which script plays what, live.
SCRIPTS: Mapping[Player, str] = {
    Player.CENTRAL_SYSTEM: "csms.py",
    Player.OCPP_LINK: "csms.py",
    Player.CAN_NODE: "attack_can.py",
    Player.CAN_GATEWAY: "attack_can.py",
    Player.POWER_MODULE: "charger_module.py",
    Player.CAR: "charger_module.py",
}


def add_play_arguments(parser: argparse._ActionsContainer, *, benign: bool = True) -> None:
    """Give `parser` --anomaly, --severity, --parameter, --list and, if asked for, --benign."""
    parser.add_argument("--anomaly", metavar="NAME", help="which anomaly to play; see --list")
    parser.add_argument(
        "--severity",
        choices=[str(severity) for severity in Severity],
        help=f"default: {Severity.MEDIUM}",
    )
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=_parameter,
        metavar="NAME=VALUE",
        help="play it with another value than the severity has; may be given again",
    )
    if benign:
        parser.add_argument(
            "--benign", metavar="NAME", help="what goes on behind it (default: plain_session)"
        )
    parser.add_argument("--list", action="store_true", help="print the catalogue and end")


def _parameter(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not equals or not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE with a number from 0 up")
    return name, number


def chosen_parameters(options: argparse.Namespace) -> dict[str, float]:
    """Give the values of --parameter by name; CatalogueError for one that is given twice."""
    chosen = dict(options.parameter)
    if len(chosen) < len(options.parameter):
        raise CatalogueError("--parameter names the same parameter twice")
    return chosen


def catalogue_table(width: int | None = None) -> str:
    """Write the catalogue as a table for a terminal of so many columns (default: this one)."""
    width = width or min(140, max(80, shutil.get_terminal_size((100, 24)).columns))
    lines = [*_rows("ANOMALY", ANOMALIES.values(), width), ""]
    lines += _rows("BENIGN BEHAVIOUR", BENIGN.values(), width)
    return "\n".join(lines)


def _rows(title: str, entries: Iterable[Behaviour], width: int) -> list[str]:
    name_width, layer_width, script_width = 23, 9, 18
    indent = " " * (name_width + layer_width + script_width)
    rows = [
        f"{title:{name_width}}{'LAYER':{layer_width}}{'PLAYED LIVE BY':{script_width}}WHAT ONE SEES"
    ]
    for entry in entries:
        layer = entry.layer if isinstance(entry, Anomaly) else ""
        head = (
            f"{entry.name:{name_width}}{layer:{layer_width}}{SCRIPTS[entry.player]:{script_width}}"
        )
        rows += textwrap.wrap(entry.signature, width, initial_indent=head, subsequent_indent=indent)
    return rows
