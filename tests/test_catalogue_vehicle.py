"""What is wrong with car or power module shows in the data as it was published."""

from __future__ import annotations

import numpy as np
import pytest
from catalogue_runs import (
    EACH_SECOND,
    active,
    before,
    calls,
    effect_of,
    frames,
    label_of,
    limits,
    meter,
    recorded,
    runs_of,
    sent_limits,
    without,
)

from evsim.charger import PLANTS, RATED_MAX_A
from evsim.recording import Run

RATIOS = {"low": 1.25, "medium": 1.5, "high": 1.9}
ENERGY = "Energy.Active.Import.Register"


# ── limit_ignored ────────────────────────────────────────────────────────────────────────────


def over_limit(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Give the times of 0x300, and whether it is over EVerest's margin of the limit."""
    times_s, currents_a = frames(run)
    set_s, set_a = limits(run)
    allowed_a = np.array([before(t, set_s, set_a) if t > set_s[0] else 999 for t in times_s])
    return times_s, currents_a > (allowed_a + 0.5) * 1.1


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize(("severity", "lasts_s"), [("low", 20), ("medium", 60), ("high", 120)])
def test_an_ignored_limit_is_over_current_beyond_seven_seconds(
    plant: str, severity: str, lasts_s: float
) -> None:
    run = recorded("limit_ignored", severity=severity, plant=plant)
    start_s, end_s = active(run)
    times_s, over = over_limit(run)
    around = (times_s > start_s - 5) & (times_s < end_s + 5)
    (first, last), *others = runs_of(over & around)
    assert not others
    assert times_s[last] - times_s[first] > 7
    assert times_s[last] - times_s[first] == pytest.approx(lasts_s, abs=4)
    assert end_s - start_s == pytest.approx(lasts_s, abs=0.1)
    assert effect_of(run) == pytest.approx((times_s[first], times_s[last]), abs=1.1)
    assert not [t for t in sent_limits(run)[0] if start_s < t < end_s]


def test_an_ignored_limit_is_exceeded_more_with_severity() -> None:
    excess = []
    for severity in ("low", "medium", "high"):
        run = recorded("limit_ignored", severity=severity)
        times_s, currents_a = frames(run)
        start_s, end_s = active(run)
        inside = (times_s > start_s + 3) & (times_s < end_s)
        limit_a = before(start_s, *limits(run))
        excess.append(np.median(currents_a[inside]) / limit_a)
        ratio = RATIOS[severity]
        assert excess[-1] == pytest.approx(min(ratio, RATED_MAX_A / limit_a), rel=0.03)
    assert excess == sorted(excess)
    assert excess[0] < excess[-1]


def test_a_full_battery_takes_no_more_whatever_the_car_ignores() -> None:
    run = recorded("limit_ignored", benign="taper", severity="high", seed=4)
    times_s, currents_a = frames(run)
    truth_s, true_a = frames(without(run))
    start_s, end_s = active(run)
    falling = (times_s > start_s) & (times_s < end_s)
    assert currents_a[falling].max() <= 150
    assert truth_s[-1] == pytest.approx(times_s[-1], abs=0.1)
    percent = meter(run, "SoC")[1]
    assert percent.max() <= 100
    assert true_a.max() > 0


# ── session_extension ────────────────────────────────────────────────────────────────────────


def told_capacity_wh(run: Run, first_s: float, last_s: float) -> float:
    """Give the capacity that energy and told state of charge suggest."""
    times_s, energy_wh = meter(run, ENERGY)
    percent = meter(run, "SoC")[1]
    inside = (times_s > first_s) & (times_s < last_s)
    slope, _ = np.polyfit(energy_wh[inside], percent[inside], 1)
    return float(100 / max(slope, 1e-9))


@pytest.mark.parametrize(("severity", "share"), [("low", 0.5), ("medium", 0.25)])
def test_session_extension_parts_state_of_charge_from_energy(severity: str, share: float) -> None:
    run = recorded("session_extension", severity=severity, seed=4, **EACH_SECOND)
    start_s, end_s = active(run)
    true_wh = told_capacity_wh(without(run), start_s, end_s)
    assert true_wh / told_capacity_wh(run, start_s, end_s) == pytest.approx(share, rel=0.25)
    # Energy and current are as ever: the lie is in the state of charge alone.
    assert frames(run)[1].tolist() == frames(without(run))[1].tolist()

    times_s, percent = meter(run, "SoC")
    true_percent = meter(without(run), "SoC")[1]
    hidden = true_percent - percent  # both in steps of half a percent, every 10 s
    perhaps_s, surely_s = times_s[hidden >= 1], times_s[hidden >= 1.5]
    assert perhaps_s[0] - 11 <= effect_of(run)[0] <= surely_s[0] + 1
    assert effect_of(run)[1] == pytest.approx(end_s, abs=1.1)


def test_session_extension_says_nothing_where_there_is_nothing_to_see() -> None:
    """A slow charge of a large battery moves the state of charge by less than one can tell."""
    run = recorded("session_extension", severity="low", plant="ac", **EACH_SECOND)
    hidden = meter(without(run), "SoC")[1] - meter(run, "SoC")[1]
    assert hidden.max() < 1.01
    assert label_of(run).effect_start_s is None


def test_session_extension_leaves_the_taper_out() -> None:
    run = recorded(
        "session_extension", severity="high", benign="taper", seed=2, room_s=300.0, **EACH_SECOND
    )
    start_s, end_s = active(run)
    times_s, currents_a = frames(run)
    true_a = frames(without(run))[1]
    inside = (times_s > start_s + 60) & (times_s < end_s)
    shown_a, truth_a = currents_a[inside], true_a[: len(currents_a)][inside[: len(true_a)]]
    assert shown_a.sum() > 1.3 * truth_a.sum()  # charged on
    told = meter(run, "SoC")
    held = told[1][(told[0] > start_s + 11) & (told[0] < end_s)]
    assert len(set(held)) <= 2  # it stands still while energy flows


# ── contactor_cycling ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize(("severity", "cycles"), [("low", 1), ("medium", 3), ("high", 5)])
def test_a_cycling_contactor_is_sixty_on_and_twenty_off(
    plant: str, severity: str, cycles: int
) -> None:
    run = recorded("contactor_cycling", severity=severity, plant=plant)
    start_s, end_s = active(run)
    times_s, currents_a = frames(run)
    gaps = runs_of((currents_a < 5) & (times_s > start_s) & (times_s < end_s))
    assert len(gaps) == cycles
    off_s = [times_s[last] - times_s[first] + 1 for first, last in gaps]
    assert np.array(off_s) == pytest.approx(20.0, abs=2.1)
    firsts_s = np.array([times_s[first] for first, _ in gaps])
    assert np.diff(firsts_s) == pytest.approx(80.0, abs=1.1)
    seen = (times_s[gaps[0][0]], times_s[gaps[-1][1]])
    assert effect_of(run) == pytest.approx(seen, abs=1.1)
    # Nobody has commanded anything, and the transaction runs on.
    for action in ("SetChargingProfile", "RemoteStartTransaction", "RemoteStopTransaction"):
        assert not calls(run, action, (start_s, end_s))
    assert not calls(run, "StopTransaction", (start_s, end_s))
