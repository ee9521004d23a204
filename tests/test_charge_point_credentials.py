"""The certificates that the central system installs are those that TLS goes by."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from authorities import Authority, ec_key, key_pem, name, pem
from feature_bench import bench, play
from ocpp.v16.enums import CertificateUse
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

import cp
from evsim.charge_point.certificate_checks import CertificateChecks
from evsim.charge_point.certificate_store import CertificateError
from evsim.charge_point.credentials import Credentials
from evsim.charge_point.ledger import Ledger
from evsim.clock import utc_now
from evsim.ocpp_client import keep_connected
from evsim.security import SecurityError, server_context

CENTRAL = CertificateUse.central_system_root_certificate
YESTERDAY = utc_now() - timedelta(days=1)
NEXT_YEAR = utc_now() + timedelta(days=365)


def authority(common_name: str) -> Authority:
    return Authority(common_name, start=YESTERDAY, end=NEXT_YEAR)


class Files:
    """The files of one end, made by an authority."""

    def __init__(self, directory: Path, root: Authority, common_name: str) -> None:
        key = ec_key()
        certificate = root.issue(
            key.public_key(),
            name(common_name),
            start=YESTERDAY,
            end=NEXT_YEAR,
            address="127.0.0.1",
        )
        stem = directory / f"{common_name}-{certificate.serial_number}"
        self.serial = f"{certificate.serial_number:X}"
        self.certificate, self.key = stem.with_suffix(".pem"), stem.with_suffix(".key")
        self.certificate.write_text(pem(certificate))
        self.key.write_text(key_pem(key))


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(bounded())


async def serial_seen(tls: ssl.SSLContext | None, server: ssl.SSLContext) -> str:
    """Connect, and give the serial number of the certificate that the server sees."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peercert") or {}
        writer.write(f"{peer.get('serialNumber', 'none')}\n".encode())
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server) as listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line.decode().strip().lstrip("0")


def credentials(ledger: Ledger, profile: int, *options: object) -> Credentials:
    arguments = ["--security-profile", str(profile), *map(str, options)]
    return Credentials("CP_1", cp.parse_arguments(arguments), ledger)


def test_what_the_central_system_deletes_is_trusted_no_longer(tmp_path: Path) -> None:
    old, new = authority("old"), authority("new")
    (tmp_path / "ca.pem").write_text(old.pem)
    (tmp_path / "key").write_text("ab" * 16)
    options = ("--ca", tmp_path / "ca.pem", "--key-file", tmp_path / "key")

    async def test(ledger: Ledger) -> None:
        def server(root: Authority) -> ssl.SSLContext:
            files = Files(tmp_path, root, "csms")
            return server_context(2, files.certificate, files.key, None)

        made = credentials(ledger, 2, *options)
        assert await serial_seen(made.endpoint().tls, server(old)) == "none"
        with pytest.raises(ssl.SSLCertVerificationError):
            await serial_seen(made.endpoint().tls, server(new))
        made.certificates.add_root(CENTRAL, new.pem)
        for root in (old, new):
            assert await serial_seen(made.endpoint().tls, server(root)) == "none"
        made.certificates.remove_root(CENTRAL, old.pem)
        for later in (made, credentials(ledger, 2, *options)):
            assert await serial_seen(later.endpoint().tls, server(new)) == "none"
            with pytest.raises(ssl.SSLCertVerificationError):
                await serial_seen(later.endpoint().tls, server(old))
        made.certificates.remove_root(CENTRAL, new.pem)
        with pytest.raises(SecurityError, match="deleted its last root"):
            made.endpoint()

    with closing(Ledger(tmp_path / "cp.sqlite")) as ledger:
        run(test(ledger))


def test_a_file_with_several_authorities_is_trusted_as_it_is(tmp_path: Path) -> None:
    one, other = authority("one"), authority("other")
    (tmp_path / "ca.pem").write_text(one.pem + other.pem)
    (tmp_path / "key").write_text("ab" * 16)
    files = Files(tmp_path, other, "csms")
    server = server_context(2, files.certificate, files.key, None)

    async def test(ledger: Ledger) -> None:
        options = ("--ca", tmp_path / "ca.pem", "--key-file", tmp_path / "key")
        made = credentials(ledger, 2, *options)
        assert made.certificates.roots(CENTRAL) == []
        assert await serial_seen(made.endpoint().tls, server) == "none"

    with closing(Ledger(tmp_path / "cp.sqlite")) as ledger:
        run(test(ledger))


