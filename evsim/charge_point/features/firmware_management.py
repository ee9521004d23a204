"""The FirmwareManagement profile: UpdateFirmware and GetDiagnostics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any

from ocpp.exceptions import NotSupportedError, PropertyConstraintViolationError
from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action, DiagnosticsStatus

from evsim.charge_point.diagnostics import Diagnostics
from evsim.charge_point.firmware_store import Update
from evsim.charge_point.firmware_update import FirmwareUpdater
from evsim.charge_point.outbox import Outbox
from evsim.clock import from_ocpp
from evsim.file_transfer import Retries, TransferError, upload
from evsim.ocpp_link import on

log = logging.getLogger("evsim.charge_point")


def read_moment(text: str | None, field: str) -> datetime | None:
    """Read a time stamp of a message; PropertyConstraintViolation if it is none."""
    try:
        return None if text is None else from_ocpp(text)
    except ValueError:
        raise PropertyConstraintViolationError(f"{field} is no date and time") from None


class FirmwareManagement:
    """Updates the firmware and uploads diagnostics.

    :param send: makes a call() on the link, for what is triggered: it may be sent even while the
        central system has not accepted the charge point yet.
    :param spawn: runs a coroutine as a task, e.g. OcppLink.run_in_background.
    :param signed_only: whether the security extension is in use: UpdateFirmware is then refused,
        as the white paper has it, for SignedUpdateFirmware takes its place.
    """

    def __init__(
        self,
        updater: FirmwareUpdater,
        diagnostics: Diagnostics,
        outbox: Outbox,
        *,
        send: Callable[[Any], Awaitable[Any]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        signed_only: Callable[[], bool] = lambda: False,
    ) -> None:
        self._updater = updater
        self._diagnostics = diagnostics
        self._outbox = outbox
        self._send = send
        self._spawn = spawn
        self._signed_only = signed_only
        self._status = DiagnosticsStatus.idle
        self._upload: asyncio.Task[None] | None = None

    @on(Action.update_firmware)
    def on_update_firmware(
        self,
        location: str,
        retrieve_date: str,
        retries: int | None = None,
        retry_interval: int | None = None,
        **_: object,
    ) -> call_result.UpdateFirmware:
        """Begin an update; the answer knows no refusal, so what hinders it is only logged."""
        if self._signed_only():
            raise NotSupportedError("only SignedUpdateFirmware is taken here")
        retrieve_at = read_moment(retrieve_date, "retrieveDate")
        assert retrieve_at is not None, "the message has one"
        self._updater.begin(Update(location, retrieve_at, Retries.wanted(retries, retry_interval)))
        return call_result.UpdateFirmware()

    @on(Action.get_diagnostics)
    def on_get_diagnostics(
        self,
        location: str,
        retries: int | None = None,
        retry_interval: int | None = None,
        start_time: str | None = None,
        stop_time: str | None = None,
        **_: object,
    ) -> call_result.GetDiagnostics:
        """Name the file and upload it; a request in place of the one under way."""
        oldest, latest = read_moment(start_time, "startTime"), read_moment(stop_time, "stopTime")
        content = self._diagnostics.write(oldest, latest)
        if not content:
            return call_result.GetDiagnostics()
        name = self._diagnostics.file_name()
        if self._upload is not None:
            self._upload.cancel()
        retrying = Retries.wanted(retries, retry_interval)
        self._upload = self._spawn(self._deliver(location, name, content, retrying))
        return call_result.GetDiagnostics(file_name=name)

    async def report_firmware_status(self) -> None:
        """Tell what the update does, for a TriggerMessage."""
        await self._send(self._updater.status())

    async def report_diagnostics_status(self) -> None:
        """Tell whether diagnostics are being uploaded, for a TriggerMessage."""
        await self._send(call.DiagnosticsStatusNotification(self._status))

    async def _deliver(self, location: str, name: str, content: bytes, retries: Retries) -> None:
        self._status = DiagnosticsStatus.uploading
        self._outbox.put(call.DiagnosticsStatusNotification(DiagnosticsStatus.uploading))
        status = DiagnosticsStatus.uploaded
        try:
            await retries.of(lambda: upload(location, name, content))
        except TransferError as error:
            log.warning("diagnostics not uploaded: %s", error)
            status = DiagnosticsStatus.upload_failed
        self._status = DiagnosticsStatus.idle
        self._outbox.put(call.DiagnosticsStatusNotification(status))
