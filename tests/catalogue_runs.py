"""Recorded runs of the catalogue's entries, made once for all tests, and what to read from them."""

from __future__ import annotations

import functools
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.anomalies import ANOMALIES
from evsim.anomalies.base import Severity
from evsim.events import Direction, Kind, OcppEvent
from evsim.frames import CURRENT_ID, LIMIT_ID
from evsim.lab.run_spec import LEAD_S, TAIL_S, RunSpec
from evsim.labels import Label
from evsim.recording import Run, load
from evsim.virtual_time import EPOCH
from simulate import simulate

Floats = NDArray[np.float64]

#: When a run begins, Unix s.
START_S = EPOCH.timestamp()
#: Before and after the anomaly, more than it needs.
ROOM_S = 30.0
SEED = 3
#: Meter values are most of a run's cost; who needs each second asks for it.
USUAL: dict[str, Any] = {"meter_interval_s": 10.0}
EACH_SECOND: dict[str, Any] = {"meter_interval_s": 1.0}


def recorded(anomaly: str | None = None, **spec: Any) -> Run:
    """Give a run; by default long enough for the anomaly, with a fleet where it needs one.

    :param spec: of RunSpec, but `parameters` as pairs; and `room_s`, more time than it needs.
    """
    return _recorded(anomaly, _whole(spec))[0]


def logged(anomaly: str | None = None, **spec: Any) -> list[str]:
    """Give the warnings and errors that were logged while a run was made."""
    return _recorded(anomaly, _whole(spec))[1]


def _whole(spec: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted({"seed": SEED, "plant": "dc", **USUAL, **spec}.items()))


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.name}: {record.getMessage()}")


@functools.cache
def _recorded(anomaly: str | None, items: tuple[tuple[str, Any], ...]) -> tuple[Run, list[str]]:
    spec = dict(items)
    chosen = spec["parameters"] = dict(spec.get("parameters", ()))
    if anomaly is not None:
        entry = ANOMALIES[anomaly]
        severity = spec["severity"] = Severity(spec.get("severity", "medium"))
        room_s = LEAD_S + TAIL_S + spec.pop("room_s", ROOM_S)
        spec.setdefault("duration_s", room_s + entry.lasts_s(entry.values(severity, chosen)))
        spec.setdefault("charge_points", 5 if entry.fleet else 1)
    log = _Log()
    logging.root.addHandler(log)
    try:
        with tempfile.TemporaryDirectory() as directory:
            simulate(RunSpec(anomaly=anomaly, **spec), Path(directory) / "run")
            return load(Path(directory) / "run"), log.texts
    finally:
        logging.root.removeHandler(log)


def without(run: Run) -> Run:
    """Give the same run without its anomaly: the truth, up to what the anomaly has changed."""
    return recorded(
        **{
            name: run.info[name]
            for name in ("seed", "duration_s", "plant", "benign", "noise_a", "meter_interval_s")
        },
        charge_points=len(run.info["charge_points"]),
    )


def label_of(run: Run) -> Label:
    """Give the only label of a run."""
    (label,) = run.labels
    return label


def effect_of(run: Run) -> tuple[float, float]:
    """Give when the effect could be seen, as the label has it."""
    label = label_of(run)
    assert label.effect_start_s is not None
    assert label.effect_end_s is not None
    return label.effect_start_s, label.effect_end_s


def frames(run: Run, arbitration_id: int = CURRENT_ID) -> tuple[Floats, Floats]:
    """Give the times of all frames of an id of two bytes, and their values."""
    chosen = (run.can.arbitration_id == arbitration_id) & (run.can.dlc == 2)
    data = run.can.data[chosen].astype(float)
    return run.can.time_s[chosen], data[:, 0] + 256 * data[:, 1]


def currents_within(run: Run, start_s: float, end_s: float) -> Floats:
    """Give the measured currents of 0x300 in an interval, A."""
    times_s, currents_a = frames(run)
    return currents_a[(times_s >= start_s) & (times_s <= end_s)]


def differences(run: Run) -> tuple[Floats, Floats]:
    """Give for each 0x300 of the run without the anomaly its time, and what the run shows besides.

    The second is (shown - true) in A, NaN where nothing is shown.
    """
    true_s, true_a = frames(without(run))
    shown = dict(zip(np.round(frames(run)[0], 2), frames(run)[1], strict=True))
    return true_s, np.array([shown.get(t, np.nan) for t in np.round(true_s, 2)]) - true_a


def limits(run: Run) -> tuple[Floats, Floats]:
    """Give times and values of the limits on the CAN bus (0x210)."""
    return frames(run, LIMIT_ID)


def calls(run: Run, action: str, within: tuple[float, float] | None = None) -> list[OcppEvent]:
    """Give the CALLs of an action, those in an interval if there is one."""
    start_s, end_s = within or (0.0, float("inf"))
    return [
        event
        for event in run.ocpp
        if event.kind is Kind.CALL and event.action == action and start_s <= event.time_s <= end_s
    ]


def active(run: Run) -> tuple[float, float]:
    """Give when the anomaly was active, as the label has it."""
    label = label_of(run)
    return label.t_start_s, label.t_end_s


def sent_limits(run: Run) -> tuple[Floats, Floats]:
    """Give times and values of the limits that the central system sent."""
    sent = calls(run, "SetChargingProfile")
    values = [
        event.payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"][0][
            "limit"
        ]
        for event in sent
    ]
    return np.array([event.time_s for event in sent]), np.array(values, dtype=float)


def meter(run: Run, measurand: str) -> tuple[Floats, Floats]:
    """Give the times at which MeterValues came, and their values of a measurand."""
    times_s, values = [], []
    for event in calls(run, "MeterValues"):
        assert event.direction is Direction.TO_CENTRAL_SYSTEM
        for sample in event.payload["meterValue"][0]["sampledValue"]:
            if sample["measurand"] == measurand:
                times_s.append(event.time_s)
                values.append(float(sample["value"]))
    return np.array(times_s), np.array(values)


def aggregate(run: Run) -> tuple[Floats, Floats]:
    """Give the seconds of a run, and the sum of all charge points' currents."""
    times_s = np.unique(run.series["time"])
    rows = np.nan_to_num(run.series["current_a"]).reshape(len(times_s), -1)
    return times_s, rows.sum(axis=1)


def before(moment_s: float, times_s: Floats, values: Floats) -> float:
    """Give the last value at or before a moment."""
    return float(values[np.flatnonzero(times_s <= moment_s)[-1]])


def runs_of(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Give first and last index of each unbroken sequence of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(int), [0]))))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
