"""The compliance tool's cases for a charge point: firmware and diagnostics.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_bench.py.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from ocpp.v16 import call
from octt_bench import Bench, octt
from octt_central import wanted

from evsim.clock import to_ocpp

IMAGE = b"EVSIM-FIRMWARE 2.0.1\n" + bytes(range(256))


async def told(it: Bench, *statuses: str) -> None:
    """Hear of an update; the connectors' statuses may come in between."""
    for status in statuses:
        what = wanted("FirmwareStatusNotification", status=status)
        await it.central.expect_each(what, within_s=200, besides={"StatusNotification"})


async def update_from(it: Bench, location: str, *, in_s: float = 0.0) -> None:
    at = to_ocpp(it.now() + timedelta(seconds=in_s))
    await it.central.call(call.UpdateFirmware(location, at, retries=1, retry_interval=10))


@octt()
async def test_tc_044_1_cs_downloaded_and_installed(it: Bench, tmp_path: Path) -> None:
    image = tmp_path / "firmware.bin"
    image.write_bytes(IMAGE)
    before = it.central.all("BootNotification")[-1].get("firmware_version")
    asked_s = it.loop.time()
    await update_from(it, image.as_uri(), in_s=30)
    await told(it, "Downloading")
    assert it.loop.time() - asked_s == pytest.approx(30, abs=1)
    await told(it, "Downloaded", "Installing")
    boot = await it.central.expect("BootNotification", within_s=200)
    assert before != boot["firmware_version"] == "2.0.1"
    await told(it, "Installed")
    await back_in_service(it)


async def back_in_service(it: Bench) -> None:
    """Hear that the connector, which is out of service while firmware is installed, is back."""
    await asyncio.sleep(30)
    it.central.pass_over()
    assert it.central.all("StatusNotification")[-1]["status"] == "Available"
    await it.start()


@octt()
async def test_tc_044_1_cs_not_installed_while_a_transaction_runs(
    it: Bench, tmp_path: Path
) -> None:
    image = tmp_path / "firmware.bin"
    image.write_bytes(IMAGE)
    transaction_id = await it.start()
    await update_from(it, image.as_uri())
    await told(it, "Downloading", "Downloaded")
    await it.central.silence(60)
    await it.ask("Accepted", call.RemoteStopTransaction(transaction_id))
    await asyncio.sleep(60)
    statuses = [n["status"] for n in it.central.all("FirmwareStatusNotification")]
    assert statuses == ["Downloading", "Downloaded", "Installing", "Installed"]
    assert len(it.central.all("BootNotification")) == 2


@octt()
async def test_tc_044_2_cs_not_downloaded(it: Bench, tmp_path: Path) -> None:
    await update_from(it, (tmp_path / "nothing.bin").as_uri())
    await told(it, "Downloading", "DownloadFailed")
    await it.central.silence(60)


@octt()
async def test_tc_044_3_cs_not_installed(it: Bench, tmp_path: Path) -> None:
    image = tmp_path / "damaged.bin"
    image.write_bytes(b"\0" * 1000)
    await update_from(it, image.as_uri())
    await told(it, "Downloading", "Downloaded", "Installing", "InstallationFailed")
    await back_in_service(it)


@octt()
async def test_tc_045_1_cs_diagnostics_uploaded(it: Bench, tmp_path: Path) -> None:
    answer = await it.central.call(call.GetDiagnostics(tmp_path.as_uri()))
    await it.central.expect("DiagnosticsStatusNotification", status="Uploading")
    await it.central.expect("DiagnosticsStatusNotification", status="Uploaded")
    assert "CP_1" in (tmp_path / answer.file_name).read_text("utf-8")
    await it.central.silence(60)


@octt()
async def test_tc_045_2_cs_diagnostics_not_uploaded(it: Bench, tmp_path: Path) -> None:
    location = (tmp_path / "nowhere").as_uri()
    await it.central.call(call.GetDiagnostics(location, retries=1, retry_interval=10))
    await it.central.expect("DiagnosticsStatusNotification", status="Uploading")
    await it.central.expect("DiagnosticsStatusNotification", status="UploadFailed")
    await it.central.silence(60)
