"""What is told of the scores: the figures, a table for the terminal, report.md, scores.json."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from evsim.detectors.combined import Combined
from evsim.lab.suite import SEEDS_PER_GROUP
from evsim.labels import Label
from evsim.recording.errors import CannotWriteError
from evsim.scoring.metrics import GRACE_S, Score, percentile_s
from evsim.scoring.sets import RunOutcome
from evsim.scoring.targets import BASE_SCENARIO, targets, verdict

#: Missed events that are listed.
MOST_MISSED = 100
#: Tables of one figure, by something and detector: title, key of the figures.
BREAKDOWNS = (
    ("Recall by anomaly", "recall_by_anomaly"),
    ("Recall by plant", "recall_by_plant"),
    ("Recall by severity", "recall_by_severity"),
    ("Median delay by anomaly, s", "delay_by_anomaly_s"),
    ("False alarms per benign hour, by family", "false_alarms_per_hour_by_family"),
)
MAIN_COLUMNS = (
    "recall", "95 %", "precision", "F1", "VUS-PR", "range-F1", "delay", "p95", "false/h", "µs"
)  # fmt: skip
NARROW_COLUMNS = ("recall", "precision", "VUS-PR", "range-F1", "delay", "false/h", "µs")
#: Letters that all columns need.
WIDE = 108


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
    missed_by = [
        {"run": run.name, "anomaly": found.label.anomaly, "start_s": found.label.t_start_s}
        for run in runs
        for found in run.outcomes[detector].found
        if found.visible and found.delay_s is None
    ]
    return {
        **{name: _json(value) for name, value in figures.items()},
        "recall_by_anomaly": _table(runs, anomaly_of, lambda s: s.recall, detector),
        "delay_by_anomaly_s": _table(
            runs, anomaly_of, lambda s: percentile_s(s.delays_s, 50), detector
        ),
        "recall_by_plant": _table(runs, _plant_of, lambda s: s.recall, detector),
        "recall_by_severity": _table(runs, _severity_of, lambda s: s.recall, detector),
        # Too many rows for the page: 20 anomalies, 4 plants, 3 severities.
        "recall_by_anomaly_plant_severity": _table(
            runs, _anomaly_plant_severity_of, lambda s: s.recall, detector
        ),
        "false_alarms_per_hour_by_family": _table(
            benign, family_of, lambda s: s.false_alarms_per_hour, detector
        ),
        "base_scenario_by_plant": _base_scenario(runs, detector),
        "missed": missed_by,
    }


def _base_scenario(runs: Sequence[RunOutcome], detector: str) -> dict[str, dict[str, float | None]]:
    """Give recall and delay of the base scenario; `of_all` where its current shows nothing too."""
    played = [run for run in runs if run.info["anomaly"] == BASE_SCENARIO]
    figures = {}
    for plant, group in by(played, _plant_of).items():
        every = [found for run in group for found in run.outcomes[detector].found]
        found_s = [found.delay_s for found in every if found.delay_s is not None]
        figures[plant] = {
            "recall": _json(score_of(group, detector).recall),
            "recall_of_all": _json(len(found_s) / len(every)) if every else None,
            "delay_median_s": _json(percentile_s(found_s, 50)),
        }
    return figures


def _plant_of(run: RunOutcome) -> str | None:
    return str(run.info["plant"]) if run.info["anomaly"] else None


def _severity_of(run: RunOutcome) -> str | None:
    return str(run.info["severity"]) if run.info["anomaly"] else None


def _anomaly_plant_severity_of(run: RunOutcome) -> str | None:
    told = (anomaly_of(run), _plant_of(run), _severity_of(run))
    return None if told[0] is None else ", ".join(map(str, told))


def _table(
    runs: Sequence[RunOutcome],
    key: Callable[[RunOutcome], str | None],
    figure: Callable[[Score], float],
    detector: str,
) -> dict[str, float | None]:
    return {name: _json(figure(score_of(group, detector))) for name, group in by(runs, key).items()}


def _json(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def terminal_table(figures: Mapping[str, Mapping[str, Any]], width: int) -> Table:
    """Lay the main figures out for a terminal; a narrow one gets the most telling."""
    chosen = MAIN_COLUMNS if width >= WIDE else NARROW_COLUMNS
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("detector", no_wrap=True)
    for column in chosen:
        table.add_column(column, justify="right", no_wrap=True)
    for name, one in figures.items():
        cells = dict(zip(MAIN_COLUMNS, main_cells(one), strict=True))
        table.add_row(name, *(cells[column] for column in chosen))
    return table


def main_cells(one: Mapping[str, Any]) -> list[str]:
    """Write the main figures of a detector, in the order of MAIN_COLUMNS."""
    return [
        shown(one["recall"], 3),
        f"{shown(one['recall_low'], 2)}–{shown(one['recall_high'], 2)}",
        shown(one["precision"], 2),
        shown(one["f1"], 2),
        shown(one["vus_pr"], 3),
        shown(one["range_f1"], 3),
        shown(one["delay_median_s"], 1, " s"),
        shown(one["delay_p95_s"], 1, " s"),
        shown(one["false_alarms_per_benign_hour"], 3),
        shown(one["us_per_event"], 1),
    ]


def shown(value: float | None, digits: int, unit: str = "") -> str:
    """Write a figure, or – where there is none."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def told_of_groups(runs: Sequence[RunOutcome], groups: str, command: str) -> list[str]:
    """Say from which seeds the figures are, and that none of the others was chosen on them."""
    seeds: dict[int, list[int]] = {}
    for run in runs:
        seed = int(run.info["seed"])
        seeds.setdefault(seed // SEEDS_PER_GROUP, []).append(seed)
    told = "; ".join(
        f"group {group}: {len(own)} seeds, {min(own)} to {max(own)}"
        for group, own in sorted(seeds.items())
    )
    return [
        f"Made by `{command}` from {len(runs)} runs of {groups} ({told}).",
        "Thresholds come from physics and protocol and were checked on the seeds of group 1 (1000 "
        "to 1999); those of learned detectors are the highest score of a benign run of group 2 "
        "(2000 to 2999). No threshold was chosen on a test seed (3000 and above).",
    ]


def told_of_method() -> list[str]:
    """Say what the figures mean."""
    return [
        "A label counts as found if an alarm is on, or begins, between its start and "
        f"{GRACE_S:g} s after its end; recall is over the labels with a visible effect, its "
        "interval a bootstrap over runs. False alarms are per hour and charge point of the runs "
        "without an anomaly. VUS-PR is the mean over the runs with a visible label, range-F1 that "
        "of all runs as if they were one; both compare seconds with the visible interval. µs is "
        "processor time per event, of which always_on has the part that is not a detector's.",
    ]


def markdown(
    figures: Mapping[str, Mapping[str, Any]], runs: Sequence[RunOutcome], groups: str, command: str
) -> str:
    """Write report.md."""
    paragraphs = [*told_of_groups(runs, groups, command), *told_of_method()]
    lines = ["# Scores of the detectors", ""]
    for paragraph in paragraphs:
        lines += [*textwrap.wrap(paragraph, 100, break_on_hyphens=False), ""]
    lines += [*targets_table(figures), "", *main_table(figures), ""]
    for title, key in BREAKDOWNS:
        lines += [f"## {title}", "", *breakdown(figures, key), ""]
    lines += _missed_table(runs, list(figures))
    return "\n".join(lines) + "\n"


def targets_table(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write the targets beside what was measured."""
    rows = [[t.what, t.wanted, t.measured, verdict(t.met)] for t in targets(figures)]
    return _markdown_table(["", "wanted", "measured", ""], rows)


def main_table(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write the main figures of all detectors."""
    rows = [[name, *main_cells(one)] for name, one in figures.items()]
    return _markdown_table(["detector", *MAIN_COLUMNS], rows)


def breakdown(figures: Mapping[str, Mapping[str, Any]], key: str) -> list[str]:
    """Write one figure by something and detector."""
    names = sorted({name for one in figures.values() for name in one[key]})
    rows = [[n, *(shown(one[key].get(n), 2) for one in figures.values())] for n in names]
    return _markdown_table(["", *figures], rows)


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |".replace("|  |", "| |"), "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def missed(
    runs: Sequence[RunOutcome], detectors: Sequence[str]
) -> tuple[str, list[tuple[RunOutcome, Label]]]:
    """Give the visible events that `combined`, or else the first detector, has missed."""
    name = Combined.name if Combined.name in detectors else detectors[0]
    return name, [
        (run, found.label)
        for run in runs
        for found in run.outcomes[name].found
        if found.visible and found.delay_s is None
    ]


def _missed_table(runs: Sequence[RunOutcome], detectors: Sequence[str]) -> list[str]:
    name, events = missed(runs, detectors)
    head = [f"## Visible, and missed by {name}: {len(events)}", ""]
    if not events:
        return head
    rows = [
        [run.name, label.anomaly, *(str(run.info[key]) for key in ("plant", "severity", "benign"))]
        for run, label in events[:MOST_MISSED]
    ]
    columns = ["run", "anomaly", "plant", "severity", "background"]
    return [*head, *_markdown_table(columns, rows)]


def write(
    directory: Path, figures: Mapping[str, Mapping[str, Any]], page: str, html_page: str
) -> None:
    """Write scores.json, report.md and report.html; CannotWriteError if that cannot be."""
    files = {
        "scores.json": json.dumps(figures, indent=2) + "\n",
        "report.md": page,
        "report.html": html_page,
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text, "utf-8")
    except OSError as error:
        raise CannotWriteError(directory, error) from error
