"""The catalogue played by the real programs, each kind of player at least once, and recorded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import can
import numpy as np
import pytest
from conftest import ROOT, Script, StartScript

from evsim.bus import open_bus
from evsim.events import Direction, Kind, OcppEvent
from evsim.frames import CURRENT_ID, LIMIT_ID, START_ID, STOP_ID
from evsim.lab.run_spec import RunSpec
from evsim.labels import Label
from evsim.recording import Run, load
from simulate import simulate

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


class Stage:
    """The programs of a live run, started one by one; all that record, record into one place."""

    def __init__(self, start: StartScript, port: int, directory: Path) -> None:
        self._start = start
        self.port = port
        self.directory = directory
        self.programs: list[Script] = []

    def start(
        self,
        name: str,
        ready: str,
        *arguments: str,
        record: bool = False,
        python: tuple[str, ...] = (sys.executable,),
    ) -> Script:
        recording = ["--record", str(self.directory)] if record else []
        script = self._start(name, *arguments, *recording, python=python)
        script.wait_for(ready)
        self.programs.insert(0, script)  # the last one is stopped first
        return script

    def charger(self, *arguments: str, record: bool = False) -> Script:
        ready = "Listening for CAN commands"
        return self.start("charger_module.py", ready, *arguments, record=record)

    def attacker(self, *arguments: str) -> Script:
        return self.start("attack_can.py", "Attacking the CAN bus", *arguments, record=True)

    def csms(self, *arguments: str) -> Script:
        port = ("--port", str(self.port))
        return self.start("csms.py", "CSMS WebSocket server", *port, *arguments, record=True)

    def cp(self, python: tuple[str, ...] = (sys.executable,)) -> Script:
        url = ("--url", f"ws://127.0.0.1:{self.port}")
        return self.start("cp.py", "Connected to CSMS", *url, record=True, python=python)

    def finish(self) -> Run:
        """Stop all, and make what they have recorded a whole run."""
        for program in self.programs:
            if program.exit_code is None:
                assert program.stop() == 0, program.output
            assert "Traceback" not in program.output
        return finish(self.directory)


def finish(directory: Path) -> Run:
    command = [sys.executable, "-m", "evsim.recording", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    return load(directory)


@pytest.fixture
def stage(start_script: StartScript, free_port: int, tmp_path: Path) -> Stage:
    return Stage(start_script, free_port, tmp_path / "run")


def currents(run: Run, from_s: float, to_s: float) -> list[int]:
    """Give the measured currents of a time, A."""
    chosen = run.can.arbitration_id == CURRENT_ID
    chosen &= (run.can.time_s >= from_s) & (run.can.time_s <= to_s)
    return [int(low) + 256 * int(high) for low, high in run.can.data[chosen][:, :2]]


def limit_a(run: Run) -> int:
    """Give the last limit that the charge point set, A."""
    low, high = run.can.data[run.can.arbitration_id == LIMIT_ID][-1, :2]
    return int(low) + 256 * int(high)


def metered(run: Run, from_s: float, to_s: float) -> list[float]:
    """Give the currents of the meter values that reached the central system in a time, A."""
    return [
        float(event.payload["meterValue"][0]["sampledValue"][0]["value"])
        for event in run.ocpp
        if event.kind is Kind.CALL and event.action == "MeterValues"
        if from_s <= event.time_s <= to_s
    ]


def calls(run: Run, action: str) -> list[OcppEvent]:
    return [event for event in run.ocpp if event.kind is Kind.CALL and event.action == action]


def the_label(run: Run, anomaly: str, layer: str, lasts_s: float) -> Label:
    """Give the one label, which must be of this anomaly and tell of an effect."""
    (label,) = run.labels
    assert (label.anomaly, label.layer, label.target) == (anomaly, layer, "CP_1")
    assert label.t_end_s - label.t_start_s == pytest.approx(lasts_s, abs=0.5)
    assert label.effect_start_s is not None
    assert run.info["anomaly"] == anomaly
    return label


# ── csms.py ──────────────────────────────────────────────────────────────────────────────────


def test_csms_plays_a_man_in_the_middle_who_scales_meter_values(stage: Stage) -> None:
    stage.charger()
    csms = stage.csms(
        *("--anomaly", "meter_scaling", "--severity", "high", "--after", "2"),
        *("--parameter", "factor=0.5", "--parameter", "duration_s=4"),
    )
    stage.cp()
    csms.wait_for("meter_scaling (severity high: factor 0.5, duration_s 4)")
    csms.wait_for("meter_scaling is over; plain_session goes on")
    run = stage.finish()
    label = the_label(run, "meter_scaling", "ocpp", 4.0)
    assert label.severity == "high"
    limit = limit_a(run)
    assert set(currents(run, label.t_start_s, label.t_end_s)) == {limit}
    (scaled,) = set(metered(run, label.t_start_s, label.t_end_s))
    assert scaled == pytest.approx(limit / 2, abs=0.5)
    assert set(metered(run, label.t_start_s - 1.5, label.t_start_s - 0.1)) == {limit}


def test_csms_plays_a_man_in_the_middle_who_commands(stage: Stage) -> None:
    stage.charger()
    csms = stage.csms(
        *("--anomaly", "unauthorised_commands", "--after", "1"),
        *("--parameter", "stops=1", "--parameter", "interval_s=3"),
    )
    stage.cp()
    csms.wait_for("unauthorised_commands is over")
    run = stage.finish()
    label = the_label(run, "unauthorised_commands", "ocpp", 3.0)
    first, *_ = calls(run, "StopTransaction")
    assert first.payload["reason"] == "Remote"
    assert label.t_start_s <= first.time_s <= label.t_end_s
    assert not calls(run, "RemoteStopTransaction")  # the central system sent none
    assert 0 in currents(run, label.t_start_s, label.t_end_s)


def test_csms_cuts_a_charge_point_off_and_lets_it_come_back(stage: Stage) -> None:
    stage.charger()
    csms = stage.csms(
        *("--anomaly", "station_disconnection", "--after", "1", "--parameter", "duration_s=3")
    )
    cp = stage.cp()
    csms.wait_for("station_disconnection is over")
    cp.wait_for("is lost; connecting again")
    csms.wait_for("CP_1: connected")
    csms.wait_for("CP_1: connected", 12)
    csms.wait_for("CP_1: limit", 12)  # the session before
    csms.wait_for("CP_1: limit", 12)  # goes on
    run = stage.finish()
    label = the_label(run, "station_disconnection", "ocpp", 3.0)
    inside = [e for e in run.ocpp if label.t_start_s + 0.5 <= e.time_s <= label.t_end_s]
    assert not inside
    assert [e.action for e in run.ocpp if e.kind is Kind.LINK][:3] == [
        *("connected", "disconnected", "connected")
    ]
    assert min(currents(run, label.t_start_s, label.t_end_s)) > 0  # it charges on, offline


def test_csms_plays_a_benign_behaviour_and_writes_no_label(stage: Stage) -> None:
    stage.charger()
    csms = stage.csms("--benign", "solar_surplus")
    stage.cp()
    csms.wait_for("CP_1: limit")
    csms.wait_for("transaction 1 started by USER")
    assert stage.finish().labels == []


# ── charger_module.py ────────────────────────────────────────────────────────────────────────


def test_the_charger_plays_a_contactor_that_opens_and_closes(stage: Stage) -> None:
    charger = stage.charger(
        *("--anomaly", "contactor_cycling", "--after", "2", "--parameter", "cycles=1"),
        *("--parameter", "off_s=3", "--parameter", "on_s=2"),
        record=True,
    )
    stage.csms("--benign", "plain_session")
    stage.cp()
    charger.wait_for("contactor_cycling is over")
    run = stage.finish()
    label = the_label(run, "contactor_cycling", "charger", 5.0)
    shown = currents(run, label.t_start_s, label.t_end_s)
    assert shown == [0] * 3 + [limit_a(run)] * 2 or shown == [0] * 3 + [limit_a(run)]
    stops_s = run.can.time_s[run.can.arbitration_id == STOP_ID]
    assert not ((stops_s >= label.t_start_s) & (stops_s <= label.t_end_s)).any()


def test_the_charger_plays_a_car_that_ignores_its_limit(stage: Stage) -> None:
    charger = stage.charger(
        *("--anomaly", "limit_ignored", "--after", "1", "--battery", "80"),
        *("--state-of-charge", "30", "--parameter", "duration_s=4", "--parameter", "ratio=1.3"),
        record=True,
    )
    stage.csms("--benign", "plain_session")
    stage.cp()
    charger.wait_for("limit_ignored is over")
    run = stage.finish()
    label = the_label(run, "limit_ignored", "ev", 4.0)
    drawn_a = currents(run, label.t_start_s + 1, label.t_end_s)
    assert min(drawn_a) == pytest.approx(min(150, limit_a(run) * 1.3), abs=1)
    told = run.series["state_of_charge_percent"]
    assert set(told[~np.isnan(told)]) == {30.0}


# ── attack_can.py ────────────────────────────────────────────────────────────────────────────


def test_a_gateway_speaks_in_the_chargers_place(stage: Stage, can_channel: str) -> None:
    beside = can_channel.replace("239.74.", "239.75.")
    stage.charger("--can-channel", beside)
    attacker = stage.attacker(
        *("--anomaly", "can_masquerade", "--charger-channel", beside, "--after", "2"),
        *("--parameter", "share=0.5", "--parameter", "duration_s=4"),
    )
    stage.csms("--benign", "plain_session")
    stage.cp()
    attacker.wait_for("can_masquerade is over")
    stage.programs[1].wait_for("started by USER")
    run = stage.finish()
    label = the_label(run, "can_masquerade", "can", 4.0)
    limit = limit_a(run)
    assert set(currents(run, label.t_start_s, label.t_end_s)) == {round(limit / 2)}
    before = currents(run, label.t_start_s - 1.2, label.t_start_s)
    after = currents(run, label.t_end_s, label.t_end_s + 0.9)
    assert set(before + after) == {limit}


@pytest.mark.parametrize(
    ("anomaly", "parameters", "foreign_per_s"),
    [
        ("can_fuzzing", ["rate_per_s=50", "duration_s=4"], (30, 70)),
        # 60 % of a bus of 500 kbit/s, which the programs must survive.
        ("can_flooding", ["load=0.6", "duration_s=4"], (1200, 3000)),
    ],
)
def test_a_node_that_sends_too_much(
    stage: Stage, anomaly: str, parameters: list[str], foreign_per_s: tuple[int, int]
) -> None:
    chosen = [word for parameter in parameters for word in ("--parameter", parameter)]
    charger = stage.charger()
    csms = stage.csms("--benign", "plain_session")
    cp = stage.cp()
    csms.wait_for("started by USER")
    attacker = stage.attacker("--anomaly", anomaly, "--after", "0.5", "--once", *chosen)
    assert attacker.wait() == 0
    run = stage.finish()
    label = the_label(run, anomaly, "can", 4.0)
    inside = (run.can.time_s >= label.t_start_s) & (run.can.time_s <= label.t_end_s)
    ours = np.isin(run.can.arbitration_id, (CURRENT_ID, LIMIT_ID, START_ID, STOP_ID))
    duration_s = label.t_end_s - label.t_start_s
    least, most = foreign_per_s
    assert least <= (inside & ~ours).sum() / duration_s <= most
    assert not (~inside & ~ours & (run.can.arbitration_id != 0x310)).any()
    times_s = run.can.time_s[run.can.arbitration_id == CURRENT_ID]
    assert np.diff(times_s).max() < 2.5  # the charger speaks on
    for program in (charger, cp):
        assert program.output.count("said once per kind") <= 5


# ── Recording ────────────────────────────────────────────────────────────────────────────────


def story(run: Run) -> tuple[list[tuple[float, str]], dict[Direction, list[tuple[float, str]]]]:
    """Give what three cycles of a run are made of, with times from the first command of all."""
    (first, *_) = calls(run, "SetChargingProfile")
    end_s = first.time_s + 3 * 8.0 - 0.5
    frames = [
        (time_s - first.time_s, f"{arbitration_id:#x} {bytes(data[:length]).hex()}")
        for time_s, arbitration_id, data, length in zip(
            run.can.time_s, run.can.arbitration_id, run.can.data, run.can.dlc, strict=True
        )
        if arbitration_id in (LIMIT_ID, START_ID, STOP_ID) and first.time_s <= time_s <= end_s
    ]
    messages: dict[Direction, list[tuple[float, str]]] = {way: [] for way in Direction}
    for event in run.ocpp:
        is_periodic = event.action in ("Heartbeat", "MeterValues")
        if event.kind is not Kind.LINK and not is_periodic and event.time_s <= end_s:
            status = event.payload.get("status", "")
            what = f"{event.kind} {event.action} {status}"
            messages[event.direction].append((event.time_s - first.time_s, what))
    return frames, messages


def test_a_live_run_and_one_of_the_lab_tell_the_same_story(stage: Stage, tmp_path: Path) -> None:
    """Three cycles of the base scenario, once on the wall clock and once in the lab.

    The same means: the frames with which the charge point commands the charger (0x200, 0x201,
    0x210, data and all) come in the same order; and so do, on either way of the link, all OCPP
    messages from the boot on, CALLs and answers with their status, but for Heartbeat and
    MeterValues, which come by a clock of their own. Each comes at the same time after the first
    command to within 0.3 s. How the two ways are interleaved, and CAN with OCPP, is a matter of
    milliseconds and is not compared, nor is 0x300, whose phase depends on when the charger was
    started.
    """
    stage.charger()
    csms = stage.csms("--cycles", "3")
    stage.cp()
    csms.wait_for("the anomaly is over", 40)
    live = stage.finish()
    spec = RunSpec(anomaly="repeated_fluctuation", throughout=True, duration_s=32.0, noise_a=0.0)
    simulate(spec, tmp_path / "lab")
    lab = load(tmp_path / "lab")

    live_frames, live_messages = story(live)
    lab_frames, lab_messages = story(lab)
    assert len(lab_frames) >= 12
    for mine, other in [
        (live_frames, lab_frames),
        *((live_messages[way], lab_messages[way]) for way in Direction),
    ]:
        assert [what for _, what in mine] == [what for _, what in other]
        for (live_s, what), (lab_s, _) in zip(mine, other, strict=True):
            assert live_s == pytest.approx(lab_s, abs=0.3), what
    for run in (live, lab):
        (label,) = run.labels
        assert label.anomaly == "repeated_fluctuation"


def test_a_killed_central_system_leaves_a_recording_that_can_be_finished(stage: Stage) -> None:
    stage.charger()
    csms = stage.csms()
    stage.cp()
    csms.wait_for("stop transaction 1")
    csms.kill()
    stage.programs.remove(csms)
    run = stage.finish()
    assert [len(calls(run, action)) for action in ("RemoteStartTransaction",)] == [1]
    assert START_ID in run.can.arbitration_id
    (label,) = run.labels  # though nobody was left to write it
    assert label.anomaly == "repeated_fluctuation"
    assert label.t_start_s <= calls(run, "SetChargingProfile")[0].time_s


def test_a_second_recording_in_one_place_is_refused(stage: Stage) -> None:
    stage.csms("--no-anomaly")
    again = stage._start("csms.py", "--port", "0", "--record", str(stage.directory))
    assert again.wait() == 1
    (line,) = again.lines
    assert "already holds a recording" in line


def test_a_recording_that_cannot_go_on_ends_the_program_and_the_charging(
    stage: Stage,
) -> None:
    charger = stage.charger()
    csms, cp = stage.csms("--benign", "plain_session"), stage.cp()
    charger.wait_for("start: up to")
    shutil.rmtree(stage.directory)
    assert cp.wait() == 1
    charger.wait_for("stop at")
    assert csms.wait() == 1
    for program in (cp, csms):
        (line,) = [line for line in program.lines if "cannot" in line]
        assert "the directory has been removed" in line
        assert "Traceback" not in program.output


def test_a_full_disk_ends_the_program_with_one_line(stage: Stage, can_channel: str) -> None:
    """The limit for the size of a file stands for the end of the disk."""
    stage.charger()
    stage.csms("--no-anomaly")
    limited = ("bash", "-c", f'ulimit -f 300; exec {sys.executable} "$0" "$@"')
    cp = stage.cp(python=limited)
    with open_bus("evsim", can_channel) as bus:
        message = can.Message(arbitration_id=0x123, data=bytes(8), is_extended_id=False)
        while cp.exit_code is None:
            bus.send(message)
    assert cp.wait() == 1
    (line,) = [line for line in cp.lines if "cannot write" in line]
    assert "can.log: File too large" in line
    assert "Traceback" not in cp.output


# ── The command line ─────────────────────────────────────────────────────────────────────────

SCRIPTS = ("csms.py", "charger_module.py", "attack_can.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_list_is_a_table_that_fits(start_script: StartScript, script: str) -> None:
    listing = start_script(script, "--list")
    assert listing.wait() == 0
    assert max(map(len, listing.lines)) <= 100
    rows = {line.split()[0]: line for line in listing.lines if line and line[0] != " "}
    assert len(rows) == 20 + 8 + 2
    assert "attack_can.py" in rows["can_masquerade"]
    assert "charger_module.py" in rows["limit_ignored"]
    assert "csms.py" in rows["taper"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("csms.py", "--anomaly", "rain"), "no anomaly 'rain'; known are: repeated_fluctuation"),
        (("csms.py", "--benign", "rain"), "no benign behaviour 'rain'; known are: plain_session"),
        (("csms.py", "--anomaly", "can_drift"), "./attack_can.py --anomaly can_drift"),
        (("attack_can.py", "--anomaly", "limit_ignored"), "./charger_module.py --anomaly limit"),
        (("charger_module.py", "--anomaly", "meter_scaling"), "./csms.py --anomaly meter_scaling"),
        (("csms.py", "--anomaly", "meter_scaling", "--severity", "worst"), "worst"),
        (("csms.py", "--anomaly", "meter_scaling", "--parameter", "load=1"), "it has: factor"),
        (("csms.py", "--anomaly", "meter_scaling", "--parameter", "factor"), "NAME=VALUE"),
        (("csms.py", "--anomaly", "meter_scaling", "--parameter", "factor=x"), "NAME=VALUE"),
        (("csms.py", "--anomaly", "heartbeat_flood", "--parameter", "rate_per_s=0"), "more than 0"),
        (("csms.py", "--anomaly", "meter_scaling", "--after", "-1"), "from 0 up"),
        (("csms.py", "--anomaly", "meter_scaling", "--cycles", "3"), "--cycles"),
        (("csms.py", "--anomaly", "meter_scaling", "--no-anomaly"), "--no-anomaly"),
        (("csms.py", "--severity", "low"), "--severity belongs to an --anomaly"),
        (("csms.py", "--target", ""), "--target"),
        (("charger_module.py", "--record", "x"), "cp.py --record"),
        (("charger_module.py", "--state-of-charge", "101"), "from 0 to 100"),
        (("charger_module.py", "--battery", "0"), "above 0"),
        (("attack_can.py",), "name an --anomaly"),
        (("attack_can.py", "--anomaly", "can_drift"), "--charger-channel"),
        (("attack_can.py", "--anomaly", "can_fuzzing", "--charger-channel", "a"), "needs none"),
    ],
    ids=str,
)
def test_what_cannot_be_played_is_said(
    start_script: StartScript, arguments: tuple[str, ...], words: str
) -> None:
    script = start_script(*arguments)
    assert script.wait() == 2
    assert words in script.lines[-1]
    assert "Traceback" not in script.output


def test_a_script_that_nobody_reads_ends_quietly(start_script: StartScript) -> None:
    script = start_script(
        "csms.py", "--list", python=("bash", "-c", f'{sys.executable} "$0" "$@" >/dev/full')
    )
    assert script.wait() == 1
    assert script.lines == ["csms.py: cannot write to standard output: No space left on device"]
