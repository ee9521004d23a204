"""Links without sockets: two ends of a WebSocket joined in memory.

They behave as websockets' connections do where a link depends on it: messages in order, the
same exceptions after a close, a sender that waits while the receiver's buffer is full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NoReturn

from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

#: Messages that wait at one end before the other end's send() waits too.
BUFFERED_MESSAGES = 64
_NORMAL_CLOSURES = (1000, 1001)


def websocket_pair() -> tuple[InMemoryConnection, InMemoryConnection]:
    """Make the two ends of a connection."""
    one, other = InMemoryConnection(), InMemoryConnection()
    one.join(other)
    other.join(one)
    return one, other


class InMemoryConnection:
    """One end; made by websocket_pair()."""

    def __init__(self) -> None:
        self._peer: InMemoryConnection | None = None
        self._inbox: deque[str | bytes] = deque()
        self._changed = asyncio.Event()
        self._closed: Close | None = None
        self._closed_by_us = False

    def join(self, peer: InMemoryConnection) -> None:
        """Make `peer` the other end."""
        self._peer = peer

    @property
    def other_end(self) -> InMemoryConnection:
        """The end that hears what is sent here."""
        assert self._peer is not None, "made by websocket_pair()"
        return self._peer

    async def recv(self) -> str | bytes:
        """Give the next message; ConnectionClosed when there will be none."""
        while not self._inbox:
            if self._closed is not None:
                self._raise_closed()
            self._changed.clear()
            await self._changed.wait()
        message = self._inbox.popleft()
        self.other_end._changed.set()
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message; ConnectionClosed if that is too late."""
        while self._closed is None and len(self.other_end._inbox) >= BUFFERED_MESSAGES:
            self._changed.clear()
            await self._changed.wait()
        if self._closed is not None:
            self._raise_closed()
        self.other_end._inbox.append(message)
        self.other_end._changed.set()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close both ends; what has been sent can still be received."""
        if self._closed is None:
            self._closed_by_us = True
            for end in (self, self.other_end):
                end._closed = Close(code, reason)
                end._changed.set()

    @property
    def close_code(self) -> int | None:
        """The code it was closed with; None while it is open."""
        return self._closed.code if self._closed is not None else None

    def _raise_closed(self) -> NoReturn:
        assert self._closed is not None
        error = (
            ConnectionClosedOK if self._closed.code in _NORMAL_CLOSURES else ConnectionClosedError
        )
        raise error(self._closed, self._closed, rcvd_then_sent=not self._closed_by_us)
