"""A CAN frame <-> a line of candump: `(1767225603.000123) CP_1 300#6400`.

The channel is the charge point's id; a blank or % in it is written as %20 or %25. A remote frame's
length is kept, as candump keeps it. The id of an error frame is not kept: python-can has one for
all.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import can

_ERROR_FRAME = "20000080"
_LARGEST_STANDARD_ID = 0x7FF
_LARGEST_EXTENDED_ID = 0x1FFFFFFF
_LONGEST_DATA, _LONGEST_FD_DATA = 8, 64
_LINE = re.compile(
    r"\(([0-9]{1,12}\.[0-9]{1,9})\) (\S+) "
    r"([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})#"
    r"(?:#([0-9A-Fa-f]))?((?:[0-9A-Fa-f]{2})*|R[0-8]?)(?: [RT])?"
)
# Flags of a CAN FD frame.
_BIT_RATE_SWITCH, _ERROR_STATE = 1, 2


def channel(charge_point: str) -> str:
    """Give the name of a charge point's channel, which has no blank."""
    return charge_point.replace("%", "%25").replace(" ", "%20")


def frame_text(message: can.Message) -> str:
    """Write a frame as ID#DATA; ValueError for what no CAN bus can carry."""
    arbitration_id = message.arbitration_id
    data = message.data
    length = len(data)
    if message.is_error_frame:
        if length > _LONGEST_DATA:
            raise ValueError(f"an error frame with {length} data bytes")
        return f"{_ERROR_FRAME}#{data.hex().upper()}"
    if message.is_extended_id:
        largest, id_text = _LARGEST_EXTENDED_ID, f"{arbitration_id:08X}"
    else:
        largest, id_text = _LARGEST_STANDARD_ID, f"{arbitration_id:03X}"
    if not 0 <= arbitration_id <= largest:
        raise ValueError(f"no CAN id: 0x{arbitration_id:X}")
    if length > (_LONGEST_FD_DATA if message.is_fd else _LONGEST_DATA):
        raise ValueError(f"a CAN frame with {length} data bytes")
    if message.is_remote_frame:
        return f"{id_text}#R{message.dlc if 0 < message.dlc <= _LONGEST_DATA else ''}"
    if message.is_fd:
        flags = _BIT_RATE_SWITCH * message.bitrate_switch
        flags |= _ERROR_STATE * message.error_state_indicator
        return f"{id_text}##{flags:X}{data.hex().upper()}"
    return f"{id_text}#{data.hex().upper()}"


def read(line: str) -> tuple[float, str, can.Message]:
    """Read a line: Unix time, charge point and frame; ValueError for what is no such line."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("this is no candump line, e.g. (1767225603.000123) CP_1 300#6400")
    time_text, channel_text, id_text, fd_flags, data_text = found.groups()
    time_s = float(time_text)
    charge_point = unquote(channel_text) if "%" in channel_text else channel_text
    is_remote = data_text.startswith("R")
    data = b"" if is_remote else bytes.fromhex(data_text)
    if len(data) > (_LONGEST_DATA if fd_flags is None else _LONGEST_FD_DATA):
        raise ValueError(f"a CAN frame has at most {_LONGEST_DATA} data bytes, not {len(data)}")
    if id_text == _ERROR_FRAME:
        message = can.Message(timestamp=time_s, channel=charge_point, is_error_frame=True)
        message.data, message.dlc = bytearray(data), len(data)
        return time_s, charge_point, message
    arbitration_id = int(id_text, 16)
    is_extended = len(id_text) > 3
    if arbitration_id > (_LARGEST_EXTENDED_ID if is_extended else _LARGEST_STANDARD_ID):
        raise ValueError(f"no CAN id: {id_text}")
    flags = int(fd_flags or "0", 16)
    message = can.Message(
        timestamp=time_s,
        arbitration_id=arbitration_id,
        is_extended_id=is_extended,
        is_remote_frame=is_remote,
        channel=charge_point,
        dlc=int(data_text[1:] or 0) if is_remote else len(data),
        data=data,
        is_fd=fd_flags is not None,
        bitrate_switch=bool(flags & _BIT_RATE_SWITCH),
        error_state_indicator=bool(flags & _ERROR_STATE),
    )
    return time_s, charge_point, message
