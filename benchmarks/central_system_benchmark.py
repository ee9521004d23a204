#!/usr/bin/env python3
"""What csms.py costs with many charge points: processor, memory, and how long an answer takes.

Scenario: charge points in two client processes connect to the real csms.py, boot, begin a
transaction each, and then send a Heartbeat and a MeterValues with 8 samples each per 10 s, evenly
spread. csms.py keeps all of it in SQLite and is measured from outside.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from evsim import console
from evsim.clock import to_ocpp
from evsim.ocpp_link import SUBPROTOCOL

HOST = "127.0.0.1"
PERIOD_S = 10.0
CLIENT_PROCESSES = 2
#: Charge points that connect at the same time, in each client process.
CONNECTING = 20
START_S = 60.0
PROCESSOR_TARGET = 0.60  # of one core
MEMORY_TARGET_MB = 250.0
ANSWER_TARGET_S = 0.100  # 99 % of answers come within

ROOT = Path(__file__).resolve().parent.parent
_MEASURANDS = [
    *("Voltage", "Current.Import", "Power.Active.Import", "Energy.Active.Import.Register"),
    *("Frequency", "Temperature", "SoC", "Current.Offered"),
]


async def main(options: argparse.Namespace) -> None:
    """Start csms.py and the client processes, measure, and print each figure with its target."""
    with tempfile.TemporaryDirectory() as directory:
        async with csms(Path(directory) / "csms.sqlite") as (process, port):
            console.ready(f"{options.charge_points} charge points, {options.seconds:g} s")
            clients = [
                await asyncio.create_subprocess_exec(
                    *(sys.executable, __file__, "--seconds", str(options.seconds)),
                    *("--charge-points", str(count), "--client", f"{port}:{number}"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                for number, count in enumerate(shares(options.charge_points))
            ]
            try:
                connected = await asyncio.gather(*(line_of(client) for client in clients))
                console.ready(f"connected in {max(map(float, connected)):.1f} s")
                for client in clients:
                    tell(client, "begin")
                # Let the first period go by: the burst of the boots is no part of it.
                await asyncio.sleep(PERIOD_S)
                cpu_s, began_s = cpu_time_s(process.pid), time.perf_counter()
                for client in clients:
                    tell(client, "measure")
                await asyncio.sleep(options.seconds)
                cpu_s = cpu_time_s(process.pid) - cpu_s
                took_s = time.perf_counter() - began_s
                memory_mb = resident_mb(process.pid)
                reports = [json.loads(await line_of(client)) for client in clients]
            finally:
                for client in clients:
                    with contextlib.suppress(ProcessLookupError):
                        client.kill()
                    await client.wait()
    answers_s = sorted(answer_s for report in reports for answer_s in report)
    due = round(2 * options.charge_points * took_s / PERIOD_S)
    console.ready(f"answers: {len(answers_s)} of {due} due, {len(answers_s) / took_s:.0f} a second")
    p50_s, p99_s = (answers_s[int(len(answers_s) * share)] for share in (0.5, 0.99))
    show(
        "processor, of one core",
        f"{cpu_s / took_s:.1%}",
        "< 60 %",
        cpu_s / took_s < PROCESSOR_TARGET,
    )
    show("resident memory", f"{memory_mb:.0f} MB", "< 250 MB", memory_mb < MEMORY_TARGET_MB)
    show(
        "answer time, 99 %",
        f"{p99_s * 1e3:.1f} ms (50 %: {p50_s * 1e3:.1f} ms)",
        "< 100 ms",
        p99_s < ANSWER_TARGET_S,
    )


def show(name: str, figure: str, target: str, met: bool) -> None:
    """Print a figure with its target."""
    console.ready(f"{name:<24}{figure:<32}target {target:<10}{'met' if met else 'MISSED'}")


def shares(charge_points: int) -> list[int]:
    """Divide the charge points among the client processes."""
    return [
        charge_points // CLIENT_PROCESSES + (number < charge_points % CLIENT_PROCESSES)
        for number in range(CLIENT_PROCESSES)
    ]


@contextlib.asynccontextmanager
async def csms(database: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Run csms.py; give the process and its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "csms.py"), "--no-anomaly", "--port", "0"),
        *("--db", str(database), "--log-level", "warning"),
        stdout=subprocess.PIPE,
    )
    try:
        yield process, int((await line_of(process)).rpartition(":")[2])
    finally:
        process.kill()
        await process.wait()


async def line_of(process: asyncio.subprocess.Process) -> str:
    """Wait for a line that the process prints, not for ever."""
    assert process.stdout is not None
    async with asyncio.timeout(START_S + PERIOD_S):
        # All answer times in one line: longer than what readline() takes.
        line = b""
        while not line.endswith(b"\n"):
            part = await process.stdout.read(65536)
            if not part:
                raise ConnectionError("a process of the benchmark has ended early")
            line += part
    return line.decode().strip()


def tell(process: asyncio.subprocess.Process, words: str) -> None:
    """Write a line to a process."""
    assert process.stdin is not None
    process.stdin.write(f"{words}\n".encode())


def cpu_time_s(pid: int) -> float:
    """Tell the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Tell how much memory a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# ── A client process ─────────────────────────────────────────────────────────────────────────


