"""The security extension: signed firmware, logs, certificates and security events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import (
    Action,
    CertificateUse,
    GenericStatus,
    GetInstalledCertificateStatus,
    Log,
    LogStatus,
    UpdateFirmwareStatus,
)

from evsim.central_system.features.asking import Asking, chosen
from evsim.clock import to_ocpp
from evsim.errors import RefusedError, UserError
from evsim.ocpp_link import after, on

log = logging.getLogger("evsim.csms")

#: Makes a certificate: called with the request, in PEM form, and the charge point's id. UserError
#: if the request is not to be signed.
Signer = Callable[[str, str], str]


class SecurityCommands(Asking):
    """What a central system asks about security, and what it is told.

    :param sign: signs the charge point's certificate requests; None refuses them all.
    """

    def __init__(self, *arguments: Any, sign: Signer | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sign = sign
        self._signed = ""

    async def signed_update_firmware(
        self,
        request_id: int,
        firmware: Mapping[str, Any],
        retries: int | None = None,
        retry_interval_s: int | None = None,
    ) -> call_result.SignedUpdateFirmware:
        """Have it fetch, verify and install signed firmware.

        :param firmware: {"location", "retrieve_date_time", "signing_certificate", "signature"}.
        """
        answer: call_result.SignedUpdateFirmware = await self.ask(
            call.SignedUpdateFirmware(request_id, dict(firmware), retries, retry_interval_s),
            "the signed firmware",
            UpdateFirmwareStatus.accepted,
            UpdateFirmwareStatus.accepted_canceled,
        )
        return answer

    async def get_log(
        self,
        log_type: str,
        request_id: int,
        location: str,
        retries: int | None = None,
        retry_interval_s: int | None = None,
        oldest: datetime | None = None,
        latest: datetime | None = None,
    ) -> call_result.GetLog:
        """Have it upload its DiagnosticsLog or SecurityLog to `location`."""
        parameters = {
            "remote_location": location,
            "oldest_timestamp": None if oldest is None else to_ocpp(oldest),
            "latest_timestamp": None if latest is None else to_ocpp(latest),
        }
        kind = chosen(Log, log_type)
        answer: call_result.GetLog = await self.ask(
            call.GetLog(parameters, kind, request_id, retries, retry_interval_s),
            f"the upload of the {kind}",
            LogStatus.accepted,
            LogStatus.accepted_canceled,
        )
        return answer

    async def install_certificate(
        self, certificate_type: str, pem: str
    ) -> call_result.InstallCertificate:
        """Have it trust a root certificate."""
        kind = chosen(CertificateUse, certificate_type)
        answer: call_result.InstallCertificate = await self.ask(
            call.InstallCertificate(kind, pem), f"the {kind}"
        )
        return answer

    async def delete_certificate(
        self, hash_data: Mapping[str, str]
    ) -> call_result.DeleteCertificate:
        """Have it forget a certificate.

        :param hash_data: an element of what installed_certificates() gives.
        """
        answer: call_result.DeleteCertificate = await self.ask(
            call.DeleteCertificate(dict(hash_data)), "the deletion of the certificate"
        )
        return answer

    async def installed_certificates(
        self, certificate_type: str
    ) -> call_result.GetInstalledCertificateIds:
        """Read which root certificates it trusts; NotFound, when it has none, is no refusal."""
        kind = chosen(CertificateUse, certificate_type)
        answer: call_result.GetInstalledCertificateIds = await self.ask(
            call.GetInstalledCertificateIds(kind),
            f"the question for each {kind}",
            GetInstalledCertificateStatus.accepted,
            GetInstalledCertificateStatus.not_found,
        )
        return answer

    async def certificate_signed(self, chain: str) -> call_result.CertificateSigned:
        """Give it the certificate that it has asked for."""
        answer: call_result.CertificateSigned = await self.ask(
            call.CertificateSigned(chain), "its signed certificate"
        )
        return answer

    # ── What the charge point reports ────────────────────────────────────────────────────────

    @on(Action.sign_certificate)
    def on_sign_certificate(self, csr: str, **_: object) -> call_result.SignCertificate:
        """Sign the request, if there is an authority here and it is the charge point's own."""
        self._signed = ""
        self.note(Action.sign_certificate, csr=csr)
        if self._sign is None:
            log.warning("%s: asks for a certificate; --ca-key could sign it", self.id)
            return call_result.SignCertificate(GenericStatus.rejected)
        try:
            self._signed = self._sign(csr, self.id)
        except UserError as error:
            log.warning("%s: its certificate request is rejected: %s", self.id, error)
            return call_result.SignCertificate(GenericStatus.rejected)
        return call_result.SignCertificate(GenericStatus.accepted)

    @after(Action.sign_certificate)
    async def after_sign_certificate(self, **_: object) -> None:
        """Send the certificate that has just been signed."""
        signed, self._signed = self._signed, ""
        if not signed:
            return
        try:
            await self.certificate_signed(signed)
        except RefusedError as error:
            log.error("%s: %s", self.id, error)  # noqa: TRY400
        else:
            log.info("%s: has a new certificate", self.id)

    @on(Action.security_event_notification)
    def on_security_event(
        self,
        type: str,  # noqa: A002 - OCPP's name for it
        timestamp: str,
        tech_info: str = "",
        **_: object,
    ) -> call_result.SecurityEventNotification:
        """Show the event."""
        details = f": {tech_info}" if tech_info else ""
        log.info("%s: security event %s at %s%s", self.id, type, timestamp, details)
        self.note(
            Action.security_event_notification,
            type=type,
            timestamp=timestamp,
            tech_info=tech_info,
        )
        return call_result.SecurityEventNotification()

    @on(Action.log_status_notification)
    def on_log_status(
        self, status: str, request_id: int | None = None, **_: object
    ) -> call_result.LogStatusNotification:
        """Show how far an upload is."""
        log.info("%s: log of request %s: %s", self.id, request_id, status)
        self.note(Action.log_status_notification, status=status, request_id=request_id)
        return call_result.LogStatusNotification()

    @on(Action.signed_firmware_status_notification)
    def on_signed_firmware_status(
        self, status: str, request_id: int | None = None, **_: object
    ) -> call_result.SignedFirmwareStatusNotification:
        """Show how far an update is."""
        log.info("%s: firmware of request %s: %s", self.id, request_id, status)
        self.note(Action.signed_firmware_status_notification, status=status, request_id=request_id)
        return call_result.SignedFirmwareStatusNotification()
