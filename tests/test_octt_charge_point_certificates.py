"""The compliance tool's cases for a charge point: certificates, signed firmware, security log.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_bench.py. The charge point
has security profile 1, so that it tells of security events.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from authorities import YEARS_AGO, Authority, ec_key, name, pem, sign
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from ocpp.v16 import call
from ocpp.v16.enums import CertificateUse, Log, MessageTrigger
from octt_bench import Bench, octt
from octt_central import ANY_TIME, wanted

import cp
from evsim.charge_point.credentials import Credentials
from evsim.charge_point.ledger import Ledger
from evsim.clock import to_ocpp

OPERATOR = "an operator"
CENTRAL_SYSTEM = CertificateUse.central_system_root_certificate
MANUFACTURER = CertificateUse.manufacturer_root_certificate
IMAGE = b"EVSIM-FIRMWARE 2.0.1\n" + bytes(range(256))

Play = Callable[[Callable[[Bench], Awaitable[None]]], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a test on a bench whose charge point has security profile 1."""
    key_file = tmp_path / "key"
    key_file.write_text("ab" * 20)

    def credentials(ledger: Ledger) -> Credentials:
        options = ["--security-profile", "1", "--key-file", str(key_file)]
        return Credentials("CP_1", cp.parse_arguments(options), ledger)

    def run(test: Callable[[Bench], Awaitable[None]]) -> None:
        octt(credentials=credentials, configuration={"CpoName": OPERATOR})(test)()

    return run


async def booted(it: Bench) -> None:
    """Take what a boot says of security as read."""
    await asyncio.sleep(10)
    it.central.pass_over()


async def event(it: Bench, kind: str) -> None:
    told = await it.central.expect("SecurityEventNotification", type=kind)
    assert "timestamp" in told


async def installed(it: Bench, use: CertificateUse) -> list[dict[str, Any]]:
    answer = await it.central.call(call.GetInstalledCertificateIds(use))
    if answer.status == "NotFound":
        assert not answer.certificate_hash_data
        return []
    return list(answer.certificate_hash_data)


def hash_data(authority: Authority) -> dict[str, str]:
    """Name an authority as CertificateHashData has it."""
    certificate = authority.certificate
    point = PublicFormat.UncompressedPoint
    key = certificate.public_key().public_bytes(Encoding.X962, point)
    return {
        "hash_algorithm": "SHA256",
        "issuer_name_hash": hashlib.sha256(certificate.issuer.public_bytes()).hexdigest(),
        "issuer_key_hash": hashlib.sha256(key).hexdigest(),
        "serial_number": f"{certificate.serial_number:x}",
    }


async def install(it: Bench, use: CertificateUse, authority: Authority) -> None:
    await it.ask("Accepted", call.InstallCertificate(use, authority.pem))


# ── Certificates ─────────────────────────────────────────────────────────────────────────────


async def request_certificate(it: Bench) -> str:
    trigger = MessageTrigger.sign_charge_point_certificate
    await it.ask("Accepted", call.ExtendedTriggerMessage(trigger))
    asked = await it.central.expect("SignCertificate")
    return str(asked["csr"])


def test_tc_074_cs_new_certificate_of_the_charge_point(play: Play) -> None:
    async def test(it: Bench) -> None:
        await booted(it)
        authority = Authority()
        await install(it, CENTRAL_SYSTEM, authority)
        request = await request_certificate(it)
        await it.ask("Accepted", call.CertificateSigned(authority.sign_request(request)))

    play(test)


def test_tc_077_cs_invalid_certificate_of_the_charge_point(play: Play) -> None:
    async def test(it: Bench) -> None:
        await booted(it)
        authority = Authority()
        await install(it, CENTRAL_SYSTEM, authority)
        await request_certificate(it)
        of_another_key = authority.issue(ec_key().public_key(), name("CP_1", OPERATOR))
        await it.ask("Rejected", call.CertificateSigned(pem(of_another_key)))
        await event(it, "InvalidChargePointCertificate")

    play(test)


def test_tc_078_cs_invalid_root_of_the_central_system(play: Play) -> None:
    async def test(it: Bench) -> None:
        await booted(it)
        expired = Authority(start=YEARS_AGO, end=YEARS_AGO)
        await it.ask("Rejected", call.InstallCertificate(CENTRAL_SYSTEM, expired.pem))
        await event(it, "InvalidCentralSystemCertificate")
        assert await installed(it, CENTRAL_SYSTEM) == []

    play(test)


