"""Judges certificates, chains and signatures by the rules of the security white paper.

Needs the package cryptography, the extra `.[security]`: import it where it is used.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)
from ocpp.v16.enums import CertificateUse

from evsim.charge_point.certificate_store import CertificateError, CertificateStore, RevokedError
from evsim.clock import Clock

SMALLEST_RSA_BITS = 2048
SMALLEST_CURVE_BITS = 224
HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


# Much of a certificate is read only when it is asked for.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@contextlib.contextmanager
def _judging() -> Iterator[None]:
    """Turn what cryptography raises for bytes that are no certificate into a CertificateError."""
    try:
        yield
    except _UNREADABLE as error:
        raise CertificateError(f"it cannot be read: {error}") from error


class CertificateChecks:
    """Judges against the roots in a store, at the time of a clock."""

    def __init__(self, store: CertificateStore, now: Clock) -> None:
        self._store = store
        self._now = now

    # ── Root certificates ────────────────────────────────────────────────────────────────────

    @_judging()
    def root(self, pem: str) -> str:
        """Give the one valid root certificate that `pem` is, in PEM form; CertificateError."""
        certificates = _read(pem)
        if len(certificates) != 1:
            raise CertificateError(f"{len(certificates)} certificates; one is expected")
        certificate = certificates[0]
        _check_key(certificate)
        _check_validity(certificate, self._now())
        try:
            _check_authority(certificate)
            certificate.verify_directly_issued_by(certificate)
        except InvalidSignature as error:
            raise CertificateError("no root certificate: its signature is not its own") from error
        except (ValueError, TypeError) as error:
            raise CertificateError(f"no root certificate: {error}") from error
        return _pem(certificate)

    def hash_data(self, pem: str, algorithm: str = "SHA256") -> dict[str, str]:
        """Name a root certificate as OCSP does, in the fields of CertificateHashData."""
        (certificate,) = _read(pem)
        builder = ocsp.OCSPRequestBuilder()
        request = builder.add_certificate(certificate, certificate, HASHES[algorithm]).build()
        return {
            "hash_algorithm": algorithm,
            "issuer_name_hash": request.issuer_name_hash.hex(),
            "issuer_key_hash": request.issuer_key_hash.hex(),
            "serial_number": f"{request.serial_number:x}",
        }

    def find(self, wanted: Mapping[str, str]) -> list[tuple[CertificateUse, str]]:
        """Find the installed certificates that hash data name, each with its use."""
        plain = {key: value.lower() for key, value in wanted.items()}
        plain["serial_number"] = plain["serial_number"].lstrip("0") or "0"
        return [
            (use, pem)
            for use in CertificateUse
            for pem in self._store.roots(use)
            if {
                key: value.lower()
                for key, value in self.hash_data(pem, wanted["hash_algorithm"]).items()
            }
            == plain
        ]

    # ── The charge point's own certificate ───────────────────────────────────────────────────

    @staticmethod
    def request(common_name: str, organisation: str) -> tuple[str, str]:
        """Make a new private key and the request to sign its certificate, both in PEM form."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if organisation:
            names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
        request = builder.sign(key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return private.decode(), request.public_bytes(serialization.Encoding.PEM).decode()

    @_judging()
    def own_chain(
        self, chain: str, private_key: str, common_name: str, organisation: str
    ) -> datetime:
        """Check a charge point's chain, leaf first; give from when on it is valid.

        It may lie in the future. Raises CertificateError.
        """
        leaf, *others = _read(chain)
        key = serialization.load_pem_private_key(private_key.encode(), None)
        if leaf.public_key() != key.public_key():
            raise CertificateError("it is not for the key of our request")
        for oid, wanted in (
            (NameOID.COMMON_NAME, common_name),
            (NameOID.ORGANIZATION_NAME, organisation),
        ):
            found = [attribute.value for attribute in leaf.subject.get_attributes_for_oid(oid)]
            if wanted and found != [wanted]:
                raise CertificateError(f"its subject has {found}, but {wanted!r} is expected")
        valid_from = leaf.not_valid_before_utc
        self._verify(
            leaf,
            others,
            CertificateUse.central_system_root_certificate,
            at=max(valid_from, self._now()),
            purpose=ExtendedKeyUsageOID.CLIENT_AUTH,
        )
        return valid_from

    # ── Firmware ─────────────────────────────────────────────────────────────────────────────

    @_judging()
    def signing_chain(self, chain: str, revocations: bytes | None = None) -> None:
        """Check a firmware signing certificate; CertificateError, or its subclass RevokedError.

        :param revocations: a certificate revocation list, PEM or DER.
        """
        leaf, *others = _read(chain)
        _check_key(leaf)
        verified = self._verify(
            leaf,
            others,
            CertificateUse.manufacturer_root_certificate,
            at=self._now(),
            purpose=ExtendedKeyUsageOID.CODE_SIGNING,
        )
        if revocations is not None:
            _check_revocation(
                leaf, verified[-1] if len(verified) == 1 else verified[1], revocations
            )

    @staticmethod
    @_judging()
    def is_signature(chain: str, signature: str, content: bytes) -> bool:
        """Whether a base64 signature by the chain's leaf, with SHA-256, is that of the content.

        RSA with either padding (PSS, as the white paper wants it, or PKCS #1 v1.5), or ECDSA.
        CertificateError if there is no certificate.
        """
        key = _read(chain)[0].public_key()
        try:
            given = base64.b64decode("".join(signature.split()), validate=True)
        except (ValueError, binascii.Error):
            return False
        ways: list[Callable[[], None]] = []
        if isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            ways += [
                functools.partial(key.verify, given, content, how, hashes.SHA256())
                for how in (pss, padding.PKCS1v15())
            ]
        elif isinstance(key, ec.EllipticCurvePublicKey):
            ways.append(functools.partial(key.verify, given, content, ec.ECDSA(hashes.SHA256())))
        return any(map(_verifies, ways))

    def _verify(
        self,
        leaf: x509.Certificate,
        others: Sequence[x509.Certificate],
        use: CertificateUse,
        *,
        at: datetime,
        purpose: x509.ObjectIdentifier,
    ) -> list[x509.Certificate]:
        """Give the chain from the leaf to a root for `use`; CertificateError if there is none."""
        roots = [certificate for pem in self._store.roots(use) for certificate in _read(pem)]
        if not roots:
            raise CertificateError(f"no {use} is installed that it could be signed by")

        def check_purpose(_: Policy, __: object, usage: x509.ExtendedKeyUsage | None) -> None:
            if usage is not None and purpose not in usage:
                raise ValueError(f"it is not for {purpose._name}")

        def check_authority(_: Policy, authority: x509.Certificate, __: object) -> None:
            _check_authority(authority)

        verifier = (
            PolicyBuilder()
            .store(Store(roots))
            .time(at)
            .extension_policies(
                # Not those of the web, which private authorities seldom keep to.
                ca_policy=ExtensionPolicy.permit_all().require_present(
                    x509.BasicConstraints,
                    Criticality.AGNOSTIC,
                    check_authority,
                ),
                ee_policy=ExtensionPolicy.permit_all().may_be_present(
                    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, check_purpose
                ),
            )
            .build_client_verifier()
        )
        try:
            return verifier.verify(leaf, list(others)).chain
        except VerificationError as error:
            raise CertificateError(f"not signed by a {use}: {error}") from error


def _read(pem: str) -> list[x509.Certificate]:
    """Read what has at least one certificate in it."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except _UNREADABLE as error:
        raise CertificateError(f"no certificate in PEM form that can be read: {error}") from error


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _check_key(certificate: x509.Certificate) -> None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST_RSA_BITS:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= SMALLEST_CURVE_BITS:
        return
    raise CertificateError(
        f"its key is no RSA key of {SMALLEST_RSA_BITS} bits or more, and none on an elliptic curve "
        f"of {SMALLEST_CURVE_BITS}"
    )


def _check_validity(certificate: x509.Certificate, at: datetime) -> None:
    if (
        not certificate.not_valid_before_utc
        <= at.astimezone(UTC)
        <= certificate.not_valid_after_utc
    ):
        raise CertificateError(
            f"valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}"
        )


def _check_authority(certificate: x509.Certificate) -> None:
    """Raise ValueError unless it may sign certificates."""
    extensions = certificate.extensions
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise ValueError("it says nothing of being an authority") from None
    if not constraints.ca:
        raise ValueError("it is no authority's")
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise ValueError("its key may not sign certificates")


def _check_revocation(leaf: x509.Certificate, issuer: x509.Certificate, revocations: bytes) -> None:
    """Raise RevokedError if its issuer's list has the leaf on it; another's list says nothing."""
    load = x509.load_pem_x509_crl if b"-----BEGIN" in revocations else x509.load_der_x509_crl
    try:
        listed = load(revocations)
        revoked = listed.get_revoked_certificate_by_serial_number(leaf.serial_number)
    except _UNREADABLE as error:
        raise CertificateError(f"the revocation list cannot be read: {error}") from error
    if listed.issuer != issuer.subject:
        return
    key = issuer.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise CertificateError("its issuer's key is neither RSA nor on an elliptic curve")
    if not listed.is_signature_valid(key):
        raise CertificateError("the signature of the revocation list is wrong")
    if revoked is not None:
        raise RevokedError("it was revoked")


def _verifies(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True
