"""The power module's physics: ramps, limits, energy, the car's delays; exact for any step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.charger import PLANTS, PowerModule, State
from evsim.frames import STOP_WINS_S


def module_of(plant: str, *, noise_a: float = 0.0, seed: int = 1) -> PowerModule:
    return PowerModule(PLANTS[plant], noise_a=noise_a, rng=np.random.default_rng(seed))


def charging(plant: str, limit_a: float, settle_s: float = 60.0) -> PowerModule:
    """Return a module that delivers `limit_a`."""
    module = module_of(plant)
    module.set_limit(limit_a)
    module.start()
    module.step(settle_s)
    assert module.current_a == limit_a
    return module


# ── Exact for any splitting of time ──────────────────────────────────────────────────────────

COMMANDS = st.one_of(
    st.just(("start", 0)),
    st.just(("stop", 0)),
    st.tuples(st.just("limit"), st.integers(0, 200)),
)
#: A command, then a wait, cut in pieces at these fractions.
SCRIPTS = st.lists(
    st.tuples(COMMANDS, st.integers(1, 60_000), st.lists(st.floats(0.0, 1.0), max_size=4)),
    max_size=12,
)


@given(st.sampled_from(sorted(PLANTS)), SCRIPTS)
def test_many_small_steps_equal_one_large(
    plant: str, script: list[tuple[tuple[str, int], int, list[float]]]
) -> None:
    in_one, in_pieces = module_of(plant), module_of(plant)
    for (command, limit_a), wait_ms, cuts in script:
        for module in (in_one, in_pieces):
            if command == "start":
                module.start()
            elif command == "stop":
                module.stop()
            else:
                module.set_limit(limit_a)
        in_one.step(wait_ms / 1000)
        marks = [0.0, *sorted(cuts), 1.0]
        for before, after in pairwise(marks):
            in_pieces.step((after - before) * wait_ms / 1000)
        assert in_pieces.current_a == pytest.approx(in_one.current_a, abs=1e-3)
        assert in_pieces.energy_wh == pytest.approx(in_one.energy_wh, rel=1e-6, abs=1e-3)
        assert 0.0 <= in_one.current_a <= in_one.plant.rated_max_a


# ── Ramps, limits, states ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("plant", "rise", "fall"), [("dc", 200, 400), ("dc_slow", 25, 100)])
def test_the_current_ramps_at_the_plants_rates(plant: str, rise: float, fall: float) -> None:
    module = module_of(plant)
    module.set_limit(100)
    module.start()
    module.step(0.1)
    assert module.current_a == pytest.approx(rise * 0.1)
    module.step(60.0)
    assert module.current_a == 100
    module.stop()
    module.step(0.1)
    assert module.current_a == pytest.approx(100 - fall * 0.1)
    module.step(60.0)
    assert module.current_a == 0


def test_the_ideal_plant_follows_at_once() -> None:
    module = module_of("ideal")
    module.set_limit(100)
    module.start()
    module.step(1e-9)
    assert module.current_a == 100


def test_states_over_a_session() -> None:
    module = module_of("dc")
    module.set_limit(100)
    seen = [module.state]
    module.start()
    for pause_s in (0.1, 1.0):
        module.step(pause_s)
        seen.append(module.state)
    module.stop()
    for pause_s in (0.1, 1.0):
        module.step(pause_s)
        seen.append(module.state)
    assert seen == [State.OFF, State.RAMPING, State.CHARGING, State.RAMPING, State.OFF]


def test_it_stays_off_until_told_to_start() -> None:
    module = module_of("dc")
    module.set_limit(100)
    module.step(100.0)
    assert module.state is State.OFF
    assert module.energy_wh == 0


@pytest.mark.parametrize(("plant", "rated_a"), [("dc", 150), ("ac", 80)])
def test_a_limit_above_the_rated_maximum_is_clamped(plant: str, rated_a: float) -> None:
    module = module_of(plant)
    assert module.set_limit(rated_a)
    assert not module.set_limit(rated_a + 1)
    assert module.limit_a == rated_a
    module.start()
    module.step(120.0)
    assert module.current_a == rated_a


def test_a_stop_wins_over_a_start_that_comes_with_it() -> None:
    module = charging("dc", 100)
    module.stop()
    assert not module.start()
    module.step(STOP_WINS_S / 2)
    assert not module.start()
    module.step(1.0)
    assert module.state is State.OFF
    assert module.start()

    module = module_of("dc")
    module.start()
    module.stop()
    module.step(1.0)
    assert module.state is State.OFF


# ── Energy ───────────────────────────────────────────────────────────────────────────────────


def test_energy_is_the_integral_of_the_power() -> None:
    module = module_of("dc_slow")  # 25 A/s up, 100 A/s down, 400 V
    module.set_limit(100)
    module.start()
    module.step(10.0)
    module.stop()
    module.step(5.0)
    ampere_s = 100 * 4 / 2 + 100 * 6 + 100 * 1 / 2
    assert module.energy_wh == pytest.approx(ampere_s * 400 / 3600)


def test_three_phases_count() -> None:
    module = charging("ac", 16)
    before_wh = module.energy_wh
    module.step(3600.0)
    assert module.energy_wh - before_wh == pytest.approx(16 * 230 * 3)


# ── The car on alternating current ───────────────────────────────────────────────────────────


def time_until(condition: Callable[[], bool], module: PowerModule, at_most_s: float) -> float:
    """Step by 10 ms until `condition`; how long it took, in s."""
    steps = 0
    while not condition():
        assert steps * 0.01 < at_most_s, f"not within {at_most_s} s"
        module.step(0.01)
        steps += 1
    return steps * 0.01


@pytest.mark.parametrize("seed", range(5))
def test_the_car_wakes_up_after_10_to_40_s(seed: int) -> None:
    module = module_of("ac", seed=seed)
    module.start()
    assert module.state is State.RAMPING
    assert 10 <= time_until(lambda: module.current_a > 0, module, 41) <= 40.1


def test_the_car_follows_a_limit_after_its_reaction_time() -> None:
    module = charging("ac", 32)
    module.set_limit(16)
    assert time_until(lambda: module.current_a < 32, module, 10) == pytest.approx(3.0, abs=0.02)


def test_a_second_limit_waits_for_the_hold_and_the_last_one_counts() -> None:
    module = charging("ac", 32)
    module.set_limit(16)
    module.set_limit(10)
    module.set_limit(20)
    module.step(7.99)  # 16 A after 3 s; the next is signalled after 5 s and followed 3 s later
    assert module.current_a == 16
    module.step(2.0)
    assert module.current_a == 20


@pytest.mark.parametrize(("limit_a", "current_a"), [(6, 6), (5.9, 0), (5, 0), (0, 0)])
def test_below_6_a_the_car_pauses(limit_a: float, current_a: float) -> None:
    module = module_of("ac")
    module.set_limit(limit_a)
    module.start()
    module.step(60.0)
    assert module.current_a == current_a


def test_a_stop_reaches_the_car_without_delay() -> None:
    module = charging("ac", 40)
    module.stop()
    module.step(1.0)
    assert module.state is State.OFF


# ── The base scenario ────────────────────────────────────────────────────────────────────────


def readings_of_base_scenario(plant: str, cycles: int = 3) -> list[int]:
    """Return the 1 Hz readings, each a moment before the command that is due with it."""
    module = module_of(plant)
    readings = []
    for second in range(8 * cycles):
        module.step(1.0 if second else 0.0)
        readings.append(round(module.measured_a()))
        match second % 8:
            case 0:
                module.set_limit(0)
            case 2:
                module.set_limit(100)
            case 3:
                module.start()
            case 5:
                module.stop()
    return readings


@pytest.mark.parametrize(
    ("plant", "cycle"),
    [
        ("ideal", [0, 0, 0, 0, 100, 100, 0, 0]),
        ("dc", [0, 0, 0, 0, 100, 100, 0, 0]),
        ("dc_slow", [0, 0, 0, 0, 25, 50, 0, 0]),
        ("ac", [0, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_base_scenario_reads_as_published(plant: str, cycle: list[int]) -> None:
    assert readings_of_base_scenario(plant) == cycle * 3


# ── Noise ────────────────────────────────────────────────────────────────────────────────────


def noisy_readings(seed: int) -> list[float]:
    module = module_of("dc", noise_a=0.5, seed=seed)
    module.set_limit(100)
    module.start()
    module.step(10.0)
    return [module.measured_a() for _ in range(500)]


def test_noise_comes_from_the_seed_and_has_the_asked_deviation() -> None:
    assert noisy_readings(1) == noisy_readings(1)
    assert noisy_readings(1) != noisy_readings(2)
    assert np.std(noisy_readings(1)) == pytest.approx(0.5, rel=0.15)
    assert np.mean(noisy_readings(1)) == pytest.approx(100, abs=0.1)


def test_noise_is_in_the_reading_only_and_never_below_0() -> None:
    module = module_of("dc", noise_a=5.0)
    assert min(module.measured_a() for _ in range(200)) == 0.0
    assert module.current_a == 0.0


def test_an_open_contactor_cuts_the_current_at_once_and_closed_it_ramps_anew() -> None:
    module = PowerModule(PLANTS["dc_slow"])
    module.set_limit(100)
    module.start()
    module.step(10)
    module.open_contactor()
    assert module.current_a == 0
    module.step(5)
    assert module.current_a == 0
    module.close_contactor()
    module.step(2)
    assert module.current_a == pytest.approx(50)


@pytest.mark.parametrize(("insisted_a", "flows_a"), [(32.0, 32.0), (1000.0, 150.0)])
def test_a_car_that_insists_gets_what_the_module_can_deliver_until_the_stop(
    insisted_a: float, flows_a: float
) -> None:
    module = PowerModule(PLANTS["dc"])
    module.set_limit(16)
    module.insisted_a = insisted_a
    module.step(5)
    assert module.current_a == 0, "not started"
    module.start()
    module.step(5)
    assert module.current_a == flows_a
    module.stop()
    module.step(5)
    assert module.current_a == 0
