"""What follows from the events: series.csv and trace.jsonl, the same in the lab and afterwards."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import can

from evsim import frames
from evsim.events import OcppEvent
from evsim.recording.errors import CannotWriteError
from evsim.recording.layout import (
    DBC,
    NUMBERS,
    PARQUET,
    SERIES,
    SERIES_COLUMNS,
    SERIES_HEADER,
    TRACE,
)
from evsim.recording.series import Series
from evsim.recording.trace import Trace
from evsim.recording.writers import RecordWriter, TextFile


class Derived:
    """Takes the stream of events, in order of time, and writes both files of `directory`."""

    def __init__(
        self, directory: Path, *, start_s: float | None = None, charge_points: Iterable[str] = ()
    ) -> None:
        self._series_file = TextFile(directory / SERIES, header=SERIES_HEADER)
        try:
            self._trace_file = RecordWriter(directory / TRACE)
        except CannotWriteError:
            self._series_file.close()
            raise
        self._series = Series(self._series_file.write, start_s=start_s, charge_points=charge_points)
        self._trace = Trace(self._trace_file.write_record)

    def frame(self, time_s: float, charge_point: str, message: can.Message) -> None:
        """Take a message on the CAN bus."""
        frame: frames.Frame | None = None
        if message.arbitration_id in frames.LENGTHS:  # else not worth the price of an exception
            try:
                frame = frames.decode(message)
            except frames.FrameError:
                frame = None  # the charger ignores it too
        self._series.frame(time_s, charge_point, frame)
        self._trace.frame(time_s, charge_point, message, frame)

    def message(self, event: OcppEvent) -> None:
        """Take an OCPP message or link event."""
        self._series.message(event)
        self._trace.message(event)

    def finish(self, end: int) -> None:
        """Write what is left, the seconds that begin before `end` too, and close the files."""
        self._series.finish(end)
        self._trace.finish()
        self.close()

    def close(self) -> None:
        """Close the files; once is enough."""
        try:
            self._series_file.close()
        finally:
            self._trace_file.close()


def copy_dbc(directory: Path) -> None:
    """Put the DBC of the CAN protocol beside the frames."""
    source = Path(frames.__file__).with_name(DBC)
    try:
        (directory / DBC).write_bytes(source.read_bytes())
    except OSError as error:
        raise CannotWriteError(directory / DBC, error) from error


def write_parquet(directory: Path) -> None:
    """Write series.parquet from series.csv, if pyarrow is installed."""
    if importlib.util.find_spec("pyarrow") is None:
        return
    csv = importlib.import_module("pyarrow.csv")
    parquet = importlib.import_module("pyarrow.parquet")
    # Of the same types whatever is in this run.
    types = {name: "double" if name in ("time", *NUMBERS) else "string" for name in SERIES_COLUMNS}
    try:
        table = csv.read_csv(
            directory / SERIES, convert_options=csv.ConvertOptions(column_types=types)
        )
        parquet.write_table(table, directory / PARQUET)
    except OSError as error:
        raise CannotWriteError(directory / PARQUET, error) from error
