"""The plot: what animate() draws, the saved picture, the window, and the ways to end it."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import io
import itertools
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import can
import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest
from conftest import READY_S, Script, StartScript
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import plot_current
from evsim import console
from evsim.bus import open_bus
from evsim.errors import UserError
from evsim.figure_window import Redrawer
from evsim.frames import CURRENT_ID, MeasuredCurrent, SetLimit, encode
from evsim.picture_file import save
from plot_current import Picture, Trace, animate

Image = npt.NDArray[np.float64]
NO_DISPLAY: dict[str, str | None] = {
    "DISPLAY": None,
    "WAYLAND_DISPLAY": None,
    "MPLBACKEND": None,
}
#: Five reversals, and the current ends at 0 A.
FLUCTUATION_A = [0, 100, 0, 100, 0, 100, 0]


def drawn(trace: Trace, now_s: float) -> Picture:
    picture = Picture(Figure(figsize=plot_current.SIZE_IN))
    FigureCanvasAgg(picture.figure)
    animate(picture, trace, now_s)
    picture.figure.canvas.draw()
    return picture


def base_scenario(cycles: int) -> Trace:
    trace = Trace()
    for second, current_a in enumerate([0, 0, 0, 100, 100, 0, 0, 0] * cycles):
        trace.add(second, current_a)
    return trace


def pixels_of(image: Image, colour: str) -> int:
    """How many pixels of `image`, with channels from 0 to 1, are of `colour`."""
    distance = np.abs(image[..., :3] - np.array(to_rgb(colour))).max(axis=-1)
    return int((distance < 0.03).sum())


def saved_image(path: Path) -> Image:
    return np.asarray(matplotlib.image.imread(path), dtype=np.float64)


# ── What is drawn ────────────────────────────────────────────────────────────────────────────


def test_the_base_scenario_shows_its_pulses_and_the_indicator() -> None:
    picture = drawn(base_scenario(3), 24)
    assert list(picture.line.get_ydata()) == [0, 0, 0, 100, 100, 0, 0, 0] * 3  # type: ignore[arg-type]
    assert picture.axes.get_xlim() == (0, 60)
    assert picture.axes.get_ylim() == (0, 110)
    assert picture.value.get_text() == "0 A"
    assert picture.indicator.get_visible()
    assert picture.reason.get_text() == "5 reversals of 5 A or more in 60 s"


def test_the_line_is_blue_with_a_shaded_area_and_the_indicator_red() -> None:
    calm, alarmed = drawn(base_scenario(1), 8), drawn(base_scenario(3), 24)
    images = [np.asarray(p.figure.canvas.buffer_rgba()) / 255 for p in (calm, alarmed)]  # type: ignore[attr-defined]
    assert all(pixels_of(image, plot_current.BLUE) > 500 for image in images)
    assert [pixels_of(image, plot_current.RED) > 2000 for image in images] == [False, True]
    assert pixels_of(images[0], plot_current.RED) == 0
    shade = tuple(1 - 0.18 * (1 - channel) for channel in to_rgb(plot_current.BLUE))
    assert all(pixels_of(image, shade) > 500 for image in images)  # type: ignore[arg-type]


def test_without_an_anomaly_there_is_no_indicator() -> None:
    picture = drawn(base_scenario(1), 8)
    assert not picture.indicator.get_visible()
    assert picture.reason.get_text() == ""


def test_the_window_rolls_and_the_line_enters_it_from_the_left() -> None:
    trace = base_scenario(20)
    picture = drawn(trace, 160)
    assert picture.axes.get_xlim() == (100, 160)
    assert trace.samples[0][0] <= 160 - 60 < trace.samples[3][0]
    assert len(trace.samples) <= 62


def test_the_y_axis_grows_with_the_current_and_shrinks_again() -> None:
    trace = Trace()
    trace.add(0, 300)
    assert drawn(trace, 0).axes.get_ylim()[1] > 300
    trace.add(1, 0)
    trace.add(62, 0)
    trace.add(63, 0)
    assert drawn(trace, 63).axes.get_ylim() == (0, 110)


def test_silence_says_no_data_and_leaves_a_gap() -> None:
    trace = Trace()
    assert drawn(trace, 1).value.get_text() == "– A"
    assert drawn(trace, 3).value.get_text() == "NO DATA"
    trace.add(4, 50)
    assert drawn(trace, 6.9).value.get_text() == "50 A"
    assert drawn(trace, 7).value.get_text() == "NO DATA"
    trace.add(20, 60)
    assert drawn(trace, 20).value.get_text() == "60 A"
    assert [str(current_a) for _, current_a in trace.samples] == ["50", "nan", "60"]


@pytest.mark.parametrize("now_s", [24, 300, 1_000_000])
def test_no_text_covers_another_and_all_is_on_the_picture(now_s: int) -> None:
    trace = Trace()
    for number in range(1200):
        trace.add(now_s - 1.2 + number / 1000, 0xFFFF * (number % 2))
    picture = drawn(trace, now_s)
    assert picture.reason.get_text().startswith("1000 reversals")
    texts = [
        *(text for text in picture.axes.texts if text.get_text()),
        *picture.figure.legends[0].get_texts(),
        *picture.axes.get_xticklabels(),
        *picture.axes.get_yticklabels(),
        picture.axes.yaxis.label,
    ]
    boxes = [(text.get_bbox_patch() or text).get_window_extent() for text in texts]
    whole = picture.figure.bbox
    for text, box in zip(texts, boxes, strict=True):
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1, text
    for (i, one), (j, other) in itertools.combinations(enumerate(boxes), 2):
        assert not one.overlaps(other), (texts[i], texts[j])


def test_memory_is_bounded_in_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot_current, "MOST_SAMPLES", 1000)
    trace = Trace()
    for number in range(5000):
        trace.add(number / 9000, number % 100)
    assert len(trace.samples) == 1000
    drawn(trace, 1)


def test_edited_constants_take_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot_current, "WINDOW_S", 20.0)
    monkeypatch.setattr(plot_current, "TOP_A", 50.0)
    monkeypatch.setattr(plot_current, "REVERSALS", 4)
    monkeypatch.setattr(plot_current, "QUICK_WINDOW_S", 7.0)
    picture = drawn(base_scenario(3), 20)
    assert picture.axes.get_xlim() == (0, 20)
    assert picture.axes.get_ylim()[1] == pytest.approx(105)
    assert picture.reason.get_text() == "4 reversals of 5 A or more in 60 s"


# ── The verdict ──────────────────────────────────────────────────────────────────────────────


def test_each_reversal_that_counts_is_marked_where_the_current_turned() -> None:
    picture = drawn(base_scenario(3), 24)
    times_s: Any = picture.reversals.get_xdata()
    currents_a: Any = picture.reversals.get_ydata()
    marks = list(zip(times_s, currents_a, strict=True))
    # The first rise from 0 A reverses nothing; of a plateau its last sample is the turning point.
    assert marks == [(4, 100), (10, 0), (12, 100), (18, 0), (20, 100)]
    assert not [*drawn(base_scenario(1), 200).reversals.get_xdata()]  # type: ignore[misc]


def test_only_reversals_that_are_on_the_plot_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot_current, "WINDOW_S", 10.0)
    picture = drawn(base_scenario(3), 24)
    assert [*picture.reversals.get_xdata()] == [18, 20]  # type: ignore[misc]
    assert picture.reason.get_text() == "5 reversals of 5 A or more in 60 s"


def shaded(picture: Picture) -> list[tuple[float, float]]:
    """From when to when the alarm's span is shaded."""
    vertices = np.asarray(picture.spans.get_paths()[0].vertices)
    ups = sorted({float(x) for x, y in vertices if y == 1})
    return list(zip(ups[::2], ups[1::2], strict=True))


