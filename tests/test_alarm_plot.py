"""The picture of a log: what it shows, and that it does not grow with the log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evsim.events import CanEvent, Direction, Event, Kind, OcppEvent
from evsim.frames import MeasuredCurrent, SetLimit, encode
from evsim.picture_file import save
from evsim.scoring.alarm_plot import MOST_DRAWN, MOST_LISTED, MOST_POINTS, AlarmPlot, Curve
from evsim.scoring.running import Alarm

START_S = 1_767_225_600.0


def current(at_s: float, current_a: int, charge_point: str = "CP_1") -> CanEvent:
    return CanEvent(START_S + at_s, charge_point, encode(MeasuredCurrent(current_a)))


def command(at_s: float, action: str) -> OcppEvent:
    return OcppEvent(
        START_S + at_s, "CP_1", Direction.TO_CHARGE_POINT, Kind.CALL, "1", action, {}
    )  # fmt: skip


def alarm(from_s: float, to_s: float, detector: str = "combined", reason: str = "r") -> Alarm:
    return Alarm(detector, "CP_1", START_S + from_s, START_S + to_s, reason)


def plot_of(*events: Event) -> AlarmPlot:
    plot = AlarmPlot()
    for event in events:
        plot.observe(event)
    return plot


def test_a_long_curve_keeps_its_extremes_in_few_points() -> None:
    curve = Curve()
    for at_s in range(200_000):
        curve.add(float(at_s), 100.0 if at_s == 77_777 else 50.0)
    points = curve.points()
    assert MOST_POINTS / 2 < len(curve) <= MOST_POINTS
    assert len(points) <= 3 * MOST_POINTS
    assert (77_777.0, 100.0) in points
    assert points == sorted(points)
    assert points[-1].time_s == 199_999


def test_a_short_curve_is_kept_whole() -> None:
    curve = Curve()
    for at_s in range(100):
        curve.add(float(at_s), float(at_s % 7))
    assert curve.points() == [(float(at_s), float(at_s % 7)) for at_s in range(100)]


def test_current_commands_and_alarms_are_where_they_were() -> None:
    plot = plot_of(
        CanEvent(START_S, "CP_1", encode(SetLimit(80))),
        *(current(at_s, 60) for at_s in range(10)),
        command(4.5, "RemoteStopTransaction"),
        command(5.5, "Reset"),
        *(current(at_s, 0) for at_s in range(30, 40)),
    )
    figure = plot.draw([alarm(5, 8), alarm(7, 9, "session")], "theirs.log")
    currents, commands, alarms = figure.axes
    labels = [text.get_text() for text in currents.get_legend().get_texts()]  # type: ignore[union-attr]
    assert labels == ["limit (CAN)", "current of CP_1 (CAN)"]
    limit, line = currents.lines
    assert np.asarray(limit.get_ydata()).tolist() == [80, 80]
    current_a = np.asarray(line.get_ydata())
    assert current_a[:10].tolist() == [60] * 10
    assert np.isnan(current_a).nonzero()[0].tolist() == [10]  # silence from 9 s to 30 s
    assert [text.get_text() for text in commands.get_yticklabels()] == [
        "RemoteStopTransaction",
        "other commands",
    ]
    assert [np.asarray(marks.get_xdata()).tolist() for marks in commands.lines] == [[4.5], [5.5]]
    assert [text.get_text() for text in alarms.get_yticklabels()] == ["combined", "session"]
    (shade,) = [patch for patch in currents.patches if patch.get_alpha() == 0.1]
    assert shade.get_x() == pytest.approx(5)  # type: ignore[attr-defined]
    assert shade.get_width() == pytest.approx(4)  # type: ignore[attr-defined]
    assert "2026-01-01 00:00:00 UTC [s]" in alarms.get_xlabel()
    assert [text.get_text() for text in figure.texts][:2] == [
        "2 alarms:",
        "00:00:05 CP_1 combined: r",
    ]


def test_many_alarms_and_charge_points_fit(tmp_path: Path) -> None:
    plot = plot_of(*(current(n, 10, f"CP_{n % 40}") for n in range(400)))
    alarms = [alarm(10 * n, 10 * n + 5, reason="$1 $ " + 90 * "wo rd ") for n in range(30)]
    figure = plot.draw(alarms, "theirs.log")
    assert len(figure.texts) == 1 + MOST_LISTED
    assert len(figure.axes[0].lines) == MOST_DRAWN
    label = f"currents of the first {MOST_DRAWN} charge points (CAN)"
    assert figure.axes[0].get_legend_handles_labels()[1] == [label]
    save(figure, tmp_path / "a.png", 50)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_log_without_current_or_alarm_is_drawn_too(tmp_path: Path) -> None:
    figure = plot_of(command(0, "Reset")).draw([], "theirs.jsonl")
    assert [text.get_text() for text in figure.axes[0].texts] == ["no current in this log"]
    save(figure, tmp_path / "a.svg", 50)
