"""UpdateFirmware and GetDiagnostics: a charge point's profile against a played central system."""

from __future__ import annotations

import asyncio
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from feature_bench import Bench, bench, play
from ocpp.exceptions import NotSupportedError, PropertyConstraintViolationError
from ocpp.v16 import call
from ocpp.v16.enums import MessageTrigger

from evsim.charge_point.firmware_store import FIRST_VERSION, FirmwareImageError, read_version
from evsim.clock import utc_now

SOON = "2026-01-01T00:00:10Z"
PAST = "2020-01-01T00:00:00Z"
FIRMWARE = "FirmwareStatusNotification"
DIAGNOSTICS = "DiagnosticsStatusNotification"


def image(directory: Path, content: bytes = b"EVSIM-FIRMWARE 2.0.1\nrest") -> str:
    """Write a firmware image and give its URL."""
    (directory / "firmware.bin").write_bytes(content)
    return (directory / "firmware.bin").as_uri()


async def update(it: Bench, location: str, retrieve: str = PAST, **more: Any) -> None:
    await it.central.call(call.UpdateFirmware(location, retrieve, **more))


# ── The image ────────────────────────────────────────────────────────────────────────────────


def test_an_image_names_its_version() -> None:
    assert read_version(b"EVSIM-FIRMWARE 2.0.1") == "2.0.1"
    assert read_version(b"EVSIM-FIRMWARE v\r\n\0\xff") == "v"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF",
        b"EVSIM-FIRMWARE \n",
        b"EVSIM-FIRMWARE 1 2\n",
        b"EVSIM-FIRMWARE " + b"1" * 51,
    ],
)
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(FirmwareImageError):
        read_version(content)


# ── UpdateFirmware ───────────────────────────────────────────────────────────────────────────