async def play_charge_points(options: argparse.Namespace) -> None:
    """Connect the charge points, then let them talk; report when told to."""
    port, number = options.client.split(":")
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    began_s = time.perf_counter()
    room = asyncio.Semaphore(CONNECTING)
    stations = [Station(f"CP_{number}_{n}") for n in range(options.charge_points)]

    async def boot(station: Station) -> None:
        async with room:
            await station.boot(f"ws://{HOST}:{port}")

    await asyncio.gather(*map(boot, stations))
    console.ready(f"{time.perf_counter() - began_s:.1f}")
    await commands.readline()
    async with asyncio.TaskGroup() as tasks:
        talking = [
            tasks.create_task(station.talk(PERIOD_S * n / len(stations)))
            for n, station in enumerate(stations)
        ]
        await commands.readline()
        for station in stations:
            station.answers_s.clear()
        await asyncio.sleep(options.seconds)
        console.ready(json.dumps([round(s, 5) for station in stations for s in station.answers_s]))
        for task in talking:
            task.cancel()


class Station:
    """A charge point that only talks; as light as it can be, for csms.py is to be measured."""

    def __init__(self, charge_point_id: str) -> None:
        self.id = charge_point_id
        self.answers_s: list[float] = []
        self.connection: ClientConnection

    async def boot(self, url: str) -> None:
        """Connect, boot and begin a transaction."""
        self.connection = await connect(
            f"{url}/{self.id}",
            subprotocols=[SUBPROTOCOL],
            proxy=None,
            compression=None,
            open_timeout=START_S,
            ping_interval=None,
        )
        await self._call("BootNotification", chargePointVendor="v", chargePointModel="m")
        answer = await self._call(
            "StartTransaction", connectorId=1, idTag=self.id[-20:], meterStart=0, timestamp=_now()
        )
        self._transaction_id = answer["transactionId"]

    async def talk(self, after_s: float) -> None:
        """Send a Heartbeat and a MeterValues, half a period apart, in every period."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + after_s
        while True:
            for action, payload in (("Heartbeat", {}), ("MeterValues", None)):
                await asyncio.sleep(due_s - loop.time())
                due_s += PERIOD_S / 2
                values = self._meter_values() if payload is None else payload
                began_s = time.perf_counter()
                await self._call(action, **values)
                self.answers_s.append(time.perf_counter() - began_s)

    def _meter_values(self) -> dict[str, Any]:
        samples = [
            {"value": "230.4", "context": "Sample.Periodic", "measurand": measurand}
            for measurand in _MEASURANDS
        ]
        return {
            "connectorId": 1,
            "transactionId": self._transaction_id,
            "meterValue": [{"timestamp": _now(), "sampledValue": samples}],
        }

    async def _call(self, action: str, **payload: Any) -> Any:
        await self.connection.send(json.dumps([2, "1", action, payload]))
        kind, _, *answer = json.loads(await self.connection.recv())
        assert kind == 3, answer
        return answer[0]


def _now() -> str:
    return to_ocpp(datetime.now(UTC))


def allow_many_sockets() -> None:
    """Raise this process's and its children's limit of open files."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "benchmarks/central_system_benchmark.py --seconds 20")
    parser.add_argument(
        "--seconds", type=console.positive, default=60.0, help="default: %(default)g"
    )
    parser.add_argument(
        "--charge-points", type=console.at_least_one, default=1000, help="default: %(default)s"
    )
    parser.add_argument("--client", help=argparse.SUPPRESS)  # a client process is this script too
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    if not Path("/proc/self/stat").exists():
        sys.exit(console.fail(OSError("measures through /proc, which only Linux has")))
    allow_many_sockets()
    work = play_charge_points if options.client else main
    try:
        sys.exit(console.run(lambda: work(options)))
    except (OSError, TimeoutError) as error:
        sys.exit(console.fail(error))
