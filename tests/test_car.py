"""The car: what it asks for as its battery fills, and what it tells of it."""

from __future__ import annotations

import pytest

from evsim.car import Car


@pytest.mark.parametrize(
    ("state_of_charge", "demand_a"), [(0.0, 100), (0.79, 100), (0.8, 100), (0.9, 50), (1.0, 0)]
)
def test_it_asks_for_less_from_the_transition_on(state_of_charge: float, demand_a: float) -> None:
    assert Car(state_of_charge=state_of_charge, most_a=100).demand_a == pytest.approx(demand_a)


def test_what_it_takes_fills_the_battery() -> None:
    car = Car(capacity_wh=50_000, state_of_charge=0.5)
    car.take(10_000)
    assert car.state_of_charge == car.told_state_of_charge == pytest.approx(0.7)


def test_one_that_tells_less_than_it_takes_goes_on_asking() -> None:
    car = Car(capacity_wh=50_000, state_of_charge=0.5, most_a=100, told_share=0.1)
    car.take(30_000)
    assert car.state_of_charge == pytest.approx(1.1)
    assert car.told_state_of_charge == pytest.approx(0.56)
    assert car.demand_a == 100
