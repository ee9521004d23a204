"""Anomalies on the CAN bus: of a node that sends what it likes, and of a gateway that lies.

The gateway stands between the charger and the rest of the bus: it is what a compromised CAN
controller of the charger amounts to. The names are those of SynCAN and ROAD.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import can

from evsim.anomalies.base import (
    Anomaly,
    CatalogueError,
    Gateway,
    Layer,
    Parameter,
    Player,
    Scene,
)
from evsim.can_timing import frame_bits
from evsim.frames import CURRENT_ID, MeasuredCurrent, decode, encode

_SYNCAN = "SynCAN (Hanselmann et al., 2020), "
_ROAD = "ROAD (Verma et al., 2020), "
#: The least deviation of a false value that counts as visible, A. Two honest readings of the same
#: current differ by 1 A often, with a noise of 0.3 A and whole amperes; by 2 A hardly ever.
DEVIATION_A = 2.0


def gateway_of(scene: Scene) -> Gateway:
    """Give the gateway; CatalogueError if there is none."""
    if scene.gateway is None:
        raise CatalogueError(
            "this anomaly is played by a gateway between charger and bus: "
            "attack_can.py --charger-channel"
        )
    return scene.gateway


@contextmanager
def falsifying(scene: Scene, falsify: Callable[[float], float | None]) -> Iterator[None]:
    """Let each true current that the charger measures be replaced; None keeps the frame back."""
    gateway = gateway_of(scene)

    def rewrite(message: can.Message) -> can.Message | None:
        if message.arbitration_id != CURRENT_ID or len(message.data) != 2:
            return message
        frame = decode(message)
        assert isinstance(frame, MeasuredCurrent)
        shown_a = falsify(frame.current_a)
        if shown_a is None:
            scene.note_effect()
            return None
        shown = MeasuredCurrent.nearest(shown_a)
        if abs(shown.current_a - frame.current_a) >= DEVIATION_A:
            scene.note_effect()
        return encode(shown)

    gateway.rewrite = rewrite
    try:
        yield
    finally:
        gateway.rewrite = None


# ── False values at the right time ───────────────────────────────────────────────────────────


async def hold_value(scene: Scene, duration_s: float) -> None:
    """Show the value of the first moment all the time."""
    held_a: float | None = None

    def falsify(true_a: float) -> float:
        nonlocal held_a
        held_a = true_a if held_a is None else held_a
        return held_a

    with falsifying(scene, falsify):
        await asyncio.sleep(duration_s)


CAN_PLATEAU = Anomaly(
    name="can_plateau",
    layer=Layer.CAN,
    player=Player.CAN_GATEWAY,
    summary="0x300 is stuck at one value.",
    signature="A level without any noise, that does not follow limits, and a leap at its end if "
    "the true value has moved on.",
    source=_SYNCAN + "plateau",
    seen_on="0x300",
    parameters=(Parameter("duration_s", "s", "how long", 60, 120, 240),),
    play=hold_value,
)


async def drift(scene: Scene, rate_a_per_s: float, duration_s: float) -> None:
    """Let the shown value part from the true one, slowly."""
    start_s = scene.now_s()
    with falsifying(scene, lambda true_a: true_a - rate_a_per_s * (scene.now_s() - start_s)):
        await asyncio.sleep(duration_s)


CAN_DRIFT = Anomaly(
    name="can_drift",
    layer=Layer.CAN,
    player=Player.CAN_GATEWAY,
    summary="0x300 slides slowly below the true value.",
    signature="A straight decline (at most to 0 A) that no limit explains, and a leap back at its "
    "end.",
    source=_SYNCAN + "continuous change",
    seen_on="0x300",
    parameters=(
        Parameter("rate_a_per_s", "A/s", "how fast", 0.1, 0.25, 0.5),
        Parameter("duration_s", "s", "how long", 120, 120, 120),
    ),
    play=drift,
)


async def play_back(scene: Scene, segment_s: float, duration_s: float) -> None:
    """Record the true values, then show them over and over."""
    recorded: deque[float] = deque()
    playing = False

    def falsify(true_a: float) -> float:
        if not playing or not recorded:
            recorded.append(true_a)
            return true_a
        shown_a = recorded[0]
        recorded.rotate(-1)
        return shown_a

    with falsifying(scene, falsify):
        await asyncio.sleep(segment_s)
        playing = True
        scene.episode.start_s = scene.now_s()
        await asyncio.sleep(duration_s)


CAN_PLAYBACK = Anomaly(
    name="can_playback",
    layer=Layer.CAN,
    player=Player.CAN_GATEWAY,
    summary="0x300 shows a segment recorded before, over and over.",
    signature="The same values, noise and all, again and again, whatever is commanded.",
    source=_SYNCAN + "playback",
    seen_on="0x300",
    parameters=(
        Parameter("segment_s", "s", "how much is recorded before", 60, 40, 20),
        Parameter("duration_s", "s", "how long it is played", 120, 160, 240),
    ),
    lasts_s=lambda values: values["segment_s"] + values["duration_s"],
    play=play_back,
)


async def masquerade(scene: Scene, share: float, duration_s: float) -> None:
    """Show a share of the true value, in step with the true frames."""
    with falsifying(scene, lambda true_a: true_a * share):
        await asyncio.sleep(duration_s)


CAN_MASQUERADE = Anomaly(
    name="can_masquerade",
    layer=Layer.CAN,
    player=Player.CAN_GATEWAY,
    summary="Another node speaks in the charger's place: 0x300 in time, with a false value.",
    signature="The timing is as ever; the value leaps to a share of the true one and back, which "
    "no limit explains. The meter believes it, the car's state of charge (0x310) does not.",
    source=_ROAD + "masquerade",
    seen_on="0x300",
    parameters=(
        Parameter("share", "1", "of the true value that is shown", 0.8, 0.5, 0.0),
        Parameter("duration_s", "s", "how long", 60, 120, 180),
    ),
    play=masquerade,
)


async def suppress(scene: Scene, duration_s: float) -> None:
    """Keep 0x300 back."""
    with falsifying(scene, lambda true_a: None):
        await asyncio.sleep(duration_s)


CAN_SUPPRESS = Anomaly(
    name="can_suppress",
    layer=Layer.CAN,
    player=Player.CAN_GATEWAY,
    summary="0x300 is kept from the bus.",
    signature="A gap in 0x300; after 5 s (not with severity low) the charge point is Faulted, "
    "after 10 s (severity high) it ends the transaction.",
    source=_SYNCAN + "suppress",
    seen_on="0x300",
    parameters=(Parameter("duration_s", "s", "how long", 3, 8, 60),),
    play=suppress,
)


# ── Frames too many ──────────────────────────────────────────────────────────────────────────

#: A burst and the silence after it take this long together, from and to: with one period alone
#: 0x300 would meet all bursts at the same place.
BURST_PERIOD_S = (0.05, 0.15)
FLOOD_ID = 0x000
FLOOD_DATA = bytes(8)
BIT_RATE = 500_000.0
#: Messages that are queued at once.
CHUNK = 32


async def flood(scene: Scene, load: float, duration_s: float) -> None:
    """Send bursts of the id that wins every arbitration, for a share of the bus's time."""
    if scene.can is None:
        raise CatalogueError("this anomaly is played by a node on the CAN bus: attack_can.py")
    message_s = frame_bits(FLOOD_ID, FLOOD_DATA, len(FLOOD_DATA)) / BIT_RATE
    end_s, due_s = scene.now_s() + duration_s, scene.now_s()
    while due_s < end_s:
        period_s = float(scene.rng.uniform(*BURST_PERIOD_S))
        for number in range(max(1, round(load * period_s / message_s))):
            scene.can.send_message(
                can.Message(arbitration_id=FLOOD_ID, data=FLOOD_DATA, is_extended_id=False)
            )
            if number % CHUNK == CHUNK - 1:  # a little faster than the bus takes them
                await asyncio.sleep((CHUNK - 2) * message_s)
        scene.note_effect()
        due_s += period_s
        await asyncio.sleep(max(0.0, min(due_s, end_s) - scene.now_s()))


