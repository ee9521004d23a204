"""Our candump lines are those of python-can, and can-utils' dialect is read too."""

from __future__ import annotations

import io

import can
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.recording import candump

TIME_S = 1_767_225_603.000123


def line_of(message: can.Message) -> str:
    return f"({TIME_S:.6f}) CP_1 {candump.frame_text(message)}"


def line_of_python_can(message: can.Message) -> str:
    """Its line but for the last column, the direction, which a bus does not have."""
    message.timestamp, message.channel = TIME_S, "CP_1"
    file = io.StringIO()
    can.CanutilsLogWriter(file).on_message_received(message)
    return file.getvalue().removesuffix("\n").removesuffix(" R")


MESSAGES = [
    can.Message(arbitration_id=0x300, is_extended_id=False, data=b"\x64\x00"),
    can.Message(arbitration_id=0x001, is_extended_id=False),
    can.Message(arbitration_id=0x7FF, is_extended_id=False, data=bytes(range(248, 256))),
    can.Message(arbitration_id=0x1ABCDEF0, is_extended_id=True, data=b"\xab"),
    can.Message(arbitration_id=0x00000300, is_extended_id=True),
    can.Message(arbitration_id=0x123, is_extended_id=False, is_remote_frame=True),
    can.Message(arbitration_id=0x123, is_extended_id=True, is_remote_frame=True),
    can.Message(is_error_frame=True),
    can.Message(is_error_frame=True, data=bytes(8)),
    can.Message(arbitration_id=0x123, is_fd=True, bitrate_switch=True, data=bytes(12)),
    can.Message(arbitration_id=0x123, is_fd=True, error_state_indicator=True, is_extended_id=False),
]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_a_line_is_that_of_python_can(message: can.Message) -> None:
    assert line_of(message) == line_of_python_can(message)


@given(st.integers(0, 0x7FF), st.binary(max_size=8))
def test_every_plain_line_is_that_of_python_can(arbitration_id: int, data: bytes) -> None:
    message = can.Message(arbitration_id=arbitration_id, is_extended_id=False, data=data)
    assert line_of(message) == line_of_python_can(message)


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_python_can_reads_our_lines(message: can.Message) -> None:
    (read,) = can.CanutilsLogReader(io.StringIO(line_of(message) + "\n"))
    assert (read.timestamp, read.channel) in [(TIME_S, "CP_1"), (TIME_S, None)]  # None: errors
    assert read.is_error_frame == message.is_error_frame
    if not message.is_error_frame:
        assert read.equals(message, timestamp_delta=None, check_channel=False)


def test_the_length_of_a_remote_frame_is_kept_unlike_python_can() -> None:
    message = can.Message(arbitration_id=0x123, is_remote_frame=True, is_extended_id=False, dlc=8)
    assert line_of(message).endswith(" 123#R8")
    _, _, ours = candump.read(line_of(message))
    (theirs,) = can.CanutilsLogReader(io.StringIO(line_of(message) + "\n"))
    assert ours.dlc == theirs.dlc == 8


@pytest.mark.parametrize("direction", ["", " R", " T"])
def test_the_direction_that_other_programs_write_is_read(direction: str) -> None:
    time_s, charge_point, message = candump.read(f"(1.5) vcan0 1aB#0fF0{direction}")
    assert (time_s, charge_point, message.arbitration_id) == (1.5, "vcan0", 0x1AB)
    assert message.data == b"\x0f\xf0"


@pytest.mark.parametrize("charge_point", ["CP 1", "100%", "%20", "a b%20c", "007", "Säule#1"])
def test_every_charge_point_id_makes_one_column(charge_point: str) -> None:
    channel = candump.channel(charge_point)
    assert len(channel.split()) == 1
    assert candump.read(f"(1.000000) {channel} 300#0000")[1] == charge_point


@pytest.mark.parametrize(
    "line",
    [
        "",
        "(1.5) CP_1",
        "CP_1 (1.5) 300#6400",  # swapped columns
        "(1.5) 300#6400 CP_1",
        "(nan) CP_1 300#6400",
        "(1) CP_1 300#6400",
        "(-1.5) CP_1 300#6400",
        "(1.5) CP_1 300#640",
        "(1.5) CP_1 300#64G0",
        "(1.5) CP_1 30#6400",
        "(1.5) CP_1 900#6400",
        "(1.5) CP_1 FFFFFFFF#6400",
        "(1.5) CP_1 300#" + "00" * 9,
        "(1.5) CP_1 300##0" + "00" * 65,
        "(1.5) CP_1 300#R9",
        "(1.5) CP_1 300#6400 X",
        "(1.5)  CP_1 300#6400",
        "(١.٥) CP_1 300#6400",  # digits, but of another script
        "(1.5) CP_1 300#6400\n",
    ],
)
def test_what_is_no_candump_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"CAN|candump"):
        candump.read(line)
