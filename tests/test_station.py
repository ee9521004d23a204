"""Each verb of the central system, against a charge point that is played by the test."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from ocpp.exceptions import NotSupportedError, OCPPError
from played_charge_point import in_virtual_time, played

from evsim.central_system.profiles import charging_profile
from evsim.central_system.station import Station
from evsim.errors import AbsurdAnswerError, RefusedError, UserError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HASH = {
    "hash_algorithm": "SHA256",
    "issuer_name_hash": "ab",
    "issuer_key_hash": "cd",
    "serial_number": "1",
}
FIRMWARE = {
    "location": "http://127.0.0.1/f",
    "retrieve_date_time": "2026-01-01T12:00:00Z",
    "signing_certificate": "PEM",
    "signature": "abc",
}

#: A verb, as it is called; the CALL that goes out; the statuses that are a no.
VERBS: list[tuple[Callable[[Station], Awaitable[Any]], str, dict[str, Any], list[str]]] = [
    (
        lambda s: s.remote_start("TAG", 2),
        "RemoteStartTransaction",
        {"idTag": "TAG", "connectorId": 2},
        ["Rejected"],
    ),
    (lambda s: s.remote_stop(7), "RemoteStopTransaction", {"transactionId": 7}, ["Rejected"]),
    (
        lambda s: s.change_availability(0, "inoperative"),
        "ChangeAvailability",
        {"connectorId": 0, "type": "Inoperative"},
        ["Rejected"],
    ),
    (
        lambda s: s.get_configuration("A", "B"),
        "GetConfiguration",
        {"key": ["A", "B"]},
        [],
    ),
    (lambda s: s.get_configuration(), "GetConfiguration", {}, []),
    (
        lambda s: s.change_configuration("HeartbeatInterval", "60"),
        "ChangeConfiguration",
        {"key": "HeartbeatInterval", "value": "60"},
        ["Rejected", "NotSupported"],
    ),
    (lambda s: s.clear_cache(), "ClearCache", {}, ["Rejected"]),
    (
        lambda s: s.data_transfer("v", "m", "d"),
        "DataTransfer",
        {"vendorId": "v", "messageId": "m", "data": "d"},
        ["Rejected", "UnknownMessageId", "UnknownVendorId"],
    ),
    (lambda s: s.reset("Hard"), "Reset", {"type": "Hard"}, ["Rejected"]),
    (
        lambda s: s.unlock(1),
        "UnlockConnector",
        {"connectorId": 1},
        ["UnlockFailed", "NotSupported"],
    ),
    (lambda s: s.local_list_version(), "GetLocalListVersion", {}, []),
    (
        lambda s: s.send_local_list(
            3,
            [{"id_tag": "A", "id_tag_info": {"status": "Accepted"}}, {"id_tag": "B"}],
            "differential",
        ),
        "SendLocalList",
        {
            "listVersion": 3,
            "updateType": "Differential",
            "localAuthorizationList": [
                {"idTag": "A", "idTagInfo": {"status": "Accepted"}},
                {"idTag": "B"},
            ],
        },
        ["Failed", "NotSupported", "VersionMismatch"],
    ),
    (
        lambda s: s.reserve(1, "TAG", NOON, 5, "PARENT"),
        "ReserveNow",
        {
            "connectorId": 1,
            "expiryDate": "2026-01-01T12:00:00.000Z",
            "idTag": "TAG",
            "reservationId": 5,
            "parentIdTag": "PARENT",
        },
        ["Faulted", "Occupied", "Rejected", "Unavailable"],
    ),
    (lambda s: s.cancel_reservation(5), "CancelReservation", {"reservationId": 5}, ["Rejected"]),
    (
        lambda s: s.set_profile(0, charging_profile([(0, 16), (60, 8)])),
        "SetChargingProfile",
        {
            "connectorId": 0,
            "csChargingProfiles": {
                "chargingProfileId": 1,
                "stackLevel": 0,
                "chargingProfilePurpose": "TxDefaultProfile",
                "chargingProfileKind": "Relative",
                "chargingSchedule": {
                    "chargingRateUnit": "A",
                    "chargingSchedulePeriod": [
                        {"startPeriod": 0, "limit": 16},
                        {"startPeriod": 60, "limit": 8},
                    ],
                },
            },
        },
        ["Rejected", "NotSupported"],
    ),
    (lambda s: s.clear_profiles(), "ClearChargingProfile", {}, ["Unknown"]),
    (lambda s: s.clear_profiles(3), "ClearChargingProfile", {"id": 3}, ["Unknown"]),
    (
        lambda s: s.clear_profiles(connector_id=1, purpose="TxProfile", stack_level=2),
        "ClearChargingProfile",
        {"connectorId": 1, "chargingProfilePurpose": "TxProfile", "stackLevel": 2},
        ["Unknown"],
    ),
    (
        lambda s: s.composite_schedule(1, 600, "A"),
        "GetCompositeSchedule",
        {"connectorId": 1, "duration": 600, "chargingRateUnit": "A"},
        ["Rejected"],
    ),
    (
        lambda s: s.trigger("MeterValues", 1),
        "TriggerMessage",
        {"requestedMessage": "MeterValues", "connectorId": 1},
        ["Rejected", "NotImplemented"],
    ),
    (
        lambda s: s.extended_trigger("SignChargePointCertificate"),
        "ExtendedTriggerMessage",
        {"requestedMessage": "SignChargePointCertificate"},
        ["Rejected", "NotImplemented"],
    ),
    (
        lambda s: s.update_firmware("http://127.0.0.1/f", NOON, 3, 10),
        "UpdateFirmware",
        {
            "location": "http://127.0.0.1/f",
            "retrieveDate": "2026-01-01T12:00:00.000Z",
            "retries": 3,
            "retryInterval": 10,
        },
        [],
    ),
    (
        lambda s: s.get_diagnostics("http://127.0.0.1/d", start=NOON),
        "GetDiagnostics",
        {"location": "http://127.0.0.1/d", "startTime": "2026-01-01T12:00:00.000Z"},
        [],
    ),
    (
        lambda s: s.signed_update_firmware(9, FIRMWARE),
        "SignedUpdateFirmware",
        {
            "requestId": 9,
            "firmware": {
                "location": "http://127.0.0.1/f",
                "retrieveDateTime": "2026-01-01T12:00:00Z",
                "signingCertificate": "PEM",
                "signature": "abc",
            },
        },
        ["Rejected", "InvalidCertificate", "RevokedCertificate"],
    ),
    (
        lambda s: s.get_log("SecurityLog", 4, "http://127.0.0.1/l", latest=NOON),
        "GetLog",
        {
            "logType": "SecurityLog",
            "requestId": 4,
            "log": {
                "remoteLocation": "http://127.0.0.1/l",
                "latestTimestamp": "2026-01-01T12:00:00.000Z",
            },
        },
        ["Rejected"],
    ),
    (
        lambda s: s.install_certificate("ManufacturerRootCertificate", "PEM"),
        "InstallCertificate",
        {"certificateType": "ManufacturerRootCertificate", "certificate": "PEM"},
        ["Rejected", "Failed"],
    ),
    (
        lambda s: s.delete_certificate(HASH),
        "DeleteCertificate",
        {
            "certificateHashData": {
                "hashAlgorithm": "SHA256",
                "issuerNameHash": "ab",
                "issuerKeyHash": "cd",
                "serialNumber": "1",
            }
        },
        ["Failed", "NotFound"],
    ),
    (
        lambda s: s.installed_certificates("CentralSystemRootCertificate"),
        "GetInstalledCertificateIds",
        {"certificateType": "CentralSystemRootCertificate"},
        [],
    ),
    (
        lambda s: s.certificate_signed("PEM"),
        "CertificateSigned",
        {"certificateChain": "PEM"},
        ["Rejected"],
    ),
]
each_verb = pytest.mark.parametrize(
    ("verb", "action", "payload", "noes"), VERBS, ids=[f"{v[1]}-{n}" for n, v in enumerate(VERBS)]
)

Verb = Callable[[Station], Awaitable[Any]]


@each_verb
def test_a_yes(verb: Verb, action: str, payload: dict[str, Any], noes: list[str]) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            await verb(station)
            assert charge_point.asked == [(action, payload)]

    in_virtual_time(test())


@each_verb
def test_a_no_is_an_error_that_says_what_was_asked(
    verb: Verb, action: str, payload: dict[str, Any], noes: list[str]
) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            for no in noes:
                charge_point.answers[action] = {"status": no}
                with pytest.raises(RefusedError, match=f"^.+ was answered with {no}$"):
                    await verb(station)

    in_virtual_time(test())


@each_verb
def test_a_callerror_is_an_error_and_so_is_an_answer_without_its_fields(
    verb: Verb, action: str, payload: dict[str, Any], noes: list[str]
) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            charge_point.answers[action] = "NotSupported"
            with pytest.raises(NotSupportedError):
                await verb(station)
            charge_point.answers[action] = {"status": "Perhaps", "strange": 1}
            with pytest.raises(OCPPError, match=f"{action}Response: "):
                await verb(station)
            if action not in ("GetConfiguration", "UpdateFirmware", "GetDiagnostics"):
                charge_point.answers[action] = {}
                with pytest.raises(OCPPError, match=f"{action}Response: .*required"):
                    await verb(station)
            charge_point.answers[action] = None
            with pytest.raises(TimeoutError, match=f"no answer to {action} within 10 s"):
                await verb(station)
            del charge_point.answers[action]
            await verb(station)  # it has survived all that

    in_virtual_time(test())


@pytest.mark.parametrize(
    ("verb", "action", "status"),
    [
        (lambda s: s.change_availability(1, "Operative"), "ChangeAvailability", "Scheduled"),
        (lambda s: s.change_configuration("k", "v"), "ChangeConfiguration", "RebootRequired"),
        (lambda s: s.get_log("SecurityLog", 1, "x"), "GetLog", "AcceptedCanceled"),
        (
            lambda s: s.signed_update_firmware(1, FIRMWARE),
            "SignedUpdateFirmware",
            "AcceptedCanceled",
        ),
        (
            lambda s: s.installed_certificates("ManufacturerRootCertificate"),
            "GetInstalledCertificateIds",
            "NotFound",
        ),
    ],
)
def test_a_yes_by_another_name(verb: Verb, action: str, status: str) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            charge_point.answers[action] = {"status": status}
            assert (await verb(station)).status == status

    in_virtual_time(test())


def test_what_the_answers_hold_is_given() -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            assert await station.local_list_version() == 7
            charge_point.answers["GetLocalListVersion"] = {"listVersion": -1}
            assert await station.local_list_version() == -1
            assert (await station.get_diagnostics("x")).file_name == "diagnostics.zip"
            charge_point.answers["GetConfiguration"] = {
                "configurationKey": [{"key": "A", "readonly": False, "value": "1"}],
                "unknownKey": ["B"],
            }
            answer = await station.get_configuration("A", "B")
            assert answer.configuration_key == [{"key": "A", "readonly": False, "value": "1"}]
            assert answer.unknown_key == ["B"]
            schedule = await station.composite_schedule(1, 600)
            assert schedule.charging_schedule is not None
            assert len(schedule.charging_schedule["charging_schedule_period"]) == 2

    in_virtual_time(test())


@pytest.mark.parametrize(
    "verb",
    [
        lambda s: s.reset("Medium"),
        lambda s: s.change_availability(1, "maybe"),
        lambda s: s.trigger("Nothing"),
        lambda s: s.send_local_list(1, [], "Half"),
        lambda s: s.get_log("Diary", 1, "x"),
        lambda s: s.install_certificate("Root", "x"),
        lambda s: s.clear_profiles(purpose="x"),
        lambda s: s.composite_schedule(1, 1, "V"),
    ],
)
def test_a_word_that_ocpp_does_not_know_is_not_sent(verb: Verb) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            with pytest.raises(UserError, match=r"is none of: \w+"):
                await verb(station)
            assert charge_point.asked == []

    in_virtual_time(test())


def test_reservations_get_ids_of_their_own() -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            for _ in range(2):
                await station.reserve(0, "TAG", NOON)
            ids = [payload["reservationId"] for _, payload in charge_point.asked]
            assert ids == [1, 2]
            assert station.last_reservation_id == 2

    in_virtual_time(test())


@pytest.mark.parametrize("status", ["Accepted", "RebootRequired"])
def test_new_credentials_that_need_a_reboot_get_one(status: str) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            charge_point.answers["ChangeConfiguration"] = {"status": status}
            await station.secure(rotate_key=True, raise_to_profile=2)
            keys = [payload.get("key") for _, payload in charge_point.asked]
            expected: list[str | None] = ["AuthorizationKey", "SecurityProfile"]
            if status == "RebootRequired":
                expected.append(None)
                assert charge_point.asked[-1] == ("Reset", {"type": "Hard"})
            assert keys == expected

    in_virtual_time(test())


# ── Absurd composite schedules ───────────────────────────────────────────────────────────────


def schedule(*periods: dict[str, Any], **others: Any) -> dict[str, Any]:
    outside: dict[str, Any] = {}
    for name in ("connectorId", "scheduleStart"):
        if name in others:
            outside[name] = others.pop(name)
    inside = {"chargingRateUnit": "A", "chargingSchedulePeriod": list(periods), **others}
    return {"status": "Accepted", "chargingSchedule": inside, **outside}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"status": "Accepted"}, "without a schedule"),
        (schedule(), "the list of periods is empty"),
        (schedule({"startPeriod": 0, "limit": 1}, duration=2**31), "a duration of 2147483648 s"),
        (schedule({"startPeriod": 0, "limit": 1}, duration=-1), "a duration of -1 s"),
        (schedule({"startPeriod": 5, "limit": 1}), "the first startPeriod is 5, not 0"),
        (schedule({"startPeriod": 0, "limit": -1}), "a limit is no number from 0 up"),
        (schedule({"startPeriod": 0, "limit": 1e300}), "a limit is no number from 0 up"),
        (schedule({"startPeriod": -3, "limit": 1}), "a startPeriod is no whole number"),
        (schedule({"startPeriod": 0, "limit": 1}, {"startPeriod": 0, "limit": 2}), "do not rise"),
        (schedule({"startPeriod": 0, "limit": 1}, chargingRateUnit="W"), "limits are in W"),
        (schedule({"startPeriod": 0, "limit": 1}, connectorId=4), "it is about connector 4"),
        (schedule({"startPeriod": 0, "limit": 1}, scheduleStart="soon"), "scheduleStart is no"),
        (schedule({"startPeriod": 0, "limit": 1}, startSchedule="soon"), "startSchedule is no"),
    ],
)
def test_an_absurd_composite_schedule_is_one_line_that_says_so(
    answer: dict[str, Any], fault: str
) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            charge_point.answers["GetCompositeSchedule"] = answer
            with pytest.raises(AbsurdAnswerError, match=f"^the composite schedule .*{fault}"):
                await station.composite_schedule(1, 600, "A")

    in_virtual_time(test())


# ── Reports ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("action", "payload", "fields"),
    [
        ("FirmwareStatusNotification", {"status": "Installed"}, {"status": "Installed"}),
        ("DiagnosticsStatusNotification", {"status": "Uploaded"}, {"status": "Uploaded"}),
        (
            "LogStatusNotification",
            {"status": "Uploading", "requestId": 3},
            {"status": "Uploading", "request_id": 3},
        ),
        ("LogStatusNotification", {"status": "Idle"}, {"status": "Idle", "request_id": None}),
        (
            "SignedFirmwareStatusNotification",
            {"status": "InvalidSignature", "requestId": 3},
            {"request_id": 3},
        ),
        (
            "SecurityEventNotification",
            {"type": "TamperDetectionActivated", "timestamp": "2026-01-01T00:00:00Z"},
            {"type": "TamperDetectionActivated"},
        ),
    ],
)
def test_what_it_reports_is_answered_and_can_be_awaited(
    action: str, payload: dict[str, Any], fields: dict[str, Any]
) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            awaiting = asyncio.create_task(station.report(action, **fields))
            await asyncio.sleep(1)
            assert await charge_point.tell(action, **payload) == {}
            assert (await awaiting).items() >= fields.items()
            await charge_point.tell(action, **payload)
            await station.report(action)  # this one has come before it is asked for
            with pytest.raises(RefusedError, match=f"^no {action} within 5 s"):
                await station.report(action, 5)

    in_virtual_time(test())


def test_reports_are_given_in_order_and_a_missing_one_tells_what_came() -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            for status in ("Downloading", "Downloaded", "Installing"):
                await charge_point.tell("FirmwareStatusNotification", status=status)
            for status in ("Downloading", "Installing"):
                await station.report("FirmwareStatusNotification", status=status)
            await charge_point.tell("FirmwareStatusNotification", status="InstallationFailed")
            with pytest.raises(RefusedError, match="within 10 s; there came InstallationFailed"):
                await station.report("FirmwareStatusNotification", status="Installed")
            for _ in range(1000):
                station.note("FirmwareStatusNotification", status="Idle")
            station.reports.forget()
            with pytest.raises(RefusedError):
                await station.report("FirmwareStatusNotification", 1)

    in_virtual_time(test())


# ── Certificates ─────────────────────────────────────────────────────────────────────────────


def test_a_certificate_request_is_rejected_without_an_authority(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with played() as (station, charge_point):
            answer = await charge_point.tell("SignCertificate", csr="CSR")
            assert answer == {"status": "Rejected"}
            await asyncio.sleep(10)
            assert charge_point.asked == []
            await station.report("SignCertificate", csr="CSR")

    in_virtual_time(test())
    assert "--ca-key" in caplog.text


def test_a_certificate_request_is_signed_and_the_certificate_sent_after_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "evsim")

    def sign(csr: str, charge_point_id: str) -> str:
        if csr == "BAD":
            raise UserError("it is no certificate request")
        return f"{csr} of {charge_point_id}, signed"

    async def test() -> None:
        async with played(sign) as (_, charge_point):
            assert await charge_point.tell("SignCertificate", csr="CSR") == {"status": "Accepted"}
            await asyncio.sleep(1)
            chain = {"certificateChain": "CSR of CP_1, signed"}
            assert charge_point.asked == [("CertificateSigned", chain)]
            assert await charge_point.tell("SignCertificate", csr="BAD") == {"status": "Rejected"}
            await asyncio.sleep(1)
            assert len(charge_point.asked) == 1
            charge_point.answers["CertificateSigned"] = {"status": "Rejected"}
            await charge_point.tell("SignCertificate", csr="CSR")
            await asyncio.sleep(1)

    in_virtual_time(test())
    assert "CP_1: has a new certificate" in caplog.text
    assert "its certificate request is rejected: it is no certificate request" in caplog.text
    assert "its signed certificate was answered with Rejected" in caplog.text
