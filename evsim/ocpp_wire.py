"""The JSON of OCPP-J 1.6: read what a peer sent without trusting it, write what we send."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any, NoReturn

from ocpp.charge_point import camel_to_snake_case, snake_to_camel_case
from ocpp.exceptions import GenericError, OCPPError

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4
#: The id of an answer to what could not be read, as OCPP-J 2.0.1 has it; 1.6 names none.
UNREADABLE_ID = "-1"
LONGEST_ID = 36
LONGEST_DESCRIPTION = 255
#: What most values are: there is nothing in them to be turned.
_SCALARS = (str, int, float)


class UnreadableError(Exception):
    """A message that is no OCPP-J message.

    `unique_id` is its id, as far as there is one; `wants_reply` is false for what is no CALL: an
    answer is never answered, and OCPP-J has unknown message types ignored.
    """

    def __init__(
        self, text: str, unique_id: str = UNREADABLE_ID, *, wants_reply: bool = True
    ) -> None:
        super().__init__(text)
        self.unique_id = unique_id
        self.wants_reply = wants_reply


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: json.loads() and json.dumps() make new ones for each message that needs options.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def parse(raw: str | bytes) -> list[Any]:
    """Read an OCPP-J message and check its shape, so that the rest can rely on it."""
    if not isinstance(raw, str):
        raise UnreadableError("a binary message; OCPP-J is text")
    try:
        message = _DECODER.decode(raw)
        if (
            "\\" in raw and "\\ud" in raw.lower()
        ):  # half a surrogate pair is no text: nothing could store it
            json.dumps(message, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not JSON that can be read ({type(error).__name__})") from error
    return checked(message)


def checked(message: object) -> list[Any]:
    """Check the shape of an OCPP-J message that JSON was read to."""
    if not isinstance(message, list) or not message or type(message[0]) is not int:
        raise UnreadableError("not an array that begins with a message type number")
    kind = message[0]
    unique_id = message[1] if len(message) > 1 else None
    if not isinstance(unique_id, str) or len(unique_id) > LONGEST_ID:
        text = f"the id is not a text of at most {LONGEST_ID} characters"
        raise UnreadableError(text, wants_reply=kind == CALL)
    if kind == CALL:
        if len(message) != 4 or type(message[2]) is not str or type(message[3]) is not dict:
            raise UnreadableError("a CALL is [2, id, action, {payload}]", unique_id)
    elif kind == CALL_RESULT:
        if len(message) != 3 or type(message[2]) is not dict:
            text = "a CALLRESULT is [3, id, {payload}]"
            raise UnreadableError(text, unique_id, wants_reply=False)
    elif kind == CALL_ERROR:
        if len(message) != 5 or type(message[2]) is not str:
            text = "a CALLERROR is [4, id, code, description, {details}]"
            raise UnreadableError(text, unique_id, wants_reply=False)
    else:
        text = f"there is no message type {str(kind)[:20]}"
        raise UnreadableError(text, unique_id, wants_reply=False)
    return message


def error_code(error: OCPPError | type[OCPPError]) -> str:
    """Give the code that goes on the wire, as OCPP-J 1.6 spells it."""
    code = str(getattr(error, "code", "InternalError"))
    return "FormationViolation" if code == "FormatViolation" else code


def error_from_wire(code: object, description: object, details: object) -> OCPPError:
    """Give the exception for a CALLERROR that a peer sent."""
    text = str(description)[:LONGEST_DESCRIPTION]
    for error in OCPPError.__subclasses__():
        if getattr(error, "code", None) == code:
            return error(text, details if isinstance(details, dict) else {})
    return GenericError(f"{visible_name(code)}: {text}")


def explain(error: Exception) -> str:
    """Say in words what went wrong with a call()."""
    if isinstance(error, OCPPError):
        return f"{error_code(error)}: {error.description}"
    return str(error)


def call_error(unique_id: str, error: OCPPError) -> list[Any]:
    """Make a CALLERROR; nothing of the payload is echoed."""
    description = str(error.description)[:LONGEST_DESCRIPTION]
    return [CALL_ERROR, unique_id, error_code(error), description, {}]


def dump(message: list[Any]) -> str:
    """Write an OCPP-J message; ValueError for what JSON cannot hold."""
    return _ENCODER.encode(message)


@functools.lru_cache(maxsize=2048)
def _camel(key: str) -> str:
    return str(next(iter(snake_to_camel_case({key: None}))))


@functools.lru_cache(maxsize=2048)
def _snake(key: str) -> str:
    return str(next(iter(camel_to_snake_case({key: None}))))


_FIELD_NAMES: dict[type, tuple[str, ...] | None] = {}


def field_names(kind: type) -> tuple[str, ...] | None:
    """Give the names of a dataclass's fields, looked up once; None for any other class."""
    if kind not in _FIELD_NAMES:
        names = (
            (f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None
        )
        _FIELD_NAMES[kind] = tuple(names) if names is not None else None
    return _FIELD_NAMES[kind]


def to_wire(value: Any) -> Any:
    """Turn dataclasses and snake_case dictionaries into JSON values, without what is None."""
    names = field_names(type(value))
    if names is not None:
        return {
            _camel(name): v if isinstance(v, _SCALARS) else to_wire(v)
            for name in names
            if (v := getattr(value, name)) is not None
        }
    if isinstance(value, dict | Mapping):
        return {
            _camel(key): v if isinstance(v, _SCALARS) else to_wire(v)
            for key, v in value.items()
            if v is not None
        }
    if isinstance(value, list | tuple):
        return [to_wire(v) for v in value if v is not None]
    return value


def to_snake_case(value: Any) -> Any:
    """Turn the keys of JSON values into the names that Python handlers use."""
    if isinstance(value, dict):
        return {
            _snake(key): v if isinstance(v, _SCALARS) else to_snake_case(v)
            for key, v in value.items()
        }
    if isinstance(value, list):
        return [to_snake_case(v) for v in value]
    return value


def visible_name(name: object) -> str:
    """Show a name that a peer chose, cut and escaped."""
    return repr(str(name)[:50])


def without_keys(frame: str) -> str:
    """Blot out what may be a key in a frame that is to be logged, however it is written."""
    if "\\" not in frame and "authorizationkey" not in frame.lower():
        return frame
    try:
        kind, unique_id, action, payload = json.loads(frame)
        if kind == CALL and str(payload.get("key")).lower() != "authorizationkey":
            return frame
    except (ValueError, TypeError, AttributeError, RecursionError):
        return "(not shown: it may hold a key)" if "key" in frame.lower() else frame
    return dump([kind, unique_id, action, {"key": "AuthorizationKey", "value": "…"}])
