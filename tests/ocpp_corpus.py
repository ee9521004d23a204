"""OCPP 1.6 messages for the tests: from each schema some that keep it, and ways to break them."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from evsim.ocpp_wire import LONGEST_ID, UNREADABLE_ID

KINDS = ("request", "response")

Path = tuple[str | int, ...]
#: A place in a message and the schema that holds there.
Place = tuple[Path, dict[str, Any]]


# ── Messages that keep a schema ──────────────────────────────────────────────────────────────


@functools.cache
def schema_of(action: str, kind: str) -> dict[str, Any]:
    """Read a schema that `ocpp` ships, its references put in place."""
    name = action if kind == "request" else f"{action}Response"
    file = resources.files("ocpp.v16").joinpath("schemas", f"{name}.json")
    schema = json.loads(file.read_text("utf-8"))
    resolved: dict[str, Any] = resolve(schema, schema)
    return resolved


def resolve(part: Any, root: dict[str, Any]) -> Any:
    """Put what "$ref" names in its place."""
    if isinstance(part, dict):
        if "$ref" in part:
            part = root["definitions"][part["$ref"].removeprefix("#/definitions/")]
        return {key: resolve(value, root) for key, value in part.items() if key != "definitions"}
    if isinstance(part, list):
        return [resolve(item, root) for item in part]
    return part


def valid(schema: dict[str, Any], *, all_fields: bool, variant: int = 0) -> Any:
    """Make a value that keeps the schema; `variant` chooses among those it may be."""
    if "enum" in schema:
        return schema["enum"][variant % len(schema["enum"])]
    match schema["type"]:
        case "object":
            names = schema.get("properties", {}) if all_fields else schema.get("required", [])
            return {
                name: valid(schema["properties"][name], all_fields=all_fields, variant=variant)
                for name in names
            }
        case "array":
            items = schema["items"]
            item = items[0] if isinstance(items, list) else items
            return [valid(item, all_fields=all_fields, variant=variant + n) for n in range(2)]
        case "string":
            longest = schema.get("maxLength", 30)
            texts = ["a" * longest, "", "ÄΩ☃𝄞"[: min(longest, 4)], "2026-01-01T00:00:00Z"[:longest]]
            return texts[variant % len(texts)]
        case "integer":
            numbers = [1, 0, -1, 2**31, 2**63, -(2**64), 10**30]
            return numbers[variant % len(numbers)]
        case "number":
            decimals = [21.4, 0.1, 0, -5.5, 123456789.1, 32, 0.7, 1e15]
            return decimals[variant % len(decimals)]
        case "boolean":
            return variant % 2 == 0
    raise AssertionError(f"no example for {schema}")


def places(schema: dict[str, Any], payload: Any, path: Path = ()) -> Iterator[Place]:
    """Give every place in a valid payload with the schema that holds there."""
    yield path, schema
    if isinstance(payload, dict):
        for name, value in payload.items():
            yield from places(schema["properties"][name], value, (*path, name))
    elif isinstance(payload, list):
        items = schema["items"]
        for number, value in enumerate(payload):
            item = items[0] if isinstance(items, list) else items
            yield from places(item, value, (*path, number))


# ── Messages that break it ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Mutation:
    """Another value for a place; for none, the place itself goes."""

    path: Path
    value: Any = None
    removes: bool = False

    def applied_to(self, payload: Any) -> Any:
        """Give the payload so changed; raises LookupError or TypeError if the place is gone."""
        if not self.path:
            return copy.deepcopy(self.value)
        payload = copy.deepcopy(payload)
        owner = payload
        for step in self.path[:-1]:
            owner = owner[step]
        if self.removes:
            del owner[self.path[-1]]
        else:
            owner[self.path[-1]] = copy.deepcopy(self.value)
        return payload


AN_OBJECT = {"a": {"b": [1]}}
OF_OTHER_TYPES: list[Any] = [
    *(None, True, False, 0, 1, 1.0, 1.5, -0.0, 1e300, 10**30, "", "1", "text", [], {}),
    *([[]], [None], AN_OBJECT),
]
FLOATS = [4.11, 21.4, 0.1 + 0.2, 16.05, 1e-9, -0.05, 7.0, 0.30000000000000004, 1234567.25]


def nested(depth: int) -> Any:
    """Nest lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def mutations(place: Place, payload: Any) -> Iterator[Mutation]:
    """Give single changes of the payload at one place; some leave it valid."""
    path, schema = place
    if path:
        yield Mutation(path, removes=True)
    for value in [*OF_OTHER_TYPES, nested(20)]:
        # For an object, another object has two faults: what is missing and what is too much.
        if not (schema["type"] == "object" and value == AN_OBJECT):
            yield Mutation(path, value)
    match schema["type"]:
        case "object":
            for name in ("extra", "", "ConnectorId", "__proto__", "$ref"):
                yield Mutation((*path, name), 1)
        case "string":
            if "enum" in schema:
                first = schema["enum"][0]
                for value in (first.lower(), first + " ", "Outside"):
                    yield Mutation(path, value)
            for length in (schema.get("maxLength", 5000) + n for n in (-1, 0, 1, 1000)):
                yield Mutation(path, "x" * length)
                yield Mutation(path, "𝄞" * length)
        case "integer":
            for number in (2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1e15, -1.0):
                yield Mutation(path, number)
        case "number":
            for number in FLOATS:
                yield Mutation(path, number)
        case "array":
            whole: Any = payload
            for step in path:
                whole = whole[step]
            for items in ([], whole * 50, [*whole, None], [*whole, {}], [*whole, "text"]):
                yield Mutation(path, items)


def examples(schema: dict[str, Any]) -> list[Any]:
    """Give some valid payloads: only what is required, everything, other values."""
    return [
        valid(schema, all_fields=False),
        *(valid(schema, all_fields=True, variant=variant) for variant in range(8)),
    ]


# ── What is due to them ──────────────────────────────────────────────────────────────────────


def reply_is_due(text: str | bytes) -> str | None:
    """Say with which id a message must be replied to, None if it must not be; read OCPP-J anew."""
    if isinstance(text, bytes):
        return UNREADABLE_ID

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        message = json.loads(text, parse_constant=refuse)
        json.dumps(message, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return UNREADABLE_ID
    match message:
        case [bool() | float(), *_]:
            return UNREADABLE_ID
        case [2, str(unique_id), *_] if len(unique_id) <= LONGEST_ID:
            return unique_id
        case [int(kind), *_] if kind != 2:
            return None
    return UNREADABLE_ID
