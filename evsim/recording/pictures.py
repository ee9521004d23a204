"""Draw a run: what the charger does, what was asked of it, and where the label is."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evsim.events import Kind, OcppEvent
from evsim.frames import CURRENT_ID
from evsim.labels import Label
from evsim.recording.counts import rows_by_charge_point, start_s
from evsim.recording.loading import Run

Numbers = NDArray[np.float64]

SIZE_IN = (9.0, 4.2)
SIZE_WITH_TWO_IN = (9.0, 5.8)
DPI = 100
#: So much of the run is shown before and after the episode, at least.
CONTEXT_S = 60.0
#: And so much of the episode's own length, if that is more.
CONTEXT_SHARE = 0.5
#: Above the curves, for the bar that marks the visible effect.
ROOM = 0.08
#: A limit of so many times the highest current is left out, to show the current.
FARTHEST_LIMIT = 3.0
#: Steps of a rate are this wide, or a 150th of the picture if that is more.
RATE_BIN_S = 1.0

BLUE = "#1f6fb4"
ORANGE = "#d9822b"
GREEN = "#2d7d46"
RED = "#d0021b"
GREY = "#5f6b76"


@dataclass(frozen=True, slots=True)
class View:
    """What a panel draws: of which charge points of the run, from when to when."""

    run: Run
    rows: Mapping[str, Mapping[str, NDArray[Any]]]
    from_s: float
    to_s: float

    def minutes(self, time_s: Numbers) -> Numbers:
        """Give the place on the x axis."""
        return (time_s - start_s(self.run)) / 60


def draw_run(run: Run, figure: Figure | None = None, *, episode: Label | None = None) -> Figure:
    """Draw a run around an episode: its first with a visible effect, if none is given.

    A run without episodes is drawn whole. What an anomaly changes besides the current, a rate of
    messages or the gaps between frames for instance, has a panel of its own below.
    """
    if episode is None:
        episode = next(
            (one for one in run.labels if one.effect_start_s is not None),
            run.labels[0] if run.labels else None,
        )
    second = _SECOND_PANEL.get(episode.anomaly) if episode else None
    view = _view(run, episode)
    figure = figure or Figure(SIZE_WITH_TWO_IN if second else SIZE_IN, layout="constrained")
    panels = figure.subplots(
        2 if second else 1, sharex=True, squeeze=False, height_ratios=[3, 2] if second else [1]
    )[:, 0]
    _current(panels[0], view)
    if second:
        second(panels[1], view)
        panels[1].margins(y=ROOM)
        if second is not _energy:  # which stands far from 0 and moves little
            panels[1].set_ylim(bottom=0)
    for axes in panels:
        _mark(axes, view, episode, named=axes is panels[0])
        axes.grid(visible=True, color=GREY, alpha=0.2)
        axes.set_xlim(*view.minutes(np.array([view.from_s, view.to_s])))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)
    panels[-1].set_xlabel("time since the run's start [min]")
    panels[0].set_title(_title(run, episode), loc="left", fontsize="medium")
    return figure


def png(figure: Figure) -> bytes:
    """Save as PNG; the same drawing gives the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def _title(run: Run, episode: Label | None) -> str:
    what = f"{episode.anomaly}, {episode.severity}" if episode else run.info.get("benign")
    plant = run.info.get("plant")
    return f"{what or 'no anomaly'} (plant {plant}, run {run.directory.name})"


def _view(run: Run, episode: Label | None) -> View:
    known = rows_by_charge_point(run)
    begin_s, end_s = start_s(run), float(run.series["time"][-1])
    if episode is None:
        return View(run, known, begin_s, end_s)
    named = {name: rows for name, rows in known.items() if name in episode.targets}
    context_s = max(CONTEXT_S, CONTEXT_SHARE * (episode.t_end_s - episode.t_start_s))
    return View(
        run,
        named or known,
        max(begin_s, episode.t_start_s - context_s),
        min(end_s, max(episode.t_end_s, episode.effect_end_s or 0) + context_s),
    )


def _mark(axes: Axes, view: View, episode: Label | None, *, named: bool) -> None:
    """Shade where an anomaly is active, and hang a bar over where its effect is visible."""
    for one in view.run.labels:
        own = named and one == episode
        start, end = view.minutes(np.array([one.t_start_s, one.t_end_s]))
        label = "anomaly active" if own else None
        axes.axvspan(start, end, color=RED, alpha=0.12, linewidth=0, label=label)
        if one.effect_start_s is not None and one.effect_end_s is not None:
            start, end = view.minutes(np.array([one.effect_start_s, one.effect_end_s]))
            label = "effect visible" if own else None
            axes.axvspan(start, end, ymin=0.975, color=RED, alpha=0.7, linewidth=0, label=label)


def _current(axes: Axes, view: View) -> None:
    several = len(view.rows) > 1
    name = f"{len(view.rows)} currents (CAN)" if several else "current (CAN)"
    for number, rows in enumerate(view.rows.values()):
        minutes = view.minutes(rows["time"])
        if not several:
            limits_a, meter_a = rows["limit_a"], rows["meter_current_a"]
            axes.step(minutes, limits_a, where="post", color=GREY, ls="--", label="limit (CAN)")
            axes.step(minutes, meter_a, where="post", color=ORANGE, label="meter (OCPP)")
        axes.plot(
            minutes,
            rows["current_a"],
            color=BLUE,
            linewidth=0.8 if several else 1.2,
            alpha=0.5 if several else 1.0,
            label=name if number == 0 else None,
        )
    axes.set_ylim(0, (1 + ROOM) * _top_a(view))
    axes.set_ylabel("current [A]")


