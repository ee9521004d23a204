"""What is in a set, as its datasheet says it: Markdown sections and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from evsim.labels import SEVERITIES
from evsim.recording.counts import RunCounts, Sum, deciles, total
from evsim.recording.tables import LABELS, RUNS, SERIES, Table


class Summarised(Protocol):
    """A benign behaviour of the catalogue, as far as a datasheet tells of it."""

    @property
    def summary(self) -> str: ...


class Described(Summarised, Protocol):
    """An anomaly of the catalogue, as far as a datasheet tells of it."""

    @property
    def layer(self) -> str: ...
    @property
    def signature(self) -> str: ...
    @property
    def source(self) -> str: ...


def composition(
    counts: Sequence[RunCounts],
    anomalies: Mapping[str, Described],
    benign: Mapping[str, Summarised],
) -> str:
    """Count the runs and episodes in several ways, and describe the files and columns."""
    numbers = total(counts)
    per_run = [
        ("`series.csv`", "values, one row per second and charge point; no label"),
        ("`labels.csv`", "the label: one row per episode; only the first line if there is none"),
        ("`can.log`", "all CAN frames (candump; or another format), channel = charge point"),
        ("`charger.dbc`", "the CAN protocol, for CAN tools"),
        ("`ocpp.jsonl`", "all OCPP messages at the central system's end, both directions"),
        ("`trace.jsonl`", "what became of every command: decision, CAN frame, effect, alarm"),
        ("`run.json`", "how the run was made: seed, parameters, versions. **Names the anomaly**"),
    ]
    onsets = [share for run in counts for share in run.onsets]
    return "\n\n".join(
        [
            "## Composition",
            "A run is a directory under `runs/`:",
            table(("file", "what"), per_run),
            "Only `labels.csv`, `run.json` and the set's `runs.csv` know the label: a detector "
            "must not read them, nor the names of the runs' directories.",
            f"An anomaly is active in {numbers.density:.2%} of the time and visible in "
            f"{numbers.visible_density:.2%}; {numbers.visible_episodes} of {numbers.episodes} "
            "episodes have a visible effect.",
            "### Anomalies, by plant and severity",
            "Runs by severity; the share of time is that in these runs.",
            _anomaly_table(counts),
            "### Benign behaviour",
            _benign_table(counts, benign),
            "### When episodes begin",
            "Episodes whose start lies in each tenth of their run:",
            table(
                [f"{10 * n}–{10 * n + 10} %" for n in range(10)], [tuple(map(str, deciles(onsets)))]
            ),
            f"{_to_the_end(counts)} of {numbers.episodes} episodes last until the end of their "
            "run (to within 1 s).",
            "### What the anomalies are",
            table(
                ("anomaly", "layer", "what happens", "how it shows", "source"),
                [
                    (f"`{name}`", str(one.layer), one.summary, one.signature, one.source)
                    for name, one in sorted(anomalies.items())
                ],
            )
            if anomalies
            else "See ev-anomaly-sim's catalogue.",
            "### Columns of series.csv",
            _columns(SERIES),
            "### Columns of labels.csv",
            _columns(LABELS),
            "### Columns of runs.csv",
            _columns(RUNS),
        ]
    )


def _anomaly_table(counts: Sequence[RunCounts]) -> str:
    rows = []
    for (anomaly, plant), numbers in _grouped(
        (run for run in counts if run.anomaly), lambda run: (run.anomaly, run.plant)
    ):
        severities = [str(numbers.by_severity[severity]) for severity in SEVERITIES]
        rows.append(
            (
                f"`{anomaly}`",
                plant,
                *severities,
                f"{numbers.hours:.1f}",
                f"{numbers.messages:,}",
                f"{numbers.frames:,}",
                f"{numbers.episodes} ({numbers.visible_episodes})",
                f"{numbers.density:.1%}",
            )
        )
    head = ("anomaly", "plant", *SEVERITIES, "hours", "messages", "frames")
    return table((*head, "episodes (visible)", "share of time"), rows)


def _benign_table(counts: Sequence[RunCounts], benign: Mapping[str, Summarised]) -> str:
    quiet = dict(_grouped((run for run in counts if not run.anomaly), lambda run: (run.benign,)))
    rows = []
    for (name,), numbers in _grouped(counts, lambda run: (run.benign,)):
        alone = quiet.get((name,), Sum())
        rows.append(
            (
                f"`{name or 'none'}`",
                benign[name].summary if name in benign else "",
                str(alone.runs),
                f"{alone.hours:.1f}",
                str(numbers.runs - alone.runs),
                f"{numbers.hours - alone.hours:.1f}",
                f"{numbers.messages:,}",
                f"{numbers.frames:,}",
            )
        )
    head = ("family", "what happens", "runs without anomaly", "hours", "runs with one", "hours")
    return table((*head, "messages", "frames"), rows)


def _grouped(
    counts: Iterable[RunCounts], key: Callable[[RunCounts], tuple[str, ...]]
) -> list[tuple[tuple[str, ...], Sum]]:
    groups: dict[tuple[str, ...], list[RunCounts]] = {}
    for run in counts:
        groups.setdefault(key(run), []).append(run)
    return [(name, total(runs)) for name, runs in sorted(groups.items())]


def _to_the_end(counts: Sequence[RunCounts]) -> int:
    return sum(
        one.t_end_s >= run.start_s + run.duration_s - 1 for run in counts for one in run.labels
    )


def _columns(of: Table) -> str:
    return table(
        ("column", "type", "unit", "what"),
        [(f"`{one.name}`", one.type.value, one.unit, one.description) for one in of.columns],
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    if not rows:
        return "None."
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
