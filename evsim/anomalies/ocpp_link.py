"""Anomalies of a man in the middle: the OCPP link between central system and charge point.

Both ends are honest; what reaches them is not what was sent, or was sent by nobody of them.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from evsim.anomalies.base import (
    LONGEST_PAUSE_S,
    VISIBLE_A,
    Anomaly,
    CatalogueError,
    Layer,
    Parameter,
    Player,
    Scene,
    Wire,
)
from evsim.events import Direction
from evsim.ocpp_wire import CALL

#: EVerest's margin of an over-current: (limit + 0.5 A) × 1.1.
OVER_CURRENT_A = 0.5
OVER_CURRENT_SHARE = 1.1
#: A current that has begun to follow a lower limit has done so after this time.
FALL_S = 3.0
#: Until a charge point that may come back is back.
LONGEST_RETURN_S = 30.0

_ZENODO = "Zenodo 14887131 (federated OCPP 1.6 attacks), "


@contextmanager
def rewriting(
    scene: Scene, rewrite: Callable[[Direction, list[Any]], list[Any] | None]
) -> Iterator[None]:
    """Have the wire rewrite messages while the context lasts."""
    wire = wire_of(scene)
    wire.rewrite = rewrite
    try:
        yield
    finally:
        wire.rewrite = None


def wire_of(scene: Scene) -> Wire:
    """Give the wire; CatalogueError if there is none."""
    if scene.wire is None:
        raise CatalogueError(
            "this anomaly is played by a man in the middle on the OCPP link; csms.py has one"
        )
    return scene.wire


# ── What the central system commands ─────────────────────────────────────────────────────────


async def raise_limits(scene: Scene, factor: float, duration_s: float) -> None:
    """Multiply the limits of charging profiles on their way to the charge point.

    At the end the true limit is restored: otherwise the rest of the session would be charged with
    the raised one, though nobody attacks any more.
    """
    wire = wire_of(scene)
    true_a = scene.plant.rated_max_a
    true_profile: dict[str, Any] | None = None

    def rewrite(direction: Direction, message: list[Any]) -> list[Any]:
        nonlocal true_a, true_profile
        if message[0] != CALL or message[2] != "SetChargingProfile":
            return message
        true_profile = message[3]
        message = copy.deepcopy(message)
        schedule = message[3]["csChargingProfiles"]["chargingSchedule"]
        true_a = schedule["chargingSchedulePeriod"][0]["limit"]
        for period in schedule["chargingSchedulePeriod"]:
            period["limit"] = round(period["limit"] * factor, 1)
        return message

    def is_over(charge_point: str, current_a: float) -> bool:
        most_a = (true_a + OVER_CURRENT_A) * OVER_CURRENT_SHARE
        return charge_point == scene.target and current_a > most_a

    with scene.watching(is_over):
        with rewriting(scene, rewrite):
            await asyncio.sleep(duration_s)
        if true_profile is not None:
            await wire.call(Direction.TO_CHARGE_POINT, "SetChargingProfile", true_profile)
        scene.over()
        await asyncio.sleep(scene.plant.hold_s + scene.plant.reaction_s + FALL_S)


PROFILE_MANIPULATION = Anomaly(
    name="profile_manipulation",
    layer=Layer.OCPP,
    player=Player.OCPP_LINK,
    summary="The limit in SetChargingProfile is raised on its way to the charge point; at the end "
    "the true one is restored.",
    signature="The charge point sets, and the charger delivers, more than the central system "
    "allowed: 0x210 and 0x300 above the limit of the profile, and a last 0x210 that no message of "
    "the central system explains.",
    source=_ZENODO + "attack 1",
    seen_on="SetChargingProfile against 0x210 and 0x300",
    begins_session=True,
    parameters=(
        Parameter("factor", "1", "what limits are multiplied with", 1.25, 1.5, 2.0),
        Parameter("duration_s", "s", "how long", 120, 180, 240),
    ),
    lasts_s=lambda values: LONGEST_PAUSE_S + values["duration_s"],
    play=raise_limits,
)


async def alter_id_tag(scene: Scene, duration_s: float) -> None:
    """Let every start name a tag that the central system refuses."""

    def rewrite(direction: Direction, message: list[Any]) -> list[Any]:
        if message[0] != CALL:
            return message
        if message[2] == "StopTransaction" and message[3].get("reason") == "DeAuthorized":
            scene.note_effect()
        if message[2] != "RemoteStartTransaction":
            return message
        tag = altered(message[3]["idTag"])
        if scene.invalidate_tag is not None:
            scene.invalidate_tag(tag)
        return [*message[:3], {**message[3], "idTag": tag}]

    with rewriting(scene, rewrite):
        await asyncio.sleep(duration_s)


def altered(id_tag: str) -> str:
    """Give another tag that looks like this one: its last character is another."""
    return id_tag[:-1] + ("1" if id_tag.endswith("0") else "0")


DENIAL_OF_CHARGE = Anomaly(
    name="denial_of_charge",
    layer=Layer.OCPP,
    player=Player.OCPP_LINK,
    summary="The id tag of each start is altered on its way; the central system refuses the tag.",
    signature="Starts that end at once with reason DeAuthorized, and no current.",
    source=_ZENODO + "attack 2",
    seen_on="RemoteStartTransaction, StartTransaction, StopTransaction; 0x300 stays at 0",
    begins_session=True,
    parameters=(Parameter("duration_s", "s", "how long", 60, 120, 240),),
    lasts_s=lambda values: LONGEST_PAUSE_S + values["duration_s"],
    play=alter_id_tag,
)


async def send_rogue_stops(scene: Scene, stops: float, interval_s: float) -> None:
    """Stop the running transaction in the central system's name, again and again."""
    wire = wire_of(scene)
    is_stopped = is_gone = False  # by us, while current flowed; and the current is gone

    def is_gap(charge_point: str, current_a: float) -> bool:
        nonlocal is_stopped, is_gone
        if charge_point != scene.target or not is_stopped:
            return False
        flows = current_a >= VISIBLE_A
        is_stopped = not (is_gone and flows)
        is_gone = is_gone or not flows
        return not flows

    with scene.watching(is_gap):
        for _ in range(round(stops)):
            running = sorted(scene.station().running)
            is_gone, is_stopped = False, scene.currents_a.get(scene.target, 0.0) >= VISIBLE_A
            for transaction_id in running:
                stop = {"transactionId": transaction_id}
                await wire.call(Direction.TO_CHARGE_POINT, "RemoteStopTransaction", stop)
                if is_stopped:
                    scene.note_effect()
            if not running:
                await wire.call(Direction.TO_CHARGE_POINT, "Reset", {"type": "Hard"})
            await asyncio.sleep(interval_s)


