"""CAN frames as candump prints them, to a file (-l, -L) or to the screen (-ta)."""

from __future__ import annotations

import re

from evsim.events import CanEvent
from evsim.recording import candump

EXPECTED = (
    "expected a line of candump -l, e.g. (1767225603.000123) can0 300#6400, or of candump -ta, "
    "e.g. (1767225603.000123)  can0  300   [2]  64 00"
)
_ON_SCREEN = re.compile(
    r"\(([0-9]+\.[0-9]+)\)\s+(\S+)\s+(?:[TR]X\s+[B-]\s+[E-]\s+)?"
    r"([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})\s+\[([0-9]{1,2})\]\s*"
    r"(remote request|(?:[0-9A-Fa-f]{2}(?:\s|$))*)\s*(?:'.*'|ERRORFRAME)?"
)


def read(line: str) -> CanEvent:
    """Read a line; ValueError for what is none."""
    if "#" not in line:
        line = _as_in_a_file(line)
    try:
        return CanEvent(*candump.read(line))
    except ValueError as error:
        # Its own words are about this project's recordings.
        problem = "" if str(error).startswith("this is no") else f"{error}; "
        raise ValueError(f"{problem}{EXPECTED}") from None


def _as_in_a_file(line: str) -> str:
    found = _ON_SCREEN.fullmatch(line)
    if found is None:
        raise ValueError(EXPECTED)
    time_s, channel, id_text, length_text, data = found.groups()
    data = "".join(data.split())
    length = int(length_text)
    if data == "remoterequest":
        return f"({time_s}) {channel} {id_text}#R{length or ''}"
    if len(data) != 2 * length:
        raise ValueError(f"{len(data) // 2} data bytes where [{length_text}] are told; {EXPECTED}")
    # candump pads the length of a CAN FD frame to two digits.
    return f"({time_s}) {channel} {id_text}{'##0' if len(length_text) == 2 else '#'}{data}"
