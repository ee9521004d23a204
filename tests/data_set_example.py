"""A small set of finished runs, written by hand in the documented formats: fast and all known.

Every run is 300 s at 1 Hz; an anomaly is active from 120 s to 180 s, its effect is visible from
125 s to 170 s.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from conftest import ROOT

from evsim.recording.tables import LABELS, SERIES

EPOCH_S = 1767225600.0
DURATION_S = 300
ACTIVE_S = (120.0, 180.0)
EFFECT_S = (125.0, 170.0)
#: Every 10 s a MeterValues and its answer reach the central system.
MESSAGES = 2 * DURATION_S // 10


def write_set(directory: Path) -> Path:
    """Write three runs: an anomaly, a fleet's anomaly without visible effect, and none."""
    write_run(directory, "fluctuation", anomaly="repeated_fluctuation")
    write_run(
        directory,
        "Mass on-off",
        anomaly="mass_on_off",
        charge_points=("CP_1", "CP_2"),
        visible=False,
        seed=8,
        severity="high",
        plant="ac",
    )
    write_run(directory, "quiet", seed=9, benign="taper")
    return directory


def write_run(
    directory: Path,
    name: str,
    *,
    anomaly: str | None = None,
    layer: str = "ocpp",
    severity: str = "medium",
    charge_points: tuple[str, ...] = ("CP_1",),
    visible: bool = True,
    benign: str = "plain_session",
    plant: str = "dc",
    seed: int = 7,
) -> Path:
    """Write one finished run below SET/runs."""
    run = directory / "runs" / name
    run.mkdir(parents=True)
    shutil.copy(ROOT / "evsim" / "charger.dbc", run)
    (run / "series.csv").write_text(_series(charge_points, fluctuates=anomaly is not None))
    (run / "can.log").write_text(_frames(charge_points))
    (run / "ocpp.jsonl").write_text(_messages(charge_points))
    (run / "trace.jsonl").write_text("")
    label = ""
    if anomaly is not None:
        effect = [_stamp(at_s) for at_s in EFFECT_S] if visible else ["", ""]
        active = [_stamp(at_s) for at_s in ACTIVE_S]
        label = ",".join([anomaly, layer, ";".join(charge_points), *active, *effect, severity])
        label += "\n"
    (run / "labels.csv").write_text(",".join(LABELS.header) + "\n" + label)
    info: dict[str, Any] = {
        "format": "ev-anomaly-sim run 1",
        "seed": seed,
        "duration_s": DURATION_S,
        "plant": plant,
        "charge_points": list(charge_points),
        "benign": benign,
        "anomaly": anomaly,
        "severity": severity if anomaly else None,
        "parameters": {},
        "versions": {"ev-anomaly-sim": "0.1.0", "numpy": "2.4.6"},
        "configuration_hash": "0" * 64,
        "complete": True,
    }
    (run / "run.json").write_text(json.dumps(info) + "\n")
    return run


def _stamp(at_s: float) -> str:
    return f"{EPOCH_S + at_s:.6f}"


def _current_a(at_s: int, *, fluctuates: bool) -> float:
    if fluctuates and EFFECT_S[0] <= at_s <= EFFECT_S[1]:
        return 100.0 if at_s % 8 < 4 else 0.0
    return round(80 + 2 * math.sin(at_s), 1)


def _series(charge_points: tuple[str, ...], *, fluctuates: bool) -> str:
    lines = [",".join(SERIES.header)]
    for at_s in range(DURATION_S):
        for charge_point in charge_points:
            current_a = _current_a(at_s, fluctuates=fluctuates)
            meter = ["", "", "", ""]
            if at_s >= 10:
                meter_a = _current_a(at_s - at_s % 10, fluctuates=fluctuates)
                meter = [f"{meter_a}", f"{400 * meter_a}", f"{at_s * 10}", f"{40 + at_s / 60:.1f}"]
            status = "Charging" if at_s >= 5 else ""
            commands = "SetChargingProfile;RemoteStartTransaction" if at_s == 3 else ""
            values = [f"{current_a}", "100" if at_s >= 3 else "", status, *meter, commands]
            lines.append(",".join([_stamp(at_s), charge_point, *values]))
    return "\n".join(lines) + "\n"


def _frames(charge_points: tuple[str, ...]) -> str:
    return "".join(
        f"({_stamp(at_s + 0.2)}) {charge_point} 300#5000\n"
        for at_s in range(DURATION_S)
        for charge_point in charge_points
    )


def _messages(charge_points: tuple[str, ...]) -> str:
    lines = []
    for at_s in range(0, DURATION_S, 10):
        for charge_point in charge_points:
            message = {"charge_point": charge_point, "id": f"{at_s}", "action": "MeterValues"}
            asked = {"time": EPOCH_S + at_s, "direction": "to_central_system", "kind": "CALL"}
            answered = {"time": EPOCH_S + at_s, "direction": "to_charge_point"}
            lines.append({**message, **asked, "payload": {"connectorId": 1, "meterValue": []}})
            lines.append({**message, **answered, "kind": "CALLRESULT", "payload": {}})
    return "".join(json.dumps(line) + "\n" for line in lines)
