"""Reads the files of a run line by line and trusts none: what is damaged is named with its line."""

from __future__ import annotations

import csv
import heapq
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import can
from can.io.blf import BLFParseError

from evsim.events import CanEvent, Direction, Event, Kind, OcppEvent
from evsim.labels import LABEL_COLUMNS, Label
from evsim.recording import candump, layout
from evsim.recording.errors import RecordingError

_END_OF_ASC = b"End TriggerBlock\n"
_CUT_OFF = "the file ends in the middle of this line"


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give the lines of a text file, numbered from 1; never more than one is in memory."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(layout.LONGEST_LINE_BYTES + 1):
                number += 1
                if len(line) > layout.LONGEST_LINE_BYTES:
                    problem = f"longer than the {layout.LONGEST_LINE_BYTES} bytes of any line"
                    raise RecordingError(path, problem, line=number)
                if not line.endswith(b"\n"):
                    raise RecordingError(path, _CUT_OFF, line=number)
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError:
                    raise RecordingError(path, "not UTF-8 text", line=number) from None
                if "\0" in text:
                    raise RecordingError(path, "a NUL byte, which no text has", line=number)
                yield number, text.rstrip("\r\n")
    except FileNotFoundError:
        raise RecordingError(path, "the file is missing") from None
    except OSError as error:
        raise RecordingError(path, f"cannot be read: {error.strerror or error}") from error


class _Order:
    """Refuses a time that goes back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_s = -math.inf

    def check(self, time_s: float, line: int | None) -> None:
        if time_s < self._last_s:
            problem = f"the time goes back from {self._last_s:.6f} to {time_s:.6f}"
            raise RecordingError(self._path, problem, line=line)
        self._last_s = time_s


# ── Events ───────────────────────────────────────────────────────────────────────────────────


def merged(can_events: Iterator[CanEvent], ocpp_events: Iterator[OcppEvent]) -> Iterator[Event]:
    """Give both in order of time; at the same moment OCPP first: it causes what CAN carries."""
    return heapq.merge(ocpp_events, can_events, key=lambda event: event[0])


def read_can(directory: Path, description: dict[str, Any] | None = None) -> Iterator[CanEvent]:
    """Give the frames of a run.

    :param description: of its CAN file, from run.json; by default it is can.log.
    """
    can_format = (description or {}).get("format", "log")
    path = directory / layout.can_file(str(can_format))
    if can_format == "log":
        return _read_candump(path)
    if can_format in layout.CAN_FORMATS and description is not None:
        return _read_vector(path, description)
    raise RecordingError(directory / layout.INFO, f"an unknown CAN format {can_format!r}")


def _read_candump(path: Path) -> Iterator[CanEvent]:
    order = _Order(path)
    for number, line in lines(path):
        try:
            event = CanEvent(*candump.read(line))
        except ValueError as error:
            raise RecordingError(path, str(error), line=number) from None
        order.check(event.time_s, number)
        yield event


def _read_vector(path: Path, description: dict[str, Any]) -> Iterator[CanEvent]:
    channels, start_s = description.get("channels"), description.get("start")
    if not isinstance(channels, list) or not isinstance(start_s, int | float | None):
        raise RecordingError(path.with_name(layout.INFO), '"can" does not say how to read the file')
    order = _Order(path)
    try:
        for message in _vector_messages(path):
            # Times in can.asc count from the first frame.
            time_s = message.timestamp + ((start_s or 0.0) if path.suffix == ".asc" else 0.0)
            message.timestamp = round(time_s, 6)
            message.channel = channels[int(str(message.channel or 0))]
            order.check(message.timestamp, None)
            yield CanEvent(message.timestamp, str(message.channel), message)
    except FileNotFoundError:
        raise RecordingError(path, "the file is missing") from None
    except OSError as error:
        raise RecordingError(path, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, struct.error, zlib.error, BLFParseError) as error:
        problem = f"python-can cannot read it ({type(error).__name__}: {error})"
        raise RecordingError(path, problem) from error


def _vector_messages(path: Path) -> Iterator[can.Message]:
    """Read with python-can, which takes the end of a damaged file for the end of the recording."""
    cut_off = RecordingError(path, "the file is cut off, or was never finished")
    size = path.stat().st_size
    with path.open("rb") as file:  # not by python-can, which leaves it open if it fails
        if path.suffix == ".blf":
            reader = can.BLFReader(file)
            if reader.file_size != size:
                raise cut_off
            yield from reader
            return
        file.seek(max(0, size - 64))
        if not file.read().endswith(_END_OF_ASC):
            raise cut_off
    with path.open(encoding="utf-8") as text:
        yield from can.ASCReader(text)


#: Of a line of ocpp.jsonl.
EVENT_KEYS = {"time", "charge_point", "direction", "kind", "id", "action", "payload"}


def read_ocpp(directory: Path) -> Iterator[OcppEvent]:
    """Give the messages of a run."""
    path = directory / layout.OCPP
    order = _Order(path)
    for number, line in lines(path):
        record = _object(path, number, line)
        try:
            event = event_of(record)
        except ValueError as error:
            raise RecordingError(path, str(error), line=number) from None
        order.check(event.time_s, number)
        yield event


def event_of(record: dict[str, Any]) -> OcppEvent:
    """Read a line of ocpp.jsonl; ValueError for what is none."""
    if record.keys() != EVENT_KEYS:
        found = ", ".join(map(str, record))
        raise ValueError(f"expected the keys {', '.join(sorted(EVENT_KEYS))}, found {found}")
    event = OcppEvent(
        _time(record["time"]),
        _text(record["charge_point"]),
        Direction(record["direction"]),
        Kind(record["kind"]),
        _text(record["id"]),
        _text(record["action"]),
        record["payload"],
    )
    if type(event.payload) is not dict:
        raise ValueError("the payload is no object")
    return event


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise RecordingError(path, f"not JSON ({error})", line=number) from None
    if type(record) is not dict:
        raise RecordingError(path, "no JSON object", line=number)
    return record


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _time(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(float(value)):  # type: ignore[arg-type]
        raise ValueError(f"the time is no number: {value!r:.50}")
    return float(value)  # type: ignore[arg-type]


def _text(value: object) -> str:
    if type(value) is not str:
        raise ValueError(f"expected a text, found {value!r:.50}")
    return value


# ── Tables and records ───────────────────────────────────────────────────────────────────────


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Give the rows of a CSV file, one a line, under exactly these columns."""
    numbered = lines(path)
    _, header = next(numbered, (1, ""))
    if header.split(",") != list(columns):
        problem = f"expected the columns {','.join(columns)}, found {header[:500] or 'none'}"
        raise RecordingError(path, problem, line=1)
    for number, line in numbered:
        try:
            cells = next(csv.reader([line], strict=True)) if '"' in line else line.split(",")
        except csv.Error as error:
            raise RecordingError(path, f"no CSV row ({error})", line=number) from None
        if len(cells) != len(columns):
            problem = f"{len(cells)} cells, but {len(columns)} columns"
            raise RecordingError(path, problem, line=number)
        yield number, cells


