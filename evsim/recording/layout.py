"""The names in a run's directory, which writers and readers share."""

from __future__ import annotations

from evsim.labels import LABEL_COLUMNS

#: Says in run.json which layout this is.
FORMAT = "ev-anomaly-sim run 1"
INFO = "run.json"
OCPP = "ocpp.jsonl"
SERIES = "series.csv"
LABELS = "labels.csv"
TRACE = "trace.jsonl"
DBC = "charger.dbc"
PARQUET = "series.parquet"
#: How CAN can be recorded: candump, and what python-can writes for Vector's tools.
CAN_FORMATS = ("log", "blf", "asc")

#: Columns of series.csv that hold a number.
NUMBERS = (
    "current_a",
    "limit_a",
    "meter_current_a",
    "meter_power_w",
    "meter_energy_wh",
    "state_of_charge_percent",
)
SERIES_COLUMNS = (
    "time",
    "charge_point",
    "current_a",
    "limit_a",
    "status",
    "meter_current_a",
    "meter_power_w",
    "meter_energy_wh",
    "state_of_charge_percent",
    "commands",
)
SERIES_HEADER = ",".join(SERIES_COLUMNS) + "\n"
LABELS_HEADER = ",".join(LABEL_COLUMNS) + "\n"

#: No line of a run is longer; what would be is not written either.
LONGEST_LINE_BYTES = 1024 * 1024


def can_file(can_format: str) -> str:
    """Name the file of the CAN frames."""
    return f"can.{can_format}"
