"""SignedUpdateFirmware: only firmware that the manufacturer signed is installed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ocpp.v16 import call_result
from ocpp.v16.enums import Action, UpdateFirmwareStatus

from evsim.charge_point.certificate_store import CertificateError, CertificateStore, RevokedError
from evsim.charge_point.features.certificates import NoCryptographyError, load_checks
from evsim.charge_point.features.firmware_management import read_moment
from evsim.charge_point.firmware_store import Signed, Update
from evsim.charge_point.firmware_update import FirmwareUpdater
from evsim.charge_point.security_events import SecurityEvent, SecurityEvents
from evsim.clock import Clock
from evsim.file_transfer import Retries
from evsim.ocpp_link import on

log = logging.getLogger("evsim.charge_point")


def is_genuine(signed: Signed, image: bytes) -> bool:
    """Whether the signature is that of the image: what FirmwareUpdater wants to be told.

    Whether its certificate is to be trusted was asked before.
    """
    try:
        from evsim.charge_point.certificate_checks import CertificateChecks
    except ImportError:  # uninstalled since the update was accepted
        return False
    try:
        return CertificateChecks.is_signature(signed.certificate, signed.signature, image)
    except CertificateError as error:
        log.warning("firmware signing certificate: %s", error)
        return False


class SignedFirmware:
    """Begins signed updates, and tells how they go.

    :param send: makes a call() on the link.
    :param revocations: gives the manufacturer's certificate revocation list, PEM or DER, if any.
    """

    def __init__(
        self,
        updater: FirmwareUpdater,
        store: CertificateStore,
        events: SecurityEvents,
        *,
        send: Callable[[Any], Awaitable[Any]],
        revocations: Callable[[], bytes | None] = lambda: None,
        now: Clock,
    ) -> None:
        self._updater = updater
        self._store = store
        self._events = events
        self._send = send
        self._revocations = revocations
        self._now = now

    @on(Action.signed_update_firmware)
    def on_signed_update_firmware(
        self,
        request_id: int,
        firmware: Mapping[str, str],
        retries: int | None = None,
        retry_interval: int | None = None,
        **_: object,
    ) -> call_result.SignedUpdateFirmware:
        """Begin an update in place of the one under way, if its certificate is good."""
        retrieve_at = read_moment(firmware["retrieve_date_time"], "retrieveDateTime")
        install_at = read_moment(firmware.get("install_date_time"), "installDateTime")
        assert retrieve_at is not None, "the message has one"
        refusal = self._check(firmware["signing_certificate"])
        if refusal is not None:
            return call_result.SignedUpdateFirmware(refusal)
        update = Update(
            firmware["location"],
            retrieve_at,
            Retries.wanted(retries, retry_interval),
            Signed(request_id, firmware["signing_certificate"], firmware["signature"], install_at),
        )
        status = UpdateFirmwareStatus.accepted
        if self._updater.is_busy:
            status = UpdateFirmwareStatus.accepted_canceled
        if not self._updater.begin(update):
            status = UpdateFirmwareStatus.rejected
        return call_result.SignedUpdateFirmware(status)

    async def report_status(self) -> None:
        """Tell what the update does, for an ExtendedTriggerMessage."""
        await self._send(self._updater.signed_status())

    def _check(self, certificate: str) -> UpdateFirmwareStatus | None:
        try:
            load_checks(self._store, self._now).signing_chain(certificate, self._revocations())
        except NoCryptographyError as error:
            log.warning("signed firmware refused: %s", error)
            return UpdateFirmwareStatus.rejected
        except CertificateError as error:
            log.warning("firmware signing certificate refused: %s", error)
            self._events.note(SecurityEvent.invalid_firmware_signing_certificate, str(error))
            if isinstance(error, RevokedError):
                return UpdateFirmwareStatus.revoked_certificate
            return UpdateFirmwareStatus.invalid_certificate
        return None
