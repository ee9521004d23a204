#!/usr/bin/env python3
"""The live suite: how fast a command becomes a CAN frame, and what the programs cost when idle.

Command: from the central system's send of SetChargingProfile to 0x210 on the bus, through the real
cp.py; beside it the floor, a process that turns each WebSocket message into the same frame and
does nothing else. Idle: charger_module.py, csms.py and cp.py, connected, with nothing to do. Start:
what a ./run_all.sh that has nothing to install does before it starts the first program.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from csms import CentralSystem, ChargePoint
from evsim import console
from evsim.bus import open_bus
from evsim.can_node import CanNode
from evsim.central_system.admission import Admission
from evsim.central_system.ledger import Ledger
from evsim.central_system.server import OcppServer
from evsim.frames import Frame, SetLimit

ROOT = Path(__file__).resolve().parent.parent
CHANNEL = "239.74.165.3"
BRIDGE = "--bridge"
READY = {
    "charger_module.py": "Listening for CAN commands",
    "csms.py": "CSMS WebSocket server running",
    "cp.py": "Connected to CSMS",
}
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


async def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory)
        floor_ms = await bridge_latency_ms(options.calls)
        ours_ms = await command_latency_ms(options.calls, state)
        console.ready(f"from send to 0x210 on the bus, {options.calls} calls:")
        console.ready(f"  {'':<22}{'median':>10}{'p99':>10}{'worst':>10}")
        for name, values_ms in (("bare bridge (floor)", floor_ms), ("SetChargingProfile", ours_ms)):
            median, p99, worst = np.percentile(values_ms, [50, 99, 100])
            console.ready(f"  {name:<22}{median:>7.2f} ms{p99:>7.2f} ms{worst:>7.2f} ms")
        ratio = np.percentile(ours_ms, 99) / np.percentile(floor_ms, 99)
        console.ready(f"  p99: {ratio:.1f} times the floor; target: p99 under 10 ms when idle")
        await idle_cost(options.seconds, state)
        await start_time(state)


# ── From a command to its frame ──────────────────────────────────────────────────────────────


async def latencies_ms(calls: int, send: Callable[[int], Awaitable[object]]) -> list[float]:
    """Time `send(limit_a)` until 0x210 with that limit is on the bus, `calls` times."""
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[float] = loop.create_future()
    wanted = SetLimit(0)

    def on_frame(frame: Frame) -> None:
        if frame == wanted and not seen.done():
            seen.set_result(loop.time())

    taken_ms = []
    with CanNode(open_bus("evsim", CHANNEL), on_frame):
        for number in range(calls):
            wanted, seen = SetLimit(1 + number % 100), loop.create_future()
            sent_s = loop.time()
            answer = asyncio.ensure_future(send(wanted.limit_a))
            taken_ms.append((await asyncio.wait_for(seen, 10) - sent_s) * 1000)
            await answer
    return taken_ms


async def command_latency_ms(calls: int, state: Path) -> list[float]:
    """Through csms.py's own classes in this process and a real cp.py."""
    ready: asyncio.Future[ChargePoint] = asyncio.get_running_loop().create_future()

    class Central(CentralSystem):
        """Plays no anomaly; hands out the charge point that has booted."""

        async def begin(self, charge_point: ChargePoint) -> None:
            ready.set_result(charge_point)

    with contextlib.closing(Ledger(state / "latency.sqlite")) as ledger:
        server = OcppServer(Central(ledger, cycles=0).talk, Admission(0, ledger))
        async with server.listen("127.0.0.1", 0) as listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            url = f"ws://127.0.0.1:{port}"
            arguments = ("--url", url, "--state", str(state / "latency"))
            async with started("cp.py", *arguments, channel=CHANNEL):
                charge_point = await asyncio.wait_for(ready, 30)
                return await latencies_ms(calls, charge_point.set_limit)


