"""The stage of a central system: who charges there, what goes on, and an anomaly in front of it.

csms.py's CentralSystem tells it who comes and goes, and what is said on the links.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np

from evsim.anomalies import ANOMALIES, benign_named
from evsim.anomalies.base import Benign, Player, Scene, Severity, Station, perform
from evsim.anomalies.stage import Background, play_in_front
from evsim.live.moment import moment_to_play, noted
from evsim.live.options import BASE_SCENARIO, PLAIN, Playing
from evsim.live.recording import Recording, wall_clock
from evsim.man_in_the_middle import ManInTheMiddle
from evsim.ocpp_wire import CALL

#: From the boot of a charge point to its first session.
ARRIVAL_S = 3.0
#: A fleet's anomaly waits for so many charge points.
FLEET = 2

log = logging.getLogger("evsim.anomalies")


class Guests(Background):
    """A benign behaviour with charge points that come and go."""

    def __init__(self, benign: Benign) -> None:
        self._guests: list[Scene] = []
        self._goes_on = False
        super().__init__(benign, self._guests)

    def join(self, scene: Scene) -> None:
        """Begin with one more charge point, or again with one that is back."""
        self.leave(scene)
        self._guests.append(scene)
        if self._goes_on:
            self._sessions[scene.target] = asyncio.create_task(self._arrive(scene))

    def leave(self, scene: Scene) -> None:
        """Command a charge point no more."""
        if scene in self._guests:
            self._guests.remove(scene)
        self._end(scene.target)

    def start(self) -> None:
        """Begin, with every charge point that is here or will come."""
        self._goes_on = True
        super().start()

    async def stop(self) -> None:
        """Send no further command; transactions go on."""
        self._goes_on = False
        await super().stop()

    async def _arrive(self, scene: Scene) -> None:
        await asyncio.sleep(ARRIVAL_S)
        await self._go_on(scene)


class CentralStage:
    """What a central system plays with the charge points that come to it.

    :param benign: played for ever with each of them; None for plain sessions.
    :param playing: played once, in front of that.
    :param cycle: one cycle of the base scenario with a charge point.
    :param invalidate_tag: have the central system refuse an id tag.
    :param now_s: the time of the recording, Unix s; by default the wall clock.
    """

    def __init__(
        self,
        benign: str | None,
        playing: Playing | None,
        recording: Recording,
        *,
        cycle: Callable[[Any], Awaitable[None]],
        invalidate_tag: Callable[[str], None],
        now_s: Callable[[], float] | None = None,
    ) -> None:
        #: Whether there is more to play than the base scenario.
        self.is_set = benign is not None or playing is not None
        self._playing = playing
        self._recording = recording
        self._cycle = cycle
        self._now_s = now_s or wall_clock()
        self._invalidate_tag = invalidate_tag
        self._guests = Guests(benign_named(benign or PLAIN))
        self._target = None if playing is None else playing.target
        self._stations: dict[str, Station] = {}
        self._scenes: dict[str, Scene] = {}
        self._wires: dict[str, ManInTheMiddle] = {}
        self._somebody_came = asyncio.Event()

    # ── What the central system tells ────────────────────────────────────────────────────────

    @property
    def listens(self) -> bool:
        """Whether it wants to hear what is said on the links."""
        return self.is_set or self._recording.is_on

    def wire(self, charge_point_id: str) -> ManInTheMiddle | None:
        """Give the man in the middle on a link, if one is to play."""
        if self._playing is None or self._playing.anomaly.player is not Player.OCPP_LINK:
            return None
        if self._target not in (None, charge_point_id):
            return None
        return self._wires.setdefault(charge_point_id, ManInTheMiddle())

    async def play(self, charge_point: Station) -> None:
        """Take in a charge point that has booted, or is back."""
        if self._playing is not None and self._target is None:
            self._target = charge_point.id
        self._stations[charge_point.id] = charge_point
        self._guests.join(self._scene(charge_point.id))
        self._somebody_came.set()

    async def label(self, charge_point: Station, work: Coroutine[Any, Any, None]) -> None:
        """Do the base scenario's work with a charge point, and write its label."""
        self._stations[charge_point.id] = charge_point
        scene = self._scene(charge_point.id)

        async def play(scene: Scene, **_: float) -> None:
            with scene.watching_changes():
                await work

        whole = dataclasses.replace(ANOMALIES[BASE_SCENARIO], play=play)
        playing = Playing(whole, Severity.MEDIUM, {}, 0.0, charge_point.id)
        await perform(noted(playing, scene), scene, Severity.MEDIUM, {})

    def ocpp(self, charge_point_id: str, sent: bool, message: list[Any] | str) -> None:
        """Take a message that was sent or received; what it says of the current is heard."""
        self._recording.ocpp(charge_point_id, sent, message)
        if sent or isinstance(message, str):
            return
        if message[0] != CALL or message[2] not in ("MeterValues", "StopTransaction"):
            return
        current_a = current_of(message[3]) if message[2] == "MeterValues" else 0.0
        for name in {charge_point_id, self._target}:
            if current_a is not None and name in self._scenes:
                self._scenes[name].hear(charge_point_id, current_a)

    def link(self, charge_point_id: str, event: str) -> None:
        """Take note that a connection is there, or is not any more."""
        self._recording.link(charge_point_id, event)
        if event != "disconnected":
            return
        self._stations.pop(charge_point_id, None)
        scene = self._scenes.get(charge_point_id)
        if scene is not None:
            self._guests.leave(scene)
        if charge_point_id != self._target:
            self._scenes.pop(charge_point_id, None)
            self._wires.pop(charge_point_id, None)

    def _scene(self, charge_point_id: str) -> Scene:
        if charge_point_id not in self._scenes:
            self._scenes[charge_point_id] = Scene(
                now_s=self._now_s,
                rng=np.random.default_rng(),
                label=self._recording.labels(),
                target=charge_point_id,
                stations=lambda: self._stations,
                cycle=self._cycle,
                invalidate_tag=self._invalidate_tag,
                wire=self.wire(charge_point_id),
            )
        return self._scenes[charge_point_id]

    # ── The play ─────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Play until cancelled; UserError when the recording cannot go on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recording.watch())
            if self.is_set:
                self._guests.start()
            if self._playing is not None:
                tasks.create_task(self._perform(self._playing))

    async def _perform(self, playing: Playing) -> None:
        while not self._is_cast(playing):
            self._somebody_came.clear()
            await self._somebody_came.wait()
        assert self._target is not None
        scene = self._scenes[self._target]
        await moment_to_play(playing, scene)
        await play_in_front(
            self._guests, noted(playing, scene), scene, playing.severity, playing.values
        )
        log.info(
            "%s: %s is over; %s goes on",
            scene.target,
            playing.anomaly.name,
            self._guests.benign.name,
        )

    def _is_cast(self, playing: Playing) -> bool:
        if playing.anomaly.fleet and len(self._stations) < FLEET:
            if self._stations:
                log.info("%s waits for %d charge points", playing.anomaly.name, FLEET)
            return False
        return self._target in self._scenes


def current_of(payload: object) -> float | None:
    """Read Current.Import of a MeterValues message, whatever a charge point has put there, A."""
    try:
        samples = payload["meterValue"][-1]["sampledValue"]  # type: ignore[index]
        values = [s["value"] for s in samples if s.get("measurand") == "Current.Import"]
        return float(values[0])
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
