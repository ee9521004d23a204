"""Several processes record into one directory, may be killed, and what they left becomes a run."""

from __future__ import annotations

import filecmp
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import can
import pytest
from conftest import ROOT
from recorded_run import LABEL, RECEIVED, START_S, can_part, ocpp_part, play, record_run

from evsim.errors import UserError
from evsim.events import CanEvent
from evsim.frames import MeasuredCurrent, encode
from evsim.labels import Label
from evsim.recording import LiveRecorder, RecordingError, finish_live, load, read_events
from evsim.recording.__main__ import main

DERIVED = ["series.csv", "trace.jsonl", "labels.csv", "charger.dbc", "can.log", "ocpp.jsonl"]


def record_live(directory: Path) -> None:
    """Record the run as two processes would."""
    with LiveRecorder(directory, ocpp=True) as csms, LiveRecorder(directory, can=True) as cp:
        play(ocpp_part(csms), can_part(cp))
        csms.label(LABEL)


def test_the_same_events_make_the_same_files_as_in_the_lab(tmp_path: Path) -> None:
    record_live(tmp_path / "live")
    finish_live(tmp_path / "live")
    record_run(tmp_path / "lab")
    assert filecmp.cmpfiles(tmp_path / "live", tmp_path / "lab", DERIVED, shallow=False) == (
        DERIVED,
        [],
        [],
    )
    info = load(tmp_path / "live").info
    assert info["live"] is True
    assert info["anomaly"] == "can_drift"
    assert info["charge_points"] == ["CP_1"]
    assert info["duration_s"] == 7.15
    assert {"python", "python-can", "ocpp"} <= info["versions"].keys()


# ── Processes ────────────────────────────────────────────────────────────────────────────────