def test_the_span_of_an_alarm_is_shaded_from_its_first_sample_to_its_end() -> None:
    trace = base_scenario(3)  # the third reversal is found in the sample at 13 s
    assert shaded(drawn(trace, 24)) == [(13, 24)]
    for second in range(24, 100):
        trace.add(second, 0)
    # The last three, found until 21 s, leave the window at 81 s.
    assert shaded(drawn(trace, 100)) == [(40, 81)]
    assert drawn(trace, 200).spans.get_paths() == []


def test_the_last_alarms_are_listed_with_time_and_reason() -> None:
    began_at = datetime(2026, 3, 1, 12, 0, 0).astimezone()
    trace = Trace(began_at=began_at)
    for start_s in (0, 100, 200, 300):
        for second, current_a in enumerate([0, 0, 0, 100, 100, 0, 0, 0] * 3 + [0] * 70):
            trace.add(start_s + second, current_a)
    clocks, times, reasons = (column.get_text() for column in drawn(trace, 399).listed)
    assert clocks.splitlines() == ["12:05:13", "12:03:33", "12:01:53"]
    assert times.splitlines() == ["313 s to 381 s", "213 s to 281 s", "113 s to 181 s"]
    assert reasons.splitlines() == ["3 reversals of 5 A or more in 12 s"] * 3
    assert drawn(Trace(), 1).listed[0].get_text() == "none so far"
    going_on = drawn(base_scenario(3), 24).listed[1].get_text()
    assert going_on == "13 s to now"


