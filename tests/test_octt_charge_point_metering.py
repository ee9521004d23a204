"""The compliance tool's cases for a charge point: configuration, meter values, triggers.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_bench.py.
"""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime
from typing import Any

import pytest
from ocpp.v16 import call
from ocpp.v16.enums import MessageTrigger
from octt_bench import Bench, octt

from evsim.clock import from_ocpp

#: What OCPP 1.6, section 9, wants of a charge point with our feature profiles: key, read-only.
REQUIRED_KEYS = {
    "AuthorizeRemoteTxRequests": False,
    "ClockAlignedDataInterval": False,
    "ConnectionTimeOut": False,
    "ConnectorPhaseRotation": False,
    "GetConfigurationMaxKeys": True,
    "HeartbeatInterval": False,
    "LocalAuthorizeOffline": False,
    "LocalPreAuthorize": False,
    "MeterValuesAlignedData": False,
    "MeterValuesSampledData": False,
    "MeterValueSampleInterval": False,
    "NumberOfConnectors": True,
    "ResetRetries": False,
    "StopTransactionOnEVSideDisconnect": False,
    "StopTransactionOnInvalidId": False,
    "StopTxnAlignedData": False,
    "StopTxnSampledData": False,
    "SupportedFeatureProfiles": True,
    "TransactionMessageAttempts": False,
    "TransactionMessageRetryInterval": False,
    "UnlockConnectorOnEVSideDisconnect": False,
    "LocalAuthListEnabled": False,
    "LocalAuthListMaxLength": True,
    "SendLocalListMaxLength": True,
    "ChargeProfileMaxStackLevel": True,
    "ChargingScheduleAllowedChargingRateUnit": True,
    "ChargingScheduleMaxPeriods": True,
    "MaxChargingProfilesInstalled": True,
}

# ── Configuration ────────────────────────────────────────────────────────────────────────────


@octt()
async def test_tc_019_cs_read_all_keys(it: Bench) -> None:
    answer = await it.central.call(call.GetConfiguration())
    read_only = {entry["key"]: entry["readonly"] for entry in answer.configuration_key}
    assert len(read_only) == len(answer.configuration_key)
    assert read_only.items() >= REQUIRED_KEYS.items()
    assert not answer.unknown_key


@octt()
async def test_tc_019_cs_read_some_keys(it: Bench) -> None:
    profiles = await it.get("SupportedFeatureProfiles")
    assert profiles is not None
    assert {word.strip() for word in profiles.split(",")} == {
        "Core",
        "FirmwareManagement",
        "LocalAuthListManagement",
        "Reservation",
        "SmartCharging",
        "RemoteTrigger",
    }
    answer = await it.central.call(call.GetConfiguration(["NumberOfConnectors", "Nothing"]))
    assert answer.configuration_key == [
        {"key": "NumberOfConnectors", "readonly": True, "value": "1"}
    ]
    assert answer.unknown_key == ["Nothing"]


@octt()
async def test_tc_021_cs_change_a_key(it: Bench) -> None:
    await it.set(MeterValueSampleInterval="15", LocalPreAuthorize="true")
    assert await it.get("MeterValueSampleInterval") == "15"
    assert await it.get("LocalPreAuthorize") == "true"


@octt()
async def test_tc_040_1_cs_change_an_unknown_key(it: Bench) -> None:
    await it.ask("NotSupported", call.ChangeConfiguration("Nothing", "1"))
    assert await it.get("Nothing") is None


@octt()
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MeterValueSampleInterval", "-1"),
        ("MeterValueSampleInterval", "often"),
        ("MeterValuesSampledData", "Energy.Active.Import.Register,Nothing"),
        ("LocalPreAuthorize", "perhaps"),
        ("NumberOfConnectors", "2"),
    ],
)
async def test_tc_040_2_cs_change_a_key_to_nonsense(it: Bench, key: str, value: str) -> None:
    before = await it.get(key)
    await it.ask("Rejected", call.ChangeConfiguration(key, value))
    assert await it.get(key) == before


# ── Meter values ─────────────────────────────────────────────────────────────────────────────


