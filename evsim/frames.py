"""The CAN protocol between charge point and charger: every id, byte and unit.

Standard 11-bit ids, classic CAN; values are little-endian unsigned 16-bit whole amperes.

    id      direction                 meaning                        data
    0x200   charge point -> charger   start charging                 empty
    0x201   charge point -> charger   stop charging                  empty
    0x210   charge point -> charger   current limit, A               low byte, high byte
    0x300   charger -> all            measured current, A, each 1 s  low byte, high byte
    0x310   charger -> all            the car's state of charge, %,  one byte of 0.5 %
                                      each 10 s, if it is known

charger.dbc, beside this file, says the same to other CAN tools; a test holds the two together.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import can

START_ID = 0x200
STOP_ID = 0x201
LIMIT_ID = 0x210
CURRENT_ID = 0x300
STATE_OF_CHARGE_ID = 0x310

#: The charger sends its measured current this often.
CURRENT_PERIOD_S = 1.0
#: And the state of charge that the car tells, if there is a car that does.
STATE_OF_CHARGE_PERIOD_S = 10.0
#: A charger that has just been started listens, but says nothing for this long: the gap tells a
#: charge point, however quick the restart was, that the charger knows nothing of it any more.
SILENT_AFTER_START_S = 1.6
#: A start within this time after a stop is void: two nodes may have queued the two at once, and
#: then a stop wins. On a real bus arbitration does it, since 0x200 goes out before 0x201.
STOP_WINS_S = 0.05

MAX_CURRENT_A = 0xFFFF
PERCENT_PER_BIT = 0.5
_AMPERES = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class StartCharging:
    """0x200: deliver current, up to the limit."""


@dataclass(frozen=True, slots=True)
class StopCharging:
    """0x201: deliver nothing."""


@dataclass(frozen=True, slots=True)
class SetLimit:
    """0x210: deliver at most `limit_a` amperes, 0 to 65535, whole."""

    limit_a: int

    @classmethod
    def at_most(cls, limit_a: float) -> SetLimit:
        """Round down to whole amperes: never more than what was allowed."""
        return cls(min(MAX_CURRENT_A, max(0, math.floor(limit_a))))


@dataclass(frozen=True, slots=True)
class MeasuredCurrent:
    """0x300: what flows, in whole amperes, 0 to 65535."""

    current_a: int

    @classmethod
    def nearest(cls, current_a: float) -> MeasuredCurrent:
        """Round a measurement to whole amperes."""
        return cls(min(MAX_CURRENT_A, max(0, round(current_a))))


@dataclass(frozen=True, slots=True)
class StateOfCharge:
    """0x310: how full the car says its battery is, 0 to 127.5 %, in steps of 0.5 %."""

    percent: float

    @classmethod
    def nearest(cls, fraction: float) -> StateOfCharge:
        """Round a state of charge of 0 to 1 to what the frame can hold."""
        return cls(min(200, max(0, round(fraction * 100 / PERCENT_PER_BIT))) * PERCENT_PER_BIT)


Frame = StartCharging | StopCharging | SetLimit | MeasuredCurrent | StateOfCharge

#: Data length of each known id, in bytes.
LENGTHS = {START_ID: 0, STOP_ID: 0, LIMIT_ID: 2, CURRENT_ID: 2, STATE_OF_CHARGE_ID: 1}


class FrameError(ValueError):
    """A message that is no frame of this protocol.

    `kind` names the fault without the values in it, so that each kind can be logged once.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def encode(frame: Frame) -> can.Message:
    """Make the CAN message of `frame`; struct.error or ValueError if a value does not fit."""
    if isinstance(frame, StartCharging):
        return _message(START_ID, b"")
    if isinstance(frame, StopCharging):
        return _message(STOP_ID, b"")
    if isinstance(frame, SetLimit):
        return _message(LIMIT_ID, _AMPERES.pack(frame.limit_a))
    if isinstance(frame, StateOfCharge):
        return _message(STATE_OF_CHARGE_ID, bytes([round(frame.percent / PERCENT_PER_BIT)]))
    return _message(CURRENT_ID, _AMPERES.pack(frame.current_a))


def _message(arbitration_id: int, data: bytes) -> can.Message:
    return can.Message(arbitration_id=arbitration_id, data=data, is_extended_id=False)


def decode(message: can.Message) -> Frame:
    """Read a CAN message; FrameError for whatever this protocol does not know."""
    if message.is_error_frame:
        raise FrameError("error frame", "a CAN error frame")
    arbitration_id = message.arbitration_id
    if message.is_extended_id:
        raise FrameError("extended id", f"id 0x{arbitration_id:08X} is extended, ours are 11-bit")
    if message.is_remote_frame:
        raise FrameError("remote frame", f"a remote frame for 0x{arbitration_id:03X}")
    if message.is_fd:
        raise FrameError("CAN FD frame", f"a CAN FD frame 0x{arbitration_id:03X}")
    length = LENGTHS.get(arbitration_id)
    if length is None:
        raise FrameError("unknown id", f"id 0x{arbitration_id:03X} is not of this protocol")
    if len(message.data) != length or message.dlc != length:
        raise FrameError(
            f"wrong length of 0x{arbitration_id:03X}",
            f"0x{arbitration_id:03X} with {len(message.data)} data bytes, {length} expected",
        )
    if arbitration_id == START_ID:
        return StartCharging()
    if arbitration_id == STOP_ID:
        return StopCharging()
    if arbitration_id == STATE_OF_CHARGE_ID:
        return StateOfCharge(message.data[0] * PERCENT_PER_BIT)
    (amperes,) = _AMPERES.unpack(message.data)
    return SetLimit(amperes) if arbitration_id == LIMIT_ID else MeasuredCurrent(amperes)
