"""detect.py: recordings of ours and of others, live, and scores of a set."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import can
import pytest
from conftest import ROOT, StartScript

from evsim.frames import MeasuredCurrent, encode
from evsim.lab.run_spec import RunSpec
from simulate import simulate

SPEC = RunSpec(seed=3001, duration_s=400, anomaly="unauthorised_commands", severity="low")  # type: ignore[arg-type]


def detect(*arguments: object, code: int) -> str:
    """Run detect.py to its end; give what it wrote."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "detect.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("scored")
    simulate(SPEC, directory / "runs" / "run_3001")
    simulate(replace(SPEC, anomaly=None, seed=3002), directory / "runs" / "run_3002")
    simulate(replace(SPEC, anomaly=None, seed=1001), directory / "runs" / "run_1001")
    simulate(replace(SPEC, anomaly=None, seed=2001), directory / "runs" / "run_2001")
    return directory


@pytest.mark.processes
def test_a_recording_with_an_anomaly_is_told_and_ends_with_3(small_set: Path) -> None:
    text = detect("run", small_set / "runs" / "run_3001", code=3)
    assert "session: a transaction ends with reason Remote; no stop in 30 s" in text
    assert text.startswith("2026-01-01 00:0")


@pytest.mark.processes
def test_a_recording_is_drawn_or_it_is_told_at_once_that_it_cannot_be(
    small_set: Path, tmp_path: Path
) -> None:
    run = small_set / "runs" / "run_3001"
    assert "a.png" in detect("run", run, "--plot", tmp_path / "a.png", code=3)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    text = detect("run", run, "--plot", tmp_path / "no" / "a.png", code=1)
    assert "cannot save" in text
    assert "session" not in text
    assert "does not end in .png" in detect("run", run, "--plot", "a.gif", code=2)


@pytest.mark.processes
def test_a_benign_recording_ends_with_0_and_without_a_word(small_set: Path) -> None:
    assert detect("run", small_set / "runs" / "run_3002", code=0) == ""


@pytest.mark.processes
def test_the_candump_log_of_somebody_else_is_read(tmp_path: Path) -> None:
    path = tmp_path / "theirs.log"
    with can.CanutilsLogWriter(path) as writer:
        for at_s in range(60):
            message = encode(MeasuredCurrent(100 if at_s % 8 in (4, 5) else 0))
            message.timestamp, message.channel = 1e9 + at_s, "can0"
            writer(message)
    text = detect("run", path, "--detector", "turning_points", code=3)
    assert "can0  turning_points: 3 reversals of 5 A or more in 12 s" in text


@pytest.mark.processes
def test_the_ocpp_log_of_somebody_else_is_read(tmp_path: Path) -> None:
    """Two cycles of the base scenario, as another back end may have logged them."""
    path = tmp_path / "messages.jsonl"
    with path.open("w") as file:
        for number in range(8):
            action = "SetChargingProfile" if number % 2 else "RemoteStartTransaction"
            line = {
                "timestamp": f"2026-01-01T00:00:{10 + number}.5Z",
                "chargePointId": "DE*ABC*1",
                "direction": "out",
                "message": [2, str(number), action, {}],
            }
            file.write(json.dumps(line) + "\n")
    text = detect("run", path, "--detector", "command_rate", code=3)
    assert text == "2026-01-01 00:00:18  DE*ABC*1  command_rate: 8 commands in 20 s\n"


@pytest.mark.processes
def test_a_runs_files_alone_are_the_run(small_set: Path) -> None:
    run = small_set / "runs" / "run_3001"
    files = [run / "can.log", run / "ocpp.jsonl"]
    assert detect("run", *files, code=3) == detect("run", run, code=3)


@pytest.mark.processes
def test_logs_that_nobody_is_in_together_are_told(small_set: Path, tmp_path: Path) -> None:
    run, path = small_set / "runs" / "run_3002", tmp_path / "can.log"
    path.write_text((run / "can.log").read_text().replace(" CP_1 ", " can0 "))
    files = [path, run / "ocpp.jsonl"]
    assert "--charge-point can0=CP_1 says whose" in detect("run", *files, code=0)
    assert detect("run", *files, "--charge-point", "can0=CP_1", code=0) == ""
    assert detect("run", *files, "--charge-point", "CP_1", code=0) == ""
    assert "is no ID and no CHANNEL=ID" in detect("run", path, "--charge-point", "=X", code=2)


@pytest.mark.processes
def test_unknown_ids_are_an_alarm_that_names_one(tmp_path: Path) -> None:
    path = tmp_path / "theirs.log"
    path.write_text("".join(f"({1000 + at_s}.5) can0 7A1#0102\n" for at_s in range(5)))
    words = "id or length that is not the protocol's, the last with id 0x7A1"
    assert words in detect("run", path, code=3)


@pytest.mark.processes
def test_a_gap_of_days_is_told_and_both_sides_are_judged(tmp_path: Path) -> None:
    path = tmp_path / "theirs.log"
    with path.open("w") as file:
        for at_s in [*range(60), *range(400_000, 400_060)]:
            data = "6400" if at_s % 8 in (4, 5) else "0000"
            file.write(f"({1000 + at_s}.0) can0 300#{data}\n")
    text = detect("run", path, "--detector", "turning_points", code=3)
    assert "the events leap by 111 h: the detectors begin anew" in text
    assert text.count("can0  turning_points: 3 reversals") == 2