def meter_samples(
    it: Bench, transaction_id: int, context: str
) -> list[tuple[datetime, dict[str, str]]]:
    """Give the meter values of the transaction: time, and value by measurand."""
    found = []
    for told in it.central.all("MeterValues"):
        assert told["connector_id"] == 1
        assert told["transaction_id"] == transaction_id
        for entry in told["meter_value"]:
            values: list[dict[str, Any]] = entry["sampled_value"]
            assert {v.get("context", "Sample.Periodic") for v in values} == {context}
            by_measurand = {
                v.get("measurand", "Energy.Active.Import.Register"): v["value"] for v in values
            }
            found.append((from_ocpp(entry["timestamp"]), by_measurand))
    return found


@octt(
    configuration={
        "MeterValueSampleInterval": "10",
        "MeterValuesSampledData": "Energy.Active.Import.Register,Current.Import",
    }
)
async def test_tc_070_cs_sampled_meter_values(it: Bench) -> None:
    transaction_id = await it.start()
    began = it.now()
    await asyncio.sleep(65)
    await it.stop(transaction_id)
    await asyncio.sleep(60)
    samples = meter_samples(it, transaction_id, "Sample.Periodic")
    assert len(samples) == 6
    for (earlier, _), (later, _) in itertools.pairwise([(began, {}), *samples]):
        assert (later - earlier).total_seconds() == pytest.approx(10, abs=0.5)
    energies_wh = [float(v["Energy.Active.Import.Register"]) for _, v in samples]
    for earlier_wh, later_wh in itertools.pairwise(energies_wh):
        assert later_wh - earlier_wh == pytest.approx(150 * 400 * 10 / 3600, rel=0.02)
    for _, values in samples:
        assert values.keys() == {"Energy.Active.Import.Register", "Current.Import"}
        assert float(values["Current.Import"]) == pytest.approx(150)


@octt(
    configuration={
        "ClockAlignedDataInterval": "30",
        "MeterValuesAlignedData": "Energy.Active.Import.Register",
    }
)
async def test_tc_071_cs_clock_aligned_meter_values(it: Bench) -> None:
    await asyncio.sleep(7)  # the clock counts, not the session
    transaction_id = await it.start()
    first = len(it.central.got)
    await asyncio.sleep(95)
    del it.central.got[: first - 1]
    it.central.pass_over()
    samples = meter_samples(it, transaction_id, "Sample.Clock")
    assert len(samples) == 3
    for at, values in samples:
        assert at.second % 30 == 0
        assert at.microsecond == 0
        assert values.keys() == {"Energy.Active.Import.Register"}
    await it.stop(transaction_id)


# ── Triggers ─────────────────────────────────────────────────────────────────────────────────


@octt()
async def test_tc_054_cs_each_message_can_be_triggered(it: Bench) -> None:
    await it.ask("Accepted", call.TriggerMessage(MessageTrigger.meter_values, 1))
    told = await it.central.expect("MeterValues", connector_id=1)
    contexts = {v.get("context") for e in told["meter_value"] for v in e["sampled_value"]}
    assert contexts == {"Trigger"}
    await it.ask("Accepted", call.TriggerMessage(MessageTrigger.heartbeat))
    await it.central.expect("Heartbeat")
    await it.ask("Accepted", call.TriggerMessage(MessageTrigger.status_notification, 1))
    await it.central.status("Available")
    trigger = MessageTrigger.diagnostics_status_notification
    await it.ask("Accepted", call.TriggerMessage(trigger))
    await it.central.expect("DiagnosticsStatusNotification", status="Idle")
    await it.ask("Accepted", call.TriggerMessage(MessageTrigger.firmware_status_notification))
    await it.central.expect("FirmwareStatusNotification", status="Idle")
    await it.ask("Accepted", call.TriggerMessage(MessageTrigger.boot_notification))
    await it.central.expect("BootNotification")


@octt()
async def test_tc_054_cs_meter_values_of_a_transaction_name_it(it: Bench) -> None:
    transaction_id = await it.start()
    await asyncio.sleep(10)
    await it.ask("Accepted", call.TriggerMessage(MessageTrigger.meter_values, 1))
    await it.central.expect("MeterValues", connector_id=1, transaction_id=transaction_id)
    await it.ask("Accepted", call.TriggerMessage(MessageTrigger.status_notification, 1))
    await it.central.status("Charging")


@octt()
async def test_tc_055_cs_a_trigger_for_an_unknown_connector(it: Bench) -> None:
    for trigger in (MessageTrigger.meter_values, MessageTrigger.status_notification):
        await it.ask("Rejected", call.TriggerMessage(trigger, 2))
    await it.central.silence(30)
    assert not it.central.all("MeterValues")
