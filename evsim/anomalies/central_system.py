"""Anomalies that a hostile or broken central system commands, with valid messages only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from evsim.anomalies.base import (
    LONGEST_PAUSE_S,
    Anomaly,
    CatalogueError,
    Layer,
    Parameter,
    Player,
    Scene,
    Station,
)
from evsim.anomalies.session import TROUBLE, complain, remote_start, remote_stop

#: After a cycle that ended early.
PAUSE_S = 1.0
#: Of the base scenario, as csms.py has it.
CYCLE_S = 8.0


async def repeat_cycles(scene: Scene, cycles: float) -> None:
    """Play the base scenario's cycle again and again, each from a known state."""
    if scene.cycle is None:
        raise CatalogueError("the cycle of the base scenario is csms.py's; play it there")
    with scene.watching_changes():
        for _ in range(round(cycles)):
            station = scene.station()
            try:
                await station.stop_all_transactions()
                await scene.cycle(station)
            except TROUBLE as error:
                complain(station.id, error)
                await asyncio.sleep(PAUSE_S)


REPEATED_FLUCTUATION = Anomaly(
    name="repeated_fluctuation",
    layer=Layer.OCPP,
    player=Player.CENTRAL_SYSTEM,
    summary="Limit 0 A, limit 100 A, start, stop, over and over: the base scenario of csms.py.",
    signature="Pulses of current 8 s apart, each with four commands; on the AC plant the commands "
    "alone, since the car wakes up too slowly.",
    source="arXiv 2302.12890 (switching attacks on EV charging)",
    seen_on="0x300, SetChargingProfile, RemoteStartTransaction, RemoteStopTransaction",
    takes_over=True,
    parameters=(Parameter("cycles", "1", "cycles of 8 s", 5, 10, 20),),
    lasts_s=lambda values: LONGEST_PAUSE_S + CYCLE_S * values["cycles"],
    play=repeat_cycles,
)


async def oscillate_fleet(scene: Scene, cycles: float, period_s: float) -> None:
    """Start and stop all charge points in phase."""
    with scene.watching_changes(set(scene.stations())):
        for _ in range(round(cycles)):
            await at_once(scene.stations().values(), remote_start)
            await asyncio.sleep(period_s / 2)
            await at_once(scene.stations().values(), remote_stop)
            await asyncio.sleep(period_s / 2)


FLEET_OSCILLATION = Anomaly(
    name="fleet_oscillation",
    layer=Layer.OCPP,
    player=Player.CENTRAL_SYSTEM,
    summary="All charge points are started and stopped in phase: an oscillating load on the grid.",
    signature="The sum of all currents is a square wave of the given period (on the AC plant its "
    "rises are smeared over the cars' wake-up times); each charge point alone shows a few slow "
    "on-and-offs.",
    source="arXiv 2302.12890 (oscillatory load attack)",
    seen_on="0x300 of all charge points, RemoteStartTransaction, RemoteStopTransaction",
    fleet=True,
    takes_over=True,
    parameters=(
        Parameter("cycles", "1", "times on and off", 3, 4, 6),
        Parameter("period_s", "s", "from one start to the next", 160, 120, 60),
    ),
    lasts_s=lambda values: values["cycles"] * values["period_s"],
    play=oscillate_fleet,
)


async def switch_fleet(scene: Scene, share: float, hold_s: float) -> None:
    """Stop a share of the charge points in one moment, and start them in another."""
    chosen = sorted(scene.stations())
    scene.rng.shuffle(chosen)
    chosen = chosen[: max(1, round(len(chosen) * share))]

    def those() -> list[Station]:
        stations = scene.stations()
        return [stations[name] for name in chosen if name in stations]

    with scene.watching_changes(chosen):
        await at_once(those(), remote_stop)
        await asyncio.sleep(hold_s)
        await at_once(those(), remote_start)
        await asyncio.sleep(hold_s)


MASS_ON_OFF = Anomaly(
    name="mass_on_off",
    layer=Layer.OCPP,
    player=Player.CENTRAL_SYSTEM,
    summary="Most of the charge points are stopped in one moment and started again in another.",
    signature="One step down and one step up of the sum of all currents, each within a second or "
    "two; on the AC plant the step up takes as long as the cars need to wake up.",
    source="MadIoT, USENIX Security 2018 (sudden change of demand)",
    seen_on="0x300 of all charge points, RemoteStartTransaction, RemoteStopTransaction",
    fleet=True,
    takes_over=True,
    parameters=(
        Parameter("share", "1", "of the charge points", 0.6, 0.8, 1.0),
        Parameter("hold_s", "s", "between the steps, and after them", 90, 90, 90),
    ),
    lasts_s=lambda values: 2 * values["hold_s"],
    play=switch_fleet,
)


async def at_once(stations: Iterable[Station], act: Callable[[Station], Awaitable[object]]) -> None:
    """Do the same with all of them at the same time; one that refuses does not stop the rest."""

    async def one(station: Station) -> None:
        try:
            await act(station)
        except TROUBLE as error:
            complain(station.id, error)

    async with asyncio.TaskGroup() as tasks:
        for station in stations:
            tasks.create_task(one(station))
