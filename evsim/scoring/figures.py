"""The report's pictures: who finds what, who cries wolf at what, and how soon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evsim.recording.pictures import BLUE, GREY, RED

#: Of a cell or a row, in.
CELL_IN = (0.55, 0.3)
MARGIN_IN = (3.0, 2.0)
#: A recall above this is written in white, to be read on the dark of its cell.
DARK = 0.6


def heat_map(figures: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the recall by anomaly and detector."""
    detectors = list(figures)
    anomalies = sorted({name for one in figures.values() for name in one["recall_by_anomaly"]})
    recalls = np.array(
        [
            [_number(figures[detector]["recall_by_anomaly"].get(name)) for detector in detectors]
            for name in anomalies
        ]
    ).reshape(len(anomalies), len(detectors))
    figure = Figure(_size_in(len(detectors), len(anomalies)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(recalls, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), recall in np.ndenumerate(recalls):
        text = "–" if np.isnan(recall) else f"{recall:.2f}".rstrip("0").rstrip(".")
        colour = "white" if recall > DARK else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize="x-small")
    axes.set_xticks(
        range(len(detectors)), detectors, rotation=60, ha="left", rotation_mode="anchor"
    )
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(anomalies)), anomalies)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def false_alarms(figures: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the false alarms per benign hour by family, of the detectors that have any."""
    key = "false_alarms_per_hour_by_family"
    families = sorted({name for one in figures.values() for name in one[key]})
    noisy = {name: one[key] for name, one in figures.items() if any(one[key].values())}
    figure = Figure((9.0, 1.2 + 0.45 * max(1, len(families))), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / max(1, len(noisy))
    places = np.arange(len(families))
    for number, (name, rates) in enumerate(noisy.items()):
        values = [_number(rates.get(family)) for family in families]
        axes.barh(places + (number + 0.5) * height - 0.4, values, height * 0.9, label=name)
    axes.set_yticks(places, families)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xlim(left=0)
    axes.set_xlabel("false alarms per hour and charge point")
    silent = [name for name in figures if name not in noisy]
    axes.set_title(
        f"{len(silent)} detectors have none: {', '.join(silent)}" if silent else "",
        loc="left", fontsize="small", wrap=True,
    )  # fmt: skip
    axes.grid(visible=True, axis="x", color=GREY, alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    if noisy:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)
    return figure


def delays(delays_s: Mapping[str, Sequence[float]]) -> Figure:
    """Draw how long each detector took: each found event a point, the median a line."""
    figure = Figure((9.0, 1.0 + 0.3 * max(1, len(delays_s))), layout="constrained")
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for row, found_s in enumerate(delays_s.values()):
        if not found_s:
            continue
        scatter = row + rng.uniform(-0.25, 0.25, len(found_s))
        axes.plot(np.asarray(found_s) + 1, scatter, ".", color=BLUE, alpha=0.4, markersize=4)
        axes.plot([np.median(found_s) + 1] * 2, [row - 0.4, row + 0.4], color=RED, linewidth=2)
    names = [f"{name} ({len(found_s)})" for name, found_s in delays_s.items()]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    ticks_s = (0, 2, 5, 10, 20, 50, 100, 200, 500)
    axes.set_xscale("log")
    axes.set_xticks([tick + 1 for tick in ticks_s], [str(tick) for tick in ticks_s])
    axes.set_xticks([], minor=True)
    axes.set_xlim(0.9, 700)
    axes.set_xlabel("from the anomaly's start to the alarm [s], spaced as log(1 + s); red: median")
    axes.grid(visible=True, axis="x", color=GREY, alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _size_in(columns: int, rows: int) -> tuple[float, float]:
    return MARGIN_IN[0] + CELL_IN[0] * columns, MARGIN_IN[1] + CELL_IN[1] * rows
