"""Logs that other people's tools have written: read without trust, as a stream.

text        a text file line by line; LogError names file and line
candump     CAN frames as candump prints them
ocpp        OCPP-J messages, one JSON value a line
foreign     another charger's frames, by its DBC
sources     which of them a file is, and several files as one stream
follow      a file that is being written, as tail -F does
"""

from __future__ import annotations

from evsim.logs.sources import (
    ChargePoints,
    charge_point_id,
    charge_point_option,
    charge_points,
    read_logs,
)
from evsim.logs.text import LogError

__all__ = [
    "ChargePoints",
    "LogError",
    "charge_point_id",
    "charge_point_option",
    "charge_points",
    "read_logs",
]