UNAUTHORISED_COMMANDS = Anomaly(
    name="unauthorised_commands",
    layer=Layer.OCPP,
    player=Player.OCPP_LINK,
    summary="Somebody on the link stops transactions (and while none runs, tries to reset) in the "
    "central system's name.",
    signature="Drops to 0 A and StopTransactions with reason Remote that no command of the central "
    "system explains.",
    source=_ZENODO + "rogue commands",
    seen_on="StopTransaction without RemoteStopTransaction; 0x300",
    parameters=(
        Parameter("stops", "1", "how many", 1, 3, 6),
        Parameter("interval_s", "s", "between them", 60, 60, 40),
    ),
    lasts_s=lambda values: values["stops"] * values["interval_s"],
    play=send_rogue_stops,
)


async def flood_with_heartbeats(scene: Scene, rate_per_s: float, duration_s: float) -> None:
    """Send Heartbeats in the charge point's name."""
    wire = wire_of(scene)
    end_s = scene.now_s() + duration_s

    async def beat() -> None:
        try:
            await wire.call(Direction.TO_CENTRAL_SYSTEM, "Heartbeat", {})
        except (ConnectionError, TimeoutError):
            return  # the central system has had enough

    async with asyncio.TaskGroup() as tasks:
        while scene.now_s() < end_s:
            tasks.create_task(beat())
            scene.note_effect()
            await asyncio.sleep(1 / rate_per_s)


HEARTBEAT_FLOOD = Anomaly(
    name="heartbeat_flood",
    layer=Layer.OCPP,
    player=Player.OCPP_LINK,
    summary="Heartbeats by the dozen in the charge point's name.",
    signature="The rate of messages leaps; the current is as ever.",
    source=_ZENODO + "denial of service",
    seen_on="Heartbeat",
    parameters=(
        Parameter("rate_per_s", "1/s", "Heartbeats in a second", 1, 5, 20),
        Parameter("duration_s", "s", "how long", 60, 120, 120),
    ),
    play=flood_with_heartbeats,
)


# ── What the charge point reports ────────────────────────────────────────────────────────────


