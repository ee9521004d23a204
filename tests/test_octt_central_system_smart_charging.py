"""The compliance tool's cases for a central system: charging profiles."""

from __future__ import annotations

from typing import Any

from ocpp.v16.enums import ChargingProfilePurposeType, ChargingRateUnitType
from octt_central_bench import TAG, Bench, moment, octt
from octt_tool import Payload

from evsim.central_system.profiles import charging_profile

PERIODS = [(0, 16.0), (300, 6.5)]
ON_THE_WIRE = [{"startPeriod": 0, "limit": 16.0}, {"startPeriod": 300, "limit": 6.5}]
DEFAULT, TX = ChargingProfilePurposeType.tx_default_profile, ChargingProfilePurposeType.tx_profile


def default_profile(it: Bench) -> dict[str, Any]:
    """Give a TxDefaultProfile that holds from now on for an hour."""
    return charging_profile(
        PERIODS, purpose=DEFAULT, profile_id=9, stack_level=1, start=it.now(), duration_s=3600
    )


def check_profile(it: Bench, profile: Payload, purpose: str, kind: str) -> None:
    """Judge a profile as the tool does."""
    schedule = profile["chargingSchedule"]
    assert profile["chargingProfilePurpose"] == purpose
    assert profile["chargingProfileKind"] == kind
    assert profile["stackLevel"] >= 0
    assert "recurrencyKind" not in profile
    assert schedule["chargingRateUnit"] == "A"
    assert schedule["chargingSchedulePeriod"] == ON_THE_WIRE
    if kind == "Relative":
        assert "startSchedule" not in schedule
    else:
        assert moment(profile["validFrom"]) <= it.now() < moment(profile["validTo"])
        assert moment(schedule["startSchedule"]) == it.now()
        assert schedule["duration"] == 3600


@octt
async def test_tc_056_csms_tx_default_profile(it: Bench) -> None:
    for connector_id in (0, 1):
        verb = it.station.set_profile(connector_id, default_profile(it))
        asked = await it.asked(verb, "SetChargingProfile")
        assert asked["connectorId"] == connector_id
        profile = asked["csChargingProfiles"]
        check_profile(it, profile, "TxDefaultProfile", "Absolute")
        assert "transactionId" not in profile
    verb = it.station.set_profile(1, charging_profile(PERIODS, purpose=DEFAULT))
    await it.refused(verb, "SetChargingProfile", "NotSupported")


@octt
async def test_tc_057_csms_tx_profile_absolute_and_relative(it: Bench) -> None:
    transaction_id = await it.charging()
    for profile in (
        charging_profile(
            PERIODS,
            purpose=TX,
            transaction_id=transaction_id,
            start=it.now(),
            duration_s=3600,
        ),
        charging_profile(PERIODS, purpose=TX, transaction_id=transaction_id),
    ):
        asked = await it.asked(it.station.set_profile(1, profile), "SetChargingProfile")
        assert asked["connectorId"] == 1
        sent = asked["csChargingProfiles"]
        check_profile(it, sent, "TxProfile", profile["charging_profile_kind"])
        assert sent["transactionId"] == transaction_id
    await it.refused(it.station.set_profile(1, profile), "SetChargingProfile", "Rejected")


@octt
async def test_tc_059_csms_remote_start_with_tx_profile(it: Bench) -> None:
    verb = it.station.remote_start(TAG, 1, charging_profile(PERIODS, purpose=TX))
    asked = await it.asked(verb, "RemoteStartTransaction")
    profile = asked.pop("chargingProfile")
    assert asked == {"idTag": TAG, "connectorId": 1}
    check_profile(it, profile, "TxProfile", "Relative")
    assert "transactionId" not in profile
    assert profile["chargingSchedule"]["chargingSchedulePeriod"][0]["startPeriod"] == 0
    await it.authorize()
    await it.status("Preparing")
    transaction_id = await it.start()
    await it.status("Charging")
    assert await it.station.started_transaction() == transaction_id


def composite(it: Bench) -> Payload:
    schedule = {
        "duration": 600,
        "startSchedule": it.stamp(),
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": ON_THE_WIRE,
    }
    return {
        "status": "Accepted",
        "connectorId": 1,
        "scheduleStart": it.stamp(),
        "chargingSchedule": schedule,
    }


@octt
async def test_tc_066_csms_get_composite_schedule(it: Bench) -> None:
    await it.asked(it.station.set_profile(1, default_profile(it)), "SetChargingProfile")
    verb = it.station.composite_schedule(1, 600, ChargingRateUnitType.amps)
    asked, answer = await it.gave(verb, "GetCompositeSchedule", composite(it))
    assert asked == {"connectorId": 1, "duration": 600, "chargingRateUnit": "A"}
    assert answer.charging_schedule is not None
    periods = answer.charging_schedule["charging_schedule_period"]
    assert [(p["start_period"], p["limit"]) for p in periods] == PERIODS
    verb = it.station.composite_schedule(0, 86_400)
    assert await it.refused(verb, "GetCompositeSchedule", "Rejected") == {
        "connectorId": 0,
        "duration": 86_400,
    }


@octt
async def test_tc_067_csms_clear_charging_profile(it: Bench) -> None:
    await it.asked(it.station.set_profile(1, default_profile(it)), "SetChargingProfile")
    asked = await it.asked(it.station.clear_profiles(profile_id=9), "ClearChargingProfile")
    assert asked == {"id": 9}
    by_criteria = it.station.clear_profiles(
        connector_id=1, purpose=ChargingProfilePurposeType.tx_default_profile, stack_level=1
    )
    assert await it.asked(by_criteria, "ClearChargingProfile") == {
        "connectorId": 1,
        "chargingProfilePurpose": "TxDefaultProfile",
        "stackLevel": 1,
    }
    assert await it.asked(it.station.clear_profiles(), "ClearChargingProfile") == {}
    nothing_left = it.station.clear_profiles(profile_id=9)
    assert await it.refused(nothing_left, "ClearChargingProfile", "Unknown") == {"id": 9}
