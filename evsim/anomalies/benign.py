"""Benign behaviours: what an ordinary day brings to a charge point, played for ever.

Each is a user's session, or a controller's way with one. An anomaly is played into one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from evsim.anomalies.base import Benign, Parameter, Player, Scene
from evsim.anomalies.session import (
    TROUBLE,
    charge_with,
    complain,
    remote_stop,
    usual_limit_a,
)

#: Below this a car pauses (IEC 61851-1: the control pilot begins at 6 A).
LOWEST_A = 6.0
#: A car that draws less is full; one that has just come may not draw before this time.
FULL_A = 2.0
LONGEST_WAKE_UP_S = 120.0
#: So often a user looks whether it still charges.
LOOK_EACH_S = 30.0
#: A session in which somebody else decides on the limit, s from and to.
LONG_SESSION_S = (2700.0, 7200.0)


async def wait(scene: Scene, shortest_s: float, longest_s: float) -> None:
    """Wait for a time between the two."""
    await asyncio.sleep(between(scene, shortest_s, longest_s))


def between(scene: Scene, shortest_s: float, longest_s: float) -> float:
    """Choose a time between the two, s."""
    return round(float(scene.rng.uniform(shortest_s, longest_s)), 1)


async def hold(scene: Scene, limit_a: float, duration_s: float) -> None:
    """Let it charge; start again, within the time, what something else has ended."""
    end_s = scene.now_s() + duration_s
    while (left_s := end_s - scene.now_s()) > 0:
        try:
            if not scene.station().running:
                await charge_with(scene, limit_a)
        except TROUBLE as error:  # while it is offline, or broken, the user waits
            complain(scene.target, error)
        await asyncio.sleep(max(0.0, min(LOOK_EACH_S, left_s, end_s - scene.now_s())))


async def keep_charging(scene: Scene, limit_a: float, duration_s: float) -> None:
    """Charge with a limit for a time."""
    await charge_with(scene, limit_a)
    await hold(scene, limit_a, duration_s)


async def leave(scene: Scene) -> None:
    """End the session; another car comes after some minutes."""
    await remote_stop(scene.station())
    await wait(scene, 60, 300)
    scene.next_car()


async def follow(scene: Scene, limit_a: Callable[[], float], step_s: Callable[[], float]) -> None:
    """One session with ever new limits, until the car is full or its user comes back."""
    end_s = scene.now_s() + between(scene, *LONG_SESSION_S)
    idle_s = 0.0
    while scene.now_s() < end_s and idle_s <= LONGEST_WAKE_UP_S:
        asked_a, lasts_s = limit_a(), step_s()
        await charge_with(scene, asked_a)
        await asyncio.sleep(lasts_s)
        draws = scene.currents_a.get(scene.target, 0.0) >= FULL_A
        idle_s = 0.0 if draws or asked_a < LOWEST_A else idle_s + lasts_s
    await leave(scene)


async def charge_plainly(scene: Scene) -> None:
    """Sessions of some minutes, one after the other."""
    while True:
        await keep_charging(scene, usual_limit_a(scene), between(scene, 600, 2400))
        await leave(scene)


async def follow_the_sun(scene: Scene, period_s: float) -> None:
    """Let the limit follow a random walk; below the lowest current, pause."""
    while True:
        most_a, share = usual_limit_a(scene), float(scene.rng.uniform(0.3, 0.9))

        def limit_a(most_a: float = most_a) -> float:
            nonlocal share
            share = min(1.0, max(0.0, share + float(scene.rng.normal(0.0, 0.12))))
            return most_a * share if most_a * share >= LOWEST_A else 0.0

        await follow(scene, limit_a, lambda: period_s)


async def share_load(scene: Scene, shortest_s: float, longest_s: float) -> None:
    """Let the limit jump as others come and go."""
    while True:
        most_a = usual_limit_a(scene)

        def limit_a(most_a: float = most_a) -> float:
            return max(LOWEST_A, most_a / int(scene.rng.integers(1, 4)))

        await follow(scene, limit_a, lambda: between(scene, shortest_s, longest_s))


async def pause_long(scene: Scene, shortest_s: float, longest_s: float) -> None:
    """Charge for some minutes, then hold at 0 A for some minutes, and so on."""
    while True:
        most_a = usual_limit_a(scene)
        for _ in range(int(scene.rng.integers(2, 5))):
            await keep_charging(scene, most_a, between(scene, 120, 360))
            await charge_with(scene, 0.0)
            await wait(scene, shortest_s, longest_s)
        await keep_charging(scene, most_a, between(scene, 120, 360))
        await leave(scene)


async def abort_and_retry(scene: Scene, aborted: float) -> None:
    """Start, stop after seconds, start again; the last start holds."""
    while True:
        limit_a = usual_limit_a(scene)
        for _ in range(round(aborted)):
            await charge_with(scene, limit_a)
            await wait(scene, 5, 15)
            await remote_stop(scene.station())
            await wait(scene, 10, 25)
        await keep_charging(scene, limit_a, between(scene, 600, 1200))
        await leave(scene)


async def ask_for_whole_amperes(scene: Scene, period_s: float) -> None:
    """Follow something slow with whole amperes: steps of 1 A up and down."""
    while True:
        middle_a = asked_a = round(usual_limit_a(scene))

        def limit_a(middle_a: int = middle_a) -> float:
            nonlocal asked_a
            step_a = int(scene.rng.integers(-1, 2))
            asked_a = min(middle_a + 4, max(middle_a - 4, asked_a + step_a))
            return float(asked_a)

        await follow(scene, limit_a, lambda: period_s)


async def stop_and_restart(scene: Scene) -> None:
    """Charge, stop by the user's own wish, soon start again, and leave in the end."""
    while True:
        limit_a = usual_limit_a(scene)
        for _ in range(int(scene.rng.integers(1, 4))):
            await keep_charging(scene, limit_a, between(scene, 120, 420))
            await remote_stop(scene.station())
            await wait(scene, 20, 60)
        await keep_charging(scene, limit_a, between(scene, 120, 420))
        await leave(scene)


