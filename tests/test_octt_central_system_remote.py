"""The compliance tool's cases for a central system: what it asks (Core and RemoteTrigger)."""

from __future__ import annotations

import asyncio

from ocpp.v16.enums import (
    AvailabilityType,
    MessageTrigger,
    ResetType,
)
from octt_central_bench import TAG, Bench, octt

# ── Remote start and stop ────────────────────────────────────────────────────────────────────


@octt
async def test_tc_010_csms_remote_start_cable_first(it: Bench) -> None:
    await it.status("Preparing")
    asked = await it.asked(it.station.remote_start(TAG), "RemoteStartTransaction")
    assert asked == {"idTag": TAG, "connectorId": 1}
    await it.authorize()
    transaction_id = await it.start()
    await it.status("Charging")
    assert await it.station.started_transaction() == transaction_id


@octt
async def test_tc_011_1_csms_remote_start_first(it: Bench) -> None:
    asked = await it.asked(it.station.remote_start(TAG), "RemoteStartTransaction")
    assert asked == {"idTag": TAG, "connectorId": 1}
    waiting = asyncio.ensure_future(it.station.started_transaction())
    await it.authorize()
    await it.status("Preparing")
    transaction_id = await it.start()
    await it.status("Charging")
    assert await waiting == transaction_id


@octt
async def test_tc_011_2_csms_remote_start_time_out(it: Bench) -> None:
    await it.asked(it.station.remote_start(TAG), "RemoteStartTransaction")
    await it.authorize()
    await it.status("Preparing")
    await it.tool.nothing_for(60)
    await it.status("Available")
    assert it.ledger.transactions("CP_1") == []
    await it.asked(it.station.remote_start(TAG), "RemoteStartTransaction")
    assert await it.start() == await it.station.started_transaction()


@octt
async def test_tc_012_csms_remote_stop(it: Bench) -> None:
    transaction_id = await it.charging()
    asked = await it.asked(it.station.remote_stop(transaction_id), "RemoteStopTransaction")
    assert asked == {"transactionId": transaction_id}
    await it.stop(transaction_id, "Remote")
    await it.leave()
    assert it.ledger.open_transactions("CP_1") == []


@octt
async def test_tc_026_csms_remote_start_rejected(it: Bench) -> None:
    await it.charging()
    asked = await it.refused(it.station.remote_start("OTHER"), "RemoteStartTransaction", "Rejected")
    assert asked == {"idTag": "OTHER", "connectorId": 1}
    assert len(it.ledger.transactions("CP_1")) == 1


@octt
async def test_tc_028_csms_remote_stop_rejected(it: Bench) -> None:
    transaction_id = await it.charging()
    verb = it.station.remote_stop(transaction_id)
    asked = await it.refused(verb, "RemoteStopTransaction", "Rejected")
    assert asked == {"transactionId": transaction_id}
    assert it.ledger.open_transactions("CP_1") == [transaction_id]


# ── Reset, availability, unlocking ───────────────────────────────────────────────────────────


async def show_reset(it: Bench, kind: ResetType) -> None:
    transaction_id = await it.charging()
    asked = await it.asked(it.station.reset(kind), "Reset")
    assert asked == {"type": kind.value}
    await it.stop(transaction_id, f"{kind.value}Reset")
    await it.disconnect()
    await it.connect()
    assert (await it.boot())["status"] == "Accepted"
    await it.refused(it.station.reset(kind), "Reset", "Rejected")


@octt
async def test_tc_013_csms_hard_reset(it: Bench) -> None:
    await show_reset(it, ResetType.hard)


@octt
async def test_tc_014_csms_soft_reset(it: Bench) -> None:
    await show_reset(it, ResetType.soft)


@octt
async def test_change_of_availability_may_be_scheduled_or_refused(it: Bench) -> None:
    for connector_id, kind, status in (
        (0, AvailabilityType.inoperative, "Accepted"),
        (1, AvailabilityType.operative, "Scheduled"),
    ):
        verb = it.station.change_availability(connector_id, kind)
        asked, answer = await it.gave(verb, "ChangeAvailability", {"status": status})
        assert asked == {"connectorId": connector_id, "type": kind.value}
        assert answer.status == status
    verb = it.station.change_availability(1, AvailabilityType.operative)
    await it.refused(verb, "ChangeAvailability", "Rejected")


@octt
async def test_tc_017_1_csms_unlock_a_detachable_cable(it: Bench) -> None:
    verb = it.station.unlock(1)
    asked, answer = await it.gave(verb, "UnlockConnector", {"status": "Unlocked"})
    assert asked == {"connectorId": 1}
    assert answer.status == "Unlocked"


@octt
async def test_tc_017_2_csms_unlock_a_fixed_cable(it: Bench) -> None:
    asked = await it.refused(it.station.unlock(1), "UnlockConnector", "NotSupported")
    assert asked == {"connectorId": 1}


@octt
async def test_tc_018_1_csms_unlock_with_a_session(it: Bench) -> None:
    transaction_id = await it.charging()
    asked = await it.asked(it.station.unlock(1), "UnlockConnector", {"status": "Unlocked"})
    assert asked == {"connectorId": 1}
    await it.stop(transaction_id, "UnlockCommand")
    await it.leave()
    assert it.ledger.open_transactions("CP_1") == []


