"""The messages of the security extension between our central system and our charge point."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from authorities import Authority, ec_key, name, pem, sign
from feature_bench import Bench, bench, play
from ocpp.v16.enums import CertificateUse, Log, MessageTrigger

from evsim.central_system.ledger import Ledger
from evsim.central_system.station import Station
from evsim.charge_point.security_events import SecurityEvent
from evsim.errors import RefusedError
from evsim.in_memory import websocket_pair
from evsim.rate_limit import Rate
from evsim.sqlite import IN_MEMORY

CENTRAL = CertificateUse.central_system_root_certificate
MANUFACTURER = CertificateUse.manufacturer_root_certificate
IMAGE = b"EVSIM-FIRMWARE 2.0.1\n"


@contextlib.asynccontextmanager
async def both_ends(state: Path, root: Authority) -> AsyncIterator[tuple[Station, Bench]]:
    ledger = Ledger(IN_MEMORY)
    station = Station(
        "CP_1",
        ledger=ledger,
        rate=Rate(per_s=50, burst=500),
        sign=lambda request, _: root.sign_request(request),
    )
    async with bench(state) as it:
        it.security_profile = 1
        ours, theirs = websocket_pair()
        talking = [
            asyncio.create_task(it.link.serve(ours)),
            asyncio.create_task(station.serve(theirs)),
        ]
        await asyncio.sleep(0)
        it.maintenance.on_accepted()
        yield station, it
        await theirs.close()
        await asyncio.gather(*talking)
    ledger.close()


def test_certificates_come_and_go(tmp_path: Path) -> None:
    root, other = Authority("root"), Authority("other")

    async def test() -> None:
        async with both_ends(tmp_path, root) as (station, it):
            assert (await station.installed_certificates(CENTRAL)).status == "NotFound"
            await station.install_certificate(CENTRAL, root.pem)
            await station.install_certificate(CENTRAL, other.pem)
            answer = await station.installed_certificates(CENTRAL)
            assert answer.certificate_hash_data is not None
            first, second = answer.certificate_hash_data
            await station.delete_certificate(second)
            with pytest.raises(RefusedError):
                await station.delete_certificate(second)
            it.security_profile = 2
            with pytest.raises(RefusedError):
                await station.delete_certificate(first)
            with pytest.raises(RefusedError):
                await station.install_certificate(CENTRAL, "garbage")

    play(test())


def test_a_certificate_is_renewed_end_to_end(tmp_path: Path) -> None:
    root = Authority("root")

    async def test() -> None:
        async with both_ends(tmp_path, root) as (station, it):
            await station.install_certificate(CENTRAL, root.pem)
            await station.extended_trigger(MessageTrigger.sign_charge_point_certificate)
            await asyncio.sleep(1)
            assert len(it.connected_anew_s) == 1
            own = it.store.own(it.now())
            assert own is not None

    play(test())


def test_signed_firmware_and_the_security_log_end_to_end(tmp_path: Path) -> None:
    root, key = Authority("maker"), ec_key()
    (tmp_path / "firmware.bin").write_bytes(IMAGE)
    firmware = {
        "location": (tmp_path / "firmware.bin").as_uri(),
        "retrieve_date_time": "2020-01-01T00:00:00Z",
        "signing_certificate": pem(root.issue(key.public_key(), name("signer"))),
        "signature": sign(key, IMAGE),
    }

    async def test() -> None:
        async with both_ends(tmp_path, root) as (station, it):
            with pytest.raises(RefusedError, match="InvalidCertificate"):
                await station.signed_update_firmware(1, firmware)
            await station.install_certificate(MANUFACTURER, root.pem)
            await station.signed_update_firmware(2, firmware)
            await asyncio.sleep(60)
            assert it.updater.version == "2.0.1"
            answer = await station.get_log(Log.security_log, 3, tmp_path.as_uri())
            await asyncio.sleep(1)
            events = (tmp_path / str(answer.filename)).read_text().splitlines()
            assert [line.split()[1] for line in events] == [
                SecurityEvent.invalid_firmware_signing_certificate,
                SecurityEvent.firmware_updated,
            ]
            await it.outbox.all_sent()  # and each was answered

    play(test())
