"""What the project wants of its detectors, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from evsim.detectors import DEFAULT
from evsim.detectors.combined import Combined
from evsim.detectors.command_rate import CommandRate

BASE_SCENARIO = "repeated_fluctuation"
#: Two cycles of the base scenario.
MOST_DELAY_S = 16.0
#: On AC the base scenario does not show in the current, so a detector of commands is asked for.
BY_CURRENT, BY_COMMANDS = ("ideal", "dc", "dc_slow"), ("ac",)
LEAST_RECALL = 0.95
MOST_FALSE_PER_HOUR = 0.05
LEAST_VUS_PR = 0.80
#: Fewer hours cannot show that false alarms are rare.
LEAST_HOURS = 200.0


class Target(NamedTuple):
    """A figure that was asked for; `met` is None where there was nothing to measure it on."""

    what: str
    wanted: str
    measured: str
    met: bool | None


def targets(figures: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    """Compare the figures of those detectors that were scored with the targets."""
    rows: list[Target] = []
    for name, plants, key in (
        (DEFAULT, BY_CURRENT, "recall"),
        (CommandRate.name, BY_COMMANDS, "recall_of_all"),
    ):
        if name not in figures:
            continue
        for plant in plants:
            one = figures[name]["base_scenario_by_plant"].get(plant)
            if one is None:
                continue
            recall, delay_s = one[key], one["delay_median_s"]
            what = f"base scenario on {plant}, {name}"
            rows.append(_row(f"{what}: recall", "1", recall, 3, met=recall == 1))
            rows.append(
                _row(f"{what}: median delay, s", f"≤ {MOST_DELAY_S:g}", delay_s, 1,
                     met=delay_s is not None and delay_s <= MOST_DELAY_S)
            )  # fmt: skip
    for name in (DEFAULT, CommandRate.name, Combined.name):
        if name in figures:
            rows += _of_benign_hours(name, figures[name])
    if Combined.name in figures and figures[Combined.name]["episodes"]:
        one = figures[Combined.name]
        for what, wanted, least in (
            ("recall", LEAST_RECALL, one["recall"]), ("VUS-PR", LEAST_VUS_PR, one["vus_pr"])
        ):  # fmt: skip
            rows.append(
                _row(f"{Combined.name}: {what}", f"≥ {wanted:g}", least, 3, met=least >= wanted)
            )
    return rows


def _of_benign_hours(name: str, one: Mapping[str, Any]) -> list[Target]:
    hours, families = one["benign_hours"], one["false_alarms_per_hour_by_family"]
    if not families:
        return []
    enough = hours >= LEAST_HOURS
    noisy = [family for family, rate in families.items() if rate]
    told = f"{', '.join(noisy) or 'none'}, in {hours:.1f} h"
    rows = [
        Target(
            f"{name}: benign behaviours with a false alarm",
            f"none, in {LEAST_HOURS:g} h or more",
            told,
            False if noisy else True if enough else None,
        )
    ]
    if name == Combined.name:
        rate = one["false_alarms_per_benign_hour"]
        rows.append(
            _row(f"{name}: false alarms per benign hour", f"≤ {MOST_FALSE_PER_HOUR:g}", rate, 4,
                 met=rate <= MOST_FALSE_PER_HOUR)
        )  # fmt: skip
    return rows


def _row(what: str, wanted: str, value: float | None, digits: int, *, met: bool) -> Target:
    measured = "–" if value is None else f"{value:.{digits}f}"
    return Target(what, wanted, measured, None if value is None else met)


def verdict(met: bool | None) -> str:
    """Say it in a word."""
    return "not measured" if met is None else "met" if met else "MISSED"
