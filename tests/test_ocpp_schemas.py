"""The compiled schemas judge every message as `ocpp`'s own validators do.

Covers: all 39 actions, requests and responses. From each schema come messages that keep it (see
ocpp_corpus.py); each is then broken in one place, in every place, in every way that fits the place;
then in several.
"""

from __future__ import annotations

import copy
import itertools
import random
from typing import Any

import ocpp.messages
import pytest
from ocpp.exceptions import FormatViolationError, InternalError, OCPPError
from ocpp.v16 import call, call_result
from ocpp_corpus import KINDS, examples, mutations, places, schema_of, valid

from evsim import ocpp_schemas
from evsim.ocpp_schemas import ACTIONS, check_request, check_response
from evsim.ocpp_wire import error_code

SEVERAL_FAULTS = 40  # messages with more than one fault, for each schema

#: What `ocpp` answers FormatViolation to, and what OCPP-J 1.6 names for it.
RENAMED = {
    "additionalProperties": "FormationViolation",
    "enum": "PropertyConstraintViolation",
    "multipleOf": "PropertyConstraintViolation",
    "minItems": "OccurenceConstraintViolation",
}


# ── The two judges ───────────────────────────────────────────────────────────────────────────


def verdict_of_ocpp(action: str, kind: str, payload: Any) -> str | None:
    """Give `ocpp`'s error code under its OCPP-J 1.6 name, or None for a valid payload."""
    payload = copy.deepcopy(payload)  # it puts decimals in
    message = (
        ocpp.messages.Call("1", action, payload)
        if kind == "request"
        else ocpp.messages.CallResult("1", payload, action)
    )
    try:
        ocpp.messages._validate_payload(message, "1.6")
    except OCPPError as error:
        if isinstance(error, FormatViolationError):
            return RENAMED[getattr(error.__context__, "validator", "")]
        return error_code(error)
    return None


def our_verdict(action: str, kind: str, payload: Any) -> str | None:
    """Give our error code, or None for a valid payload."""
    try:
        (check_request if kind == "request" else check_response)(action, payload)
    except OCPPError as error:
        return error_code(error)
    return None


# ── The tests ────────────────────────────────────────────────────────────────────────────────

each_schema = pytest.mark.parametrize(
    ("action", "kind"), list(itertools.product(sorted(ACTIONS), KINDS)), ids=str
)


def has_a_verdict(payload: Any) -> bool:
    """Whether `ocpp` can judge: its decimals overflow at 10²⁷, and then it raises anything."""
    if isinstance(payload, dict | list):
        parts = payload.values() if isinstance(payload, dict) else payload
        return all(has_a_verdict(part) for part in parts)
    return type(payload) not in (int, float) or abs(payload) < 10**27


def test_all_39_actions_are_there() -> None:
    assert len(ACTIONS) == 39
    for action in ACTIONS:
        assert hasattr(call, action)
        assert hasattr(call_result, action)


@each_schema
def test_valid_messages_are_valid_to_both(action: str, kind: str) -> None:
    for payload in examples(schema_of(action, kind)):
        assert our_verdict(action, kind, payload) is None, payload
        if has_a_verdict(payload):
            assert verdict_of_ocpp(action, kind, payload) is None, payload


@each_schema
def test_one_fault_has_the_same_verdict_and_code(action: str, kind: str) -> None:
    schema = schema_of(action, kind)
    payload = valid(schema, all_fields=True)
    judged = broken = 0
    for place in places(schema, payload):
        for mutation in mutations(place, payload):
            mutated = mutation.applied_to(payload)
            ours = our_verdict(action, kind, mutated)
            if "multipleOf" in place[1] and not has_a_verdict(mutated):
                continue
            assert ours == verdict_of_ocpp(action, kind, mutated), mutation
            judged += 1
            broken += ours is not None
    assert judged > 20
    assert broken > judged / 2


@each_schema
def test_several_faults_have_the_same_verdict(action: str, kind: str) -> None:
    schema = schema_of(action, kind)
    rng = random.Random(f"{action} {kind}")
    payloads = [payload for payload in examples(schema) if has_a_verdict(payload)]
    for _ in range(SEVERAL_FAULTS):
        payload = rng.choice(payloads)
        mutated = payload
        for place in rng.choices(list(places(schema, payload)), k=rng.randint(2, 4)):
            mutation = rng.choice(list(mutations(place, payload)))
            try:
                mutated = mutation.applied_to(mutated)
            except (LookupError, TypeError):
                continue  # the place went with an earlier change
        if has_a_verdict(mutated):
            ours, theirs = (
                judge(action, kind, mutated) for judge in (our_verdict, verdict_of_ocpp)
            )
            assert (ours is None) == (theirs is None), mutated


@pytest.mark.parametrize("limit", [1e27, 10**30, -(10**30), 10**400, 1e300, float("inf")])
def test_where_ocpp_raises_anything_ours_still_judges(limit: float) -> None:
    """A limit that `decimal` cannot divide by 0.1: valid, or an OCPPError, nothing else."""
    payload = valid(schema_of("SetChargingProfile", "request"), all_fields=True)
    schedule = payload["csChargingProfiles"]["chargingSchedule"]
    schedule["chargingSchedulePeriod"][0]["limit"] = limit
    with pytest.raises((ArithmeticError, TypeError)):
        verdict_of_ocpp("SetChargingProfile", "request", payload)
    assert our_verdict("SetChargingProfile", "request", payload) in (
        None,
        "TypeConstraintViolation",
    )


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, {1, 2}, b"bytes"],
    ids=["object", "key that is no text", "set", "bytes"],
)
def test_what_json_cannot_hold_is_an_ocpp_error(value: object) -> None:
    with pytest.raises(InternalError):
        check_request("DataTransfer", {"vendorId": value})


@pytest.mark.parametrize(
    ("action", "payload", "where"),
    [
        ("Authorize", {"idTag": "secret" * 10}, "idTag"),
        ("BootNotification", {"secret": 1}, "the payload"),
        ("Reset", {"type": "secret"}, "type"),
    ],
)
def test_an_error_names_the_place_and_not_the_value(
    action: str, payload: dict[str, Any], where: str
) -> None:
    with pytest.raises(OCPPError) as caught:
        check_request(action, payload)
    assert f"{action}: {where} breaks" in caught.value.description
    assert "secret" not in caught.value.description


def test_each_schema_is_compiled_once() -> None:
    check_request("Heartbeat", {})
    assert ocpp_schemas._validator("Heartbeat") is ocpp_schemas._validator("Heartbeat")