def read_series(
    directory: Path, take: Callable[[float, str, dict[str, float], str, str], None]
) -> None:
    """Give each row of the series to `take`: time, charge point, numbers, status, commands."""
    path = directory / layout.SERIES
    order = _Order(path)
    columns = layout.SERIES_COLUMNS
    for number, cells in _rows(path, columns):
        row = dict(zip(columns, cells, strict=True))
        try:
            time_s = _number(row["time"], "time")
            numbers = {
                name: _number(row[name], name) if row[name] else math.nan for name in layout.NUMBERS
            }
        except ValueError as error:
            raise RecordingError(path, str(error), line=number) from None
        order.check(time_s, number)
        if not row["charge_point"]:
            raise RecordingError(path, "no charge_point", line=number)
        take(time_s, row["charge_point"], numbers, row["status"], row["commands"])


def _number(cell: str, column: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} is no number: {cell[:50]!r}")
    return value


def read_labels(directory: Path) -> list[Label]:
    """Give the labels of a run in the order in which they were written."""
    path = directory / layout.LABELS
    labels = []
    for number, cells in _rows(path, LABEL_COLUMNS):
        try:
            labels.append(Label.from_row(dict(zip(LABEL_COLUMNS, cells, strict=True))))
        except ValueError as error:
            raise RecordingError(path, f"no label: {error}", line=number) from None
    return labels


def read_trace(directory: Path) -> list[dict[str, Any]]:
    """Give the records of what became of each command."""
    path = directory / layout.TRACE
    order = _Order(path)
    records = []
    for number, line in lines(path):
        record = _object(path, number, line)
        try:
            for name in ("command", "id", "charge_point"):
                _text(record.get(name))
            order.check(_time(record.get("time")), number)
        except ValueError as error:
            raise RecordingError(path, str(error), line=number) from None
        records.append(record)
    return records


def read_info(directory: Path) -> dict[str, Any]:
    """Give run.json; RecordingError also for what is no run, or not a whole one."""
    if not directory.is_dir():
        problem = "it is no directory" if directory.exists() else "there is no such directory"
        remedy = "give the directory of a run, which holds a run.json"
        raise RecordingError(directory, problem, remedy=remedy)
    path = directory / layout.INFO
    if not path.exists():
        raise RecordingError(
            directory,
            "there is no run.json, so the run is half written: was the program killed?",
            remedy="record it again; or if it was recorded live: "
            f"python -m evsim.recording {directory}",
        )
    text = "\n".join(line for _, line in lines(path))
    try:
        info = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordingError(path, f"not JSON ({error})") from None
    if type(info) is not dict or "format" not in info:
        raise RecordingError(path, 'no JSON object with a "format"')
    if info["format"] != layout.FORMAT:
        problem = f"format {info['format']!r:.80}, but this program reads {layout.FORMAT!r}"
        raise RecordingError(path, problem, remedy="use the version that recorded it")
    if info.get("complete") is not True:
        raise RecordingError(path, 'it is not said to be "complete"')
    if not isinstance(info.get("can", {}), dict):
        raise RecordingError(path, '"can" is no object')
    return info
