"""demo_can.py: the table, the exit code, and the exchange between two processes under it."""

from __future__ import annotations

import pytest
from conftest import StartScript

import demo_can
from evsim import console
from evsim.bus_check import FRAMES, Exchange
from evsim.frames import LENGTHS, SetLimit, StartCharging, encode


def test_each_frame_of_the_protocol_is_sent() -> None:
    assert {encode(frame).arbitration_id for frame in FRAMES} == set(LENGTHS)


@pytest.mark.processes
def test_all_frames_arrive_intact(start_script: StartScript) -> None:
    script = start_script("demo_can.py")
    assert script.wait() == 0, script.output
    assert script.lines[1].split() == ["limit", "100", "A", "210#6400", "210#6400", "ok"]
    assert sum(line.endswith(" ok") for line in script.lines) == len(FRAMES)
    assert script.lines[-1] == "All 7 frames arrived intact."


@pytest.mark.processes
def test_a_charger_on_the_same_bus_does_not_confuse_it(start_script: StartScript) -> None:
    charger = start_script("charger_module.py")
    charger.wait_for("Listening for CAN commands")
    assert start_script("demo_can.py").wait() == 0
    charger.wait_for("start: up to 150 A")
    charger.wait_for("stop at")


@pytest.mark.processes
def test_a_bus_that_does_not_cross_processes_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`virtual` is python-can's in-process bus: everything that is sent there is lost here."""
    monkeypatch.setattr("evsim.bus_check.ARRIVAL_S", 0.05)
    options = demo_can.parse_arguments(["--can-interface=virtual", "--can-channel=nowhere"])
    assert console.run(lambda: demo_can.main(options)) == 1
    output = capsys.readouterr()
    assert output.out.count("LOST") == len(FRAMES)
    assert "7 of 7 frames did not arrive intact" in output.err


@pytest.mark.processes
def test_a_bus_that_does_not_open_is_one_line(start_script: StartScript) -> None:
    script = start_script("demo_can.py", "--can-channel", "vcan0")
    assert script.wait() == 1
    assert len(script.lines) == 1, script.output


def test_the_table_shows_what_went_wrong() -> None:
    rows = demo_can.table(
        [
            Exchange(SetLimit(300), "210#2C01", "210#012C"),
            Exchange(StartCharging(), "200#", None),
        ]
    ).splitlines()
    assert rows[1].split() == ["limit", "300", "A", "210#2C01", "210#012C", "DIFFERS"]
    assert "LOST" in rows[2]
