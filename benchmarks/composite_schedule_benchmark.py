#!/usr/bin/env python3
"""How long a composite schedule takes to compute, beside a look at every second (peer).

Stacks of up to 20 random profiles of all purposes and kinds, with up to 24 periods each; a
schedule of a day, every minute of which may bring another limit. The peer, which asks at each
second what the limit is, computes some of the same stacks, and its schedules must be equal. Times
are the processor's, the best of a few each: what else the machine does is no part of them.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from ocpp.v16.enums import ChargingRateUnitType

from evsim import console
from evsim.charge_point.charging_profiles import (
    MAX_PROFILES,
    Profile,
    ProfileRules,
    read_profile,
    read_start_profile,
)
from evsim.charge_point.composite_schedule import CompositeSchedule, composite_schedule
from evsim.charger import PLANTS
from evsim.clock import to_ocpp

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
BEGAN = NOON - timedelta(minutes=10)
PLANT = PLANTS["ac"]
UNIT = ChargingRateUnitType.amps
DAY_S = 86_400
TARGET_MS = 1.0
REPETITIONS = 3
_ROW = "{:<52}{:>10}  {}"
_TX, _DEFAULT, _MAXIMUM = "TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"


def main(options: argparse.Namespace) -> None:
    """Measure and print a line for each figure."""
    rng = np.random.default_rng(options.seed)
    stacks = [random_stack(rng) for _ in range(options.stacks)]
    schedules = [compute(stack) for stack in stacks]
    took_ms = [min(compute_ms(stack) for _ in range(REPETITIONS)) for stack in stacks]
    profiles = statistics.fmean(map(len, stacks))
    periods = statistics.fmean(len(schedule.periods) for schedule in schedules)
    console.ready(
        f"{len(stacks)} stacks of {profiles:.0f} profiles, {periods:.0f} periods in a schedule"
    )
    row("ms for a composite schedule, mean", statistics.fmean(took_ms))
    row("ms for the slowest of all", max(took_ms), target=TARGET_MS)
    peer_ms = []
    for stack, schedule in zip(stacks[: options.peer_stacks], schedules, strict=False):
        began_ms = processor_ms()
        expected = look_at_each_second(stack, schedule.duration_s)
        peer_ms.append(processor_ms() - began_ms)
        if expected != [*schedule.periods]:
            sys.exit(f"the two differ: {schedule.periods} and {expected}")
    of_the_same = statistics.fmean(took_ms[: len(peer_ms)])
    row(f"ms for a look at each second, {len(peer_ms)} stacks (peer)", statistics.fmean(peer_ms))
    row("times faster than that", statistics.fmean(peer_ms) / of_the_same)


def row(text: str, measured: float, target: float | None = None) -> None:
    """Print a figure beside its target."""
    verdict = "" if target is None else f"< {target:g} {'met' if measured < target else 'MISSED'}"
    console.ready(_ROW.format(text, f"{measured:,.3f}", verdict))


def processor_ms() -> float:
    """Give the time that the processor has spent on this thread."""
    return time.thread_time_ns() / 1e6


def compute_ms(stack: Sequence[Profile]) -> float:
    """Give how long it takes to compute a schedule."""
    began_ms = processor_ms()
    compute(stack)
    return processor_ms() - began_ms


def compute(stack: Sequence[Profile]) -> CompositeSchedule:
    """Compute the schedule of a day."""
    return composite_schedule(stack, NOON, DAY_S, began=BEGAN, plant=PLANT, unit=UNIT)


def look_at_each_second(stack: Sequence[Profile], duration_s: int) -> list[tuple[int, float]]:
    """Compute the periods by asking every profile at each second."""
    periods: list[tuple[int, float]] = []
    for second in range(duration_s):
        now = NOON + timedelta(seconds=second)
        best: dict[str, tuple[tuple[int, int], float]] = {}
        for profile in stack:
            limit_a = says(profile, now)
            rank = (profile.connector_id, profile.stack_level)
            if limit_a is not None and rank >= best.get(profile.purpose, (rank, 0.0))[0]:
                best[profile.purpose] = (rank, limit_a)
        if _TX in best:
            best.pop(_DEFAULT, None)
        limit_a = min([PLANT.rated_max_a, *(limit for _, limit in best.values())])
        told_a = math.floor(limit_a * 10 + 1e-6) / 10
        if not periods or periods[-1][1] != told_a:
            periods.append((second, told_a))
    return periods


def says(profile: Profile, now: datetime) -> float | None:
    """Give the limit of one profile at a moment."""
    if profile.valid_from is not None and now < profile.valid_from:
        return None
    if profile.valid_to is not None and now >= profile.valid_to:
        return None
    start = profile.start_at
    if start is None:
        start = profile.taken_at if profile.purpose == _MAXIMUM else BEGAN
    passed_s = (now - start).total_seconds()
    if passed_s < 0:
        return None
    passed_s = passed_s % profile.repeat_s if profile.repeat_s else passed_s
    if profile.duration_s is not None and passed_s >= profile.duration_s:
        return None
    return next(limit for start_s, limit in reversed(profile.periods) if start_s <= passed_s)


def random_stack(rng: np.random.Generator) -> list[Profile]:
    """Make profiles, no two in the same place, as many as a charge point keeps at most."""
    places = [
        *((1, _TX, level) for level in range(11)),
        *((connector_id, _DEFAULT, level) for connector_id in (0, 1) for level in range(11)),
        *((0, _MAXIMUM, level) for level in range(11)),
    ]
    count = int(rng.integers(1, MAX_PROFILES + 1))
    chosen = rng.choice(len(places), count, replace=False)
    return [random_profile(rng, number, *places[place]) for number, place in enumerate(chosen)]


def random_profile(
    rng: np.random.Generator, number: int, connector_id: int, purpose: str, level: int
) -> Profile:
    """Make a profile that says something for a part of the day."""
    kind = str(rng.choice(["Absolute", "Relative", "Recurring"]))
    minutes = np.sort(rng.choice(np.arange(1, 1440), int(rng.integers(0, 24)), replace=False))
    schedule: dict[str, Any] = {
        "charging_rate_unit": str(rng.choice(["A", "W"])),
        "duration": int(rng.integers(1, 48)) * 1800,
        "charging_schedule_period": [
            {"start_period": int(minute) * 60, "limit": int(rng.integers(0, 320)) / 10}
            for minute in (0, *minutes)
        ],
    }
    if schedule["charging_rate_unit"] == "W":
        for period in schedule["charging_schedule_period"]:
            period["limit"] = round(period["limit"] * 690)
    more: dict[str, Any] = {}
    if kind != "Relative":
        before = timedelta(minutes=int(rng.integers(-600, 600)))
        if kind == "Recurring":
            more["recurrency_kind"] = str(rng.choice(["Daily", "Weekly"]))
            before += timedelta(days=int(rng.integers(0, 30)))
        schedule["start_schedule"] = to_ocpp(NOON - before)
    if rng.random() < 0.2:
        more["valid_to"] = to_ocpp(NOON + timedelta(minutes=int(rng.integers(0, 1440))))
    wire = {
        "charging_profile_id": number,
        "stack_level": level,
        "charging_profile_purpose": purpose,
        "charging_profile_kind": kind,
        "charging_schedule": schedule,
        **more,
    }
    rules = ProfileRules(PLANT)
    if purpose == _TX:
        return read_start_profile(connector_id, wire, now=BEGAN, rules=rules)
    return read_profile(connector_id, wire, now=BEGAN, rules=rules, transaction=None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--peer-stacks", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    main(parser.parse_args())