async def bridge_latency_ms(calls: int) -> list[float]:
    """Through a process that does nothing but turn messages into frames."""
    connected: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

    async def hold(connection: ServerConnection) -> None:
        connected.set_result(connection)
        await connection.wait_closed()

    async with serve(hold, "127.0.0.1", 0, compression=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        arguments = (BRIDGE, f"ws://127.0.0.1:{port}")
        async with started(__spec__.name, *arguments, channel=CHANNEL):
            connection = await asyncio.wait_for(connected, 30)

            async def send(limit_a: int) -> None:
                await connection.send(str(limit_a))
                await connection.recv()

            return await latencies_ms(calls, send)


async def bridge(url: str) -> None:
    """Be that process."""
    node = CanNode(open_bus("evsim", CHANNEL))
    async with connect(url, compression=None, proxy=None) as connection:
        with node:
            async for message in connection:
                node.send(SetLimit(int(message)))
                await connection.send("done")


# ── Idle ─────────────────────────────────────────────────────────────────────────────────────


async def idle_cost(seconds: float, state: Path) -> None:
    """Print processor and memory of the three programs."""
    if sys.platform != "linux":
        console.ready("idle cost: read from /proc, which this system does not have")
        return
    async with contextlib.AsyncExitStack() as stack:
        programs = {}
        for name, arguments in (
            ("charger_module.py", ()),
            ("csms.py", ("--port", "9055", "--no-anomaly", "--db", str(state / "idle.sqlite"))),
            ("cp.py", ("--url", "ws://127.0.0.1:9055", "--state", str(state / "idle"))),
        ):
            process = await stack.enter_async_context(started(name, *arguments, channel=CHANNEL))
            programs[name] = process.pid
        await asyncio.sleep(2)  # the boot is not idling
        before = {name: processor_s(pid) for name, pid in programs.items()}
        await asyncio.sleep(seconds)
        console.ready(f"idle for {seconds:g} s (targets: 3 % together, 80 MB each):")
        total = 0.0
        for name, pid in programs.items():
            percent = 100 * (processor_s(pid) - before[name]) / seconds
            total += percent
            console.ready(f"  {name:<22}{percent:>7.2f} %{resident_mb(pid):>9.1f} MB")
        console.ready(f"  {'together':<22}{total:>7.2f} % of one core")


async def start_time(state: Path) -> None:
    """Print how long run_all.sh takes until it starts the first program, the median of three."""
    taken_s = []
    environment = os.environ | {"XDG_STATE_HOME": str(state)}
    if sys.prefix != str(ROOT / ".venv"):  # else run_all.sh looks whether that is up to date
        environment["EVSIM_PYTHON"] = sys.executable
    for _ in range(3):
        began_s = asyncio.get_running_loop().time()
        process = await asyncio.create_subprocess_exec(
            str(ROOT / "run_all.sh"),
            *("--headless", "--for", "1", "--port", "9056", "--can-channel", CHANNEL),
            cwd=state,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert process.stdout is not None
        while b"Starting" not in (line := await process.stdout.readline()):
            assert line, "run_all.sh has ended"
        taken_s.append(asyncio.get_running_loop().time() - began_s)
        await process.communicate()
    console.ready(f"start of run_all.sh: {1000 * sorted(taken_s)[1]:.0f} ms (target: under 1 s)")


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used, s."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def resident_mb(pid: int) -> float:
    """Return a process's resident memory, MB (10**6 bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@asynccontextmanager
async def started(
    name: str, *arguments: str, channel: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a script of the project until the context ends; it is ready when this returns."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(("-m", name) if name == __spec__.name else (str(ROOT / name),)),
        *arguments,
        *(("--log-level", "warning") if name in READY else ()),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"CAN_INTERFACE": "evsim", "CAN_CHANNEL": channel},
    )
    try:
        assert process.stdout is not None
        if name in READY:
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            assert READY[name] in line.decode(), line
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


if __name__ == "__main__":
    if BRIDGE in sys.argv:
        sys.exit(console.run(lambda: bridge(sys.argv[-1])))
    parser = console.argument_parser(__doc__, "python -m benchmarks.suite_benchmark --calls 1000")
    parser.add_argument("--calls", type=console.at_least_one, default=1000)
    parser.add_argument("--seconds", type=console.positive, default=30, help="of idling")
    options = parser.parse_args()
    console.set_up_logging("warning")
    sys.exit(console.run(lambda: main(options)))
