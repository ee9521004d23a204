"""The compliance tool's cases for a central system: firmware, diagnostics and logs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from ocpp.v16.enums import Log
from octt_central_bench import Bench, moment, octt

from evsim.ocpp_wire import to_snake_case

FIRMWARE = "http://127.0.0.1/firmware.bin"
UPLOADS = "http://127.0.0.1/uploads"

# ── Unsigned ─────────────────────────────────────────────────────────────────────────────────


async def update(it: Bench, *statuses: str) -> None:
    """Ask for an update at once; the charge point goes through `statuses`."""
    retrieve_at = it.now() + timedelta(seconds=5)
    verb = it.station.update_firmware(FIRMWARE, retrieve_at, retries=3, retry_interval_s=60)
    asked = await it.asked(verb, "UpdateFirmware", {})
    assert moment(asked.pop("retrieveDate")) == retrieve_at
    assert asked == {"location": FIRMWARE, "retries": 3, "retryInterval": 60}
    for status in statuses:
        await tell(it, "FirmwareStatusNotification", status=status)


async def tell(it: Bench, action: str, **fields: object) -> None:
    """Report how far it is; whoever awaits that in the central system gets it."""
    snake_case = to_snake_case(fields)
    waiting = asyncio.ensure_future(it.station.report(action, **snake_case))
    assert await it.tool.call(action, fields) == {}
    assert await waiting == snake_case


@octt
async def test_tc_044_1_csms_firmware_update(it: Bench) -> None:
    await update(it, "Downloading", "Downloaded", "Installing")
    await it.disconnect(abruptly=True)
    await it.connect()
    assert (await it.boot())["status"] == "Accepted"
    await tell(it, "FirmwareStatusNotification", status="Installed")


@octt
async def test_tc_044_2_csms_firmware_download_failed(it: Bench) -> None:
    await update(it, "Downloading", "DownloadFailed")
    await it.stop(await it.charging())  # and everything goes on


@octt
async def test_tc_044_3_csms_firmware_installation_failed(it: Bench) -> None:
    await update(it, "Downloading", "Downloaded", "Installing", "InstallationFailed")
    await it.stop(await it.charging())


async def get_diagnostics(it: Bench, *statuses: str) -> None:
    """Ask for the diagnostics of the last hour."""
    start, stop = it.now() - timedelta(hours=1), it.now()
    verb = it.station.get_diagnostics(
        UPLOADS, retries=2, retry_interval_s=30, start=start, stop=stop
    )
    asked, answer = await it.gave(verb, "GetDiagnostics", {"fileName": "diagnostics.log"})
    assert moment(asked.pop("startTime")) == start
    assert moment(asked.pop("stopTime")) == stop
    assert asked == {"location": UPLOADS, "retries": 2, "retryInterval": 30}
    assert answer.file_name == "diagnostics.log"
    for status in statuses:
        await tell(it, "DiagnosticsStatusNotification", status=status)


@octt
async def test_tc_045_1_csms_get_diagnostics(it: Bench) -> None:
    await get_diagnostics(it, "Uploading", "Uploaded")
    # A charge point that has none says so by naming no file.
    asked, answer = await it.gave(it.station.get_diagnostics(UPLOADS), "GetDiagnostics", {})
    assert asked == {"location": UPLOADS}
    assert answer.file_name is None


@octt
async def test_tc_045_2_csms_diagnostics_upload_failed(it: Bench) -> None:
    await get_diagnostics(it, "Uploading", "UploadFailed")
    await get_diagnostics(it, "Uploading", "Uploaded")


# ── The security extension's ─────────────────────────────────────────────────────────────────


@octt
async def test_tc_079_csms_get_security_log(it: Bench) -> None:
    oldest, latest = it.now() - timedelta(days=1), it.now()
    verb = it.station.get_log(Log.security_log, 7, UPLOADS, oldest=oldest, latest=latest)
    accepted = {"status": "Accepted", "filename": "security.log"}
    asked, answer = await it.gave(verb, "GetLog", accepted)
    assert moment(asked["log"].pop("oldestTimestamp")) == oldest
    assert moment(asked["log"].pop("latestTimestamp")) == latest
    assert asked == {"logType": "SecurityLog", "requestId": 7, "log": {"remoteLocation": UPLOADS}}
    assert answer.filename == "security.log"
    for status in ("Uploading", "Uploaded"):
        await tell(it, "LogStatusNotification", status=status, requestId=7)
    verb = it.station.get_log(Log.security_log, 8, UPLOADS)
    await it.refused(verb, "GetLog", "Rejected")


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"


def signed_firmware(it: Bench) -> dict[str, str]:
    return {
        "location": FIRMWARE,
        "retrieve_date_time": it.stamp(),
        "install_date_time": it.stamp(-60),
        "signing_certificate": CERTIFICATE,
        "signature": "c2lnbmF0dXJl",
    }


async def update_signed(it: Bench, request_id: int, statuses: Sequence[str]) -> None:
    verb = it.station.signed_update_firmware(request_id, signed_firmware(it))
    asked = await it.asked(verb, "SignedUpdateFirmware")
    assert asked["requestId"] == request_id
    assert asked["firmware"] == {
        "location": FIRMWARE,
        "retrieveDateTime": it.stamp(),
        "installDateTime": it.stamp(-60),
        "signingCertificate": CERTIFICATE,
        "signature": "c2lnbmF0dXJl",
    }
    for status in statuses:
        await tell(it, "SignedFirmwareStatusNotification", status=status, requestId=request_id)


@octt
async def test_tc_080_csms_signed_firmware_update(it: Bench) -> None:
    before = ("Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting")
    await update_signed(it, 3, before)
    await it.disconnect()
    await it.connect()
    assert (await it.boot())["status"] == "Accepted"
    await tell(it, "SignedFirmwareStatusNotification", status="Installed", requestId=3)
    event = {"type": "FirmwareUpdated", "timestamp": it.stamp()}
    assert await it.tool.call("SecurityEventNotification", event) == {}


@octt
async def test_tc_081_csms_signed_firmware_with_an_invalid_signature(it: Bench) -> None:
    await update_signed(it, 4, ("Downloading", "Downloaded", "InvalidSignature"))
    event = {"type": "InvalidFirmwareSignature", "timestamp": it.stamp(), "techInfo": "line\n2"}
    assert await it.tool.call("SecurityEventNotification", event) == {}
    for status in ("Rejected", "InvalidCertificate", "RevokedCertificate"):
        verb = it.station.signed_update_firmware(5, signed_firmware(it))
        await it.refused(verb, "SignedUpdateFirmware", status)