def check_installation(play: Play, use: CertificateUse) -> None:
    async def test(it: Bench) -> None:
        await booted(it)
        before = await installed(it, use)
        authority = Authority()
        await install(it, use, authority)
        assert await installed(it, use) == [*before, hash_data(authority)]
        await it.ask("Rejected", call.InstallCertificate(use, "no certificate"))
        assert len(await installed(it, use)) == len(before) + 1

    play(test)


def test_tc_075_1_cs_manufacturers_root(play: Play) -> None:
    check_installation(play, MANUFACTURER)


def test_tc_075_2_cs_central_systems_root(play: Play) -> None:
    check_installation(play, CENTRAL_SYSTEM)


def test_tc_076_cs_delete_a_certificate(play: Play) -> None:
    async def test(it: Bench) -> None:
        await booted(it)
        kept, gone = Authority("kept"), Authority("gone")
        for authority in (kept, gone):
            await install(it, MANUFACTURER, authority)
        await it.ask("Accepted", call.DeleteCertificate(hash_data(gone)))
        assert await installed(it, MANUFACTURER) == [hash_data(kept)]
        await it.ask("NotFound", call.DeleteCertificate(hash_data(gone)))

    play(test)


# ── The security log ─────────────────────────────────────────────────────────────────────────


def test_tc_079_cs_security_log(play: Play, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()

    async def test(it: Bench) -> None:
        await booted(it)
        wanted = {"remote_location": logs.as_uri()}
        answer = await it.ask("Accepted", call.GetLog(wanted, Log.security_log, 7))
        for status in ("Uploading", "Uploaded"):
            await it.central.expect("LogStatusNotification", status=status, request_id=7)
        assert "StartupOfTheDevice" in (logs / answer.filename).read_text("utf-8")

    play(test)


# ── Signed firmware ──────────────────────────────────────────────────────────────────────────


async def told(it: Bench, *statuses: str) -> None:
    """Hear of an update; the connectors' statuses may come in between."""
    for status in statuses:
        what = wanted("SignedFirmwareStatusNotification", status=status, request_id=7)
        await it.central.expect_each(what, within_s=300, besides=ANY_TIME | {"StatusNotification"})


async def update(it: Bench, image: Path) -> None:
    """Ask for an update from that file, with the signature of IMAGE."""
    manufacturer, key = Authority("manufacturer"), ec_key()
    await install(it, MANUFACTURER, manufacturer)
    purpose = ExtendedKeyUsageOID.CODE_SIGNING
    certificate = manufacturer.issue(key.public_key(), name("signer"), purpose=purpose)
    firmware = {
        "location": image.as_uri(),
        "retrieve_date_time": to_ocpp(it.now()),
        "signing_certificate": pem(certificate),
        "signature": sign(key, IMAGE),
    }
    await it.ask("Accepted", call.SignedUpdateFirmware(7, firmware))


def test_tc_080_cs_signed_firmware(play: Play, tmp_path: Path) -> None:
    image = tmp_path / "firmware.bin"
    image.write_bytes(IMAGE)

    async def test(it: Bench) -> None:
        await booted(it)
        await update(it, image)
        await told(it, "Downloading", "Downloaded", "SignatureVerified", "Installing")
        await told(it, "InstallRebooting")
        boot = await it.central.expect("BootNotification", within_s=300)
        assert boot["firmware_version"] == "2.0.1"
        await asyncio.sleep(60)
        last = it.central.all("SignedFirmwareStatusNotification")[-1]
        assert last == {"status": "Installed", "request_id": 7}
        events = {e["type"] for e in it.central.all("SecurityEventNotification")}
        assert "FirmwareUpdated" in events

    play(test)


def test_tc_081_cs_invalid_signature(play: Play, tmp_path: Path) -> None:
    image = tmp_path / "firmware.bin"
    image.write_bytes(IMAGE + b"something else")

    async def test(it: Bench) -> None:
        await booted(it)
        await update(it, image)
        await told(it, "Downloading", "Downloaded", "InvalidSignature")
        await event(it, "InvalidFirmwareSignature")
        await it.central.silence(60)
        assert len(it.central.all("BootNotification")) == 1

    play(test)
