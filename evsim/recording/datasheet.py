"""README.md of a set: a datasheet after Gebru et al., "Datasheets for Datasets" (2021)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from evsim.recording.composition import Described, Summarised, composition, table
from evsim.recording.counts import RunCounts, total


def datasheet(
    counts: Sequence[RunCounts],
    *,
    name: str,
    command: str,
    anomalies: Mapping[str, Described],
    benign: Mapping[str, Summarised],
    pictures: Mapping[str, str],
    tsb_ad: bool,
) -> str:
    """Write the datasheet.

    :param pictures: anomaly -> name of its example run.
    """
    sections = [
        _title(counts, name),
        _MOTIVATION,
        composition(counts, anomalies, benign),
        _collection(counts, command),
        _PREPROCESSING,
        _uses(tsb_ad=tsb_ad),
        _LIMITS,
        _DISTRIBUTION,
        _pictures(counts, anomalies, pictures),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _title(counts: Sequence[RunCounts], name: str) -> str:
    numbers = total(counts)
    anomalies = {one.anomaly for run in counts for one in run.labels}
    text = f"""`{name}`: sessions with labelled anomalies, **simulated** by ev-anomaly-sim:
        {numbers.runs} runs, {numbers.hours:.1f} hours, {numbers.messages:,} OCPP 1.6 messages,
        {numbers.frames:,} CAN frames, {numbers.episodes} episodes of {len(anomalies)} anomalies.
        No real vehicle, station or person is in it."""
    paragraph = textwrap.fill(" ".join(text.split()), 100)
    return f"# Anomalies in electric-vehicle charging\n\n{paragraph}"


_MOTIVATION = """
## Motivation

Data sets of this field have no labels (ACN-Data), leak the label into a feature, measure the power
of the controller board and not of the charging, or inject attacks into sessions that never vary.
Here every run is a session of a named benign behaviour; the label is written by what plays the
anomaly, is kept apart from the values, and tells "active" from "visible"; anomalies are rare in
time and begin anywhere; and every byte follows from a seed. It was made by the authors of
ev-anomaly-sim, without funding."""


def _collection(counts: Sequence[RunCounts], command: str) -> str:
    versions = sorted({pair for run in counts for pair in run.versions})
    seeds = sorted({run.seed for run in counts})
    rows = [(name, f"`{version}`") for name, version in versions]
    return f"""## Collection process

Nothing was measured: the programs of ev-anomaly-sim (central system, charge point, power module)
ran as they do live, in one process, with links in memory and a clock that leaps over waits. Times
are that clock's, which begins at 2026-01-01T00:00:00Z in every run; they say nothing of a calendar.
This command made the set, and makes the same bytes again:

```sh
{command}
```

Seeds: {len(seeds)} different, {seeds[0]} to {seeds[-1]}; each run's is in `runs.csv`.

{table(("software", "version"), rows)}"""


_PREPROCESSING = """
## Preprocessing, cleaning, labelling

`series.csv` is made from the recorded frames and messages: each second has the last value seen
so far, and is empty before the first. Nothing was removed, smoothed or scaled. Whoever plays an
anomaly writes when it is active; `effect_start` and `effect_end` say when it can be seen in the
recorded values, and are empty when it can't (a slow plant swallows fast commands). Nobody
labelled by eye."""


def _uses(*, tsb_ad: bool) -> str:
    layout = (
        "\n\n`tsb_ad/` has the same in the layout of the TSB-AD benchmark: numbers only, the last "
        "column\n`Label` (1 while an anomaly is active or visible), unknown values filled with the "
        "last known one\nand with 0 before the first; `<n>` in the name is the line of `runs.csv`. "
        "Runs without an anomaly\nhave `tr` and `1st` equal to the number of rows."
        if tsb_ad
        else ""
    )
    return f"""## Uses

For detectors of anomalies on OCPP, on CAN and on the current, and for teaching. Split by seed,
never by row; score benign families one by one; never use accuracy.

```python
from evsim.recording import load, row_labels   # ev-anomaly-sim itself
run = load("runs/<run>")                  # run.series, run.can, run.ocpp, run.labels, run.trace
active, visible = row_labels(run)         # for each row of the series

import pandas                             # one run, without it
series = pandas.read_csv("runs/<run>/series.csv")
labels = pandas.read_csv("runs/<run>/labels.csv")

import mlcroissant                        # the whole set
labels = mlcroissant.Dataset("croissant.json").records("labels")

import frictionless                       # is the copy whole and well-formed?
assert frictionless.validate("datapackage.json").valid

import can                                # frames; charger.dbc is for cantools
frames = can.LogReader("runs/<run>/can.log")
```

`sha256sum -c SHA256SUMS` checks every file of every run.{layout}

Not for: claims on how often anomalies happen (their share is chosen), on real vehicles or
stations, or on how a product would do."""


_LIMITS = """
## Known limits

- The physics is simulated: a ramp, a delay, a battery with constant current and taper. Ripple,
  noise and power factor are parameters whose values nobody has verified on hardware.
- The CAN protocol is ev-anomaly-sim's own, five plain frames; no product speaks it. There is no
  ISO 15118, no CHAdeMO and no vehicle's own bus in it.
- One connector per charge point, OCPP 1.6-J, a link without loss unless the run says otherwise.
- Times are exact: no clock drifts, no frame is stamped late.
- An anomaly is played by a script with a few parameters; a real attacker or fault varies more.
- Benign behaviour comes from a handful of named families. What is not among them can't be a
  false alarm here, but will be one outside."""

_DISTRIBUTION = """
## Distribution and maintenance

Data: CC-BY-4.0. Code that made it: MIT. Metadata: `datapackage.json` (Data Package 2),
`croissant.json` (Croissant 1.1; `datePublished` is the simulated clock's first day unless the
publisher has set it). The set is not changed in place: a new version is a new set, made by the
command above with a newer ev-anomaly-sim. Errors are reported to, and mended in, ev-anomaly-sim."""


def _pictures(
    counts: Sequence[RunCounts], anomalies: Mapping[str, Described], pictures: Mapping[str, str]
) -> str:
    if not pictures:
        return "## Pictures\n\nNo run has an anomaly."
    parts = ["## Pictures", "One example of each; red: active, the bar above: effect visible."]
    for name, run in sorted(pictures.items()):
        parts.append(f"### {name}")
        if name in anomalies:
            parts.append(anomalies[name].summary)
        parts.append(f"![{name} in run {run}](pictures/{name}.png)")
    return "\n\n".join(parts)
