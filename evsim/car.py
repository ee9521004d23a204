"""The car on the charger: a battery that asks for less as it fills."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Car:
    """Constant current up to a state of charge, then linearly less down to 0 A when full.

    The shape is that of acnportal's Linear2StageBattery, whose transition is at 0.8 too.

    :param capacity_wh: of the battery.
    :param state_of_charge: 0 to 1; overcharged beyond that.
    :param most_a: what it asks for while the battery is not nearly full, A.
    """

    capacity_wh: float = 60_000.0
    state_of_charge: float = 0.2
    most_a: float = 150.0
    transition: float = 0.8
    #: Of what it takes, the share that it tells of: 1 for a car that tells the truth.
    told_share: float = 1.0
    #: What it draws whatever the limit, A; None for a car that obeys.
    insists_a: float | None = None
    told_state_of_charge: float = field(init=False)

    def __post_init__(self) -> None:
        self.told_state_of_charge = self.state_of_charge

    @property
    def demand_a(self) -> float:
        """What it asks for now, by the state of charge that it tells, A."""
        if self.told_state_of_charge < self.transition:
            return self.most_a
        return self.most_a * max(0.0, 1 - self.told_state_of_charge) / (1 - self.transition)

    def take(self, energy_wh: float) -> None:
        """Charge the battery."""
        gained = energy_wh / self.capacity_wh
        self.state_of_charge += gained
        self.told_state_of_charge = min(1.0, self.told_state_of_charge + gained * self.told_share)
