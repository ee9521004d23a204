"""How a charge point proves itself, and how the central system changes that."""

from __future__ import annotations

import argparse
import logging
import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from ocpp.v16.enums import CertificateUse

from evsim.charge_point.certificate_store import CertificateError, CertificateStore
from evsim.charge_point.configuration import Access, Key
from evsim.charge_point.features.certificates import trust_file
from evsim.charge_point.ledger import Ledger
from evsim.clock import Clock, utc_now
from evsim.ocpp_client import Endpoint, endpoint_url
from evsim.security import (
    PROFILES,
    SecurityError,
    add_profile_arguments,
    basic_authorization,
    client_context,
    digest,
    parse_key,
    read_key_file,
    uses_key,
    uses_tls,
)

AUTHORIZATION_KEY = "AuthorizationKey"
SECURITY_PROFILE = "SecurityProfile"
#: The digest of the key in --key-file that the central system's key has replaced: a new key in
#: that file counts again.
REPLACED_KEY = "ReplacedKey"
#: The digest of the --ca file that is among the installed certificates.
INSTALLED_CA = "InstalledCa"

log = logging.getLogger("evsim.charge_point")


def add_security_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of the security profiles."""
    group = add_profile_arguments(parser)
    group.add_argument(
        "--key-file", type=Path, metavar="FILE", help="AuthorizationKey, for profiles 1 and 2"
    )
    group.add_argument(
        "--secure-url",
        metavar="URL",
        help="central system for profiles 2 and 3 (default: --url with wss)",
    )
    group.add_argument(
        "--crl",
        type=Path,
        metavar="FILE",
        help="which firmware signing certificates the manufacturer has revoked",
    )


class Credentials:
    """Profile, key and certificates; what the central system changes of them is kept on disk.

    Raises SecurityError for options that do not go together.
    """

    def __init__(
        self,
        charge_point_id: str,
        options: argparse.Namespace,
        ledger: Ledger,
        now: Clock = utc_now,
    ) -> None:
        self._id = charge_point_id
        self._ledger = ledger
        self._options = options
        self._now = now
        #: Those that the central system installed count too, and its certificate for us before
        #: that in --cert.
        self.certificates = CertificateStore(ledger.database)
        self._ca_is_installed = self._install_ca()
        secure = options.secure_url or options.url.replace("ws://", "wss://", 1)
        self._url = endpoint_url(options.url, charge_point_id)
        self._secure_url = endpoint_url(secure, charge_point_id)
        self.key = read_key_file(options.key_file) if options.key_file else None
        self._key_in_file = digest(self.key).hex() if self.key else ""
        kept, replaced = ledger.setting(AUTHORIZATION_KEY), ledger.setting(REPLACED_KEY)
        if kept and self._key_in_file in ("", replaced):
            log.info("using the AuthorizationKey that the central system sent")
            self.key = parse_key(kept)
        self.profile = options.security_profile
        raised_to = int(ledger.setting(SECURITY_PROFILE) or 0)
        if raised_to > self.profile:
            log.info("security profile %d, to which the central system raised it", raised_to)
            self.profile = raised_to
        self._check(self.profile)

    def endpoint(self) -> Endpoint:
        """Say where and how to connect with the current profile and key."""
        tls = self._tls(self.profile) if uses_tls(self.profile) else None
        authorization = (
            basic_authorization(self._id, self.key)
            if self.key is not None and uses_key(self.profile)
            else None
        )
        return Endpoint(self._secure_url if tls else self._url, authorization, tls)

    def configuration_keys(self) -> tuple[Key, Key]:
        """Give the configuration keys by which the central system changes them."""
        return (
            Key(AUTHORIZATION_KEY, Access.WRITE_ONLY, write=self.change_key),
            Key(
                SECURITY_PROFILE,
                Access.READ_WRITE,
                read=lambda: str(self.profile),
                write=self.raise_profile,
            ),
        )

    def revocations(self) -> bytes | None:
        """Give the manufacturer's certificate revocation list; CertificateError if unreadable."""
        path: Path | None = self._options.crl
        try:
            return None if path is None else path.read_bytes()
        except OSError as error:
            raise CertificateError(f"cannot read {path}: {error.strerror}") from error

    def change_key(self, text: str) -> bool:
        """Take a new AuthorizationKey for all connections to come; False if it is none."""
        try:
            key = parse_key(text)
        except ValueError as error:
            log.warning("new AuthorizationKey refused: %s", error)
            return False
        self._ledger.set_setting(REPLACED_KEY, self._key_in_file)
        self._ledger.set_setting(AUTHORIZATION_KEY, key.hex())
        self.key = key
        log.info("took a new AuthorizationKey")
        return True

    def raise_profile(self, text: str) -> bool:
        """Take a higher security profile; False for a lower one, or one that lacks something."""
        if text not in map(str, PROFILES) or int(text) <= self.profile:
            log.warning("security profile %s refused: it is %d", text, self.profile)
            return False
        profile = int(text)
        try:
            self._check(profile)
        except SecurityError as error:
            log.warning("refused: %s", error)
            return False
        self._ledger.set_setting(SECURITY_PROFILE, str(profile))
        self.profile = profile
        log.info("security profile raised to %d", profile)
        return True

    def _tls(self, profile: int) -> ssl.SSLContext:
        options = self._options
        trusted = "".join(self.certificates.roots(CertificateUse.central_system_root_certificate))
        if self._ca_is_installed and not trusted:
            raise SecurityError("the central system has deleted its last root certificate")
        with tempfile.TemporaryDirectory() as directory:
            own = self.certificates.write_own(Path(directory), self._now())
            certificate, key = own or (options.cert, options.private_key)
            ca = None if self._ca_is_installed else options.ca
            return client_context(profile, ca, certificate, key, trusted)

    def _install_ca(self) -> bool:
        """Install what is in --ca, unless that was done before; False if it can't be.

        Once it is installed, it is the central system that says how long it is trusted.
        """
        path: Path | None = self._options.ca
        try:
            content = path.read_bytes() if path is not None else b""
        except OSError:
            content = b""  # told when it is needed
        if path is None or not content:
            return False
        mark = digest(content).hex()
        if self._ledger.setting(INSTALLED_CA) != mark:
            if not trust_file(self.certificates, path, self._now):
                return False
            self._ledger.set_setting(INSTALLED_CA, mark)
        return True

    def _check(self, profile: int) -> None:
        """Raise SecurityError if something is missing for `profile`."""
        if uses_key(profile) and self.key is None:
            raise SecurityError(f"security profile {profile} needs an AuthorizationKey: --key-file")
        url, scheme = (self._secure_url, "wss") if uses_tls(profile) else (self._url, "ws")
        if urlsplit(url).scheme != scheme:
            raise SecurityError(f"security profile {profile} needs a {scheme}:// URL, not {url}")
        if uses_tls(profile):
            self._tls(profile)
