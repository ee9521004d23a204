"""The CAN protocol: the codec's round trip, what is refused, and agreement with charger.dbc."""

from __future__ import annotations

import can
import pytest
from cantools.database.can.database import Database
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from evsim import frames
from evsim.frames import (
    Frame,
    FrameError,
    MeasuredCurrent,
    SetLimit,
    StartCharging,
    StateOfCharge,
    StopCharging,
    decode,
    encode,
)

AMPERES = st.integers(0, 0xFFFF)
FRAMES = st.one_of(
    st.just(StartCharging()),
    st.just(StopCharging()),
    st.builds(SetLimit, AMPERES),
    st.builds(MeasuredCurrent, AMPERES),
    st.integers(0, 255).map(lambda bits: StateOfCharge(bits / 2)),
)


@given(FRAMES)
def test_a_frame_comes_back_as_it_was_sent(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


@pytest.mark.parametrize(
    ("frame", "arbitration_id", "data"),
    [
        (StartCharging(), 0x200, b""),
        (StopCharging(), 0x201, b""),
        (SetLimit(300), 0x210, b"\x2c\x01"),
        (MeasuredCurrent(0xFFFE), 0x300, b"\xfe\xff"),
        (StateOfCharge(80.5), 0x310, b"\xa1"),
    ],
)
def test_the_bytes_are_those_of_the_table(frame: Frame, arbitration_id: int, data: bytes) -> None:
    message = encode(frame)
    assert (message.arbitration_id, bytes(message.data)) == (arbitration_id, data)
    assert not message.is_extended_id


@given(
    st.builds(
        can.Message,
        arbitration_id=st.one_of(st.sampled_from(list(frames.LENGTHS)), st.integers(0, 0x1FFFFFFF)),
        is_extended_id=st.booleans(),
        is_remote_frame=st.booleans(),
        is_error_frame=st.booleans(),
        is_fd=st.booleans(),
        dlc=st.one_of(st.none(), st.integers(0, 64)),
        data=st.binary(max_size=64),
    )
)
def test_any_message_is_a_frame_or_a_frame_error(message: can.Message) -> None:
    try:
        frame = decode(message)
    except FrameError:
        return
    assert encode(frame).equals(
        message, timestamp_delta=None, check_channel=False, check_direction=False
    )


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (can.Message(arbitration_id=0x200, is_extended_id=True), "extended id"),
        (
            can.Message(arbitration_id=0x200, is_extended_id=False, is_remote_frame=True),
            "remote frame",
        ),
        (
            can.Message(arbitration_id=0x200, is_extended_id=False, is_error_frame=True),
            "error frame",
        ),
        (can.Message(arbitration_id=0x200, is_extended_id=False, is_fd=True), "CAN FD frame"),
        (can.Message(arbitration_id=0x202, is_extended_id=False), "unknown id"),
        (
            can.Message(arbitration_id=0x200, is_extended_id=False, data=b"\0"),
            "wrong length of 0x200",
        ),
        (
            can.Message(arbitration_id=0x210, is_extended_id=False, data=b"\x64"),
            "wrong length of 0x210",
        ),
        (
            can.Message(arbitration_id=0x300, is_extended_id=False, data=b"\0\0\0"),
            "wrong length of 0x300",
        ),
    ],
)
def test_what_is_no_frame_of_ours_is_named(message: can.Message, kind: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode(message)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("limit_a", "whole_a"), [(15.99, 15), (16.0, 16), (-3, 0), (1e9, 0xFFFF), (0.5, 0)]
)
def test_a_limit_is_rounded_down_into_range(limit_a: float, whole_a: int) -> None:
    assert SetLimit.at_most(limit_a).limit_a == whole_a


def test_a_measurement_is_rounded_to_the_nearest() -> None:
    assert MeasuredCurrent.nearest(15.6) == MeasuredCurrent(16)
    assert MeasuredCurrent.nearest(-0.2) == MeasuredCurrent(0)
    assert MeasuredCurrent.nearest(1e6) == MeasuredCurrent(0xFFFF)


def test_a_state_of_charge_is_rounded_to_half_a_percent() -> None:
    assert StateOfCharge.nearest(0.2) == StateOfCharge(20.0)
    assert StateOfCharge.nearest(0.2033) == StateOfCharge(20.5)
    assert StateOfCharge.nearest(1.5) == StateOfCharge(100.0)
    assert StateOfCharge.nearest(-1) == StateOfCharge(0.0)


# ── charger.dbc says the same ────────────────────────────────────────────────────────────────

DATABASE = Database()
DATABASE.add_dbc_file(ROOT / "evsim" / "charger.dbc")


def test_the_dbc_has_exactly_our_frames() -> None:
    assert {message.frame_id: message.length for message in DATABASE.messages} == frames.LENGTHS
    assert not any(message.is_extended_frame for message in DATABASE.messages)
    assert {message.frame_id: message.senders for message in DATABASE.messages} == {
        0x200: ["ChargePoint"],
        0x201: ["ChargePoint"],
        0x210: ["ChargePoint"],
        0x300: ["Charger"],
        0x310: ["Charger"],
    }
    for name, period_s in (
        ("MeasuredCurrent", frames.CURRENT_PERIOD_S),
        ("StateOfCharge", frames.STATE_OF_CHARGE_PERIOD_S),
    ):
        assert DATABASE.get_message_by_name(name).cycle_time == period_s * 1000


@given(FRAMES)
def test_the_dbc_reads_what_we_write(frame: Frame) -> None:
    message = encode(frame)
    described = DATABASE.get_message_by_frame_id(message.arbitration_id)
    assert described.name == type(frame).__name__
    assert described.decode(bytes(message.data)) == values(frame)


@given(FRAMES)
def test_we_read_what_the_dbc_writes(frame: Frame) -> None:
    described = DATABASE.get_message_by_name(type(frame).__name__)
    message = can.Message(
        arbitration_id=described.frame_id,
        is_extended_id=described.is_extended_frame,
        data=described.encode(values(frame)),
    )
    assert decode(message) == frame


def values(frame: Frame) -> dict[str, float]:
    """Its signals by the names that the DBC gives them."""
    return {name: getattr(frame, name) for name in getattr(type(frame), "__slots__", ())}
