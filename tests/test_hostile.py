"""Hostile peers on real WebSockets: both ends live, and answer the next well-formed message.

Covers: a hostile charge point against csms.py's central system (in this process, and as the real
process), and a hostile central system against the real cp.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Script, StartScript
from ocpp.v16.enums import ChargePointStatus
from ocpp_corpus import reply_is_due
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from csms import CentralSystem
from evsim.central_system.admission import Admission
from evsim.central_system.ledger import Ledger
from evsim.central_system.server import OcppServer
from evsim.charge_point.connector_status import SILENT_CHARGER
from evsim.charge_point.session import SessionLink
from evsim.clock import utc_now
from evsim.ocpp_client import BackOff, Endpoint, keep_connected
from evsim.ocpp_link import LARGEST_MESSAGE_BYTES, SUBPROTOCOL

HOST = "127.0.0.1"
NOW = "2026-01-01T00:00:00.000Z"
#: Whatever is waited for comes long before.
PATIENCE_S = 20.0
MIB = 1024 * 1024

Frame = str | bytes

# ── Hostile messages that must not end the connection ────────────────────────────────────────

HUGE = 10**30
DIGITS = "9" * 5000


def call_with(action: str, **payload: Any) -> str:
    return json.dumps([2, "hostile", action, payload])


#: Sent to both ends.
HOSTILE_MESSAGES: dict[str, Frame] = {
    "no JSON": "hello",
    "nothing": "",
    "a NUL": "\0",
    "half a message": '[2, "hostile", "Heartbeat"',
    "two messages": '[2, "hostile", "Heartbeat", {}][2, "hostile", "Heartbeat", {}]',
    "a byte order mark": '\ufeff[2, "hostile", "Heartbeat", {}]',
    "an object": "{}",
    "a number": "2",
    "null": "null",
    "an empty list": "[]",
    "lists nested 30,000 deep": "[" * 30_000,
    "objects nested 10,000 deep": '{"a":' * 10_000,
    "a payload nested 10,000 deep": '[2,"hostile","Heartbeat",' + '{"a":' * 10_000 + "1",
    "closed lists nested 30,000 deep": "[" * 30_000 + "]" * 30_000,
    "an id nested 900 deep": "[2," + "[" * 900 + "]" * 900 + ',"Heartbeat",{}]',
    "a number of 5,000 digits": f"[{DIGITS}]",
    "a message type of 5,000 digits": f'[{DIGITS}, "hostile", "Heartbeat", {{}}]',
    "1e400 as message type": '[1e400, "hostile", "Heartbeat", {}]',
    "2.0 as message type": '[2.0, "hostile", "Heartbeat", {}]',
    "true as message type": '[true, "hostile", "Heartbeat", {}]',
    "a text as message type": '["2", "hostile", "Heartbeat", {}]',
    "message type 99": '[99, "hostile", "Heartbeat", {}]',
    "message type -1": '[-1, "hostile", "Heartbeat", {}]',
    "only the message type": "[2]",
    "no action": '[2, "hostile"]',
    "no payload": '[2, "hostile", "Heartbeat"]',
    "5 elements": '[2, "hostile", "Heartbeat", {}, {}]',
    "10,000 elements": json.dumps([2, "hostile", "Heartbeat", {}] + [0] * 10_000),
    "a number as id": '[2, 1, "Heartbeat", {}]',
    "null as id": '[2, null, "Heartbeat", {}]',
    "a list as id": '[2, ["hostile"], "Heartbeat", {}]',
    "an empty id": '[2, "", "Heartbeat", {}]',
    "an id of 37 characters": json.dumps([2, "i" * 37, "Heartbeat", {}]),
    "an id of 60,000 characters": json.dumps([2, "i" * 60_000, "Heartbeat", {}]),
    "an id with a forged log line": json.dumps([2, "\n12:00:00 all is well", "Heartbeat", {}]),
    "an id with an escape sequence": json.dumps([2, "\x1b[2J\x1b[31m", "Heartbeat", {}]),
    "an unhashable action": '[2, "hostile", [], {}]',
    "an object as action": '[2, "hostile", {}, {}]',
    "null as action": '[2, "hostile", null, {}]',
    "an unknown action": call_with("Levitate"),
    "an action of Python's": call_with("__class__"),
    "an action with a path": call_with("../../etc/passwd"),
    "an action of 60,000 characters": call_with("A" * 60_000),
    "an action with a forged log line": call_with("Boot\r\n12:00:00 all is well"),
    "an action of the other direction": call_with("StartTransaction", connectorId=1),
    "a list as payload": '[2, "hostile", "DataTransfer", []]',
    "null as payload": '[2, "hostile", "DataTransfer", null]',
    "a text as payload": '[2, "hostile", "DataTransfer", "{}"]',
    "a duplicated key": '[2, "hostile", "DataTransfer", {"vendorId": "a", "vendorId": 5}]',
    "NaN": '[2, "hostile", "DataTransfer", {"vendorId": NaN}]',
    "-Infinity": '[2, "hostile", "DataTransfer", {"vendorId": -Infinity}]',
    "1e400": '[2, "hostile", "DataTransfer", {"vendorId": 1e400}]',
    "half a surrogate pair": '[2, "hostile", "DataTransfer", {"vendorId": "\\ud800"}]',
    "half a pair as key": '[2, "hostile", "DataTransfer", {"\\udfff": "a"}]',
    "half a pair as id": '[2, "\\uD800", "DataTransfer", {"vendorId": "a"}]',
    "NUL in a text": call_with("DataTransfer", vendorId="a\0b"),
    "5,000 extra fields": call_with("DataTransfer", **{f"x{n}": n for n in range(4000)}),
    "a field called self": call_with("DataTransfer", vendorId="a", self="b"),
    "a field in snake case": call_with("DataTransfer", vendorId="a", vendor_id="b"),
    "__proto__": call_with("DataTransfer", vendorId="a", __proto__={"a": 1}),
    "an unsolicited answer": '[3, "hostile", {}]',
    "an answer without payload": '[3, "hostile"]',
    "an answer with a list as id": "[3, [], {}]",
    "an unsolicited error": '[4, "hostile", "GenericError", "", {}]',
    "an error with wrong types": '[4, "hostile", [], {}, null]',
    "an error without anything": "[4]",
    "binary": b"\x00\xff\xfe",
    "binary JSON": b'[2, "hostile", "Heartbeat", {}]',
    "binary, empty": b"",
}


def meter_values(**changes: Any) -> str:
    sample = {"value": "21.4"}
    payload = {"connectorId": 1, "meterValue": [{"timestamp": NOW, "sampledValue": [sample]}]}
    return call_with("MeterValues", **{**payload, **changes})


def start_transaction(**changes: Any) -> str:
    payload = {"connectorId": 1, "idTag": "a", "meterStart": 0, "timestamp": NOW}
    return call_with("StartTransaction", **{**payload, **changes})


def stop_transaction(**changes: Any) -> str:
    return call_with(
        "StopTransaction", **{"transactionId": 1, "meterStop": 0, "timestamp": NOW, **changes}
    )


def status(**changes: Any) -> str:
    payload = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    return call_with("StatusNotification", **{**payload, **changes})


HOSTILE_TO_CENTRAL_SYSTEM: dict[str, Frame] = HOSTILE_MESSAGES | {
    "connector -1": status(connectorId=-1),
    "connector 10^30": status(connectorId=HUGE),
    "connector true": status(connectorId=True),
    "connector 1.0": status(connectorId=1.0),
    "a garbage time stamp": status(timestamp="garbage"),
    "a status that is none": status(status="Levitating"),
    "a start on connector 10^30": start_transaction(connectorId=HUGE),
    "a start at meter -10^30": start_transaction(meterStart=-HUGE),
    "a start at a garbage time": start_transaction(timestamp="'; DROP TABLE transactions; --"),
    "a start with NUL in the tag": start_transaction(idTag="a\0b"),
    "a start with reservation 10^30": start_transaction(reservationId=HUGE),
    "a start with a long tag": start_transaction(idTag="x" * 21),
    "a start of a number": start_transaction(idTag=5),
    "a stop of transaction 10^30": stop_transaction(transactionId=HUGE),
    "a stop of transaction -1": stop_transaction(transactionId=-1),
    "a stop of no transaction": stop_transaction(transactionId=None),
    "a stop at meter 10^30": stop_transaction(meterStop=HUGE),
    "a stop with empty data": stop_transaction(transactionData=[]),
    "no meter values": meter_values(meterValue=[]),
    "no sampled values": meter_values(meterValue=[{"timestamp": NOW, "sampledValue": []}]),
    "meter values at a garbage time": meter_values(
        meterValue=[{"timestamp": "\n", "sampledValue": [{"value": "a"}]}]
    ),
    "meter values of transaction 10^30": meter_values(transactionId=HUGE),
    "meter values of connector -10^30": meter_values(connectorId=-HUGE),
    "a meter value that is none": meter_values(
        meterValue=[{"timestamp": NOW, "sampledValue": [{"value": "NaN", "unit": "V"}]}]
    ),
    "3,000 meter values that are none": meter_values(meterValue=[0] * 3000),
    "a boot with extra fields": call_with(
        "BootNotification", chargePointVendor="v", chargePointModel="m", now="x"
    ),
    "a boot with forged log lines": call_with(
        "BootNotification", chargePointVendor="v\n12:00:00 fine", chargePointModel="\x1b[2J"
    ),
}


def profile(period: Any = None, **changes: Any) -> dict[str, Any]:
    schedule = {
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0}],
    }
    return {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": schedule if period is None else schedule | period,
        **changes,
    }


def set_profile(connector: int = 1, period: Any = None, **changes: Any) -> str:
    return call_with(
        "SetChargingProfile",
        connectorId=connector,
        csChargingProfiles=profile(period, **changes),
    )


def periods(*pairs: tuple[Any, Any]) -> dict[str, Any]:
    return {"chargingSchedulePeriod": [{"startPeriod": s, "limit": a} for s, a in pairs]}


def remote_start(**changes: Any) -> str:
    return call_with("RemoteStartTransaction", **{"idTag": "a", "connectorId": 7, **changes})


HOSTILE_TO_CHARGE_POINT: dict[str, Frame] = HOSTILE_MESSAGES | {
    "a profile without periods": set_profile(period=periods()),
    "a profile of 1,500 periods": set_profile(period=periods(*((n, 1) for n in range(1500)))),
    "a profile that does not begin at 0": set_profile(period=periods((5, 1))),
    "a profile that goes back": set_profile(period=periods((0, 1), (10, 2), (5, 3))),
    "a period at 10^30": set_profile(period=periods((0, 1), (HUGE, 2))),
    "a period at -10^30": set_profile(period=periods((-HUGE, 1))),
    "a limit of 10^30": set_profile(period=periods((0, HUGE))),
    "a limit of 10^400": set_profile(period=periods((0, 10**400))),
    "a limit of 1e300": set_profile(period=periods((0, 1e300))),
    "a limit below 0": set_profile(period=periods((0, -1))),
    "a limit with two decimals": set_profile(period=periods((0, 4.11))),
    "a limit that is a text": set_profile(period=periods((0, "16"))),
    "a duration beyond 32 bits": set_profile(period={"duration": 2**40}),
    "a duration of 10^30 s": set_profile(period={"duration": HUGE}),
    "a duration of -1 s": set_profile(period={"duration": -1}),
    "valid to the year 9999": set_profile(validTo="9999-12-31T23:59:59-23:59"),
    "valid from the year 1": set_profile(validFrom="0001-01-01T00:00:00+23:59"),
    "valid from garbage": set_profile(validFrom="tomorrow"),
    "a schedule of the year 9999": set_profile(period={"startSchedule": "9999-12-31T23:59:59Z"}),
    "a recurring one without start": set_profile(chargingProfileKind="Recurring"),
    "stack level 10^30": set_profile(stackLevel=HUGE),
    "stack level -1": set_profile(stackLevel=-1),
    "profile id 10^30": set_profile(chargingProfileId=HUGE),
    "a TxProfile without transaction": set_profile(chargingProfilePurpose="TxProfile"),
    "a TxProfile of transaction 10^30": set_profile(
        chargingProfilePurpose="TxProfile", transactionId=HUGE
    ),
    "a maximum on connector 1": set_profile(chargingProfilePurpose="ChargePointMaxProfile"),
    "a purpose that is none": set_profile(chargingProfilePurpose="World"),
    "a profile of connector 10^30": set_profile(HUGE),
    "a profile of connector -1": set_profile(-1),
    "a profile of 0 phases": set_profile(
        period={"chargingSchedulePeriod": [{"startPeriod": 0, "limit": 1, "numberPhases": 0}]}
    ),
    "a lowest rate of 10^400": set_profile(period={"minChargingRate": 10**400}),
    "a composite schedule of 10^30 s": call_with(
        "GetCompositeSchedule", connectorId=1, duration=HUGE
    ),
    "a composite schedule of -10^30 s": call_with(
        "GetCompositeSchedule", connectorId=1, duration=-HUGE
    ),
    "a composite schedule of connector 10^30": call_with(
        "GetCompositeSchedule", connectorId=HUGE, duration=60
    ),
    "a composite schedule in V": call_with(
        "GetCompositeSchedule", connectorId=1, duration=60, chargingRateUnit="V"
    ),
    "clearing profile 10^30": call_with(
        "ClearChargingProfile", id=HUGE, connectorId=-HUGE, stackLevel=HUGE
    ),
    "a start on connector -1": remote_start(connectorId=-1),
    "a start on connector 10^30": remote_start(connectorId=HUGE),
    "a start with a maximum profile": remote_start(
        chargingProfile=profile(chargingProfilePurpose="ChargePointMaxProfile")
    ),
    "a start with an empty profile": remote_start(chargingProfile={}),
    "a start with a long tag": remote_start(idTag="x" * 21),
    "a stop of transaction 10^30": call_with("RemoteStopTransaction", transactionId=HUGE),
    "a stop of transaction -1": call_with("RemoteStopTransaction", transactionId=-1),
    "a stop of a text": call_with("RemoteStopTransaction", transactionId="1"),
    "a key of 10,000 characters": call_with("ChangeConfiguration", key="k" * 10_000, value="1"),
    "500 keys": call_with("GetConfiguration", key=["HeartbeatInterval"] * 500),
    "a firmware from a file": call_with(
        "UpdateFirmware", location="file:///etc/passwd", retrieveDate="never"
    ),
    "a certificate of 9,000 characters": call_with(
        "CertificateSigned", certificateChain="A" * 9000
    ),
}

HOSTILE_FRAMES = [*HOSTILE_TO_CENTRAL_SYSTEM.items(), *HOSTILE_TO_CHARGE_POINT.items()]


def test_there_are_more_than_enough_of_them() -> None:
    assert len({frame for _, frame in HOSTILE_FRAMES}) >= 60
    for name, frame in HOSTILE_FRAMES:
        assert len(frame) < LARGEST_MESSAGE_BYTES, f"{name} would only test the size limit"


# ── What both hostile ends do ────────────────────────────────────────────────────────────────


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await test

    asyncio.run(bounded())


ACCEPTED = {"currentTime": NOW, "interval": 600, "status": "Accepted"}


async def answer(connection: ClientConnection | ServerConnection, request: list[Any]) -> None:
    """Accept a boot; refuse everything else."""
    reply = [4, request[1], "NotSupported", "", {}]
    if request[2] == "BootNotification":
        reply = [3, request[1], ACCEPTED]
    await connection.send(json.dumps(reply))


async def reply_to(connection: ClientConnection | ServerConnection, unique_id: str) -> list[Any]:
    """Give the replies up to the one with that id; answer the other end's CALLs meanwhile."""
    replies = []
    while True:
        message = json.loads(await connection.recv())
        if message[0] == 2:
            await answer(connection, message)
            continue
        replies.append(message)
        if message[1] == unique_id:
            return replies


