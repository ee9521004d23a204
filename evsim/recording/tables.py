"""The columns of a run's and a set's tables: names, types, units and what they mean.

One place for what the data package, the Croissant file and the datasheet all say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """What a column holds, in the words of Table Schema."""

    NUMBER = "number"
    INTEGER = "integer"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `required`: no row leaves it empty."""

    name: str
    type: Type
    unit: str
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file's columns, in order, and those that tell its rows apart."""

    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    @property
    def header(self) -> list[str]:
        """The names of the columns, as the file's first line has them."""
        return [column.name for column in self.columns]

    @property
    def numbers(self) -> list[str]:
        """The names of the numeric columns."""
        return [column.name for column in self.columns if column.type is not Type.STRING]


_SECONDS = "s, Unix time, UTC"

SERIES = Table(
    key=("time", "charge_point"),
    columns=(
        Column("time", Type.NUMBER, _SECONDS, "The second that the row is about.", required=True),
        Column("charge_point", Type.STRING, "", "Which charge point.", required=True),
        Column("current_a", Type.NUMBER, "A", "Last measured current on CAN (frame 0x300)."),
        Column("limit_a", Type.NUMBER, "A", "Last current limit on CAN (frame 0x210)."),
        Column(
            "status",
            Type.STRING,
            "",
            "Status of connector 1 in the last StatusNotification that reached the central system.",
        ),
        Column("meter_current_a", Type.NUMBER, "A", "Current in the last MeterValues, as above."),
        Column("meter_power_w", Type.NUMBER, "W", "Power in the last MeterValues, as above."),
        Column("meter_energy_wh", Type.NUMBER, "Wh", "Energy register in the last MeterValues."),
        Column(
            "state_of_charge_percent",
            Type.NUMBER,
            "%",
            "The vehicle's state of charge in the last MeterValues.",
        ),
        Column(
            "commands",
            Type.STRING,
            "",
            "What the central system sent in this second, the names joined with `;`.",
        ),
    ),
)

LABELS = Table(
    columns=(
        Column("anomaly", Type.STRING, "", "The anomaly's name.", required=True),
        Column("layer", Type.STRING, "", "Where it acts.", required=True),
        Column("target", Type.STRING, "", "What it acts on.", required=True),
        Column(
            "t_start", Type.NUMBER, _SECONDS, "The anomaly is active from here …", required=True
        ),
        Column("t_end", Type.NUMBER, _SECONDS, "… to here.", required=True),
        Column(
            "effect_start",
            Type.NUMBER,
            _SECONDS,
            "Its effect is visible from here …; empty: no effect was visible.",
        ),
        Column("effect_end", Type.NUMBER, _SECONDS, "… to here."),
        Column("severity", Type.STRING, "", "`low`, `medium` or `high`.", required=True),
    ),
)

RUNS = Table(
    key=("run",),
    columns=(
        Column("run", Type.STRING, "", "The run's directory under `runs/`.", required=True),
        Column("seed", Type.INTEGER, "", "All randomness of the run comes from it.", required=True),
        Column("plant", Type.STRING, "", "The power module's model.", required=True),
        Column("benign", Type.STRING, "", "The benign behaviour of the sessions."),
        Column("anomaly", Type.STRING, "", "The anomaly played; empty: none."),
        Column("severity", Type.STRING, "", "The anomaly's severity."),
        Column("duration_s", Type.NUMBER, "s", "How long the run is.", required=True),
    ),
)
