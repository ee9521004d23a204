"""The layout of the TSB-AD benchmark: numbers only, the last column `Label`, all else in the name.

    <NNN>_evsim_id_<n>_Facility_tr_<train>_1st_<first>.csv

`first` is the first labelled row, `train` the number of rows before it that may train a model: all
of them, since they are normal. Without an anomaly both are the number of rows. A row is labelled
while the anomaly is active or its effect visible. Unknown values are filled with the last known
one, and with 0 before the first. TSB-AD knows neither names nor times: the file's `<n>` is the line
of runs.csv, counted from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from ocpp.v16.enums import ChargePointStatus

from evsim.events import Kind
from evsim.recording import layout
from evsim.recording.counts import rows_by_charge_point
from evsim.recording.loading import Run, row_labels

Numbers = NDArray[np.float64]


def file_name(number: int, label: Numbers) -> str:
    """Name a run's file."""
    labelled = np.flatnonzero(label)
    first = int(labelled[0]) if labelled.size else label.size
    return f"{number:03d}_evsim_id_{number}_Facility_tr_{first}_1st_{first}.csv"


def csv_text(columns: dict[str, Numbers], label: Numbers) -> str:
    """Write the values and the label."""
    names = ",".join([*columns, "Label"])
    rows = zip(*columns.values(), label, strict=True)
    lines = (",".join(f"{value:.6g}" for value in row) for row in rows)
    return "\n".join([names, *lines, ""])


def values_and_label(run: Run) -> tuple[dict[str, Numbers], Numbers]:
    """Give a run's columns and its label, second by second.

    The columns of the series but time, whether the connector is charging, and how many commands,
    OCPP messages and CAN frames there were in the second. With several charge points, each has its
    own columns.
    """
    seconds = np.unique(run.series["time"])
    by_charge_point = rows_by_charge_point(run)
    columns: dict[str, Numbers] = {}
    for charge_point, rows in by_charge_point.items():
        prefix = f"{charge_point}." if len(by_charge_point) > 1 else ""
        time_s = rows["time"]
        for name in layout.NUMBERS:
            columns[prefix + name] = _known(seconds, time_s, rows[name])
        charging = (rows["status"] == ChargePointStatus.charging).astype(float)
        columns[f"{prefix}charging"] = _known(seconds, time_s, charging)
        commands = [
            second_s
            for second_s, names in zip(time_s, rows["commands"], strict=True)
            for _ in filter(None, names.split(";"))
        ]
        columns[f"{prefix}commands"] = _per_second(commands, seconds)
        messages = [
            event.time_s
            for event in run.ocpp
            if event.charge_point == charge_point and event.kind is not Kind.LINK
        ]
        columns[f"{prefix}ocpp_messages"] = _per_second(messages, seconds)
        frames = run.can.time_s[run.can.charge_point == charge_point]
        columns[f"{prefix}can_frames"] = _per_second(frames, seconds)
    active, visible = row_labels(run)
    labelled = run.series["time"][active | visible]
    return columns, np.isin(seconds, labelled).astype(float)


def _per_second(times_s: Sequence[float] | Numbers, seconds: Numbers) -> Numbers:
    """Count the events from each second's beginning to the next."""
    counts, _ = np.histogram(times_s, bins=np.append(seconds, seconds[-1] + 1))
    return counts.astype(float)


def _known(seconds: Numbers, time_s: Numbers, values: Numbers) -> Numbers:
    """Give the last known value for each second, 0 before the first."""
    known = ~np.isnan(values)
    time_s, values = time_s[known], values[known]
    last = np.searchsorted(time_s, seconds, side="right") - 1
    filled = np.zeros(seconds.size)
    filled[last >= 0] = values[last[last >= 0]]
    return filled
