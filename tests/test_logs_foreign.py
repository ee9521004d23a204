"""Another charger's frames, read with its DBC."""

from __future__ import annotations

import logging
import math
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import can
import cantools
import pytest
from test_detect import detect

from evsim.detectors.signals import current_a, frame_of, limit_a
from evsim.errors import UserError
from evsim.events import CanEvent, Direction, Kind, OcppEvent
from evsim.frames import StateOfCharge
from evsim.logs.foreign import ForeignDbc, Quantity

DBC = """VERSION ""

BS_:

BU_: Module

BO_ 2566869221 Output: 8 Module
 SG_ OutputCurrent : 7|16@0- (0.1,-100) [-100|6453.5] "A" Vector__XXX
 SG_ OutputVoltage : 23|16@0+ (0.1,0) [0|6553.5] "V" Vector__XXX
 SG_ Milli : 39|32@0- (1,0) [0|0] "mA" Vector__XXX

BO_ 1024 Settings: 8 Module
 SG_ Page M : 0|8@1+ (1,0) [0|255] "" Vector__XXX
 SG_ MaxCurrent m1 : 8|16@1+ (1,0) [0|65535] "A" Vector__XXX
 SG_ Soc m2 : 8|8@1+ (0.5,0) [0|100] "%" Vector__XXX
 SG_ Bare : 32|16@1+ (1,0) [0|65535] "" Vector__XXX

BO_ 1025 Precise: 4 Module
 SG_ Exact : 0|32@1- (1,0) [0|0] "A" Vector__XXX

BO_ 1026 Second: 2 Module
 SG_ OutputVoltage : 0|16@1+ (1,0) [0|65535] "V" Vector__XXX

SIG_VALTYPE_ 1025 Exact : 1;
"""
OUTPUT_ID = 0x18FF50E5


