"""Writes a run's directory as its events come, and makes it appear only when it is whole.

The files grow in a hidden directory beside the final one, .NAME.partial, which is renamed when all
is written. So whatever has the final name is complete; what an interrupted recording left is
removed by the next one.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import can

from evsim.errors import UserError
from evsim.events import Direction
from evsim.labels import Label
from evsim.recording import layout
from evsim.recording.derived import Derived, copy_dbc, write_parquet
from evsim.recording.errors import CannotWriteError
from evsim.recording.messages import Messages, link_event
from evsim.recording.writers import (
    CanWriter,
    OcppWriter,
    TextFile,
    VectorCanWriter,
    check_charge_point,
    write_info,
)


class Recorder:
    """Records a run that this process plays alone; for one of several processes see LiveRecorder.

        with Recorder(directory) as recorder:
            recorder.can("CP_1", message, time_s)
            ...
            recorder.finish({"seed": 1})

    Events come in order of time, which is kept to the microsecond. Without finish() nothing
    remains.

    :param can_format: one of layout.CAN_FORMATS.
    :param start_s: when the series begins, Unix s; by default with the first event.
    :param charge_points: have rows in the series from its beginning on.
    :param force: replace a run that has this name, when the new one is whole.

    Raises UserError if there is something of that name already or it can't be written; later
    CannotWriteError, e.g. for a full disk, GapError for a time that leaps, and ValueError for a
    time that goes back, a frame that no CAN bus can carry or what is no charge point id.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        can_format: str = "log",
        start_s: float | None = None,
        charge_points: Iterable[str] = (),
        force: bool = False,
    ) -> None:
        if can_format not in layout.CAN_FORMATS:
            raise UserError(
                f"CAN frames cannot be recorded as {can_format!r}; "
                f"choose one of {', '.join(layout.CAN_FORMATS)}"
            )
        charge_points = list(charge_points)
        for charge_point in charge_points:
            check_charge_point(charge_point)
        self.directory = Path(directory)
        self.finished = False
        self._force = force
        self._charge_points = dict.fromkeys(charge_points)
        self._start_s = start_s
        self._now_s = 0.0 if start_s is None else round(start_s, 6)
        self._messages = Messages()
        self._check_target()
        name = self.directory.absolute().name
        self._partial = self.directory.absolute().with_name(f".{name}.partial")
        with contextlib.ExitStack() as undo:
            undo.callback(self._discard)
            self._make_partial()
            path = self._partial / layout.can_file(can_format)
            self._can = (
                CanWriter(path) if can_format == "log" else VectorCanWriter(path, can_format)
            )
            undo.callback(_close_quietly, self._can)
            self._ocpp = OcppWriter(self._partial / layout.OCPP)
            undo.callback(_close_quietly, self._ocpp)
            self._labels = TextFile(self._partial / layout.LABELS, header=layout.LABELS_HEADER)
            undo.callback(_close_quietly, self._labels)
            self._derived = Derived(
                self._partial, start_s=start_s, charge_points=self._charge_points
            )
            undo.callback(_close_quietly, self._derived)
            # From now on close() does all this.
            self._undo = undo.pop_all()

    # ── Events ───────────────────────────────────────────────────────────────────────────────

    def can(self, charge_point: str, message: can.Message, time_s: float) -> None:
        """Record a frame on the CAN bus of a charge point."""
        time_s = self._on(time_s)
        self._can.write_frame(charge_point, message, time_s)
        self._derived.frame(time_s, charge_point, message)

    def ocpp(
        self,
        charge_point: str,
        sent_by_central_system: bool,
        message: list[Any] | str,
        time_s: float,
    ) -> None:
        """Record an OCPP-J array, or the text of what could not be read.

        A tap on the central system's link gives what is wanted:

            link.taps.append(lambda sent, message: recorder.ocpp(link.id, sent, message, now_s()))
        """
        time_s = self._on(time_s)
        event = self._messages.event(charge_point, sent_by_central_system, message, time_s)
        self._derived.message(self._ocpp.write_event(event))

    def link(self, charge_point: str, event: str, text: str, time_s: float) -> None:
        """Record an event of the link itself: "connected" or "disconnected"."""
        time_s = self._on(time_s)
        link = link_event(time_s, charge_point, Direction.TO_CENTRAL_SYSTEM, event, text)
        self._derived.message(self._ocpp.write_event(link))

    def label(self, label: Label) -> None:
        """Record the label of an anomaly that has been played."""
        self._labels.write(label.to_csv())

    def _on(self, time_s: float) -> float:
        time_s = float(f"{time_s:.6f}")  # round(), but quicker
        if not self._now_s <= time_s:
            raise ValueError(f"events come in order of time, but {time_s} after {self._now_s}")
        self._now_s = time_s
        return time_s

    # ── The end ──────────────────────────────────────────────────────────────────────────────

    def finish(self, run: Mapping[str, Any]) -> None:
        """Write run.json with what is to be said about the run, and give the directory its name.

        The series lasts until the last event, or for run["duration_s"] from `start_s`.
        """
        duration_s = run.get("duration_s")
        end = math.floor(self._now_s) + 1
        if self._start_s is not None and duration_s is not None:
            end_s = self._start_s + duration_s
            # What happens at the very end is no reason for one more second.
            end = math.ceil(end_s) if self._now_s <= end_s else end
        self._derived.finish(end)
        self._can.close()
        self._ocpp.close()
        self._labels.close()
        copy_dbc(self._partial)
        write_parquet(self._partial)
        info = {
            "format": layout.FORMAT,
            **run,
            "can": self._can.description(),
            "complete": True,
        }
        write_info(self._partial / layout.INFO, info)
        self._check_target()
        try:
            self._publish()
        except OSError as error:
            raise CannotWriteError(self.directory, error) from error
        self.finished = True

    def close(self) -> None:
        """Close the files, and remove them all unless finish() has been called."""
        self._undo.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ── Directories ──────────────────────────────────────────────────────────────────────────

    def _check_target(self) -> None:
        """Refuse to touch what is there, but for a run that is to be replaced."""
        if not os.path.lexists(self.directory):
            return
        if not self._force:
            raise UserError(
                f"{self.directory} is there already; choose another directory or remove it first"
            )
        if not (self.directory / layout.INFO).is_file():
            raise UserError(
                f"{self.directory} is no recorded run, so it is not replaced; "
                "choose another directory"
            )

    def _make_partial(self) -> None:
        try:
            if self._partial.exists():
                shutil.rmtree(self._partial)
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise CannotWriteError(self._partial, error) from error

    def _publish(self) -> None:
        if not self.directory.exists():
            self._partial.rename(self.directory)
            return
        old = self._partial.with_suffix(".old")
        shutil.rmtree(old, ignore_errors=True)
        self.directory.rename(old)
        self._partial.rename(self.directory)
        shutil.rmtree(old, ignore_errors=True)

    def _discard(self) -> None:
        if not self.finished:
            shutil.rmtree(self._partial, ignore_errors=True)


def _close_quietly(file: CanWriter | VectorCanWriter | OcppWriter | TextFile | Derived) -> None:
    with contextlib.suppress(CannotWriteError):
        file.close()