@pytest.mark.parametrize("name", plot_current.DETECTORS_OF_CURRENT)
def test_every_detector_of_the_plot_can_alarm(name: str) -> None:
    currents_a = [0, 0, 0, 100, 100, 0, 0, 0] * 12
    if name == "plateau":
        currents_a = [30, 31] * 5 + [31] * 160  # noise, then none
    trace = Trace(name)
    for second, current_a in enumerate(currents_a):
        trace.add(second, current_a)
    picture = Picture(Figure(figsize=plot_current.SIZE_IN), name)
    FigureCanvasAgg(picture.figure)
    animate(picture, trace, len(currents_a))
    assert picture.indicator.get_visible()
    assert picture.reason.get_text()
    assert f"Last alarms of {name}" in [text.get_text() for text in picture.axes.texts]
    marks = [*picture.reversals.get_xdata()]  # type: ignore[misc]
    assert bool(marks) == (name == "turning_points"), "others count something else"


def test_a_detector_that_needs_more_than_the_current_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ending:
        plot_current.parse_arguments(["--detector", "command_rate"])
    assert ending.value.code == 2
    assert "turning_points" in capsys.readouterr().err


# ── Redrawing ────────────────────────────────────────────────────────────────────────────────


class CountingCanvas(FigureCanvasAgg):
    """Counts how often the whole figure is drawn."""

    supports_blit = True
    whole = 0

    def draw(self) -> None:
        self.whole += 1
        super().draw()  # type: ignore[no-untyped-call]

    def blit(self, bbox: object = None) -> None:
        """Nothing to show it on."""


def test_redrawing_what_changed_gives_the_picture_of_a_whole_drawing() -> None:
    picture = Picture(Figure(figsize=plot_current.SIZE_IN))
    canvas: Any = CountingCanvas(picture.figure)
    redrawer = Redrawer(picture.figure, picture.changing)
    trace = Trace(began_at=datetime(2026, 3, 1, 12, 0, 0).astimezone())
    for second, current_a in enumerate([0, 0, 0, 100, 100, 0, 0, 0] * 20):
        trace.add(second, current_a)
        animate(picture, trace, second + 0.5)
        redrawer.redraw()
        if second % 23 == 0:
            shown = np.asarray(canvas.buffer_rgba()).copy()
            whole = np.asarray(drawn(trace, second + 0.5).figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
            differing = (np.abs(shown.astype(int) - whole).max(axis=-1) > 1).sum()
            assert differing == 0, f"at {second} s"
    assert canvas.whole <= 2, "the whole figure is drawn at the start, not for each sample"


def test_a_change_of_anything_else_draws_the_whole() -> None:
    picture = Picture(Figure(figsize=plot_current.SIZE_IN))
    canvas: Any = CountingCanvas(picture.figure)
    redrawer = Redrawer(picture.figure, picture.changing)
    trace = base_scenario(1)
    for now_s, current_a in [(8, 0), (9, 300), (10, 300)]:
        trace.add(now_s, current_a)  # 300 A: another y axis
        animate(picture, trace, now_s)
        redrawer.redraw()
    assert canvas.whole == 2
    assert picture.axes.get_ylim() == (0, 315)


# ── The saved picture ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "beginning"), [("p.png", b"\x89PNG"), ("p.PDF", b"%PDF"), ("p.svg", b"<?xml")]
)
def test_save_writes_each_format(tmp_path: Path, name: str, beginning: bytes) -> None:
    save(drawn(base_scenario(3), 24).figure, tmp_path / name, dpi=100)
    assert (tmp_path / name).read_bytes().startswith(beginning)
    assert os.listdir(tmp_path) == [name]


def test_an_old_picture_is_replaced_at_once_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "p.svg"
    path.write_bytes(b"old")
    with path.open("rb") as viewer:
        save(drawn(base_scenario(3), 24).figure, path, dpi=100)
        assert viewer.read() == b"old"
    assert path.read_bytes().startswith(b"<?xml")