@pytest.fixture
def dbc(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.dbc"
    path.write_text(DBC)
    return path


def frame(
    at_s: float, arbitration_id: int, data: bytes, channel: str = "can0", *, extended: bool = False
) -> CanEvent:
    message = can.Message(arbitration_id=arbitration_id, data=data, is_extended_id=extended)
    return CanEvent(at_s, channel, message)


def output(at_s: float, values: Mapping[str, float]) -> CanEvent:
    """Give a frame as cantools encodes it."""
    database = cantools.database.load_string(DBC)
    assert isinstance(database, cantools.database.Database)
    whole = {"OutputCurrent": 0, "OutputVoltage": 0, "Milli": 0, **values}
    data = database.encode_message("Output", whole)
    assert isinstance(data, bytes)
    return frame(at_s, OUTPUT_ID, data, extended=True)


def currents(reader: ForeignDbc, *events: CanEvent) -> list[float | None]:
    return [current_a(event) for found in events for event in reader(found)]


def test_scale_offset_and_byte_order_are_those_of_the_dbc(dbc: Path) -> None:
    reader = ForeignDbc(dbc, {Quantity.CURRENT: "OutputCurrent"})
    values = [0, 32.4, 99.9, 250, 3000]
    found = [output(at_s, {"OutputCurrent": value}) for at_s, value in enumerate(values)]
    assert currents(reader, *found) == [0, 32, 100, 250, 3000]


def test_milliamperes_become_amperes_and_other_units_are_refused(dbc: Path) -> None:
    reader = ForeignDbc(dbc, {Quantity.CURRENT: "Milli"})
    assert currents(reader, output(1, {"Milli": 31_600})) == [32]
    with pytest.raises(UserError, match="OutputVoltage is in 'V', no unit of current; expected A"):
        ForeignDbc(dbc, {Quantity.CURRENT: "Output.OutputVoltage"})
    with pytest.raises(UserError, match="no unit of state_of_charge; expected %"):
        ForeignDbc(dbc, {Quantity.STATE_OF_CHARGE: "OutputCurrent"})


def test_no_unit_is_told(dbc: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = ForeignDbc(dbc, {Quantity.CURRENT: "Bare"})
    assert "Bare: the DBC names no unit; taken as A" in caplog.text
    assert currents(reader, frame(1, 1024, bytes([1, 0, 0, 0, 7, 0, 0, 0]))) == [7]


def test_multiplexed_signals_are_read_in_their_turn(dbc: Path) -> None:
    wanted = {Quantity.LIMIT: "MaxCurrent", Quantity.STATE_OF_CHARGE: "Settings.Soc"}
    reader = ForeignDbc(dbc, wanted)
    (limit,) = reader(frame(1, 1024, bytes([1, 80, 0, 0, 0, 0, 0, 0])))
    (charge,) = reader(frame(2, 1024, bytes([2, 85, 0, 0, 0, 0, 0, 0])))
    assert limit_a(limit) == 80
    assert frame_of(charge) == StateOfCharge(42.5)
    assert list(reader(frame(3, 1024, bytes([3, 85, 0, 0, 0, 0, 0, 0])))) == []


def test_other_frames_are_passed_over_and_ocpp_is_passed_on(dbc: Path) -> None:
    reader = ForeignDbc(dbc, {Quantity.CURRENT: "Exact"})
    data = struct.pack("<f", 8)
    assert currents(reader, frame(1, 1025, data, extended=True), frame(1, 0x300, b"d\0")) == []
    remote = can.Message(arbitration_id=1025, is_remote_frame=True, is_extended_id=False, dlc=4)
    assert currents(reader, CanEvent(1, "can0", remote)) == []
    message = OcppEvent(1, "CP_1", Direction.TO_CHARGE_POINT, Kind.CALL, "1", "Reset", {})
    assert list(reader(message)) == [message]


def test_readings_are_given_once_a_second_for_each_channel(dbc: Path) -> None:
    reader = ForeignDbc(dbc, {Quantity.CURRENT: "Exact"})
    found = [
        frame(tenth / 10, 1025, struct.pack("<f", tenth), channel)
        for tenth in range(30)
        for channel in ("can0", "can1")
    ]
    assert currents(reader, *found) == [0, 0, 10, 10, 20, 20]
    assert currents(reader, frame(0.5, 1025, struct.pack("<f", 7))) == [7]  # time went back


def test_what_is_no_current_is_told_once(dbc: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = ForeignDbc(dbc, {Quantity.CURRENT: "Exact"})
    values = [math.nan, math.inf, -5.0, -6.0, 1e9]
    with caplog.at_level(logging.WARNING):
        found = [frame(at_s, 1025, struct.pack("<f", value)) for at_s, value in enumerate(values)]
        assert currents(reader, *found, frame(9, 1025, b"\1\2")) == [0, 0, 65535]
    assert [record.message for record in caplog.records] == [
        "Exact: no number, but nan (said once)",
        "Exact: below 0, so taken as 0: -5 (said once)",
        "Precise: a frame that does not fit: Wrong data size: 2 instead of 4 bytes (said once)",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Currant", "no signal 'Currant' in "),
        ("Currant", "there are: Output.Milli [mA], Output.OutputCurrent [A], Precise.Exact [A], "),
        ("Output.Exact", "no signal 'Output.Exact'"),
        ("OutputVoltage", "name one: Output.OutputVoltage, Second.OutputVoltage"),
    ],
)
def test_a_signal_that_is_not_there_or_twice_is_told(dbc: Path, name: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        ForeignDbc(dbc, {Quantity.CURRENT: name})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", DBC[:400].encode(), bytes(range(256)), b"<xml/>", b"\0" * 1000, b"BO_ x"],
)
def test_a_broken_dbc_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.dbc"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is no DBC that can be read|no signal 'Exact'") as caught:
        ForeignDbc(path, {Quantity.CURRENT: "Exact"})
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        ForeignDbc(tmp_path / "none.dbc", {Quantity.CURRENT: "Exact"})


def test_without_cantools_it_is_said_how_to_get_it(
    dbc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cantools", None)
    with pytest.raises(UserError, match=r"needs the package cantools: pip install -e '\.\[dbc\]'"):
        ForeignDbc(dbc, {Quantity.CURRENT: "Exact"})


@pytest.mark.processes
def test_the_log_of_another_charger_is_judged(dbc: Path, tmp_path: Path) -> None:
    """Swings of 100 A each 8 s, told ten times a second among other frames."""
    path = tmp_path / "theirs.log"
    with can.CanutilsLogWriter(path, channel="can0") as writer:
        for tenth in range(600):
            swings = tenth // 10 % 8 in (4, 5)
            message = output(0, {"OutputCurrent": 100 if swings else 0}).message
            message.timestamp = 1e9 + tenth / 10
            writer(message)
            other = can.Message(timestamp=message.timestamp, arbitration_id=0x77, data=b"\1")
            writer(other)
    arguments = ("run", path, "--dbc", dbc, "--signal")
    text = detect(*arguments, "OutputCurrent", code=3)
    assert "combined: can0, turning_points: 3 reversals of 5 A or more in 12 s" in text
    assert "can_timing" not in text
    assert "no frame with Exact is in" in detect(*arguments, "Exact", code=1)
    assert "no signal 'Currant'" in detect(*arguments, "Currant", code=1)
    assert "is no NAME, nor one of current=NAME" in detect(*arguments, "power=x", code=2)
    assert "belong together" in detect("run", path, "--dbc", dbc, code=2)
