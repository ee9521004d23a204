"""FirmwareManagement: new firmware, diagnostics, and how far they have got."""

from __future__ import annotations

import logging
from datetime import datetime

from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action

from evsim.central_system.features.asking import Asking
from evsim.clock import to_ocpp
from evsim.ocpp_link import on

log = logging.getLogger("evsim.csms")


class FirmwareCommands(Asking):
    """What a central system asks about firmware and diagnostics, and what it is told."""

    async def update_firmware(
        self,
        location: str,
        retrieve_at: datetime,
        retries: int | None = None,
        retry_interval_s: int | None = None,
    ) -> call_result.UpdateFirmware:
        """Have it fetch and install firmware; it cannot refuse, but reports how far it is."""
        log.info("%s: install the firmware at %s", self.id, location)
        answer: call_result.UpdateFirmware = await self.call(
            call.UpdateFirmware(location, to_ocpp(retrieve_at), retries, retry_interval_s)
        )
        return answer

    async def get_diagnostics(
        self,
        location: str,
        retries: int | None = None,
        retry_interval_s: int | None = None,
        start: datetime | None = None,
        stop: datetime | None = None,
    ) -> call_result.GetDiagnostics:
        """Have it upload diagnostics to `location`; without a file_name there are none."""
        log.info("%s: upload diagnostics to %s", self.id, location)
        answer: call_result.GetDiagnostics = await self.call(
            call.GetDiagnostics(
                location,
                retries,
                retry_interval_s,
                None if start is None else to_ocpp(start),
                None if stop is None else to_ocpp(stop),
            )
        )
        return answer

    @on(Action.firmware_status_notification)
    def on_firmware_status(
        self, status: str, **_: object
    ) -> call_result.FirmwareStatusNotification:
        """Show how far an update is."""
        log.info("%s: firmware: %s", self.id, status)
        self.note(Action.firmware_status_notification, status=status)
        return call_result.FirmwareStatusNotification()

    @on(Action.diagnostics_status_notification)
    def on_diagnostics_status(
        self, status: str, **_: object
    ) -> call_result.DiagnosticsStatusNotification:
        """Show how far an upload is."""
        log.info("%s: diagnostics: %s", self.id, status)
        self.note(Action.diagnostics_status_notification, status=status)
        return call_result.DiagnosticsStatusNotification()