@pytest.mark.processes
def test_time_that_leaps_back_is_told_and_the_rest_is_judged(tmp_path: Path) -> None:
    """Alarms end at the leap, and a second swing raises a second one."""
    path = tmp_path / "theirs.log"
    with path.open("w") as file:
        for begin_s in (5000, 1000):
            for at_s in range(60):
                file.write(
                    f"({begin_s + at_s}.0) can0 300#{'6400' if at_s % 8 in (4, 5) else '0000'}\n"
                )
    text = detect("run", path, "--detector", "turning_points", code=3)
    assert "the events leap back by 4059.0 s: the detectors begin anew" in text
    assert text.count("can0  turning_points: 3 reversals") == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file"),
        ("", "there is no event in it"),
        ("\n\n", "there is no event in it"),
        ("x\n", "line 1: expected a run's directory, a candump log, OCPP messages"),
        ("(1.0) can0 300#6400\n(2.0) can0 300#64\n\n(3.0) can0 300#640", "line 4: the last line"),
        ("(1.0) can0 300#640\n", "line 1: expected a line of candump -l"),
        ('{"time": NaN, "message": []}\n', "line 1: not JSON (NaN is no JSON number)"),
        ("\0\1\2\n", "line 1: a NUL byte, so this is no text log"),
    ],
)
@pytest.mark.processes
def test_what_is_no_recording_is_one_line(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "theirs.log"
    if content is not None:
        path.write_text(content)
    assert words in detect("run", path, code=0 if "the last line" in words else 1)


@pytest.mark.processes
def test_wrong_arguments_are_told(tmp_path: Path) -> None:
    assert "no detector 'oracle'" in detect("run", tmp_path, "--detector", "oracle", code=1)
    assert "there is no run.json" in detect("run", tmp_path, code=1)
    assert "is no set" in detect("score", tmp_path, code=1)
    detect(code=2)


def assert_stands_alone(page: str, *, pictures: int) -> None:
    """Check that a page needs no other file and has so many pictures."""
    sources = re.findall(r'<img src="([^"]*)"', page)
    assert len(sources) == pictures
    for source in sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    assert "http" not in page
    assert "<script" not in page


@pytest.mark.processes
def test_learned_detectors_are_trained_and_scored_with_the_others(
    small_set: Path, tmp_path: Path
) -> None:
    text = detect(
        "score", small_set, "--detector", "isolation_forest", "--detector", "session",
        "--out", tmp_path / "s", code=0,
    )  # fmt: skip
    assert "training isolation_forest on benign runs of group 1" in text
    figures = json.loads((tmp_path / "s" / "scores.json").read_text("utf-8"))
    assert [*figures] == ["isolation_forest", "session"]
    assert figures["isolation_forest"]["us_per_event"] > 0
    for verb in ("run", "live"):
        arguments = [small_set] if verb == "run" else []
        told = detect(verb, *arguments, "--detector", "isolation_forest", code=1)
        assert "it can only be scored" in told


@pytest.mark.processes
def test_each_missed_event_is_drawn_and_the_targets_are_told(
    small_set: Path, tmp_path: Path
) -> None:
    detect(
        "score", small_set, small_set, "--detector", "plateau", "--detector", "turning_points",
        "--out", tmp_path / "s", code=0,
    )  # fmt: skip
    page = (tmp_path / "s" / "report.html").read_text("utf-8")
    assert_stands_alone(page, pictures=3 + 2)  # the set is given twice
    assert "Visible, and missed by plateau: 2" in page
    assert page.count("run_3001: unauthorised_commands, low, on dc, in plain_session") == 4
    assert "turning_points: benign behaviours with a false alarm" in page
    figures = json.loads((tmp_path / "s" / "scores.json").read_text("utf-8"))
    assert [one["run"] for one in figures["plateau"]["missed"]] == ["run_3001"] * 2
    of_each = figures["plateau"]["recall_by_anomaly_plant_severity"]
    assert of_each["unauthorised_commands, dc, low"] == 0


@pytest.mark.processes
def test_a_set_is_scored_by_groups_of_seeds(small_set: Path, tmp_path: Path) -> None:
    text = detect(
        "score", small_set, "--detector", "combined", "--detector", "always_on",
        "--out", tmp_path / "s", code=0,
    )  # fmt: skip
    assert "combined" in text
    figures = json.loads((tmp_path / "s" / "scores.json").read_text("utf-8"))
    assert figures["combined"]["recall"] == 1
    assert figures["combined"]["episodes"] == 1
    assert figures["combined"]["false_alarms_per_benign_hour"] == 0
    assert figures["combined"]["benign_hours"] == pytest.approx(400 / 3600, abs=1e-3)
    assert figures["combined"]["vus_pr"] > 0.5
    assert figures["combined"]["range_f1"] > figures["always_on"]["range_f1"] > 0
    assert figures["combined"]["us_per_event"] > 0
    assert figures["always_on"]["recall"] == 1
    assert figures["always_on"]["false_alarms_per_benign_hour"] == pytest.approx(9, abs=0.1)
    page = (tmp_path / "s" / "report.md").read_text("utf-8")
    assert "2 runs of group 3 and those after it" in page
    assert "(group 3: 2 seeds, 3001 to 3002)" in page
    assert "No threshold was chosen on a test seed" in " ".join(page.split())
    assert_stands_alone((tmp_path / "s" / "report.html").read_text("utf-8"), pictures=3)
    only = detect("score", small_set, "--split", "train", "--detector", "combined", code=0)
    assert "–" in only


@pytest.mark.processes
def test_live_an_alarm_is_told_as_it_comes(start_script: StartScript, can_channel: str) -> None:
    watching = start_script("detect.py", "live", "--once", "--detector", "can_timing")
    watching.wait_for("Watching the CAN bus")
    charger = start_script("charger_module.py")
    charger.wait_for("Listening for CAN commands")
    attacker = start_script("attack_can.py", "--anomaly", "can_fuzzing", "--after", "1")
    attacker.wait_for("Attacking the CAN bus")
    assert watching.wait() == 3
    assert "can_timing:" in watching.output