def _top_a(view: View) -> float:
    """Give the highest current that is shown; a limit far above all currents is not."""
    shown = [
        (rows, (rows["time"] >= view.from_s) & (rows["time"] <= view.to_s))
        for rows in view.rows.values()
    ]

    def highest(*columns: str) -> float:
        values = [rows[column][seen] for rows, seen in shown for column in columns]
        return float(np.nan_to_num(np.concatenate(values)).max(initial=0))

    current_a, limit_a = highest("current_a", "meter_current_a"), highest("limit_a")
    if limit_a <= FARTHEST_LIMIT * current_a or current_a == 0:
        return max(current_a, limit_a) or 1.0
    return current_a


# ── What else an anomaly changes ─────────────────────────────────────────────────────────────


def _sum_of_currents(axes: Axes, view: View) -> None:
    seconds = np.unique(np.concatenate([rows["time"] for rows in view.rows.values()]))
    total_a = np.zeros(seconds.size)
    for rows in view.rows.values():
        total_a += np.interp(seconds, rows["time"], np.nan_to_num(rows["current_a"]))
    axes.plot(view.minutes(seconds), total_a, color=GREEN, label="sum of them")
    axes.set_ylabel("current [A]")


def _messages(axes: Axes, view: View) -> None:
    times_s = [
        event.time_s
        for event in view.run.ocpp
        if event.charge_point in view.rows and event.kind is not Kind.LINK
    ]
    _rate(axes, view, np.array(times_s), "OCPP messages")


def _frames(axes: Axes, view: View) -> None:
    frames = view.run.can
    of_these = np.isin(frames.charge_point, list(view.rows))
    _rate(axes, view, frames.time_s[of_these], "CAN frames")


def _rate(axes: Axes, view: View, times_s: Numbers, name: str) -> None:
    width_s = max(RATE_BIN_S, math.ceil((view.to_s - view.from_s) / 150))
    bins = np.arange(view.from_s, view.to_s + width_s, width_s)
    counts, _ = np.histogram(times_s, bins=bins)
    axes.stairs(counts / width_s, view.minutes(bins), color=GREEN, linewidth=1.2, label=name)
    axes.set_ylabel("rate [1/s]")


def _gaps(axes: Axes, view: View) -> None:
    frames = view.run.can
    for number, charge_point in enumerate(view.rows):
        own = (frames.charge_point == charge_point) & (frames.arbitration_id == CURRENT_ID)
        times_s = frames.time_s[own]
        minutes = view.minutes(times_s[1:])
        name = "since the last 0x300" if number == 0 else None
        axes.plot(minutes, np.diff(times_s), ".", color=GREEN, label=name)
    axes.set_ylabel("gap [s]")


def _state_of_charge(axes: Axes, view: View) -> None:
    _values(axes, view, "state_of_charge_percent", "state of charge", "SoC [%]")


def _limits(axes: Axes, view: View) -> None:
    """Draw what the central system allowed beside what reached the charger."""
    sent = [
        (event.time_s, schedule_limit_a(event))
        for event in view.run.ocpp
        if event.charge_point in view.rows
        and event.kind is Kind.CALL
        and event.action == "SetChargingProfile"
    ]
    minutes = view.minutes(np.array([time_s for time_s, _ in sent] + [view.to_s]))
    limits_a = [limit_a for _, limit_a in sent]
    axes.stairs(limits_a, minutes, baseline=None, color=GREEN, label="limit sent (OCPP)")
    for rows in view.rows.values():
        place = view.minutes(rows["time"])
        axes.step(place, rows["limit_a"], where="post", color=GREY, ls="--", label="limit (CAN)")
    axes.set_ylim(top=(1 + ROOM) * max([_top_a(view), *limits_a]))
    axes.set_ylabel("limit [A]")


def schedule_limit_a(event: OcppEvent) -> float:
    """Give the first limit of the profile that a SetChargingProfile carries, A."""
    schedule = event.payload["csChargingProfiles"]["chargingSchedule"]
    return float(schedule["chargingSchedulePeriod"][0]["limit"])


def _energy(axes: Axes, view: View) -> None:
    _values(axes, view, "meter_energy_wh", "meter's energy", "energy [Wh]")


def _power(axes: Axes, view: View) -> None:
    _values(axes, view, "meter_power_w", "meter's power", "power [W]")


def _values(axes: Axes, view: View, column: str, name: str, unit: str) -> None:
    for number, rows in enumerate(view.rows.values()):
        label = name if number == 0 else None
        axes.step(view.minutes(rows["time"]), rows[column], where="post", color=GREEN, label=label)
    axes.set_ylabel(unit)


#: The others show in the current alone.
_SECOND_PANEL: dict[str, Callable[[Axes, View], None]] = {
    "fleet_oscillation": _sum_of_currents,
    "mass_on_off": _sum_of_currents,
    "profile_manipulation": _limits,
    "heartbeat_flood": _messages,
    "unauthorised_commands": _messages,
    "denial_of_charge": _messages,
    "station_disconnection": _messages,
    "meter_scaling": _power,
    "meter_replay": _energy,
    "session_extension": _state_of_charge,
    "can_suppress": _gaps,
    "can_playback": _gaps,
    "can_masquerade": _gaps,
    "can_flooding": _frames,
    "can_fuzzing": _frames,
}
