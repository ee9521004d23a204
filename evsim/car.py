"""The car on the charger: a battery that asks for less as it fills."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Car:
    """Constant current up to a state of charge, then linearly less down to 0 A when full.

    The shape is that of acnportal's Linear2StageBattery, whose transition is at 0.8 too.

    :param capacity_wh: of the battery.
    :param state_of_charge: 0 to 1.
    :param most_a: what it asks for while the battery is not nearly full, A.
    """

    capacity_wh: float = 60_000.0
    state_of_charge: float = 0.2
    most_a: float = 150.0
    transition: float = 0.8

    @property
    def demand_a(self) -> float:
        """What it asks for now, A."""
        if self.state_of_charge < self.transition:
            return self.most_a
        return self.most_a * (1 - self.state_of_charge) / (1 - self.transition)

    def take(self, energy_wh: float) -> None:
        """Charge the battery."""
        self.state_of_charge = min(1.0, self.state_of_charge + energy_wh / self.capacity_wh)
