"""Security profiles 0 to 3, and what attackers of OCPP back ends are known to try.

Both ends are the real ones, over real sockets; attackers are raw sockets of this process, with
source addresses of their own in 127.0.0.0/8.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import ipaddress
import logging
import re
import resource
import signal
import socket
import sqlite3
import ssl
import warnings
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import ROOT, Script, StartScript, make_certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from test_processes import CYCLE, Listener
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

import cp
import csms
from evsim import console
from evsim.central_system import admission, server
from evsim.central_system.admission import Admission, Applicant
from evsim.central_system.ledger import Ledger
from evsim.central_system.options import read_options as read_csms_options
from evsim.central_system.options import warn_if_open
from evsim.central_system.server import OcppServer
from evsim.charge_point import ledger as charge_point_ledger
from evsim.charge_point.credentials import Credentials
from evsim.clock import utc_now
from evsim.frames import Frame, MeasuredCurrent
from evsim.ocpp_link import LARGEST_MESSAGE_BYTES, MAX_WAITING_CALLS, OPEN_TIMEOUT_S, SUBPROTOCOL
from evsim.rate_limit import Rate
from evsim.security import (
    basic_authorization,
    client_context,
    digest,
    parse_key,
    read_key_file,
    server_context,
    uses_key,
    uses_tls,
)

#: What must have happened by then, on a busy machine too.
SOON_S = 15.0
HEARTBEAT = '[2,"1","Heartbeat",{}]'
#: TLS_RSA ones among them: Python's own choice has none.
REQUIRED_SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "ec",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "ec",
    "AES128-GCM-SHA256": "rsa",
    "AES256-GCM-SHA384": "rsa",
}


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(bounded())


# ── Certificates and keys ────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same names, signed by another CA."""
    directory = tmp_path_factory.mktemp("strangers")
    assert make_certificates(directory).returncode == 0
    return directory


class Pair(NamedTuple):
    """A certificate and its private key."""

    certificate: Path
    key: Path


