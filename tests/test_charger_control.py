"""What the charge point tells its charger, and when it says it again."""

from __future__ import annotations

import pytest

from evsim.charge_point.charger_control import ChargerControl, Health
from evsim.frames import Frame, SetLimit, StartCharging, StopCharging


class Wire(list[Frame]):
    """What was sent."""

    def take(self) -> list[Frame]:
        taken = list(self)
        self.clear()
        return taken


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def control(wire: Wire) -> ChargerControl:
    """A control whose charger has been heard once, at 0 s."""
    control = ChargerControl(wire.append, 150, now_s=0)
    control.hear(0, 0)
    assert wire.take() == [SetLimit(150), StopCharging()]
    return control


def test_a_steady_charger_is_told_nothing_twice(control: ChargerControl, wire: Wire) -> None:
    control.set_limit(32.9)
    control.start(0)
    assert wire.take() == [SetLimit(32), StartCharging()]
    for second in range(1, 60):
        control.hear(32, second + 0.3 * (second % 2))
    assert wire.take() == []
    assert not control.set_limit(32.1, again=False)
    assert wire.take() == []


@pytest.mark.parametrize("gap_s", [0.3, 1.7, 4.0, 30.0])
def test_after_an_odd_gap_limit_and_state_are_said_again(
    control: ChargerControl, wire: Wire, gap_s: float
) -> None:
    control.start(0)
    control.hear(100, 1)
    wire.take()
    control.hear(100, 1 + gap_s)
    assert wire.take() == [SetLimit(150), StartCharging()]


def test_a_charger_that_should_deliver_and_does_not_is_told_again(
    control: ChargerControl, wire: Wire
) -> None:
    control.start(0)
    wire.take()
    for second in range(1, 4):
        control.hear(0, second)
    assert wire.take() == []
    control.hear(0, 4)
    assert wire.take() == [SetLimit(150), StartCharging()]


def test_no_current_at_limit_0_is_as_it_should_be(control: ChargerControl, wire: Wire) -> None:
    control.set_limit(0)
    control.start(0)
    wire.take()
    for second in range(1, 30):
        control.hear(0, second)
    assert wire.take() == []


def test_silence_is_faulted_and_then_gone(control: ChargerControl) -> None:
    seen = [control.health(t) for t in (0, 4.9, 5.0, 9.9, 10.0)]
    assert seen == [Health.SPEAKING] * 2 + [Health.FAULTED] * 2 + [Health.GONE]
    control.hear(0, 11)
    assert control.health(11) == Health.SPEAKING


@pytest.mark.parametrize("heard_at_s", [57.819414, 249.859703, 120.50543, 22.539582, 12.892379])
def test_whoever_sleeps_until_the_health_may_change_gets_on(
    control: ChargerControl, heard_at_s: float
) -> None:
    control.hear(0, heard_at_s)
    now_s, seen = heard_at_s, []
    for _ in range(3):
        seen.append(control.health(now_s))
        wait_s = control.health_may_change_at_s(now_s) - now_s
        assert now_s + wait_s > now_s  # rounded to no wait at all, it would be asked for ever
        now_s += wait_s
    assert seen == [Health.SPEAKING, Health.FAULTED, Health.GONE]


def test_a_start_waits_until_it_can_no_longer_meet_the_last_stop(control: ChargerControl) -> None:
    control.stop(10)
    assert control.wait_before_start_s(10) > 0.05
    assert control.wait_before_start_s(11) == 0


def test_a_charger_that_goes_on_after_a_stop_is_told_again(
    control: ChargerControl, wire: Wire
) -> None:
    control.start(0)
    control.hear(100, 1)
    control.stop(1.5)
    wire.take()
    for second in range(2, 5):
        control.hear(100, second)
    assert wire.take() == []
    control.hear(100, 5)
    assert wire.take() == [SetLimit(150), StopCharging()]


def test_a_charger_above_its_limit_is_told_again(control: ChargerControl, wire: Wire) -> None:
    control.start(0)
    control.hear(100, 1)
    control.set_limit(16)
    wire.take()
    for second in range(2, 5):
        control.hear(17, second)  # within the margin
    for second in range(5, 9):
        control.hear(100, second)
    assert wire.take() == [SetLimit(16), StartCharging()]


def test_a_car_that_wakes_up_late_is_waited_for(wire: Wire) -> None:
    control = ChargerControl(wire.append, 32, now_s=0, follow_s=8, wake_up_s=40)
    control.hear(0, 0)
    control.start(0)
    wire.take()
    for second in range(1, 45):
        control.hear(0, second)
    assert wire.take() == []
