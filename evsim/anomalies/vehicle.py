"""Anomalies of the car and of the power module: nobody attacks, something is broken or lies."""

from __future__ import annotations

import asyncio

from evsim.anomalies.base import (
    VISIBLE_A,
    Anomaly,
    CatalogueError,
    Charger,
    Layer,
    Parameter,
    Player,
    Scene,
)
from evsim.anomalies.ocpp_link import FALL_S, OVER_CURRENT_A, OVER_CURRENT_SHARE
from evsim.car import Car

#: A car that lies looks at its battery this often.
LOOK_EACH_S = 1.0
#: Two steps of 0x310: a difference that is not the rounding's.
VISIBLE_SHARE = 0.01


def charger_of(scene: Scene) -> Charger:
    """Give the charger, up to date; CatalogueError if there is none."""
    if scene.charger is None:
        raise CatalogueError("this anomaly is played in the charger: charger_module.py")
    scene.charger.catch_up()
    return scene.charger


def car_of(scene: Scene) -> Car:
    """Give the car; CatalogueError if there is none."""
    car = charger_of(scene).car
    if car is None:
        raise CatalogueError("this anomaly is played by a car: charger_module.py --car")
    return car


async def ignore_limit(scene: Scene, ratio: float, duration_s: float) -> None:
    """Draw more than the limit allows, as long as the battery takes it and the car is there."""
    charger, car = charger_of(scene), car_of(scene)
    module, insisted_a = charger.module, charger.module.limit_a * ratio
    end_s = scene.now_s() + duration_s

    def insist(current_a: float | None) -> None:
        car.insists_a = current_a
        charger.catch_up()  # from now on, not only from the next reading on

    def is_over(charge_point: str, current_a: float) -> bool:
        most_a = (module.limit_a + OVER_CURRENT_A) * OVER_CURRENT_SHARE
        return charge_point == scene.target and current_a > most_a

    with scene.watching(is_over):
        try:
            while (left_s := end_s - scene.now_s()) > 0 and charger.car is car:
                insist(min(insisted_a, car.demand_a))
                await asyncio.sleep(min(LOOK_EACH_S, left_s))
        finally:
            insist(None)
        scene.over()
        await asyncio.sleep(FALL_S)


LIMIT_IGNORED = Anomaly(
    name="limit_ignored",
    layer=Layer.EV,
    player=Player.CAR,
    summary="More flows than the limit allows: a car that does not heed the control pilot; with "
    "direct current, a module that gives the car what it asks for.",
    signature="0x300 above (limit + 0.5 A) × 1.1 for more than 7 s.",
    source="EVerest's over-current rule; evcc #19166 (15.2 A drawn of 8 A)",
    seen_on="0x300 against 0x210",
    parameters=(
        Parameter("ratio", "1", "of the limit that it draws", 1.25, 1.5, 1.9),
        Parameter("duration_s", "s", "how long", 20, 60, 120),
    ),
    play=ignore_limit,
)


async def tell_less(scene: Scene, told_share: float, duration_s: float) -> None:
    """Tell less of what was charged, and so go on charging."""
    charger, car = charger_of(scene), car_of(scene)
    told, true = car.told_state_of_charge, car.state_of_charge
    car.told_share = told_share
    end_s = scene.now_s() + duration_s
    try:
        while (left_s := end_s - scene.now_s()) > 0 and charger.car is car:
            await asyncio.sleep(min(LOOK_EACH_S, left_s))
            hidden = (car.state_of_charge - true) - (car.told_state_of_charge - told)
            if hidden >= VISIBLE_SHARE:
                scene.note_effect()
    finally:
        car.told_share = 1.0


SESSION_EXTENSION = Anomaly(
    name="session_extension",
    layer=Layer.EV,
    player=Player.CAR,
    summary="The car tells a state of charge that rises too slowly, and so is charged on.",
    signature="SoC in MeterValues rises less than the energy register says; no taper where one is "
    "due (it shows in the taper of a nearly full car).",
    source="false data on the state of charge; no published record is known to us",
    seen_on="0x310 and SoC against Energy.Active.Import.Register",
    parameters=(
        Parameter("told_share", "1", "of what was charged that is told", 0.5, 0.25, 0.0),
        Parameter("duration_s", "s", "how long", 300, 480, 600),
    ),
    play=tell_less,
)


async def cycle_contactor(scene: Scene, cycles: float, on_s: float, off_s: float) -> None:
    """Open and close the contactor."""
    module = charger_of(scene).module

    def is_gap(charge_point: str, current_a: float) -> bool:
        would_flow = module.started and min(module.limit_a, module.demand_a) >= VISIBLE_A
        return charge_point == scene.target and not module.contactor_closed and would_flow

    try:
        with scene.watching(is_gap):
            for _ in range(round(cycles)):
                charger_of(scene).module.open_contactor()
                await asyncio.sleep(off_s)
                charger_of(scene).module.close_contactor()
                await asyncio.sleep(on_s)
    finally:
        charger_of(scene).module.close_contactor()


CONTACTOR_CYCLING = Anomaly(
    name="contactor_cycling",
    layer=Layer.CHARGER,
    player=Player.POWER_MODULE,
    summary="A faulty contactor opens for 20 s and closes for 60 s, over and over.",
    signature="Gaps of 20 s in the current every 80 s, without any command of the central system; "
    "the charge point repeats limit and start on the CAN bus while nothing flows.",
    source="a log of sem-community #940: about 60 s on, 20 s off",
    seen_on="0x300",
    parameters=(
        Parameter("cycles", "1", "how often", 1, 3, 5),
        Parameter("on_s", "s", "closed", 60, 60, 60),
        Parameter("off_s", "s", "open", 20, 20, 20),
    ),
    lasts_s=lambda values: values["cycles"] * (values["on_s"] + values["off_s"]),
    play=cycle_contactor,
)
