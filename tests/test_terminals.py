"""A person at the terminals of the real csms.py and cp.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, StartScript, environment
from terminal import Terminal, need

pytestmark = [pytest.mark.display, pytest.mark.processes]

#: Starts a script in a terminal of its own and waits for its prompt.
InTerminal = Callable[..., Terminal]


@pytest.fixture
def in_terminal(can_channel: str, tmp_path: Path) -> Iterator[InTerminal]:
    need("tmux")
    terminals: list[Terminal] = []
    surroundings = environment(
        can_channel, {"XDG_STATE_HOME": str(tmp_path / "state"), "NO_COLOR": "1"}
    )

    def start(script: str, *arguments: str) -> Terminal:
        terminal = Terminal(tmp_path / f"terminal{len(terminals)}")
        terminals.append(terminal)
        terminal.start(sys.executable, str(ROOT / script), *arguments, env=surroundings)
        return terminal

    yield start
    for terminal in terminals:
        terminal.close()


def test_a_person_drives_both_ends(
    in_terminal: InTerminal, start_script: StartScript, free_port: int
) -> None:
    start_script("charger_module.py").wait_for("Listening for CAN commands")
    csms = in_terminal("csms.py", "--port", str(free_port), "--no-anomaly")
    csms.wait_for("running on")
    csms.wait_for_line("csms>")
    csms.type("li")  # half a word, and meanwhile the charge point comes
    cp = in_terminal("cp.py", "--url", f"ws://127.0.0.1:{free_port}")
    csms.wait_for("CP_1: connector 1 is Available")
    csms.wait_for_line("csms> li")
    csms.type("st", "Enter")
    csms.wait_for("CP_1: 0 Available, 1 Available")

    csms.type("lim", "Tab", "40", "Enter")
    csms.wait_for("CP_1: limit 40 A")
    csms.type("start", "Enter")
    csms.wait_for("transaction 1 has started")
    csms.wait_for("CP_1: connector 1 is Charging")
    csms.type("get HeartbeatI", "Tab", "Enter")
    csms.wait_for("HeartbeatInterval = 10")
    csms.type("composite 60", "Enter")
    csms.wait_for("0 s  40 A")
    csms.type("send TriggerMessage", "Space", '{"requestedMessage": "Heartbeat"}', "Enter")
    csms.wait_for("Accepted")
    csms.type("limit lots", "Enter")
    csms.wait_for("'lots' is not a current in A")
    csms.type("Up", "Up", "Up", "Up", "Up")
    csms.wait_for_line("csms> start")
    csms.type("C-u", "stop", "Enter")
    csms.wait_for("CP_1: transaction 1 stopped: Remote")

    cp.wait_for_line("cp>")
    cp.type("stat", "Tab", "Enter")
    cp.wait_for("status")
    cp.type("C-d")
    cp.wait_for_line("exit code 0")
    csms.wait_for("CP_1: disconnected")
    csms.type("reset", "Enter")
    csms.wait_for("no charge point is connected")
    csms.type("quit", "Enter")
    csms.wait_for_line("exit code 0")
    for terminal in (csms, cp):
        assert "Traceback" not in terminal.screen


def test_while_the_anomaly_runs_a_person_may_type_too(
    in_terminal: InTerminal, start_script: StartScript, free_port: int
) -> None:
    start_script("charger_module.py").wait_for("Listening for CAN commands")
    csms = in_terminal("csms.py", "--port", str(free_port))
    csms.wait_for_line("csms>")
    start_script("cp.py", "--url", f"ws://127.0.0.1:{free_port}")
    csms.type("trigger Heart", "Tab")
    csms.wait_for("CP_1: limit 0 A")
    csms.wait_for("CP_1: stop transaction 1")
    csms.wait_for_line("csms> trigger Heartbeat")
    csms.type("Enter")
    csms.wait_for("Accepted")
    csms.wait_for("CP_1: cycle 2")
    csms.type("C-c")
    csms.wait_for_line("exit code 0")
    assert "Traceback" not in csms.screen
