"""The compliance tool's cases for a central system that need real sockets: keys, TLS and more."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from ocpp.v16.enums import ResetType
from octt_central_bench import ACCEPTED, Bench, moment
from octt_tool import PATIENCE_S, Tool
from test_security import UNIFORM_REFUSAL, enter, key_of, knock, run, served
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

import csms
from evsim.clock import utc_now
from evsim.security import basic_authorization, client_context

WRONG_KEY = bytes(20)


@asynccontextmanager
async def session(central: csms.CentralSystem, connecting: connect) -> AsyncIterator[Bench]:
    """Connect CP_1 over a real socket, boot, and leave at the end."""
    it = Bench(central)
    async with connecting as connection:
        it.tool = Tool(connection)
        answer = await it.boot()
        assert answer["status"] == "Accepted"
        assert abs((moment(answer["currentTime"]) - utc_now()).total_seconds()) < PATIENCE_S
        yield it
        await it.tool.close()


async def key_change(it: Bench, status: str = "Accepted") -> bytes:
    """Let the central system change CP_1's key; give the new one."""
    answer = {"status": status}
    asked = await it.asked(it.station.rotate_key(), "ChangeConfiguration", answer)
    assert asked["key"] == "AuthorizationKey"
    key = bytes.fromhex(asked["value"])
    assert 16 <= len(key) <= 20
    assert len(asked["value"]) == 2 * len(key)
    return key


def check_tls(it: Bench) -> None:
    """Judge what the central system showed, which the client's TLS has found to be trustworthy."""
    assert isinstance(it.tool.connection, ClientConnection)
    established = it.tool.connection.transport.get_extra_info("ssl_object")
    assert established.version() in {"TLSv1.2", "TLSv1.3"}
    shown = x509.load_der_x509_certificate(established.getpeercert(binary_form=True))
    key = shown.public_key()
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    assert key.key_size >= (2048 if isinstance(key, rsa.RSAPublicKey) else 224)
    assert shown.not_valid_before_utc <= utc_now() < shown.not_valid_after_utc


def test_tc_073_csms_update_the_basic_auth_password(tmp_path: Path, pki: Path) -> None:
    async def test() -> None:
        async with served(tmp_path / "db", 1, pki) as (port, central):
            keys = [key_of(pki, "CP_1")]
            for _ in range(2):
                async with session(central, enter(port, keys[-1])) as it:
                    keys.append(await key_change(it))
                # At once, not only when the new one has been used.
                refusal = await knock(port, "/CP_1", basic_authorization("CP_1", keys[-2]))
                assert refusal == UNIFORM_REFUSAL
            assert len(set(keys)) == 3
            async with session(central, enter(port, keys[-1])) as it:
                await it.refused(it.station.rotate_key(), "ChangeConfiguration", "Rejected")
            async with session(central, enter(port, keys[-1])):
                pass  # a key that was refused changes nothing
            refusal = await knock(port, "/CP_1", basic_authorization("CP_1", keys[0]))
            assert refusal == UNIFORM_REFUSAL

    run(test())


def test_a_key_that_counts_after_a_reboot_locks_nobody_out(tmp_path: Path, pki: Path) -> None:
    async def test() -> None:
        async with served(tmp_path / "db", 1, pki) as (port, central):
            old = key_of(pki, "CP_1")
            async with session(central, enter(port, old)) as it:
                new = await key_change(it, "RebootRequired")
            for key in (old, new):  # it may lose the connection before it reboots
                async with session(central, enter(port, key)):
                    pass
            refusal = await knock(port, "/CP_1", basic_authorization("CP_1", old))
            assert refusal == UNIFORM_REFUSAL

    run(test())


