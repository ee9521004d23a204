"""Session: messages that do not fit together, too many of them, or none."""

from __future__ import annotations

import math
from typing import ClassVar

from evsim.detectors.base import Detector
from evsim.detectors.signals import call, text
from evsim.detectors.window import Window
from evsim.events import Direction, Event, Kind, OcppEvent

#: A StopTransaction follows its RemoteStopTransaction within this time, also on a slow network.
STOP_FOLLOWS_S = 30.0
#: A start and the id tag that it names are remembered for so long.
START_FOLLOWS_S = 60.0
HOLD_S = 30.0


class Session(Detector):
    """Looks for stops that nobody asked for, tags that nobody sent, floods and silence.

    :param heartbeats: from so many in 10 s; one is due in 10 s.
    :param silent_s: no message of the charge point for so long, once it has spoken.
    """

    name: ClassVar[str] = "session"
    summary: ClassVar[str] = "stops nobody asked for, foreign id tags, Heartbeat floods, silence"

    def __init__(self, *, heartbeats: int = 5, silent_s: float = 25.0) -> None:
        self.heartbeats, self.silent_s = heartbeats, silent_s
        self._heartbeats: Window[None] = Window(10.0)
        super().__init__()

    def reset(self) -> None:
        """Forget all messages."""
        self._heartbeats.clear()
        self._stop_asked_s = -math.inf
        self._start_asked: tuple[float, str] | None = None
        self._spoke_s: float | None = None
        self._raised: tuple[float, str] | None = None

    def observe(self, event: Event) -> None:
        """Take a message."""
        if not isinstance(event, OcppEvent):
            return
        time_s = event.time_s
        sent = call(event, Direction.TO_CHARGE_POINT)
        if sent is not None and sent.action in ("RemoteStopTransaction", "Reset"):
            self._stop_asked_s = time_s
        elif sent is not None and sent.action == "RemoteStartTransaction":
            self._start_asked = (time_s, text(sent.payload, "idTag"))
        if event.direction != Direction.TO_CENTRAL_SYSTEM or event.kind == Kind.LINK:
            return
        self._spoke_s = time_s
        told = call(event, Direction.TO_CENTRAL_SYSTEM)
        if told is None:
            return
        if told.action == "Heartbeat":
            self._heartbeats.add(time_s, None)
        elif told.action == "StopTransaction":
            self._look_at_stop(time_s, text(told.payload, "reason"))
        elif told.action == "StartTransaction" and self._start_asked is not None:
            asked_s, tag = self._start_asked
            started_by = text(told.payload, "idTag")
            if 0 <= time_s - asked_s <= START_FOLLOWS_S and started_by.lower() != tag.lower():
                self._raise(time_s, f"{started_by!r} starts where {tag!r} was sent")

    def _look_at_stop(self, time_s: float, reason: str) -> None:
        if reason == "DeAuthorized":
            self._raise(time_s, "a transaction ends with reason DeAuthorized")
        elif reason == "Remote" and not 0 <= time_s - self._stop_asked_s <= STOP_FOLLOWS_S:
            self._raise(
                time_s, f"a transaction ends with reason Remote; no stop in {STOP_FOLLOWS_S:g} s"
            )

    def _raise(self, time_s: float, reason: str) -> None:
        self._raised = (time_s, reason)

    def _silence_s(self, time_s: float) -> float:
        return 0.0 if self._spoke_s is None else max(0.0, time_s - self._spoke_s)

    def score_at(self, time_s: float) -> float:
        """Return the highest of the scores."""
        raised = self._raised is not None and 0 <= time_s - self._raised[0] <= HOLD_S
        return max(
            float(raised),
            len(self._heartbeats.at(time_s)) / self.heartbeats,
            self._silence_s(time_s) / self.silent_s,
        )

    def reason_at(self, time_s: float) -> str | None:
        """Tell what does not fit."""
        if self._raised is not None and 0 <= time_s - self._raised[0] <= HOLD_S:
            return self._raised[1]
        beats = len(self._heartbeats.at(time_s))
        if beats >= self.heartbeats:
            return f"{beats} Heartbeats in {self._heartbeats.length_s:g} s"
        if self._silence_s(time_s) >= self.silent_s:
            return f"no message of the charge point for {self._silence_s(time_s):.0f} s"
        return None
