"""The OCPP 1.6 message schemas, compiled once, and the error code for each kind of fault.

The schemas are those that the `ocpp` package ships; `jsonschema-rs` judges by them some hundred
times faster than the validator used there, with the same verdicts (tests/test_ocpp_schemas.py).
"""

from __future__ import annotations

import functools
import json
from importlib import resources

import jsonschema_rs
from ocpp.exceptions import (
    FormationViolationError,
    InternalError,
    OccurenceConstraintViolationError,
    OCPPError,
    PropertyConstraintViolationError,
    ProtocolError,
    TypeConstraintViolationError,
)
from ocpp.v16.enums import Action

ACTIONS = frozenset(str(action) for action in Action)

#: JSON Schema keyword that is broken -> the error that OCPP-J 1.6 names. FormationViolation and
#: OccurenceConstraintViolation are spelt as the 1.6 text spells them.
ERRORS: dict[str, type[OCPPError]] = {
    "type": TypeConstraintViolationError,
    "additionalProperties": FormationViolationError,
    "required": ProtocolError,
    "maxLength": TypeConstraintViolationError,
    "minItems": OccurenceConstraintViolationError,
    "maxItems": OccurenceConstraintViolationError,
    "enum": PropertyConstraintViolationError,
    "multipleOf": PropertyConstraintViolationError,
}


@functools.cache
def _validator(schema_name: str) -> jsonschema_rs.Validator:
    text = resources.files("ocpp.v16").joinpath("schemas", f"{schema_name}.json").read_text("utf-8")
    # Draft 4 whatever "$schema" says, as in `ocpp`: draft 6 takes 1.0 for an integer. Formats are
    # not judged, as there: a central system must answer old or odd time stamps.
    return jsonschema_rs.Draft4Validator(json.loads(text), validate_formats=False)


def check_request(action: str, payload: object) -> None:
    """Raise the OCPPError that fits if `payload` is no valid request of `action`, in ACTIONS."""
    _check(action, payload)


def check_response(action: str, payload: object) -> None:
    """Raise the OCPPError that fits if `payload` is no valid response to `action`, in ACTIONS."""
    _check(f"{action}Response", payload)


def _check(schema_name: str, payload: object) -> None:
    try:
        # The first fault is enough: listing all takes half a second where a hostile message has
        # 30,000.
        _validator(schema_name).validate(payload)
    except jsonschema_rs.ValidationError as error:
        keyword = str(error.schema_path[-1])
        # The path names fields; the values stay out of what is sent back and logged.
        where = ".".join(str(step) for step in error.instance_path) or "the payload"
        raise ERRORS.get(keyword, PropertyConstraintViolationError)(
            f"{schema_name}: {where} breaks the rule {keyword!r}"
        ) from None
    except ValueError as error:  # a Python value that is no JSON
        raise InternalError(f"{schema_name} holds what JSON cannot: {error}") from error