def test_tc_083_csms_upgrade_the_security_profile(tmp_path: Path, pki: Path) -> None:
    async def test() -> None:
        key = key_of(pki, "CP_1")
        async with served(tmp_path / "db", 1, pki) as (port, central):
            async with session(central, enter(port, key)) as it:
                verb = it.station.raise_security_profile(2)
                asked = await it.asked(verb, "ChangeConfiguration")
                assert asked == {"key": "SecurityProfile", "value": "2"}
                asked = await it.asked(it.station.reset(ResetType.hard), "Reset")
                assert asked == {"type": "Hard"}
            async with session(central, enter(port, key)) as it:
                # As --raise-to-profile has it: a station that asks for the reset is reset.
                securing = it.station.secure(rotate_key=False, raise_to_profile=2)
                raising = asyncio.ensure_future(securing)
                await it.tool.expect("ChangeConfiguration")
                await it.tool.answer({"status": "RebootRequired"})
                assert await it.tool.expect("Reset") == {"type": "Hard"}
                await it.tool.answer(ACCEPTED)
                await raising
            async with session(central, enter(port, key)) as it:
                verb = it.station.raise_security_profile(2)
                await it.refused(verb, "ChangeConfiguration", "Rejected")
        # It boots again, and comes with TLS.
        tls = client_context(2, pki / "ca.pem", None, None)
        async with (
            served(tmp_path / "db", 2, pki) as (port, central),
            session(central, enter(port, key, tls=tls)) as it,
        ):
            assert await it.charging() > 0

    run(test())


def test_tc_085_csms_basic_authentication(tmp_path: Path, pki: Path) -> None:
    async def test() -> None:
        async with served(tmp_path / "db", 1, pki) as (port, central):
            async with session(central, enter(port, key_of(pki, "CP_1"))) as it:
                assert await it.charging() > 0
            for header in (None, basic_authorization("CP_1", WRONG_KEY)):
                assert await knock(port, "/CP_1", header) == UNIFORM_REFUSAL

    run(test())


def test_tc_086_csms_tls_with_a_server_certificate(tmp_path: Path, pki: Path) -> None:
    tls = client_context(2, pki / "ca.pem", None, None)

    async def test() -> None:
        key = key_of(pki, "CP_1")
        async with served(tmp_path / "db", 2, pki) as (port, central):
            async with session(central, enter(port, key, tls=tls)) as it:
                check_tls(it)
                assert await it.charging() > 0
            refusal = await knock(port, "/CP_1", basic_authorization("CP_1", WRONG_KEY), tls=tls)
            assert refusal == UNIFORM_REFUSAL

    run(test())


def test_tc_087_csms_tls_with_a_client_certificate(tmp_path: Path, pki: Path) -> None:
    ca = pki / "ca.pem"
    own = client_context(3, ca, pki / "CP_1.pem", pki / "CP_1.key")
    other = client_context(3, ca, pki / "CP_2.pem", pki / "CP_2.key")
    none = client_context(2, ca, None, None)

    async def test() -> None:
        async with served(tmp_path / "db", 3, pki) as (port, central):
            async with session(central, enter(port, b"", tls=own)) as it:
                check_tls(it)
                assert await it.charging() > 0
            assert await knock(port, "/CP_1", tls=other) == UNIFORM_REFUSAL
            with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
                await knock(port, "/CP_1", tls=none)

    run(test())


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["ocpp0.1"], None),
        (["ocpp2.0.1"], None),
        ([], None),
        (["ocpp0.1", "ocpp1.6"], "ocpp1.6"),
        (["ocpp1.6", "ocpp0.1"], "ocpp1.6"),
    ],
)
def test_tc_088_csms_sub_protocol(
    tmp_path: Path, pki: Path, offered: list[str], chosen: str | None
) -> None:
    async def test() -> None:
        async with served(tmp_path / "db", 0, pki) as (port, central):
            names = [Subprotocol(name) for name in offered] or None
            connecting = connect(f"ws://127.0.0.1:{port}/CP_1", subprotocols=names, proxy=None)
            if chosen is None:
                with pytest.raises(InvalidStatus) as refusal:
                    await connecting
                assert refusal.value.response.status_code in range(400, 500)
                assert "CP_1" not in central.charge_points
                return
            async with session(central, connecting) as it:
                assert isinstance(it.tool.connection, ClientConnection)
                assert it.tool.connection.subprotocol == chosen
                assert await it.charging() > 0

    run(test())
