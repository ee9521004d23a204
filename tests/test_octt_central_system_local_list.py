"""The compliance tool's cases for a central system: the local authorization list."""

from __future__ import annotations

from typing import Any

from ocpp.v16.enums import UpdateType
from octt_central_bench import TAG, Bench, octt

ENTRIES: list[dict[str, Any]] = [
    {"id_tag": TAG, "id_tag_info": {"status": "Accepted", "parent_id_tag": "FAMILY"}},
    {"id_tag": "BLOCKED", "id_tag_info": {"status": "Blocked"}},
]
ON_THE_WIRE = [
    {"idTag": TAG, "idTagInfo": {"status": "Accepted", "parentIdTag": "FAMILY"}},
    {"idTag": "BLOCKED", "idTagInfo": {"status": "Blocked"}},
]


async def version(it: Bench, list_version: int) -> int:
    verb = it.station.local_list_version()
    asked, given = await it.gave(verb, "GetLocalListVersion", {"listVersion": list_version})
    assert asked == {}
    return given


@octt
async def test_tc_042_1_csms_local_list_version_not_supported(it: Bench) -> None:
    assert await version(it, -1) == -1


@octt
async def test_tc_042_2_csms_local_list_version_of_an_empty_list(it: Bench) -> None:
    assert await version(it, 0) == 0


@octt
async def test_tc_043_1_csms_send_local_list_not_supported(it: Bench) -> None:
    verb = it.station.send_local_list(1, ENTRIES, UpdateType.full)
    asked = await it.refused(verb, "SendLocalList", "NotSupported")
    assert asked["updateType"] == "Full"
    assert asked["listVersion"] == 1


@octt
async def test_tc_043_3_csms_send_local_list_failed(it: Bench) -> None:
    verb = it.station.send_local_list(1, ENTRIES, UpdateType.full)
    await it.refused(verb, "SendLocalList", "Failed")
    assert await version(it, 0) == 0


@octt
async def test_tc_043_4_csms_send_local_list_full(it: Bench) -> None:
    first = await version(it, 3) + 1
    verb = it.station.send_local_list(first, ENTRIES, UpdateType.full)
    asked = await it.asked(verb, "SendLocalList")
    assert asked == {
        "listVersion": 4,
        "localAuthorizationList": ON_THE_WIRE,
        "updateType": "Full",
    }
    assert await version(it, first) == first
    # An empty list clears what is there.
    verb = it.station.send_local_list(5, [], UpdateType.full)
    asked = await it.asked(verb, "SendLocalList")
    assert asked.get("localAuthorizationList", []) == []


@octt
async def test_tc_043_5_csms_send_local_list_differential(it: Bench) -> None:
    known = await version(it, 1)
    removed = {"id_tag": "BLOCKED"}  # without its info: take it off the list
    verb = it.station.send_local_list(known + 1, [ENTRIES[0], removed], UpdateType.differential)
    asked = await it.asked(verb, "SendLocalList")
    assert asked == {
        "listVersion": 2,
        "localAuthorizationList": [ON_THE_WIRE[0], {"idTag": "BLOCKED"}],
        "updateType": "Differential",
    }
    assert await version(it, 2) == 2
    verb = it.station.send_local_list(2, [ENTRIES[1]], UpdateType.differential)
    await it.refused(verb, "SendLocalList", "VersionMismatch")