async def charge_full(scene: Scene) -> None:
    """Charge nearly full cars to the end, one after the other."""
    while True:
        limit_a = usual_limit_a(scene)
        await keep_charging(scene, limit_a, LONGEST_WAKE_UP_S)
        while scene.currents_a.get(scene.target, 0.0) >= FULL_A:
            await hold(scene, limit_a, LOOK_EACH_S)
        await leave(scene)


def _benign(
    name: str,
    play: Callable[..., Awaitable[None]],
    summary: str,
    signature: str,
    source: str,
    *parameters: Parameter,
    **car: tuple[float, float],
) -> Benign:
    return Benign(
        name=name,
        play=play,
        summary=summary,
        signature=signature,
        source=source,
        player=Player.CENTRAL_SYSTEM,
        parameters=parameters,
        **car,
    )


_ACN = "ACN-Data (Lee, Li and Low, 2019): sessions of a workplace"
_EVCC = "evcc, solar-surplus charging"

PLAIN_SESSION = _benign(
    "plain_session",
    charge_plainly,
    "A car charges with one limit, leaves, and another comes.",
    "One rise, a level, one fall.",
    _ACN,
)
TAPER = _benign(
    "taper",
    charge_full,
    "A nearly full car: constant current, then less and less (CC/CV).",
    "A level, then a smooth decline to 0 A (to 2 A, when the user takes the car away).",
    "acnportal's Linear2StageBattery",
    state_of_charge=(0.7, 0.78),
    capacity_wh=(12_000.0, 25_000.0),
)
SOLAR_SURPLUS = _benign(
    "solar_surplus",
    follow_the_sun,
    "A controller lets the car use what the sun leaves over; in clouds it pauses.",
    "A new level every 30 s, mostly near the one before; pauses at 0 A.",
    _EVCC,
    Parameter("period_s", "s", "between two limits", 30, 30, 30),
)
LOAD_SHARING = _benign(
    "load_sharing",
    share_load,
    "Several cars share one connection; each gets its part.",
    "Steps between a whole, a half and a third every 60 to 120 s.",
    "EVerest, energy management",
    Parameter("shortest_s", "s", "a level lasts at least", 60, 60, 60),
    Parameter("longest_s", "s", "and at most", 120, 120, 120),
)
LONG_PAUSE = _benign(
    "long_pause",
    pause_long,
    "The charging is held for minutes, by a tariff or a full grid.",
    "A level, 3 to 8 minutes at 0 A with the transaction running, the level again.",
    "OCPP 1.6, SuspendedEVSE",
    Parameter("shortest_s", "s", "a pause lasts at least", 180, 180, 180),
    Parameter("longest_s", "s", "and at most", 480, 480, 480),
)
ABORTED_START = _benign(
    "aborted_start",
    abort_and_retry,
    "A start is given up after seconds and tried again, twice; the third holds.",
    "Two short pulses 15 to 40 s apart, then a plain session; on the AC plant the car wakes up too "
    "late for most of the pulses, and the commands remain.",
    "SmartEVSE and wbec issue trackers",
    Parameter("aborted", "1", "starts that are given up", 2, 2, 2),
)
INTEGER_REQUESTS = _benign(
    "integer_requests",
    ask_for_whole_amperes,
    "A controller follows something slow and can only ask for whole amperes.",
    "Steps of 1 A, up and down, every 10 s.",
    _EVCC,
    Parameter("period_s", "s", "between two limits", 10, 10, 10),
)
USER_RESTART = _benign(
    "user_restart",
    stop_and_restart,
    "The user stops with the app and starts again within a minute, once or a few times.",
    "Levels of some minutes with gaps of 20 to 60 s.",
    _ACN,
)