#: Records until it is killed, and says how far it has come.
ENDLESS = """
import itertools, sys
sys.path[:0] = [{tests!r}]
import can
from recorded_run import START_S
from evsim.recording import LiveRecorder

what, directory = sys.argv[1:]
with LiveRecorder(directory, **{{what: True}}) as recorder:
    for number in itertools.count():
        time_s = START_S + number / 1000
        if what == "can":
            message = can.Message(
                arbitration_id=0x300, is_extended_id=False, data=(number & 0xFF, 0)
            )
            recorder.can("CP_1", message, time_s)
        else:
            recorder.ocpp("CP_1", False, [2, str(number), "Heartbeat", {{}}], time_s)
        if number % 100 == 99:
            print(number + 1, flush=True)
"""
#: Appends labels of its own name.
LABELLER = """
import sys
from evsim.labels import Label
from evsim.recording import LiveRecorder

directory, name = sys.argv[1:]
sys.stdin.readline()
recorder = LiveRecorder(directory)
for number in range(200):
    recorder.label(Label(name, "can", "CP_1", number, number + 1, None, None, "low"))
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_record_into_one_directory_and_are_killed(tmp_path: Path) -> None:
    program = ENDLESS.format(tests=str(ROOT / "tests"))
    counts: dict[str, int] = {}
    with start(program, "can", str(tmp_path)) as one, start(program, "ocpp", str(tmp_path)) as two:
        for name, process in (("can", one), ("ocpp", two)):
            assert process.stdout is not None
            for _ in range(5):
                counts[name] = int(process.stdout.readline())
        for process in (one, two):
            process.send_signal(signal.SIGKILL)
    finish_live(tmp_path)
    events = list(read_events(tmp_path))
    frames = [event for event in events if isinstance(event, CanEvent)]
    assert len(frames) >= counts["can"] == 500
    assert len(events) - len(frames) >= counts["ocpp"] == 500
    assert [event.message.data[0] for event in frames[:300]] == [n & 0xFF for n in range(300)]
    assert [event[0] for event in events] == sorted(event[0] for event in events)


def test_labels_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    processes = [start(LABELLER, str(tmp_path), name) for name in names]
    for process in processes:
        process.communicate("go\n")
        assert process.returncode == 0
    (tmp_path / "can.log").touch()
    finish_live(tmp_path)
    labels = load(tmp_path).labels
    for name in names:
        assert [x.t_start_s for x in labels if x.anomaly == name] == list(range(200))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_each_line_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with LiveRecorder(tmp_path, can=True, ocpp=True) as recorder:
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S)
        recorder.ocpp("CP_1", RECEIVED, [2, "a", "Heartbeat", {}], START_S)
        recorder.link("CP_1", "disconnected", "", START_S)
        assert (tmp_path / "can.log").read_text().count("\n") == 1
        assert (tmp_path / "ocpp.jsonl").read_text().count("\n") == 2


# ── What is left behind ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["can.log", "ocpp.jsonl", "labels.csv"])
def test_a_torn_last_line_is_cut_off_with_a_warning(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    record_live(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole + b"(1767225607.30")
    with caplog.at_level(logging.WARNING):
        finish_live(tmp_path)
    assert f"{name}: the last line was torn (14 bytes); it is cut off" in caplog.text
    assert (tmp_path / name).read_bytes() == whole
    assert len(load(tmp_path).can) == 8


def test_a_file_of_nothing_but_a_torn_line_is_empty(tmp_path: Path) -> None:
    record_live(tmp_path)
    (tmp_path / "can.log").write_bytes(b"(" * 200_000)
    finish_live(tmp_path)
    assert len(load(tmp_path).can) == 0


def test_other_damage_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    record_live(tmp_path)
    path = tmp_path / "can.log"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:3], "rubbish\n", *lines[3:]]))
    with pytest.raises(RecordingError, match=r"can\.log, line 4: "):
        finish_live(tmp_path)
    assert not (tmp_path / "run.json").exists()
    path.write_text("".join(lines))
    finish_live(tmp_path)  # over what the first one left
    assert len(load(tmp_path).can) == 8


def test_a_recording_of_one_kind_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LiveRecorder(tmp_path, can=True) as recorder:
        play(can_part(recorder))
    with caplog.at_level(logging.WARNING):
        finish_live(tmp_path)
    assert "there is no ocpp.jsonl" in caplog.text
    run = load(tmp_path)
    assert (len(run.can), run.ocpp, run.labels) == (8, [], [])


def test_a_clock_that_leaps_is_an_error(tmp_path: Path) -> None:
    with LiveRecorder(tmp_path, can=True) as recorder:
        recorder.can("CP_1", encode(MeasuredCurrent(1)), 10.0)
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S)
    with pytest.raises(RecordingError, match="the time jumps"):
        finish_live(tmp_path)


def test_a_clock_that_is_set_back_stands_still(tmp_path: Path) -> None:
    with LiveRecorder(tmp_path, can=True) as recorder:
        for time_s in (START_S + 5, START_S, START_S + 6, float("nan")):
            recorder.can("CP_1", encode(MeasuredCurrent(1)), time_s)
    finish_live(tmp_path)
    assert (load(tmp_path).can.time_s - START_S).tolist() == [5, 5, 6, 6]


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────


def test_two_recordings_do_not_mix(tmp_path: Path) -> None:
    with LiveRecorder(tmp_path, can=True) as recorder:
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S)
        with pytest.raises(UserError, match=r"\(can\.log\); choose another directory"):
            LiveRecorder(tmp_path, can=True)
        LiveRecorder(tmp_path, ocpp=True).close()  # the other process of the same recording
    assert (tmp_path / "can.log").read_text().count("\n") == 1
    finish_live(tmp_path)
    (tmp_path / "can.log").unlink()
    with pytest.raises(UserError, match=r"\(run\.json\); choose another directory"):
        LiveRecorder(tmp_path, can=True)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        LiveRecorder(tmp_path / "file" / "run", can=True)


def test_a_finished_run_is_not_finished_again(tmp_path: Path) -> None:
    record_live(tmp_path)
    finish_live(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UserError, match="finished already"):
        finish_live(tmp_path)
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere", "no such directory"), ("file", "no directory"), ("", "neither can.log nor ocpp")],
)
def test_what_is_no_live_recording(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match=words):
        finish_live(tmp_path / name)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_live(tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "is a whole run now: 7.15 s of CP_1" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "finished already" in error
    assert error.count("\n") == 1


def test_the_command_line_as_a_program(tmp_path: Path) -> None:
    record_live(tmp_path)
    program = [sys.executable, "-m", "evsim.recording", str(tmp_path)]
    done = subprocess.run(
        program, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    assert "whole run" in done.stdout
    assert json.loads((tmp_path / "run.json").read_text())["complete"] is True


def test_labels_can_be_written_before_anything_else(tmp_path: Path) -> None:
    recorder = LiveRecorder(tmp_path / "run")
    recorder.label(Label("a", "ocpp", "CP_1", 1.0, 2.0, None, None, "high"))
    assert (tmp_path / "run" / "labels.csv").read_text().splitlines()[1].startswith("a,ocpp,")
    with LiveRecorder(tmp_path / "run", can=True) as cp:
        cp.can("CP_1", can.Message(is_error_frame=True), START_S)
    finish_live(tmp_path / "run")
    assert len(load(tmp_path / "run").labels) == 1
