"""Certificate authorities for tests, good ones and bad ones."""

from __future__ import annotations

import base64
import ipaddress
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from evsim.virtual_time import EPOCH

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
LATER = EPOCH + timedelta(days=365)
YEARS_AGO = EPOCH - timedelta(days=2000)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def name(common_name: str, organisation: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def key_pem(key: Key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


class Authority:
    """A root, or with `issuer` one below it."""

    def __init__(
        self,
        common_name: str = "root",
        *,
        key: Key | None = None,
        issuer: Authority | None = None,
        ca: bool = True,
        path_length: int | None = None,
        start: datetime = YEARS_AGO,
        end: datetime = LATER,
    ) -> None:
        self.key = key or ec_key()
        self.subject = name(common_name)
        signer = issuer or self
        builder = _builder(self.subject, signer.subject, self.key.public_key(), start, end)
        self.certificate = builder.add_extension(
            x509.BasicConstraints(ca, path_length), critical=True
        ).sign(signer.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    def issue(
        self,
        public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        subject: x509.Name,
        *,
        start: datetime = YEARS_AGO,
        end: datetime = LATER,
        purpose: x509.ObjectIdentifier | None = None,
        address: str | None = None,
    ) -> x509.Certificate:
        builder = _builder(subject, self.subject, public_key, start, end)
        if address is not None:
            names = [x509.IPAddress(ipaddress.ip_address(address))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def sign_request(
        self,
        text: str,
        subject: x509.Name | None = None,
        *,
        start: datetime = YEARS_AGO,
        end: datetime = LATER,
    ) -> str:
        """Issue what a certificate request asks for."""
        request = x509.load_pem_x509_csr(text.encode())
        assert request.is_signature_valid
        public_key = request.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        return pem(self.issue(public_key, subject or request.subject, start=start, end=end))

    def revoke(self, certificate: x509.Certificate) -> bytes:
        """Give a revocation list with that one on it."""
        revoked = (
            x509.RevokedCertificateBuilder()
            .serial_number(certificate.serial_number)
            .revocation_date(EPOCH)
            .build()
        )
        return (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.subject)
            .last_update(YEARS_AGO)
            .next_update(LATER)
            .add_revoked_certificate(revoked)
            .sign(self.key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def sign(key: Key, content: bytes, how: str = "PSS") -> str:
    """Sign a firmware image, in base64."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        made = key.sign(content, ec.ECDSA(hashes.SHA256()))
    elif how == "PSS":
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
        made = key.sign(content, pss, hashes.SHA256())
    else:
        made = key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(made).decode()
