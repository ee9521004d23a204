"""One writer for each file of a run; whoever records composes them.

A file is always a new one: to write over a recording, or into somebody else's, is refused. What
the system will not write, a full disk say, is a CannotWriteError that names the file.
"""

from __future__ import annotations

import copy
import errno
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import IO, Any

import can

from evsim.events import Direction, OcppEvent
from evsim.labels import Label
from evsim.recording import candump
from evsim.recording.errors import CannotWriteError
from evsim.recording.layout import LABELS_HEADER, LONGEST_LINE_BYTES
from evsim.recording.messages import unreadable
from evsim.text import is_charge_point_id

_BUFFER_BYTES = 256 * 1024
_LARGEST_STANDARD_ID = 0x7FF
_LONGEST_DATA = 8
# Pure ASCII, so that no text inside can break a line or its encoding. What is encoded has come
# from JSON, so it can't be circular.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)


def check_charge_point(charge_point: str) -> None:
    """Raise ValueError for what is no charge point id."""
    if not is_charge_point_id(charge_point):
        raise ValueError(f"not a charge point id: {charge_point!r}")


class TextFile:
    """A new text file.

    :param live: each line is in the system's hands at once, so that a killed process loses none.
    """

    def __init__(self, path: Path, *, header: str = "", live: bool = False) -> None:
        self.path = path
        try:
            self._file = path.open(
                "x", encoding="utf-8", newline="\n", buffering=1 if live else _BUFFER_BYTES
            )
        except OSError as error:
            raise CannotWriteError(path, error) from error
        self.write(header)

    def write(self, text: str) -> None:
        """Write whole lines."""
        try:
            self._file.write(text)
        except OSError as error:
            raise CannotWriteError(self.path, error) from error

    def close(self) -> None:
        """Write what is still buffered."""
        try:
            self._file.close()
        except OSError as error:
            raise CannotWriteError(self.path, error) from error


class CanWriter(TextFile):
    """can.log, as candump writes it."""

    def __init__(self, path: Path, *, live: bool = False) -> None:
        super().__init__(path, live=live)
        self._channels: dict[str, str] = {}

    def write_frame(self, charge_point: str, message: can.Message, time_s: float) -> None:
        """Write one frame; ValueError for what no CAN bus can carry."""
        channel = self._channels.get(charge_point)
        if channel is None:
            check_charge_point(charge_point)
            channel = self._channels[charge_point] = candump.channel(charge_point)
        data = message.data
        if (
            message.is_extended_id
            or message.is_remote_frame
            or message.is_error_frame
            or message.is_fd
            or len(data) > _LONGEST_DATA
            or not 0 <= message.arbitration_id <= _LARGEST_STANDARD_ID
        ):
            text = candump.frame_text(message)
        else:  # the same, for the frames that nearly all are
            text = f"{message.arbitration_id:03X}#{data.hex().upper()}"
        self.write(f"({time_s:.6f}) {channel} {text}\n")

    def description(self) -> dict[str, Any]:
        """Say in run.json how to read the file."""
        return {"format": "log"}


