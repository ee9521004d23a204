"""What can be typed in the terminal of csms.py, with charge points that are played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from played_charge_point import PlayedChargePoint, in_virtual_time, played

from evsim.central_system.station import Station
from evsim.central_system.terminal import Terminal
from evsim.prompt import Prompt

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PROFILE = (
    '{"chargingProfileId": 5, "stackLevel": 1, "chargingProfilePurpose": "TxDefaultProfile",'
    ' "chargingProfileKind": "Relative", "chargingSchedule": {"chargingRateUnit": "A",'
    ' "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}]}}'
)
Play = Callable[[Prompt, Station, PlayedChargePoint], Awaitable[None]]


def with_one(play: Play) -> None:
    """Play with a prompt and one charge point."""

    async def test() -> None:
        async with played() as (station, charge_point):
            terminal = Terminal(
                {"CP_1": station}, station.ledger.id_tags, id_tag="USER", now=lambda: NOON
            )
            await play(terminal.prompt(), station, charge_point)

    in_virtual_time(test())


@pytest.mark.parametrize(
    ("line", "action", "payload", "said"),
    [
        ("limit 32", "SetChargingProfile", None, "Accepted"),
        ("profile 1 " + PROFILE, "SetChargingProfile", None, "Accepted"),
        ("clear-profile", "ClearChargingProfile", {}, "Accepted"),
        (
            'clear-profile {"id": 3, "stackLevel": 1}',
            "ClearChargingProfile",
            {"id": 3, "stackLevel": 1},
            "Accepted",
        ),
        (
            "composite 600",
            "GetCompositeSchedule",
            {"connectorId": 1, "duration": 600},
            "from 2026-01-01T00:00:00Z\n       0 s  16 A\n     300 s  0 A",
        ),
        (
            "composite 600 1 w",
            "GetCompositeSchedule",
            {"connectorId": 1, "duration": 600, "chargingRateUnit": "W"},
            "the composite schedule is absurd: W was asked for, and the limits are in A",
        ),
        ("reset", "Reset", {"type": "Soft"}, "Accepted"),
        ("reset hard", "Reset", {"type": "Hard"}, "Accepted"),
        ("unlock", "UnlockConnector", {"connectorId": 1}, "Unlocked"),
        ("get", "GetConfiguration", {}, "it has told no key"),
        ("get A B", "GetConfiguration", {"key": ["A", "B"]}, "it has told no key"),
        ("set A 5", "ChangeConfiguration", {"key": "A", "value": "5"}, "Accepted"),
        (
            f"set AuthorizationKey {'ab' * 20}",
            "ChangeConfiguration",
            {"key": "AuthorizationKey", "value": "ab" * 20},
            "Accepted",
        ),
        (
            "availability inoperative 1",
            "ChangeAvailability",
            {"connectorId": 1, "type": "Inoperative"},
            "Accepted",
        ),
        ("clear-cache", "ClearCache", {}, "Accepted"),
        (
            "data vendor hello '{x}'",
            "DataTransfer",
            {"vendorId": "vendor", "messageId": "hello", "data": "{x}"},
            "Accepted",
        ),
        (
            "trigger MeterValues 1",
            "TriggerMessage",
            {"requestedMessage": "MeterValues", "connectorId": 1},
            "Accepted",
        ),
        (
            "trigger SignChargePointCertificate",
            "ExtendedTriggerMessage",
            {"requestedMessage": "SignChargePointCertificate"},
            "Accepted",
        ),
        ('send reset {"type": "Soft"}', "Reset", {"type": "Soft"}, "Accepted"),
        ("send GetLocalListVersion", "GetLocalListVersion", {}, '{"listVersion": 7}'),
        ("local-list", "GetLocalListVersion", {}, "version 7"),
        (
            "local-list 8 differential A=blocked B",
            "SendLocalList",
            {
                "listVersion": 8,
                "updateType": "Differential",
                "localAuthorizationList": [
                    {"idTag": "A", "idTagInfo": {"status": "Blocked"}},
                    {"idTag": "B"},
                ],
            },
            "Accepted",
        ),
        (
            "reserve TAG 30 0 FAMILY",
            "ReserveNow",
            {
                "connectorId": 0,
                "expiryDate": "2026-01-01T12:30:00.000Z",
                "idTag": "TAG",
                "reservationId": 1,
                "parentIdTag": "FAMILY",
            },
            "reservation 1",
        ),
        ("cancel 1", "CancelReservation", {"reservationId": 1}, "Accepted"),
        (
            "firmware http://127.0.0.1/f",
            "UpdateFirmware",
            {"location": "http://127.0.0.1/f", "retrieveDate": "2026-01-01T12:00:00.000Z"},
            "it has been told; its reports follow in the log",
        ),
        ("diagnostics file:///d", "GetDiagnostics", {"location": "file:///d"}, "diagnostics.zip"),
        (
            "log securitylog file:///l",
            "GetLog",
            {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "file:///l"}},
            "Accepted",
        ),
        (
            "certificates",
            "GetInstalledCertificateIds",
            {"certificateType": "CentralSystemRootCertificate"},
            "none",
        ),
        (
            'delete {"hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b",'
            ' "serialNumber": "1"}',
            "DeleteCertificate",
            None,
            "Accepted",
        ),
        ("stop 7", "RemoteStopTransaction", {"transactionId": 7}, "Accepted"),
    ],
)
def test_a_line_asks_the_charge_point(
    line: str, action: str, payload: dict[str, Any] | None, said: str
) -> None:
    async def play(prompt: Prompt, _: Station, charge_point: PlayedChargePoint) -> None:
        assert await prompt.obey(line) == said
        sent_action, sent = charge_point.asked[-1]
        assert sent_action == action
        assert payload is None or sent == payload

    with_one(play)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("limit", "usage: limit A [CONNECTOR]"),
        ("limit much", "'much' is not a current in A"),
        ("limit -1", "'-1' is not a current in A"),
        ("limit nan", "'nan' is not a current in A"),
        ("limit 5 left", "'left' is not a whole number"),
        ("profile 1 {", "this is no JSON: "),
        ("profile 1 [1]", 'a JSON object is expected, such as {"connectorId": 1}'),
        ("profile 1 {}", "not sent: it needs a chargingSchedule with a list"),
        ('clear-profile {"x": 1}', "x is no criterion of ClearChargingProfile"),
        ("reset medium", "'medium' is none of: Hard, Soft"),
        ("stop", "no transaction runs at CP_1"),
        ("send Nothing", "'Nothing' is no request of a central system; Tab shows them"),
        ("send BootNotification", "'BootNotification' is no request of a central system"),
        ("send Reset", "Reset lacks 'type'"),
        ('send Reset {"type": "Soft", "x": 1}', "Reset has no field x"),
        ('send Reset {"type": "Medium"}', "PropertyConstraintViolation: Reset: type breaks"),
        ("set AuthorizationKey 123", "an AuthorizationKey has 32 to 40 hexadecimal digits"),
        ("tag A stolen", "'stolen' is none of: Accepted, Blocked"),
        ("install ManufacturerRootCertificate /none", "cannot read the certificate: "),
        ("reserve TAG 99999999999", "99999999999 minutes are beyond the calendar"),
        ("firmware file:///x soon", "'soon' is no moment like"),
        ("firmware file:///x 0001-01-01T00:00:00+01:00", "'0001-01-01T00:00:00+01:00' is no "),
        ("use CP_2", "CP_2 is not connected; list shows who is"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_sent(line: str, said: str) -> None:
    async def play(prompt: Prompt, _: Station, charge_point: PlayedChargePoint) -> None:
        answer = await prompt.obey(line)
        assert answer.startswith(said)
        assert "\n" not in answer
        assert charge_point.asked == []

    with_one(play)


def test_what_the_charge_point_refuses_or_sends_is_one_safe_line() -> None:
    async def play(prompt: Prompt, _: Station, charge_point: PlayedChargePoint) -> None:
        charge_point.answers["Reset"] = {"status": "Rejected"}
        assert await prompt.obey("reset") == "the soft reset was answered with Rejected"
        charge_point.answers["Reset"] = "GenericError"
        assert await prompt.obey("reset") == "GenericError: as the test wants it"
        charge_point.answers["Reset"] = None
        assert await prompt.obey("reset") == "CP_1: no answer to Reset within 10 s"
        charge_point.answers["GetConfiguration"] = {
            "configurationKey": [{"key": "A\x1b[2J", "readonly": True, "value": "x"}],
            "unknownKey": ["B"],
        }
        assert await prompt.obey("get") == "A\\x1b[2J = x (read only)\nB is unknown there"
        for version, said in ((0, "the list is empty"), (-1, "it has no local list")):
            charge_point.answers["GetLocalListVersion"] = {"listVersion": version}
            assert await prompt.obey("local-list") == said

    with_one(play)


def test_a_transaction_from_start_to_stop() -> None:
    async def play(prompt: Prompt, station: Station, charge_point: PlayedChargePoint) -> None:
        starting = asyncio.create_task(prompt.obey("start"))
        await asyncio.sleep(1)
        station.note_started(1, "user", 12)
        assert await starting == "transaction 12 has started"
        assert await prompt.obey("list") == "CP_1: has not told its status; transaction 12"
        station.note_status(1, "Charging", "NoError")
        assert await prompt.obey("list") == "CP_1: 1 Charging; transaction 12"
        assert prompt.candidates("stop ") == ["12"]
        assert await prompt.obey("stop") == "Accepted"
        assert charge_point.asked[-1] == ("RemoteStopTransaction", {"transactionId": 12})
        station.note_stopped(12, "Remote")
        assert await prompt.obey("start ANOTHER 2") == (
            "no StartTransaction within 10 s of an accepted start"
        )
        assert charge_point.asked[-1][1] == {"idTag": "ANOTHER", "connectorId": 2}

    with_one(play)


def test_a_certificate_is_installed_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "root.pem"
    file.write_text("PEM")

    async def play(prompt: Prompt, _: Station, charge_point: PlayedChargePoint) -> None:
        assert await prompt.obey(f"install manufacturerrootcertificate '{file}'") == "Accepted"
        assert charge_point.asked[-1][1]["certificate"] == "PEM"

    with_one(play)


def test_tags_are_shown_and_set() -> None:
    async def play(prompt: Prompt, station: Station, _: PlayedChargePoint) -> None:
        assert await prompt.obey("tag") == "all tags are accepted"
        assert await prompt.obey("tag A") == "A Accepted"
        said = "A Blocked until 2026-01-01T12:00:00.000Z of B"
        assert await prompt.obey("tag A blocked 2026-01-01T12:00:00Z B") == said
        assert await prompt.obey("tag") == said
        assert station.ledger.id_tags.get("a").info(NOON).status == "Blocked"
        assert prompt.candidates("tag ") == ["A"]
        assert "Blocked" in prompt.candidates("tag A ")

    with_one(play)


def test_with_several_charge_points_one_is_chosen() -> None:
    async def test() -> None:
        async with played() as (one, first), played() as (other, second):
            connected = {"CP_1": one, "CP_2": other}
            terminal = Terminal(connected, one.ledger.id_tags)
            prompt = terminal.prompt()
            assert prompt.sign() == "csms"
            assert await prompt.obey("reset") == (
                "several charge points are connected; use ID says which: CP_1, CP_2"
            )
            assert prompt.candidates("use ") == ["CP_1", "CP_2"]
            assert await prompt.obey("use CP_2") == "all that follows is for CP_2"
            assert prompt.sign() == "csms CP_2"
            assert await prompt.obey("reset") == "Accepted"
            assert (len(first.asked), len(second.asked)) == (0, 1)
            del connected["CP_2"]
            assert await prompt.obey("reset") == "CP_2 is not connected; list shows who is"
            await prompt.obey("use")
            assert await prompt.obey("reset") == "Accepted"
            del connected["CP_1"]
            assert await prompt.obey("reset") == "no charge point is connected"
            assert await prompt.obey("list") == "no charge point is connected"

    in_virtual_time(test())


def test_words_are_completed() -> None:
    async def play(prompt: Prompt, _: Station, __: PlayedChargePoint) -> None:
        assert prompt.candidates("reset ") == ["Hard", "Soft"]
        assert prompt.candidates("send getl") == ["GetLocalListVersion", "GetLog"]
        assert "HeartbeatInterval" in prompt.candidates("get HeartbeatInterval Heart")
        assert prompt.candidates("set HeartbeatI") == ["HeartbeatInterval"]
        assert prompt.candidates("set HeartbeatInterval ") == []
        assert prompt.candidates("trigger met") == ["MeterValues"]
        assert prompt.candidates("local-list 3 ") == ["Differential", "Full"]

    with_one(play)
