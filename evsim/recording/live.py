"""Recording while real programs run: several processes write into one directory.

    csms.py  ocpp.jsonl        who plays an anomaly  labels.csv
    cp.py    can.log           afterwards, finish_live(DIR) or python -m evsim.recording DIR:
                               series.csv, trace.jsonl, charger.dbc, run.json

Each line is in the system's hands as soon as it is written, so that a process that is killed
loses at most the line that it was writing.
"""

from __future__ import annotations

import logging
import math
import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import can

from evsim.errors import UserError
from evsim.events import CanEvent, Direction
from evsim.labels import Label
from evsim.recording import layout
from evsim.recording.begun import note_begun, take_begun
from evsim.recording.derived import Derived, copy_dbc, write_parquet
from evsim.recording.errors import CannotWriteError, RecordingError
from evsim.recording.messages import Messages, link_event
from evsim.recording.reading import merged, read_can, read_labels, read_ocpp
from evsim.recording.series import GapError
from evsim.recording.writers import CanWriter, OcppWriter, append_label, begin_labels, write_info

CAN_LOG = layout.can_file("log")
_PACKAGES = ("ev-anomaly-sim", "python-can", "ocpp", "numpy")

log = logging.getLogger("evsim.recording")


class LiveRecorder:
    """What one process writes of a live recording; its methods are those of Recorder.

    Times are Unix s. A clock that is set back makes the time of the recording stand still.

    :param directory: made if need be; the other processes write into it too.
    :param can: this process records the CAN bus.
    :param ocpp: this process records the central system's OCPP links.

    Raises UserError if the directory already holds a recording of that; later CannotWriteError,
    and ValueError for a frame that no CAN bus can carry or what is no charge point id.
    """

    def __init__(self, directory: Path | str, *, can: bool = False, ocpp: bool = False) -> None:
        self.directory = Path(directory)
        self._messages = Messages()
        self._now_s = 0.0
        self._can: CanWriter | None = None
        self._ocpp: OcppWriter | None = None
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotWriteError(self.directory, error) from error
        wanted = [name for name, is_wanted in ((CAN_LOG, can), (layout.OCPP, ocpp)) if is_wanted]
        for name in (layout.INFO, *wanted):
            if (self.directory / name).exists():
                raise UserError(
                    f"{self.directory} already holds a recording ({name}); choose another directory"
                )
        if can:
            self._can = CanWriter(self.directory / CAN_LOG, live=True)
        if ocpp:
            self._ocpp = OcppWriter(self.directory / layout.OCPP, live=True)

    def can(self, charge_point: str, message: can.Message, time_s: float) -> None:
        """Record a frame on the CAN bus of a charge point."""
        assert self._can is not None, "made with can=True"
        self._can.write_frame(charge_point, message, self._on(time_s))

    def ocpp(
        self,
        charge_point: str,
        sent_by_central_system: bool,
        message: list[Any] | str,
        time_s: float,
    ) -> None:
        """Record an OCPP-J array, or the text of what could not be read."""
        assert self._ocpp is not None, "made with ocpp=True"
        event = self._messages.event(
            charge_point, sent_by_central_system, message, self._on(time_s)
        )
        self._ocpp.write_event(event)

    def link(self, charge_point: str, event: str, text: str, time_s: float) -> None:
        """Record an event of the link itself: "connected" or "disconnected"."""
        assert self._ocpp is not None, "made with ocpp=True"
        direction = Direction.TO_CENTRAL_SYSTEM
        self._ocpp.write_event(link_event(self._on(time_s), charge_point, direction, event, text))

    def label(self, label: Label) -> None:
        """Record the label of an anomaly; any process may."""
        append_label(self.directory / layout.LABELS, label)

    def begun(self, label: Label) -> Path:
        """Record that something is being played; remove the file with its label()."""
        return note_begun(self.directory, label)

    def _on(self, time_s: float) -> float:
        if time_s > self._now_s:
            self._now_s = time_s
        return self._now_s

    def close(self) -> None:
        """Close the files."""
        for file in (self._can, self._ocpp):
            if file is not None:
                file.close()

    def __enter__(self) -> LiveRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def finish_live(directory: Path | str, run: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Make a live recording a whole run, when all its processes have ended; give its run.json.

    The torn last line of a process that was killed is cut off, with a warning, and what it was
    playing gets a label that lasts to the end. If only one of can.log
    and ocpp.jsonl is there, the run has nothing of the other.

    Raises UserError for what is no live recording or is finished already, and RecordingError for
    any other damage.
    """
    directory = Path(directory)
    _check(directory)
    for name in (CAN_LOG, layout.OCPP):
        _mend(directory / name)
    begin_labels(directory / layout.LABELS)
    _mend(directory / layout.LABELS)
    for name in (layout.SERIES, layout.TRACE):  # of a finish_live() that was interrupted
        (directory / name).unlink(missing_ok=True)
    first_s, last_s, charge_points = _derive(directory)
    for label in take_begun(directory, read_labels(directory), last_s):
        append_label(directory / layout.LABELS, label)
    anomalies = sorted({label.anomaly for label in read_labels(directory)})
    copy_dbc(directory)
    write_parquet(directory)
    info = {
        "format": layout.FORMAT,
        "seed": None,
        "duration_s": round(last_s - first_s, 6),
        "plant": None,
        "charge_points": charge_points,
        "benign": None,
        "anomaly": ";".join(anomalies) or None,
        "severity": None,
        "parameters": {},
        "versions": _versions(),
        "configuration_hash": None,
        **(run or {}),
        "live": True,
        "can": {"format": "log"},
        "complete": True,
    }
    write_info(directory / layout.INFO, info)
    return info


def _check(directory: Path) -> None:
    if not directory.is_dir():
        problem = "it is no directory" if directory.exists() else "there is no such directory"
        raise RecordingError(directory, problem, remedy="give the directory that was recorded into")
    if (directory / layout.INFO).exists():
        raise UserError(f"{directory} is finished already: it has a {layout.INFO}")
    missing = [name for name in (CAN_LOG, layout.OCPP) if not (directory / name).exists()]
    if len(missing) > 1:
        problem = f"neither {CAN_LOG} nor {layout.OCPP} is in it"
        raise RecordingError(directory, problem, remedy="give the directory that was recorded into")
    for name in missing:
        log.warning("%s: there is no %s, so the run has nothing of it", directory, name)
        (directory / name).touch()


def _mend(path: Path) -> None:
    """Cut off the line that a killed process was writing."""
    try:
        with path.open("rb+") as file:
            size = end = file.seek(0, os.SEEK_END)
            while end > 0:
                begin = max(0, end - 65536)
                file.seek(begin)
                newline = file.read(end - begin).rfind(b"\n")
                if newline >= 0:
                    end = begin + newline + 1
                    break
                end = begin
            if end < size:
                log.warning(
                    "%s: the last line was torn (%d bytes); it is cut off", path, size - end
                )
                file.truncate(end)
    except OSError as error:
        raise CannotWriteError(path, error) from error


def _derive(directory: Path) -> tuple[float, float, list[str]]:
    """Write series and trace; give the time of the first and last event, and the charge points."""
    first_s: float | None = None
    last_s = 0.0
    charge_points: dict[str, None] = {}
    derived = Derived(directory)
    events: Iterator[Any] = merged(read_can(directory), read_ocpp(directory))
    try:
        for event in events:
            if first_s is None:
                first_s = event.time_s
            last_s = event.time_s
            charge_points[event.charge_point] = None
            if isinstance(event, CanEvent):
                derived.frame(event.time_s, event.charge_point, event.message)
            else:
                derived.message(event)
        derived.finish(math.floor(last_s) + 1)
    except GapError as error:
        raise RecordingError(directory, str(error)) from error
    finally:
        derived.close()
    return first_s or 0.0, last_s, sorted(charge_points)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a copy that is not installed
            versions[package] = "unknown"
    return versions
