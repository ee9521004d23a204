"""Carries out a firmware update, signed or not: download, check, install, reboot.

    UpdateFirmware          Downloading → Downloaded → Installing → (reboot) → Installed
    SignedUpdateFirmware    DownloadScheduled → Downloading → Downloaded → SignatureVerified →
                            InstallScheduled → Installing → InstallRebooting → (reboot) → Installed

It ends early with DownloadFailed, InvalidSignature, InstallationFailed or, if signed,
InstallVerificationFailed. How far it has come is on disk: after a restart of the program it goes
on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime

from ocpp.v16 import call
from ocpp.v16.enums import FirmwareStatus

from evsim.charge_point.firmware_store import (
    FirmwareImageError,
    FirmwareStore,
    Signed,
    Stage,
    Update,
    read_version,
)
from evsim.charge_point.outbox import Outbox
from evsim.charge_point.security_events import SecurityEvent, SecurityEvents
from evsim.clock import Clock
from evsim.file_transfer import TransferError, download

#: How long an installation takes.
INSTALL_S = 2.0
#: How long the reboot waits for what is still to be sent.
SENT_BEFORE_REBOOT_S = 5.0
#: A wait for a wall-clock time looks at that clock at least so often: it may be set.
LOOK_AT_CLOCK_S = 60.0

log = logging.getLogger("evsim.charge_point")


class FirmwareUpdater:
    """The one who updates a charge point's firmware.

    :param idle: gives a context that is entered once no transaction runs, and in which none
        begins: the installation is done in it, up to the end of the reboot.
    :param reboot: asks for a reboot and returns at once; booted() is to be called when the central
        system has accepted the BootNotification that follows.
    :param is_genuine: whether the signature fits the image, for a signed update.
    """

    def __init__(
        self,
        store: FirmwareStore,
        outbox: Outbox,
        events: SecurityEvents,
        *,
        idle: Callable[[], AbstractAsyncContextManager[None]],
        reboot: Callable[[], None],
        is_genuine: Callable[[Signed, bytes], bool] = lambda *_: False,
        now: Clock,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._events = events
        self._idle = idle
        self._reboot = reboot
        self._is_genuine = is_genuine
        self._now = now
        self._work: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._booted = asyncio.Event()
        self._installing = False
        self._status = FirmwareStatus.idle

    @property
    def version(self) -> str:
        """What BootNotification is to say as firmwareVersion."""
        return self._store.version

    @property
    def is_busy(self) -> bool:
        """Whether there is an update under way, or one that waits for its time."""
        return self._store.update is not None

    def begin(self, update: Update) -> bool:
        """Begin an update in place of the one under way; False if that is being installed."""
        if self._installing or (self._store.update and self._store.update.stage is Stage.REBOOTING):
            log.warning("firmware update refused: another one is being installed")
            return False
        self._store.begin(update)
        self._status = FirmwareStatus.idle
        if self._work is not None:
            self._work.cancel()
        self._news.set()
        return True

    def status(self) -> call.FirmwareStatusNotification | call.SignedFirmwareStatusNotification:
        """Say what goes on, for a TriggerMessage; Idle if nothing does."""
        return self._notification(self._status, self._store.update)

    def signed_status(self) -> call.SignedFirmwareStatusNotification:
        """Say the same in the words of the security extension, for an ExtendedTriggerMessage."""
        update = self._store.update
        signed = update.signed if update is not None else None
        request_id = signed.request_id if signed is not None else None
        # Without an id when there is no such request, whatever the class's annotation says.
        return call.SignedFirmwareStatusNotification(self._status, request_id)  # type: ignore[arg-type]

    def booted(self) -> None:
        """The central system has accepted our BootNotification: tell it of the new firmware."""
        if self._store.update is not None and self._store.update.stage is Stage.REBOOTING:
            log.info("firmware %s is installed", self._store.version)
            self._end(FirmwareStatus.installed)
            self._events.note(SecurityEvent.firmware_updated, self._store.version)
        self._booted.set()

    async def run(self) -> None:
        """Update for ever; StorageError if the progress can't be kept."""
        while True:
            self._news.clear()
            update = self._store.update
            if update is None or update.stage is Stage.REBOOTING:
                await self._news.wait()
                continue
            self._work = asyncio.create_task(self._carry_out(update))
            try:
                await asyncio.wait([self._work])
            finally:
                self._work.cancel()
                self._installing = False
            if not self._work.cancelled():
                self._work.result()

    async def _carry_out(self, update: Update) -> None:
        if update.stage is Stage.REQUESTED:
            if not await self._download(update):
                return self._end(FirmwareStatus.download_failed)
        else:
            self._status = FirmwareStatus.downloaded
        image, signed = self._store.image, update.signed
        if signed is not None:
            if not self._is_genuine(signed, image):
                self._end(FirmwareStatus.invalid_signature)
                self._events.note(SecurityEvent.invalid_firmware_signature, update.location)
                return None
            self._report(FirmwareStatus.signature_verified)
            if signed.install_at is not None and signed.install_at > self._now():
                self._report(FirmwareStatus.install_scheduled)
                await self._until(signed.install_at)
        async with self._idle():
            self._installing = True
            await self._install(image, signed)
        return None

    async def _download(self, update: Update) -> bool:
        if update.signed is not None and update.retrieve_at > self._now():
            self._report(FirmwareStatus.download_scheduled)
        await self._until(update.retrieve_at)
        self._report(FirmwareStatus.downloading)
        try:
            image = await update.retries.of(lambda: download(update.location))
        except TransferError as error:
            log.warning("firmware not downloaded: %s", error)
            return False
        # In this order: after a crash in between it is downloaded and told twice, but not untold.
        self._report(FirmwareStatus.downloaded)
        self._store.downloaded(image)
        return True

    async def _install(self, image: bytes, signed: Signed | None) -> None:
        self._report(FirmwareStatus.installing)
        await asyncio.sleep(INSTALL_S)
        try:
            version = read_version(image)
        except FirmwareImageError as error:
            log.warning("firmware not installed: %s", error)
            failed = FirmwareStatus.installation_failed
            return self._end(FirmwareStatus.install_verification_failed if signed else failed)
        if signed is not None:
            self._report(FirmwareStatus.install_rebooting)
        self._booted.clear()
        self._store.installed(version)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SENT_BEFORE_REBOOT_S):
                await self._outbox.all_sent()
        log.info("rebooting with firmware %s", version)
        self._reboot()
        await self._booted.wait()
        return None

    async def _until(self, moment: datetime) -> None:
        while True:
            wait_s = (moment - self._now()).total_seconds()
            if wait_s <= 0:
                return
            await asyncio.sleep(min(wait_s, LOOK_AT_CLOCK_S))

    def _report(self, status: FirmwareStatus) -> None:
        self._status = status
        self._outbox.put(self._notification(status, self._store.update))

    def _end(self, status: FirmwareStatus) -> None:
        self._report(status)
        self._store.end()
        self._status = FirmwareStatus.idle

    def _notification(
        self, status: FirmwareStatus, update: Update | None
    ) -> call.FirmwareStatusNotification | call.SignedFirmwareStatusNotification:
        if update is None or update.signed is None:
            return call.FirmwareStatusNotification(status)
        return call.SignedFirmwareStatusNotification(status, update.signed.request_id)
