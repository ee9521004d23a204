"""All programs but the plot in one process, on links in memory and a clock that leaps."""

from __future__ import annotations

import asyncio
from contextlib import closing

import can
import pytest

from charger_module import ChargerModule
from cp import ChargePoint
from csms import CentralSystem
from evsim import virtual_time
from evsim.car import Car
from evsim.central_system.ledger import Ledger as CentralLedger
from evsim.central_system.ledger import RecordedTransaction
from evsim.charge_point.ledger import Ledger
from evsim.charger import PLANTS, PowerModule
from evsim.frames import (
    CURRENT_ID,
    Frame,
    MeasuredCurrent,
    SetLimit,
    StartCharging,
    StopCharging,
    decode,
)
from evsim.in_memory import InMemoryBus, InMemoryNode, websocket_pair
from evsim.sqlite import IN_MEMORY

CYCLE = [(SetLimit(0), 2.0), (SetLimit(100), 1.0), (StartCharging(), 2.0), (StopCharging(), 3.0)]


class Run:
    """What a run brought."""

    def __init__(self) -> None:
        self.messages: list[can.Message] = []
        self.transactions: list[RecordedTransaction] = []
        self.charger_wh = 0.0

    @property
    def frames(self) -> list[tuple[float, Frame]]:
        return [(message.timestamp, decode(message)) for message in self.messages]

    @property
    def commands(self) -> list[tuple[float, Frame]]:
        return [(at_s, f) for at_s, f in self.frames if not isinstance(f, MeasuredCurrent)]


def simulate(
    duration_s: float, *, cycles: int | None = None, plant: str = "dc", car: Car | None = None
) -> Run:
    """Run the base scenario on the real classes of the three programs."""
    run = Run()

    async def main() -> None:
        now = virtual_time.clock()
        bus = InMemoryBus()
        bus.taps.append(run.messages.append)
        module = PowerModule(PLANTS[plant])
        charger = ChargerModule(module, InMemoryNode(bus), car)
        with closing(CentralLedger(IN_MEMORY)) as recorded, closing(Ledger(IN_MEMORY)) as ledger:
            central = CentralSystem(recorded, cycles=cycles, now=now)
            point = ChargePoint(
                "CP_1", node=InMemoryNode(bus), ledger=ledger, plant=PLANTS[plant], now=now
            )

            async def connect() -> None:
                ours, theirs = websocket_pair()
                await asyncio.gather(central.talk("CP_1", ours), point.talk(theirs))

            tasks = [asyncio.create_task(charger.run()), asyncio.create_task(point.run(connect()))]
            await asyncio.sleep(duration_s)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            run.transactions = recorded.transactions("CP_1")
            run.charger_wh = module.energy_wh

    virtual_time.run(main())
    return run


def test_the_base_scenario_has_its_frames_and_its_spacing() -> None:
    run = simulate(700, cycles=80)
    first = next(i for i, (_, frame) in enumerate(run.commands) if frame == SetLimit(0))
    commands = run.commands[first : first + 4 * 80]
    assert [frame for _, frame in commands] == [frame for frame, _ in CYCLE] * 80
    due_s = commands[0][0]
    for (at_s, _), (_, wait_s) in zip(commands, CYCLE * 80, strict=True):
        assert at_s == pytest.approx(due_s, abs=0.01)
        due_s += wait_s
    assert len(run.transactions) == 80
    assert {t.reason for t in run.transactions} == {"Remote"}


def test_the_measured_current_comes_every_second_without_drift() -> None:
    run = simulate(3600, cycles=1)
    times_s = [m.timestamp for m in run.messages if m.arbitration_id == CURRENT_ID]
    assert len([at_s for at_s in times_s if at_s <= 60]) == pytest.approx(60, abs=1)
    assert len(times_s) == pytest.approx(3600, abs=1)
    assert times_s[-1] - times_s[0] == pytest.approx(len(times_s) - 1, abs=0.001)


def test_the_charge_points_energy_is_the_chargers() -> None:
    run = simulate(700, cycles=80)
    metered_wh = sum((t.meter_stop_wh or 0) - t.meter_start_wh for t in run.transactions)
    # The charge point knows the current once a second only; a pulse lasts 2 s.
    assert metered_wh == pytest.approx(run.charger_wh, rel=0.35)
    assert run.charger_wh == pytest.approx(80 * 400 * 100 * (2 - 0.25 + 0.125) / 3600, rel=0.01)


def test_with_a_car_the_current_tapers_as_its_battery_fills() -> None:
    car = Car(capacity_wh=200, state_of_charge=0.5, most_a=100)
    simulate(120, car=car)
    assert 0.9 < car.state_of_charge <= 1
    assert car.demand_a < 50


def test_two_runs_are_equal() -> None:
    one, other = simulate(100), simulate(100)
    assert [str(m) for m in one.messages] == [str(m) for m in other.messages]
    assert one.transactions == other.transactions
