"""The security profiles of OCPP 1.6 (security white paper, edition 3), for both ends.

profile   transport          the charge point proves itself by
0         ws                 nothing
1         ws                 Basic authentication with its AuthorizationKey
2         wss, TLS >= 1.2    Basic authentication with its AuthorizationKey
3         wss, TLS >= 1.2    a client certificate whose common name is its id
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import re
import ssl
from pathlib import Path
from typing import Any

from evsim.errors import UserError
from evsim.text import is_charge_point_id

PROFILES = (0, 1, 2, 3)
#: An AuthorizationKey has 16 to 20 bytes and travels as hexadecimal digits.
KEY_BYTES = range(16, 21)

# The suites that the white paper requires, and their ECDHE-RSA siblings. Level 2 refuses RSA keys
# below 2048 and elliptic curves below 224 bits.
_CIPHERS = (
    "@SECLEVEL=2:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-GCM-SHA384"
)

# What OpenSSL's reasons mean to whoever chose the files.
_REASONS = {
    "EE_KEY_TOO_SMALL": "its key is too short; RSA needs 2048 bits, an elliptic curve 224",
    "CA_KEY_TOO_SMALL": "its key is too short; RSA needs 2048 bits, an elliptic curve 224",
    "KEY_VALUES_MISMATCH": "they do not belong together",
    "KEY_TYPE_MISMATCH": "they do not belong together",
}


class SecurityError(UserError):
    """A key, a certificate or a combination of options that can't be used."""


def add_profile_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Give `parser` the security options that both ends have; returns their group for more."""
    group = parser.add_argument_group("security (make a test CA with python -m evsim.certificates)")
    group.add_argument(
        "--security-profile",
        type=int,
        choices=PROFILES,
        default=0,
        help="0 none, 1 key, 2 TLS and key, 3 TLS and client certificate (default: %(default)s)",
    )
    group.add_argument("--ca", type=Path, metavar="FILE", help="who signed the other end")
    group.add_argument("--cert", type=Path, metavar="FILE", help="our own certificate")
    group.add_argument("--private-key", type=Path, metavar="FILE", help="of --cert")
    return group


def uses_tls(profile: int) -> bool:
    """Whether a profile encrypts."""
    return profile >= 2


def uses_key(profile: int) -> bool:
    """Whether a profile authenticates by AuthorizationKey."""
    return profile in (1, 2)


# ── AuthorizationKey ─────────────────────────────────────────────────────────────────────────


def parse_key(text: str) -> bytes:
    """Read an AuthorizationKey from its hexadecimal digits; ValueError if it is none."""
    if not re.fullmatch(r"[0-9A-Fa-f]*", text):
        raise ValueError("an AuthorizationKey consists of hexadecimal digits")
    key = binascii.unhexlify(text) if len(text) % 2 == 0 else b""
    if len(key) not in KEY_BYTES:
        raise ValueError(
            f"an AuthorizationKey has {2 * KEY_BYTES[0]} to {2 * KEY_BYTES[-1]} hexadecimal "
            f"digits, an even number; this has {len(text)}"
        )
    return key


def read_key_file(path: Path) -> bytes:
    """Read a charge point's AuthorizationKey from its file; SecurityError if it can't be."""
    try:
        return parse_key(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise SecurityError(f"no AuthorizationKey in {path}: {error}") from error


def read_keys_file(path: Path) -> dict[str, bytes]:
    """Read a central system's keys: a charge point id and its key, a blank between, each line.

    Raises SecurityError that names the line.
    """
    keys: dict[str, bytes] = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SecurityError(f"cannot read the keys in {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        charge_point_id, _, text = line.strip().rpartition(" ")
        charge_point_id = charge_point_id.strip()
        if not is_charge_point_id(charge_point_id) or charge_point_id in keys:
            raise SecurityError(
                f"{path}, line {number}: a charge point id that has not come before, a blank and "
                "a key are expected"
            )
        try:
            keys[charge_point_id] = parse_key(text)
        except ValueError as error:
            raise SecurityError(f"{path}, line {number}: {error}") from error
    return keys


def digest(key: bytes) -> bytes:
    """Return what is kept of a key. Keys are random and long, so one hash is enough."""
    return hashlib.sha256(key).digest()


def is_key(offered: bytes, kept_digest: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(digest(offered), kept_digest)


def basic_authorization(charge_point_id: str, key: bytes) -> str:
    """Return the Authorization header: the user is the id, the password the key's bytes."""
    return "Basic " + base64.b64encode(charge_point_id.encode() + b":" + key).decode("ascii")


def offered_keys(header: str, charge_point_id: str) -> list[bytes]:
    """Read the key that an Authorization header offers for a charge point id.

    Both customs are read: the key's bytes, as OCPP-J has it, and its hexadecimal digits. Empty if
    there is none, or the user name is not the id.
    """
    scheme, _, encoded = header.partition(" ")
    try:
        user_and_password = base64.b64decode(encoded.strip(), validate=True)
    except (ValueError, binascii.Error):
        return []
    user = charge_point_id.encode() + b":"
    if scheme.lower() != "basic" or not user_and_password.startswith(user):
        return []
    password = user_and_password[len(user) :]
    try:
        return [password, parse_key(password.decode("ascii"))]
    except ValueError:
        return [password]


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────


def server_context(profile: int, certificate: Path, key: Path, ca: Path | None) -> ssl.SSLContext:
    """Make a central system's TLS context; with profile 3 it demands a certificate of `ca`.

    Raises SecurityError with one line.
    """
    context = _hardened(ssl.PROTOCOL_TLS_SERVER)
    _load(context, certificate, key)
    if profile == 3:
        if ca is None:
            raise SecurityError("security profile 3 needs --ca, who signed the charge points")
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, ca)
    return context


def client_context(
    profile: int, ca: Path | None, certificate: Path | None, key: Path | None, trusted: str = ""
) -> ssl.SSLContext:
    """Make a charge point's TLS context.

    :param ca: a file with the authorities to trust.
    :param trusted: more of them, in PEM form; with neither, the system's authorities are trusted.

    Raises SecurityError with one line.
    """
    context = _hardened(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None and not trusted:
        context.load_default_certs()
    if ca is not None:
        _trust(context, ca)
    if trusted:
        context.load_verify_locations(cadata=trusted)
    if profile == 3:
        if certificate is None or key is None:
            raise SecurityError("security profile 3 needs --cert and --private-key")
        _load(context, certificate, key)
    return context


def _hardened(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _read(certificate)
    if b"ENCRYPTED" in _read(key):
        raise SecurityError(
            f"the private key {key} has a pass phrase; save it without: openssl pkey -in {key}"
        )
    try:
        # Should OpenSSL want a pass phrase all the same, it must not stop a server to ask for it.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        reason = _REASONS.get(error.reason or "", "one of them is not in PEM form")
        raise SecurityError(
            f"cannot use certificate {certificate} with private key {key}: {reason}"
        ) from error


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    _read(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise SecurityError(f"no certificate in PEM form in {ca}, given as --ca") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SecurityError(f"cannot read {path}: {error.strerror}") from error


def common_name(ssl_object: ssl.SSLObject | None) -> str | None:
    """Return the common name of the certificate that the peer proved itself with."""
    certificate: Any = ssl_object.getpeercert() if ssl_object is not None else None
    names = [pair for names in (certificate or {}).get("subject", ()) for pair in names]
    return next((str(value) for name, value in names if name == "commonName"), None)
