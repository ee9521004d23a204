"""Makes docs/catalogue.md, its pictures and docs/trace.png from runs of the lab.

python -m docs.make_catalogue
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from evsim.anomalies import ANOMALIES, BENIGN
from evsim.anomalies.base import Anomaly, Behaviour
from evsim.lab.run_spec import FLEET, RunSpec
from evsim.play_options import SCRIPTS
from evsim.recording import Run, load
from evsim.recording.pictures import draw_run, png
from simulate import simulate

DOCS = Path(__file__).parent
PAGE = DOCS / "catalogue.md"
PICTURES = DOCS / "catalogue"
TRACE = DOCS / "trace.png"

#: What each run is made of, where it differs from this: a background in which one sees it well.
USUAL = RunSpec(seed=4, duration_s=1200.0, benign="load_sharing", noise_a=0.5)
CHOSEN: dict[str, dict[str, object]] = {
    "repeated_fluctuation": {"benign": "plain_session"},
    "contactor_cycling": {"benign": "plain_session"},
    "denial_of_charge": {"benign": "plain_session"},
    "can_masquerade": {"benign": "plain_session"},
    "can_flooding": {"benign": "plain_session"},
    "session_extension": {"benign": "plain_session"},
    "station_disconnection": {"benign": "solar_surplus"},
    "unauthorised_commands": {"benign": "plain_session"},
    "plain_session": {"duration_s": 7200.0},
    "aborted_start": {"duration_s": 3600.0},
    "long_pause": {"duration_s": 3600.0},
    "user_restart": {"duration_s": 3600.0},
    "solar_surplus": {"duration_s": 3600.0},
    "taper": {"duration_s": 3600.0},
}

#: A network with some latency, so that the steps lie apart.
TRACED = RunSpec(
    seed=1,
    duration_s=120.0,
    anomaly="repeated_fluctuation",
    throughout=True,
    network_faults="latency=40ms,jitter=10ms",
)

HEAD = """\
# The catalogue

20 anomalies and 8 benign behaviours. Each is a description and one coroutine that plays it
([`evsim/anomalies/`](../evsim/anomalies)), in the lab (`./simulate.py --anomaly NAME --out DIR`)
and live (`./run_all.sh --anomaly NAME`). Who plays it writes the label.

The pictures are runs of the lab: `python -m docs.make_catalogue` makes this page and all of them.
Blue is the current as CAN frame 0x300 tells it, orange what MeterValues tell the central system,
dashed the limit on the CAN bus (0x210). The shaded span is the label's "active", the red bar above
it "effect visible".

Severities choose the parameters' values; `--parameter NAME=VALUE` chooses another.
"""


def spec_of(entry: Behaviour) -> RunSpec:
    """Give the run that shows an entry."""
    if not isinstance(entry, Anomaly):
        return replace(USUAL, **{"benign": entry.name, **CHOSEN.get(entry.name, {})})  # type: ignore[arg-type]
    charge_points = FLEET if entry.fleet else 1
    spec = replace(USUAL, anomaly=entry.name, charge_points=charge_points)
    return replace(spec, **CHOSEN.get(entry.name, {}))  # type: ignore[arg-type]


def page() -> str:
    """Write the page."""
    parts = [HEAD, "## Anomalies\n"]
    parts += [section(entry) for entry in ANOMALIES.values()]
    parts.append("## Benign behaviours\n\nDetectors should keep silent on these.\n")
    parts += [section(entry) for entry in BENIGN.values()]
    return "\n".join(parts)


def section(entry: Behaviour) -> str:
    """Write what is to be said of one entry."""
    lines = [f"### {entry.name}\n", f"{entry.summary}\n", f"**What one sees:** {entry.signature}\n"]
    if isinstance(entry, Anomaly):
        lines.append(
            f"Layer {entry.layer}; played by {entry.player} (live: `{SCRIPTS[entry.player]}`); "
            f"seen on {entry.seen_on}. Source: {entry.source}.\n"
        )
    else:
        lines.append(f"Source: {entry.source}.\n")
    if entry.parameters:
        lines += ["| parameter | unit | what | low | medium | high |", "|---|---|---|---|---|---|"]
        lines += [
            f"| `{p.name}` | {p.unit} | {p.summary} | {p.low:g} | {p.medium:g} | {p.high:g} |"
            for p in entry.parameters
        ]
        lines.append("")
    lines.append(f"![{entry.name}: {entry.signature}](catalogue/{entry.name}.png)\n")
    return "\n".join(lines)


def draw_chain(run: Run) -> Figure:
    """Draw what one command brought about, from the central system to the alarm."""
    record = next(
        r for r in run.trace if r.get("alarm") and r["command"] == "RemoteStartTransaction"
    )
    time_s = record["time"]
    steps: list[tuple[str, str, float]] = [
        ("central system", f"{record['command']}\nid {record['id']}", time_s),
        ("charge point", record["decision"], record["decided"]),
        ("CAN bus", f"frame {record['frame']}", record["frame_time"]),
        ("charger", "the measured current follows (0x300)", record["followed"]),
        ("detector", record["alarm"]["reason"], record["alarm"]["time"]),
    ]
    figure = Figure((9.0, 4.6), layout="constrained")
    axes = figure.subplots()
    lanes = [lane for lane, _, _ in steps]
    # Milliseconds and seconds in one picture: the axis is logarithmic, from 10 ms on.
    after_ms = [max(10.0, (at_s - time_s) * 1000) for _, _, at_s in steps]
    for number, ((_, text, at_s), x) in enumerate(zip(steps, after_ms, strict=True)):
        axes.plot(x, number, "o", color="#1f6fb4", markersize=9)
        shown = f"{text}\n+ {(at_s - time_s) * 1000:,.2f} ms"
        axes.annotate(shown, (x, number), (8, 0), textcoords="offset points", va="center", size=9)
        if number:
            axes.annotate(
                "",
                (x, number - 0.12),
                (after_ms[number - 1], number - 0.88),
                arrowprops={"arrowstyle": "->", "color": "#5f6b76", "shrinkA": 0, "shrinkB": 0},
            )
    axes.set_xscale("log")
    axes.set_xlim(8.0, max(after_ms) * 30)
    axes.set_yticks(range(len(lanes)), lanes)
    axes.set_ylim(len(lanes) - 0.5, -0.6)
    axes.set_xlabel("time since the command [ms]")
    axes.set_title("One record of trace.jsonl: a command and what came of it", loc="left", size=11)
    axes.grid(axis="y", alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(names: Iterable[str] = (*ANOMALIES, *BENIGN)) -> None:
    """Make everything."""
    PICTURES.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")
    entries = {**ANOMALIES, **BENIGN}
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            directory = Path(temporary) / name
            simulate(spec_of(entries[name]), directory)
            run = load(directory)
            (PICTURES / f"{name}.png").write_bytes(png(draw_run(run)))
        simulate(TRACED, Path(temporary) / "traced")
        TRACE.write_bytes(png(draw_chain(load(Path(temporary) / "traced"))))


if __name__ == "__main__":
    main()
