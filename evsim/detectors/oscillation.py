"""Rainflow and spectrum: two other ways to see that the current swings."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import rainflow

from evsim.detectors.base import Detector
from evsim.detectors.signals import current_a
from evsim.detectors.window import Window
from evsim.events import Event


class _OfCurrent(Detector):
    """Keeps the currents of a window."""

    def __init__(self, window_s: float) -> None:
        self._window: Window[float] = Window(window_s, most=256)
        super().__init__()

    def reset(self) -> None:
        self._window.clear()

    def observe(self, event: Event) -> None:
        """Take the current of a 0x300."""
        value_a = current_a(event)
        if value_a is not None:
            self._window.add(event.time_s, value_a)

    def currents_a(self, time_s: float) -> list[float]:
        """Return the currents of the window."""
        return [value_a for _, value_a in self._window.at(time_s)]


class Rainflow(_OfCurrent):
    """Counts cycles as for a material's fatigue (ASTM E1049), with the library `rainflow`.

    :param range_a: a smaller cycle is noise.
    :param cycles: from so many in the window; half ones count half.
    """

    name: ClassVar[str] = "rainflow"
    summary: ClassVar[str] = "too many cycles of the current, counted as for fatigue"

    def __init__(
        self, *, range_a: float = 5.0, cycles: float = 3.0, window_s: float = 60.0
    ) -> None:
        self.range_a, self.cycles = range_a, cycles
        super().__init__(window_s)

    def _count(self, time_s: float) -> float:
        found = rainflow.count_cycles(self.currents_a(time_s))
        return float(sum(count for range_a, count in found if range_a >= self.range_a))

    def score_at(self, time_s: float) -> float:
        """Return the share of the cycles that raise the alarm."""
        return self._count(time_s) / self.cycles

    def reason_at(self, time_s: float) -> str | None:
        """Tell the number of cycles."""
        count = self._count(time_s)
        if count < self.cycles:
            return None
        return f"{count:g} cycles of {self.range_a:g} A or more in {self._window.length_s:g} s"


class Spectral(_OfCurrent):
    """Looks for one strong line in the spectrum of the current. A challenger: it tells less.

    :param amplitude_a: of a line, and
    :param share: of all power but the mean's that it must have.
    """

    name: ClassVar[str] = "spectral"
    summary: ClassVar[str] = "one strong line in the spectrum of the current"

    def __init__(
        self, *, amplitude_a: float = 10.0, share: float = 0.3, window_s: float = 64.0
    ) -> None:
        self.amplitude_a, self.share = amplitude_a, share
        super().__init__(window_s)

    def _line(self, time_s: float) -> tuple[float, float, float]:
        """Return amplitude (A), share and period (s) of the strongest line faster than 30 s."""
        values = np.array(self.currents_a(time_s))
        if len(values) < 32:
            return 0.0, 0.0, 0.0
        spectrum = np.abs(np.fft.rfft(values - values.mean())) * 2 / len(values)
        power = float(np.sum(spectrum**2))
        first = max(1, int(np.ceil(len(values) / 30)))
        line = first + int(np.argmax(spectrum[first:]))
        if power <= 0:
            return 0.0, 0.0, 0.0
        return float(spectrum[line]), float(spectrum[line] ** 2 / power), len(values) / line

    def score_at(self, time_s: float) -> float:
        """Return the lower of the two scores."""
        amplitude_a, share, _ = self._line(time_s)
        return min(amplitude_a / self.amplitude_a, share / self.share)

    def reason_at(self, time_s: float) -> str | None:
        """Tell amplitude and period."""
        if self.score_at(time_s) < 1:
            return None
        amplitude_a, share, period_s = self._line(time_s)
        return f"a swing of {amplitude_a:.0f} A every {period_s:.1f} s has {share:.0%} of the power"
