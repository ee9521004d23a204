"""A benign behaviour in the background of one or several charge points, anomalies in front."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from evsim.anomalies.base import LONGEST_PAUSE_S, Anomaly, Benign, Scene, Severity, perform
from evsim.anomalies.session import TROUBLE, complain, remote_stop

#: After a command failed, the background begins anew.
AGAIN_S = 5.0
#: Between two sessions where an anomaly needs one to begin: as long as benign users take.
BETWEEN_SESSIONS_S = (20.0, LONGEST_PAUSE_S)
#: Cars do not come to all charge points in the same moment.
COME_WITHIN_S = 60.0
#: What follows an anomaly before the background takes the charge point back.
AFTER_S = 10.0


class Background:
    """A benign behaviour that goes on whatever happens, until it is stopped.

    :param scenes: one for each charge point.
    """

    def __init__(self, benign: Benign, scenes: Sequence[Scene]) -> None:
        self.benign = benign
        self.scenes = scenes
        self._sessions: dict[str, asyncio.Task[None]] = {}
        self._held: set[str] = set()

    def start(self) -> None:
        """Begin, with every charge point; of several, each at a moment of its own."""
        for scene in self.scenes:
            within_s = COME_WITHIN_S if len(self.scenes) > 1 else 0.0
            self._begin(scene, float(scene.rng.uniform(0.0, within_s)))

    async def stop(self) -> None:
        """Send no further command; transactions go on."""
        sessions = list(self._sessions.values())
        for name in list(self._sessions):
            self._end(name)
        await ended(*sessions)

    async def hold(self, scene: Scene) -> None:
        """Send no further command to one charge point; with the others all goes on."""
        self._held.add(scene.target)
        session = self._sessions.get(scene.target)
        self._end(scene.target)
        if session is not None:
            await ended(session)

    def release(self, scene: Scene) -> None:
        """Go on with a charge point that was held."""
        self._held.discard(scene.target)
        self._begin(scene)

    def _begin(self, scene: Scene, after_s: float = 0.0) -> None:
        self._end(scene.target)
        self._sessions[scene.target] = asyncio.create_task(self._go_on(scene, after_s))

    def _end(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            session.cancel()

    async def _go_on(self, scene: Scene, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        if scene.target in self._held:
            return  # it has come back in the meantime
        values = {parameter.name: parameter.medium for parameter in self.benign.parameters}
        while True:
            try:
                await self.benign.play(scene, **values)
            except TROUBLE as error:
                complain(scene.target, error)
                await asyncio.sleep(AGAIN_S)


async def ended(*cancelled: asyncio.Task[None]) -> None:
    """Wait for the end of tasks that were cancelled; raise what one of them has raised."""
    for outcome in await asyncio.gather(*cancelled, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def play_in_front(
    background: Background,
    anomaly: Anomaly,
    scene: Scene,
    severity: Severity,
    values: Mapping[str, float],
) -> None:
    """Play an anomaly, with the background behind it or, if it takes over, in its place.

    An anomaly that begins a session, or takes over one charge point, finds that one idle.
    """
    if anomaly.fleet:
        await background.stop()
    elif anomaly.own_session:
        await background.hold(scene)
        try:
            await remote_stop(scene.station())
        except TROUBLE as error:
            complain(scene.target, error)
        await asyncio.sleep(float(scene.rng.uniform(*BETWEEN_SESSIONS_S)))
        if anomaly.begins_session:
            background.release(scene)
    try:
        await perform(anomaly, scene, severity, values)
    except TROUBLE as error:
        complain(scene.target, error)
    if anomaly.takes_over:
        await asyncio.sleep(AFTER_S)
        if anomaly.fleet:
            background.start()
        else:
            background.release(scene)
