"""Logs of somebody else's: candump and OCPP JSON Lines, alone and as one stream."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from pathlib import Path

import can
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.events import CanEvent, Direction, Kind, OcppEvent
from evsim.logs import ChargePoints, LogError, charge_points, read_logs
from evsim.logs.candump import read as read_candump
from evsim.logs.ocpp import OcppLines, moment
from evsim.recording import RecordingError

HEARTBEAT = [2, "17", "Heartbeat", {}]
PROFILE = [2, "a", "SetChargingProfile", {"connectorId": 1}]
IN, OUT = Direction.TO_CENTRAL_SYSTEM, Direction.TO_CHARGE_POINT


def ocpp(*values: object) -> list[OcppEvent | None]:
    """Read the lines of one log, written as JSON."""
    reader = OcppLines("CP_1")
    return [reader.read(json.dumps(value)) for value in values]


def event(value: object) -> OcppEvent:
    (found,) = ocpp(value)
    assert found is not None
    return found


# ── Candump ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "arbitration_id", "data"),
    [
        ("(1767225603.000123) can0 300#6400", 0x300, "6400"),
        ("(1767225603.000123) vcan0 18FF50E5#0102 R", 0x18FF50E5, "0102"),
        ("(1767225603.000123)  can0  300   [2]  64 00", 0x300, "6400"),
        ("(1767225603.000123)  can0  RX - -  300   [2]  64 00   'd.'", 0x300, "6400"),
        ("(1767225603.000123)  can0  18FF50E5   [0]", 0x18FF50E5, ""),
        ("(1767225603.000123)  can0  300  [12]  64 00 00 00 00 00 00 00 00 00 00 00", 0x300,
         "64" + 22 * "0"),
    ],
)  # fmt: skip
def test_what_candump_prints_is_read(line: str, arbitration_id: int, data: str) -> None:
    time_s, channel, message = read_candump(line)
    assert time_s == 1767225603.000123
    assert channel in ("can0", "vcan0")
    assert (message.arbitration_id, message.data.hex()) == (arbitration_id, data)
    assert message.is_extended_id is (arbitration_id > 0x7FF)
    assert message.is_fd is (len(message.data) > 8)


def test_a_remote_frame_on_the_screen_is_one() -> None:
    _, _, message = read_candump("(1.5)  can0  123   [4]  remote request")
    assert message.is_remote_frame
    assert message.dlc == 4


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("(nan) can0 300#6400", "expected a line of candump -l"),
        ("(1.0) can0 300#640", "expected a line of candump -l"),
        ("(1.0) can0 FFF#64", "no CAN id: FFF"),
        ("(1.0) can0 300#" + 9 * "00", "at most 8 data bytes, not 9"),
        ("(1.0)  can0  300   [3]  64 00", "2 data bytes where [3] are told"),
        ("(2026-01-01 00:00:00.000000)  can0  300   [2]  64 00", "expected a line of candump"),
    ],
)
def test_what_candump_does_not_print_is_not(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_candump(line)
    assert words in str(caught.value)


@given(st.text(max_size=60))
def test_whatever_a_line_holds_is_an_event_or_a_clear_no(line: str) -> None:
    for read in (read_candump, OcppLines("CP_1").read):
        with contextlib.suppress(ValueError):
            read(line)


# ── OCPP ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "time_s"),
    [
        (1767225603, 1767225603.0),
        (1767225603.25, 1767225603.25),
        (1767225603250, 1767225603.25),
        (1767225603250000, 1767225603.25),
        ("1767225603.25", 1767225603.25),
        ("2026-01-01T00:00:03.250Z", 1767225603.25),
        ("2026-01-01T01:00:03.250+01:00", 1767225603.25),
        ("2026-01-01 00:00:03.25", 1767225603.25),
    ],
)
def test_times_are_read_as_people_write_them(value: object, time_s: float) -> None:
    assert moment(value) == time_s


@pytest.mark.parametrize("value", [None, True, "soon", "NaN", float("nan"), -1, [], 10**400, "inf"])
def test_what_is_no_time_is_none(value: object) -> None:
    with pytest.raises(ValueError, match="time"):
        moment(value)


@pytest.mark.parametrize(
    "value",
    [
        {"time": 5, "charge_point": "CP_9", "direction": "to_central_system",
         "message": HEARTBEAT},
        {"timestamp": "1970-01-01T00:00:05Z", "chargePointId": "CP_9", "direction": "in",
         "message": json.dumps(HEARTBEAT), "level": "info"},
        {"@timestamp": 5.0, "charge-box-id": "CP_9", "msg": HEARTBEAT},
        {"ts": 5, "stationId": "CP_9", "dir": "CP->CSMS", "frame": HEARTBEAT},
        # As the charge point logs it: the action says more.
        {"ts": 5, "identity": "CP_9", "dir": "sent", "message": HEARTBEAT},
    ],
)  # fmt: skip
def test_the_objects_of_others_are_read(value: object) -> None:
    assert event(value) == OcppEvent(5.0, "CP_9", IN, Kind.CALL, "17", "Heartbeat", {})


def test_a_charge_point_may_be_a_number() -> None:
    assert event({"time": 5, "station": 7, "message": HEARTBEAT}).charge_point == "7"


def test_a_line_of_ours_is_read_as_it_is() -> None:
    value = {
        "time": 5.0, "charge_point": "CP_9", "direction": "to_charge_point", "kind": "LINK",
        "id": "", "action": "connected", "payload": {"text": ""},
    }  # fmt: skip
    assert event(value).kind is Kind.LINK
    with pytest.raises(ValueError, match="'SIDEWAYS' is not a valid Kind"):
        event({**value, "kind": "SIDEWAYS"})


def test_an_answer_gets_action_and_direction_of_its_call() -> None:
    call, answer, late, refusal = ocpp(
        [1, PROFILE],
        [2, [3, "a", {"status": "Accepted"}]],
        [3, [3, "gone", {}]],
        {"time": 4, "direction": "in", "message": [4, "gone", "GenericError", "", {}]},
    )
    assert call is not None
    assert (call.charge_point, call.direction) == ("CP_1", OUT)
    assert answer is not None
    assert (answer.action, answer.direction, answer.kind) == (
        "SetChargingProfile", IN, Kind.CALL_RESULT,
    )  # fmt: skip
    assert late is None  # nobody knows who sent it
    assert refusal is not None
    assert refusal.direction is IN


def test_a_key_in_a_foreign_log_is_not_shown() -> None:
    change = [2, "1", "ChangeConfiguration", {"key": "AuthorizationKey", "value": "secret"}]
    assert "secret" not in str(event([1, change]))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "expected a line of ocpp.jsonl"),
        ([2, "17", "Heartbeat", {}], "expected a line of ocpp.jsonl"),
        ({"time": 5}, "no field message"),
        ({"message": HEARTBEAT}, "no time"),
        ({"time": 5, "message": [5, "17", {}]}, "no OCPP-J: there is no message type 5"),
        ({"time": 5, "message": [2, "17", "Heartbeat"]}, "a CALL is [2, id, action, {payload}]"),
        ({"time": 5, "message": "hello"}, "not JSON"),
        ({"time": 5, "message": HEARTBEAT, "direction": "up"}, "unknown direction 'up'"),
        ({"time": 5, "message": HEARTBEAT, "direction": 1}, "unknown direction 1"),
        ({"time": 5, "message": HEARTBEAT, "cp": ""}, "the charge point is no id: ''"),
        ({"time": 5, "message": HEARTBEAT, "cp": [7]}, "the charge point is no id: [7]"),
        ({"time": 5, "message": HEARTBEAT, "cp": 10**60}, "the charge point is no id: "),
        ([5, [2, "17", "DataTransfer", {}]], "either end may send 'DataTransfer'"),
        ([5, [2, "17", "TransactionEvent", {}]], "either end may send 'TransactionEvent'"),
    ],
)
def test_what_is_no_message_is_told_with_what_was_expected(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        event(value)
    assert words in str(caught.value)


# ── Files ────────────────────────────────────────────────────────────────────────────────────


def candump_log(path: Path, *times_s: float, channel: str = "can0") -> Path:
    path.write_text("".join(f"({time_s:.6f}) {channel} 300#6400\n" for time_s in times_s))
    return path


def ocpp_log(path: Path, *times_s: float) -> Path:
    path.write_text("".join(json.dumps([time_s, HEARTBEAT]) + "\n" for time_s in times_s))
    return path


def test_several_logs_are_one_stream_in_order_of_time(tmp_path: Path) -> None:
    can_log = candump_log(tmp_path / "a.log", 1, 2, 4)
    messages = ocpp_log(tmp_path / "b.jsonl", 2, 3)
    events = list(read_logs([can_log, messages], charge_points(["CP_7"])))
    assert [(type(e), e.time_s, e.charge_point) for e in events] == [
        (CanEvent, 1, "CP_7"),
        (OcppEvent, 2, "CP_7"),  # it may cause the frame of the same moment
        (CanEvent, 2, "CP_7"),
        (OcppEvent, 3, "CP_7"),
        (CanEvent, 4, "CP_7"),
    ]


def test_each_channel_may_be_of_another_charge_point(tmp_path: Path) -> None:
    paths = [
        candump_log(tmp_path / "a.log", 1),
        candump_log(tmp_path / "b.log", 2, channel="can1"),
        ocpp_log(tmp_path / "c.jsonl", 3),
    ]
    whose = charge_points(["can0=CP_1", "can1=CP_2"])
    assert [e.charge_point for e in read_logs(paths, whose)] == ["CP_1", "CP_2", "CP_1"]
    assert [e.charge_point for e in read_logs(paths)] == ["can0", "can1", "CP_1"]
    assert [e.charge_point for e in read_logs(paths, ChargePoints(of_the_rest="X"))] == ["X"] * 3


def test_what_goes_back_in_time_is_given_as_it_is_but_not_merged(tmp_path: Path) -> None:
    back, other = candump_log(tmp_path / "a.log", 5, 9, 3), ocpp_log(tmp_path / "b.jsonl", 7)
    assert [e.time_s for e in read_logs([back])] == [5, 9, 3]
    with pytest.raises(LogError, match=r"goes back from 9.000000 to 3.000000, so it cannot be"):
        list(read_logs([back, other]))
    jitter = candump_log(tmp_path / "a.log", 5, 9, 8.5)
    assert [e.time_s for e in read_logs([other, jitter])] == [5, 7, 9, 9]


def test_a_compressed_log_is_read_and_a_broken_one_told(tmp_path: Path) -> None:
    path = tmp_path / "a.log.gz"
    whole = gzip.compress(b"(1.0) can0 300#6400\n" * 5000)
    path.write_bytes(whole)
    assert len(list(read_logs([path]))) == 5000
    path.write_bytes(whole[:-20])
    with pytest.raises(LogError, match=r"line \d+: cannot be read"):
        list(read_logs([path]))
    path.write_bytes(b"(1.0) can0 300#6400\n")
    with pytest.raises(LogError, match="line 1: cannot be read"):
        list(read_logs([path]))


@pytest.mark.parametrize("suffix", [".asc", ".blf", ".trc", ".csv"])
def test_what_python_can_reads_is_read_and_garbage_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with can.Logger(path) as writer:
        for at_s in range(3):
            writer(
                can.Message(
                    timestamp=1e9 + at_s, arbitration_id=0x300, is_extended_id=False, data=b"d\0",
                    channel=1,
                )
            )  # fmt: skip
    assert [e.message.arbitration_id for e in read_logs([path]) if isinstance(e, CanEvent)] == [
        0x300, 0x300, 0x300,
    ]  # fmt: skip
    path.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(LogError, match="python-can cannot read it"):
        list(read_logs([path]))


def test_a_frame_without_a_time_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    head = "timestamp,arbitration_id,extended,remote,error,dlc,data"
    path.write_text(f"{head}\nnan,0x300,0,0,0,2,ZAA=\n")
    with pytest.raises(LogError, match="a time that is no number: nan"):
        list(read_logs([path]))


def test_a_line_without_end_is_told_in_time(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"(1.0) can0 300#6400\n(" + bytes([0x31]) * 2_000_000)
    with pytest.raises(LogError, match="line 2: longer than the 1048576 bytes"):
        list(read_logs([path]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n", "line 1: not UTF-8 text"),
        (b"(1.0) can0 300#6400\n\xff\xfe\n", "line 2: not UTF-8 text"),
        (b"[1, [2, '17'\n", "line 1: not JSON"),
        (b'[1, [2, "17", "Heartbeat", {}]]\n{"time": 2}\n', "line 2: no field message"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "theirs"
    path.write_bytes(content)
    with pytest.raises(LogError) as caught:
        list(read_logs([path]))
    assert words in str(caught.value)


def test_a_directory_that_is_none_of_ours_or_half_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"there is no run\.json in this directory, nor another"):
        read_logs([tmp_path])
    (tmp_path / "can.log").touch()
    with pytest.raises(RecordingError, match=r"half written.*python -m evsim\.recording"):
        list(read_logs([tmp_path]))


def test_a_pipe_is_told_since_it_cannot_be_looked_at_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LogError, match="no regular file; save what it gives in one"):
        read_logs([tmp_path / "pipe"])


def test_the_mark_with_which_windows_begins_a_file_is_none_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps([5, HEARTBEAT]) + "\r\n", encoding="utf-8-sig")
    assert [e.time_s for e in read_logs([path])] == [5]
