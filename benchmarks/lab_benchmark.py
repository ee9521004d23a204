#!/usr/bin/env python3
"""How many times faster than the clock the base scenario runs in virtual time, on one core.

The real classes of the programs in one process, schema validation on. Beside it a pair of the stock
`ocpp` library's links, which exchange the very same calls over the same connection in memory: no
CAN, no charger, no ledgers, no waits, so that its figure is more than it could do in a lab.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import can
import ocpp.messages
from ocpp.v16 import ChargePoint as StockLink
from ocpp.v16 import call, call_result
from websockets.exceptions import ConnectionClosed

from charger_module import ChargerModule
from cp import ChargePoint
from csms import CentralSystem
from evsim import console, virtual_time
from evsim.central_system.ledger import Ledger as CentralLedger
from evsim.charge_point.ledger import Ledger
from evsim.charger import DEFAULT_PLANT, PLANTS, PowerModule
from evsim.in_memory import InMemoryBus, InMemoryNode, websocket_pair
from evsim.ocpp_link import on
from evsim.ocpp_wire import CALL, CALL_RESULT, to_snake_case
from evsim.sqlite import IN_MEMORY

TARGET = 5000.0
DAY_S = 86_400.0
_ROW = "{:<44}{:>12}  {}"

#: What the charge point's link sent (True) or received, as OcppLink.taps tell it.
Message = tuple[bool, list[Any]]


def main(options: argparse.Namespace) -> None:
    """Measure both and print a line for each figure."""
    seconds = options.minutes * 60
    messages: list[Message] = []
    frames = simulate(seconds, messages)
    calls = sum(message[0] == CALL for _, message in messages)
    console.ready(
        f"{options.minutes:g} min of the base scenario: {frames} CAN frames, {calls} OCPP calls; "
        f"best of {options.repetitions}"
    )
    console.ready(_ROW.format("times real time", "", "target"))
    ours_s = best_s(options.repetitions, lambda: simulate(seconds))
    verdict = "met" if seconds / ours_s >= TARGET else "MISSED"
    console.ready(_ROW.format("the whole", f"{seconds / ours_s:,.0f}", f"{TARGET:,.0f} {verdict}"))
    stock_s = best_s(options.repetitions, lambda: exchange(messages))
    console.ready(
        _ROW.format("stock ocpp, its calls alone", f"{seconds / stock_s:,.0f}", "none (peer)")
    )
    console.ready(f"24 h would take {DAY_S * ours_s / seconds:.1f} s (extrapolated)")
    if options.hours:
        took_s = best_s(1, lambda: simulate(options.hours * 3600))
        console.ready(f"{options.hours:g} h took {took_s:.1f} s")


def best_s(repetitions: int, work: Callable[[], object]) -> float:
    """Do it so many times; give the shortest time."""
    times_s = []
    for _ in range(repetitions):
        began_s = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - began_s)
    return min(times_s)


def simulate(duration_s: float, messages: list[Message] | None = None) -> int:
    """Run the base scenario; give the number of CAN frames, and the OCPP messages if asked to."""
    frames: list[can.Message] = []

    async def run() -> None:
        now = virtual_time.clock()
        bus = InMemoryBus()
        bus.taps.append(frames.append)
        charger = ChargerModule(PowerModule(PLANTS[DEFAULT_PLANT]), InMemoryNode(bus))
        with closing(CentralLedger(IN_MEMORY)) as recorded, closing(Ledger(IN_MEMORY)) as ledger:
            central = CentralSystem(recorded, cycles=None, now=now)
            plant = PLANTS[DEFAULT_PLANT]
            point = ChargePoint("CP_1", node=InMemoryNode(bus), ledger=ledger, plant=plant, now=now)
            if messages is not None:
                point.taps.append(lambda sent, message: messages.append((sent, [*message])))

            async def connect() -> None:
                ours, theirs = websocket_pair()
                await asyncio.gather(central.talk("CP_1", ours), point.talk(theirs))

            tasks = [asyncio.create_task(charger.run()), asyncio.create_task(point.run(connect()))]
            await asyncio.sleep(duration_s)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    virtual_time.run(run())
    return len(frames)


# ── The peer ─────────────────────────────────────────────────────────────────────────────────


def exchange(messages: list[Message]) -> None:
    """Let two stock links exchange the calls of `messages`, one after the other."""
    actions = {message[1]: message[2] for _, message in messages if message[0] == CALL}
    answers = {
        actions[message[1]]: getattr(call_result, actions[message[1]])(**to_snake_case(message[2]))
        for _, message in messages
        if message[0] == CALL_RESULT
    }
    link_class = type("Stock", (StockLink,), {f"on_{a}": _handler(a, answers) for a in answers})

    async def run() -> None:
        ours, theirs = websocket_pair()
        station, central = link_class("CP_1", ours), link_class("CP_1", theirs)
        serving = [asyncio.create_task(_serve(link)) for link in (station, central)]
        for sent, message in messages:
            if message[0] == CALL and message[2] in answers:
                request = getattr(call, message[2])(**to_snake_case(message[3]))
                await (station if sent else central).call(request, suppress=False)
        await ours.close()
        await asyncio.gather(*serving)

    ocpp.messages.ASYNC_VALIDATION = False  # threads would only be slower here
    try:
        virtual_time.run(run())
    finally:
        ocpp.messages.ASYNC_VALIDATION = True


def _handler(action: Any, answers: dict[str, Any]) -> Callable[..., Any]:
    def answer(_: object, **__: object) -> Any:
        return answers[action]

    answer.__name__ = f"on_{action}"  # by which the stock library finds it
    return on(action)(answer)


async def _serve(link: StockLink) -> None:
    with suppress(ConnectionClosed):  # the stock link raises it
        await link.start()


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "benchmarks/lab_benchmark.py --hours 24")
    parser.add_argument(
        "--minutes",
        type=console.positive,
        default=30.0,
        help="of virtual time in each repetition (default: %(default)g)",
    )
    parser.add_argument(
        "--repetitions",
        type=console.at_least_one,
        default=5,
        metavar="N",
        help="of which the best counts (default: %(default)s)",
    )
    parser.add_argument(
        "--hours", type=console.positive, help="then really run so many hours, once"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    logging.disable(logging.CRITICAL)  # the scenario's end interrupts a cycle, which is said
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(options)
    except KeyboardInterrupt:
        sys.exit(0)
