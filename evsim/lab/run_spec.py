"""Everything that decides one run of the lab: the same RunSpec makes the same files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any

import numpy as np

from evsim.anomalies import ANOMALIES, anomaly_named, benign_named
from evsim.anomalies.base import Anomaly, Benign, Severity
from evsim.charger import PLANTS
from evsim.errors import UserError
from evsim.network_faults import parse_faults
from evsim.virtual_time import EPOCH

FORMAT = "ev-anomaly-sim run 1"
#: A fleet anomaly needs several charge points; this many unless told otherwise.
FLEET = 5
#: Before the first episode there is time to boot and to begin a session; after one, for its end.
LEAD_S = 90.0
TAIL_S = 30.0


@dataclass(frozen=True)
class RunSpec:
    """One run.

    :param duration_s: of virtual time.
    :param benign: what goes on in the background.
    :param anomaly: None for a benign run.
    :param parameters: of the anomaly, in place of what the severity says.
    :param episodes: how often the anomaly is played, each time at a moment of its own.
    :param throughout: play the base scenario from the boot to the end, as csms.py does.
    :param network_faults: as evsim.network_faults reads them.
    :param noise_a: standard deviation of the measured current, A.

    Raises UserError for what cannot be.
    """

    seed: int = 1
    duration_s: float = 1200.0
    plant: str = "dc"
    benign: str = "plain_session"
    anomaly: str | None = None
    severity: Severity = Severity.MEDIUM
    parameters: dict[str, float] = field(default_factory=dict)
    episodes: int = 1
    charge_points: int = 1
    throughout: bool = False
    network_faults: str = ""
    noise_a: float = 0.3
    meter_interval_s: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "duration_s", float(self.duration_s))  # 360 is 360.0, in JSON too
        if self.plant not in PLANTS:
            raise UserError(f"no plant {self.plant!r}; known are: {', '.join(PLANTS)}")
        benign_named(self.benign)
        parse_faults(self.network_faults)
        if self.anomaly is None:
            if self.throughout or self.parameters:
                raise UserError("--throughout and --parameter belong to an --anomaly")
            return
        anomaly = anomaly_named(self.anomaly)
        values = anomaly.values(self.severity, self.parameters)
        if anomaly.fleet and self.charge_points < 2:
            raise UserError(f"{anomaly.name} is about a fleet; give it --charge-points 2 or more")
        if self.throughout:
            if anomaly.name != "repeated_fluctuation":
                raise UserError("--throughout plays the base scenario, repeated_fluctuation, only")
            return
        needed_s = LEAD_S + self.episodes * (anomaly.lasts_s(values) + TAIL_S)
        if needed_s > self.duration_s:
            raise UserError(
                f"{self.episodes} episode(s) of {anomaly.name} with severity {self.severity} need "
                f"{needed_s:.0f} s, the run has {self.duration_s:.0f} s; make it longer or choose "
                "fewer --episodes or a lower --severity"
            )

    @property
    def played_anomaly(self) -> Anomaly | None:
        """The catalogue's entry."""
        return None if self.anomaly is None else ANOMALIES[self.anomaly]

    @property
    def played_benign(self) -> Benign:
        """The catalogue's entry."""
        return benign_named(self.benign)

    @cached_property
    def values(self) -> dict[str, float]:
        """The anomaly's parameters."""
        anomaly = self.played_anomaly
        return {} if anomaly is None else anomaly.values(self.severity, self.parameters)

    @property
    def charge_point_ids(self) -> list[str]:
        """CP_1 and so on."""
        return [f"CP_{number}" for number in range(1, self.charge_points + 1)]

    def rng(self, component: str) -> np.random.Generator:
        """Give the generator of a component: of its own, whatever the others draw."""
        return np.random.default_rng([self.seed, zlib.crc32(component.encode())])

    def onsets_s(self) -> list[float]:
        """Choose when the episodes begin, s: anywhere, one in each equal part of the run."""
        anomaly = self.played_anomaly
        if anomaly is None or self.throughout:
            return []
        rng, lasts_s = self.rng("onsets"), anomaly.lasts_s(self.values)
        part_s = (self.duration_s - LEAD_S) / self.episodes
        return [
            LEAD_S + part_s * number + float(rng.uniform(0.0, part_s - lasts_s - TAIL_S))
            for number in range(self.episodes)
        ]

    def run_info(self) -> dict[str, Any]:
        """Give what run.json says of the run."""
        packages = ("ev-anomaly-sim", "python-can", "ocpp", "numpy")
        return {
            "format": FORMAT,
            **self.as_json(),
            "charge_points": self.charge_point_ids,
            "parameters": self.values,
            "epoch": EPOCH.timestamp(),
            "versions": {
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in packages},
            },
            "configuration_hash": self.configuration_hash(),
        }

    def as_json(self) -> dict[str, Any]:
        """Give all that decides the run."""
        return dataclasses.asdict(self)

    def configuration_hash(self) -> str:
        """Give the SHA-256 of all that decides the run."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
