"""GetLog: uploads the security log or the diagnostics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action, Log, LogStatus, UploadLogStatus

from evsim.charge_point.diagnostics import Diagnostics
from evsim.charge_point.features.firmware_management import read_moment
from evsim.charge_point.outbox import Outbox
from evsim.charge_point.security_events import SecurityEvents
from evsim.file_transfer import Fault, Retries, TransferError, upload
from evsim.ocpp_link import on

#: What a failed upload is called in a LogStatusNotification.
FAILURES = {
    Fault.UNSUPPORTED: UploadLogStatus.not_supported_operation,
    Fault.DENIED: UploadLogStatus.permission_denied,
    Fault.PROTOCOL: UploadLogStatus.bad_message,
    Fault.FAILED: UploadLogStatus.upload_failure,
}

log = logging.getLogger("evsim.charge_point")


class LogUpload:
    """Uploads one log at a time.

    :param send: makes a call() on the link, for what is triggered.
    :param spawn: runs a coroutine as a task, e.g. OcppLink.run_in_background.
    """

    def __init__(
        self,
        diagnostics: Diagnostics,
        events: SecurityEvents,
        outbox: Outbox,
        *,
        send: Callable[[Any], Awaitable[Any]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._diagnostics = diagnostics
        self._events = events
        self._outbox = outbox
        self._send = send
        self._spawn = spawn
        self._upload: asyncio.Task[None] | None = None
        self._request_id = 0

    @property
    def _is_busy(self) -> bool:
        return self._upload is not None and not self._upload.done()

    @on(Action.get_log)
    def on_get_log(
        self,
        log_type: str,
        request_id: int,
        log: Mapping[str, str],
        retries: int | None = None,
        retry_interval: int | None = None,
        **_: object,
    ) -> call_result.GetLog:
        """Name the file and upload it, in place of the one under way."""
        oldest = read_moment(log.get("oldest_timestamp"), "oldestTimestamp")
        latest = read_moment(log.get("latest_timestamp"), "latestTimestamp")
        if log_type == Log.security_log:
            lines = self._events.lines(oldest, latest)
            name, content = "security", "".join(f"{line}\n" for line in lines).encode()
        else:
            name, content = "diagnostics", self._diagnostics.write(oldest, latest)
        status = LogStatus.accepted
        if self._is_busy:
            assert self._upload is not None
            self._upload.cancel()
            status = LogStatus.accepted_canceled
        if not content:
            return call_result.GetLog(status)
        name = self._diagnostics.file_name(name)
        retrying = Retries.wanted(retries, retry_interval)
        self._request_id = request_id
        self._upload = self._spawn(
            self._deliver(log["remote_location"], name, content, retrying, request_id)
        )
        return call_result.GetLog(status, name)

    async def report_status(self) -> None:
        """Tell whether a log is being uploaded, for an ExtendedTriggerMessage."""
        if self._is_busy:
            uploading = UploadLogStatus.uploading
            await self._send(call.LogStatusNotification(uploading, self._request_id))
        else:
            # Without an id when there is no such request, whatever the class's annotation says.
            await self._send(call.LogStatusNotification(UploadLogStatus.idle, None))  # type: ignore[arg-type]

    async def _deliver(
        self, location: str, name: str, content: bytes, retries: Retries, request_id: int
    ) -> None:
        def report(status: UploadLogStatus) -> None:
            self._outbox.put(call.LogStatusNotification(status, request_id))

        report(UploadLogStatus.uploading)
        try:
            await retries.of(lambda: upload(location, name, content))
        except TransferError as error:
            log.warning("log not uploaded: %s", error)
            report(FAILURES[error.fault])
        else:
            report(UploadLogStatus.uploaded)
