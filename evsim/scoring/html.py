"""report.html: the report as one file that needs no other, pictures and all."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from evsim.recording import load
from evsim.recording.pictures import draw_run, png
from evsim.scoring import figures as pictures
from evsim.scoring.report import (
    BREAKDOWNS,
    MAIN_COLUMNS,
    main_cells,
    missed,
    score_of,
    shown,
    told_of_groups,
    told_of_method,
)
from evsim.scoring.sets import RunOutcome
from evsim.scoring.targets import targets, verdict

#: Missed events that are drawn: each picture has some 50 kB.
MOST_DRAWN = 24

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2126; max-width: 72em; margin: 2em auto;
       padding: 0 1em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .7em; text-align: right; border-bottom: 1px solid #dde3e8; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
.MISSED { color: #d0021b; font-weight: bold; }
.met { color: #2d7d46; }
img { max-width: 100%; }
figure { margin: 1em 0 2em; }
"""


def page(
    figures: Mapping[str, Mapping[str, Any]],
    runs: Sequence[RunOutcome],
    groups: str,
    command: str,
) -> str:
    """Write the page; RecordingError if a run with a missed event cannot be read any more."""
    parts = ["<h1>Scores of the detectors</h1>"]
    told = told_of_groups(runs, groups, command)
    parts += [f"<p>{html.escape(text.replace('`', ''))}</p>" for text in told]
    wanted = targets(figures)
    if wanted:
        parts.append("<h2>Targets</h2>")
        rows = [
            [html.escape(one.what), html.escape(one.wanted), html.escape(one.measured),
             f'<span class="{verdict(one.met)}">{verdict(one.met)}</span>']
            for one in wanted
        ]  # fmt: skip
        parts.append(_table(["", "wanted", "measured", ""], rows))
    parts.append("<h2>All of them</h2>")
    parts.append(
        _table(["detector", *MAIN_COLUMNS], [[n, *main_cells(f)] for n, f in figures.items()])
    )
    parts += [f"<p>{html.escape(text)}</p>" for text in told_of_method()]
    parts.append("<h2>Who finds what</h2>")
    parts.append(_picture(pictures.heat_map(figures), "The share of each anomaly that is found"))
    parts.append("<h2>Who cries wolf at what</h2>")
    parts.append(_picture(pictures.false_alarms(figures), "False alarms of benign behaviours"))
    parts.append("<h2>How soon</h2>")
    by_detector = {name: score_of(runs, name).delays_s for name in figures}
    parts.append(_picture(pictures.delays(by_detector), "Delays of the events found, by detector"))
    parts += _missed(runs, list(figures))
    for title, key in BREAKDOWNS:
        names = sorted({name for one in figures.values() for name in one[key]})
        rows = [[n, *(shown(one[key].get(n), 2) for one in figures.values())] for n in names]
        parts += [f"<h2>{html.escape(title)}</h2>", _table(["", *figures], rows)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Scores of the detectors</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _missed(runs: Sequence[RunOutcome], detectors: Sequence[str]) -> list[str]:
    name, events = missed(runs, detectors)
    parts = [f"<h2>Visible, and missed by {name}: {len(events)}</h2>"]
    if len(events) > MOST_DRAWN:
        parts.append(f"<p>The first {MOST_DRAWN} of them are drawn; scores.json names all.</p>")
    for run, label in events[:MOST_DRAWN]:
        told = f"{label.anomaly}, {label.severity}, on {run.info['plant']}, in {run.info['benign']}"
        figure = draw_run(load(run.directory), episode=label)
        parts.append(_picture(figure, f"{run.name}: {told}"))
    return parts


def _picture(figure: Figure, text: str) -> str:
    data = base64.b64encode(png(figure)).decode("ascii")
    text = html.escape(text)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a table; cells are HTML, the head is text."""
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"
