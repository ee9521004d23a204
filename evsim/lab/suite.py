"""The runs of a data set: every anomaly on every plant with every severity, and benign runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from evsim.anomalies import ANOMALIES, BENIGN
from evsim.anomalies.base import Severity
from evsim.charger import DEFAULT_PLANT, PLANTS
from evsim.errors import UserError
from evsim.lab.run_spec import FLEET, RunSpec

#: Of each run; at least 20 min, as every anomaly needs in its longest form.
RUN_S = 1200.0
#: A run's seed is group * SEEDS_PER_GROUP + its number: who trains, validates and tests on
#: different groups never sees the same randomness twice.
SEEDS_PER_GROUP = 1000
#: What the groups of seeds are for, from group 1 on; further groups test too.
PURPOSES = ("train", "validation", "test")
#: The benign suite: 8 families on 4 plants, in each group 208 hours, with seeds that the benchmark
#: does not have.
LONG_RUN_S = 6.5 * 3600
FIRST_LONG_RUN = 500


def purpose(seed: int) -> str:
    """Say what a run is for, by its seed: train, validation or test."""
    group = max(1, seed // SEEDS_PER_GROUP)
    return PURPOSES[min(group, len(PURPOSES)) - 1]


def benchmark(groups: Iterable[int]) -> dict[str, RunSpec]:
    """Give the benchmark's runs by name: for each group 240 with an anomaly and 32 without.

    A name is the run's seed: it tells nothing of what is in the run.
    """
    runs: dict[str, RunSpec] = {}
    for group in groups:
        for number, spec in enumerate(_one_of_each(group)):
            seed = group * SEEDS_PER_GROUP + number
            runs[f"run_{seed}"] = dataclasses.replace(spec, seed=seed)
    return runs


def _one_of_each(group: int) -> Iterator[RunSpec]:
    families = list(BENIGN)
    turn = group  # so that an anomaly meets another background in each group
    for plant in PLANTS:
        for name, anomaly in ANOMALIES.items():
            for severity in Severity:
                turn += 1
                yield RunSpec(
                    duration_s=RUN_S,
                    plant=plant,
                    benign=families[turn % len(families)],
                    anomaly=name,
                    severity=severity,
                    charge_points=FLEET if anomaly.fleet else 1,
                )
        for name in families:
            yield RunSpec(duration_s=RUN_S, plant=plant, benign=name)


def benign(groups: Iterable[int]) -> dict[str, RunSpec]:
    """Give long runs without an anomaly, named as the benchmark's: false alarms are rare."""
    runs: dict[str, RunSpec] = {}
    for group in groups:
        kinds = [(plant, name) for plant in PLANTS for name in BENIGN]
        for number, (plant, name) in enumerate(kinds, FIRST_LONG_RUN):
            seed = group * SEEDS_PER_GROUP + number
            spec = RunSpec(seed=seed, duration_s=LONG_RUN_S, plant=plant, benign=name)
            runs[f"run_{seed}"] = spec
    return runs


def example(_: Iterable[int]) -> dict[str, RunSpec]:
    """Give one run of each entry of the catalogue, on the default plant."""
    return {
        spec.anomaly or spec.benign: spec
        for spec in benchmark([1]).values()
        if spec.plant == DEFAULT_PLANT and spec.severity == Severity.MEDIUM
    }


SUITES = MappingProxyType({"example": example, "benchmark": benchmark, "benign": benign})


def suite_named(name: str, groups: Iterable[int]) -> Mapping[str, RunSpec]:
    """Give a suite's runs; UserError that lists the known ones."""
    if name not in SUITES:
        raise UserError(f"no suite {name!r}; known are: {', '.join(SUITES)}")
    return SUITES[name](groups)
