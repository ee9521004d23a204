"""The compliance tool's cases for a charge point: remote starts and stops, resets, unlocking.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_bench.py.
"""

from __future__ import annotations

import pytest
from ocpp.exceptions import OCPPError
from ocpp.v16 import call
from ocpp.v16.enums import ResetType
from octt_bench import BROKEN_LOCK, FIXED, Bench, octt

from evsim.ocpp_wire import error_code

AUTHORIZE_FIRST = {"AuthorizeRemoteTxRequests": "true"}

# ── Remote start ─────────────────────────────────────────────────────────────────────────────


@octt()
async def test_tc_010_cs_remote_start_with_the_cable_in(it: Bench) -> None:
    await it.plug()
    await it.ask("Accepted", call.RemoteStartTransaction("TAG", 1))
    await it.started()


@octt(configuration=AUTHORIZE_FIRST)
async def test_tc_010_cs_remote_start_with_the_cable_in_authorizes_first(it: Bench) -> None:
    await it.plug()
    await it.ask("Accepted", call.RemoteStartTransaction("TAG", 1))
    await it.central.expect("Authorize", id_tag="TAG")
    await it.started()


@octt()
async def test_tc_011_1_cs_remote_start_first(it: Bench) -> None:
    await it.ask("Accepted", call.RemoteStartTransaction("TAG"))
    await it.central.status("Preparing")
    await it.central.silence(10)
    it.cp.plug()
    await it.started()


@octt(configuration={"ConnectionTimeOut": "20"})
async def test_tc_011_2_cs_remote_start_and_no_cable_in_time(it: Bench) -> None:
    await it.ask("Accepted", call.RemoteStartTransaction("TAG", 1))
    await it.central.status("Preparing")
    preparing_s = it.loop.time()
    await it.central.status("Available")
    assert it.loop.time() - preparing_s == pytest.approx(20, abs=0.5)
    await it.central.silence(60)


@octt(configuration=AUTHORIZE_FIRST)
async def test_tc_023_5_cs_invalid_tag_remotely(it: Bench) -> None:
    it.central.tags = {"BAD": {"status": "Invalid"}}
    await it.plug()
    await it.ask("Accepted", call.RemoteStartTransaction("BAD", 1))
    await it.central.expect("Authorize", id_tag="BAD")
    await it.central.silence(60)
    assert it.current_a == 0


@octt()
async def test_tc_026_cs_remote_start_during_a_transaction(it: Bench) -> None:
    transaction_id = await it.start()
    await it.ask("Rejected", call.RemoteStartTransaction("OTHER", 1))
    await it.ask("Rejected", call.RemoteStartTransaction("TAG"))
    await it.central.silence(30)
    await it.stop(transaction_id)


@octt()
async def test_tc_027_cs_remote_start_on_connector_0(it: Bench) -> None:
    try:
        answer = await it.central.call(call.RemoteStartTransaction("TAG", 0))
    except OCPPError as error:
        assert error_code(error) == "PropertyConstraintViolation"  # noqa: PT017 - one of two right answers
    else:
        assert answer.status == "Rejected"
    it.cp.plug()
    await it.central.status("Preparing")
    await it.central.silence(60)


# ── Remote stop ──────────────────────────────────────────────────────────────────────────────


@octt()
async def test_tc_012_cs_remote_stop(it: Bench) -> None:
    transaction_id = await it.start()
    await it.ask("Accepted", call.RemoteStopTransaction(transaction_id))
    stop = await it.stopped(transaction_id, "Remote")
    assert stop["meter_stop"] >= it.central.all("StartTransaction")[0]["meter_start"]
    await it.unplug()


@octt()
async def test_tc_028_cs_remote_stop_of_another_transaction(it: Bench) -> None:
    await it.ask("Rejected", call.RemoteStopTransaction(1))
    transaction_id = await it.start()
    await it.ask("Rejected", call.RemoteStopTransaction(transaction_id + 1))
    await it.central.silence(30)
    await it.stop(transaction_id)


# ── Resets ───────────────────────────────────────────────────────────────────────────────────


async def reset_without_a_transaction(it: Bench, kind: ResetType) -> None:
    asked_s = it.loop.time()
    await it.ask("Accepted", call.Reset(kind))
    await it.booted("Available", "Available")
    assert it.loop.time() - asked_s >= 2.0  # it takes its time to boot
    await it.start()


@octt()
async def test_tc_013_cs_hard_reset(it: Bench) -> None:
    await reset_without_a_transaction(it, ResetType.hard)


@octt()
async def test_tc_014_cs_soft_reset(it: Bench) -> None:
    await reset_without_a_transaction(it, ResetType.soft)


@octt()
async def test_tc_015_cs_hard_reset_during_a_transaction(it: Bench) -> None:
    transaction_id = await it.start()
    await it.ask("Accepted", call.Reset(ResetType.hard))
    await it.stopped(transaction_id, "HardReset")
    await it.booted("Available", "Finishing")  # the cable is still in
    assert it.current_a == 0
    await it.central.silence(60)
    await it.unplug()


@octt()
async def test_tc_016_cs_soft_reset_during_a_transaction(it: Bench) -> None:
    transaction_id = await it.start()
    await it.ask("Accepted", call.Reset(ResetType.soft))
    await it.stopped(transaction_id, "SoftReset")
    await it.booted("Available", "Finishing")  # the cable is still in
    assert it.current_a == 0
    await it.central.silence(60)
    await it.unplug()


# ── Unlocking ────────────────────────────────────────────────────────────────────────────────


@octt()
async def test_tc_017_1_cs_unlock_without_a_session(it: Bench) -> None:
    await it.ask("Unlocked", call.UnlockConnector(1))
    await it.plug()
    await it.ask("Unlocked", call.UnlockConnector(1))


@octt(hardware=FIXED)
async def test_tc_017_2_cs_unlock_a_fixed_cable_without_a_session(it: Bench) -> None:
    await it.ask("NotSupported", call.UnlockConnector(1))
    await it.central.silence(30)


@octt()
async def test_tc_018_1_cs_unlock_during_a_session(it: Bench) -> None:
    transaction_id = await it.start()
    await it.ask("Unlocked", call.UnlockConnector(1))
    await it.stopped(transaction_id, "UnlockCommand")
    await it.unplug()


@octt(hardware=FIXED)
async def test_tc_018_2_cs_unlock_a_fixed_cable_during_a_session(it: Bench) -> None:
    transaction_id = await it.start()
    await it.ask("NotSupported", call.UnlockConnector(1))
    await it.central.silence(30)
    await it.stop(transaction_id)


@octt(hardware=BROKEN_LOCK)
async def test_tc_030_cs_unlock_failure(it: Bench) -> None:
    await it.plug()
    await it.ask("UnlockFailed", call.UnlockConnector(1))


@octt()
async def test_tc_031_cs_unlock_an_unknown_connector(it: Bench) -> None:
    for connector_id in (0, 2, 99):
        await it.ask("NotSupported", call.UnlockConnector(connector_id))
    await it.central.silence(30)
