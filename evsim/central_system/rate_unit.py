"""Amperes or watts: which unit a charge point takes limits in, and what an ampere is there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ocpp.v16.enums import ChargingRateUnitType

UNIT_KEY = "ChargingScheduleAllowedChargingRateUnit"
#: From one phase of 100 V to 1,000 V of direct current: what is beyond is no measurement.
PLAUSIBLE_W_PER_A = (100.0, 1000.0)
#: Below this current the meter's own consumption and rounding would count.
LEAST_A = 5.0

_AMPERES = {"current", "a", "amp", "amps", "ampere", "amperes"}
_WATTS = {"power", "w", "watt", "watts"}


def unit_in(answer: Any) -> ChargingRateUnitType:
    """Read the unit from an answer to GetConfiguration, whatever a charge point has put there.

    Amperes, unless it clearly takes watts only.
    """
    for entry in answer.configuration_key or ():
        if str(entry.get("key", "")).lower() == UNIT_KEY.lower():
            words = {word.strip().lower() for word in str(entry.get("value")).split(",")}
            if words & _WATTS and not words & _AMPERES:
                return ChargingRateUnitType.watts
    return ChargingRateUnitType.amps


def watts_per_a(sampled_values: Sequence[Mapping[str, Any]]) -> float | None:
    """Give the power of one ampere per phase, W, as far as these samples tell; None if not.

    Power and current of the same moment say it best, whatever phases and voltages there are; else
    the voltages do.
    """
    power_w = _total(sampled_values, "Power.Active.Import")
    currents_a = _by_phase(sampled_values, "Current.Import")
    if power_w is not None and currents_a:
        current_a = max(currents_a.values())
        if current_a >= LEAST_A:
            return _plausible(power_w / current_a)
    voltages_v = _by_phase(sampled_values, "Voltage")
    to_neutral_v = [v for phase, v in voltages_v.items() if phase in ("L1", "L2", "L3")]
    if to_neutral_v:
        return _plausible(sum(to_neutral_v))
    line_to_line_v = [v for phase, v in voltages_v.items() if phase.count("L") == 2]
    if line_to_line_v:
        return _plausible(math.sqrt(3) * sum(line_to_line_v) / len(line_to_line_v))
    return _plausible(voltages_v.get(""))


def watts(limit_a: float, per_a: float) -> float:
    """Turn a limit into watts: never above what was allowed, with the one decimal of OCPP."""
    return math.floor(round(limit_a * per_a * 10, 6)) / 10


def _plausible(per_a: float | None) -> float | None:
    if per_a is None or not PLAUSIBLE_W_PER_A[0] <= per_a <= PLAUSIBLE_W_PER_A[1]:
        return None
    return per_a


def _by_phase(samples: Sequence[Mapping[str, Any]], measurand: str) -> dict[str, float]:
    """Give the values by phase, "" for what has none; L1-N counts as L1."""
    values: dict[str, float] = {}
    for sample in samples:
        if sample.get("measurand") != measurand or sample.get("phase") == "N":
            continue
        try:
            value = float(sample["value"])
        except (KeyError, TypeError, ValueError):  # signed data, or nonsense
            continue
        if math.isfinite(value):
            scale = 1000 if str(sample.get("unit", "")).startswith("k") else 1
            values[str(sample.get("phase") or "").removesuffix("-N")] = value * scale
    return values


def _total(samples: Sequence[Mapping[str, Any]], measurand: str) -> float | None:
    values = _by_phase(samples, measurand)
    if "" in values:
        return values[""]
    return sum(values.values()) if values else None