@octt
async def test_tc_030_csms_unlock_failure(it: Bench) -> None:
    asked = await it.refused(it.station.unlock(1), "UnlockConnector", "UnlockFailed")
    assert asked == {"connectorId": 1}


@octt
async def test_tc_031_csms_unlock_an_unknown_connector(it: Bench) -> None:
    asked = await it.refused(it.station.unlock(7), "UnlockConnector", "NotSupported")
    assert asked == {"connectorId": 7}


# ── Configuration ────────────────────────────────────────────────────────────────────────────

HEARTBEAT_INTERVAL = {"key": "HeartbeatInterval", "readonly": False, "value": "10"}
PROFILES = {"key": "SupportedFeatureProfiles", "readonly": True, "value": "Core,SmartCharging"}


@octt
async def test_tc_019_1_csms_get_configuration_all_keys(it: Bench) -> None:
    keys = {"configurationKey": [HEARTBEAT_INTERVAL, PROFILES]}
    asked, answer = await it.gave(it.station.get_configuration(), "GetConfiguration", keys)
    assert asked.get("key", []) == []
    assert answer.configuration_key == keys["configurationKey"]


@octt
async def test_tc_019_2_csms_get_configuration_one_key(it: Bench) -> None:
    verb = it.station.get_configuration("SupportedFeatureProfiles")
    keys = {"configurationKey": [PROFILES]}
    asked, answer = await it.gave(verb, "GetConfiguration", keys)
    assert asked == {"key": ["SupportedFeatureProfiles"]}
    assert answer.configuration_key == [PROFILES]
    verb = it.station.get_configuration("Unheard")
    _, answer = await it.gave(verb, "GetConfiguration", {"unknownKey": ["Unheard"]})
    assert answer.unknown_key == ["Unheard"]


@octt
async def test_tc_021_csms_change_configuration(it: Bench) -> None:
    for status in ("Accepted", "RebootRequired"):
        verb = it.station.change_configuration("MeterValueSampleInterval", "60")
        asked, answer = await it.gave(verb, "ChangeConfiguration", {"status": status})
        assert asked == {"key": "MeterValueSampleInterval", "value": "60"}
        assert answer.status == status


@octt
async def test_tc_040_1_csms_change_configuration_not_supported(it: Bench) -> None:
    verb = it.station.change_configuration("Unheard", "1")
    asked = await it.refused(verb, "ChangeConfiguration", "NotSupported")
    assert asked == {"key": "Unheard", "value": "1"}


@octt
async def test_tc_040_2_csms_change_configuration_invalid_value(it: Bench) -> None:
    verb = it.station.change_configuration("MeterValueSampleInterval", "-1")
    asked = await it.refused(verb, "ChangeConfiguration", "Rejected")
    assert asked == {"key": "MeterValueSampleInterval", "value": "-1"}


@octt
async def test_tc_061_csms_clear_cache(it: Bench) -> None:
    assert await it.asked(it.station.clear_cache(), "ClearCache") == {}
    assert await it.refused(it.station.clear_cache(), "ClearCache", "Rejected") == {}


# ── Triggers ─────────────────────────────────────────────────────────────────────────────────


@octt
async def test_tc_054_csms_trigger_message(it: Bench) -> None:
    transaction_id = await it.charging()
    for message, connector_id in (
        (MessageTrigger.meter_values, 1),
        (MessageTrigger.heartbeat, None),
        (MessageTrigger.status_notification, 1),
        (MessageTrigger.diagnostics_status_notification, None),
        (MessageTrigger.firmware_status_notification, None),
        (MessageTrigger.boot_notification, None),
    ):
        asked = await it.asked(it.station.trigger(message, connector_id), "TriggerMessage")
        where = {} if connector_id is None else {"connectorId": connector_id}
        assert asked == {"requestedMessage": message.value, **where}
        match message:
            case MessageTrigger.meter_values:
                await it.meter(transaction_id, 200)
            case MessageTrigger.status_notification:
                await it.status("Charging")
            case MessageTrigger.boot_notification:
                assert (await it.boot())["status"] == "Accepted"
            case MessageTrigger.heartbeat:
                await it.tool.call("Heartbeat")
            case _:
                assert await it.tool.call(message.value, {"status": "Idle"}) == {}


@octt
async def test_tc_055_csms_trigger_message_rejected(it: Bench) -> None:
    verb = it.station.trigger(MessageTrigger.meter_values, 7)
    asked = await it.refused(verb, "TriggerMessage", "Rejected")
    assert asked == {"requestedMessage": "MeterValues", "connectorId": 7}
    verb = it.station.trigger(MessageTrigger.meter_values, 1)
    await it.refused(verb, "TriggerMessage", "NotImplemented")


@octt
async def test_data_transfer_to_a_charge_point(it: Bench) -> None:
    verb = it.station.data_transfer("com.example", "Hello", "data")
    asked, answer = await it.gave(verb, "DataTransfer", {"status": "Accepted", "data": "back"})
    assert asked == {"vendorId": "com.example", "messageId": "Hello", "data": "data"}
    assert answer.data == "back"
    verb = it.station.data_transfer("com.example")
    assert await it.refused(verb, "DataTransfer", "UnknownVendorId") == {"vendorId": "com.example"}
