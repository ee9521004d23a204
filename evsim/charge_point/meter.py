"""The charge point's meter: energy from the current that the charger reports."""

from __future__ import annotations

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
        self._heard_at_s: float | None = None

    def hear(self, current_a: int, now_s: float) -> None:
        """Take a reading; the one before held until now."""
        if self._heard_at_s is not None:
            held_s = min(max(0.0, now_s - self._heard_at_s), LONGEST_GAP_S)
            self.register_wh += self.plant.power_w(self.current_a) * held_s / 3600
        self.current_a = current_a
        self._heard_at_s = now_s

    def sampled_values(self) -> list[dict[str, str]]:
        """Give the four measurands as a MeterValues message carries them."""
        readings = (
            (Measurand.current_import, f"{self.current_a}", UnitOfMeasure.a),
            (Measurand.voltage, f"{self.plant.voltage_v:g}", UnitOfMeasure.v),
            (
                Measurand.power_active_import,
                f"{self.plant.power_w(self.current_a):g}",
                UnitOfMeasure.w,
            ),
            (
                Measurand.energy_active_import_register,
                f"{self.register_wh:.1f}",
                UnitOfMeasure.wh,
            ),
        )
        return [
            {
                "value": value,
                "measurand": measurand,
                "unit": unit,
                "context": ReadingContext.sample_periodic,
            }
            for measurand, value, unit in readings
        ]
