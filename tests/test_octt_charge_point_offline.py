"""The compliance tool's cases for a charge point: without power, and without a connection.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_bench.py.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call
from ocpp.v16.enums import AvailabilityType, UpdateType
from octt_bench import Bench, octt
from octt_central import Message, wanted, wanted_status

from evsim.charge_point.hardware import Cable, Hardware
from evsim.clock import from_ocpp

OUTAGE_S = 20.0
SOON_DARK = Hardware(cable=Cable.BY_HAND, outage_s=OUTAGE_S)


def stamp(payload: dict[str, Any]) -> datetime:
    return from_ocpp(payload["timestamp"])


async def online_again(it: Bench, status: str, *transaction_messages: str) -> None:
    """Reconnect: the current statuses, and what waited, in the order in which it happened."""
    first = len(it.central.got)
    it.go_online()
    await it.central.expect_each(
        wanted_status("Available", 0),
        wanted_status(status),
        *(wanted(action) for action in transaction_messages),
    )
    came = it.central.got[first:]
    assert "BootNotification" not in [message.action for message in came]
    assert about_the_transaction(came) == [*transaction_messages]


# ── Power failures ───────────────────────────────────────────────────────────────────────────


@octt(hardware=SOON_DARK)
async def test_tc_032_1_cs_stopped_before_going_down(it: Bench) -> None:
    transaction_id = await it.start()
    await asyncio.sleep(30)
    it.cp.power_cut(announced=True)
    stop = await it.stopped(transaction_id, "PowerLoss")
    stopped_s = it.loop.time()
    assert (it.now() - stamp(stop)).total_seconds() < 1
    await it.central.expect("BootNotification")
    assert it.loop.time() - stopped_s >= OUTAGE_S - 1
    assert it.current_a == 0
    await it.central.status("Available", 0)
    await it.central.status("Preparing")
    assert len(it.central.all("StopTransaction")) == 1


@octt(hardware=SOON_DARK)
async def test_tc_032_2_cs_stopped_after_the_boot(it: Bench) -> None:
    transaction_id = await it.start()
    (start,) = it.central.all("StartTransaction")
    await asyncio.sleep(30)
    dark_s = it.loop.time()
    it.cp.power_cut()
    await it.central.expect("BootNotification")
    assert it.loop.time() - dark_s >= OUTAGE_S
    assert it.current_a == 0
    stop, _, _ = await it.central.expect_each(
        wanted("StopTransaction", transaction_id=transaction_id, reason="PowerLoss"),
        wanted_status("Available", 0),
        wanted_status("Preparing"),
    )
    energy_wh = stop.payload["meter_stop"] - start["meter_start"]
    assert energy_wh == pytest.approx(150 * 400 * 30 / 3600, rel=0.1)
    await it.central.silence(60)


@octt(hardware=SOON_DARK)
@pytest.mark.parametrize("connector_id", [0, 1])
async def test_tc_034_cs_unavailable_after_a_power_failure(it: Bench, connector_id: int) -> None:
    statuses = ["Unavailable" if connector_id == 0 else "Available", "Unavailable"]
    await it.ask("Accepted", call.ChangeAvailability(connector_id, AvailabilityType.inoperative))
    changed = [wanted_status(s, n) for n, s in enumerate(statuses) if s == "Unavailable"]
    await it.central.expect_each(*changed)
    it.cp.power_cut()
    await it.booted(*statuses)
    await it.ask("Rejected", call.RemoteStartTransaction("TAG", 1))
    await it.ask("Accepted", call.ChangeAvailability(connector_id, AvailabilityType.operative))
    await it.central.expect_each(
        *(wanted_status("Available", what.fields["connector_id"]) for what in changed)  # type: ignore[arg-type]
    )
    await it.start()


def test_tc_034_cs_unavailable_after_another_start_of_the_program(tmp_path: Path) -> None:
    @octt(state=tmp_path / "cp.sqlite")
    async def before(it: Bench) -> None:
        await it.ask("Accepted", call.ChangeAvailability(1, AvailabilityType.inoperative))
        await it.central.status("Unavailable")

    @octt(state=tmp_path / "cp.sqlite", boot=False)
    async def after(it: Bench) -> None:
        it.go_online()
        await it.booted("Available", "Unavailable")

    before()
    after()


# ── Connection lost ──────────────────────────────────────────────────────────────────────────


@octt(configuration={"MeterValueSampleInterval": "10"})
async def test_tc_036_cs_meter_values_of_an_offline_time_come_in_order(it: Bench) -> None:
    transaction_id = await it.start()
    (start,) = it.central.all("StartTransaction")
    await asyncio.sleep(60)
    await it.go_offline()
    sent_before = len(it.central.all("MeterValues"))
    await asyncio.sleep(120)
    assert it.current_a > 0
    await online_again(it, "Charging")
    await asyncio.sleep(60)
    values = it.central.all("MeterValues")
    assert len(values) > sent_before + 15
    assert {value["transaction_id"] for value in values} == {transaction_id}
    samples = [sample for value in values for sample in value["meter_value"]]
    elapsed_s = [(stamp(sample) - stamp(start)).total_seconds() for sample in samples]
    gaps_s = [b - a for a, b in zip([0, *elapsed_s], elapsed_s, strict=False)]
    assert gaps_s[1:] == pytest.approx([10] * (len(gaps_s) - 1), abs=0.1)
    await it.stop(transaction_id)


@octt(configuration={"LocalPreAuthorize": "false", "AllowOfflineTxForUnknownId": "true"})
async def test_tc_037_1_cs_started_offline_with_a_valid_tag(it: Bench) -> None:
    await it.go_offline()
    it.cp.plug()
    began = it.now()
    await it.cp.tag("TAG")
    await asyncio.sleep(60)
    assert it.current_a > 0
    await online_again(it, "Charging", "StartTransaction")
    (start,) = it.central.all("StartTransaction")
    assert start["id_tag"] == "TAG"
    assert (stamp(start) - began).total_seconds() < 5
    assert not it.central.all("Authorize")
    await it.central.silence(60)
    assert it.current_a > 0
    await it.stop(it.central.next_transaction_id - 1)


@octt()
async def test_tc_037_1_cs_started_offline_with_a_listed_tag_and_no_other(it: Bench) -> None:
    listed = {"id_tag": "TAG", "id_tag_info": {"status": "Accepted"}}
    await it.ask("Accepted", call.SendLocalList(1, UpdateType.full, [listed]))
    await it.go_offline()
    it.cp.plug()
    await it.cp.tag("UNKNOWN")
    await asyncio.sleep(30)
    assert it.current_a == 0
    await it.cp.tag("TAG")
    await asyncio.sleep(30)
    assert it.current_a > 0
    await online_again(it, "Charging", "StartTransaction")
    assert [start["id_tag"] for start in it.central.all("StartTransaction")] == ["TAG"]


async def start_offline_with_an_invalid_tag(it: Bench) -> list[Message]:
    """Charge offline; give what comes in the first minute after that."""
    it.central.tags = {"BAD": {"status": "Invalid"}}
    await it.go_offline()
    it.cp.plug()
    await it.cp.tag("BAD")
    await asyncio.sleep(60)
    assert it.current_a > 0
    first = len(it.central.got)
    it.go_online()
    await asyncio.sleep(60)
    assert it.current_a == 0
    it.central.pass_over()
    return it.central.got[first:]


def last_status(messages: list[Message]) -> str:
    told = [m.payload for m in messages if m.action == "StatusNotification"]
    return str([payload for payload in told if payload["connector_id"] == 1][-1]["status"])


def about_the_transaction(messages: list[Message]) -> list[str]:
    return [m.action for m in messages if m.action.endswith("Transaction")]


@octt(configuration={"AllowOfflineTxForUnknownId": "true", "StopTransactionOnInvalidId": "false"})
async def test_tc_037_2_cs_started_offline_with_an_invalid_tag_and_kept(it: Bench) -> None:
    came = await start_offline_with_an_invalid_tag(it)
    assert about_the_transaction(came) == ["StartTransaction"]
    assert last_status(came) == "SuspendedEVSE"  # it stays, but delivers nothing
    await it.central.silence(120)
    assert it.current_a == 0
    await it.stop(it.central.next_transaction_id - 1)


@octt(configuration={"AllowOfflineTxForUnknownId": "true", "StopTransactionOnInvalidId": "true"})
async def test_tc_037_3_cs_started_offline_with_an_invalid_tag_and_stopped(it: Bench) -> None:
    came = await start_offline_with_an_invalid_tag(it)
    assert about_the_transaction(came) == ["StartTransaction", "StopTransaction"]
    (stop,) = it.central.all("StopTransaction")
    assert stop["transaction_id"] == it.central.next_transaction_id - 1
    assert stop["reason"] == "DeAuthorized"
    assert last_status(came) == "Finishing"
    await it.unplug()


@octt()
async def test_tc_038_cs_stopped_offline(it: Bench) -> None:
    transaction_id = await it.start()
    await it.go_offline()
    await asyncio.sleep(60)
    stopped = it.now()
    await it.cp.tag("TAG")
    await asyncio.sleep(60)
    assert it.current_a == 0
    await online_again(it, "Finishing", "StopTransaction")
    (stop,) = it.central.all("StopTransaction")
    assert stop["transaction_id"] == transaction_id
    assert stop.get("reason", "Local") == "Local"
    assert abs((stamp(stop) - stopped).total_seconds()) < 1
    await it.unplug()


@octt(configuration={"AllowOfflineTxForUnknownId": "true"})
async def test_tc_039_cs_a_whole_transaction_offline(it: Bench) -> None:
    await it.go_offline()
    it.cp.plug()
    await it.cp.tag("TAG")
    began = it.now()
    await asyncio.sleep(60)
    await it.cp.tag("TAG")
    await asyncio.sleep(10)
    it.cp.unplug()
    await asyncio.sleep(60)
    await online_again(it, "Available", "StartTransaction", "StopTransaction")
    (start,), (stop,) = it.central.all("StartTransaction"), it.central.all("StopTransaction")
    assert stop["transaction_id"] == it.central.next_transaction_id - 1
    assert stop.get("reason", "Local") == "Local"
    assert abs((stamp(start) - began).total_seconds()) < 1
    assert (stamp(stop) - stamp(start)).total_seconds() == pytest.approx(60, abs=1)
    energy_wh = stop["meter_stop"] - start["meter_start"]
    assert energy_wh == pytest.approx(150 * 400 * 60 / 3600, rel=0.05)
    await it.central.silence(60)
