"""Make a test CA, certificates and keys for the security profiles: not for the real world.

    python -m evsim.certificates DIR --charge-point CP_1

writes into DIR what csms.py and cp.py need for each profile:

    ca.pem                          the authority that both ends trust
    csms.pem, csms.key              the central system's certificate and private key
    keys.txt                        the AuthorizationKeys of all charge points, for csms.py --keys
    CP_1.pem, CP_1.key              a charge point's certificate and private key
    CP_1.authorization-key          its AuthorizationKey, for cp.py --key-file
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from evsim import console
from evsim.clock import utc_now
from evsim.errors import UserError
from evsim.security import KEY_BYTES
from evsim.text import is_charge_point_id

VALID_FOR = timedelta(days=825)  # the longest that macOS trusts
OPERATOR = "ev-anomaly-sim test"

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    sys.exit("evsim.certificates needs the package cryptography: pip install -e '.[security]'")


def make_all(directory: Path, host: str, charge_point_ids: list[str]) -> None:
    """Write everything; UserError if the directory already holds a CA or can't be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / "ca.pem").exists():
            raise UserError(f"{directory} already holds a ca.pem; choose another directory")
        authority = _Authority(directory)
        authority.issue("csms", host, ExtendedKeyUsageOID.SERVER_AUTH)
        lines = ["# charge point id, AuthorizationKey"]
        for charge_point_id in charge_point_ids:
            name = quote(charge_point_id, safe="")
            authority.issue(name, charge_point_id, ExtendedKeyUsageOID.CLIENT_AUTH)
            key = secrets.token_hex(KEY_BYTES[-1])
            _write(directory / f"{name}.authorization-key", f"{key}\n".encode())
            lines.append(f"{charge_point_id} {key}")
        _write(directory / "keys.txt", ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise UserError(f"cannot write to {directory}: {error}") from error


class _Authority:
    """Signs certificates; its own private key is forgotten at the end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("test CA")
        builder = self._builder(name, self._key.public_key())
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        ).add_extension(_usage(signs_certificates=True), critical=True)
        self._certificate = builder.issuer_name(name).sign(self._key, hashes.SHA256())
        _write(directory / "ca.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, file_name: str, subject: str, usage: x509.ObjectIdentifier) -> None:
        """Write NAME.pem and NAME.key for a host (server) or a charge point id (client)."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_name(subject), key.public_key())
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if usage == ExtendedKeyUsageOID.SERVER_AUTH:
            alternatives = x509.SubjectAlternativeName([_host_name(subject)])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write(self._directory / f"{file_name}.key", private)
        _write(
            self._directory / f"{file_name}.pem",
            certificate.public_bytes(serialization.Encoding.PEM),
        )

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = utc_now()
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + VALID_FOR)
            .add_extension(authority_key, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, OPERATOR),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read; OSError if there is one of that name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evsim.certificates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the central system's name (default: %(default)s)"
    )
    parser.add_argument(
        "--charge-point",
        action="append",
        metavar="ID",
        help="may be given several times (default: CP_1)",
    )
    options = parser.parse_args(arguments)
    charge_point_ids = options.charge_point or ["CP_1"]
    for charge_point_id in charge_point_ids:
        if not is_charge_point_id(charge_point_id):
            parser.error(f"{charge_point_id!r} is not a charge point id")
    try:
        make_all(options.directory, options.host, charge_point_ids)
    except UserError as error:
        return console.fail(error)
    console.ready(f"Test CA, certificates and keys are in {options.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
