"""Firmware, diagnostics and security events of the whole charge point, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action, ResetType
from test_cp import Bench, Central, bench, play

import cp
from evsim.charge_point.credentials import Credentials
from evsim.charge_point.ledger import Ledger
from evsim.ocpp_link import on

PAST = "2020-01-01T00:00:00Z"


class Notified:
    """Answers the notifications of these profiles, and notes them with the rest."""

    def __init__(self, central: Central) -> None:
        self._central = central

    @on(Action.firmware_status_notification)
    def on_firmware(self, **payload: Any) -> call_result.FirmwareStatusNotification:
        self._central.note("FirmwareStatusNotification", payload)
        return call_result.FirmwareStatusNotification()

    @on(Action.diagnostics_status_notification)
    def on_diagnostics(self, **payload: Any) -> call_result.DiagnosticsStatusNotification:
        self._central.note("DiagnosticsStatusNotification", payload)
        return call_result.DiagnosticsStatusNotification()

    @on(Action.security_event_notification)
    def on_event(self, **payload: Any) -> call_result.SecurityEventNotification:
        self._central.note("SecurityEventNotification", payload)
        return call_result.SecurityEventNotification()


async def listen(it: Bench) -> Central:
    it.central.add_handlers(Notified(it.central))
    await it.stay_connected()
    return it.central


def firmware(directory: Path) -> str:
    path = directory / "firmware.bin"
    path.write_bytes(b"EVSIM-FIRMWARE 2.0.1\n")
    return path.as_uri()


def test_firmware_waits_for_the_transaction_and_is_told_after_the_boot(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            central = await listen(it)
            assert await central.start_remotely() == "Accepted"
            await asyncio.sleep(10)
            await central.call(call.UpdateFirmware(firmware(tmp_path), PAST))
            await asyncio.sleep(60)
            statuses = [p["status"] for p in central.all("FirmwareStatusNotification")]
            assert statuses == ["Downloading", "Downloaded"]
            central.got.clear()
            assert await central.stop_remotely(2) == "Accepted"
            await asyncio.sleep(1)
            assert central.statuses[-1] == "Unavailable"
            assert await central.start_remotely() == "Rejected"
            await asyncio.sleep(60)
            (boot,) = central.all("BootNotification")
            assert boot["firmware_version"] == "2.0.1"
            statuses = [p["status"] for p in central.all("FirmwareStatusNotification")]
            assert statuses == ["Installing", "Installed"]
            actions = [action for _, action, _ in central.got]
            booted = actions.index("BootNotification")
            after = [p["status"] for _, a, p in central.got[booted:] if a == "StatusNotification"]
            assert after == ["Available", "Available"]
            assert await central.start_remotely() == "Accepted"

    play(test())


def test_firmware_that_is_none_leaves_the_charge_point_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    async def test() -> None:
        async with bench(tmp_path) as it:
            central = await listen(it)
            await central.call(call.UpdateFirmware((tmp_path / "empty").as_uri(), PAST))
            await asyncio.sleep(60)
            last = central.all("FirmwareStatusNotification")[-1]
            assert last["status"] == "InstallationFailed"
            assert len(central.all("BootNotification")) == 1
            assert central.statuses == ["Available", "Unavailable", "Available"]
            assert await central.start_remotely() == "Accepted"

    play(test())


def credentials(ledger: Ledger, directory: Path) -> Credentials:
    (directory / "key").write_text("ab" * 16)
    arguments = ["--security-profile", "1", "--key-file", str(directory / "key")]
    return Credentials("CP_1", cp.parse_arguments(arguments), ledger)


def test_diagnostics_tell_how_it_stands_but_no_secret(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "credentials.sqlite")

    async def test() -> None:
        async with bench(tmp_path, credentials=credentials(ledger, tmp_path)) as it:
            central = await listen(it)
            assert await central.start_remotely() == "Accepted"
            it.node.counts["ignored, length"] = 7
            await asyncio.sleep(10)
            answer = await central.call(call.GetDiagnostics(tmp_path.as_uri()))
            await asyncio.sleep(1)
            text = (tmp_path / answer.file_name).read_text("utf-8")
            assert "connector 1: Charging" in text or "connector 1: SuspendedEV" in text
            assert "[Transactions that run]\nconnector 1 since 2026-01-01T00:00:00" in text
            assert "[CAN frames]\nignored, length: 7\n" in text
            assert "HeartbeatInterval = 300" in text
            assert "ab" * 16 not in text

    play(test())
    ledger.close()


def test_start_reset_and_new_credentials_are_security_events(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "credentials.sqlite")

    async def test() -> None:
        async with bench(tmp_path, credentials=credentials(ledger, tmp_path)) as it:
            central = await listen(it)
            await central.call(call.ChangeConfiguration("AuthorizationKey", "cd" * 20))
            await asyncio.sleep(10)
            await central.call(call.Reset(ResetType.soft))
            await asyncio.sleep(10)
            events = [p["type"] for p in central.all("SecurityEventNotification")]
            # The connection may end before an answer has come: that event is told again.
            assert list(dict.fromkeys(events)) == [
                "StartupOfTheDevice",
                "ReconfigurationOfSecurityParameters",
                "ResetOrReboot",
            ]

    play(test())
    ledger.close()
