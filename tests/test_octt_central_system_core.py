"""The compliance tool's cases for a central system: what a charge point says (Core profile)."""

from __future__ import annotations

from datetime import timedelta

from ocpp.v16.enums import AuthorizationStatus
from octt_central_bench import TAG, Bench, moment, octt

from evsim.central_system.id_tags import IdTag


@octt
async def test_tc_001_csms_cold_boot(it: Bench) -> None:
    answer = await it.boot()
    assert answer["status"] == "Accepted"
    assert answer["interval"] > 0
    assert moment(answer["currentTime"]) == it.now()
    for _ in range(3):
        await it.tool.nothing_for(answer["interval"])
        heartbeat = await it.tool.call("Heartbeat")
        assert abs(moment(heartbeat["currentTime"]) - it.now()) < timedelta(milliseconds=1)


@octt
async def test_tc_003_csms_plug_in_first(it: Bench) -> None:
    await it.status("Preparing")
    await it.authorize()
    transaction_id = await it.start()
    await it.status("Charging")
    started = it.recorded(transaction_id)
    assert (started.id_tag, started.connector_id, started.meter_start_wh) == (TAG, 1, 100)
    await it.authorize()
    await it.stop(transaction_id, idTag=TAG)
    await it.leave()
    assert it.ledger.open_transactions("CP_1") == []


@octt
async def test_tc_004_1_csms_identification_first(it: Bench) -> None:
    await it.authorize()
    await it.status("Preparing")
    transaction_id = await it.start()
    assert transaction_id > 0
    await it.status("Charging")
    assert it.ledger.open_transactions("CP_1") == [transaction_id]


@octt
async def test_tc_004_2_csms_connection_time_out(it: Bench) -> None:
    await it.authorize()
    await it.status("Preparing")
    await it.tool.nothing_for(60)
    await it.status("Available")
    assert it.ledger.transactions("CP_1") == []
    await it.stop(await it.charging())  # nothing of it is left in the way


@octt
async def test_tc_005_1_csms_ev_side_disconnect(it: Bench) -> None:
    transaction_id = await it.charging()
    await it.status("SuspendedEV")
    await it.stop(transaction_id, "EVDisconnected")
    await it.leave()
    assert it.ledger.open_transactions("CP_1") == []


@octt
async def test_tc_007_csms_start_with_a_cached_id(it: Bench) -> None:
    await it.status("Preparing")
    transaction_id = await it.start()  # without Authorize
    await it.status("Charging")
    assert it.ledger.open_transactions("CP_1") == [transaction_id]


async def show_refused_tag(it: Bench, tag: IdTag, status: str) -> None:
    it.ledger.id_tags.set(tag)
    await it.status("Preparing")
    await it.authorize(tag.id_tag, status)
    await it.status("Available")
    # Whatever the tag is, a StartTransaction gets an id and the same verdict.
    assert await it.start(tag.id_tag, status) > 0


@octt
async def test_tc_023_1_csms_authorize_invalid(it: Bench) -> None:
    await show_refused_tag(it, IdTag(TAG, AuthorizationStatus.invalid), "Invalid")


@octt
async def test_tc_023_2_csms_authorize_expired(it: Bench) -> None:
    await show_refused_tag(it, IdTag(TAG, AuthorizationStatus.expired), "Expired")
    await show_refused_tag(it, IdTag("LATER", expires_at=it.now()), "Expired")


@octt
async def test_tc_023_3_csms_authorize_blocked(it: Bench) -> None:
    await show_refused_tag(it, IdTag(TAG, AuthorizationStatus.blocked), "Blocked")


@octt
async def test_tc_024_csms_lock_failure(it: Bench) -> None:
    await it.status("Preparing")
    await it.authorize()
    await it.status("Faulted", error_code="ConnectorLockFailure")
    assert it.ledger.transactions("CP_1") == []


@octt
async def test_tc_032_1_csms_power_failure_with_a_stop(it: Bench) -> None:
    transaction_id = await it.charging()
    await it.disconnect(abruptly=True)
    await it.connect()
    assert (await it.boot())["status"] == "Accepted"
    await it.stop(transaction_id, "PowerLoss", ago_s=30)
    assert it.ledger.open_transactions("CP_1") == []


@octt
async def test_tc_037_1_csms_offline_start_with_a_valid_id(it: Bench) -> None:
    await it.disconnect(abruptly=True)
    await it.connect()
    transaction_id = await it.start(ago_s=600)
    await it.status("Charging")
    assert it.recorded(transaction_id).started_at == it.stamp(600)
    await it.meter(transaction_id, 200)
    await it.stop(transaction_id)


@octt
async def test_tc_037_3_csms_offline_start_with_an_invalid_id(it: Bench) -> None:
    it.ledger.id_tags.set(IdTag(TAG, AuthorizationStatus.invalid))
    await it.disconnect(abruptly=True)
    await it.connect()
    await it.status("Charging")
    transaction_id = await it.start(status="Invalid", ago_s=600)
    assert transaction_id > 0
    await it.stop(transaction_id, "DeAuthorized")
    await it.leave()


@octt
async def test_tc_039_csms_offline_transaction(it: Bench) -> None:
    await it.disconnect(abruptly=True)
    await it.connect()
    transaction_id = await it.start(ago_s=3600)
    for energy_wh, ago_s in ((200, 3000), (300, 2400)):
        await it.meter(transaction_id, energy_wh, ago_s)
    await it.stop(transaction_id, ago_s=1800)
    await it.status("Available")
    assert await it.start(ago_s=3600) == transaction_id, "a repetition is no new transaction"
    assert it.ledger.open_transactions("CP_1") == []


@octt
async def test_tc_064_csms_data_transfer_of_an_unknown_vendor(it: Bench) -> None:
    for said in (
        {"vendorId": "com.example.unknown"},
        {"vendorId": "com.example.unknown", "messageId": "M", "data": "x" * 5000},
        {"vendorId": "", "data": '{"json": [1, 2, 3]}'},
    ):
        answer = await it.tool.call("DataTransfer", said)
        assert answer["status"] in {"Rejected", "UnknownMessageId", "UnknownVendorId"}
