"""Certificates of a charge point: installed, named, deleted, asked for, taken and refused."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from authorities import LATER, YEARS_AGO, Authority, ec_key, key_pem, name, pem, rsa_key
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from feature_bench import Bench, bench, play
from hypothesis import given, settings
from hypothesis import strategies as st
from ocpp.v16 import call
from ocpp.v16.enums import CertificateUse, MessageTrigger

from evsim.charge_point.certificate_checks import CertificateChecks
from evsim.charge_point.certificate_store import CertificateError, CertificateStore
from evsim.sqlite import IN_MEMORY, StorageError, open_database
from evsim.virtual_time import EPOCH

CENTRAL = CertificateUse.central_system_root_certificate
MANUFACTURER = CertificateUse.manufacturer_root_certificate


async def install(it: Bench, certificate: str, use: CertificateUse = CENTRAL) -> str:
    return str((await it.central.call(call.InstallCertificate(use, certificate))).status)


async def named(it: Bench, use: CertificateUse = CENTRAL) -> list[dict[str, str]]:
    answer = await it.central.call(call.GetInstalledCertificateIds(use))
    assert (answer.status == "NotFound") is (answer.certificate_hash_data is None)
    return answer.certificate_hash_data or []


async def delete(it: Bench, hash_data: dict[str, str]) -> str:
    answer = await it.central.call(call.DeleteCertificate(hash_data))
    return str(answer.status)


async def events(it: Bench) -> list[str]:
    await it.outbox.all_sent()
    return [payload["type"] for payload in it.central.all("SecurityEventNotification")]


# ── Whom to trust ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", [ec_key, rsa_key])
def test_a_root_is_installed_named_as_ocsp_does_and_deleted(
    tmp_path: Path, key: Callable[[], Any]
) -> None:
    root = Authority(key=key())
    # Of the key, OCSP hashes what is inside the BIT STRING.
    form = PublicFormat.UncompressedPoint if key is ec_key else PublicFormat.PKCS1
    encoding = Encoding.X962 if key is ec_key else Encoding.DER
    public = root.key.public_key().public_bytes(encoding, form)

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            assert await named(it) == []
            assert await install(it, root.pem) == "Accepted"
            assert await named(it, MANUFACTURER) == []
            assert await named(it) == [
                {
                    "hash_algorithm": "SHA256",
                    "issuer_name_hash": hashlib.sha256(root.subject.public_bytes()).hexdigest(),
                    "issuer_key_hash": hashlib.sha256(public).hexdigest(),
                    "serial_number": f"{root.certificate.serial_number:x}",
                }
            ]
            by_sha512 = {
                "hash_algorithm": "SHA512",
                "issuer_name_hash": hashlib.sha512(root.subject.public_bytes()).hexdigest(),
                "issuer_key_hash": hashlib.sha512(public).hexdigest().upper(),
                "serial_number": f"{root.certificate.serial_number:040X}",
            }
            assert await delete(it, {**by_sha512, "serial_number": "1"}) == "NotFound"
            assert await delete(it, by_sha512) == "Accepted"
            assert await named(it) == []
            assert await delete(it, by_sha512) == "NotFound"

    play(test())


def bad_roots() -> dict[str, Callable[[], str]]:
    def damaged() -> str:
        text = Authority().pem
        return text[:100] + ("A" if text[100] != "A" else "B") + text[101:]

    def forged() -> str:
        real, other = Authority(), Authority()
        return Authority("root", key=real.key, issuer=other).pem

    return {
        "no certificate": lambda: "garbage",
        "damaged": damaged,
        "two": lambda: Authority().pem + Authority().pem,
        "expired": lambda: Authority(end=EPOCH - timedelta(days=1)).pem,
        "not yet valid": lambda: Authority(start=EPOCH + timedelta(days=1)).pem,
        "no authority": lambda: Authority(ca=False).pem,
        "signed by another": lambda: Authority("sub", issuer=Authority()).pem,
        "forged": forged,
        "short RSA key": lambda: Authority(key=rsa_key(1024)).pem,
        "key of another kind": lambda: pem(Authority().issue(ec_key().public_key(), name("root"))),
    }


@pytest.mark.parametrize("what", bad_roots())
def test_what_is_no_good_root_is_refused_and_told(tmp_path: Path, what: str) -> None:
    certificate = bad_roots()[what]()

    async def test() -> None:
        async with bench(tmp_path) as it:
            it.security_profile = 1
            await it.connect()
            assert await install(it, certificate, MANUFACTURER) == "Rejected"
            assert await events(it) == []
            assert await install(it, certificate) == "Rejected"
            assert await events(it) == ["InvalidCentralSystemCertificate"]
            assert await named(it) == []

    play(test())


def test_a_full_store_takes_no_more_but_what_it_has(tmp_path: Path) -> None:
    roots = [Authority(str(number)).pem for number in range(4)]

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            for root in roots[:3]:
                assert await install(it, root) == "Accepted"
            assert await install(it, roots[3]) == "Rejected"
            assert await install(it, roots[0]) == "Accepted"
            assert len(await named(it)) == 3

    play(test())


def test_a_full_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageError("cannot write: disk full")

    monkeypatch.setattr(CertificateStore, "add_root", full)

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            assert await install(it, Authority().pem) == "Failed"

    play(test())


def test_the_only_root_of_an_encrypted_connection_stays(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            it.security_profile = 2
            await install(it, Authority("one").pem)
            await install(it, Authority("maker").pem, MANUFACTURER)
            (one,), (maker,) = await named(it), await named(it, MANUFACTURER)
            assert await delete(it, one) == "Failed"
            assert await delete(it, maker) == "Accepted"
            await install(it, Authority("two").pem)
            assert await delete(it, one) == "Accepted"

    play(test())


def test_what_is_installed_outlives_the_program(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await install(it, Authority().pem)
        async with bench(tmp_path) as it:
            await it.connect()
            assert len(await named(it)) == 1

    play(test())


# ── Its own certificate ──────────────────────────────────────────────────────────────────────


async def asked_for(it: Bench) -> str:
    """Have a certificate asked for, and give the request."""
    trigger = call.ExtendedTriggerMessage(MessageTrigger.sign_charge_point_certificate)
    assert (await it.central.call(trigger)).status == "Accepted"
    before = len(it.central.all("SignCertificate"))
    while len(it.central.all("SignCertificate")) == before:  # noqa: ASYNC110 - at once, or never
        await asyncio.sleep(0.1)
    return str(it.central.all("SignCertificate")[-1]["csr"])


async def signed(it: Bench, chain: str) -> str:
    return str((await it.central.call(call.CertificateSigned(chain))).status)


def test_a_new_certificate_is_asked_for_and_used(tmp_path: Path) -> None:
    root = Authority()

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await install(it, root.pem)
            text = await asked_for(it)
            request = x509.load_pem_x509_csr(text.encode())
            assert request.is_signature_valid
            assert isinstance(request.signature_hash_algorithm, hashes.SHA256)
            subject = {attribute.oid: attribute.value for attribute in request.subject}
            assert subject == {NameOID.COMMON_NAME: "CP_1", NameOID.ORGANIZATION_NAME: "Operator"}
            chain = root.sign_request(text)
            assert it.store.own(EPOCH) is None
            assert await signed(it, chain) == "Accepted"
            await asyncio.sleep(1)
            assert len(it.connected_anew_s) == 1
            assert await signed(it, chain) == "Rejected"  # the key has its certificate
        async with bench(tmp_path) as it:
            written = it.store.write_own(tmp_path, EPOCH)
            assert written is not None
            certificate, key = written
            assert certificate.read_text() == chain
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
            private_key = load_pem_private_key(key.read_bytes(), None)
            assert private_key.public_key() == request.public_key()

    play(test())


def test_an_intermediate_authority_is_believed(tmp_path: Path) -> None:
    root = Authority()
    below = Authority("below", issuer=root)

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await install(it, root.pem)
            text = await asked_for(it)
            assert await signed(it, below.sign_request(text)) == "Rejected"
            assert await signed(it, below.sign_request(text) + below.pem) == "Accepted"

    play(test())


def test_a_certificate_of_tomorrow_is_used_from_tomorrow_on(tmp_path: Path) -> None:
    root = Authority()
    tomorrow = EPOCH + timedelta(days=1)

    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await install(it, root.pem)
            today = root.sign_request(await asked_for(it))
            assert await signed(it, today) == "Accepted"
            chain = root.sign_request(await asked_for(it), start=tomorrow)
            assert await signed(it, chain) == "Accepted"
            now, then = it.store.own(it.now()), it.store.own(tomorrow)
            assert now is not None
            assert then is not None
            assert (now[0], then[0]) == (today, chain)
            await asyncio.sleep(100_000)
            assert it.connected_anew_s[1:] == [pytest.approx(86_400)]

    play(test())


def bad_chains() -> dict[str, Callable[[Authority, str], str]]:
    def for_another_key(root: Authority, _: str) -> str:
        return pem(root.issue(ec_key().public_key(), name("CP_1", "Operator")))

    def below_a_leaf(root: Authority, text: str) -> str:
        leaf = Authority("leaf", issuer=root, ca=False)
        return leaf.sign_request(text) + leaf.pem

    def too_deep(root: Authority, text: str) -> str:
        last = Authority("last", issuer=root, path_length=0)
        below = Authority("below", issuer=last)
        return below.sign_request(text) + below.pem + last.pem

    def for_servers(root: Authority, text: str) -> str:
        request = x509.load_pem_x509_csr(text.encode())
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        purpose = ExtendedKeyUsageOID.SERVER_AUTH
        return pem(root.issue(key, request.subject, purpose=purpose))

    return {
        "no certificate": lambda *_: "garbage",
        "another key": for_another_key,
        "another authority": lambda _, text: Authority().sign_request(text),
        "another charge point": lambda root, text: root.sign_request(
            text, name("CP_2", "Operator")
        ),
        "another operator": lambda root, text: root.sign_request(text, name("CP_1", "Rival")),
        "expired": lambda root, text: root.sign_request(text, start=YEARS_AGO, end=EPOCH),
        "signed by no authority": below_a_leaf,
        "too deep": too_deep,
        "for servers": for_servers,
    }


@pytest.mark.parametrize("what", bad_chains())
def test_a_bad_certificate_is_refused_and_told(tmp_path: Path, what: str) -> None:
    root = Authority()

    async def test() -> None:
        async with bench(tmp_path) as it:
            it.security_profile = 1
            await it.connect()
            await install(it, root.pem)
            text = await asked_for(it)
            await asyncio.sleep(1)
            assert await signed(it, bad_chains()[what](root, text)) == "Rejected"
            assert await events(it) == ["InvalidChargePointCertificate"]
            assert it.store.own(LATER) is None
            assert not it.connected_anew_s
            assert await signed(it, root.sign_request(text)) == "Accepted"  # still waited for

    play(test())


ROOT = Authority("root", key=rsa_key())
LEAF_KEY = ec_key()
LEAF = ROOT.issue(
    LEAF_KEY.public_key(),
    name("CP_1"),
    address="127.0.0.1",
    purpose=ExtendedKeyUsageOID.CODE_SIGNING,
)
BYTES = {
    "root": ROOT.certificate.public_bytes(Encoding.DER),
    "leaf": LEAF.public_bytes(Encoding.DER),
    "revocations": x509.load_pem_x509_crl(ROOT.revoke(LEAF)).public_bytes(Encoding.DER),
}


@settings(max_examples=300, deadline=None)
@given(
    what=st.sampled_from(sorted(BYTES)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_whatever_bytes_come_they_are_judged(what: str, changes: list[tuple[int, int]]) -> None:
    content = bytearray(BYTES[what])
    for place, byte in changes:
        content[place % len(content)] = byte
    text = base64.encodebytes(content).decode()
    damaged = f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"
    with closing(open_database(IN_MEMORY, "")) as database:
        store = CertificateStore(database)
        for use in CertificateUse:
            store.add_root(use, ROOT.pem)
        checks = CertificateChecks(store, lambda: EPOCH)
        with contextlib.suppress(CertificateError):
            if what == "root":
                checks.hash_data(checks.root(damaged))
            elif what == "revocations":
                checks.signing_chain(pem(LEAF), bytes(content))
            else:
                checks.is_signature(damaged, "", b"")
                checks.signing_chain(damaged, ROOT.revoke(LEAF))
                checks.own_chain(damaged, key_pem(LEAF_KEY), "CP_1", "")


# ── Without the package ──────────────────────────────────────────────────────────────────────


def test_without_cryptography_all_is_refused_with_a_word_on_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "evsim.charge_point.certificate_checks", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    hash_data = {
        "hash_algorithm": "SHA256",
        "issuer_name_hash": "0",
        "issuer_key_hash": "0",
        "serial_number": "0",
    }

    async def test() -> None:
        async with bench(tmp_path) as it:
            it.security_profile = 1
            await it.connect()
            it.store.add_root(CENTRAL, "installed before")
            assert await install(it, "a certificate") == "Rejected"
            assert await delete(it, hash_data) == "Failed"
            assert await named(it) == []
            assert await signed(it, "a chain") == "Rejected"
            sign = MessageTrigger.sign_charge_point_certificate
            answer = await it.central.call(call.ExtendedTriggerMessage(sign))
            assert answer.status == "Rejected"
            firmware = {
                "location": "file:///a",
                "retrieve_date_time": "2020-01-01T00:00:00Z",
                "signing_certificate": "a certificate",
                "signature": "a signature",
            }
            answer = await it.central.call(call.SignedUpdateFirmware(1, firmware))
            assert answer.status == "Rejected"
            assert await events(it) == []
            hints = [line for line in it.recent.lines() if "pip install -e '.[security]'" in line]
            assert len(hints) == 6

    play(test())


def test_a_store_names_the_newest_valid_one() -> None:
    database = open_database(IN_MEMORY, "")
    store = CertificateStore(database)
    assert store.write_own(Path("unused"), EPOCH) is None
    database.close()
