"""Does the CAN bus carry our frames from one process to another? Sends each kind and compares."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import can

from evsim.bus import open_bus
from evsim.errors import UserError
from evsim.frames import (
    Frame,
    FrameError,
    MeasuredCurrent,
    SetLimit,
    StartCharging,
    StateOfCharge,
    StopCharging,
    decode,
    encode,
)

#: Each kind of frame, some with a value that needs both bytes. The last two leave a charger that
#: happens to be on the bus switched off.
FRAMES: tuple[Frame, ...] = (
    SetLimit(100),
    SetLimit(300),
    StartCharging(),
    MeasuredCurrent(300),
    StateOfCharge(80.5),
    SetLimit(0),
    StopCharging(),
)
#: A frame that the listener has not reported by then is lost.
ARRIVAL_S = 1.0
#: For the start of the listening process: Python and python-can.
LISTENER_START_S = 20.0

#: How often either process looks at the pipe between them: a pipe's end can't be awaited by
#: asyncio on Windows.
_PARENT_LOOKS_EACH_S = 0.002
_LISTENER_LOOKS_EACH_S = 0.2
_LISTENING = "listening"


@dataclass(frozen=True)
class Exchange:
    """One frame that was sent, and what the other process heard of it."""

    frame: Frame
    sent: str
    #: None if nothing with its id arrived within ARRIVAL_S.
    received: str | None

    @property
    def intact(self) -> bool:
        """Whether it arrived as it was sent."""
        return self.received == self.sent


def text_of(message: can.Message) -> str:
    """Write a frame as candump does: 210#2C01."""
    return f"{message.arbitration_id:03X}#{bytes(message.data).hex().upper()}"


async def exchange_frames(
    interface: str | None = None, channel: str | None = None
) -> list[Exchange]:
    """Send FRAMES from this process to another one and tell what arrived there.

    Frames of others on the same bus are passed over. Raises UserError if a bus does not open.
    """
    exchanges = []
    with open_bus(interface, channel) as bus, _listening_process(interface, channel) as listener:
        if await _heard(listener, _LISTENING, LISTENER_START_S) != _LISTENING:
            raise UserError("the listening process did not come up; see its message above")
        for frame in FRAMES:
            message = encode(frame)
            try:
                bus.send(message)
            except can.CanError as error:
                raise UserError(f"cannot send on CAN bus {bus.channel_info}: {error}") from error
            sent = text_of(message)
            exchanges.append(Exchange(frame, sent, await _heard(listener, sent, ARRIVAL_S)))
    return exchanges


@contextmanager
def _listening_process(
    interface: str | None, channel: str | None
) -> Iterator[Connection[Any, Any]]:
    # Spawned, not forked: nothing of this process, least of all its bus, is shared.
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    listener = processes.Process(
        target=_listen, args=(theirs, interface, channel), name="CAN listener", daemon=True
    )
    listener.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        listener.kill()
        listener.join()
        listener.close()


def _listen(report: Connection[Any, Any], interface: str | None, channel: str | None) -> None:
    """Report each frame of our protocol, until the process at the pipe's other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    try:
        with open_bus(interface, channel) as bus:
            report.send(_LISTENING)
            while not report.poll():
                message = bus.recv(_LISTENER_LOOKS_EACH_S)
                if message is not None and _is_ours(message):
                    report.send(text_of(message))
    except UserError as error:
        report.send(str(error))
    except (BrokenPipeError, ConnectionResetError):
        return


def _is_ours(message: can.Message) -> bool:
    try:
        decode(message)
    except FrameError:
        return False
    return True


async def _heard(listener: Connection[Any, Any], expected: str, timeout_s: float) -> str | None:
    """Return `expected` once it was heard, else the last with the same id by the time-out."""
    heard = None
    try:
        async with asyncio.timeout(timeout_s):
            while heard != expected:
                while not listener.poll():  # noqa: ASYNC110 - a pipe, see _PARENT_LOOKS_EACH_S
                    await asyncio.sleep(_PARENT_LOOKS_EACH_S)
                report = str(listener.recv())
                if report.startswith(expected.partition("#")[0]):
                    heard = report
    except (TimeoutError, EOFError, ConnectionResetError):
        pass
    return heard