def test_a_full_disk_is_one_clear_line_and_leaves_the_old_picture(tmp_path: Path) -> None:
    figure, path = drawn(base_scenario(3), 24).figure, tmp_path / "p.png"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot save .*p\.png"):
            save(figure, path, dpi=100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["p.png"]


def test_a_name_with_another_ending_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        plot_current.parse_arguments(["--save", "plot.gif"])
    assert ending.value.code == 2
    assert "plot.gif does not end in .png, .pdf, .svg" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing/p.png", "file/p.png", "directory.png"])
def test_what_cannot_be_written_is_known_at_the_start(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], can_channel: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory.png").mkdir()
    options = options_for(can_channel, "--save", str(tmp_path / name))
    assert console.run(lambda: plot_current.main(options)) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert f"cannot save {tmp_path / name}" in output.err
    assert sorted(os.listdir(tmp_path)) == ["directory.png", "file"]


def options_for(can_channel: str, *arguments: str) -> argparse.Namespace:
    bus_arguments = ["--can-interface", "evsim", "--can-channel", can_channel]
    return plot_current.parse_arguments([*bus_arguments, *arguments])


class UnpluggedBus(can.BusABC):
    """A bus whose adapter is gone: ready to be read for ever, and each reading fails."""

    def __init__(self) -> None:
        super().__init__(channel="unplugged")
        self.channel_info = "unplugged"
        self._ours, self._theirs = socket.socketpair()
        self._theirs.send(b"x")

    def fileno(self) -> int:
        return self._ours.fileno()

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        raise can.CanOperationError("no such device")

    def send(self, msg: can.Message, timeout: float | None = None) -> None:
        raise NotImplementedError

    def shutdown(self) -> None:
        super().shutdown()
        self._ours.close()
        self._theirs.close()


def test_a_bus_that_fails_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(plot_current, "open_bus", lambda *_: UnpluggedBus())
    options = options_for("unused", "--save", str(tmp_path / "p.png"))
    assert console.run(lambda: plot_current.main(options)) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot read CAN bus unplugged any more: no such device" in error
    assert (tmp_path / "p.png").exists(), "what was heard until then is worth its picture"


def test_only_0x300_is_plotted_and_faulty_frames_are_said_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    can_channel: str,
    tmp_path: Path,
) -> None:
    traces: list[Trace] = []

    class KeptTrace(Trace):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            traces.append(self)

    def send_all() -> None:
        with open_bus("evsim", can_channel) as bus:
            for _ in range(3):
                bus.send(can.Message(arbitration_id=CURRENT_ID, data=[1], is_extended_id=False))
                bus.send(encode(SetLimit(100)))
                bus.send(encode(MeasuredCurrent(7)))

    async def plot_and_send() -> None:
        asyncio.get_running_loop().call_later(0.2, send_all)
        await plot_current.main(options)

    monkeypatch.setattr(plot_current, "Trace", KeptTrace)
    options = options_for(can_channel, "--save", str(tmp_path / "p.svg"), "--duration", "0.5")
    assert console.run(plot_and_send) == 0
    assert [current_a for _, current_a in traces[0].samples] == [7, 7, 7]
    assert caplog.text.count("ignoring a CAN frame") == 1


# ── The program ──────────────────────────────────────────────────────────────────────────────


def fluctuate(can_channel: str) -> None:
    with open_bus("evsim", can_channel) as bus:
        for current_a in FLUCTUATION_A:
            bus.send(encode(MeasuredCurrent(current_a)))