CAN_FLOODING = Anomaly(
    name="can_flooding",
    layer=Layer.CAN,
    player=Player.CAN_NODE,
    summary="Bursts of id 0x000, which wins every arbitration, occupy the bus.",
    signature="The times between frames collapse; 0x300 comes late, by up to the length of a "
    "burst, since it must wait for the bus.",
    source=_SYNCAN + "flooding",
    seen_on="id 0x000; the timing of 0x300",
    parameters=(
        Parameter("load", "1", "share of the bus's time", 0.3, 0.6, 0.9),
        Parameter("duration_s", "s", "how long", 10, 10, 20),
    ),
    play=flood,
)


async def fuzz(scene: Scene, rate_per_s: float, duration_s: float) -> None:
    """Send frames with random ids, lengths and data."""
    if scene.can is None:
        raise CatalogueError("this anomaly is played by a node on the CAN bus: attack_can.py")
    end_s = scene.now_s() + duration_s
    while scene.now_s() < end_s:
        length = int(scene.rng.integers(0, 9))
        scene.can.send_message(
            can.Message(
                arbitration_id=int(scene.rng.integers(0, 0x800)),
                data=scene.rng.bytes(length),
                is_extended_id=False,
            )
        )
        scene.note_effect()
        wait_s = float(scene.rng.exponential(1 / rate_per_s))
        await asyncio.sleep(max(0.0, min(wait_s, end_s - scene.now_s())))


CAN_FUZZING = Anomaly(
    name="can_fuzzing",
    layer=Layer.CAN,
    player=Player.CAN_NODE,
    summary="Frames with random ids, lengths and data.",
    signature="Ids and lengths that the protocol does not know; now and then one that it does.",
    source=_ROAD + "fuzzing",
    seen_on="ids other than 0x200, 0x201, 0x210, 0x300, 0x310",
    parameters=(
        Parameter("rate_per_s", "1/s", "frames in a second", 2, 20, 200),
        Parameter("duration_s", "s", "how long", 30, 30, 30),
    ),
    play=fuzz,
)
