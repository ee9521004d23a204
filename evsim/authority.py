"""A certificate authority for the test bench: it signs certificates for both ends.

Needs the package cryptography, the extra `.[security]`: import it where it is used.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evsim.clock import utc_now
from evsim.errors import UserError

VALID_FOR = timedelta(days=825)  # the longest that macOS trusts
OPERATOR = "ev-anomaly-sim test"
#: What the security white paper asks of a key, bits.
SMALLEST_RSA_BITS = 2048
SMALLEST_CURVE_BITS = 224

#: The keys that certificates are signed with and made for.
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class Authority:
    """Signs certificates with its private key."""

    def __init__(self, certificate: x509.Certificate, key: PrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @staticmethod
    def make() -> Authority:
        """Make a new one, with a root certificate that it signs itself."""
        key, name = new_key(), _name("test CA", OPERATOR)
        builder = _builder(name, key.public_key(), name, key.public_key())
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        ).add_extension(_usage(signs_certificates=True), critical=True)
        return Authority(builder.sign(key, hashes.SHA256()), key)

    @staticmethod
    def load(certificate: Path, key: Path) -> Authority:
        """Read one from its PEM files; UserError in one line if they are not an authority's."""
        try:
            ca = x509.load_pem_x509_certificate(certificate.read_bytes())
            private = serialization.load_pem_private_key(key.read_bytes(), None)
        except OSError as error:
            raise UserError(f"cannot read {error.filename}: {error.strerror}") from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UserError(
                f"{certificate} and {key} are to be a certificate and its private key, in PEM form "
                "and without a pass phrase"
            ) from error
        if not isinstance(private, PrivateKey) or private.public_key() != ca.public_key():
            raise UserError(f"{key} is not the private key of {certificate}")
        if not _may_sign(ca):
            raise UserError(f"{certificate} is not an authority's certificate: it may sign nothing")
        return Authority(ca, private)

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Its private key."""
        return private_pem(self._key)

    def issue(
        self,
        subject: str,
        public_key: PublicKey,
        usage: x509.ObjectIdentifier,
        organisation: str = OPERATOR,
    ) -> bytes:
        """Make a certificate, in PEM form, for a host (server) or a charge point id (client)."""
        builder = (
            _builder(
                _name(subject, organisation),
                public_key,
                self._certificate.subject,
                self._key.public_key(),
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if usage == ExtendedKeyUsageOID.SERVER_AUTH:
            alternatives = x509.SubjectAlternativeName([_host_name(subject)])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def sign_request(self, request_pem: str, charge_point_id: str) -> str:
        """Sign a charge point's own request; give its certificate in PEM form.

        Nothing of the request but its key and the name of the organisation gets into the
        certificate. Raises UserError if it is no request, or somebody else's.
        """
        try:
            request = x509.load_pem_x509_csr(request_pem.encode())
            public_key, is_its_own = request.public_key(), request.is_signature_valid
            names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            organisations = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UserError("it is no certificate request in PEM form") from error
        if not is_its_own:
            raise UserError("it is not signed with the key that it is for")
        if [name.value for name in names] != [charge_point_id]:
            raise UserError(f"its common name is not {charge_point_id}")
        if not isinstance(public_key, PublicKey):
            raise UserError("its key is neither of an elliptic curve nor RSA")
        smallest = SMALLEST_RSA_BITS if isinstance(public_key, rsa.RSAPublicKey) else None
        if public_key.key_size < (smallest or SMALLEST_CURVE_BITS):
            raise UserError(f"its key is too short, {public_key.key_size} bits")
        organisation = str(organisations[0].value) if organisations else OPERATOR
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        return self.issue(charge_point_id, public_key, usage, organisation).decode()


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a private key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: PrivateKey) -> bytes:
    """Write a private key in PEM form, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _builder(
    subject: x509.Name, public_key: PublicKey, issuer: x509.Name, issuer_key: PublicKey
) -> x509.CertificateBuilder:
    now = utc_now()
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID_FOR)
        .add_extension(authority_key, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.value.ca


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


def _name(common_name: str, organisation: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