class VectorCanWriter:
    """can.blf or can.asc, through python-can's writers.

    Their channels are numbers, and times in can.asc count from the first frame: description() has
    what it takes to read them back. can.asc also names the time of the first frame in the local
    time zone; all else is the same wherever it is written.
    """

    def __init__(self, path: Path, can_format: str) -> None:
        self.path = path
        self._format = can_format
        self._channels: list[str] = []
        self._start_s: float | None = None
        self._file: IO[Any]
        self._writer: can.ASCWriter | can.BLFWriter
        try:
            if can_format == "blf":
                self._file = path.open("xb")
                self._writer = can.BLFWriter(self._file)
            else:
                self._file = path.open("x", encoding="utf-8", newline="\n")
                self._writer = can.ASCWriter(self._file)
                # It has written today's date.
                self._file.seek(0)
                self._file.truncate()
        except OSError as error:
            raise CannotWriteError(path, error) from error

    def write_frame(self, charge_point: str, message: can.Message, time_s: float) -> None:
        """Write one frame; ValueError for what no CAN bus can carry."""
        candump.frame_text(message)
        if charge_point not in self._channels:
            check_charge_point(charge_point)
            self._channels.append(charge_point)
        if self._start_s is None:
            self._begin(time_s)
        written = copy.copy(message)
        written.timestamp = time_s
        written.channel = self._channels.index(charge_point)
        try:
            self._writer.on_message_received(written)
        except OSError as error:
            raise CannotWriteError(self.path, error) from error

    def _begin(self, time_s: float) -> None:
        self._start_s = time_s
        if self._format == "asc":
            date = datetime.fromtimestamp(time_s, UTC).strftime("%a %b %d %H:%M:%S.000 %Y")
            self._file.write(f"date {date}\nbase hex  timestamps absolute\n")
            self._file.write("internal events logged\n")

    def description(self) -> dict[str, Any]:
        """Say in run.json how to read the file: the charge point of each channel, from 0."""
        return {"format": self._format, "start": self._start_s, "channels": self._channels}

    def close(self) -> None:
        """Write what is still buffered."""
        try:
            if not self._file.closed:
                if self._start_s is None:
                    self._begin(0.0)
                self._writer.stop()
        except OSError as error:
            raise CannotWriteError(self.path, error) from error
        finally:
            self._close_for_good()

    def _close_for_good(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise CannotWriteError(self.path, error) from error


class OcppWriter(TextFile):
    """ocpp.jsonl: one event a line."""

    def __init__(self, path: Path, *, live: bool = False) -> None:
        super().__init__(path, live=live)
        self._middles: dict[tuple[str, Direction], str] = {}

    def write_event(self, event: OcppEvent) -> OcppEvent:
        """Write one event; give it as it was written.

        What JSON or a line can't hold, as a peer may send it, is written as "unreadable".
        """
        time_s, charge_point, direction, kind, unique_id, action, payload = event
        middle = self._middles.get((charge_point, direction))
        if middle is None:
            check_charge_point(charge_point)
            name = encode_basestring_ascii(charge_point)
            middle = f',"charge_point":{name},"direction":"{direction}","kind":"'
            self._middles[charge_point, direction] = middle
        try:
            text = _ENCODER.encode(payload)
        except (ValueError, RecursionError) as error:
            reason = f"{action} that JSON cannot hold: {type(error).__name__}"
            return self.write_event(unreadable(time_s, charge_point, direction, reason))
        line = (
            f'{{"time":{time_s:.6f}{middle}{kind}","id":{encode_basestring_ascii(unique_id)},'
            f'"action":{encode_basestring_ascii(action)},"payload":{text}}}\n'
        )
        if len(line) > LONGEST_LINE_BYTES:
            reason = f"{action[:50]} of {len(line)} bytes"
            return self.write_event(unreadable(time_s, charge_point, direction, reason))
        self.write(line)
        return event


class RecordWriter(TextFile):
    """trace.jsonl: one object a line."""

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write one object."""
        self.write(_ENCODER.encode(record) + "\n")


def append_label(path: Path, label: Label) -> None:
    """Append to labels.csv with one write, so that several processes may do it at a time."""
    begin_labels(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            line = label.to_csv().encode()
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CannotWriteError(path, error) from error


def begin_labels(path: Path) -> None:
    """Make a labels.csv without labels unless there is one.

    It comes into being whole: nobody finds one without its header to append to.
    """
    if path.exists():
        return
    beginning = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beginning.write_text(LABELS_HEADER, encoding="utf-8", newline="\n")
        try:
            os.link(beginning, path)
        except FileExistsError:
            pass  # another process was quicker
        finally:
            beginning.unlink()
    except OSError as error:
        raise CannotWriteError(path, error) from error


def write_info(path: Path, info: Mapping[str, Any]) -> None:
    """Write run.json; TypeError or ValueError for what JSON can't hold."""
    text = json.dumps(info, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CannotWriteError(path, error) from error
