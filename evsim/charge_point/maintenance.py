"""What keeps a charge point up to date and accountable, put together.

FirmwareManagement and the security extension: firmware, diagnostics, logs, certificates, events.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from ocpp.v16.enums import MessageTrigger
from websockets.exceptions import InvalidStatus

from evsim.charge_point.certificate_store import CertificateStore
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.diagnostics import Diagnostics, RecentLog, Section
from evsim.charge_point.features.certificates import Certificates
from evsim.charge_point.features.extended_trigger import ExtendedTriggers
from evsim.charge_point.features.firmware_management import FirmwareManagement
from evsim.charge_point.features.log_upload import LogUpload
from evsim.charge_point.features.remote_trigger import Trigger
from evsim.charge_point.features.signed_firmware import SignedFirmware, is_genuine
from evsim.charge_point.firmware_store import FirmwareStore
from evsim.charge_point.firmware_update import FirmwareUpdater
from evsim.charge_point.outbox import Outbox
from evsim.charge_point.security_events import SecurityEvent, SecurityEvents
from evsim.clock import Clock
from evsim.security import uses_tls
from evsim.sqlite import Database


class Maintenance:
    """The parts, made and joined.

    `parts`, the security extension, and `firmware_management` are for OcppLink.add_handlers().

    :param send: makes a call() on the link; raises as OcppLink.call does.
    :param spawn: runs a coroutine as a task, e.g. OcppLink.run_in_background.
    :param security_profile: gives the profile in use; from 1 on the security extension is.
    :param sections: of the diagnostics file, before the log: a heading, and what gives its lines.
    :param triggers: the messages of TriggerMessage that have nothing to do with all this, for
        ExtendedTriggerMessage.
    :param idle: gives a context that is entered once no transaction runs, and in which none
        begins: firmware is installed in it, up to the end of the reboot.
    :param reboot: asks for a reboot and returns at once.
    :param on_new_certificate: connects anew with CertificateStore.own().
    :param revocations: gives the manufacturer's certificate revocation list, PEM or DER, if any.
    """

    def __init__(
        self,
        charge_point_id: str,
        database: Database,
        configuration: Configuration,
        *,
        send: Callable[[Any], Awaitable[Any]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        security_profile: Callable[[], int],
        sections: Mapping[str, Section],
        triggers: Mapping[str, Trigger],
        idle: Callable[[], AbstractAsyncContextManager[None]],
        reboot: Callable[[], None],
        on_new_certificate: Callable[[], Awaitable[None]],
        revocations: Callable[[], bytes | None] = lambda: None,
        now: Clock,
    ) -> None:
        def is_secure() -> bool:
            return security_profile() >= 1

        self.store = store = CertificateStore(
            database, most=lambda: configuration.number("CertificateStoreMaxLength")
        )
        self.recent = RecentLog(now)
        self.outbox = Outbox(database, send)
        self.events = SecurityEvents(database, self.outbox, enabled=is_secure, now=now)
        self.updater = FirmwareUpdater(
            FirmwareStore(database),
            self.outbox,
            self.events,
            idle=idle,
            reboot=reboot,
            is_genuine=is_genuine,
            now=now,
        )
        diagnostics = Diagnostics(charge_point_id, self.recent, sections=sections, now=now)
        self.firmware_management = firmware_management = FirmwareManagement(
            self.updater,
            diagnostics,
            self.outbox,
            send=send,
            spawn=spawn,
            signed_only=is_secure,
        )
        certificates = Certificates(
            charge_point_id,
            store,
            self.events,
            send=send,
            uses_tls=lambda: uses_tls(security_profile()),
            cpo_name=lambda: configuration.text("CpoName"),
            on_new_certificate=on_new_certificate,
            now=now,
        )
        signed_firmware = SignedFirmware(
            self.updater, store, self.events, send=send, revocations=revocations, now=now
        )
        log_upload = LogUpload(diagnostics, self.events, self.outbox, send=send, spawn=spawn)
        extended_triggers = ExtendedTriggers(
            triggers=triggers,
            certificates=certificates,
            signed_firmware=signed_firmware,
            log_upload=log_upload,
        )
        self.parts: tuple[object, ...] = (
            certificates,
            signed_firmware,
            log_upload,
            extended_triggers,
        )
        #: What a TriggerMessage may ask for.
        self.triggers: Mapping[str, Trigger] = {
            MessageTrigger.firmware_status_notification: (
                lambda _: firmware_management.report_firmware_status()
            ),
            MessageTrigger.diagnostics_status_notification: (
                lambda _: firmware_management.report_diagnostics_status()
            ),
        }

    @property
    def firmware_version(self) -> str:
        """What the next BootNotification is to say."""
        return self.updater.version

    def services(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Give what is to run as long as the charge point does."""
        return self.outbox.run(), self.updater.run()

    def on_accepted(self) -> None:
        """The central system is there and has accepted us: tell it what it does not know yet."""
        self.updater.booted()
        self.outbox.resume()

    def on_disconnected(self) -> None:
        """Go on, and keep what is to be told."""
        self.outbox.pause()

    def on_no_connection(self, error: Exception) -> None:
        """Note what is wrong with the security of a connection that could not be made."""
        if isinstance(error, ssl.SSLCertVerificationError):
            self.events.note(SecurityEvent.invalid_central_system_certificate, error.verify_message)
        elif isinstance(error, InvalidStatus) and error.response.status_code == 401:
            self.events.note(SecurityEvent.failed_to_authenticate_at_central_system)

    async def remember_log(self) -> None:
        """Keep the last log lines for the diagnostics, for ever; of the whole process."""
        logger = logging.getLogger("evsim")
        logger.addHandler(self.recent)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            logger.removeHandler(self.recent)
