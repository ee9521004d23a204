"""What a running program records: with the wall clock, and never at the price of a traceback.

A recording is what the user asked for. When it cannot go on, a full disk say, the program ends as
it does when it is stopped, but with one line and exit code 1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import can

from evsim.anomalies.base import Anomaly, Severity
from evsim.clock import utc_now
from evsim.errors import UserError
from evsim.labels import Label
from evsim.recording import LiveRecorder

#: A frame's own stamp is taken if it lies so little before now; adapters may count from their boot.
LONGEST_WAY_S = 10.0
#: How often is looked whether the files are still there.
LOOK_S = 1.0

log = logging.getLogger("evsim.recording")


def wall_clock() -> Callable[[], float]:
    """Give a clock: Unix s; it stands still while the system's is behind what it has shown."""
    shown_s = 0.0

    def now_s() -> float:
        nonlocal shown_s
        shown_s = max(shown_s, utc_now().timestamp())
        return shown_s

    return now_s


class Labels:
    """Takes the labels of a scene, in which one anomaly is played at a time."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._begun: Path | None = None

    def begin(self, anomaly: Anomaly, target: str, severity: Severity, start_s: float) -> None:
        """Take note that an anomaly is being played: it gets a label even if we are killed."""
        label = Label(anomaly.name, anomaly.layer, target, start_s, start_s, None, None, severity)
        self._begun = self._recording.begun(label)

    def __call__(self, label: Label) -> None:
        """Take the label of what was played."""
        self._recording.label(label)
        if self._begun is not None:
            self._begun.unlink(missing_ok=True)
            self._begun = None


class Recording:
    """Records into a directory, or nothing; made within a running event loop.

    :param directory: None to record nothing.
    :param can: this program records the CAN bus.
    :param ocpp: this program records the OCPP links.

    Raises UserError if the directory can't be recorded into.
    """

    def __init__(self, directory: Path | None, *, can: bool = False, ocpp: bool = False) -> None:
        self.directory = directory
        self._recorder = None if directory is None else LiveRecorder(directory, can=can, ocpp=ocpp)
        self._now_s = wall_clock()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._refused = False

    @property
    def is_on(self) -> bool:
        """Whether anything is recorded."""
        return self._recorder is not None

    def can(self, charge_point_id: str, message: can.Message) -> None:
        """Record a frame that a node has just sent or received."""
        if self._recorder is None:
            return
        time_s = self._now_s()
        if 0.0 <= time_s - message.timestamp <= LONGEST_WAY_S:
            time_s = message.timestamp
        try:
            self._write(self._recorder.can, charge_point_id, message, time_s)
        except ValueError as error:
            if not self._refused:
                self._refused = True
                log.warning("not recorded (said once): %s", error)

    def ocpp(self, charge_point_id: str, sent: bool, message: list[Any] | str) -> None:
        """Record a message on an OCPP link, as OcppLink.taps has it."""
        if self._recorder is not None:
            self._write(self._recorder.ocpp, charge_point_id, sent, message, self._now_s())

    def link(self, charge_point_id: str, event: str) -> None:
        """Record how a connection begins or ends."""
        if self._recorder is not None:
            self._write(self._recorder.link, charge_point_id, event, "", self._now_s())

    def labels(self) -> Labels:
        """Give what takes the labels of one scene."""
        return Labels(self)

    def label(self, label: Label) -> None:
        """Record what was played."""
        if self._recorder is not None:
            self._write(self._recorder.label, label)

    def begun(self, label: Label) -> Path | None:
        """Record what is being played; give the file to be removed after its label()."""
        paths: list[Path] = []
        if self._recorder is not None:
            recorder = self._recorder
            self._write(lambda: paths.append(recorder.begun(label)))
        return paths[0] if paths else None

    def _write(self, write: Callable[..., None], *what: object) -> None:
        if self._failure.done():
            return
        try:
            write(*what)
        except UserError as error:
            self._fail(error)

    def _fail(self, error: UserError) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)
            self._failure.exception()  # seen, even if nobody watches

    async def watch(self) -> None:
        """Raise UserError when the recording cannot go on; otherwise never return."""
        while True:
            await asyncio.wait([self._failure], timeout=LOOK_S)
            if self._failure.done():
                await self._failure
            if self.directory is not None and not self.directory.is_dir():
                self._fail(
                    UserError(
                        f"the recording in {self.directory} cannot go on: the directory has been "
                        "removed; start again"
                    )
                )

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.close()
        except UserError:
            if not self._failure.done():
                raise
