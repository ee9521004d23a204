"""What every detector is: it sees events, answers a score, and says why it alarms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from evsim.events import Event

#: An alarm is on from this score: what was measured has reached the threshold.
ALARM = 1.0


class Detector(ABC):
    """Sees the events of one charge point, or of all if `fleet`, in the order of their times.

    Time comes from the events and from `time_s` only, Unix s; so the same object runs live and on
    recordings. Whoever feeds it asks for score_at() about once a second, so that what is missing
    is noticed too. State is bounded, whatever comes; nothing that comes raises.

    Thresholds are keyword arguments of the constructor, with their units in their names.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    fleet: ClassVar[bool] = False

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def observe(self, event: Event) -> None:
        """Take an event."""

    @abstractmethod
    def score_at(self, time_s: float) -> float:
        """Return how far what was measured is on its way to the threshold, 0 up; alarm from 1."""

    @abstractmethod
    def reason_at(self, time_s: float) -> str | None:
        """Say why the alarm is on, in words with numbers and units; None if it is off."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all events."""