@pytest.mark.processes
def test_save_with_a_duration_needs_no_display(
    start_script: StartScript, can_channel: str, tmp_path: Path
) -> None:
    path = tmp_path / "a plot's picture.png"
    plot = start_script("plot_current.py", "--save", str(path), "--duration", "4", env=NO_DISPLAY)
    plot.wait_for("Plotting CAN frame 0x300")
    fluctuate(can_channel)
    assert "reversals of 5 A or more" in plot.wait_for("ANOMALY DETECTED")
    assert plot.wait() == 0
    assert plot.output.count("Plotting CAN frame 0x300") == 1
    assert plot.output.count("ANOMALY DETECTED") == 1
    assert pixels_of(saved_image(path), plot_current.RED) > 2000
    assert pixels_of(saved_image(path), plot_current.BLUE) > 500


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_save_without_a_duration_saves_when_it_is_stopped(
    start_script: StartScript, can_channel: str, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "plot.png"
    plot = start_script("plot_current.py", "--save", str(path), env=NO_DISPLAY)
    plot.wait_for("Plotting CAN frame 0x300")
    fluctuate(can_channel)
    plot.wait_for("ANOMALY DETECTED")
    plot.send_signal(number)
    assert plot.wait() == 0
    assert plot.wait_for("saved")
    assert pixels_of(saved_image(path), plot_current.RED) > 2000


@pytest.mark.processes
@pytest.mark.parametrize("backend", [None, "tkagg", "agg"])
def test_without_a_display_it_serves_a_page_and_says_where(
    start_script: StartScript, backend: str | None
) -> None:
    environment = {**NO_DISPLAY, "MPLBACKEND": backend}
    plot = start_script("plot_current.py", "--web-port", "0", env=environment)
    plot.wait_for("on http://127.0.0.1:")
    plot.send_signal(signal.SIGINT)
    assert plot.wait() == 0

    plot = start_script("plot_current.py", "--duration", "0.1", env=environment)
    assert plot.wait() == 0
    assert "no window can be opened here" in plot.lines[0]
    assert "--save plot.png" in plot.lines[0]
    assert "Plotting CAN frame 0x300" in plot.lines[1]
    assert "on http://127.0.0.1:" in plot.lines[1]


# ── The window ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def display() -> Iterator[str]:
    """A display of its own: Xvfb chooses a free number."""
    reading, writing = os.pipe()
    xvfb = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(writing)
        with os.fdopen(reading) as numbers:
            number = numbers.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
    finally:
        xvfb.terminate()
        xvfb.wait()


def screen(display: str) -> Image:
    """The picture on the display, taken by ImageMagick."""
    picture = subprocess.run(
        ["import", "-display", display, "-window", "root", "png:-"],
        check=True,
        capture_output=True,
        timeout=READY_S,
    )
    return np.asarray(matplotlib.image.imread(io.BytesIO(picture.stdout)), dtype=np.float64)


def wait_for_picture(display: str, colour: str, pixels: int) -> Image:
    """Look at the display until there are more than `pixels` of `colour` on it."""
    given_up_s = time.monotonic() + READY_S
    while pixels_of(image := screen(display), colour) <= pixels:
        found = pixels_of(image, colour)
        assert time.monotonic() < given_up_s, f"{found} pixels of {colour}, not {pixels}"
    return image


class ClientMessage(ctypes.Structure):
    """Xlib's XClientMessageEvent, padded to the size of an XEvent."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 24),
    ]


def close_window(display: str, title: str) -> None:
    """Ask the window `title` to close, as the × of a window manager does (ICCCM 4.2.8.1)."""
    found = subprocess.run(
        ["xdotool", "search", "--name", f"^{title}$"],
        env={**os.environ, "DISPLAY": display},
        check=True,
        capture_output=True,
        text=True,
    )
    window = int(found.stdout.split()[0])
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    connection = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    protocols, delete = (
        x11.XInternAtom(connection, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
    )
    client_message = 33
    event = ClientMessage(
        type=client_message, window=window, message_type=protocols, format=32, data=(delete,)
    )
    assert x11.XSendEvent(connection, ctypes.c_ulong(window), 0, 0, ctypes.byref(event))
    x11.XCloseDisplay(connection)


def start_window(start_script: StartScript, display: str, *arguments: str) -> Script:
    environment = {**NO_DISPLAY, "DISPLAY": display}
    plot = start_script("plot_current.py", *arguments, env=environment)
    plot.wait_for("Plotting CAN frame 0x300")
    return plot


@pytest.mark.display
@pytest.mark.processes
def test_the_window_shows_the_indicator_and_closing_it_ends_the_program(
    start_script: StartScript, can_channel: str, display: str
) -> None:
    plot = start_window(start_script, display)
    calm = wait_for_picture(display, "white", 300_000)
    assert pixels_of(calm, plot_current.RED) == 0
    fluctuate(can_channel)
    plot.wait_for("ANOMALY DETECTED")
    alarmed = wait_for_picture(display, plot_current.RED, 2000)
    assert pixels_of(alarmed, plot_current.BLUE) > 500
    close_window(display, "Charging current")
    assert plot.wait() == 0
    assert plot.output.count("\n") == 1, "the ready line and the alarm"


@pytest.mark.display
@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_window_quietly_within_a_second(
    start_script: StartScript, display: str, number: signal.Signals
) -> None:
    plot = start_window(start_script, display)
    plot.send_signal(number)
    assert plot.wait(timeout_s=3) == 0  # one second, and two for a busy machine
    assert len(plot.lines) == 1


@pytest.mark.display
@pytest.mark.processes
def test_the_window_closes_when_the_duration_is_over(
    start_script: StartScript, display: str
) -> None:
    plot = start_window(start_script, display, "--duration", "0.5")
    assert plot.wait() == 0
