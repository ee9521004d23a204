"""The compliance tool's cases for a charge point: authorization cache and local list.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_bench.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from ocpp.v16 import call
from ocpp.v16.enums import UpdateType
from octt_bench import Bench, octt

#: What is known of an id tag here is enough.
TRUSTED = {"LocalPreAuthorize": "true"}
TRUSTED_REMOTELY = {**TRUSTED, "AuthorizeRemoteTxRequests": "true"}
NO_LIST = [
    {"LocalAuthListEnabled": "false"},
    {"SupportedFeatureProfiles": "Core,SmartCharging"},
]


def entry(id_tag: str, status: str = "Accepted", **more: str) -> dict[str, Any]:
    return {"id_tag": id_tag, "id_tag_info": {"status": status, **more}}


async def send(
    it: Bench, status: str, version: int, kind: UpdateType, *entries: dict[str, Any]
) -> None:
    await it.ask(status, call.SendLocalList(version, kind, [*entries]))


async def version(it: Bench) -> int:
    answer = await it.central.call(call.GetLocalListVersion())
    return int(answer.list_version)


async def start_locally(it: Bench, id_tag: str, *, asks: bool) -> None:
    """Begin and end a session at the station; `asks` says whether the tag is asked for."""
    await it.plug()
    await it.cp.tag(id_tag)
    if asks:
        await it.central.expect("Authorize", id_tag=id_tag)
    await it.stop(await it.started(id_tag))


async def start_remotely(it: Bench, id_tag: str, *, asks: bool) -> None:
    await it.plug()
    await it.ask("Accepted", call.RemoteStartTransaction(id_tag, 1))
    if asks:
        await it.central.expect("Authorize", id_tag=id_tag)
    await it.stop(await it.started(id_tag))


# ── Cache ────────────────────────────────────────────────────────────────────────────────────


@octt(configuration=TRUSTED)
async def test_tc_007_1_cs_cached_tag(it: Bench) -> None:
    await start_locally(it, "TAG", asks=True)
    await start_locally(it, "TAG", asks=False)
    await start_locally(it, "OTHER", asks=True)


@octt(configuration=TRUSTED_REMOTELY)
async def test_tc_007_2_cs_cached_tag_remotely(it: Bench) -> None:
    await start_remotely(it, "TAG", asks=True)
    await start_remotely(it, "TAG", asks=False)


@octt(configuration=TRUSTED)
async def test_tc_061_1_cs_cleared_cache(it: Bench) -> None:
    await start_locally(it, "TAG", asks=True)
    await it.ask("Accepted", call.ClearCache())
    await start_locally(it, "TAG", asks=True)


@octt(configuration=TRUSTED_REMOTELY)
async def test_tc_061_2_cs_cleared_cache_remotely(it: Bench) -> None:
    await start_remotely(it, "TAG", asks=True)
    await it.ask("Accepted", call.ClearCache())
    await start_remotely(it, "TAG", asks=True)


# ── Local list ───────────────────────────────────────────────────────────────────────────────


@octt(configuration=TRUSTED)
async def test_tc_008_1_cs_listed_tag(it: Bench) -> None:
    await send(it, "Accepted", 1, UpdateType.full, entry("TAG"), entry("BAD", "Blocked"))
    await start_locally(it, "TAG", asks=False)
    it.central.tags = {"BAD": {"status": "Blocked"}}
    await it.plug()
    await it.cp.tag("BAD")
    await it.central.expect("Authorize", id_tag="BAD")  # the list may be old
    await it.central.silence(60)
    assert it.current_a == 0


@octt(configuration=TRUSTED_REMOTELY)
async def test_tc_008_2_cs_listed_tag_remotely(it: Bench) -> None:
    await send(it, "Accepted", 1, UpdateType.full, entry("TAG"))
    await start_remotely(it, "TAG", asks=False)


@pytest.mark.parametrize("configuration", NO_LIST, ids=lambda keys: next(iter(keys)))
def test_tc_042_1_cs_version_without_a_list(configuration: dict[str, str]) -> None:
    @octt(configuration=configuration)
    async def test(it: Bench) -> None:
        assert await version(it) == -1

    test()


@octt()
async def test_tc_042_2_cs_version_of_an_empty_list(it: Bench) -> None:
    assert await version(it) == 0


@octt(configuration=TRUSTED)
async def test_tc_043_cs_full_and_differential(it: Bench) -> None:
    await send(it, "Accepted", 1, UpdateType.full, entry("ONE"), entry("TWO"))
    assert await version(it) == 1
    changes = [entry("THREE"), {"id_tag": "ONE"}]
    await send(it, "Accepted", 2, UpdateType.differential, *changes)
    assert await version(it) == 2
    await start_locally(it, "ONE", asks=True)
    await start_locally(it, "TWO", asks=False)
    await start_locally(it, "THREE", asks=False)
    await send(it, "Accepted", 3, UpdateType.full)
    assert await version(it) in (0, 3)
    await start_locally(it, "FOUR", asks=True)


@pytest.mark.parametrize("configuration", NO_LIST, ids=lambda keys: next(iter(keys)))
def test_tc_043_1_cs_list_not_supported(configuration: dict[str, str]) -> None:
    @octt(configuration=configuration)
    async def test(it: Bench) -> None:
        await send(it, "NotSupported", 1, UpdateType.full, entry("TAG"))

    test()


@octt()
async def test_tc_043_2_cs_version_mismatch(it: Bench) -> None:
    await send(it, "Accepted", 5, UpdateType.full, entry("TAG"))
    for old in (4, 5):
        await send(it, "VersionMismatch", old, UpdateType.differential, entry("OTHER"))
    assert await version(it) == 5
    await send(it, "Accepted", 4, UpdateType.full, entry("TAG"))  # a whole list may go back
    assert await version(it) == 4


@octt(configuration=TRUSTED)
async def test_tc_043_3_cs_list_that_cannot_be_taken(it: Bench) -> None:
    await send(it, "Accepted", 1, UpdateType.full, entry("TAG"))
    most = int(await it.get("SendLocalListMaxLength") or 0)
    too_many = [entry(f"TAG{number}") for number in range(most + 1)]
    await send(it, "Failed", 2, UpdateType.full, *too_many)
    await send(it, "Failed", 2, UpdateType.full, entry("TWICE"), entry("TWICE"))
    await send(it, "Failed", 2, UpdateType.full, {"id_tag": "NOTHING KNOWN"})
    assert await version(it) == 1
    await start_locally(it, "TAG", asks=False)
