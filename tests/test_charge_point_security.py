"""Signed firmware, logs, security events and extended triggers of a charge point."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from authorities import Authority, Key, ec_key, name, pem, rsa_key, sign
from cryptography.x509.oid import ExtendedKeyUsageOID
from feature_bench import Bench, bench, play
from ocpp.exceptions import PropertyConstraintViolationError
from ocpp.v16 import call
from ocpp.v16.enums import CertificateUse, Log, MessageTrigger

from evsim.charge_point.firmware_store import FIRST_VERSION
from evsim.charge_point.security_events import SecurityEvent
from evsim.virtual_time import EPOCH

FIRMWARE = "SignedFirmwareStatusNotification"
LOG = "LogStatusNotification"
EVENT = "SecurityEventNotification"
IMAGE = b"EVSIM-FIRMWARE 2.0.1\nrest"
PAST = "2020-01-01T00:00:00Z"
MISSING = "file:///there/is/no/such"


class Maker:
    """A manufacturer that signs firmware."""

    def __init__(self, directory: Path, key: Key | None = None) -> None:
        self.directory = directory
        self.root = Authority("maker")
        self.key = key or ec_key()
        self.certificate = self.root.issue(self.key.public_key(), name("signer"))

    def firmware(self, image: bytes = IMAGE, how: str = "PSS") -> dict[str, str]:
        path = self.directory / "firmware.bin"
        path.write_bytes(image)
        return {
            "location": path.as_uri(),
            "retrieve_date_time": PAST,
            "signing_certificate": pem(self.certificate),
            "signature": sign(self.key, image, how),
        }


async def trust(it: Bench, maker: Maker) -> None:
    use = CertificateUse.manufacturer_root_certificate
    answer = await it.central.call(call.InstallCertificate(use, maker.root.pem))
    assert answer.status == "Accepted"


async def update(it: Bench, request_id: int, firmware: dict[str, str], **more: int) -> str:
    answer = await it.central.call(call.SignedUpdateFirmware(request_id, firmware, **more))
    return str(answer.status)


async def events(it: Bench) -> list[str]:
    await it.outbox.all_sent()
    return [payload["type"] for payload in it.central.all(EVENT)]


# ── Signed firmware ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "how"), [(ec_key, "ECDSA"), (rsa_key, "PSS"), (rsa_key, "PKCS1v15")]
)
def test_signed_firmware_goes_all_the_way(tmp_path: Path, key: Callable[[], Key], how: str) -> None:
    maker = Maker(tmp_path, key())

    async def test() -> None:
        async with bench(tmp_path) as it:
            it.security_profile = 1
            await it.connect()
            await trust(it, maker)
            assert await update(it, 7, maker.firmware(how=how)) == "Accepted"
            await it.central.wait_for(FIRMWARE, status="Installed")
            assert it.central.all(FIRMWARE) == [
                {"status": status, "request_id": 7}
                for status in (
                    "Downloading",
                    "Downloaded",
                    "SignatureVerified",
                    "Installing",
                    "InstallRebooting",
                    "Installed",
                )
            ]
            assert it.updater.version == "2.0.1"
            assert await events(it) == ["FirmwareUpdated"]

    play(test())


def test_download_and_installation_wait_for_their_times(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    times = {
        "retrieve_date_time": "2026-01-01T00:01:00Z",
        "install_date_time": "2026-01-01T00:10:00Z",
    }

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await trust(it, maker)
            await update(it, 1, maker.firmware() | times)
            await asyncio.sleep(300)
        async with bench(tmp_path) as it:  # it outlives the program
            await it.connect()
            await it.central.wait_for(FIRMWARE, status="Installed")
            at_s = {payload["status"]: round(at_s) for at_s, _, payload in it.central.got}
            assert at_s["Installing"] == 600

    play(test())


def test_scheduled_steps_are_told(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    times = {
        "retrieve_date_time": "2026-01-01T00:01:00Z",
        "install_date_time": "2026-01-01T00:10:00Z",
    }

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await trust(it, maker)
            await update(it, 1, maker.firmware() | times)
            await it.central.wait_for(FIRMWARE, status="InstallScheduled")
            told = [(round(at_s), payload["status"]) for at_s, _, payload in it.central.got]
            assert told == [
                (0, "DownloadScheduled"),
                (60, "Downloading"),
                (60, "Downloaded"),
                (60, "SignatureVerified"),
                (60, "InstallScheduled"),
            ]

    play(test())


def bad_signatures() -> dict[str, Callable[[Maker], dict[str, str]]]:
    def of_other_image(maker: Maker) -> dict[str, str]:
        return maker.firmware() | {"signature": sign(maker.key, IMAGE + b"!")}

    return {
        "of another image": of_other_image,
        "by another key": lambda maker: maker.firmware() | {"signature": sign(ec_key(), IMAGE)},
        "no base64": lambda maker: maker.firmware() | {"signature": "?!"},
        "empty": lambda maker: maker.firmware() | {"signature": ""},
    }


@pytest.mark.parametrize("what", bad_signatures())
def test_a_bad_signature_ends_the_update(tmp_path: Path, what: str) -> None:
    maker = Maker(tmp_path)

    async def test() -> None:
        async with bench(tmp_path) as it:
            it.security_profile = 1
            await it.connect()
            await trust(it, maker)
            assert await update(it, 1, bad_signatures()[what](maker)) == "Accepted"
            await it.central.wait_for(FIRMWARE, status="InvalidSignature")
            assert it.central.statuses(FIRMWARE)[:-1] == ["Downloading", "Downloaded"]
            assert await events(it) == ["InvalidFirmwareSignature"]
            assert it.updater.version == FIRST_VERSION
            assert not it.reboots

    play(test())


def test_signed_but_no_image_fails_its_verification(tmp_path: Path) -> None:
    maker = Maker(tmp_path)

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await trust(it, maker)
            await update(it, 1, maker.firmware(b"\x7fELF"))
            await it.central.wait_for(FIRMWARE, status="InstallVerificationFailed")
            assert not it.reboots

    play(test())


def test_a_signed_download_that_fails(tmp_path: Path) -> None:
    maker = Maker(tmp_path)

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await trust(it, maker)
            await update(it, 1, maker.firmware() | {"location": MISSING}, retries=0)
            await it.central.wait_for(FIRMWARE, status="DownloadFailed", request_id=1)

    play(test())


def bad_certificates() -> dict[str, Callable[[Maker], str]]:
    def issued(maker: Maker, **more: Any) -> str:
        return pem(maker.root.issue(maker.key.public_key(), name("signer"), **more))

    return {
        "no certificate": lambda _: "garbage",
        "of another maker": lambda _: pem(
            Authority("maker").issue(ec_key().public_key(), name("signer"))
        ),
        "expired": lambda maker: issued(maker, end=EPOCH - timedelta(days=1)),
        "not yet valid": lambda maker: issued(maker, start=EPOCH + timedelta(days=1)),
        "for servers": lambda maker: issued(maker, purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        "short key": lambda maker: pem(
            maker.root.issue(rsa_key(1024).public_key(), name("signer"))
        ),
    }


@pytest.mark.parametrize("what", bad_certificates())
def test_a_bad_signing_certificate_is_refused_and_told(tmp_path: Path, what: str) -> None:
    maker = Maker(tmp_path)
    certificate = bad_certificates()[what](maker)

    async def test() -> None:
        async with bench(tmp_path) as it:
            it.security_profile = 1
            await it.connect()
            assert await update(it, 1, maker.firmware()) == "InvalidCertificate"  # no root yet
            await trust(it, maker)
            firmware = maker.firmware() | {"signing_certificate": certificate}
            assert await update(it, 1, firmware) == "InvalidCertificate"
            assert await events(it) == ["InvalidFirmwareSigningCertificate"] * 2
            assert not it.updater.is_busy

    play(test())


def test_a_revoked_certificate_is_refused(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    rival, other = Authority("maker"), Authority("other maker")

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await trust(it, maker)
            it.revocations = maker.root.revoke(maker.certificate)
            assert await update(it, 1, maker.firmware()) == "RevokedCertificate"
            for useless in (rival.revoke(maker.certificate), b"garbage"):
                it.revocations = useless
                assert await update(it, 2, maker.firmware()) == "InvalidCertificate"
            it.revocations = other.revoke(maker.certificate)
            assert await update(it, 3, maker.firmware()) == "Accepted"

    play(test())


def test_a_later_update_cancels_the_one_under_way_but_no_installation(tmp_path: Path) -> None:
    maker = Maker(tmp_path)

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await trust(it, maker)
            never = maker.firmware() | {"location": MISSING}
            assert await update(it, 1, never, retries=9, retry_interval=60) == "Accepted"
            await asyncio.sleep(1)
            assert await update(it, 2, maker.firmware()) == "AcceptedCanceled"
            await it.central.wait_for(FIRMWARE, status="Installing")
            assert await update(it, 3, never) == "Rejected"
            await it.central.wait_for(FIRMWARE, status="Installed")
            assert [payload["request_id"] for payload in it.central.all(FIRMWARE)] == [1] + [2] * 6

    play(test())


# ── Logs ─────────────────────────────────────────────────────────────────────────────────────


async def get_log(it: Bench, request_id: int, location: str, **more: Any) -> Any:
    parameters = {"remote_location": location, **more.pop("log", {})}
    log_type = more.pop("log_type", Log.security_log)
    return await it.central.call(call.GetLog(parameters, log_type, request_id, **more))


def test_the_security_log_is_uploaded(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.events.note(SecurityEvent.startup_of_the_device)
            await asyncio.sleep(60)
            it.events.note(SecurityEvent.reset_or_reboot, "Soft\nforged line")
            answer = await get_log(it, 5, tmp_path.as_uri())
            assert answer.status == "Accepted"
            assert re.fullmatch(r"security_CP_1_\w+\.log", answer.filename)
            await it.central.wait_for(LOG, status="Uploaded")
            assert it.central.all(LOG) == [
                {"status": "Uploading", "request_id": 5},
                {"status": "Uploaded", "request_id": 5},
            ]
            assert (tmp_path / answer.filename).read_text().splitlines() == [
                "2026-01-01T00:00:00.000Z StartupOfTheDevice",
                r"2026-01-01T00:01:00.000Z ResetOrReboot Soft\nforged line",
            ]
            await asyncio.sleep(1)
            late = {"oldest_timestamp": "2026-01-01T00:00:30+00:00"}
            answer = await get_log(it, 6, tmp_path.as_uri(), log=late)
            await it.outbox.all_sent()
            assert len((tmp_path / answer.filename).read_text().splitlines()) == 1

    play(test())


def test_the_diagnostics_log_is_uploaded(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            answer = await get_log(it, 5, tmp_path.as_uri(), log_type=Log.diagnostics_log)
            await it.central.wait_for(LOG, status="Uploaded")
            assert "[statuses]" in (tmp_path / answer.filename).read_text()

    play(test())


def test_where_there_is_no_log_there_is_no_file(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            answer = await get_log(it, 5, tmp_path.as_uri())
            assert (answer.status, answer.filename) == ("Accepted", None)
            await asyncio.sleep(60)
            assert not it.central.got
            with pytest.raises(PropertyConstraintViolationError):
                await get_log(it, 6, tmp_path.as_uri(), log={"latest_timestamp": "now"})

    play(test())


@pytest.mark.parametrize(
    ("location", "status"),
    [
        (MISSING, "UploadFailure"),
        ("ftp://127.0.0.1/logs", "NotSupportedOperation"),
        ("http://192.0.2.1/logs", "NotSupportedOperation"),
    ],
)
def test_a_log_that_cannot_be_uploaded(tmp_path: Path, location: str, status: str) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.events.note(SecurityEvent.startup_of_the_device)
            assert (await get_log(it, 5, location, retries=0)).status == "Accepted"
            await it.central.wait_for(LOG, status=status, request_id=5)
            assert it.central.statuses(LOG) == ["Uploading", status]

    play(test())


def test_a_second_log_cancels_the_first(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.events.note(SecurityEvent.startup_of_the_device)
            await get_log(it, 1, MISSING, retries=9, retry_interval=60)
            await asyncio.sleep(1)
            answer = await get_log(it, 2, tmp_path.as_uri())
            assert answer.status == "AcceptedCanceled"
            await asyncio.sleep(1000)
            told = [(p["status"], p["request_id"]) for p in it.central.all(LOG)]
            assert told == [("Uploading", 1), ("Uploading", 2), ("Uploaded", 2)]
            assert (await get_log(it, 3, tmp_path.as_uri())).status == "Accepted"

    play(test())


# ── Security events ──────────────────────────────────────────────────────────────────────────


def test_events_are_kept_and_told_in_order_over_restarts(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.security_profile = 1
            it.events.note(SecurityEvent.startup_of_the_device)
        async with bench(tmp_path) as it:
            it.security_profile = 1
            it.events.note(SecurityEvent.reset_or_reboot, "x" * 300)
            await asyncio.sleep(60)
            await it.connect()
            await it.outbox.all_sent()
            assert it.central.all(EVENT) == [
                {"type": "StartupOfTheDevice", "timestamp": "2026-01-01T00:00:00.000Z"},
                {
                    "type": "ResetOrReboot",
                    "timestamp": "2026-01-01T00:00:00.000Z",
                    "tech_info": "x" * 255,
                },
            ]

    play(test())


def test_without_the_extension_events_are_only_logged(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.events.note(SecurityEvent.startup_of_the_device)
            await asyncio.sleep(10)
            assert not it.central.got
            assert len(it.events.lines()) == 1

    play(test())


def test_the_log_is_bounded_and_its_clearing_is_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evsim.charge_point.security_events.MOST_ENTRIES", 3)

    async def test() -> None:
        async with bench(tmp_path) as it:
            for number in range(5):
                it.events.note(SecurityEvent.reset_or_reboot, str(number))
            assert [line[-1] for line in it.events.lines()] == ["2", "3", "4"]
            it.events.clear()
            assert [line.split()[1] for line in it.events.lines()] == ["SecurityLogWasCleared"]

    play(test())


# ── Extended triggers ────────────────────────────────────────────────────────────────────────


async def trigger(it: Bench, message: MessageTrigger, connector_id: int | None = None) -> str:
    answer = await it.central.call(call.ExtendedTriggerMessage(message, connector_id))
    return str(answer.status)


def test_idle_is_said_when_asked_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            assert await trigger(it, MessageTrigger.firmware_status_notification) == "Accepted"
            assert await trigger(it, MessageTrigger.log_status_notification) == "Accepted"
            await asyncio.sleep(1)
            assert it.central.all(FIRMWARE) == [{"status": "Idle"}]
            assert it.central.all(LOG) == [{"status": "Idle"}]

    play(test())


def test_what_goes_on_is_said_when_asked_for(tmp_path: Path) -> None:
    maker = Maker(tmp_path)

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await trust(it, maker)
            it.events.note(SecurityEvent.startup_of_the_device)
            never = maker.firmware() | {"location": MISSING}
            await update(it, 1, never, retries=9, retry_interval=60)
            await get_log(it, 2, MISSING, retries=9, retry_interval=60)
            await it.outbox.all_sent()
            await trigger(it, MessageTrigger.firmware_status_notification)
            await trigger(it, MessageTrigger.log_status_notification)
            await asyncio.sleep(1)
            assert it.central.all(FIRMWARE) == [{"status": "Downloading", "request_id": 1}] * 2
            assert it.central.all(LOG) == [{"status": "Uploading", "request_id": 2}] * 2

    play(test())


def test_the_other_messages_are_the_charge_points(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            assert await trigger(it, MessageTrigger.heartbeat) == "Accepted"
            assert await trigger(it, MessageTrigger.heartbeat, 1) == "Accepted"
            assert await trigger(it, MessageTrigger.heartbeat, 2) == "Rejected"
            assert await trigger(it, MessageTrigger.heartbeat, -1) == "Rejected"
            assert await trigger(it, MessageTrigger.meter_values) == "NotImplemented"
            await asyncio.sleep(1)
            assert it.triggered == [None, 1]
            assert len(it.central.all("Heartbeat")) == 2

    play(test())


def test_requests_in_a_row_are_each_served(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await asyncio.gather(
                *(trigger(it, MessageTrigger.heartbeat, number) for number in (0, 1, 9, 1))
            )
            await asyncio.sleep(1)
            assert it.triggered == [0, 1, 1]

    play(test())