async def check_messages(
    connection: ClientConnection | ServerConnection,
    hostile: dict[str, Frame],
    next_call: list[Any],
) -> None:
    """Send each message and then a good one: both get the replies they are due."""
    for name, frame in hostile.items():
        await connection.send(frame)
        await connection.send(json.dumps(next_call))
        *replies, last = await reply_to(connection, next_call[1])
        due = reply_is_due(frame)
        assert [reply[1] for reply in replies] == ([] if due is None else [due]), name
        assert last[0] == 3, f"after {name}: {last}"
        assert all(reply[2] != "InternalError" for reply in replies), f"{name}: {replies}"


def resident_bytes(pid: int) -> int:
    """Tell how much memory a process has."""
    output = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True
    ).stdout
    return int(output) * 1024


# ── A hostile charge point ───────────────────────────────────────────────────────────────────

HEARTBEAT = [2, "next", "Heartbeat", {}]


@contextlib.asynccontextmanager
async def central_system(tmp_path: Path) -> AsyncIterator[int]:
    """Run csms.py's central system in this process; give its port."""
    with contextlib.closing(Ledger(tmp_path / "csms.sqlite")) as ledger:
        server = OcppServer(CentralSystem(ledger, cycles=0).talk, Admission(0, ledger))
        async with server.listen(HOST, 0) as listening:
            yield next(iter(listening.sockets)).getsockname()[1]


