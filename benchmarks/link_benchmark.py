#!/usr/bin/env python3
"""How fast a link answers and what memory it keeps: ours beside the stock `ocpp` library's.

Over loopback WebSockets each link serves in a process of its own, and one client process keeps one
CALL outstanding on each of its connections. Without a socket a link reads from a list. Validation
is always on; the stock library's is in threads by default, and inline where it says so.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import json
import logging
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection as Pipe
from typing import Any

import ocpp.messages
from ocpp.v16 import ChargePoint as StockLink
from ocpp.v16 import call_result
from ocpp.v16.enums import Action
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from evsim import console
from evsim.ocpp_link import LARGEST_MESSAGE_BYTES, SUBPROTOCOL, OcppLink, on

HOST = "127.0.0.1"
NOW = "2026-01-01T00:00:00.000Z"
CLIENTS = 50
#: CALLs that wait at once where there is no socket.
WINDOW = 32
START_S = 30.0
MESSAGES_FOR_MEMORY = 100_000
RECONNECTS_FOR_MEMORY = 1000
#: After this share of them the caches are full: what grows from here on is a leak.
WARM_UP = 0.1

SOCKET_TARGET = 2.0
NO_SOCKET_TARGET = 3.0
MEMORY_TARGET = 0.05

_MEASURANDS = [
    *("Voltage", "Current.Import", "Power.Active.Import", "Energy.Active.Import.Register"),
    *("Frequency", "Temperature", "SoC", "Current.Offered"),
]
_SAMPLES = [
    {"value": "230.4", "context": "Sample.Periodic", "measurand": measurand, "location": "Outlet"}
    for measurand in _MEASURANDS
]
_METER_VALUE = {"timestamp": NOW, "sampledValue": _SAMPLES}
CALLS: dict[str, str] = {
    "Heartbeat": json.dumps([2, "1", "Heartbeat", {}]),
    "MeterValues, 8 samples": json.dumps(
        [
            2,
            "1",
            "MeterValues",
            {"connectorId": 1, "transactionId": 1, "meterValue": [_METER_VALUE]},
        ]
    ),
}
_ROW = "{:<52}{:>12}{:>12}   {:>6}  {}"


class Handlers:
    """What both links answer with."""

    @on(Action.heartbeat)
    def on_heartbeat(self, **_: object) -> call_result.Heartbeat:
        """Tell the time."""
        return call_result.Heartbeat(NOW)

    @on(Action.meter_values)
    def on_meter_values(self, **_: object) -> call_result.MeterValues:
        """Take them."""
        return call_result.MeterValues()


class Stock(Handlers, StockLink):
    """The library's own link."""


class Ours(Handlers, OcppLink):
    """This project's link."""


LINKS: dict[str, type[Any]] = {"stock": Stock, "ours": Ours}


def main(options: argparse.Namespace) -> None:
    """Measure everything and print a line for each figure."""
    console.ready(_ROW.format("answers/s", "stock", "ours", "ratio", "target"))
    for name, frame in CALLS.items():
        rates = []
        for link in LINKS:
            with server(link) as (port, _):
                rates.append(asyncio.run(answers_per_s(port, frame, options.seconds)))
        print_rates(f"WebSocket, {CLIENTS} clients, {name}", rates, SOCKET_TARGET)
    for name, frame in CALLS.items():
        rates = [answers_per_s_without_socket(link, frame, options.seconds) for link in LINKS]
        target = NO_SOCKET_TARGET if name.startswith("MeterValues") else None
        print_rates(f"no socket, stock inline, {name}", rates, target)
    with server("ours") as (port, pid):
        frame = CALLS["MeterValues, 8 samples"]
        messages = round(MESSAGES_FOR_MEMORY * options.share)
        asyncio.run(exchange(port, frame, round(messages * WARM_UP)))
        before = resident_kib(pid)
        asyncio.run(exchange(port, frame, messages))
        print_memory(f"{messages:,} messages", before, resident_kib(pid))
        reconnects = round(RECONNECTS_FOR_MEMORY * options.share)
        asyncio.run(reconnect(port, round(reconnects * WARM_UP)))
        before = resident_kib(pid)
        asyncio.run(reconnect(port, reconnects))
        print_memory(f"{reconnects:,} reconnects", before, resident_kib(pid))


def print_rates(name: str, rates: list[float], target: float | None) -> None:
    """Print what stock and ours did."""
    stock, ours = rates
    verdict = "none"
    if target is not None:
        verdict = f"{target:g} × {'met' if ours >= target * stock else 'MISSED'}"
    ratio = f"{ours / stock:.1f} ×"
    console.ready(_ROW.format(name, f"{stock:,.0f}", f"{ours:,.0f}", ratio, verdict))


def print_memory(name: str, before_kib: int, after_kib: int) -> None:
    """Print what a process has grown by."""
    growth = after_kib / before_kib - 1
    verdict = "met" if abs(growth) <= MEMORY_TARGET else "MISSED"
    console.ready(
        f"memory of ours over {name}: {before_kib / 1024:.1f} MiB -> {after_kib / 1024:.1f} MiB, "
        f"{growth:+.1%}; target ±{MEMORY_TARGET:.0%} {verdict}"
    )


