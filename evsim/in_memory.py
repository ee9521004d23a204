"""Links without sockets: a WebSocket and a CAN bus in memory.

The two ends of the WebSocket behave as websockets' connections do where a link depends on it:
messages in order, the same exceptions after a close, a sender that waits while the receiver's
buffer is full. The CAN bus takes its time for each frame and lets the lowest id go first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NoReturn

import can
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close, CloseCode

from evsim.can_node import CanNode
from evsim.can_timing import frame_bits
from evsim.frames import Frame

#: Messages that wait at one end before the other end's send() waits too.
BUFFERED_MESSAGES = 64
#: Messages that a CAN controller's driver queues.
TRANSMIT_QUEUE = 128
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
        self._arrived = asyncio.Event()  # a message here, or the end of all
        self._room = asyncio.Event()  # at the other end, or the end of all
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
            self._arrived.clear()
            await self._arrived.wait()
        message = self._inbox.popleft()
        self.other_end._room.set()
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message; ConnectionClosed if that is too late."""
        while self._closed is None and len(self.other_end._inbox) >= BUFFERED_MESSAGES:
            self._room.clear()
            await self._room.wait()
        if self._closed is not None:
            self._raise_closed()
        self.other_end._inbox.append(message)
        self.other_end._arrived.set()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close both ends; what has been sent can still be received."""
        self._end(Close(code, reason))

    def _end(self, how: Close) -> None:
        if self._closed is None:
            self._closed_by_us = True
            for end in (self, self.other_end):
                end._closed = how
                end._arrived.set()
                end._room.set()

    def abort(self) -> None:
        """Lose the connection without a farewell."""
        self._end(Close(CloseCode.ABNORMAL_CLOSURE, ""))

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


class InMemoryBus:
    """A CAN bus: one frame at a time, each as long as its bits; of those waiting the lowest id.

    Timestamps are those of `now_s`. Listeners are called with each message when its last bit is
    over, in the order in which they joined.

    :param bit_rate: bit/s.
    """

    def __init__(self, bit_rate: float = 500_000.0) -> None:
        self.bit_rate = bit_rate
        #: Called with every message, for a recorder.
        self.taps: list[Callable[[can.Message], None]] = []
        self._loop = asyncio.get_running_loop()
        self._ports: list[InMemoryPort] = []
        self._busy = False

    def join(self, receive: Callable[[can.Message], None]) -> InMemoryPort:
        """Give a new member its port."""
        port = InMemoryPort(self, receive)
        self._ports.append(port)
        return port

    def leave(self, port: InMemoryPort) -> None:
        """Take a member off the bus, with what it had not sent yet."""
        self._ports.remove(port)

    def arbitrate(self) -> None:
        """Let the lowest waiting id begin, if the bus is free."""
        if self._busy:
            return
        senders = [port for port in self._ports if port.waiting]
        if not senders:
            return
        self._busy = True
        sender = senders[0]
        if len(senders) > 1:
            sender = min(senders, key=lambda port: port.waiting[0].arbitration_id)
        message = sender.waiting.popleft()
        bits = frame_bits(
            message.arbitration_id,
            bytes(message.data),
            message.dlc,
            remote=message.is_remote_frame,
        )
        self._loop.call_later(bits / self.bit_rate, self._deliver, sender, message)

    def _deliver(self, sender: InMemoryPort, message: can.Message) -> None:
        self._busy = False
        message.timestamp = self._loop.time()
        for tap in self.taps:
            tap(message)
        for port in list(self._ports):
            if port is not sender:
                port.receive(message)
        self.arbitrate()


class InMemoryPort:
    """A member's port, with its transmit queue; what CanNode needs of a can.BusABC."""

    channel_info = "bus in memory"

    def __init__(self, bus: InMemoryBus, receive: Callable[[can.Message], None]) -> None:
        self.bus = bus
        self.receive = receive
        self.waiting: deque[can.Message] = deque()

    def send(self, message: can.Message) -> None:
        """Queue a message; can.CanOperationError when the controller's queue is full."""
        if len(self.waiting) >= TRANSMIT_QUEUE:
            raise can.CanOperationError("the transmit queue is full: the bus is too busy")
        self.waiting.append(message)
        self.bus.arbitrate()


class InMemoryNode(CanNode):
    """A CanNode on a bus in memory."""

    def __init__(self, bus: InMemoryBus, on_frame: Callable[[Frame], None] | None = None) -> None:
        self._joined = bus
        super().__init__(bus.join(self.receive), on_frame)  # type: ignore[arg-type]

    def __enter__(self) -> InMemoryNode:
        """Nothing to begin: the bus calls receive()."""
        return self

    def __exit__(self, *_: object) -> None:
        self._joined.leave(self.bus)  # type: ignore[arg-type]

    async def watch(self) -> None:
        """Never return: a bus in memory does not fail."""
        await asyncio.get_running_loop().create_future()