def self_signed(directory: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Pair:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(utc_now() - timedelta(days=1))
        .not_valid_after(utc_now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pair = Pair(directory / "self.pem", directory / "self.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(private_bytes(key, serialization.NoEncryption()))
    return pair


def private_bytes(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    encryption: serialization.KeySerializationEncryption,
) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def key_of(directory: Path, charge_point_id: str) -> bytes:
    return read_key_file(directory / f"{charge_point_id}.authorization-key")


def test_certificates_and_keys_are_for_their_owner_only(pki: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in pki.iterdir()}
    assert len(modes) == 10
    assert set(modes.values()) == {0o600}


def test_the_cas_private_key_is_kept_nowhere(pki: Path) -> None:
    assert not (pki / "ca.key").exists()
    ca = x509.load_pem_x509_certificate((pki / "ca.pem").read_bytes()).public_key()
    for path in pki.glob("*.key"):
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        assert key.public_key() != ca


@pytest.mark.parametrize("existing", ["ca.pem", "keys.txt", "CP_1.key"])
def test_the_command_overwrites_nothing(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    made = make_certificates(tmp_path)
    assert made.returncode == 1
    assert len(made.stderr.splitlines()) == 1
    assert "ca.pem" in made.stderr if existing == "ca.pem" else "exists" in made.stderr
    assert (tmp_path / existing).read_text() == "precious"


def test_the_command_refuses_what_is_no_id(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "new", "--charge-point", "..")
    assert made.returncode == 2
    assert "not a charge point id" in made.stderr
    assert not (tmp_path / "new").exists()


# ── The programs, over each profile ──────────────────────────────────────────────────────────


class Programs:
    """The real programs, with the options of a security profile."""

    def __init__(self, start: StartScript, pki: Path, tmp_path: Path) -> None:
        self._start = start
        self.pki = pki
        self.state = tmp_path / "state"
        self.db = tmp_path / "csms.sqlite"

    def csms(self, profile: int, *arguments: str) -> tuple[Script, int]:
        """Start a central system; give its port too."""
        options = ["--security-profile", str(profile), "--port", "0", "--db", str(self.db)]
        if uses_key(profile):
            options += ["--keys", str(self.pki / "keys.txt")]
        if uses_tls(profile):
            options += ["--cert", str(self.pki / "csms.pem")]
            options += ["--private-key", str(self.pki / "csms.key")]
        if profile == 3:
            options += ["--ca", str(self.pki / "ca.pem")]
        script = self._start("csms.py", *options, *arguments)
        line = script.wait_for("CSMS WebSocket server running on")
        assert ("wss://" if uses_tls(profile) else "ws://") in line
        return script, int(line.rpartition(":")[2])

    def cp(self, port: int, profile: int, *arguments: str) -> Script:
        """Start CP_1."""
        scheme = "wss" if uses_tls(profile) else "ws"
        options = ["--security-profile", str(profile), "--url", f"{scheme}://127.0.0.1:{port}"]
        options += ["--state", str(self.state)]
        if uses_key(profile):
            options += ["--key-file", str(self.pki / "CP_1.authorization-key")]
        if uses_tls(profile):
            options += ["--ca", str(self.pki / "ca.pem")]
        if profile == 3:
            options += ["--cert", str(self.pki / "CP_1.pem")]
            options += ["--private-key", str(self.pki / "CP_1.key")]
        return self._start("cp.py", *options, *arguments)


@pytest.fixture
def programs(start_script: StartScript, pki: Path, tmp_path: Path) -> Programs:
    return Programs(start_script, pki, tmp_path)


@pytest.mark.processes
@pytest.mark.parametrize("profile", [0, 1, 2, 3])
def test_the_base_scenario_over_each_profile(
    programs: Programs, start_script: StartScript, can_channel: str, profile: int
) -> None:
    listener = Listener(can_channel)
    with contextlib.ExitStack() as stack:
        stack.callback(listener.bus.shutdown)
        charger = start_script("charger_module.py")
        charger.wait_for("Listening for CAN commands")
        central, port = programs.csms(profile, "--cycles", "1")
        charge_point = programs.cp(port, profile)
        charge_point.wait_for("Connected to CSMS")
        commands: list[Frame] = []
        while len(commands) < len(CYCLE):
            _, frame = listener.next_frame(SOON_S)
            if commands or frame == CYCLE[0][0]:  # before: what cp.py says at its start
                commands += [] if isinstance(frame, MeasuredCurrent) else [frame]
        assert commands == [frame for frame, _ in CYCLE]
        assert any(frame == MeasuredCurrent(100) for _, frame in listener.heard)
        central.wait_for("the anomaly is over")
        for script in (charge_point, central, charger):
            assert script.stop() == 0
            assert "Traceback" not in script.output
    with closing(sqlite3.connect(programs.db)) as database:
        rows = database.execute("SELECT transaction_id, reason FROM transactions").fetchall()
    assert rows == [(1, "Remote")]


# ── A central system in this process, and those who knock ────────────────────────────────────


@asynccontextmanager
async def served(
    db: Path, profile: int, pki: Path, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, csms.CentralSystem]]:
    """Listen as csms.py does, with the keys of `pki`; give the port and the central system."""
    if tls is None and uses_tls(profile):
        tls = server_context(profile, pki / "csms.pem", pki / "csms.key", pki / "ca.pem")
    with closing(Ledger(db)) as ledger:
        ledger.issue_keys({name: digest(key_of(pki, name)) for name in ("CP_1", "CP_2")})
        central = csms.CentralSystem(ledger, cycles=0)
        ocpp_server = OcppServer(central.talk, Admission(profile, ledger), tls)
        async with ocpp_server.listen("127.0.0.1", 0) as listening:
            yield next(iter(listening.sockets)).getsockname()[1], central


@asynccontextmanager
async def central_system(
    db: Path, profile: int, pki: Path, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, Ledger]]:
    """Do the same, and give the port and the ledger."""
    async with served(db, profile, pki, tls) as (port, central):
        yield port, central.ledger


class Answer(NamedTuple):
    """What somebody who knocks can see."""

    status: int
    headers: tuple[str, ...]  # without the date
    body: bytes


async def knock(
    port: int,
    path: str,
    authorization: str | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    source: str = "127.0.0.1",
) -> Answer:
    """Ask for an upgrade with a raw socket, and leave."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, local_addr=(source, 0)
    )
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
    ]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        status = int(head[0].split()[1])
        body = b"" if status == 101 else await reader.read()
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    headers = tuple(line for line in head[1:] if not line.startswith("Date:"))
    return Answer(status, headers, body)


def enter(
    port: int, key: bytes, charge_point_id: str = "CP_1", tls: ssl.SSLContext | None = None
) -> connect:
    """Connect as that charge point."""
    return connect(
        f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/{charge_point_id}",
        additional_headers={"Authorization": basic_authorization(charge_point_id, key)},
        subprotocols=[SUBPROTOCOL],
        proxy=None,
        ssl=tls,
    )


async def is_served(connection: ClientConnection) -> bool:
    await connection.send(HEARTBEAT)
    async with asyncio.timeout(SOON_S):
        return "currentTime" in str(await connection.recv())


def encoded(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


UNIFORM_REFUSAL = Answer(
    401,
    ("Connection: close", "Content-Length: 8", "Content-Type: text/plain; charset=utf-8", "", ""),
    b"refused\n",
)


@pytest.mark.parametrize("profile", [1, 2])
@pytest.mark.parametrize(
    "case",
    [
        "unknown id",
        "wrong key",
        "another's key",
        "right key, another id in the path",
        "another id as user, right path",
        "no header",
        "empty header",
        "no Basic",
        "no base64",
        "no colon",
        "no user",
        "empty key",
        "key with something after it",
        "digest instead of key",
    ],
)
def test_every_refusal_looks_the_same(tmp_path: Path, pki: Path, case: str, profile: int) -> None:
    key, other = key_of(pki, "CP_1"), key_of(pki, "CP_2")
    path, header = {
        "unknown id": ("/CP_9", basic_authorization("CP_9", key)),
        "wrong key": ("/CP_1", basic_authorization("CP_1", bytes(20))),
        "another's key": ("/CP_1", basic_authorization("CP_1", other)),
        "right key, another id in the path": ("/CP_2", basic_authorization("CP_1", key)),
        "another id as user, right path": ("/CP_1", basic_authorization("CP_2", key)),
        "no header": ("/CP_1", None),
        "empty header": ("/CP_1", ""),
        "no Basic": ("/CP_1", basic_authorization("CP_1", key).replace("Basic", "Bearer")),
        "no base64": ("/CP_1", "Basic ???"),
        "no colon": ("/CP_1", encoded(b"CP_1" + key)),
        "no user": ("/CP_1", encoded(b":" + key)),
        "empty key": ("/CP_1", encoded(b"CP_1:")),
        "key with something after it": ("/CP_1", encoded(b"CP_1:" + key + b"\0")),
        "digest instead of key": ("/CP_1", encoded(b"CP_1:" + digest(key))),
    }[case]

    async def test() -> None:
        tls = client_context(2, pki / "ca.pem", None, None) if uses_tls(profile) else None
        async with central_system(tmp_path / "db", profile, pki) as (port, _):
            assert await knock(port, path, header, tls=tls) == UNIFORM_REFUSAL

    run(test())


@pytest.mark.parametrize("profile", [1, 2])
def test_the_key_opens_as_bytes_and_as_hexadecimal_digits(
    tmp_path: Path, pki: Path, profile: int
) -> None:
    key = key_of(pki, "CP_1")
    offers = [key, key.hex().encode(), key.hex().upper().encode()]

    async def test() -> None:
        tls = client_context(2, pki / "ca.pem", None, None) if uses_tls(profile) else None
        async with central_system(tmp_path / "db", profile, pki) as (port, _):
            for offer in offers:
                header = encoded(b"CP_1:" + offer)
                assert (await knock(port, "/any/where/CP_1", header, tls=tls)).status == 101

    run(test())


def test_profile_3_admits_only_the_certificate_of_that_id(
    tmp_path: Path, pki: Path, strangers: Path
) -> None:
    def context(directory: Path, name: str) -> ssl.SSLContext:
        key = directory / f"{name}.key"
        return client_context(3, pki / "ca.pem", directory / f"{name}.pem", key)

    async def test() -> None:
        key = basic_authorization("CP_1", key_of(pki, "CP_1"))
        nobody = client_context(2, pki / "ca.pem", None, None)
        async with central_system(tmp_path / "db", 3, pki) as (port, _):
            assert (await knock(port, "/CP_1", tls=context(pki, "CP_1"))).status == 101
            for header in (None, key):  # the key is no substitute
                assert (
                    await knock(port, "/CP_1", header, tls=context(pki, "CP_2"))
                ) == UNIFORM_REFUSAL
            # Another CA's, none, and a server's certificate do not even get through TLS.
            for tls in (context(strangers, "CP_1"), nobody, context(pki, "csms")):
                with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
                    await knock(port, "/CP_1", key, tls=tls)
            assert (await knock(port, "/CP_1", tls=context(pki, "CP_1"))).status == 101

    run(test())


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────


def test_tls_1_1_is_refused(tmp_path: Path, pki: Path) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(pki / "ca.pem")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1

    async def test() -> None:
        async with central_system(tmp_path / "db", 2, pki) as (port, _):
            with pytest.raises(OSError):  # noqa: PT011 - an alert, or just a reset
                await knock(port, "/CP_1", tls=old)
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            assert (await knock(port, "/CP_1", tls=old)).status == 401

    run(test())


@pytest.mark.parametrize("suite", REQUIRED_SUITES)
def test_the_required_cipher_suites_work(tmp_path: Path, pki: Path, suite: str) -> None:
    pair = Pair(pki / "csms.pem", pki / "csms.key")
    trusted = pki / "ca.pem"
    if REQUIRED_SUITES[suite] == "rsa":
        pair = self_signed(tmp_path, rsa.generate_private_key(65537, 2048))
        trusted = pair.certificate
    tls = client_context(2, trusted, None, None)
    assert suite in {cipher["name"] for cipher in tls.get_ciphers()}
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers(suite)

    async def test() -> None:
        context = server_context(2, *pair, None)
        async with (
            central_system(tmp_path / "db", 2, pki, context) as (port, _),
            enter(port, key_of(pki, "CP_1"), tls=tls) as connection,
        ):
            ssl_object = connection.transport.get_extra_info("ssl_object")
            assert ssl_object.cipher()[:2] == (suite, "TLSv1.2")
            assert await is_served(connection)

    run(test())


@pytest.mark.parametrize(
    "suite", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-NULL-SHA", "ADH-AES128-SHA"]
)
def test_weak_cipher_suites_are_refused(tmp_path: Path, pki: Path, suite: str) -> None:
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    weak.load_verify_locations(pki / "ca.pem")
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers(f"{suite}:@SECLEVEL=0")

    async def test() -> None:
        async with central_system(tmp_path / "db", 2, pki) as (port, _):
            with pytest.raises(OSError):  # noqa: PT011 - an alert, or just a reset
                await knock(port, "/CP_1", tls=weak)
            weak.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0")
            assert (await knock(port, "/CP_1", tls=weak)).status == 401

    run(test())


def test_a_peers_short_key_is_refused(tmp_path: Path, pki: Path) -> None:
    pair = self_signed(tmp_path, rsa.generate_private_key(65537, 1024))
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    lax.set_ciphers("ALL:@SECLEVEL=0")
    lax.load_cert_chain(*pair)

    async def test() -> None:
        async with central_system(tmp_path / "db", 2, pki, lax) as (port, _):
            with pytest.raises(ssl.SSLError, match=r"too small|too weak"):
                await knock(port, "/CP_1", tls=client_context(2, pair.certificate, None, None))

    run(test())


@pytest.mark.processes
def test_a_charge_point_trusts_no_stranger_and_says_why(
    programs: Programs, strangers: Path, start_script: StartScript, tmp_path: Path
) -> None:
    central, port = programs.csms(2, "--no-anomaly")
    key = ("--key-file", str(programs.pki / "CP_1.authorization-key"))

    def cp(number: int, url: str, *arguments: str) -> Script:
        return start_script(
            "cp.py", "--url", url, "--state", str(tmp_path / str(number)), *arguments
        )

    tls = ("--security-profile", "2", *key, "--ca")
    ca, other_ca = str(programs.pki / "ca.pem"), str(strangers / "ca.pem")
    expected = [
        (cp(1, f"wss://127.0.0.1:{port}", *tls, other_ca), "its certificate is not trusted"),
        (cp(2, f"wss://localhost:{port}", *tls, ca), "not valid for 'localhost'"),
        (cp(3, f"ws://127.0.0.1:{port}", "--security-profile", "1", *key), "security profile?"),
    ]
    for script, words in expected:
        assert "no connection to" in script.wait_for(words)
        assert script.stop() == 0
        assert "Connected" not in script.output
        assert "Traceback" not in script.output
    assert central.stop() == 0
    assert "CP_1" not in central.output
    assert "Traceback" not in central.output


# ── Rate limits ──────────────────────────────────────────────────────────────────────────────


def test_who_guesses_keys_is_slowed_down_and_locks_nobody_out(tmp_path: Path, pki: Path) -> None:
    wrong = basic_authorization("CP_1", bytes(20))
    right = basic_authorization("CP_1", key_of(pki, "CP_1"))
    of_id, of_address = admission.REFUSALS_PER_ID, admission.REFUSALS_PER_ADDRESS

    async def test() -> None:
        async with central_system(tmp_path / "db", 1, pki) as (port, _):

            async def statuses(number: float, path: str, header: str, source: str) -> list[int]:
                return [
                    (await knock(port, path, header, source=source)).status
                    for _ in range(int(number))
                ]

            guesses = await statuses(of_id.burst + 3, "/CP_1", wrong, "127.0.0.2")
            assert guesses == [401] * int(of_id.burst) + [429] * 3
            # From elsewhere the id's guesses stay refused, and its true key opens.
            assert await statuses(1, "/CP_1", wrong, "127.0.0.3") == [429]
            assert await statuses(1, "/CP_1", right, "127.0.0.3") == [101]

            # An id that does not exist looks the same.
            guesses = await statuses(of_id.burst + 1, "/CP_9", wrong, "127.0.0.4")
            assert guesses == [401] * int(of_id.burst) + [429]

            # An address that tries one id after the other is not looked at after its burst.
            tried = [
                (await knock(port, f"/CP_{number}", wrong, source="127.0.0.5")).status
                for number in range(100, 100 + int(of_address.burst))
            ]
            assert tried == [401] * int(of_address.burst)
            assert await statuses(1, "/CP_1", right, "127.0.0.5") == [429]
            assert await statuses(1, "/CP_1", right, "127.0.0.6") == [101]

    run(test())


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Admission]:
    """A judge that knows no key at all."""
    with closing(Ledger(tmp_path / "db")) as ledger:
        yield Admission(1, ledger)


def test_an_address_that_waits_may_try_again(judge: Admission) -> None:
    for number in range(100):
        judge.judge(Applicant(f"CP_{number}", "192.0.2.1"), 0.0)
    assert judge.judge(Applicant("CP_new", "192.0.2.1"), 0.5) == 429
    assert judge.judge(Applicant("CP_new", "192.0.2.1"), 2.0) == 401


def test_an_ipv6_network_counts_as_one_address(judge: Admission) -> None:
    verdicts = [
        judge.judge(Applicant(f"CP_{number}", f"2001:db8::{number:x}"), 0.0)
        for number in range(1, 100)
    ]
    assert verdicts[-1] == 429
    assert judge.judge(Applicant("CP_1000", "2001:db8:0:1::1"), 0.0) == 401
    assert judge.judge(Applicant("CP_1001", "fe80::1%eth0"), 0.0) == 401


def test_what_is_remembered_of_attackers_is_bounded(
    judge: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MOST_REMEMBERED", 50)
    for number in range(1000):
        judge.judge(Applicant(f"CP_{number}", f"10.0.{number // 250}.{number % 250}"), 0.0)
    assert len(judge._buckets) == 50
    # Who goes on trying is not forgotten, however many others there are.
    for number in range(100):
        judge.judge(Applicant(f"CP_{number}", "192.0.2.1"), 0.0)
    for number in range(100):
        judge.judge(Applicant("CP_1", f"10.1.0.{number}"), 0.0)
        assert judge.judge(Applicant(f"CP_{number}", "192.0.2.1"), 0.0) == 429


# ── Two connections with one id ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("profile", [0, 1])
def test_a_second_connection_is_refused_with_an_alarm_and_the_first_lives(
    tmp_path: Path, pki: Path, caplog: pytest.LogCaptureFixture, profile: int
) -> None:
    key = key_of(pki, "CP_1")

    async def test() -> None:
        async with central_system(tmp_path / "db", profile, pki) as (port, _):
            async with enter(port, key) as first:
                with pytest.raises(InvalidStatus) as refused:
                    async with enter(port, key):
                        pass
                assert refused.value.response.status_code == 409
                assert await is_served(first)
            async with enter(port, key) as again:
                assert await is_served(again)

    run(test())
    (alarm,) = [record for record in caplog.records if "ALARM" in record.getMessage()]
    assert alarm.levelno == logging.ERROR
    assert "from 127.0.0.1, claims to be CP_1" in alarm.getMessage()


def test_repeated_claims_to_a_connected_id_are_slowed_down(
    tmp_path: Path, pki: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of(pki, "CP_1")

    async def test() -> None:
        async with central_system(tmp_path / "db", 0, pki) as (port, _), enter(port, key) as first:
            statuses = [(await knock(port, "/CP_1", source="127.0.0.2")).status for _ in range(25)]
            assert await is_served(first)
        assert set(statuses) == {409, 429}
        assert statuses[-1] == 429

    run(test())
    alarms = [record for record in caplog.records if "ALARM" in record.getMessage()]
    assert len(alarms) <= admission.REFUSALS_PER_ADDRESS.burst + 1


@pytest.mark.processes
def test_a_frozen_charge_point_is_replaced_and_may_not_come_back(
    programs: Programs, tmp_path: Path
) -> None:
    central, port = programs.csms(1, "--no-anomaly")
    frozen = programs.cp(port, 1)
    frozen.wait_for("Connected to CSMS")
    central.wait_for("CP_1: connected")
    frozen.send_signal(signal.SIGSTOP)
    successor = programs.cp(port, 1, "--state", str(tmp_path / "other state"))
    central.wait_for("CP_1: its dead connection is replaced")
    successor.wait_for("Connected to CSMS")
    central.wait_for("connector 1 is Available")
    frozen.send_signal(signal.SIGCONT)
    central.wait_for("ALARM")
    frozen.wait_for("HTTP 409")
    assert successor.stop() == 0
    central.wait_for("CP_1: disconnected")
    central.wait_for("CP_1: connected")  # the first again: now the id is free
    assert central.stop() == 0
    assert "Traceback" not in central.output


def test_of_several_successors_of_a_dead_connection_one_wins(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DUPLICATE_PING_S", 0.3)
    key = key_of(pki, "CP_1")

    async def attempt(port: int) -> ClientConnection | None:
        try:
            connection = await enter(port, key)
            if await is_served(connection):
                return connection
        except (InvalidStatus, ConnectionClosed):
            pass
        return None

    async def test() -> None:
        async with central_system(tmp_path / "db", 1, pki) as (port, _), enter(port, key) as dead:
            dead.transport.pause_reading()  # it answers no ping
            tried = await asyncio.gather(*(attempt(port) for _ in range(5)))
            (winner,) = [connection for connection in tried if connection is not None]
            assert await is_served(winner)
            await winner.close()
            dead.transport.abort()

    run(test())


# ── Keys change ──────────────────────────────────────────────────────────────────────────────


def kept_key(state: Path) -> bytes:
    """Read the key that a charge point was given from what it keeps."""
    file = state / "charge_point_CP_1.sqlite"
    assert file.stat().st_mode & 0o777 == 0o600
    with closing(charge_point_ledger.Ledger(file)) as ledger:
        return parse_key(ledger.setting("AuthorizationKey") or "")


@pytest.mark.processes
def test_a_rotated_key_survives_restarts_and_no_log_shows_any_key(programs: Programs) -> None:
    debug = ("--log-level", "debug")
    old = key_of(programs.pki, "CP_1")
    central, port = programs.csms(1, "--rotate-keys", "--no-anomaly", *debug)
    charge_point = programs.cp(port, 1, *debug)
    charge_point.wait_for("took a new AuthorizationKey")
    central.wait_for("CP_1: has a new AuthorizationKey")
    central.wait_for("CP_1: disconnected")
    central.wait_for("CP_1: connected")
    central.wait_for("connector 1 is Available")
    wrong = asyncio.run(knock(port, "/CP_1", basic_authorization("CP_1", old)))
    assert wrong == UNIFORM_REFUSAL
    said = []
    for script in (charge_point, central):
        assert script.stop() == 0
        said.append(script.output)
    new = kept_key(programs.state)
    assert new != old

    central, port = programs.csms(1, "--no-anomaly", *debug)
    assert "a rotated key has replaced the one in" in central.output
    charge_point = programs.cp(port, 1, *debug)
    charge_point.wait_for("using the AuthorizationKey that the central system sent")
    central.wait_for("connector 1 is Available")
    wrong = asyncio.run(knock(port, "/CP_1", basic_authorization("CP_1", old)))
    assert wrong == UNIFORM_REFUSAL
    for script in (charge_point, central):
        assert script.stop() == 0
        said.append(script.output)

    assert "ChangeConfiguration" in said[0]  # the frames were logged
    assert "ChangeConfiguration" in said[1]
    everything = "\n".join(said)
    for key in (old, new):
        assert key.hex() not in everything.lower()
        assert basic_authorization("CP_1", key) not in everything
        assert repr(key)[2:-1] not in everything
    assert "Traceback" not in everything


def test_a_crash_in_a_rotation_leaves_both_keys_until_the_new_one_is_used(
    tmp_path: Path, pki: Path
) -> None:
    old, new, never_sent = key_of(pki, "CP_1"), bytes(range(20)), bytes(range(1, 21))

    async def status(port: int, key: bytes) -> int:
        return (await knock(port, "/CP_1", basic_authorization("CP_1", key))).status

    async def test() -> None:
        async with central_system(tmp_path / "db", 1, pki) as (_, ledger):
            ledger.offer_key("CP_1", digest(never_sent))
            ledger.withdraw_key("CP_1")  # the charge point refused that one
            ledger.offer_key("CP_1", digest(new))  # and here the central system crashes
        async with central_system(tmp_path / "db", 1, pki) as (port, _):
            assert await status(port, never_sent) == 401
            assert await status(port, old) == 101
            assert await status(port, old) == 101
            assert await status(port, new) == 101
            assert await status(port, old) == 401
            assert await status(port, new) == 101
        async with central_system(tmp_path / "db", 1, pki) as (port, _):
            assert await status(port, old) == 401
            assert await status(port, new) == 101

    run(test())


# ── The profile rises ────────────────────────────────────────────────────────────────────────


@pytest.mark.processes
def test_a_raised_profile_stays_raised(programs: Programs) -> None:
    plain, plain_port = programs.csms(1, "--raise-to-profile", "2", "--no-anomaly")
    secure, secure_port = programs.csms(2, "--no-anomaly")
    options = (
        *("--secure-url", f"wss://127.0.0.1:{secure_port}"),
        *("--ca", str(programs.pki / "ca.pem")),
    )
    charge_point = programs.cp(plain_port, 1, *options)
    plain.wait_for("CP_1: goes over to security profile 2")
    charge_point.wait_for("security profile raised to 2")
    secure.wait_for("CP_1: connector 1 is Available")
    assert charge_point.stop() == 0
    secure.wait_for("CP_1: disconnected")

    charge_point = programs.cp(plain_port, 1, *options)
    charge_point.wait_for("security profile 2, to which the central system raised it")
    assert "wss://" in charge_point.wait_for("Connected to CSMS")
    secure.wait_for("CP_1: connector 1 is Available")
    assert plain.output.count("CP_1: connected") == 1


@pytest.fixture
def make_credentials(tmp_path: Path, pki: Path) -> Iterator[Any]:
    with closing(charge_point_ledger.Ledger(tmp_path / "cp.sqlite")) as ledger:

        def make(profile: int = 1, *arguments: str, key: bool = True) -> Credentials:
            options = ["--security-profile", str(profile), *arguments]
            if key:
                options += ["--key-file", str(pki / "CP_1.authorization-key")]
            return Credentials("CP_1", cp.parse_arguments(options), ledger)

        yield make


def test_a_new_key_in_the_file_counts_again(make_credentials: Any, tmp_path: Path) -> None:
    credentials: Credentials = make_credentials(1)
    assert credentials.change_key("ab" * 20)
    assert make_credentials(1).key == bytes.fromhex("ab" * 20)
    changed = tmp_path / "new.key"
    changed.write_text("cd" * 20)
    arguments = ("--key-file", str(changed))
    assert make_credentials(1, *arguments, key=False).key == bytes.fromhex("cd" * 20)


@pytest.mark.parametrize(
    "text", ["0", "1", "2", "4", "-1", "", "3.0", " 3", "٣", "three", "9" * 500]
)
def test_a_profile_never_falls_nor_becomes_nonsense(make_credentials: Any, text: str) -> None:
    credentials: Credentials = make_credentials(2)
    assert not credentials.raise_profile(text)
    assert credentials.profile == 2
    assert make_credentials(1).profile == 1, "nothing was kept"


def test_a_profile_that_lacks_something_is_refused(
    make_credentials: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for profile, options, key, words in [
        ("1", (), False, "--key-file"),
        ("2", (), False, "--key-file"),
        ("2", ("--ca", str(tmp_path / "none.pem")), True, "none.pem"),
        ("2", ("--secure-url", "ws://127.0.0.1"), True, "needs a wss:// URL"),
        ("3", (), True, "--cert and --private-key"),
    ]:
        caplog.clear()
        credentials: Credentials = make_credentials(0, *options, key=key)
        assert not credentials.raise_profile(profile)
        assert credentials.endpoint().url == "ws://127.0.0.1:9000/CP_1"
        assert words in caplog.text
    assert make_credentials(0).profile == 0


@pytest.mark.parametrize("text", ["", "00" * 15, "00" * 21, "0" * 33, "g" * 32, "0x" + "00" * 16])
def test_a_new_key_that_is_none_is_refused(make_credentials: Any, text: str) -> None:
    credentials: Credentials = make_credentials(1)
    before = credentials.endpoint().authorization
    assert not credentials.change_key(text)
    assert credentials.endpoint().authorization == before


# ── Caps ─────────────────────────────────────────────────────────────────────────────────────


async def read_all(connection: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.recv()


async def closed_with(connection: ClientConnection) -> tuple[int | None, str | None]:
    async with asyncio.timeout(SOON_S):
        await connection.wait_closed()
    return connection.close_code, connection.close_reason


@pytest.mark.parametrize("profile", [0, 2])
def test_a_message_above_the_limit_closes_with_1009(
    tmp_path: Path, pki: Path, profile: int
) -> None:
    async def test() -> None:
        tls = client_context(2, pki / "ca.pem", None, None) if uses_tls(profile) else None
        async with central_system(tmp_path / "db", profile, pki) as (port, _):
            async with enter(port, key_of(pki, "CP_1"), tls=tls) as connection:
                assert await is_served(connection)
                await connection.send(HEARTBEAT + " " * LARGEST_MESSAGE_BYTES)
                assert (await closed_with(connection))[0] == 1009
            async with enter(port, key_of(pki, "CP_1"), tls=tls) as connection:
                # In pieces too.
                with contextlib.suppress(ConnectionClosed):
                    await connection.send(" " * 8192 for _ in range(10))
                assert (await closed_with(connection))[0] == 1009

    run(test())


def test_calls_above_the_rate_are_answered_later(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csms, "MESSAGE_RATE", Rate(per_s=5, burst=3))

    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with (
            central_system(tmp_path / "db", 0, pki) as (port, _),
            enter(port, b"") as connection,
        ):
            began_s = loop.time()
            for _ in range(3 + 5):
                assert await is_served(connection)
            assert loop.time() - began_s >= 0.9

    run(test())


def test_unwanted_messages_above_the_rate_close_with_1008(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csms, "MESSAGE_RATE", Rate(per_s=0.01, burst=5))

    async def test() -> None:
        async with (
            central_system(tmp_path / "db", 0, pki) as (port, _),
            enter(port, b"") as connection,
        ):
            for _ in range(5):
                await connection.send('[3,"nobody asked",{}]')
            assert await is_served(connection)
            await connection.send('[3,"nobody asked",{}]')
            assert (await closed_with(connection))[0] == 1008

    run(test())


def test_calls_above_the_queue_close_with_1008(tmp_path: Path, pki: Path) -> None:
    async def test() -> None:
        async with (
            central_system(tmp_path / "db", 0, pki) as (port, _),
            enter(port, b"") as connection,
        ):
            answers = asyncio.create_task(read_all(connection))
            with contextlib.suppress(ConnectionClosed):
                for _ in range(20 * MAX_WAITING_CALLS):
                    await connection.send(HEARTBEAT)
            await answers
            code, reason = await closed_with(connection)
            assert code == 1008
            assert str(reason).startswith("too many")

    run(test())


def test_pings_from_who_does_not_read_fill_no_memory(tmp_path: Path, pki: Path) -> None:
    flood = (b"\x89\xfd\0\0\0\0" + bytes(125)) * 1000  # masked pings

    def attack(port: int) -> int:
        """Send pings until the connection is dropped; give how many bytes that took."""
        with socket.socket() as attacker:
            attacker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            attacker.settimeout(SOON_S)
            attacker.connect(("127.0.0.1", port))
            attacker.sendall(
                b"GET /CP_1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
            )
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 100_000_000:
                    attacker.sendall(flood)
                    sent += len(flood)
            return sent

    async def test() -> None:
        async with central_system(tmp_path / "db", 0, pki) as (port, _):
            sent = await asyncio.to_thread(attack, port)
            # The buffers of the kernel hold a few MB.
            assert sent < 20 * server.MOST_UNREAD_BYTES
            async with enter(port, b"") as connection:
                assert await is_served(connection)

    run(test())


def test_connections_are_limited_and_those_that_are_there_stay(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)

    async def test() -> None:
        async with central_system(tmp_path / "db", 0, pki) as (port, _):
            connections = [await enter(port, b"", f"CP_{number}") for number in range(3)]
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await knock(port, "/CP_3")
            for connection in connections:
                assert await is_served(connection)
            await connections.pop().close()
            while len(connections) < 3:  # until the server has noticed that one is gone
                with contextlib.suppress(OSError, InvalidMessage):
                    connections.append(await enter(port, b"", "CP_3"))
            for connection in connections:
                assert await is_served(connection)
                await connection.close()

    run(test())


@pytest.mark.parametrize("profile", [0, 2])
def test_idle_sockets_lock_nobody_out_and_are_bounded(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch, profile: int
) -> None:
    monkeypatch.setattr(server, "MOST_HANDSHAKES", 5)

    async def test() -> None:
        tls = client_context(2, pki / "ca.pem", None, None) if uses_tls(profile) else None
        async with central_system(tmp_path / "db", profile, pki) as (port, _):
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
            async with enter(port, key_of(pki, "CP_1"), tls=tls) as connection:
                assert await is_served(connection)
            ends = [asyncio.create_task(reader.read()) for reader, _ in idle]
            while len([end for end in ends if end.done()]) < 45:
                pending = [end for end in ends if not end.done()]
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for _, writer in idle:
                writer.transport.abort()
            await asyncio.gather(*ends, return_exceptions=True)

    run(test())


@pytest.mark.parametrize("profile", [0, 2])
@pytest.mark.parametrize("dribble", [b"", b"GET /CP_1 HTTP/1.1\r\nX: ", b"\x16\x03\x01\x02\0\x01"])
def test_a_handshake_that_dawdles_is_cut_off(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch, profile: int, dribble: bytes
) -> None:
    monkeypatch.setattr(server, "OPEN_TIMEOUT_S", 0.5)

    async def test() -> None:
        async with central_system(tmp_path / "db", profile, pki) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            ended = asyncio.create_task(reader.read())
            async with asyncio.timeout(SOON_S):
                for byte in dribble * 100:
                    writer.write(bytes([byte]))
                    done, _ = await asyncio.wait([ended], timeout=0.05)
                    if done:
                        break
                with contextlib.suppress(OSError):
                    await ended
            writer.transport.abort()
            key = key_of(pki, "CP_1")
            tls = client_context(2, pki / "ca.pem", None, None) if uses_tls(profile) else None
            monkeypatch.setattr(server, "OPEN_TIMEOUT_S", SOON_S)
            async with enter(port, key, tls=tls) as connection:
                assert await is_served(connection)

    run(test())


@pytest.mark.parametrize("profile", [0, 2])
def test_an_idle_socket_does_not_hold_up_the_end(tmp_path: Path, pki: Path, profile: int) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with central_system(tmp_path / "db", profile, pki) as (port, _):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            await knock_until_seen(port, profile, pki)
            began_s = loop.time()
        assert loop.time() - began_s < OPEN_TIMEOUT_S / 2
        writer.transport.abort()

    run(test())


async def knock_until_seen(port: int, profile: int, pki: Path) -> None:
    """Return when the server has accepted all that came before."""
    tls = client_context(2, pki / "ca.pem", None, None) if uses_tls(profile) else None
    await knock(port, "/CP_1", tls=tls)


@pytest.mark.parametrize("before", [300, server.MOST_CONNECTIONS + 1000])
def test_the_limit_of_open_files_is_only_ever_raised(
    tmp_path: Path, pki: Path, before: int
) -> None:
    original, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def test() -> None:
        async with central_system(tmp_path / "db", 0, pki):
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            assert max(before, server.MOST_CONNECTIONS) <= soft <= hard

    if hard < before:
        pytest.skip(f"this machine allows {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
    try:
        run(test())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (original, hard))


# ── What a charge point sends ────────────────────────────────────────────────────────────────


@pytest.mark.processes
def test_no_charge_point_forges_a_line_of_the_log(programs: Programs) -> None:
    central, port = programs.csms(0, "--no-anomaly")
    forged = "\\n12:00:00 CP_2: transaction 7 stopped: Remote\\u001b[2J"
    boot = (
        f'[2,"1","BootNotification",{{"chargePointVendor":"{forged[:20]}","chargePointModel":"m"}}]'
    )
    start = (
        '[2,"2","StartTransaction",{"connectorId":1,"idTag":"\\nforged","meterStart":0,'
        '"timestamp":"2026-01-01T00:00:00Z"}]'
    )
    unknown = f'[2,"3","{forged}",{{}}]'

    async def attack() -> None:
        async with enter(port, b"") as connection:
            for message in (boot, start, unknown, "\n12:00:00 forged"):
                await connection.send(message)
                await connection.recv()
        assert (await knock(port, "/CP_2%0A12:00:00%20forged")).status == 404

    asyncio.run(attack())
    central.wait_for("CP_1: disconnected")
    assert central.stop() == 0
    assert "forged" in central.output
    for line in central.lines[1:]:
        assert re.match(r"\d\d:\d\d:\d\d (warning: )?CP_1", line), line
        assert line.isprintable()


def test_ids_that_a_charge_point_invents_cost_no_memory(tmp_path: Path) -> None:
    async def begin(_: csms.ChargePoint) -> None:
        pass

    with closing(Ledger(tmp_path / "db")) as ledger:
        charge_point = csms.ChargePoint("CP_1", csms.CentralSystem(ledger, cycles=None, play=begin))
        value = {"timestamp": "2026-01-01T00:00:00Z", "sampled_value": [{"value": "1"}]}
        for number in range(1000):
            charge_point.on_meter_values(number, [value], transaction_id=number)
            charge_point.on_status_notification(number, "Available", "NoError")
        assert len(charge_point.running) <= 100


# ── Options and files ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("0.0.0.0", True),
        ("::", True),
        ("", True),
        ("192.0.2.7", True),
        ("charging.example", True),
        ("127.0.0.1", False),
        ("127.8.0.1", False),
        ("::1", False),
        ("localhost", False),
    ],
)
def test_an_open_port_without_security_is_warned_of(
    caplog: pytest.LogCaptureFixture, host: str, is_open: bool
) -> None:
    warn_if_open(argparse.Namespace(host=host, security_profile=0))
    assert ("--security-profile 2" in caplog.text) == is_open
    caplog.clear()
    warn_if_open(argparse.Namespace(host=host, security_profile=2))
    assert not caplog.text


CSMS_TLS = ("--security-profile", "2", "--cert", "PKI/csms.pem", "--private-key", "PKI/csms.key")
CP_1 = ("--security-profile", "1", "--key-file", "PKI/CP_1.authorization-key")
CP_3 = ("--security-profile", "3", "--url", "wss://127.0.0.1", "--ca", "PKI/ca.pem")


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        ("csms", ("--security-profile", "1", "--keys", "PKI/none.txt"), "none.txt"),
        ("csms", ("--security-profile", "1", "--keys", "BAD/short.txt"), "line 2"),
        ("csms", ("--security-profile", "1", "--keys", "BAD/no-id.txt"), "line 1"),
        ("csms", ("--security-profile", "1", "--keys", "BAD/twice.txt"), "line 2"),
        ("csms", ("--security-profile", "1", "--keys", "BAD"), "cannot read the keys"),
        ("csms", ("--security-profile", "2"), "--cert and --private-key"),
        ("csms", ("--security-profile", "3", *CSMS_TLS[2:]), "--ca"),
        ("csms", (*CSMS_TLS, "--private-key", "PKI/none.key"), "none.key"),
        ("csms", (*CSMS_TLS, "--cert", "PKI/none.pem"), "none.pem"),
        ("csms", (*CSMS_TLS, "--private-key", "PKI/CP_1.key"), "do not belong together"),
        ("csms", (*CSMS_TLS, "--private-key", "BAD/encrypted.key"), "pass phrase"),
        ("csms", (*CSMS_TLS, "--private-key", "BAD/legacy.key"), "pass phrase"),
        ("csms", (*CSMS_TLS, "--cert", "PKI/keys.txt"), "PEM form"),
        (
            "csms",
            (*CSMS_TLS, "--cert", "BAD/self.pem", "--private-key", "BAD/self.key"),
            "RSA needs 2048 bits",
        ),
        ("csms", ("--security-profile", "3", *CSMS_TLS[2:], "--ca", "PKI/keys.txt"), "PEM form"),
        ("cp", ("--security-profile", "1"), "--key-file"),
        ("cp", (*CP_1, "--key-file", "PKI/none"), "none"),
        ("cp", (*CP_1, "--key-file", "BAD/short.key"), "32 to 40"),
        ("cp", (*CP_1, "--key-file", "PKI/CP_1.pem"), "hexadecimal digits"),
        ("cp", (*CP_1, "--url", "wss://127.0.0.1"), "needs a ws:// URL"),
        ("cp", (*CP_1, "--security-profile", "2", "--ca", "PKI/none.pem"), "none.pem"),
        ("cp", (*CP_1, "--security-profile", "2", "--ca", "PKI/keys.txt"), "PEM form"),
        ("cp", (*CP_1, "--security-profile", "2", "--secure-url", "ws://x"), "needs a wss:// URL"),
        ("cp", (*CP_1, "--security-profile", "2", "--secure-url", "https://x"), "no WebSocket URL"),
        ("cp", CP_3, "--cert and --private-key"),
        (
            "cp",
            (*CP_3, "--cert", "PKI/CP_1.pem", "--private-key", "BAD/encrypted.key"),
            "pass phrase",
        ),
        (
            "cp",
            (*CP_3, "--cert", "PKI/CP_1.pem", "--private-key", "PKI/CP_2.key"),
            "do not belong together",
        ),
    ],
    ids=str,
)
def test_a_bad_file_is_one_clear_line(
    tmp_path: Path,
    pki: Path,
    bad: Path,
    capsys: pytest.CaptureFixture[str],
    program: str,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    given = [text.replace("PKI", str(pki)).replace("BAD", str(bad)) for text in arguments]
    if program == "csms":
        options = read_csms_options("", ["--port", "0", "--db", str(tmp_path / "db"), *given])
        assert console.run(lambda: csms.main(options)) == 1
    else:
        options = cp.parse_arguments(["--state", str(tmp_path), *given])
        assert console.run(lambda: cp.main(options)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert "_ssl.c" not in line
    assert "00" * 15 not in line, "a key is shown, even if it is a bad one"


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that can't be used."""
    directory = tmp_path_factory.mktemp("bad")
    (directory / "short.txt").write_text(f"# a comment\nCP_1 {'00' * 15}\n")
    (directory / "no-id.txt").write_text(f"{'00' * 20}\n")
    (directory / "twice.txt").write_text(f"CP_1 {'00' * 20}\nCP_1 {'01' * 20}\n")
    (directory / "short.key").write_text("00" * 15)
    key = ec.generate_private_key(ec.SECP256R1())
    secret = serialization.BestAvailableEncryption(b"secret")
    (directory / "encrypted.key").write_bytes(private_bytes(key, secret))
    (directory / "legacy.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, secret
        )
    )
    self_signed(directory, rsa.generate_private_key(65537, 1024))
    return directory


# ── docs/security.md ─────────────────────────────────────────────────────────────────────────


def test_every_test_that_the_document_names_exists() -> None:
    named = set(re.findall(r"\btest_\w+\b(?!\.py)", (ROOT / "docs/security.md").read_text("utf-8")))
    sources = [path.read_text("utf-8") for path in ROOT.glob("tests/test_*.py")]
    existing = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    assert len(named) > 20
    assert named <= existing, f"unknown: {sorted(named - existing)}"
