"""The certificates of the security extension: whom to trust, and what to prove oneself with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import (
    Action,
    CertificateSignedStatus,
    CertificateStatus,
    CertificateUse,
    DeleteCertificateStatus,
    GenericStatus,
    GetInstalledCertificateStatus,
)

from evsim.charge_point.certificate_store import CertificateError, CertificateStore
from evsim.charge_point.security_events import SecurityEvent, SecurityEvents
from evsim.clock import Clock
from evsim.ocpp_link import after, on
from evsim.sqlite import StorageError

if TYPE_CHECKING:
    from evsim.charge_point.certificate_checks import CertificateChecks

#: A wait for a wall-clock time looks at that clock at least so often: it may be set.
LOOK_AT_CLOCK_S = 60.0

log = logging.getLogger("evsim.charge_point")


class NoCryptographyError(CertificateError):
    """The package that certificates are judged with is not installed."""


def load_checks(store: CertificateStore, now: Clock) -> CertificateChecks:
    """Make the judge of certificates; NoCryptographyError if an extra is not installed."""
    try:
        from evsim.charge_point.certificate_checks import CertificateChecks
    except ImportError:
        raise NoCryptographyError(
            "certificates need the package cryptography: pip install -e '.[security]'"
        ) from None
    return CertificateChecks(store, now)


def trust_file(store: CertificateStore, path: Path, now: Clock) -> bool:
    """Install the central system's root certificate that is in a file, e.g. --ca.

    False if that cannot be: it holds no root certificate, or several, or nobody can judge it.
    """
    try:
        pem = load_checks(store, now).root(path.read_text("ascii"))
        store.add_root(CertificateUse.central_system_root_certificate, pem)
    except (OSError, ValueError, CertificateError) as error:
        log.debug("%s is not among the installed certificates: %s", path, error)
        return False
    return True


class Certificates:
    """Keeps certificates and has the charge point's own one renewed.

    :param send: makes a call() on the link.
    :param uses_tls: whether the connection to the central system is encrypted: its only root
        certificate then can't be deleted.
    :param cpo_name: gives the configuration key CpoName, the organisation in our certificate.
    :param on_new_certificate: called when a new certificate of our own has become valid; connects
        anew with it (CertificateStore.write_own).
    """

    def __init__(
        self,
        charge_point_id: str,
        store: CertificateStore,
        events: SecurityEvents,
        *,
        send: Callable[[Any], Awaitable[Any]],
        uses_tls: Callable[[], bool],
        cpo_name: Callable[[], str],
        on_new_certificate: Callable[[], Awaitable[None]],
        now: Clock,
    ) -> None:
        self._id = charge_point_id
        self._store = store
        self._events = events
        self._send = send
        self._uses_tls = uses_tls
        self._cpo_name = cpo_name
        self._on_new_certificate = on_new_certificate
        self._now = now
        self._new_from: datetime | None = None

    # ── Whom to trust ────────────────────────────────────────────────────────────────────────

    @on(Action.install_certificate)
    def on_install_certificate(
        self, certificate_type: str, certificate: str, **_: object
    ) -> call_result.InstallCertificate:
        """Trust a root certificate from now on."""
        use = CertificateUse(certificate_type)
        try:
            pem = load_checks(self._store, self._now).root(certificate)
        except CertificateError as error:
            log.warning("%s refused: %s", use, error)
            if use is CertificateUse.central_system_root_certificate and not isinstance(
                error, NoCryptographyError
            ):
                self._events.note(SecurityEvent.invalid_central_system_certificate, str(error))
            return call_result.InstallCertificate(CertificateStatus.rejected)
        try:
            self._store.add_root(use, pem)
        except CertificateError as error:
            log.warning("%s refused: %s", use, error)
            return call_result.InstallCertificate(CertificateStatus.rejected)
        except StorageError as error:
            log.error("%s not installed: %s", use, error)  # noqa: TRY400 - says all there is
            return call_result.InstallCertificate(CertificateStatus.failed)
        log.info("a %s was installed", use)
        return call_result.InstallCertificate(CertificateStatus.accepted)

    @on(Action.delete_certificate)
    def on_delete_certificate(
        self, certificate_hash_data: Mapping[str, str], **_: object
    ) -> call_result.DeleteCertificate:
        """Trust a root certificate no longer, unless the connection depends on it."""
        try:
            found = load_checks(self._store, self._now).find(certificate_hash_data)
        except CertificateError as error:
            log.warning("certificate not deleted: %s", error)
            return call_result.DeleteCertificate(DeleteCertificateStatus.failed)
        if not found:
            return call_result.DeleteCertificate(DeleteCertificateStatus.not_found)
        vital = CertificateUse.central_system_root_certificate
        if self._uses_tls() and vital in dict(found) and len(self._store.roots(vital)) == 1:
            log.warning("certificate not deleted: it is the only one to know the central system by")
            return call_result.DeleteCertificate(DeleteCertificateStatus.failed)
        for use, pem in found:
            self._store.remove_root(use, pem)
            log.info("a %s was deleted", use)
        return call_result.DeleteCertificate(DeleteCertificateStatus.accepted)

    @on(Action.get_installed_certificate_ids)
    def on_get_installed_certificate_ids(
        self, certificate_type: str, **_: object
    ) -> call_result.GetInstalledCertificateIds:
        """Name the root certificates for a use."""
        try:
            checks = load_checks(self._store, self._now)
            roots = self._store.roots(CertificateUse(certificate_type))
            named = [checks.hash_data(pem) for pem in roots]
        except NoCryptographyError as error:
            log.warning("%s", error)
            named = []
        if not named:
            return call_result.GetInstalledCertificateIds(GetInstalledCertificateStatus.not_found)
        return call_result.GetInstalledCertificateIds(GetInstalledCertificateStatus.accepted, named)

    # ── What to prove oneself with ───────────────────────────────────────────────────────────

    def can_request(self) -> bool:
        """Whether request_certificate() can do its work; says in the log what is missing."""
        try:
            load_checks(self._store, self._now)
        except NoCryptographyError as error:
            log.warning("%s", error)
            return False
        return True

    async def request_certificate(self) -> None:
        """Make a new key and ask for its certificate; NoCryptographyError."""
        checks = load_checks(self._store, self._now)
        private_key, request = checks.request(self._id, self._cpo_name())
        self._store.begin_own(private_key)
        answer = await self._send(call.SignCertificate(request))
        if answer.status != GenericStatus.accepted:
            log.warning("the central system does not sign our certificate: %s", answer.status)

    @on(Action.certificate_signed)
    def on_certificate_signed(
        self, certificate_chain: str, **_: object
    ) -> call_result.CertificateSigned:
        """Take the certificate for our last request, if it is one to be proud of."""
        self._new_from = None
        try:
            checks = load_checks(self._store, self._now)
            private_key = self._store.waiting_key
            if private_key is None:
                raise CertificateError("none was asked for")
            name = self._cpo_name()
            valid_from = checks.own_chain(certificate_chain, private_key, self._id, name)
        except CertificateError as error:
            log.warning("our new certificate is refused: %s", error)
            if not isinstance(error, NoCryptographyError):
                self._events.note(SecurityEvent.invalid_charge_point_certificate, str(error))
            return call_result.CertificateSigned(CertificateSignedStatus.rejected)
        self._store.complete_own(certificate_chain, valid_from)
        self._new_from = valid_from
        log.info("took a new certificate of our own, valid from %s", valid_from)
        return call_result.CertificateSigned(CertificateSignedStatus.accepted)

    @after(Action.certificate_signed)
    def after_certificate_signed(self, **_: object) -> Awaitable[None] | None:
        """Use the new certificate as soon as it is valid."""
        valid_from, self._new_from = self._new_from, None
        return self._use_from(valid_from) if valid_from is not None else None

    async def _use_from(self, moment: datetime) -> None:
        while True:
            wait_s = (moment - self._now()).total_seconds()
            if wait_s <= 0:
                return await self._on_new_certificate()
            await asyncio.sleep(min(wait_s, LOOK_AT_CLOCK_S))
