"""The compliance tool's cases for a charge point: security profiles, over real sockets.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_secured.py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from authorities import Authority
from ocpp.v16 import call
from ocpp.v16.enums import CertificateUse, MessageTrigger, ResetType
from octt_secured import SOON_S, Secured, secured

from evsim.certificates import make_all
from evsim.clock import utc_now
from evsim.security import basic_authorization, digest


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same names, signed by another CA."""
    directory = tmp_path_factory.mktemp("octt") / "strangers"
    make_all(directory, "127.0.0.1", ["CP_1"])
    return directory


@asynccontextmanager
async def on_profile(pki: Path, profile: int) -> AsyncIterator[Secured]:
    """Run both ends with a profile; the charge point has booted."""
    async with (
        secured(pki) as it,
        it.listen(profile) as port,
        it.charge_point(it.arguments(profile, port)),
    ):
        await it.booted()
        yield it


def named(distinguished_name: tuple[tuple[tuple[str, str], ...], ...]) -> dict[str, str]:
    """Give the parts of a name as the ssl module shows it."""
    return dict(pair for (pair,) in distinguished_name)


def test_tc_085_cs_basic_authentication(pki: Path) -> None:
    async def test() -> None:
        async with on_profile(pki, 1) as it:
            (connection,) = it.connections
            assert connection.request is not None
            assert connection.request.headers["Authorization"] == basic_authorization(
                "CP_1", it.key
            )

    asyncio.run(test())


def test_tc_086_cs_tls_with_the_servers_certificate(pki: Path) -> None:
    async def test() -> None:
        async with on_profile(pki, 2) as it:
            tls = it.connections[0].transport.get_extra_info("ssl_object")
            assert tls.version() in ("TLSv1.2", "TLSv1.3")
            assert tls.getpeercert() is None

    asyncio.run(test())


def test_tc_087_cs_tls_with_the_clients_certificate(pki: Path) -> None:
    async def test() -> None:
        async with on_profile(pki, 3) as it:
            tls = it.connections[0].transport.get_extra_info("ssl_object")
            assert named(tls.getpeercert()["subject"])["commonName"] == "CP_1"

    asyncio.run(test())


def test_tc_073_cs_new_key(pki: Path) -> None:
    async def test() -> None:
        new = bytes(range(20))
        async with on_profile(pki, 1) as it:
            it.central_ledger.offer_key("CP_1", digest(new))
            await it.ask("Accepted", call.ChangeConfiguration("AuthorizationKey", new.hex()))
            await it.reconnected()
            first, second = [c.request for c in it.connections]
            assert first is not None
            assert second is not None
            assert first.headers["Authorization"] == basic_authorization("CP_1", it.key)
            assert second.headers["Authorization"] == basic_authorization("CP_1", new)

    asyncio.run(test())


def test_tc_074_cs_a_new_certificate_is_connected_with(pki: Path, tmp_path: Path) -> None:
    async def test() -> None:
        authority, both = Authority("another root"), tmp_path / "both.pem"
        both.write_text((pki / "ca.pem").read_text() + authority.pem)
        async with (
            secured(pki) as it,
            it.listen(3, trusted=both) as port,
            it.charge_point(it.arguments(3, port)),
        ):
            await it.booted()
            await it.ask("Accepted", call.ChangeConfiguration("CpoName", "an operator"))
            use = CertificateUse.central_system_root_certificate
            await it.ask("Accepted", call.InstallCertificate(use, authority.pem))
            trigger = MessageTrigger.sign_charge_point_certificate
            await it.ask("Accepted", call.ExtendedTriggerMessage(trigger))
            asked = await it.central.expect("SignCertificate", within_s=SOON_S)
            signed = authority.sign_request(asked["csr"], end=utc_now() + timedelta(days=1))
            await it.ask("Accepted", call.CertificateSigned(signed))
            await it.reconnected()
            shown = it.connections[-1].transport.get_extra_info("ssl_object").getpeercert()
            assert named(shown["issuer"]) == {"commonName": "another root"}
            subject = {"commonName": "CP_1", "organizationName": "an operator"}
            assert named(shown["subject"]) == subject

    asyncio.run(test())


def test_tc_083_cs_the_profile_rises(pki: Path) -> None:
    async def test() -> None:
        async with secured(pki) as it, it.listen(1) as plain, it.listen(2) as secure:
            arguments = [
                *it.arguments(1, plain),
                *("--secure-url", f"wss://127.0.0.1:{secure}", "--ca", str(pki / "ca.pem")),
            ]
            async with it.charge_point(arguments):
                await it.booted()
                await it.ask("Accepted", call.ChangeConfiguration("SecurityProfile", "2"))
                await it.reconnected()  # at once
                assert it.connections[-1].transport.get_extra_info("ssl_object") is not None
                await it.ask("Accepted", call.Reset(ResetType.hard))
                await it.booted()
                assert it.connections[-1].transport.get_extra_info("ssl_object") is not None

    asyncio.run(test())


@pytest.mark.parametrize(("profile", "lower"), [(1, "0"), (2, "1"), (2, "0")])
def test_tc_084_cs_the_profile_cannot_be_lowered(pki: Path, profile: int, lower: str) -> None:
    async def test() -> None:
        async with on_profile(pki, profile) as it:
            await it.ask("Rejected", call.ChangeConfiguration("SecurityProfile", lower))
            answer = await it.central.call(call.GetConfiguration(["SecurityProfile"]))
            (entry,) = answer.configuration_key
            assert entry["value"] == str(profile)
            assert len(it.connections) == 1

    asyncio.run(test())


def test_tc_078_cs_the_central_systems_certificate_is_invalid(pki: Path, strangers: Path) -> None:
    async def test() -> None:
        async with secured(pki) as it, AsyncExitStack() as stack:
            async with it.listen(2, certificates=strangers) as port:
                await stack.enter_async_context(it.charge_point(it.arguments(2, port)))
                assert isinstance(await it.failures.get(), ssl.SSLCertVerificationError)
            assert not it.connections
            async with it.listen(2, port=port):
                await it.booted()
                await it.central.hear_of(
                    "SecurityEventNotification",
                    type="InvalidCentralSystemCertificate",
                    within_s=SOON_S,
                )

    asyncio.run(test())
