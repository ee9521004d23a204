"""Trouble on the OCPP link: whole messages late, twice, out of order or squeezed; or none at all.

Real stations hang on mobile networks. A FaultyConnection stands between a link and its real
connection, live or in memory, and treats both directions alike; the trouble comes from a seed.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed

from evsim.errors import UserError
from evsim.ocpp_link import Connection

#: Messages under way in one direction before a sender waits.
MOST_UNDER_WAY = 256
#: What lets two messages with the same delay keep their order, s.
_NEXT_S = 1e-9


@dataclass(frozen=True)
class NetworkFaults:
    """What the network does; as text "latency=80ms,jitter=40ms,loss=5min,duplicate=1%".

    Each message is delayed by `latency_s` plus an exponentially distributed share with mean
    `jitter_s`; with the given probabilities it arrives twice, or after messages sent later. In
    each direction no more than `throttle_bytes_s` pass. The connection breaks at random, on
    average once in `loss_s`.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    throttle_bytes_s: float = float("inf")
    loss_s: float = float("inf")


_UNITS = {
    "_s": {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    "_bytes_s": {"B/s": 1.0, "kB/s": 1e3, "MB/s": 1e6},
    "": {"%": 0.01, "": 1.0},
}


def parse_faults(text: str) -> NetworkFaults:
    """Read faults from text; UserError that says what was expected."""
    values: dict[str, float] = {}
    names = {_split(field.name)[0]: field.name for field in fields(NetworkFaults)}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        field_name = names.get(name)
        if field_name is None:
            raise UserError(f"no network fault {name!r}; known are: {', '.join(names)}")
        if field_name in values:
            raise UserError(f"network fault {name!r} is named twice")
        values[field_name] = _quantity(name, value, _split(field_name)[1])
    return NetworkFaults(**values)


def _split(field_name: str) -> tuple[str, str]:
    """Split a field's name into the fault's name and the suffix that tells its unit."""
    name, *_ = field_name.split("_", 1)
    return name, field_name[len(name) :]


def _quantity(name: str, text: str, suffix: str) -> float:
    units = _UNITS[suffix]
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*(\D*)", text.strip())
    if match is None or match[2] not in units:
        example = "5" + next(iter(units))
        raise UserError(
            f"network fault {name}={text!r} is no number with a unit, e.g. {name}={example}; "
            f"units are: {', '.join(unit or '(none)' for unit in units)}"
        )
    number = float(match[1]) * units[match[2]]
    never_0 = suffix == "_bytes_s" or name == "loss"
    if (suffix == "" and number > 1) or (never_0 and number == 0):
        raise UserError(f"network fault {name}={text} is out of range")
    return number


def abort(connection: Connection) -> None:
    """Lose a connection without a farewell, live or in memory."""
    transport: Any = getattr(connection, "transport", connection)
    transport.abort()


class FaultyConnection:
    """A connection seen through a bad network; close() it, or let the other end do so."""

    def __init__(
        self, connection: Connection, faults: NetworkFaults, rng: np.random.Generator
    ) -> None:
        self._connection = connection
        self._out = _DelayLine(faults, rng)
        self._in = _DelayLine(faults, rng)
        self._sending = asyncio.create_task(self._send_on())
        self._receiving = asyncio.create_task(self._receive())
        self._breaking: asyncio.TimerHandle | None = None
        if faults.loss_s < float("inf"):
            after_s = rng.exponential(faults.loss_s)
            self._breaking = asyncio.get_running_loop().call_later(after_s, abort, connection)
        self._closed: ConnectionClosed | None = None

    async def recv(self) -> str | bytes:
        """Give the next message; ConnectionClosed when there will be none."""
        message = await self._in.take()
        if message is None:
            self._end()
            assert self._closed is not None
            raise self._closed
        return message

    async def send(self, message: str) -> None:
        """Send a message into the network; ConnectionClosed if that is too late."""
        if self._closed is not None:
            raise self._closed
        await self._out.put(message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection; what is under way is lost."""
        await self._connection.close(code, reason)
        await self._receiving  # ends with the close
        self._end()

    async def _send_on(self) -> None:
        try:
            while (message := await self._out.take()) is not None:
                assert isinstance(message, str), "send() takes text only"
                await self._connection.send(message)
        except ConnectionClosed as error:
            self._closed = error

    async def _receive(self) -> None:
        try:
            while True:
                await self._in.put(await self._connection.recv())
        except ConnectionClosed as error:
            self._closed = error
            self._in.end()

    def _end(self) -> None:
        if self._breaking is not None:
            self._breaking.cancel()
        self._out.end()
        self._sending.cancel()


class _DelayLine:
    """One direction of the network."""

    def __init__(self, faults: NetworkFaults, rng: np.random.Generator) -> None:
        self._faults = faults
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[str | bytes | None] = deque()
        self._changed = asyncio.Event()
        self._under_way = 0
        self._last_due_s = 0.0
        self._free_at_s = 0.0

    async def put(self, message: str | bytes) -> None:
        """Send a message on its way."""
        while self._under_way >= MOST_UNDER_WAY:
            self._changed.clear()
            await self._changed.wait()
        faults, now_s = self._faults, self._loop.time()
        self._free_at_s = max(self._free_at_s, now_s) + len(message) / faults.throttle_bytes_s
        due_s = self._free_at_s + faults.latency_s
        if faults.jitter_s:
            due_s += self._rng.exponential(faults.jitter_s)
        if faults.reorder and self._rng.random() < faults.reorder:
            # It takes a longer way; what is sent later does not wait for it.
            self._deliver_at(due_s + faults.latency_s + faults.jitter_s + 0.1, message)
            return
        self._last_due_s = due_s = max(due_s, self._last_due_s + _NEXT_S)
        self._deliver_at(due_s, message)
        if faults.duplicate and self._rng.random() < faults.duplicate:
            self._last_due_s = due_s + _NEXT_S
            self._deliver_at(self._last_due_s, message)

    def _deliver_at(self, due_s: float, message: str | bytes) -> None:
        self._under_way += 1
        self._loop.call_at(due_s, self._arrive, message)

    def _arrive(self, message: str | bytes | None) -> None:
        self._arrived.append(message)
        self._changed.set()

    async def take(self) -> str | bytes | None:
        """Give the next message that has arrived; None at the end."""
        while not self._arrived:
            self._changed.clear()
            await self._changed.wait()
        message = self._arrived.popleft()
        if message is None:
            self._arrived.append(None)
        else:
            self._under_way -= 1
            self._changed.set()
        return message

    def end(self) -> None:
        """Let take() give None, once what has arrived is taken."""
        self._arrive(None)
