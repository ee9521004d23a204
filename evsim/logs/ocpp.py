"""OCPP-J messages, one JSON value a line: our ocpp.jsonl, or what another back end logs.

A line of another one is an object with these fields, the same in any spelling of the words
(chargePointId, charge_point_id …); others are ignored:

    time, timestamp or ts        seconds, milliseconds or microseconds since 1970, or ISO 8601;
                                 without an offset it is UTC
    message, msg or frame        the OCPP-J array, or the text that holds it
    charge_point, charge_point_id, charge_box_id, station, station_id, cp, cp_id or identity
                                 if it is missing: whoever ChargePoints says
    direction                    to_charge_point or to_central_system, csms_to_cp or cp_to_csms;
                                 in, out, sent, received and the like do not say at which end, so
                                 that the action decides, as where there is none

or the pair [time, message].
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NoReturn

from evsim.clock import from_ocpp
from evsim.events import Direction, OcppEvent
from evsim.ocpp_wire import CALL, UnreadableError, checked
from evsim.recording.messages import Messages
from evsim.recording.reading import EVENT_KEYS, event_of
from evsim.text import is_charge_point_id

#: Fields by their names without "_" and "-", in small letters.
_TIME = ("time", "timestamp", "ts")
_MESSAGE = ("message", "msg", "frame")
_CHARGE_POINT = (
    "chargepoint", "chargepointid", "chargeboxid", "stationid", "station", "cpid", "cp", "identity",
)  # fmt: skip
_DIRECTION = ("direction", "dir")

_DIRECTIONS: Mapping[str, Direction] = {
    "tochargepoint": Direction.TO_CHARGE_POINT,
    "tocp": Direction.TO_CHARGE_POINT,
    "csmstocp": Direction.TO_CHARGE_POINT,
    "tocentralsystem": Direction.TO_CENTRAL_SYSTEM,
    "tocsms": Direction.TO_CENTRAL_SYSTEM,
    "cptocsms": Direction.TO_CENTRAL_SYSTEM,
}
#: As the central system has it, which is where most logs are written.
_AT_ONE_END: Mapping[str, Direction] = {
    **dict.fromkeys(
        ("in", "inbound", "incoming", "received", "receive", "recv", "rx"),
        Direction.TO_CENTRAL_SYSTEM,
    ),
    **dict.fromkeys(
        ("out", "outbound", "outgoing", "sent", "send", "tx"), Direction.TO_CHARGE_POINT
    ),
}
#: Who sends what in OCPP 1.6 and its security extension; both may send a DataTransfer.
_ACTIONS: Mapping[str, Direction] = {
    **dict.fromkeys(
        (
            "Authorize", "BootNotification", "DiagnosticsStatusNotification",
            "FirmwareStatusNotification", "Heartbeat", "LogStatusNotification", "MeterValues",
            "SecurityEventNotification", "SignCertificate", "SignedFirmwareStatusNotification",
            "StartTransaction", "StatusNotification", "StopTransaction",
        ),
        Direction.TO_CENTRAL_SYSTEM,
    ),
    **dict.fromkeys(
        (
            "CancelReservation", "CertificateSigned", "ChangeAvailability", "ChangeConfiguration",
            "ClearCache", "ClearChargingProfile", "DeleteCertificate", "ExtendedTriggerMessage",
            "GetCompositeSchedule", "GetConfiguration", "GetDiagnostics",
            "GetInstalledCertificateIds", "GetLocalListVersion", "GetLog", "InstallCertificate",
            "RemoteStartTransaction", "RemoteStopTransaction", "ReserveNow", "Reset",
            "SendLocalList", "SetChargingProfile", "SignedUpdateFirmware", "TriggerMessage",
            "UnlockConnector", "UpdateFirmware",
        ),
        Direction.TO_CHARGE_POINT,
    ),
}  # fmt: skip
_OTHER_WAY = {
    Direction.TO_CHARGE_POINT: Direction.TO_CENTRAL_SYSTEM,
    Direction.TO_CENTRAL_SYSTEM: Direction.TO_CHARGE_POINT,
}
#: A number from here on counts milliseconds, or microseconds: as seconds it is the year 5138.
_MILLISECONDS_FROM, _MICROSECONDS_FROM, _TOO_LATE = 1e11, 1e14, 1e17

EXPECTED = (
    'expected a line of ocpp.jsonl, {"time": …, "charge_point": …, "direction": …, "message": '
    '[2, "17", "Heartbeat", {}]} or [time, message]'
)

log = logging.getLogger("evsim.logs")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class OcppLines:
    """Reads the lines of one log; answers get the action of their CALL.

    :param nameless: the charge point of messages that name none.
    """

    def __init__(self, nameless: str) -> None:
        self._nameless = nameless
        self._messages = Messages()
        self._said: set[str] = set()

    def read(self, line: str) -> OcppEvent | None:
        """Read a line; None for an answer that nothing is known of, ValueError for what is none."""
        value = self._json(line)
        if isinstance(value, dict):
            if value.keys() == EVENT_KEYS:
                return event_of(value)
            fields = {_plain(name): field for name, field in reversed(value.items())}
            if not any(name in fields for name in _MESSAGE):
                raise ValueError(f"no field message; {EXPECTED}")
        elif isinstance(value, list) and len(value) == 2 and isinstance(value[1], list | str):
            fields = {"time": value[0], "message": value[1]}
        else:
            raise ValueError(EXPECTED)
        time_s = moment(_first(fields, _TIME))
        charge_point = _first(fields, _CHARGE_POINT)
        if charge_point is None:
            charge_point = self._nameless
        elif type(charge_point) is int:
            charge_point = str(charge_point)
        if not isinstance(charge_point, str) or not is_charge_point_id(charge_point):
            raise ValueError(f"the charge point is no id: {charge_point!r:.60}")
        message = self._message(_first(fields, _MESSAGE))
        direction = self._direction(charge_point, message, _first(fields, _DIRECTION))
        if direction is None:
            self._once("an answer to a CALL before the log's beginning, without direction")
            return None
        sent = direction is Direction.TO_CHARGE_POINT
        return self._messages.event(charge_point, sent, message, time_s)

    @staticmethod
    def _json(line: str) -> object:
        try:
            return _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            reason = "nested too deep" if isinstance(error, RecursionError) else error
            raise ValueError(f"not JSON ({reason}); {EXPECTED}") from None

    def _message(self, value: object) -> list[Any]:
        if isinstance(value, str):
            value = self._json(value)
        try:
            return checked(value)
        except UnreadableError as error:
            raise ValueError(f"the message is no OCPP-J: {error}") from None

    def _direction(self, charge_point: str, message: list[Any], told: object) -> Direction | None:
        """Say which way a message goes; None if nothing does."""
        word = _plain(told.replace("->", "to")) if isinstance(told, str) else ""
        if word in _DIRECTIONS:
            return _DIRECTIONS[word]
        if told is not None and word not in _AT_ONE_END:
            known = "to_charge_point or to_central_system"
            raise ValueError(f"an unknown direction {told!r:.60}; expected {known}")
        if message[0] == CALL:
            direction = _ACTIONS.get(message[2], _AT_ONE_END.get(word))
            if direction is None:
                raise ValueError(
                    f"either end may send {message[2][:50]!r}; expected a field direction, "
                    "to_charge_point or to_central_system"
                )
            return direction
        asked = self._messages.asked(charge_point, message[1])
        return _AT_ONE_END.get(word) if asked is None else _OTHER_WAY[asked]

    def _once(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning("passed over (said once): %s", what)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _first(fields: Mapping[str, object], names: tuple[str, ...]) -> object:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def moment(value: object) -> float:
    """Read a time, Unix s; ValueError for what is none."""
    if value is None:
        raise ValueError(f"no time; {EXPECTED}")
    number = _number(value)
    if number is None or not 0 <= number < _TOO_LATE:
        raise ValueError(
            f"the time is none: {value!r:.60}; expected seconds since 1970 or ISO 8601"
        )
    if number >= _MICROSECONDS_FROM:
        return number / 1e6
    return number / 1e3 if number >= _MILLISECONDS_FROM else number


def _number(value: object) -> float | None:
    try:
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                return from_ocpp(value).timestamp()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    return None