def test_an_update_goes_all_the_way(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            assert it.updater.version == FIRST_VERSION
            await update(it, image(tmp_path))
            await it.central.wait_for(FIRMWARE, status="Installed")
            assert it.central.statuses(FIRMWARE) == [
                "Downloading",
                "Downloaded",
                "Installing",
                "Installed",
            ]
            assert it.reboots == 1
            assert it.updater.version == "2.0.1"
            assert not it.updater.is_busy
            assert not it.central.all("SecurityEventNotification")

    play(test())


def test_the_download_waits_for_its_time(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await update(it, image(tmp_path), SOON)
            await it.central.wait_for(FIRMWARE, status="Downloading")
            assert asyncio.get_running_loop().time() == pytest.approx(10)

    play(test())


def test_the_installation_waits_for_the_transaction_and_lets_none_begin(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.no_transaction.clear()
            await update(it, image(tmp_path))
            await asyncio.sleep(1000)
            assert it.central.statuses(FIRMWARE) == ["Downloading", "Downloaded"]
            it.no_transaction.set()
            await it.central.wait_for(FIRMWARE, status="Installing")
            assert it.locked
            await it.central.wait_for(FIRMWARE, status="Installed")
            await asyncio.sleep(0.1)
            assert not it.locked

    play(test())


def test_what_is_told_goes_out_before_the_reboot(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.central.answer_delay_s = 1.5
            it.reboots_by_itself = False
            await it.connect()
            await update(it, image(tmp_path))
            while not it.reboots:  # noqa: ASYNC110 - the reboot tells nobody
                await asyncio.sleep(0.1)
            assert it.central.statuses(FIRMWARE)[-1] == "Installing"
            it.updater.booted()
            await it.central.wait_for(FIRMWARE, status="Installed")

    play(test())


def test_a_download_that_fails_is_tried_again_and_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            missing = (tmp_path / "missing").as_uri()
            await update(it, missing, retries=2, retry_interval=30)
            await it.central.wait_for(FIRMWARE, status="DownloadFailed")
            assert asyncio.get_running_loop().time() == pytest.approx(60)
            assert it.central.statuses(FIRMWARE) == ["Downloading", "DownloadFailed"]
            assert it.updater.version == FIRST_VERSION
            assert not it.updater.is_busy

            await update(it, missing, retries=5, retry_interval=30)
            await asyncio.sleep(45)
            image(tmp_path)
            (tmp_path / "firmware.bin").rename(tmp_path / "missing")
            await it.central.wait_for(FIRMWARE, status="Installed")

    play(test())


@pytest.mark.parametrize("content", [b"", b"\x7fELF and so on"])
def test_a_bad_image_is_not_installed(tmp_path: Path, content: bytes) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await update(it, image(tmp_path, content))
            await it.central.wait_for(FIRMWARE, status="InstallationFailed")
            assert it.central.statuses(FIRMWARE)[:-1] == ["Downloading", "Downloaded", "Installing"]
            assert it.reboots == 0
            assert it.updater.version == FIRST_VERSION
            await asyncio.sleep(0.1)
            assert not it.locked

    play(test())


def test_a_later_request_replaces_the_one_that_waits(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await update(it, "ftp://127.0.0.1/never", SOON)
            await asyncio.sleep(1)
            await update(it, image(tmp_path))
            await asyncio.sleep(100)
            assert it.central.statuses(FIRMWARE).count("Downloading") == 1
            assert it.central.statuses(FIRMWARE)[-1] == "Installed"

    play(test())


def test_an_installation_is_not_replaced(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await update(it, image(tmp_path))
            await it.central.wait_for(FIRMWARE, status="Installing")
            await update(it, "ftp://127.0.0.1/never")
            await it.central.wait_for(FIRMWARE, status="Installed")
            await asyncio.sleep(100)
            assert it.central.statuses(FIRMWARE)[-1] == "Installed"

    play(test())


def test_it_survives_a_restart_at_every_stage(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:  # asked for, but not yet the time
            await it.connect()
            await update(it, image(tmp_path), SOON)
        async with bench(tmp_path) as it:  # downloaded while offline, a transaction runs
            it.no_transaction.clear()
            await asyncio.sleep(20)
        (tmp_path / "firmware.bin").unlink()
        async with bench(tmp_path) as it:  # the image is kept; killed in the reboot
            it.reboots_by_itself = False
            await asyncio.sleep(20)
            assert it.reboots == 1
        async with bench(tmp_path) as it:
            assert it.updater.version == "2.0.1"
            await it.connect()
            await it.central.wait_for(FIRMWARE, status="Installed")
            assert it.central.statuses(FIRMWARE) == [
                "Downloading",
                "Downloaded",
                "Installing",
                "Installed",
            ]
            await it.outbox.all_sent()
        async with bench(tmp_path) as it:  # and that was that
            await it.connect()
            await asyncio.sleep(20)
            assert not it.central.got

    play(test())


def test_a_date_that_is_none_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            with pytest.raises(PropertyConstraintViolationError):
                await update(it, image(tmp_path), "tomorrow")
            assert not it.updater.is_busy

    play(test())


def test_with_the_security_extension_only_signed_firmware_is_taken(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.security_profile = 1
            await it.connect()
            with pytest.raises(NotSupportedError):
                await update(it, image(tmp_path))
            assert not it.updater.is_busy

    play(test())


def test_a_triggered_status_says_what_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.trigger(MessageTrigger.firmware_status_notification)
            await update(it, (tmp_path / "missing").as_uri(), retries=1, retry_interval=10)
            await asyncio.sleep(5)
            await it.trigger(MessageTrigger.firmware_status_notification)
            await it.central.wait_for(FIRMWARE, status="DownloadFailed")
            await it.trigger(MessageTrigger.firmware_status_notification)
            assert it.central.statuses(FIRMWARE) == [
                "Idle",
                "Downloading",
                "Downloading",
                "DownloadFailed",
                "Idle",
            ]

    play(test())


# ── GetDiagnostics ───────────────────────────────────────────────────────────────────────────


def test_diagnostics_are_uploaded_under_the_name_that_was_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            there = tmp_path / "there"
            there.mkdir()
            await it.trigger(MessageTrigger.diagnostics_status_notification)
            await update(it, "ftp://127.0.0.1/a")  # leaves a line in the log
            await it.central.wait_for(FIRMWARE, status="DownloadFailed")
            answer = await it.central.call(call.GetDiagnostics(there.as_uri()))
            await it.central.wait_for(DIAGNOSTICS, status="Uploaded")
            assert it.central.statuses(DIAGNOSTICS) == ["Idle", "Uploading", "Uploaded"]
            assert re.fullmatch(r"diagnostics_CP_1_\w+\.log", answer.file_name)
            text = (there / answer.file_name).read_text("utf-8")
            assert "[statuses]\n1 Available\n" in text
            assert "WARNING evsim.charge_point: firmware not downloaded" in text

    play(test())


def test_diagnostics_that_cannot_be_uploaded(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            missing = (tmp_path / "missing").as_uri()
            answer = await it.central.call(
                call.GetDiagnostics(missing, retries=3, retry_interval=10)
            )
            assert answer.file_name
            await asyncio.sleep(15)
            await it.trigger(MessageTrigger.diagnostics_status_notification)
            await it.central.wait_for(DIAGNOSTICS, status="UploadFailed")
            assert asyncio.get_running_loop().time() == pytest.approx(30)
            expected = ["Uploading", "Uploading", "UploadFailed"]
            assert it.central.statuses(DIAGNOSTICS) == expected

    play(test())


def test_of_a_time_of_which_nothing_is_known_there_is_no_file(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            answer = await it.central.call(
                call.GetDiagnostics(tmp_path.as_uri(), start_time=PAST, stop_time=PAST)
            )
            assert answer.file_name is None
            await asyncio.sleep(10)
            assert not it.central.got

    play(test())


def test_a_second_request_takes_the_place_of_the_first(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            missing = (tmp_path / "missing").as_uri()
            await it.central.call(call.GetDiagnostics(missing, retries=9, retry_interval=10))
            await asyncio.sleep(1)
            await it.central.call(call.GetDiagnostics(tmp_path.as_uri()))
            await asyncio.sleep(1000)
            assert it.central.statuses(DIAGNOSTICS) == ["Uploading", "Uploading", "Uploaded"]

    play(test())


# ── The outbox ───────────────────────────────────────────────────────────────────────────────


def test_what_is_not_answered_is_given_up_and_what_follows_arrives(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.central.answer_delay_s = 6  # each answer comes too late
            it.outbox.put(call.DiagnosticsStatusNotification("Uploading"))  # type: ignore[arg-type]
            it.outbox.put(call.DiagnosticsStatusNotification("Uploaded"))  # type: ignore[arg-type]
            await asyncio.sleep(18)
            it.central.answer_delay_s = 0
            await it.outbox.all_sent()
            assert it.central.statuses(DIAGNOSTICS) == ["Uploading"] * 3 + ["Uploaded"]

    play(test())


def test_what_the_central_system_does_not_know_is_told_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.central.route_map.clear()
            await it.connect()
            for _ in range(2):
                it.outbox.put(call.DiagnosticsStatusNotification("Uploaded"))  # type: ignore[arg-type]
            await it.outbox.all_sent()
            assert sum("refused (said once)" in line for line in it.recent.lines()) == 1

    play(test())


def test_what_is_put_in_offline_arrives_after_the_reconnect_in_order(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            disconnect = await it.connect()
            await disconnect()
            for status in ("Uploading", "UploadFailed", "Uploading", "Uploaded"):
                it.outbox.put(call.DiagnosticsStatusNotification(status))  # type: ignore[arg-type]
            await asyncio.sleep(100)
            assert not it.central.got
            await it.connect()
            await it.outbox.all_sent()
            expected = ["Uploading", "UploadFailed", "Uploading", "Uploaded"]
            assert it.central.statuses(DIAGNOSTICS) == expected

    play(test())


def test_what_was_under_way_when_the_connection_was_lost_is_sent_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            disconnect = await it.connect()
            it.central.answer_delay_s = 3
            it.outbox.put(call.DiagnosticsStatusNotification("Uploading"))  # type: ignore[arg-type]
            await asyncio.sleep(1)
            await disconnect()
            await asyncio.sleep(1)
            await it.connect()
            await it.outbox.all_sent()
            assert it.central.statuses(DIAGNOSTICS) == ["Uploading"] * 2

    play(test())


def test_an_outbox_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evsim.charge_point.outbox.MOST_WAITING", 3)

    async def test() -> None:
        async with bench(tmp_path) as it:
            for _ in range(10):
                it.outbox.put(call.DiagnosticsStatusNotification("Uploading"))  # type: ignore[arg-type]
            await it.connect()
            await it.outbox.all_sent()
            assert len(it.central.got) == 3

    play(test())


# ── Live ─────────────────────────────────────────────────────────────────────────────────────


class Files(SimpleHTTPRequestHandler):
    """Serves and takes the files of a directory."""

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        Path(self.translate_path(self.path)).write_bytes(content)
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test's output free of it."""


def test_over_http_on_the_real_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evsim.charge_point.firmware_update.INSTALL_S", 0.01)
    image(tmp_path)

    async def test(url: str) -> None:
        async with bench(tmp_path, utc_now) as it:
            it.reboots_by_itself = False
            disconnect = await it.connect()
            await update(it, f"{url}/firmware.bin")
            await it.central.wait_for(FIRMWARE, status="Installing")
            while not it.reboots:  # noqa: ASYNC110 - the reboot tells nobody
                await asyncio.sleep(0.01)
            it.updater.booted()
            await it.central.wait_for(FIRMWARE, status="Installed")
            answer = await it.central.call(call.GetDiagnostics(f"{url}/"))
            await it.central.wait_for(DIAGNOSTICS, status="Uploaded")
            assert "[log]" in (tmp_path / answer.file_name).read_text("utf-8")
            await update(it, f"{url}/missing.bin", retries=0)
            await it.central.wait_for(FIRMWARE, status="DownloadFailed")
            await disconnect()

    def files(*arguments: Any) -> Files:
        return Files(*arguments, directory=str(tmp_path))

    with ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            asyncio.run(test(f"http://127.0.0.1:{server.server_port}"))
        finally:
            server.shutdown()
            serving.join()
