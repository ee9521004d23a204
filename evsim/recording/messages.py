"""From what an OCPP link's tap gives to events: each answer gets the action of its CALL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evsim.events import Direction, Kind, OcppEvent
from evsim.ocpp_wire import CALL, CALL_ERROR, CALL_RESULT, without_keys

#: CALLs of one end whose answer may still come; one that floods pushes its own oldest out.
MOST_PENDING = 256
#: Of a message that cannot be read, so much is kept.
LONGEST_TEXT = 1000
_HIDDEN = "…"
_KEY = "authorizationkey"


class Messages:
    """Makes the events of all charge points; an AuthorizationKey goes into none of them."""

    def __init__(self) -> None:
        # (charge point, direction of the CALL) -> unique id -> action, oldest first.
        self._pending: dict[tuple[str, Direction], dict[str, str]] = {}

    def event(
        self,
        charge_point: str,
        sent_by_central_system: bool,
        message: list[Any] | str,
        time_s: float,
    ) -> OcppEvent:
        """Give the event of an OCPP-J array, or of the text of what could not be read."""
        direction, other_way = (
            (Direction.TO_CHARGE_POINT, Direction.TO_CENTRAL_SYSTEM)
            if sent_by_central_system
            else (Direction.TO_CENTRAL_SYSTEM, Direction.TO_CHARGE_POINT)
        )
        if isinstance(message, str):
            return unreadable(time_s, charge_point, direction, message)
        kind, unique_id = message[0], message[1]
        if kind == CALL:
            action, payload = message[2], message[3]
            self._note(charge_point, direction, unique_id, action)
            if "key" in payload and str(payload["key"]).lower() == _KEY:
                payload = {**payload, "value": _HIDDEN}
            return OcppEvent(time_s, charge_point, direction, Kind.CALL, unique_id, action, payload)
        pending = self._pending.get((charge_point, other_way))
        action = pending.pop(unique_id, "") if pending else ""
        if kind == CALL_RESULT:
            payload = message[2]
            if "configurationKey" in payload:
                payload = _without_key_values(payload)
            return OcppEvent(
                time_s, charge_point, direction, Kind.CALL_RESULT, unique_id, action, payload
            )
        if kind == CALL_ERROR:
            error = {"code": message[2], "description": message[3], "details": message[4]}
            return OcppEvent(
                time_s, charge_point, direction, Kind.CALL_ERROR, unique_id, action, error
            )
        raise ValueError(f"no OCPP-J message: type {kind!r}")

    def asked(self, charge_point: str, unique_id: str) -> Direction | None:
        """Give the direction of the CALL that still waits for an answer with this id."""
        for direction in Direction:
            if unique_id in self._pending.get((charge_point, direction), ()):
                return direction
        return None

    def _note(self, charge_point: str, direction: Direction, unique_id: str, action: str) -> None:
        pending = self._pending.setdefault((charge_point, direction), {})
        pending[unique_id] = action
        if len(pending) > MOST_PENDING:
            del pending[next(iter(pending))]


def unreadable(time_s: float, charge_point: str, direction: Direction, text: str) -> OcppEvent:
    """Give the event of a message that cannot be read, cut and without keys."""
    text = without_keys(text)
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… ({len(text)} characters)"
    return link_event(time_s, charge_point, direction, "unreadable", text)


def link_event(
    time_s: float, charge_point: str, direction: Direction, event: str, text: str
) -> OcppEvent:
    """Give an event of the link itself."""
    return OcppEvent(time_s, charge_point, direction, Kind.LINK, "", event, {"text": text})


def _without_key_values(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Blot out the AuthorizationKey in the answer to GetConfiguration."""
    keys = payload["configurationKey"]
    if not isinstance(keys, list):
        return dict(payload)
    shown = [
        {**entry, "value": _HIDDEN}
        if isinstance(entry, dict) and str(entry.get("key")).lower() == _KEY
        else entry
        for entry in keys
    ]
    return {**payload, "configurationKey": shown}
