"""What happens in a station, as plain values: frames on its CAN bus, messages on its OCPP link.

OCPP is told from the central system's end: what it sends, and what reaches it. CAN is told from
the bus that the charge point hears.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

import can

#: Events may come out of order by so much, as where two adapters' frames are merged.
JITTER_S = 1.0


class Direction(enum.StrEnum):
    """Which way an OCPP message goes."""

    TO_CHARGE_POINT = "to_charge_point"
    TO_CENTRAL_SYSTEM = "to_central_system"


class Kind(enum.StrEnum):
    """Message types of OCPP-J; LINK is what happens to the link itself."""

    CALL = "CALL"
    CALL_RESULT = "CALLRESULT"
    CALL_ERROR = "CALLERROR"
    LINK = "LINK"


class CanEvent(NamedTuple):
    """A frame on the CAN bus of `charge_point`.

    :param time_s: Unix s.
    """

    time_s: float
    charge_point: str
    message: can.Message


class OcppEvent(NamedTuple):
    """A message on the OCPP link of `charge_point`, or with kind LINK an event of the link.

    :param time_s: Unix s.
    :param unique_id: "" for LINK.
    :param action: of an answer that of its CALL, "" if that is not known; for LINK "connected",
        "disconnected" or "unreadable".
    :param payload: of a CALLERROR {"code": …, "description": …, "details": {…}}; for LINK
        {"text": …}.
    """

    time_s: float
    charge_point: str
    direction: Direction
    kind: Kind
    unique_id: str
    action: str
    payload: Mapping[str, Any]


Event = CanEvent | OcppEvent
