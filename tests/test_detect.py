"""detect.py: recordings of ours and of others, live, and scores of a set."""

from __future__ import annotations

import json
import os
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

SPEC = RunSpec(seed=2001, duration_s=400, anomaly="unauthorised_commands", severity="low")  # type: ignore[arg-type]


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
    simulate(SPEC, directory / "runs" / "run_2001")
    simulate(replace(SPEC, anomaly=None, seed=2002), directory / "runs" / "run_2002")
    simulate(replace(SPEC, anomaly=None, seed=1001), directory / "runs" / "run_1001")
    return directory


@pytest.mark.processes
def test_a_recording_with_an_anomaly_is_told_and_ends_with_3(small_set: Path) -> None:
    text = detect("run", small_set / "runs" / "run_2001", code=3)
    assert "session: a transaction ends with reason Remote; no stop in 30 s" in text
    assert text.startswith("2026-01-01 00:0")


@pytest.mark.processes
def test_a_benign_recording_ends_with_0_and_without_a_word(small_set: Path) -> None:
    assert detect("run", small_set / "runs" / "run_2002", code=0) == ""


@pytest.mark.processes
def test_the_candump_log_of_somebody_else_is_read(tmp_path: Path) -> None:
    path = tmp_path / "theirs.log"
    with can.CanutilsLogWriter(path) as writer:
        for at_s in range(60):
            message = encode(MeasuredCurrent(100 if at_s % 8 in (4, 5) else 0))
            message.timestamp, message.channel = 1e9 + at_s, "can0"
            writer(message)
    text = detect("run", path, "--detector", "turning_points", code=3)
    assert "can0  turning_points: 5 reversals of 5 A or more in 60 s" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "there is no "), ("", "holds no event"), ("x\n", "cannot be read")],
)
@pytest.mark.processes
def test_what_is_no_recording_is_one_line(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "theirs.log"
    if content is not None:
        path.write_text(content)
    assert words in detect("run", path, code=1)


@pytest.mark.processes
def test_wrong_arguments_are_told(tmp_path: Path) -> None:
    assert "no detector 'oracle'" in detect("run", tmp_path, "--detector", "oracle", code=1)
    assert "there is no run.json" in detect("run", tmp_path, code=1)
    assert "is no set" in detect("score", tmp_path, code=1)
    detect(code=2)


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
    assert "2 runs with the seeds 2001 to 2002: all groups but the first" in page
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
