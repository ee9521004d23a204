"""The command line of the programs that play the catalogue live."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evsim import console
from evsim.anomalies import anomaly_named, benign_named
from evsim.anomalies.base import Anomaly, CatalogueError, Severity
from evsim.errors import UserError
from evsim.play_options import SCRIPTS, add_play_arguments, catalogue_table, chosen_parameters
from evsim.text import is_charge_point_id

BASE_SCENARIO = "repeated_fluctuation"
PLAIN = "plain_session"
AFTER_S = 20.0


@dataclass(frozen=True)
class Playing:
    """An anomaly that is to be played once.

    :param values: of its parameters.
    :param after_s: from when charging begins, s.
    :param target: the charge point that it is about; None for the first that comes.
    """

    anomaly: Anomaly
    severity: Severity
    values: Mapping[str, float]
    after_s: float
    target: str | None

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value:g}" for name, value in self.values.items())
        details = f": {values}" if values else ""
        return f"{self.anomaly.name} (severity {self.severity}{details})"


def add_live_arguments(
    parser: argparse.ArgumentParser,
    *,
    benign: bool = False,
    target: str | None = "CP_1",
    record: str = "write the label of what is played to DIR/labels.csv",
) -> None:
    """Give `parser` the options of a program that plays anomalies live.

    :param target: the default of --target; None for the first charge point that comes.
    :param record: what --record does.
    """
    group = parser.add_argument_group("anomalies of the catalogue")
    add_play_arguments(group, benign=benign)
    group.add_argument(
        "--after",
        type=console.not_negative,
        metavar="S",
        help=f"play it so long after the charging begins (default: {AFTER_S:g} s)",
    )
    group.add_argument(
        "--target",
        default=target,
        metavar="ID",
        help="charge point that it is about (default: "
        + ("the first that comes)" if target is None else "%(default)s)"),
    )
    add_record_argument(group, record)


def add_record_argument(parser: argparse._ActionsContainer, what: str) -> None:
    """Give `parser` --record."""
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help=f"{what}; python -m evsim.recording DIR makes it a whole run afterwards",
    )


def playing_from(
    parser: argparse.ArgumentParser, options: argparse.Namespace, script: str
) -> Playing | None:
    """Give what the options ask `script` to play once; None if that is nothing.

    Ends the program: with the catalogue for --list, with exit code 2 for what cannot be.
    """
    if options.list:
        try:
            console.ready(catalogue_table())
        except UserError as error:
            sys.exit(console.fail(error))
        sys.exit(0)
    try:
        return chosen_playing(options, script)
    except CatalogueError as error:
        parser.error(str(error))


def chosen_playing(options: argparse.Namespace, script: str) -> Playing | None:
    """Give what the options ask `script` to play once; CatalogueError for what cannot be."""
    benign = getattr(options, "benign", None)
    if benign is not None:
        benign_named(benign)
    if options.target is not None and not is_charge_point_id(options.target):
        raise CatalogueError(f"--target {options.target!r} is not 1 to 48 printable characters")
    details = [f"--{name}" for name in ("severity", "parameter", "after") if has(options, name)]
    if options.anomaly is None:
        if details:
            raise CatalogueError(f"{details[0]} belongs to an --anomaly")
        return None
    anomaly = anomaly_named(options.anomaly)
    if SCRIPTS[anomaly.player] != script:
        raise CatalogueError(
            f"{anomaly.name} is played by {anomaly.player}: ./{SCRIPTS[anomaly.player]} "
            f"--anomaly {anomaly.name}; or let ./run_all.sh --anomaly {anomaly.name} start all"
        )
    severity = options.severity or Severity.MEDIUM
    values = anomaly.values(severity, chosen_parameters(options))
    if anomaly.name == BASE_SCENARIO and not details and benign is None:
        return None  # csms.py plays it from the boot on, for ever
    after_s = AFTER_S if options.after is None else options.after
    return Playing(anomaly, severity, values, after_s, options.target)


def has(options: argparse.Namespace, name: str) -> bool:
    """Whether an option was given."""
    return getattr(options, name) not in (None, [])
