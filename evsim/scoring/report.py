"""What is told of the scores: a table for the terminal, scores.json, report.md."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from evsim.recording.errors import CannotWriteError
from evsim.scoring.metrics import GRACE_S, Score, percentile_s
from evsim.scoring.sets import RunOutcome

#: Episodes that are listed as missed, for each detector.
MOST_MISSED = 40


def score_of(runs: Iterable[RunOutcome], detector: str) -> Score:
    """Put the outcomes of one detector together."""
    return Score([run.outcomes[detector] for run in runs])


def by(
    runs: Sequence[RunOutcome], key: Callable[[RunOutcome], str | None]
) -> dict[str, list[RunOutcome]]:
    """Sort runs by a key; those without one are left out."""
    groups: dict[str, list[RunOutcome]] = {}
    for run in runs:
        name = key(run)
        if name is not None:
            groups.setdefault(name, []).append(run)
    return groups


def anomaly_of(run: RunOutcome) -> str | None:
    """Name the run's anomaly."""
    return None if run.info["anomaly"] is None else str(run.info["anomaly"])


def family_of(run: RunOutcome) -> str | None:
    """Name the family of a benign run; None for a run with an anomaly."""
    return str(run.info["benign"]) if run.info["anomaly"] is None else None


def summary(runs: Sequence[RunOutcome], detector: str) -> dict[str, Any]:
    """Give all figures of one detector."""
    whole = score_of(runs, detector)
    benign = [run for run in runs if run.info["anomaly"] is None]
    low, high = whole.recall_interval()
    figures = {
        "recall": whole.recall,
        "recall_low": low,
        "recall_high": high,
        "precision": whole.precision,
        "f1": whole.f1,
        "vus_pr": whole.vus_pr,
        "range_f1": whole.range_f1,
        "delay_median_s": percentile_s(whole.delays_s, 50),
        "delay_p95_s": percentile_s(whole.delays_s, 95),
        "false_alarms_per_benign_hour": score_of(benign, detector).false_alarms_per_hour,
        "benign_hours": sum(run.outcomes[detector].hours for run in benign),
        "us_per_event": whole.us_per_event,
        "episodes": len(whole.visible),
    }
    return {
        **{name: _json(value) for name, value in figures.items()},
        "recall_by_anomaly": _table(runs, anomaly_of, lambda s: s.recall, detector),
        "delay_by_anomaly_s": _table(
            runs, anomaly_of, lambda s: percentile_s(s.delays_s, 50), detector
        ),
        "recall_by_plant": _table(runs, _plant_of, lambda s: s.recall, detector),
        "recall_by_severity": _table(runs, _severity_of, lambda s: s.recall, detector),
        "false_alarms_per_hour_by_family": _table(
            benign, family_of, lambda s: s.false_alarms_per_hour, detector
        ),
    }


def _plant_of(run: RunOutcome) -> str | None:
    return str(run.info["plant"]) if run.info["anomaly"] else None


def _severity_of(run: RunOutcome) -> str | None:
    return str(run.info["severity"]) if run.info["anomaly"] else None


def _table(
    runs: Sequence[RunOutcome],
    key: Callable[[RunOutcome], str | None],
    figure: Callable[[Score], float],
    detector: str,
) -> dict[str, float | None]:
    return {name: _json(figure(score_of(group, detector))) for name, group in by(runs, key).items()}


def _json(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def terminal_table(figures: Mapping[str, Mapping[str, Any]]) -> Table:
    """Lay the main figures out for a terminal."""
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("detector")
    for column in (
        "recall", "95 %", "precision", "F1", "VUS-PR", "range-F1", "delay", "p95", "false/h", "µs"
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for name, one in figures.items():
        interval = f"{shown(one['recall_low'], 2)}–{shown(one['recall_high'], 2)}"
        table.add_row(
            name,
            shown(one["recall"], 2),
            interval,
            shown(one["precision"], 2),
            shown(one["f1"], 2),
            shown(one["vus_pr"], 3),
            shown(one["range_f1"], 3),
            shown(one["delay_median_s"], 1, " s"),
            shown(one["delay_p95_s"], 1, " s"),
            shown(one["false_alarms_per_benign_hour"], 3),
            shown(one["us_per_event"], 1),
        )
    return table


def shown(value: float | None, digits: int, unit: str = "") -> str:
    """Write a figure, or – where there is none."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def markdown(
    figures: Mapping[str, Mapping[str, Any]], runs: Sequence[RunOutcome], groups: str, command: str
) -> str:
    """Write report.md."""
    names = list(figures)
    seeds = sorted(int(run.info["seed"]) for run in runs)
    lines = [
        "# Scores of the detectors",
        "",
        f"`{command}` made this page from {len(runs)} runs with the seeds {seeds[0]} to "
        f"{seeds[-1]}: {groups}. Thresholds come from physics and protocol and were checked on "
        "group 1 only; no figure of another group has changed one.",
        "",
        "A label counts as found if an alarm is on, or begins, between its start and "
        f"{GRACE_S:g} s after its end; recall is over the labels with a visible effect. The "
        "interval is a bootstrap over runs. False alarms are per hour and charge point of the "
        "runs without an anomaly.",
        "",
        "| detector | recall | 95 % | precision | F1 | median delay | p95 | false alarms / h |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in figures.items():
        lines.append(
            f"| {name} | {shown(one['recall'], 3)} | "
            f"{shown(one['recall_low'], 2)}–{shown(one['recall_high'], 2)} | "
            f"{shown(one['precision'], 2)} | {shown(one['f1'], 2)} | "
            f"{shown(one['delay_median_s'], 1, ' s')} | {shown(one['delay_p95_s'], 1, ' s')} | "
            f"{shown(one['false_alarms_per_benign_hour'], 3)} |"
        )
    for title, key in (
        ("Recall by anomaly", "recall_by_anomaly"),
        ("Recall by plant", "recall_by_plant"),
        ("Recall by severity", "recall_by_severity"),
        ("Median delay by anomaly, s", "delay_by_anomaly_s"),
        ("False alarms per benign hour, by family", "false_alarms_per_hour_by_family"),
    ):
        rows = sorted({row for one in figures.values() for row in one[key]})
        lines += ["", f"## {title}", "", "| | " + " | ".join(names) + " |"]
        lines.append("|---|" + "---|" * len(names))
        for row in rows:
            cells = (shown(figures[name][key].get(row), 2) for name in names)
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", *_missed(runs, names)]
    return "\n".join(lines) + "\n"


def _missed(runs: Sequence[RunOutcome], detectors: Sequence[str]) -> list[str]:
    name = "combined" if "combined" in detectors else detectors[0]
    missed = [
        f"| {run.name} | {found.label.anomaly} | {run.info['plant']} | {run.info['severity']} | "
        f"{run.info['benign']} |"
        for run in runs
        for found in run.outcomes[name].found
        if found.visible and found.delay_s is None
    ]
    head = [f"## Visible, and missed by {name}: {len(missed)}", ""]
    if not missed:
        return head
    head += ["| run | anomaly | plant | severity | background |", "|---|---|---|---|---|"]
    return [*head, *missed[:MOST_MISSED]]


def write(directory: Path, figures: Mapping[str, Mapping[str, Any]], page: str) -> None:
    """Write scores.json and report.md; CannotWriteError if that cannot be."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(figures, indent=2) + "\n"
        (directory / "scores.json").write_text(text, "utf-8")
        (directory / "report.md").write_text(page, "utf-8")
    except OSError as error:
        raise CannotWriteError(directory, error) from error