def resident_kib(pid: int) -> int:
    """Tell how much memory a process has."""
    command = ["ps", "-o", "rss=", "-p", str(pid)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


# ── The server process ───────────────────────────────────────────────────────────────────────


@contextmanager
def server(link: str) -> Iterator[tuple[int, int]]:
    """Run a server with that link; give its port and process id."""
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    process = processes.Process(target=run_server, args=(link, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(START_S):
            raise TimeoutError(f"the server has said nothing for {START_S:g} s")
        yield ours.recv(), process.pid or 0
    finally:
        process.kill()
        process.join()


def run_server(link: str, report: Pipe[Any, Any]) -> None:
    """Serve until killed; report the port."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    logging.disable(logging.CRITICAL)
    asyncio.run(_serve(LINKS[link], report))


async def _serve(link_class: type[Any], report: Pipe[Any, Any]) -> None:
    async def hold(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # the stock link raises it
            await link_class("CP_1", connection).start()

    async with serve(
        hold,
        HOST,
        0,
        subprotocols=[SUBPROTOCOL],
        compression=None,
        max_size=LARGEST_MESSAGE_BYTES,
    ) as listening:
        report.send(next(iter(listening.sockets)).getsockname()[1])
        await asyncio.get_running_loop().create_future()


# ── The client: as little work as possible, for the servers are to be measured ───────────────


class Client(asyncio.Protocol):
    """Sends the next CALL when the answer to the last has come."""

    def __init__(self, frame: str, answers: int | None = None) -> None:
        self.answers = 0
        self.over = asyncio.get_running_loop().create_future()
        self.open = asyncio.get_running_loop().create_future()
        self._wanted = answers
        self._message = _websocket_frame(frame.encode())
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            f"GET /CP_1 HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Count an answer, shorter than 126 bytes, and ask again."""
        self._received += data
        if not self.open.done():
            head, end, self._received = self._received.partition(b"\r\n\r\n")
            if not end:
                self._received = head
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self.open.set_result(None)
            self._ask()
        while len(self._received) > 1 and len(self._received) >= (size := 2 + self._received[1]):
            opcode, self._received = self._received[0] & 15, self._received[size:]
            if opcode == 1:  # no ping, no close
                self.answers += 1
                self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        for future in (self.open, self.over):
            if not future.done():
                future.set_result(None)

    def _ask(self) -> None:
        if self.answers == self._wanted:
            self.over.set_result(None)
        else:
            self.transport.write(self._message)


def _websocket_frame(payload: bytes) -> bytes:
    """Make a text frame with the mask 0, which leaves the payload as it is."""
    size = len(payload)
    head = bytes([128 | size]) if size < 126 else bytes([128 | 126]) + size.to_bytes(2, "big")
    return b"\x81" + head + b"\0\0\0\0" + payload


async def connected_clients(port: int, frame: str, answers: int | None = None) -> list[Client]:
    """Connect all clients; they begin at once."""
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: Client(frame, answers), HOST, port))[1]
        for _ in range(CLIENTS)
    ]
    await asyncio.gather(*(client.open for client in clients))
    return clients


async def answers_per_s(port: int, frame: str, seconds: float) -> float:
    """Ask for `seconds`, after as long a warm-up as a fifth of that."""
    clients = await connected_clients(port, frame)
    await asyncio.sleep(seconds / 5)
    before, began_s = sum(client.answers for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    after, took_s = sum(client.answers for client in clients), time.perf_counter() - began_s
    for client in clients:
        client.transport.abort()
    return (after - before) / took_s


async def exchange(port: int, frame: str, messages: int) -> None:
    """Have so many messages answered."""
    clients = await connected_clients(port, frame, messages // CLIENTS)
    await asyncio.gather(*(client.over for client in clients))
    for client in clients:
        client.transport.abort()


async def reconnect(port: int, times: int) -> None:
    """Connect, ask once and leave, so many times."""
    loop = asyncio.get_running_loop()
    for _ in range(times):
        _, client = await loop.create_connection(lambda: Client(CALLS["Heartbeat"], 1), HOST, port)
        await client.over
        client.transport.abort()


# ── Without a socket ─────────────────────────────────────────────────────────────────────────


class List:
    """A connection that gives a frame again and again, WINDOW of them before an answer."""

    def __init__(self, frame: str, seconds: float) -> None:
        self._frame = frame
        self._ends_s = time.perf_counter() + seconds
        self._room = asyncio.Semaphore(WINDOW)
        self.answers = 0

    async def recv(self) -> str:
        """Give the frame; ConnectionClosed when the time is over."""
        await self._room.acquire()
        if time.perf_counter() > self._ends_s:
            raise ConnectionClosed(None, None)
        return self._frame

    async def send(self, message: str) -> None:
        """Count an answer."""
        assert message.startswith("[3"), message
        self.answers += 1
        self._room.release()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Must not happen."""
        raise AssertionError(f"closed with {code} {reason}")


def answers_per_s_without_socket(link: str, frame: str, seconds: float) -> float:
    """Have the list's frames answered for `seconds`, the stock library's validation inline."""

    async def measure(for_s: float) -> float:
        connection = List(frame, for_s)
        began_s = time.perf_counter()
        with suppress(ConnectionClosed):  # the stock link raises it
            await LINKS[link]("CP_1", connection).start()
        return connection.answers / (time.perf_counter() - began_s)

    ocpp.messages.ASYNC_VALIDATION = False
    try:
        asyncio.run(measure(seconds / 5))
        return asyncio.run(measure(seconds))
    finally:
        ocpp.messages.ASYNC_VALIDATION = True


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "benchmarks/link_benchmark.py --seconds 2")
    parser.add_argument(
        "--seconds",
        type=console.positive,
        default=5.0,
        help="for each of the rates (default: %(default)g)",
    )
    parser.add_argument(
        "--share",
        type=console.positive,
        default=1.0,
        help="of the messages and reconnects that memory is watched over (default: all)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(options)
    except KeyboardInterrupt:
        sys.exit(0)
    except (OSError, TimeoutError) as error:
        sys.exit(console.fail(error))
