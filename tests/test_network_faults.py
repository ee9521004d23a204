"""Trouble on the OCPP link does what it says, and costs nothing but time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from contextlib import closing

import numpy as np
import pytest
from conftest import StartScript
from websockets.exceptions import ConnectionClosed

from charger_module import ChargerModule
from cp import ChargePoint
from csms import CentralSystem
from evsim import virtual_time
from evsim.central_system.ledger import Ledger as CentralLedger
from evsim.central_system.ledger import RecordedTransaction
from evsim.charge_point.ledger import Ledger
from evsim.charger import PLANTS, PowerModule
from evsim.errors import UserError
from evsim.in_memory import InMemoryBus, InMemoryNode, websocket_pair
from evsim.network_faults import FaultyConnection, NetworkFaults, parse_faults
from evsim.sqlite import IN_MEMORY


def test_the_text_of_faults_is_read() -> None:
    text = "latency=80ms, jitter=0.04s,loss=5min,duplicate=1%,reorder=0.02,throttle=2kB/s"
    assert parse_faults(text) == NetworkFaults(0.08, 0.04, 0.01, 0.02, 2000.0, 300.0)
    assert parse_faults("") == NetworkFaults()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gremlins=1", "no network fault 'gremlins'; known are: latency"),
        ("latency", "no number with a unit"),
        ("latency=5", "no number with a unit"),
        ("latency=-5ms", "no number with a unit"),
        ("duplicate=5ms", "no number with a unit"),
        ("duplicate=150%", "out of range"),
        ("throttle=0B/s", "out of range"),
        ("loss=0s", "out of range"),
        ("latency=1s,latency=2s", "named twice"),
    ],
)
def test_wrong_text_is_a_clear_error(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_faults(text)


@pytest.mark.processes
def test_a_wrong_spec_is_one_line(start_script: StartScript) -> None:
    script = start_script("cp.py", "--network-faults", "latency=soon")
    assert script.wait() == 1
    assert script.lines[-1].startswith("cp.py: network fault latency='soon'")


def arrivals(faults: NetworkFaults, messages: list[str], seed: int = 1) -> list[tuple[float, str]]:
    """Send messages, one each second, through a bad network; give when each arrived."""
    arrived: list[tuple[float, str]] = []

    async def main() -> None:
        ours, theirs = websocket_pair()
        faulty = FaultyConnection(ours, faults, np.random.default_rng(seed))

        async def receive() -> None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    message = str(await theirs.recv())
                    arrived.append((round(asyncio.get_running_loop().time(), 6), message))

        receiving = asyncio.create_task(receive())
        with contextlib.suppress(ConnectionClosed):
            for message in messages:
                await faulty.send(message)
                await asyncio.sleep(1)
        await asyncio.sleep(1000)
        await faulty.close()
        await receiving

    virtual_time.run(main())
    return arrived


NUMBERS = [str(number) for number in range(200)]


def test_without_faults_nothing_changes() -> None:
    assert arrivals(NetworkFaults(), ["a", "b"]) == [(0.0, "a"), (1.0, "b")]


def test_latency_and_jitter_delay_and_keep_the_order() -> None:
    arrived = arrivals(NetworkFaults(latency_s=0.5, jitter_s=2.0), NUMBERS)
    assert [message for _, message in arrived] == NUMBERS
    delays_s = [at_s - int(message) for at_s, message in arrived]
    assert min(delays_s) >= 0.5
    assert np.mean(delays_s) > 1.5


def test_a_narrow_line_takes_its_time() -> None:
    arrived = arrivals(NetworkFaults(throttle_bytes_s=10.0), ["x" * 100, "y" * 50])
    assert [at_s for at_s, _ in arrived] == [10.0, 15.0]


def test_some_messages_come_twice_and_some_out_of_order() -> None:
    twice = arrivals(NetworkFaults(duplicate=0.25), NUMBERS)
    assert 30 < len(twice) - 200 < 70
    late = [int(m) for _, m in arrivals(NetworkFaults(latency_s=2, reorder=0.25), NUMBERS)]
    assert sorted(late) == list(range(200))
    assert 20 < sum(b < a for a, b in itertools.pairwise(late)) < 70


def test_the_connection_is_lost_now_and_then() -> None:
    lasted = [len(arrivals(NetworkFaults(loss_s=50), NUMBERS, seed)) for seed in range(40)]
    assert 30 < np.mean(lasted) < 70


def test_the_same_seed_brings_the_same_trouble() -> None:
    faults = NetworkFaults(latency_s=1, jitter_s=1, duplicate=0.1, reorder=0.1)
    assert arrivals(faults, NUMBERS, 5) == arrivals(faults, NUMBERS, 5)
    assert arrivals(faults, NUMBERS, 5) != arrivals(faults, NUMBERS, 6)


def play(faults: NetworkFaults, duration_s: float) -> list[RecordedTransaction]:
    """Play the base scenario over a bad network; give what the central system has recorded."""
    recorded: list[RecordedTransaction] = []

    async def main() -> None:
        now, rng = virtual_time.clock(), np.random.default_rng(1)
        bus = InMemoryBus()
        charger = ChargerModule(PowerModule(PLANTS["dc"]), InMemoryNode(bus))
        with closing(CentralLedger(IN_MEMORY)) as central_ledger, closing(Ledger(IN_MEMORY)) as own:
            central = CentralSystem(central_ledger, cycles=None, now=now)
            point = ChargePoint(
                "CP_1", node=InMemoryNode(bus), ledger=own, plant=PLANTS["dc"], now=now
            )

            async def connect() -> None:
                while True:
                    ours, theirs = websocket_pair()
                    faulty = FaultyConnection(theirs, faults, rng)
                    await asyncio.gather(central.talk("CP_1", ours), point.talk(faulty))
                    await asyncio.sleep(1)

            tasks = [asyncio.create_task(charger.run()), asyncio.create_task(point.run(connect()))]
            await asyncio.sleep(duration_s)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            recorded.extend(central_ledger.transactions("CP_1"))

    virtual_time.run(main())
    return recorded


def test_no_transaction_is_lost_or_doubled_on_a_bad_network() -> None:
    faults = NetworkFaults(
        latency_s=0.08,
        jitter_s=0.04,
        duplicate=0.05,
        reorder=0.05,
        loss_s=60,
        throttle_bytes_s=4000,
    )
    recorded = play(faults, 3600)
    assert len(recorded) > 150
    assert all(t.stopped_at for t in recorded[:-1])
    starts = [t.started_at for t in recorded]
    assert starts == sorted(set(starts))
    ids = [t.transaction_id for t in recorded]
    assert ids == sorted(set(ids))