def connect_to(port: int, path: str = "CP_1", **options: Any) -> connect:
    options.setdefault("subprotocols", [SUBPROTOCOL])
    return connect(f"ws://{HOST}:{port}/{path}", proxy=None, compression=None, **options)


async def is_served(port: int, charge_point_id: str = "good") -> None:
    """Check that a well-behaved charge point is let in and answered."""
    async with connect_to(port, charge_point_id) as connection:
        await connection.send(json.dumps(HEARTBEAT))
        assert (await reply_to(connection, "next"))[-1][0] == 3


@pytest.fixture
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check at the end that bad input was no accident."""
    caplog.set_level(logging.INFO)
    yield
    assert "Traceback" not in caplog.text
    assert "failed" not in caplog.text


@pytest.mark.usefixtures("no_traceback")
def test_hostile_messages_to_the_central_system(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with central_system(tmp_path) as port, connect_to(port) as connection:
            await check_messages(connection, HOSTILE_TO_CENTRAL_SYSTEM, HEARTBEAT)

    run(test())


async def closing_code(
    port: int,
    attack: Callable[[ClientConnection], Coroutine[Any, Any, None]],
    charge_point_id: str = "bad",
) -> int:
    """Attack; give the code that the connection is closed with."""
    async with connect_to(port, charge_point_id) as connection:
        with contextlib.suppress(ConnectionClosed):
            await attack(connection)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
        assert connection.close_code is not None
        return connection.close_code


async def too_large(connection: ClientConnection) -> None:
    await connection.send("[" + " " * LARGEST_MESSAGE_BYTES + "]")


async def too_large_in_fragments(connection: ClientConnection) -> None:
    await connection.send(" " * 1000 for _ in range(LARGEST_MESSAGE_BYTES))


async def invalid_utf8(connection: ClientConnection) -> None:
    await connection.send(b'[2, "\xff", "Heartbeat", {}]', text=True)


async def unmasked(connection: ClientConnection) -> None:
    connection.transport.write(b"\x81\x02{}")


async def reserved_opcode(connection: ClientConnection) -> None:
    connection.transport.write(b"\x83\x80\0\0\0\0")


async def frame_of_2_63_bytes(connection: ClientConnection) -> None:
    connection.transport.write(b"\x81\xff\x7f" + b"\xff" * 7 + b"\0\0\0\0")


async def flood_of_unsolicited_answers(connection: ClientConnection) -> None:
    for number in range(5000):
        await connection.send(json.dumps([3, str(number), {}]))


async def flood_of_garbage(connection: ClientConnection) -> None:
    for _ in range(5000):
        await connection.send("garbage")


async def flood_of_calls_whose_replies_are_not_read(connection: ClientConnection) -> None:
    connection.transport.pause_reading()
    try:
        for _ in range(5000):
            await connection.send(json.dumps([2, "same", "A" * 60_000, {}]))
    finally:
        connection.transport.resume_reading()


@pytest.mark.parametrize(
    ("attack", "codes"),
    [
        (too_large, [1009]),
        (too_large_in_fragments, [1009]),
        (frame_of_2_63_bytes, [1009]),
        (invalid_utf8, [1007]),
        (unmasked, [1002]),
        (reserved_opcode, [1002]),
        (flood_of_unsolicited_answers, [1008]),
        (flood_of_garbage, [1008]),
        # Who does not read does not see the 1008 either.
        (flood_of_calls_whose_replies_are_not_read, [1006, 1008]),
    ],
)
@pytest.mark.usefixtures("no_traceback")
def test_what_breaks_the_protocol_ends_one_connection_only(
    tmp_path: Path,
    attack: Callable[[ClientConnection], Coroutine[Any, Any, None]],
    codes: list[int],
) -> None:
    async def test() -> None:
        async with central_system(tmp_path) as port, connect_to(port) as neighbour:
            assert await closing_code(port, attack) in codes
            await neighbour.send(json.dumps(HEARTBEAT))
            assert (await reply_to(neighbour, "next"))[-1][0] == 3
            await is_served(port, "bad")

    run(test())


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["ocpp0.1"], None),
        (["ocpp2.0.1", "ocpp2.1"], None),
        (["OCPP1.6"], None),
        (None, None),
        (["ocpp0.1", "ocpp1.6"], "ocpp1.6"),
        (["ocpp1.6", "ocpp2.0.1"], "ocpp1.6"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_traceback")
def test_only_ocpp_1_6_is_spoken(
    tmp_path: Path, offered: list[Subprotocol] | None, chosen: str | None
) -> None:
    async def test() -> None:
        async with central_system(tmp_path) as port:
            if chosen is None:
                with pytest.raises(InvalidHandshake):
                    await connect_to(port, subprotocols=offered)
            else:
                async with connect_to(port, subprotocols=offered) as connection:
                    assert connection.subprotocol == chosen
            await is_served(port)

    run(test())


@pytest.mark.parametrize(
    ("path", "is_id"),
    [
        ("", False),
        ("/", False),
        ("CP_1/", False),
        (".", False),
        ("%2e%2e", False),
        ("%00", False),
        ("CP%001", False),
        ("CP_1%0a12:00:00%20all%20is%20well", False),
        ("%1b[2J", False),
        ("%ff", False),
        ("%ed%a0%80", False),
        ("%e2%80%ae", False),  # right-to-left override
        ("a" * 49, False),
        ("%41" * 49, False),
        ("a" * 100_000, False),
        ("?CP_1", False),
        ("a" * 48, True),
        ("%F0%9D%84%9E", True),
        ("tenant/CP%201", True),
        ("%2541", True),  # "%41": decoded once
        ("..%2f..%2fetc%2fpasswd", True),  # a name like any other: nothing is opened by it
        ("';%20DROP%20TABLE%20transactions;--", True),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.usefixtures("no_traceback")
def test_path_tricks(tmp_path: Path, path: str, *, is_id: bool) -> None:
    async def test() -> None:
        async with central_system(tmp_path) as port:
            request = (
                f"GET /{path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
            )
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(request.encode())
            status_line = (await reader.readline()).decode()
            assert status_line.startswith("HTTP/1.1 101" if is_id else "HTTP/1.1 4")
            writer.close()
            await is_served(port)

    run(test())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\xaa" * 500,  # a TLS hello
        b"\0" * 10_000,
        b"\r\n" * 10_000,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"POST /CP_1 HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET /CP_1 HTTP/1.1\r\n\r\n",
        b"GET /CP_1 HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
        b"GET /CP_1 HTTP/1.1\r\nX: " + b"y" * 100_000,
        b"GET http://elsewhere:99999999/ HTTP/1.1\r\nUpgrade: \xff\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=lambda garbage: repr(garbage[:20]),
)
@pytest.mark.usefixtures("no_traceback")
def test_garbage_instead_of_a_handshake(tmp_path: Path, garbage: bytes) -> None:
    async def test() -> None:
        async with central_system(tmp_path) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            with contextlib.suppress(ConnectionError):
                writer.write(garbage)
                writer.write_eof()
                await reader.read()
            writer.close()
            await is_served(port)

    run(test())


@contextlib.asynccontextmanager
async def slow_handshakes(port: int, count: int) -> AsyncIterator[None]:
    """Hold `count` sockets that have sent half a request."""
    async with contextlib.AsyncExitStack() as clean_up:
        for _ in range(count):
            _, writer = await asyncio.open_connection(HOST, port)
            clean_up.callback(writer.close)
            writer.write(b"GET /CP_1 HTTP/1.1\r\nHost: ")
        yield


@pytest.fixture
def csms(start_script: StartScript, tmp_path: Path) -> tuple[Script, int]:
    """Start the real csms.py; give it and its port."""
    database = str(tmp_path / "csms.sqlite")
    script = start_script("csms.py", "--port", "0", "--no-anomaly", "--db", database)
    return script, int(script.wait_for("running on").rpartition(":")[2])


@pytest.mark.processes
def test_the_real_csms_survives_everything(csms: tuple[Script, int]) -> None:
    script, port = csms

    async def test() -> None:
        async with connect_to(port) as connection:
            await check_messages(connection, HOSTILE_TO_CENTRAL_SYSTEM, HEARTBEAT)
        before = resident_bytes(script.pid)
        async with slow_handshakes(port, 300):
            await is_served(port)
        floods = [
            flood_of_unsolicited_answers,
            flood_of_garbage,
            flood_of_calls_whose_replies_are_not_read,
            too_large_in_fragments,
        ]
        codes = await asyncio.gather(
            *(closing_code(port, flood, f"bad_{n}") for n, flood in enumerate(3 * floods))
        )
        assert set(codes) <= {1006, 1008, 1009}
        await is_served(port)
        assert resident_bytes(script.pid) - before < 40 * MIB

    run(test())
    assert script.stop() == 0
    assert "Traceback" not in script.output
    assert not [line for line in script.lines if line.startswith("12:00:00")]
    assert "\x1b" not in script.output


# ── A hostile central system ─────────────────────────────────────────────────────────────────

DATA_TRANSFER = [2, "next", "DataTransfer", {"vendorId": "v"}]
#: The answer to the first BootNotification; a list is a whole message, its id put in.
BOOT_ANSWERS: dict[str, Any] = {
    "interval -1": ACCEPTED | {"interval": -1},
    "interval 0": ACCEPTED | {"interval": 0},
    "interval 10^12": ACCEPTED | {"interval": 10**12},
    "interval 10^400": ACCEPTED | {"interval": 10**400},
    "interval 1.0": ACCEPTED | {"interval": 1.0},
    "interval true": ACCEPTED | {"interval": True},
    "no interval": {"currentTime": NOW, "status": "Accepted"},
    "a garbage time": ACCEPTED | {"currentTime": "garbage"},
    "a number as time": ACCEPTED | {"currentTime": 0},
    "a status that is none": ACCEPTED | {"status": "Perhaps"},
    "an extra field": ACCEPTED | {"extra": 1},
    "pending, interval 0": ACCEPTED | {"status": "Pending", "interval": 0},
    "rejected, interval -10^30": ACCEPTED | {"status": "Rejected", "interval": -HUGE},
    "nothing": {},
    "a list": [3, "ID", []],
    "null": [3, "ID", None],
    "no payload": [3, "ID"],
    "an error": [4, "ID", "InternalError", "", {}],
    "an error that OCPP does not know": [4, "ID", "Levitation", "", {}],
    "an error with wrong types": [4, "ID", None, 5, "x"],
    "an error of 60,000 characters": [4, "ID", "GenericError", "x" * 60_000, {}],
    "a call with the id of ours": [2, "ID", "DataTransfer", {"vendorId": "v"}],
}


@contextlib.asynccontextmanager
async def hostile_central_system(
    hold: Callable[[ServerConnection], Coroutine[Any, Any, None]],
) -> AsyncIterator[str]:
    """Listen; give the URL for charge points."""
    async with serve(hold, HOST, 0, subprotocols=[SUBPROTOCOL], compression=None) as server:
        yield f"ws://{HOST}:{next(iter(server.sockets)).getsockname()[1]}"


async def next_call(connection: ServerConnection, action: str) -> list[Any]:
    """Give the next CALL of that action; answer those before it."""
    while True:
        message: list[Any] = json.loads(await connection.recv())
        if message[0] == 2:
            if message[2] == action:
                return message
            await answer(connection, message)


@pytest.mark.parametrize("boot_answer", BOOT_ANSWERS.values(), ids=BOOT_ANSWERS)
@pytest.mark.usefixtures("no_traceback")
def test_hostile_answers_to_the_boot(boot_answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evsim.charge_point.session.BOOT_RETRY_S", 0.05)
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def hold(connection: ServerConnection) -> None:
        _, unique_id, *_ = await next_call(connection, "BootNotification")
        reply = boot_answer if isinstance(boot_answer, list) else [3, "ID", boot_answer]
        reply = [unique_id if part == "ID" else part for part in reply]
        for _ in range(2):  # the second one is unsolicited
            await connection.send(json.dumps(reply))
        if reply[0] == 2:
            await connection.send(json.dumps([4, unique_id, "GenericError", "", {}]))
        while True:
            _, unique_id, _, payload = await next_call(connection, "StatusNotification")
            await connection.send(json.dumps([3, unique_id, {}]))
            seen.put_nowait(payload["status"])

    async def test() -> None:
        link = SessionLink("CP_1", vendor="v", model="m", now=utc_now)
        link.report_status(1, ChargePointStatus.available)
        async with (
            hostile_central_system(hold) as url,
            connect(url, subprotocols=[SUBPROTOCOL], proxy=None) as connection,
        ):
            talking = asyncio.create_task(link.talk(connection))
            assert await seen.get() == "Available"
            link.report_status(1, ChargePointStatus.faulted, SILENT_CHARGER)
            async with asyncio.timeout(3):
                assert await seen.get() == "Faulted"
            await connection.close()
            await talking

    run(test())


HTTP_101 = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: wrong\r\n"
)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\0" * 10_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: -1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 \xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999999999999 OK\r\n\r\n",
        b"HTTP/1.1 101 " + b"x" * 100_000,
        HTTP_101 + b"\r\n",
        HTTP_101 + b"Sec-WebSocket-Protocol: ocpp2.0.1\r\n\r\n",
    ],
    ids=lambda response: repr(response[:30]),
)
@pytest.mark.usefixtures("no_traceback")
def test_a_charge_point_outlasts_bad_handshakes(response: bytes) -> None:
    async def test() -> None:
        attempts = 0
        enough = asyncio.Event()

        async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 3:
                enough.set()
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response)
            writer.close()

        async def talk(_: object) -> None:
            raise AssertionError("there was no handshake")

        async with await asyncio.start_server(respond, HOST, 0) as server:
            endpoint = Endpoint(f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/CP_1")
            soon = BackOff(first_s=0.01, longest_s=0.01)
            rng = np.random.default_rng(0)
            connecting = asyncio.create_task(
                keep_connected(lambda: endpoint, talk, back_off=soon, rng=rng)
            )
            await enough.wait()
            assert not connecting.done()
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

    run(test())


async def broken_text(connection: ServerConnection) -> None:
    await connection.send(b'[2, "\xff", "Heartbeat", {}]', text=True)


async def huge_text(connection: ServerConnection) -> None:
    await connection.send("[" + " " * LARGEST_MESSAGE_BYTES + "]")


async def many_calls(connection: ServerConnection) -> None:
    for number in range(5000):
        await connection.send(json.dumps([2, str(number), "DataTransfer", {"vendorId": "v"}]))


@pytest.mark.processes
def test_the_real_cp_survives_everything(start_script: StartScript) -> None:
    scripts: list[Script] = []
    tricks = iter([(broken_text, 1007), (huge_text, 1009), (many_calls, 1008), (None, None)])
    over = asyncio.Event()

    async def hold(connection: ServerConnection) -> None:
        play, code = next(tricks)
        if code == 1007:  # the first connection
            await check_messages(connection, HOSTILE_TO_CHARGE_POINT, DATA_TRANSFER)
            before = resident_bytes(scripts[0].pid)
            for number in range(20_000):
                await connection.send(json.dumps([3, f"unsolicited {number}", {}]))
            await check_messages(connection, {"": "[]"}, DATA_TRANSFER)
            assert resident_bytes(scripts[0].pid) - before < 20 * MIB
        if play is None:
            await check_messages(connection, {"": "[]"}, DATA_TRANSFER)
            over.set()
            return
        with contextlib.suppress(ConnectionClosed):
            await play(connection)
            while True:
                await connection.recv()
        assert connection.close_code == code

    async def test() -> None:
        async with hostile_central_system(hold) as url:
            scripts.append(start_script("cp.py", "--url", url))
            await over.wait()

    run(test())
    assert scripts[0].stop() == 0
    assert "Traceback" not in scripts[0].output
    assert "\x1b" not in scripts[0].output
