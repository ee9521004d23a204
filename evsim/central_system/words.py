"""Words that a person typed, turned into what OCPP takes, and answers turned into words."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ocpp.v16 import call

from evsim.central_system.id_tags import parse_tag
from evsim.errors import UserError
from evsim.ocpp_wire import to_snake_case, to_wire

#: What a central system may send.
REQUESTS = (
    "CancelReservation",
    "CertificateSigned",
    "ChangeAvailability",
    "ChangeConfiguration",
    "ClearCache",
    "ClearChargingProfile",
    "DataTransfer",
    "DeleteCertificate",
    "ExtendedTriggerMessage",
    "GetCompositeSchedule",
    "GetConfiguration",
    "GetDiagnostics",
    "GetInstalledCertificateIds",
    "GetLocalListVersion",
    "GetLog",
    "InstallCertificate",
    "RemoteStartTransaction",
    "RemoteStopTransaction",
    "ReserveNow",
    "Reset",
    "SendLocalList",
    "SetChargingProfile",
    "SignedUpdateFirmware",
    "TriggerMessage",
    "UnlockConnector",
    "UpdateFirmware",
)


def whole(text: str) -> int:
    """Read a whole number that a person typed; UserError if it is none."""
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{text!r} is not a whole number") from None


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object that a person typed, with snake_case keys; UserError if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"this is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError('a JSON object is expected, such as {"connectorId": 1}')
    found: dict[str, Any] = to_snake_case(value)
    return found


def show(answer: Any) -> str:
    """Show an answer: its status where there is nothing else in it, otherwise as JSON."""
    wire = to_wire(answer)
    if wire.keys() == {"status"}:
        return str(wire["status"])
    return json.dumps(wire, ensure_ascii=False)


def authorization_data(entry: str) -> dict[str, Any]:
    """Read an entry of a local list, TAG=STATUS, or TAG alone to remove it; UserError."""
    id_tag, separator, status = entry.partition("=")
    if not separator:
        return {"id_tag": id_tag}
    return {"id_tag": id_tag, "id_tag_info": {"status": parse_tag([id_tag, status]).status}}


def request(action: str, payload: str) -> Any:
    """Make a request of ocpp.v16.call from its action and JSON; UserError if there is none such."""
    request_class = next(
        (getattr(call, name) for name in REQUESTS if name.lower() == action.lower()), None
    )
    if request_class is None:
        raise UserError(f"{action!r} is no request of a central system; Tab shows them")
    arguments = json_object(payload)
    fields = {field.name for field in dataclasses.fields(request_class)}
    if unknown := arguments.keys() - fields:
        raise UserError(f"{request_class.__name__} has no field {', '.join(sorted(unknown))}")
    try:
        return request_class(**arguments)
    except TypeError as error:
        missing = str(error).split("argument")[-1].strip("s: ")
        raise UserError(f"{request_class.__name__} lacks {missing}") from None
