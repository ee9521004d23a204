"""The charge point's meter: energy from the current that the charger reports."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ocpp.v16.enums import Measurand, ReadingContext, UnitOfMeasure

from evsim.charger import Plant
from evsim.frames import CURRENT_PERIOD_S

#: A reading counts for no longer than this: what a silent charger did is not known.
LONGEST_GAP_S = 2 * CURRENT_PERIOD_S


class Meter:
    """Integrates current readings to an energy register that never falls.

    :param plant: its voltage and phases.
    :param register_wh: where the register stood, Wh.
    """

    def __init__(self, plant: Plant, register_wh: float = 0.0) -> None:
        self.plant = plant
        self.register_wh = register_wh
        self.current_a = 0
        #: What the car says of its battery, %; None while it has said nothing.
        self.state_of_charge_percent: float | None = None
        self._heard_at_s: float | None = None
        self._counted_until_s = 0.0

    def hear(self, current_a: int, now_s: float) -> None:
        """Take a reading; the current has moved to it along a straight line."""
        self._count((self.current_a + current_a) / 2, now_s)
        self.current_a = current_a
        self._heard_at_s = now_s

    def run_until(self, now_s: float) -> float:
        """Bring the register up to `now_s`, with the last reading; give it, Wh."""
        self._count(self.current_a, now_s)
        return self.register_wh

    def _count(self, mean_a: float, now_s: float) -> None:
        if self._heard_at_s is not None:
            end_s = min(now_s, self._heard_at_s + LONGEST_GAP_S)
            duration_s = max(0.0, end_s - self._counted_until_s)
            self.register_wh += self.plant.power_w(mean_a) * duration_s / 3600
        self._counted_until_s = now_s

    def sampled_values(
        self, measurands: Collection[str], context: ReadingContext
    ) -> list[dict[str, str]]:
        """Give the readings of `measurands` as OCPP's SampledValue has them.

        The car's state of charge is left out while the car has said nothing of it.
        """
        return [
            {"value": value, "measurand": measurand, "unit": unit, "context": context}
            for measurand, value, unit in self._readings()
            if measurand in measurands
        ]

    def _readings(self) -> Iterator[tuple[Measurand, str, UnitOfMeasure]]:
        power_w = self.plant.power_w(self.current_a)
        yield Measurand.current_import, f"{self.current_a}", UnitOfMeasure.a
        yield Measurand.voltage, f"{self.plant.voltage_v:g}", UnitOfMeasure.v
        yield Measurand.power_active_import, f"{power_w:g}", UnitOfMeasure.w
        energy_wh = f"{self.register_wh:.1f}"
        yield Measurand.energy_active_import_register, energy_wh, UnitOfMeasure.wh
        if self.state_of_charge_percent is not None:
            yield Measurand.soc, f"{self.state_of_charge_percent:g}", UnitOfMeasure.percent
