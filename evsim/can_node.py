"""A node on the CAN bus in an asyncio program: sends frames, hands on what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable

import can

from evsim.bus import BusError
from evsim.clock import utc_now
from evsim.frames import Frame, FrameError, decode, encode

#: Frames that are read in one turn of the event loop.
FRAMES_PER_TURN = 64

log = logging.getLogger("evsim.bus")


class CanNode:
    """A node on the CAN bus: sends frames, hands on what it hears.

    What is no frame of our protocol is ignored and logged once per kind. A bus with a file
    descriptor is read by the event loop itself; one without by python-can's reader thread, which
    hands its messages to the event loop.

    :param on_frame: called with each frame, in the event loop.
    """

    def __init__(self, bus: can.BusABC, on_frame: Callable[[Frame], None] | None = None) -> None:
        self.bus = bus
        self.on_frame = on_frame
        #: Called with every message that comes, of our protocol or not.
        self.on_message: Callable[[can.Message], None] | None = None
        #: Called with every message that comes or goes, for a recorder.
        self.taps: list[Callable[[can.Message], None]] = []
        #: How many frames were heard, ignored (for each kind of fault), sent and not sent.
        self.counts: Counter[str] = Counter()
        self._descriptor = -1
        self._notifier: can.Notifier | None = None
        self._send_failed = False

    def __enter__(self) -> CanNode:
        """Begin to read, within a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[None] = self._loop.create_future()
        with contextlib.suppress(NotImplementedError):
            self._descriptor = self.bus.fileno()
        if self._descriptor >= 0:
            self._loop.add_reader(self._descriptor, self._read)
        else:
            self._notifier = can.Notifier(self.bus, [_Listener(self)], loop=self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
        if self._notifier is not None:
            self._notifier.stop()
        self.bus.shutdown()

    async def watch(self) -> None:
        """Raise BusError when the bus can't be read any more; otherwise never return."""
        await asyncio.shield(self._failure)

    def fail(self, error: Exception) -> None:
        """Stop reading: the adapter was unplugged, or the interface went down."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
        if not self._failure.done():
            text = f"cannot read CAN bus {self.bus.channel_info} any more: {error}"
            self._failure.set_exception(BusError(f"{text}; check the adapter, then start again"))
            self._failure.exception()  # seen, even if nobody watches

    def _read(self) -> None:
        """Read what has come, but leave the event loop time for other things in a flood."""
        for _ in range(FRAMES_PER_TURN):
            try:
                message = self.bus.recv(0)
            except (can.CanError, OSError) as error:
                self.fail(error)
                return
            if message is None:
                return
            self.receive(message)

    def receive(self, message: can.Message) -> None:
        """Take a message from the bus."""
        for tap in self.taps:
            tap(message)
        if self.on_message is not None:
            self.on_message(message)
        if self.on_frame is None:
            return
        try:
            frame = decode(message)
        except FrameError as error:
            kind = f"ignored, {error.kind}"
            self.counts[kind] += 1
            if self.counts[kind] == 1:
                log.warning("ignoring a CAN frame (said once per kind): %s", error)
            return
        self.counts["heard"] += 1
        self.on_frame(frame)

    def send(self, frame: Frame) -> bool:
        """Send `frame`; False, and one line in the log, while the bus takes none."""
        return self.send_message(encode(frame))

    def send_message(self, message: can.Message) -> bool:
        """Send `message`, of our protocol or not, as send() does."""
        try:
            self.bus.send(message)
        except can.CanError as error:
            self.counts["not sent"] += 1
            if not self._send_failed:
                self._send_failed = True
                log.error("CAN bus %s: %s", self.bus.channel_info, error)  # noqa: TRY400
            return False
        self.counts["sent"] += 1
        if self._send_failed:
            self._send_failed = False
            log.info("CAN bus %s takes frames again", self.bus.channel_info)
        if self.taps:
            message.timestamp = utc_now().timestamp()
            for tap in self.taps:
                tap(message)
        return True


class _Listener(can.Listener):
    """Passes on what python-can's reader thread hears, in the event loop."""

    def __init__(self, node: CanNode) -> None:
        self._node = node

    def on_message_received(self, msg: can.Message) -> None:
        self._node.receive(msg)

    def on_error(self, exc: Exception) -> None:
        self._node.fail(exc)
