"""A recorded run in memory, as arrays; and its events as a stream, for runs of any length."""

from __future__ import annotations

import array
import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.events import CanEvent, Event, OcppEvent
from evsim.labels import Label
from evsim.recording import layout
from evsim.recording.reading import (
    merged,
    read_can,
    read_info,
    read_labels,
    read_ocpp,
    read_series,
    read_trace,
)

_CLASSIC_BYTES = 8


class CanFlag(enum.IntFlag):
    """What a frame is besides a plain one."""

    EXTENDED = 1
    REMOTE = 2
    ERROR = 4
    FD = 8


@dataclass(frozen=True)
class CanFrames:
    """The CAN frames of a run in order of time, n of them."""

    #: Unix s, float64, shape (n,).
    time_s: NDArray[np.float64]
    #: Ids, str, shape (n,).
    charge_point: NDArray[np.str_]
    #: uint32, shape (n,); 0 for an error frame.
    arbitration_id: NDArray[np.uint32]
    #: Length of the data in bytes, uint8, shape (n,).
    dlc: NDArray[np.uint8]
    #: uint8, shape (n, 8), zeros after the data; of a CAN FD frame the first 8 bytes.
    data: NDArray[np.uint8]
    #: CanFlag, uint8, shape (n,).
    flags: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True)
class Run:
    """A recorded run.

    `series` has one array of shape (m,) for each column of series.csv, m rows in order of time:
    float64 for `time` (Unix s) and all numbers, NaN where nothing had been heard; str for
    `charge_point`, `status` and `commands`. See evsim.recording.series for what they mean.
    """

    directory: Path
    #: What run.json says.
    info: Mapping[str, Any]
    can: CanFrames
    #: In order of time.
    ocpp: list[OcppEvent]
    series: Mapping[str, NDArray[Any]]
    labels: list[Label]
    #: What became of each command; see evsim.recording.trace.
    trace: list[dict[str, Any]]


def load(directory: Path | str) -> Run:
    """Read a whole run; RecordingError, naming file and line, if anything in it is damaged."""
    directory = Path(directory)
    info = read_info(directory)
    return Run(
        directory=directory,
        info=info,
        can=_can_frames(read_can(directory, info.get("can"))),
        ocpp=list(read_ocpp(directory)),
        series=_series(directory),
        labels=read_labels(directory),
        trace=read_trace(directory),
    )


def read_events(directory: Path | str) -> Iterator[Event]:
    """Give a run's events in order of time, of which never more than a few are in memory.

    At the same moment OCPP comes before CAN. Raises RecordingError when it comes to the damage.
    """
    directory = Path(directory)
    info = read_info(directory)
    return merged(read_can(directory, info.get("can")), read_ocpp(directory))


def row_labels(run: Run) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say for each row of the series whether an anomaly is active, and whether its effect shows.

    A row, which is the second that begins at its time, counts if any of it is in the interval of a
    label that is about its charge point. A label that names no charge point of the run is about
    all of them.
    """
    time_s, charge_point = run.series["time"], run.series["charge_point"]
    known = set(charge_point.tolist())
    active = np.zeros(len(time_s), dtype=np.bool_)
    visible = np.zeros(len(time_s), dtype=np.bool_)

    for label in run.labels:
        targets = label.targets & known
        is_target = np.isin(charge_point, sorted(targets)) if targets else np.bool_(True)  # noqa: FBT003
        active |= is_target & _overlap(time_s, label.t_start_s, label.t_end_s)
        if label.effect_start_s is not None and label.effect_end_s is not None:
            visible |= is_target & _overlap(time_s, label.effect_start_s, label.effect_end_s)
    return active, visible


def _overlap(time_s: NDArray[np.float64], start_s: float, end_s: float) -> NDArray[np.bool_]:
    """Whether [time, time + 1 s) has something of [start, end), or of the moment start = end."""
    overlap: NDArray[np.bool_] = (time_s + 1 > start_s) & ((time_s < end_s) | (time_s <= start_s))
    return overlap


def _can_frames(events: Iterator[CanEvent]) -> CanFrames:
    times, ids = array.array("d"), array.array("L")
    lengths, flags, data = bytearray(), bytearray(), bytearray()
    names: dict[str, int] = {}
    charge_points = array.array("L")
    for time_s, charge_point, message in events:
        times.append(time_s)
        charge_points.append(names.setdefault(charge_point, len(names)))
        ids.append(0 if message.is_error_frame else message.arbitration_id)
        lengths.append(message.dlc)
        flags.append(
            (CanFlag.EXTENDED.value if message.is_extended_id else 0)
            | (CanFlag.REMOTE.value if message.is_remote_frame else 0)
            if not message.is_error_frame
            else CanFlag.ERROR.value
        )
        if message.is_fd:
            flags[-1] |= CanFlag.FD.value
        data += bytes(message.data[:_CLASSIC_BYTES]).ljust(_CLASSIC_BYTES, b"\0")
    return CanFrames(
        time_s=np.array(times, dtype=np.float64),
        charge_point=_texts(list(names), charge_points),
        arbitration_id=np.array(ids, dtype=np.uint32),
        dlc=np.array(lengths, dtype=np.uint8),
        data=np.frombuffer(bytes(data), dtype=np.uint8).reshape(-1, _CLASSIC_BYTES),
        flags=np.array(flags, dtype=np.uint8),
    )


def _texts(names: list[str], numbers: array.array[int]) -> NDArray[np.str_]:
    if not names:
        return np.array([], dtype=np.str_)
    return np.array(names, dtype=np.str_)[np.array(numbers, dtype=np.intp)]


def _series(directory: Path) -> dict[str, NDArray[Any]]:
    numbers = {name: array.array("d") for name in ("time", *layout.NUMBERS)}
    texts = {name: array.array("L") for name in ("charge_point", "status", "commands")}
    known: dict[str, dict[str, int]] = {name: {} for name in texts}

    def take(
        time_s: float, charge_point: str, values: dict[str, float], status: str, commands: str
    ) -> None:
        numbers["time"].append(time_s)
        for name, value in values.items():
            numbers[name].append(value)
        row = {"charge_point": charge_point, "status": status, "commands": commands}
        for name, text in row.items():
            texts[name].append(known[name].setdefault(text, len(known[name])))

    read_series(directory, take)
    return {
        name: np.array(numbers[name], dtype=np.float64)
        if name in numbers
        else _texts(list(known[name]), texts[name])
        for name in layout.SERIES_COLUMNS
    }
