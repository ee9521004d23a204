"""Command rate: an alarm when the central system commands too much in a short time.

On an AC charger the base scenario does not show in the current at all; its commands do.
"""

from __future__ import annotations

from typing import ClassVar

from evsim.detectors.base import Detector
from evsim.detectors.signals import command
from evsim.detectors.window import Window
from evsim.events import Event


class CommandRate(Detector):
    """Counts profiles, starts and stops in a window.

    A user who gives up a start and tries again brings 6 in 20 s (a limit and a start, a stop,
    twice); two cycles of the base scenario bring 8 in 13 s.

    :param commands: from so many in the window the alarm is on.
    :param window_s: length of the window.
    """

    name: ClassVar[str] = "command_rate"
    summary: ClassVar[str] = "too many profiles, starts and stops in a short time"

    def __init__(self, *, commands: int = 8, window_s: float = 20.0) -> None:
        self.commands = commands
        self._window: Window[str] = Window(window_s)
        super().__init__()

    def observe(self, event: Event) -> None:
        """Take a command."""
        if command(event) is not None:
            self._window.add(event.time_s, "")

    def score_at(self, time_s: float) -> float:
        """Return the share of the commands that raise the alarm."""
        return len(self._window.at(time_s)) / self.commands

    def reason_at(self, time_s: float) -> str | None:
        """Tell the number of commands."""
        count = len(self._window.at(time_s))
        if count < self.commands:
            return None
        return f"{count} commands in {self._window.length_s:g} s"

    def reset(self) -> None:
        """Forget all commands."""
        self._window.clear()