async def scale_meter_values(scene: Scene, factor: float, duration_s: float) -> None:
    """Let the central system read less (or more) than the meter shows."""
    register_at_first: float | None = None
    power_factor = factor

    def scale(sample: dict[str, Any]) -> dict[str, Any]:
        nonlocal register_at_first, power_factor
        text = str(sample["value"])
        value, decimals = float(text), len(text.partition(".")[2])
        measurand = sample.get("measurand", "Energy.Active.Import.Register")
        if measurand == "Energy.Active.Import.Register":
            if register_at_first is None:
                register_at_first = value
            scaled = register_at_first + (value - register_at_first) * factor
        elif measurand == "Current.Import":
            scaled = round(value * factor, decimals)
            power_factor = scaled / value if value else factor  # so that power is still U × I
        elif measurand == "Power.Active.Import":
            scaled = value * power_factor
        else:
            return sample
        if abs(scaled - value) >= 1.0:
            scene.note_effect()
        return {
            **sample,
            "value": f"{scaled:.{decimals}f}",
        }  # nothing else tells it from a true one

    def rewrite(direction: Direction, message: list[Any]) -> list[Any]:
        if message[0] != CALL or message[2] != "MeterValues":
            return message
        return with_samples(message, scale)

    with rewriting(scene, rewrite):
        await asyncio.sleep(duration_s)


def with_samples(
    message: list[Any], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> list[Any]:
    """Give a MeterValues message with each of its samples changed."""
    values = [
        {**value, "sampledValue": [change(sample) for sample in value["sampledValue"]]}
        for value in message[3]["meterValue"]
    ]
    return [*message[:3], {**message[3], "meterValue": values}]


METER_SCALING = Anomaly(
    name="meter_scaling",
    layer=Layer.OCPP,
    player=Player.OCPP_LINK,
    summary="MeterValues are scaled on their way to the central system.",
    signature="Current, power and growth of energy in MeterValues part from 0x300 by a constant "
    "factor, agreeing with each other; at the end the register leaps.",
    source="studies of manipulated telemetry on EVerest",
    seen_on="MeterValues against 0x300",
    parameters=(
        Parameter("factor", "1", "what the values are multiplied with", 0.85, 0.6, 0.3),
        Parameter("duration_s", "s", "how long", 120, 180, 300),
    ),
    play=scale_meter_values,
)


async def replay_meter_values(scene: Scene, segment_s: float, duration_s: float) -> None:
    """Record some meter values, then send them over and over in place of the true ones."""
    recorded: deque[list[Any]] = deque()
    replaying = False

    def rewrite(direction: Direction, message: list[Any]) -> list[Any]:
        if message[0] != CALL or message[2] != "MeterValues":
            return message
        samples = message[3]["meterValue"][0]["sampledValue"]
        if not replaying:
            recorded.append(samples)
            return message
        if not recorded:
            return message
        old = recorded[0]
        recorded.rotate(-1)
        scene.note_effect()
        first = {**message[3]["meterValue"][0], "sampledValue": old}
        return [*message[:3], {**message[3], "meterValue": [first]}]

    with rewriting(scene, rewrite):
        await asyncio.sleep(segment_s)
        replaying = True
        scene.episode.start_s = scene.now_s()
        await asyncio.sleep(duration_s)


METER_REPLAY = Anomaly(
    name="meter_replay",
    layer=Layer.OCPP,
    player=Player.OCPP_LINK,
    summary="A recorded segment of MeterValues takes the place of the true ones, in a loop.",
    signature="The same segment again and again; the energy register falls back with each turn, "
    "and leaps at the end.",
    source="arXiv 2504.00319",
    seen_on="MeterValues",
    parameters=(
        Parameter("segment_s", "s", "how much is recorded before", 60, 40, 20),
        Parameter("duration_s", "s", "how long it is replayed", 120, 180, 240),
    ),
    lasts_s=lambda values: values["segment_s"] + values["duration_s"],
    play=replay_meter_values,
)


# ── The link itself ──────────────────────────────────────────────────────────────────────────


async def disconnect_station(scene: Scene, duration_s: float) -> None:
    """Break the connection and keep it broken."""
    wire = wire_of(scene)
    wire.cut()
    try:
        scene.note_effect()
        await asyncio.sleep(duration_s)
        scene.note_effect()
    finally:
        wire.mend()
    scene.over()
    back_by_s = scene.now_s() + LONGEST_RETURN_S
    while scene.target not in scene.stations() and scene.now_s() < back_by_s:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    scene.note_effect()


STATION_DISCONNECTION = Anomaly(
    name="station_disconnection",
    layer=Layer.OCPP,
    player=Player.OCPP_LINK,
    summary="The charge point is cut off from its central system; it goes on charging offline.",
    signature="A gap in all messages, then the backlog at once; the current is as ever.",
    source="MDPI Electronics 14/21/4321",
    seen_on="the link; MeterValues come late",
    parameters=(Parameter("duration_s", "s", "how long", 30, 90, 240),),
    play=disconnect_station,
)
