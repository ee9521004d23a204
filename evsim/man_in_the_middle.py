"""A man in the middle on the OCPP link of one charge point: hears, changes, drops and adds.

Stands at the central system's end of the connection, in the lab and live. While he does nothing,
messages pass untouched.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosed

from evsim.events import Direction
from evsim.network_faults import abort
from evsim.ocpp_link import Connection
from evsim.ocpp_wire import CALL, UnreadableError, dump, parse

#: Messages that wait for the central system before the charge point's are no longer read.
MOST_WAITING = 256
#: How long an answer to a CALL of our own is waited for.
ANSWER_TIMEOUT_S = 30.0
#: Of the CALLs of our own.
SHORTEST_ID = 8

log = logging.getLogger("evsim.man_in_the_middle")


class ManInTheMiddle:
    """Outlives the connections of its charge point: attach() each of them."""

    def __init__(self) -> None:
        self.rewrite: Callable[[Direction, list[Any]], list[Any] | None] | None = None
        self.is_cut = False
        self._connection: _Tapped | None = None
        self._number = 0
        #: An id as each end writes them.
        self._seen = dict.fromkeys(Direction, "00000000-0000-4000-8000-000000000000")

    def attach(self, connection: Connection) -> Connection:
        """Stand in a connection: give what the central system is to use in its place.

        While is_cut, whoever brings a connection is to abort it.
        """
        self._connection = _Tapped(self, connection)
        return self._connection

    def cut(self) -> None:
        """Break the connection and let none come about."""
        self.is_cut = True
        if self._connection is not None:
            abort(self._connection.inner)

    def mend(self) -> None:
        """Let connections come about again."""
        self.is_cut = False

    async def call(self, direction: Direction, action: str, payload: dict[str, Any]) -> None:
        """Send a CALL of our own to one end, and keep its answer from the other; wait for it.

        Raises ConnectionError if there is no connection, or it closes before the answer, and
        TimeoutError if none comes within ANSWER_TIMEOUT_S.
        """
        connection = self._connection
        if connection is None or connection.is_closed:
            raise ConnectionError("there is no connection to stand in")
        self._number += 1
        unique_id = like(self._seen[direction], self._number)
        answered = connection.expect(direction, unique_id)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await connection.inject(direction, dump([CALL, unique_id, action, payload]))
                await answered
        except ConnectionClosed as error:
            raise ConnectionError("the connection closed") from error

    def pass_on(self, direction: Direction, message: list[Any]) -> list[Any] | None:
        """Give what is to be passed on in place of a message: the same, another, or None."""
        if message[0] == CALL:
            self._seen[direction] = message[1]
        if self.rewrite is None:
            return message
        try:
            return self.rewrite(direction, message)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            log.warning("a message is passed on as it is, for it is an odd one: %r", error)
            return message


IS_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def like(unique_id: str, number: int) -> str:
    """Give an id that looks like another: a digit for a digit, a letter for a letter.

    What was injected must not be told from the rest by the form of its id. The number makes it
    different each time; a short id grows, lest it be one of theirs.
    """
    digest = hashlib.sha256(f"{unique_id} {number}".encode()).digest() * 2
    if IS_UUID.fullmatch(unique_id):
        return str(uuid.UUID(bytes=digest[:16], version=4))
    unique_id = unique_id.ljust(SHORTEST_ID, "0")
    return "".join(
        "0123456789"[byte % 10]
        if char.isdigit()
        else "abcdef"[byte % 6]
        if char.isalpha()
        else char
        for char, byte in zip(unique_id, digest, strict=False)
    )


_OPPOSITE = {
    Direction.TO_CHARGE_POINT: Direction.TO_CENTRAL_SYSTEM,
    Direction.TO_CENTRAL_SYSTEM: Direction.TO_CHARGE_POINT,
}


class _Tapped:
    """The connection as the central system sees it."""

    def __init__(self, man: ManInTheMiddle, inner: Connection) -> None:
        self._man = man
        self.inner = inner
        self._inbox: deque[str | bytes] = deque()
        self._changed = asyncio.Event()
        self._closed: ConnectionClosed | None = None
        #: Whose answers are ours: the CALLs that were injected into one direction, by their ids.
        self._expected: dict[tuple[Direction, str], asyncio.Future[None]] = {}
        self._pump = asyncio.create_task(self._read())

    @property
    def is_closed(self) -> bool:
        return self._closed is not None

    def expect(self, direction: Direction, unique_id: str) -> asyncio.Future[None]:
        """Keep the answer to a CALL, also when nobody waits for it any more."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expected[direction, unique_id] = future
        return future

    def _pass_on(self, direction: Direction, raw: str | bytes) -> str | bytes | None:
        """Give what is to be passed on in place of a message, or None."""
        try:
            message = parse(raw)
        except UnreadableError:
            return raw
        if message[0] != CALL:
            answered = self._expected.pop((_OPPOSITE[direction], message[1]), None)
            if answered is not None:
                if not answered.done():
                    answered.set_result(None)
                return None
        passed = self._man.pass_on(direction, message)
        if passed is message:
            return raw
        return None if passed is None else dump(passed)

    async def _read(self) -> None:
        try:
            while True:
                raw = self._pass_on(Direction.TO_CENTRAL_SYSTEM, await self.inner.recv())
                if raw is not None:
                    await self._put(raw)
        except ConnectionClosed as error:
            self._closed = error
            self._changed.set()
            for answered in self._expected.values():
                if not answered.done():
                    answered.set_exception(ConnectionError("the connection closed"))
                    answered.exception()  # seen, even if nobody waits any more

    async def _put(self, raw: str | bytes) -> None:
        while len(self._inbox) >= MOST_WAITING and self._closed is None:
            self._changed.clear()
            await self._changed.wait()
        self._inbox.append(raw)
        self._changed.set()

    async def inject(self, direction: Direction, frame: str) -> None:
        if direction is Direction.TO_CHARGE_POINT:
            await self.inner.send(frame)
        else:
            await self._put(frame)

    async def recv(self) -> str | bytes:
        """Give the next message; ConnectionClosed when there will be none."""
        while not self._inbox:
            if self._closed is not None:
                raise self._closed
            self._changed.clear()
            await self._changed.wait()
        raw = self._inbox.popleft()
        self._changed.set()
        return raw

    async def send(self, message: str) -> None:
        """Send a message, unless the man in the middle keeps it."""
        raw = self._pass_on(Direction.TO_CHARGE_POINT, message)
        if raw is not None:
            assert isinstance(raw, str), "text came in"
            await self.inner.send(raw)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection."""
        await self.inner.close(code, reason)
