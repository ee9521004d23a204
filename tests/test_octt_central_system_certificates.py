"""The compliance tool's cases for a central system: certificates and security events."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ocpp.v16.enums import CertificateUse, MessageTrigger
from octt_central_bench import ACCEPTED, REJECTED, Bench, octt
from octt_tool import Payload

from evsim.authority import Authority, new_key

HASHES = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "a1" * 32,
    "issuerKeyHash": "b2" * 32,
    "serialNumber": "1234",
}


def signing_request(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    """Give a charge point's CSR, in PEM form."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Operator"),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


async def tell_event(it: Bench, kind: str) -> None:
    said = {"type": kind, "timestamp": it.stamp(), "techInfo": "as the test has it"}
    assert await it.tool.call("SecurityEventNotification", said) == {}
    event = await it.station.report("SecurityEventNotification", type=kind)
    assert event["tech_info"] == "as the test has it"


async def ask_for_signing(it: Bench) -> None:
    """Have CP_1 ask for a certificate: one for its key, that the authority signed, must come."""
    authority, key = Authority.make(), new_key()
    it.central.sign = authority.sign_request
    await it.disconnect()
    await it.connect()
    verb = it.station.extended_trigger(MessageTrigger.sign_charge_point_certificate)
    asked = await it.asked(verb, "ExtendedTriggerMessage")
    assert asked == {"requestedMessage": "SignChargePointCertificate"}
    csr = signing_request("CP_1", key)
    assert await it.tool.call("SignCertificate", {"csr": csr}) == {"status": "Accepted"}
    asked = await it.tool.expect("CertificateSigned")
    certificate, *_ = x509.load_pem_x509_certificates(asked["certificateChain"].encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem))
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=CP_1,O=Operator"


@octt
async def test_tc_074_csms_update_the_charge_point_certificate(it: Bench) -> None:
    await ask_for_signing(it)
    await it.tool.answer(ACCEPTED)
    for csr in (signing_request("CP_2", new_key()), "no request"):
        assert await it.tool.call("SignCertificate", {"csr": csr}) == {"status": "Rejected"}
    for status in ("Rejected", "NotImplemented"):
        verb = it.station.extended_trigger(MessageTrigger.sign_charge_point_certificate)
        await it.refused(verb, "ExtendedTriggerMessage", status)


async def show_installation(it: Bench, kind: CertificateUse, pem: str) -> None:
    verb = it.station.install_certificate(kind, pem)
    asked = await it.asked(verb, "InstallCertificate")
    assert asked == {"certificateType": kind.value, "certificate": pem}
    found = await installed(it, kind, [HASHES])
    assert [entry["serial_number"] for entry in found] == ["1234"]
    for status in ("Failed", "Rejected"):
        await it.refused(it.station.install_certificate(kind, pem), "InstallCertificate", status)


async def installed(it: Bench, kind: CertificateUse, there: list[Payload]) -> list[Payload]:
    """Ask for the installed certificates, which are `there`."""
    verb = it.station.installed_certificates(kind)
    answer = {"status": "Accepted", "certificateHashData": there}
    asked, given = await it.gave(verb, "GetInstalledCertificateIds", answer)
    assert asked == {"certificateType": kind.value}
    return list(given.certificate_hash_data or ())


@octt
async def test_tc_075_1_csms_install_a_manufacturer_root(it: Bench, pki: Path) -> None:
    pem = (pki / "ca.pem").read_text()
    await show_installation(it, CertificateUse.manufacturer_root_certificate, pem)


@octt
async def test_tc_075_2_csms_install_a_central_system_root(it: Bench, pki: Path) -> None:
    pem = (pki / "ca.pem").read_text()
    await show_installation(it, CertificateUse.central_system_root_certificate, pem)


@octt
async def test_tc_076_csms_delete_a_certificate(it: Bench) -> None:
    kind = CertificateUse.central_system_root_certificate
    (there,) = await installed(it, kind, [HASHES])
    asked = await it.asked(it.station.delete_certificate(there), "DeleteCertificate")
    assert asked == {"certificateHashData": HASHES}
    for status in ("NotFound", "Failed"):
        await it.refused(it.station.delete_certificate(there), "DeleteCertificate", status)


@octt
async def test_tc_077_csms_invalid_charge_point_certificate(
    it: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await ask_for_signing(it)
    await it.tool.answer(REJECTED)
    await tell_event(it, "InvalidChargePointCertificate")
    assert "its signed certificate was answered with Rejected" in caplog.text


@octt
async def test_tc_078_csms_invalid_central_system_certificate(it: Bench) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"
    kind = CertificateUse.central_system_root_certificate
    await it.refused(it.station.install_certificate(kind, pem), "InstallCertificate", "Rejected")
    await tell_event(it, "InvalidCentralSystemCertificate")