def test_the_certificate_that_was_signed_takes_the_place_of_the_file(tmp_path: Path) -> None:
    root = authority("root")
    (tmp_path / "ca.pem").write_text(root.pem)
    central, station = Files(tmp_path, root, "csms"), Files(tmp_path, root, "CP_1")
    server = server_context(3, central.certificate, central.key, tmp_path / "ca.pem")
    options = (
        *("--ca", tmp_path / "ca.pem"),
        *("--cert", station.certificate, "--private-key", station.key),
    )

    async def test(ledger: Ledger) -> None:
        made = credentials(ledger, 3, *options)
        assert await serial_seen(made.endpoint().tls, server) == station.serial
        private_key, request = CertificateChecks.request("CP_1", "")
        made.certificates.begin_own(private_key)
        assert await serial_seen(made.endpoint().tls, server) == station.serial
        chain = root.sign_request(request, start=YESTERDAY, end=NEXT_YEAR)
        made.certificates.complete_own(chain, YESTERDAY)
        for later in (made, credentials(ledger, 3, *options)):
            seen = await serial_seen(later.endpoint().tls, server)
            assert seen not in ("none", station.serial)

    with closing(Ledger(tmp_path / "cp.sqlite")) as ledger:
        run(test(ledger))


def test_the_revocation_list_is_read_each_time_and_its_loss_is_no_pass(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "cp.sqlite")) as ledger:
        assert credentials(ledger, 0).revocations() is None
        made = credentials(ledger, 0, "--crl", tmp_path / "crl.pem")
        with pytest.raises(CertificateError, match="cannot read"):
            made.revocations()
        (tmp_path / "crl.pem").write_bytes(b"list")
        assert made.revocations() == b"list"


def test_a_central_system_that_is_not_believed_is_told_once(tmp_path: Path) -> None:
    root = authority("root")
    files = Files(tmp_path, root, "csms")
    server = server_context(2, files.certificate, files.key, None)
    (tmp_path / "ca.pem").write_text(authority("another").pem)
    (tmp_path / "key").write_text("ab" * 16)
    failures: list[Exception] = []

    async def test(ledger: Ledger) -> None:
        attempts = asyncio.Semaphore(0)
        async with await asyncio.start_server(
            lambda *_: None, "127.0.0.1", 0, ssl=server
        ) as listening:
            port = listening.sockets[0].getsockname()[1]
            made = credentials(
                ledger,
                2,
                *("--ca", tmp_path / "ca.pem", "--key-file", tmp_path / "key"),
                *("--url", f"wss://127.0.0.1:{port}"),
            )

            def endpoint() -> Any:
                attempts.release()
                return made.endpoint()

            async def talk(_: object) -> None:
                raise AssertionError("it must not connect")

            trying = asyncio.create_task(
                keep_connected(
                    endpoint,
                    talk,
                    rng=np.random.default_rng(1),
                    on_failure=failures.append,
                )
            )
            for _ in range(4):
                await attempts.acquire()
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)
        assert [type(error) for error in failures] == [ssl.SSLCertVerificationError]

    with closing(Ledger(tmp_path / "cp.sqlite")) as ledger:
        run(test(ledger))


def test_what_is_wrong_with_a_connection_is_a_security_event(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            note = it.maintenance.on_no_connection
            error = ssl.SSLCertVerificationError("not believed")
            error.verify_message = "self-signed certificate"  # as OpenSSL's have it
            note(error)
            note(InvalidStatus(Response(401, "Unauthorized", Headers())))
            note(InvalidStatus(Response(404, "Not Found", Headers())))
            note(ConnectionRefusedError())
            assert [line.split()[1] for line in it.events.lines()] == [
                "InvalidCentralSystemCertificate",
                "FailedToAuthenticateAtCentralSystem",
            ]

    play(test())
