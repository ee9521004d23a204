"""The compliance tool's cases for a charge point: boot, sessions at the station, faults.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_bench.py.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest
from ocpp.v16 import call
from ocpp.v16.enums import MessageTrigger
from octt_bench import BROKEN_LOCK, Bench, octt

from evsim.clock import from_ocpp

# ── Boot ─────────────────────────────────────────────────────────────────────────────────────


@octt(boot=False)
async def test_tc_001_cs_cold_boot(it: Bench) -> None:
    it.central.boots = [("Rejected", 30), ("Accepted", 60)]
    it.go_online()
    boot = await it.central.expect("BootNotification")
    assert 1 <= len(boot["charge_point_vendor"]) <= 20
    assert 1 <= len(boot["charge_point_model"]) <= 20
    await it.booted("Available", "Available")
    first, second = [m.at_s for m in it.central.got if m.action == "BootNotification"]
    assert second - first == pytest.approx(30, abs=0.1)
    for told in it.central.all("StatusNotification"):
        assert from_ocpp(told["timestamp"]) <= it.now()
    await it.central.silence(185)
    beats_s = [m.at_s for m in it.central.got if m.action == "Heartbeat"]
    assert [b - a for a, b in itertools.pairwise([second, *beats_s])] == pytest.approx(
        [60, 60, 60], abs=0.1
    )


@octt(boot=False)
async def test_tc_002_cs_pending(it: Bench) -> None:
    it.central.boots = [("Pending", 60), ("Accepted", 300)]
    it.go_online()
    await it.central.expect("BootNotification")
    assert await it.get("NumberOfConnectors") == "1"
    await it.set(MeterValueSampleInterval="30")
    assert await it.get("MeterValueSampleInterval") == "30"
    await it.ask("Rejected", call.RemoteStartTransaction("TAG", 1))
    await it.central.silence(50)
    assert not it.central.all("Heartbeat")
    await it.booted("Available", "Available")


@octt(boot=False)
async def test_tc_002_cs_pending_sends_what_is_triggered(it: Bench) -> None:
    it.central.boots = [("Pending", 3600), ("Accepted", 300)]
    it.go_online()
    await it.central.expect("BootNotification")
    await it.ask("Accepted", call.TriggerMessage(MessageTrigger.status_notification, 1))
    await it.central.status("Available")
    await it.ask("Accepted", call.TriggerMessage(MessageTrigger.boot_notification))
    await it.booted("Available", "Available")


# ── A session begins ─────────────────────────────────────────────────────────────────────────


@octt()
async def test_tc_003_cs_cable_first(it: Bench) -> None:
    await it.plug()
    began = it.now()
    await it.cp.tag("TAG")
    await it.central.expect("Authorize", id_tag="TAG")
    transaction_id = await it.started()
    (start,) = it.central.all("StartTransaction")
    assert start.keys() == {"connector_id", "id_tag", "meter_start", "timestamp"}
    assert began <= from_ocpp(start["timestamp"]) <= it.now()
    await asyncio.sleep(60)
    assert it.current_a == pytest.approx(150)
    await it.stop(transaction_id)
    (stop,) = it.central.all("StopTransaction")
    energy_wh = stop["meter_stop"] - start["meter_start"]
    assert energy_wh == pytest.approx(150 * 400 * 60 / 3600, rel=0.05)


@octt()
async def test_tc_004_1_cs_id_tag_first(it: Bench) -> None:
    await it.cp.tag("TAG")
    await it.central.expect("Authorize", id_tag="TAG")
    await it.central.status("Preparing")
    await it.central.silence(10)
    it.cp.plug()
    await it.started()


@octt(configuration={"ConnectionTimeOut": "20"})
async def test_tc_004_2_cs_no_cable_in_time(it: Bench) -> None:
    await it.cp.tag("TAG")
    await it.central.expect("Authorize", id_tag="TAG")
    await it.central.status("Preparing")
    preparing_s = it.loop.time()
    await it.central.status("Available")
    assert it.loop.time() - preparing_s == pytest.approx(20, abs=0.5)
    it.cp.plug()  # too late: the tag has to be shown again
    await it.central.status("Preparing")
    await it.central.silence(60)


@octt()
async def test_tc_023_4_cs_invalid_tag(it: Bench) -> None:
    it.central.tags = {"BAD": {"status": "Invalid"}, "OLD": {"status": "Expired"}}
    await it.plug()
    for tag in it.central.tags:
        await it.cp.tag(tag)
        await it.central.expect("Authorize", id_tag=tag)
        await it.central.silence(60)
    assert it.current_a == 0


@octt(hardware=BROKEN_LOCK)
async def test_tc_024_cs_lock_failure(it: Bench) -> None:
    await it.plug()
    await it.cp.tag("TAG")
    await it.central.expect("Authorize", id_tag="TAG")
    await it.central.status("Faulted", error_code="ConnectorLockFailure")
    await it.central.silence(60)
    assert it.current_a == 0


# ── It ends ──────────────────────────────────────────────────────────────────────────────────


@octt(
    configuration={
        "StopTransactionOnEVSideDisconnect": "true",
        "UnlockConnectorOnEVSideDisconnect": "true",
    }
)
async def test_tc_005_1_cs_car_unplugged_and_connector_unlocked(it: Bench) -> None:
    transaction_id = await it.start()
    it.cp.unplug()
    await it.central.status("SuspendedEV")
    await it.stopped(transaction_id, "EVDisconnected")
    await it.central.status("Available")
    await it.central.silence(60)
    assert it.current_a == 0


@octt(
    configuration={
        "StopTransactionOnEVSideDisconnect": "true",
        "UnlockConnectorOnEVSideDisconnect": "false",
    }
)
async def test_tc_005_2_cs_car_unplugged_and_connector_locked(it: Bench) -> None:
    transaction_id = await it.start()
    it.cp.unplug()
    await it.central.status("SuspendedEV")
    await it.stopped(transaction_id, "EVDisconnected")
    await it.central.silence(60)  # the cable is held until somebody asks for it
    await it.ask("Unlocked", call.UnlockConnector(1))
    await it.central.status("Available")


@octt(configuration={"UnlockConnectorOnEVSideDisconnect": "false"})
async def test_tc_005_2_cs_the_tag_that_started_opens_the_connector(it: Bench) -> None:
    transaction_id = await it.start("TAG")
    it.cp.unplug()
    await it.central.status("SuspendedEV")
    await it.stopped(transaction_id, "EVDisconnected")
    await it.cp.tag("STRANGER")
    await asyncio.sleep(30)
    it.central.pass_over()  # whose tag it is may be asked for
    assert it.central.all("StatusNotification")[-1]["status"] == "Finishing"
    await it.cp.tag("TAG")
    await it.central.status("Available")


@octt(configuration={"StopTransactionOnEVSideDisconnect": "false"})
async def test_tc_005_3_cs_car_unplugged_and_the_transaction_stays(it: Bench) -> None:
    transaction_id = await it.start()
    it.cp.unplug()
    await it.central.status("SuspendedEV")
    await it.central.silence(60)
    assert it.current_a == 0
    it.cp.plug()
    await it.central.status("Charging")
    await asyncio.sleep(10)
    assert it.current_a > 0
    await it.stop(transaction_id)


@octt()
async def test_tc_068_cs_stopped_with_the_same_tag(it: Bench) -> None:
    transaction_id = await it.start("TAG")
    await it.cp.tag("TAG")
    await it.stopped(transaction_id, "Local", id_tag="TAG")  # and no Authorize before
    await it.unplug()


@octt()
async def test_tc_069_cs_stopped_with_a_tag_of_the_same_parent(it: Bench) -> None:
    family = {"status": "Accepted", "parent_id_tag": "FAMILY"}
    it.central.tags = {"TAG": family, "SISTER": family, "STRANGER": {"status": "Accepted"}}
    transaction_id = await it.start("TAG")
    await it.cp.tag("STRANGER")
    await it.central.expect("Authorize", id_tag="STRANGER")
    await it.central.silence(30)
    await it.cp.tag("SISTER")
    await it.central.expect("Authorize", id_tag="SISTER")
    await it.stopped(transaction_id, "Local", id_tag="SISTER")
    await it.unplug()


# ── Faults, and what nobody knows ────────────────────────────────────────────────────────────


@octt()
async def test_tc_041_cs_fault(it: Bench) -> None:
    it.cp.fault("GroundFailure")
    await it.central.status("Faulted", error_code="GroundFailure")
    await it.ask("Rejected", call.RemoteStartTransaction("TAG", 1))
    await it.cp.tag("TAG")
    await asyncio.sleep(30)
    assert not it.central.all("StartTransaction")
    it.central.pass_over()
    it.cp.clear()
    await it.central.status("Available")
    await it.start()


@octt()
async def test_tc_062_cs_data_transfer(it: Bench) -> None:
    await it.ask("UnknownVendorId", call.DataTransfer("com.example.nobody", "message", "data"))
