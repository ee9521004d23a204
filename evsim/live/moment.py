"""The moment to begin, and an anomaly on the CAN side, where nobody commands the charge point."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging

import can
import numpy as np

from evsim.anomalies.base import VISIBLE_A, Anomaly, CanPort, Charger, Gateway, Scene, perform
from evsim.can_node import CanNode
from evsim.charger import PLANTS, Plant
from evsim.frames import CURRENT_ID, FrameError, MeasuredCurrent, decode
from evsim.live.options import Playing
from evsim.live.recording import Labels, Recording, wall_clock

log = logging.getLogger("evsim.anomalies")


def can_scene(
    node: CanNode,
    playing: Playing,
    recording: Recording,
    seed: int,
    *,
    plant: Plant = PLANTS["dc"],
    port: CanPort | None = None,
    gateway: Gateway | None = None,
    charger: Charger | None = None,
) -> Scene:
    """Make the scene of a program on the CAN bus.

    :param node: hears the measured currents, its own too.
    """
    target = playing.target or "CP_1"
    scene = Scene(
        now_s=wall_clock(),
        rng=np.random.default_rng(seed),
        label=recording.labels(),
        target=target,
        plant=plant,
        can=port,
        gateway=gateway,
        charger=charger,
    )

    def hear(message: can.Message) -> None:
        if message.arbitration_id != CURRENT_ID:
            return
        with contextlib.suppress(FrameError):
            frame = decode(message)
            if isinstance(frame, MeasuredCurrent):
                scene.hear(target, frame.current_a)

    node.taps.append(hear)
    return scene


async def moment_to_play(playing: Playing, scene: Scene) -> None:
    """Wait until the target charges, if that matters, and then as long as was asked for."""
    if playing.anomaly.needs_current:
        log.info(
            "%s: %s begins %g s after the charging",
            scene.target,
            playing.anomaly.name,
            playing.after_s,
        )
        await scene.until_charging(float("inf"))
    else:
        log.info("%s: %s begins in %g s", scene.target, playing.anomaly.name, playing.after_s)
    await asyncio.sleep(playing.after_s)
    if playing.anomaly.needs_current and scene.currents_a.get(scene.target, 0.0) < VISIBLE_A:
        await scene.until_charging(float("inf"))
    if playing.anomaly.own_session and not playing.anomaly.fleet:
        log.info("%s: %s begins when the session has ended", scene.target, playing.anomaly.name)


def noted(playing: Playing, scene: Scene) -> Anomaly:
    """Give the anomaly that is to be played, said and recorded as soon as it begins."""
    assert isinstance(scene.label, Labels), "as live scenes have it"
    anomaly, labels = playing.anomaly, scene.label

    async def play(scene: Scene, **values: float) -> None:
        log.info("%s: %s", scene.target, playing)
        target = ";".join(sorted(scene.stations())) if anomaly.fleet else scene.target
        labels.begin(anomaly, target, playing.severity, scene.episode.start_s)
        await anomaly.play(scene, **values)

    return dataclasses.replace(anomaly, play=play)


async def play_once(playing: Playing, scene: Scene) -> None:
    """Play an anomaly when its moment has come, and write its label."""
    await moment_to_play(playing, scene)
    await perform(noted(playing, scene), scene, playing.severity, playing.values)
    log.info("%s: %s is over", scene.target, playing.anomaly.name)
