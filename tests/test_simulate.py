"""simulate.py: the same seed makes the same bytes; a set is made, interrupted and resumed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from evsim import recording
from evsim.anomalies import ANOMALIES, BENIGN
from evsim.anomalies.base import Severity
from evsim.errors import UserError
from evsim.lab.many_runs import RUNS, alone_in, clear, missing_runs
from evsim.lab.options import parse_arguments
from evsim.lab.run_spec import FLEET, RunSpec
from evsim.lab.suite import benchmark, benign, example, purpose
from simulate import simulate

SHORT = RunSpec(seed=7, duration_s=360, anomaly="can_drift", benign="solar_surplus")


def digests(directory: Path) -> dict[str, str]:
    """The SHA-256 of each file below a directory."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


# ── One run ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "spec",
    [
        SHORT,
        replace(
            SHORT, anomaly="heartbeat_flood", network_faults="latency=80ms,jitter=40ms,loss=2min"
        ),
        replace(SHORT, anomaly="mass_on_off", charge_points=3),
        replace(SHORT, anomaly="repeated_fluctuation", throughout=True),
    ],
    ids=["drift", "bad network", "fleet", "throughout"],
)
def test_the_same_seed_makes_the_same_bytes_and_another_seed_does_not(
    tmp_path: Path, spec: RunSpec
) -> None:
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        simulate(replace(spec, seed=seed), tmp_path / name)
    one, same, other = (digests(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    changed = {name for name in one if one[name] != other[name]}
    assert {"can.log", "ocpp.jsonl", "series.csv", "run.json"} <= changed


def test_the_same_seed_makes_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    simulate(SHORT, tmp_path / "here")
    run_script(
        "--anomaly", "can_drift", "--benign", "solar_surplus", "--seed", "7",
        "--hours", "0.1", "--out", tmp_path / "there",
    )  # fmt: skip
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


def test_the_parts_of_a_run_draw_their_randomness_apart() -> None:
    draws = {name: SHORT.rng(name).random() for name in ("a", "b", "CP_1 module", "CP_2 module")}
    assert len(set(draws.values())) == 4
    assert SHORT.rng("a").random() == draws["a"]


def test_episodes_begin_anywhere_and_one_in_each_part() -> None:
    onsets_s = [
        replace(SHORT, seed=seed, duration_s=7200, episodes=4).onsets_s() for seed in range(200)
    ]
    for number in range(4):
        of_part = sorted(onset[number] for onset in onsets_s)
        assert of_part[0] >= 90 + number * (7200 - 90) / 4
        assert of_part[-1] <= 90 + (number + 1) * (7200 - 90) / 4 - 120
        assert of_part[-1] - of_part[0] > 1300, "over the whole part"


def test_a_day_has_an_episode_in_each_hour_and_each_has_its_label(tmp_path: Path) -> None:
    spec = replace(SHORT, anomaly="can_suppress", benign="plain_session", duration_s=4 * 3600)
    simulate(replace(spec, episodes=4), tmp_path / "run")
    labels = recording.load(tmp_path / "run").labels
    assert [label.anomaly for label in labels] == ["can_suppress"] * 4
    starts_s = [label.t_start_s for label in labels]
    assert starts_s == sorted(starts_s)


def test_run_json_says_what_made_it(tmp_path: Path) -> None:
    simulate(SHORT, tmp_path / "run")
    info = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert info["seed"] == 7
    assert info["anomaly"] == "can_drift"
    assert info["parameters"] == {"rate_a_per_s": 0.25, "duration_s": 120.0}
    assert info["configuration_hash"] == SHORT.configuration_hash()
    assert info["configuration_hash"] != replace(SHORT, noise_a=0.5).configuration_hash()
    assert {"python", "ev-anomaly-sim", "python-can", "ocpp", "numpy"} <= info["versions"].keys()


def test_no_feature_file_holds_the_label(tmp_path: Path) -> None:
    simulate(SHORT, tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        if path.name not in ("labels.csv", "run.json"):
            assert b"drift" not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"anomaly": "gremlins"}, "no anomaly 'gremlins'; known are: repeated_fluctuation"),
        ({"benign": "gremlins"}, "no benign behaviour 'gremlins'; known are: plain_session"),
        ({"plant": "diesel"}, "no plant 'diesel'; known are: ideal"),
        (
            {"parameters": {"speed": 1.0}},
            "can_drift has no parameter 'speed'; it has: rate_a_per_s",
        ),
        ({"duration_s": 60.0}, "need 240 s, the run has 60 s"),
        ({"episodes": 9}, "9 episode"),
        ({"anomaly": "mass_on_off"}, "give it --charge-points 2 or more"),
        ({"throughout": True}, "repeated_fluctuation, only"),
        ({"anomaly": None, "parameters": {"x": 1.0}}, "belong to an --anomaly"),
        ({"network_faults": "latency"}, "no number with a unit"),
    ],
)
def test_what_cannot_be_is_a_clear_error(changed: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(SHORT, **changed)  # type: ignore[arg-type]


# ── Suites ───────────────────────────────────────────────────────────────────────────────────


def test_the_benchmark_is_balanced() -> None:
    runs = benchmark([1, 2])
    assert len(runs) >= 500
    assert len({spec.seed for spec in runs.values()}) == len(runs)
    for name, anomaly in ANOMALIES.items():
        of_it = [spec for spec in runs.values() if spec.anomaly == name]
        assert len(of_it) == 2 * 4 * 3
        assert {(spec.plant, spec.severity) for spec in of_it} == {
            (plant, severity) for plant in ("ideal", "dc", "dc_slow", "ac") for severity in Severity
        }
        assert len({spec.benign for spec in of_it}) == len(BENIGN)
        assert {spec.charge_points for spec in of_it} == {FLEET if anomaly.fleet else 1}
    assert len([spec for spec in runs.values() if spec.anomaly is None]) == 2 * 8 * 4
    assert all(spec.duration_s == 1200 for spec in runs.values())


def test_the_benign_suite_has_each_behaviour_for_hours_and_seeds_of_its_own() -> None:
    runs = benign([1, 2, 3])
    for group in range(1, 4):
        of_it = [spec for spec in runs.values() if spec.seed // 1000 == group]
        assert sum(spec.duration_s for spec in of_it) >= 200 * 3600
        assert {(spec.plant, spec.benign) for spec in of_it} == {
            (plant, name) for plant in ("ideal", "dc", "dc_slow", "ac") for name in BENIGN
        }
    assert all(spec.anomaly is None for spec in runs.values())
    assert not runs.keys() & benchmark([1, 2, 3]).keys()


def test_groups_of_seeds_may_be_named() -> None:
    def groups(text: str) -> list[int]:
        return list(parse_arguments("", ["--suite", "x", "--out", "y", "--seeds", text]).seeds)

    assert groups("3") == [1, 2, 3]
    assert groups("3-4") == [3, 4]
    assert groups("4-4") == [4]
    for wrong in ("0", "4-3", "0-2", "x", "1-", "-2"):
        with pytest.raises(SystemExit):
            groups(wrong)


def test_groups_of_seeds_have_purposes() -> None:
    assert [purpose(seed) for seed in (1, 1999, 2000, 3271, 7000)] == [
        "train", "train", "validation", "test", "test",
    ]  # fmt: skip


def test_the_example_has_each_entry_once() -> None:
    assert list(example([2])) == [*ANOMALIES, *BENIGN]


def test_a_run_of_other_settings_is_no_part_of_the_set(tmp_path: Path) -> None:
    simulate(SHORT, tmp_path / RUNS / "a")
    assert missing_runs(tmp_path, {"a": SHORT, "b": SHORT}) == {"b": SHORT}
    with pytest.raises(UserError, match="made with other settings"):
        missing_runs(tmp_path, {"a": replace(SHORT, noise_a=2.0)})
    (tmp_path / RUNS / "a" / "run.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        missing_runs(tmp_path, {"a": SHORT})


def test_clearing_a_set_removes_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    simulate(SHORT, tmp_path / RUNS / "a")
    (tmp_path / RUNS / "thesis").mkdir()
    with pytest.raises(UserError, match="is no recorded run, so nothing"):
        clear(tmp_path)
    assert (tmp_path / RUNS / "a" / "run.json").exists()
    (tmp_path / RUNS / "thesis").rmdir()
    clear(tmp_path)
    assert not (tmp_path / RUNS).exists()


def test_two_programs_do_not_make_the_same_set(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        ended = run_script("--suite", "example", "--out", tmp_path, code=1)
    assert "another program is making a set" in ended
    assert not (tmp_path / RUNS).exists()


# ── The program ──────────────────────────────────────────────────────────────────────────────


def run_script(*arguments: object, code: int = 0) -> str:
    """Run simulate.py to its end; give what it wrote."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "simulate.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == code, ended.stderr
    return ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--anomaly", "gremlins", "--out", "new"], 1, "no anomaly 'gremlins'"),
        (["--anomaly", "can_drift"], 2, "--out DIR is required"),
        (["--hours", "nan", "--out", "new"], 2, "--hours"),
        (["--severity", "deadly", "--out", "new"], 2, "invalid choice: 'deadly'"),
        (["--parameter", "x", "--out", "new"], 2, "'x' is not NAME=VALUE"),
        (["--parameter", "x=nan", "--out", "new"], 2, "'x=nan' is not NAME=VALUE"),
        (["--suite", "all", "--out", "new"], 1, "no suite 'all'; known are: example, benchmark"),
        (["--suite", "example", "--seed", "2", "--out", "new"], 2, "leave it out"),
        (["--episodes", "2", "--out", "new"], 1, "--episodes belongs to an --anomaly"),
        (["--out", "file/new"], 1, "cannot write"),
        (["--out", "old"], 1, "old is there already"),
        (["--force", "--out", "old"], 1, "old is no recorded run, so it is not replaced"),
    ],
)
@pytest.mark.processes
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "thesis.tex").touch()
    text = run_script(*arguments, code=code)
    assert words in text
    assert "Traceback" not in text
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "old", "thesis.tex"]


@pytest.mark.processes
def test_a_run_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "simulate.py"), "--hours", "100", "--out"]
    process = subprocess.Popen([*command, str(tmp_path / "run")], stderr=subprocess.PIPE)
    try:
        while not list(tmp_path.glob(".run.partial/can.log")):
            assert process.poll() is None, "it has ended before"
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[1] == b"stopped\n"
        assert process.returncode == 130
    finally:
        process.kill()
        process.wait(timeout=30)
    assert not list(tmp_path.iterdir())


@pytest.mark.processes
def test_force_replaces_a_run(tmp_path: Path) -> None:
    for options, code in (((), 0), (("--noise", "1"), 1), (("--noise", "1", "--force"), 0)):
        run_script("--hours", "0.05", "--out", tmp_path / "run", *options, code=code)
    assert recording.load(tmp_path / "run").info["noise_a"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.processes
def test_the_list_shows_every_entry_within_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run_script("--list").splitlines()
    first_words = [line.split()[0] for line in lines if line.strip()]
    assert [word for word in first_words if word in {**ANOMALIES, **BENIGN}] == [
        *ANOMALIES,
        *BENIGN,
    ]
    assert max(map(len, lines)) <= 80


def interrupt(directory: Path, runs: int, number: signal.Signals) -> str:
    """Make the example until so many runs are there, then send a signal; give what was said."""
    command = [sys.executable, str(ROOT / "simulate.py"), "--suite", "example", "--jobs", "2"]
    process = subprocess.Popen([*command, "--out", str(directory)], stderr=subprocess.PIPE)
    try:
        while len(list(directory.glob("runs/*/run.json"))) < runs:
            assert process.poll() is None, "it has ended before"
            os.sched_yield()
        process.send_signal(number)
        return process.communicate(timeout=60)[1].decode()
    finally:
        process.kill()
        process.wait(timeout=30)


def whole_runs(directory: Path) -> dict[str, dict[str, str]]:
    """The digests of the runs that are there; all can be read."""
    there = [run for run in (directory / RUNS).iterdir() if not run.name.startswith(".")]
    for run in there:
        recording.load(run)
    return {run.name: digests(run) for run in there}


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_a_set_that_was_interrupted_has_whole_runs_only_and_is_resumed(tmp_path: Path) -> None:
    directory = tmp_path / "set"
    said = interrupt(directory, 2, signal.SIGINT)
    assert said == "stopped; start again to go on where it ended\n"
    after_ctrl_c = whole_runs(directory)
    interrupt(directory, len(after_ctrl_c) + 2, signal.SIGKILL)
    after_kill = whole_runs(directory)
    assert len(after_ctrl_c) < len(after_kill) < 28
    assert f"28 runs, {28 - len(after_kill)} of them new" in run_script(
        "--suite", "example", "--out", directory
    )
    made = whole_runs(directory)
    assert sorted(made) == sorted([*ANOMALIES, *BENIGN])
    for before in (after_ctrl_c, after_kill):
        assert before.items() <= made.items(), "was made again, and differently"
    assert not list(directory.glob(".*"))
    assert not list((directory / RUNS).glob(".*"))
