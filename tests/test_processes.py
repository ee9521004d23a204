"""The real programs, as processes, on a bus and a port of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Script, StartScript

from evsim.bus import open_bus
from evsim.frames import (
    Frame,
    MeasuredCurrent,
    SetLimit,
    StartCharging,
    StopCharging,
    decode,
    encode,
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

#: What the scenario sends in one cycle, each with the time to the next, s.
CYCLE = [(SetLimit(0), 2.0), (SetLimit(100), 1.0), (StartCharging(), 2.0), (StopCharging(), 3.0)]
#: Everything works again within this time after a program was killed and started anew.
RECOVERY_S = 5.0


class Listener:
    """Hears a CAN bus; keeps every frame with its time."""

    def __init__(self, channel: str) -> None:
        self.bus = open_bus("evsim", channel)
        self.heard: list[tuple[float, Frame]] = []

    def next_frame(self, timeout_s: float) -> tuple[float, Frame]:
        message = self.bus.recv(timeout_s)
        assert message is not None, f"nothing on the bus for {timeout_s} s"
        self.heard.append((message.timestamp, decode(message)))
        return self.heard[-1]

    def wait_for(self, wanted: Callable[[Frame], bool], within_s: float) -> tuple[float, Frame]:
        """Hear until a frame is as wanted; the time stamps of the bus tell how long it took."""
        first_s: float | None = None
        while True:
            at_s, frame = self.next_frame(within_s)
            first_s = at_s if first_s is None else first_s
            if wanted(frame):
                return at_s, frame
            recent = self.heard[-20:]
            assert at_s - first_s < within_s, f"not heard within {within_s} s; heard {recent}"


def is_current(lowest_a: int, highest_a: int) -> Callable[[Frame], bool]:
    return lambda frame: (
        isinstance(frame, MeasuredCurrent) and lowest_a <= frame.current_a <= highest_a
    )


def is_frame(wanted: Frame) -> Callable[[Frame], bool]:
    return lambda frame: frame == wanted


@pytest.fixture
def listener(can_channel: str) -> Iterator[Listener]:
    listener = Listener(can_channel)
    yield listener
    listener.bus.shutdown()


class Suite:
    """Charger, central system and charge point, started one by one."""

    def __init__(self, start: StartScript, port: int, tmp_path: Path) -> None:
        self._start = start
        self.port = port
        self.db = tmp_path / "csms.sqlite"

    def charger(self, *arguments: str) -> Script:
        charger = self._start("charger_module.py", *arguments)
        charger.wait_for("Listening for CAN commands")
        return charger

    def csms(self, *arguments: str) -> Script:
        csms = self._start("csms.py", "--port", str(self.port), "--db", str(self.db), *arguments)
        csms.wait_for(f"CSMS WebSocket server running on ws://127.0.0.1:{self.port}")
        return csms

    def cp(self, *arguments: str, connected: bool = True) -> Script:
        url = f"ws://127.0.0.1:{self.port}"
        cp = self._start("cp.py", "--url", url, *arguments)
        if connected:
            cp.wait_for("Connected to CSMS")
        return cp

    def transactions(self) -> list[tuple[int, str | None, str | None]]:
        """Give (id, stopped_at, reason) of each recorded transaction."""
        with closing(sqlite3.connect(self.db)) as database:
            query = "SELECT transaction_id, stopped_at, reason FROM transactions ORDER BY 1"
            return database.execute(query).fetchall()


@pytest.fixture
def suite(start_script: StartScript, free_port: int, tmp_path: Path) -> Suite:
    return Suite(start_script, free_port, tmp_path)


def test_three_cycles_of_the_base_scenario(
    suite: Suite, listener: Listener, start_script: StartScript, tmp_path: Path
) -> None:
    picture = tmp_path / "plot.png"
    plot = start_script("plot_current.py", "--save", str(picture), "--duration", "32")
    plot.wait_for("Plotting CAN frame 0x300")
    programs = [suite.charger(), suite.csms("--cycles", "3"), suite.cp()]
    first_s, first = listener.wait_for(is_frame(SetLimit(0)), 15)
    heard = [(first_s, first)]
    while len([frame for _, frame in heard if frame == StopCharging()]) < 3:
        heard.append(listener.next_frame(5))
    listener.wait_for(is_current(0, 0), 5)

    commands = [(at_s, f) for at_s, f in heard if not isinstance(f, MeasuredCurrent)]
    assert [frame for _, frame in commands] == [frame for frame, _ in CYCLE] * 3
    due_s = first_s
    for (at_s, frame), (_, wait_s) in zip(commands, CYCLE * 3, strict=True):
        assert at_s == pytest.approx(due_s, abs=0.3), f"{frame} at {at_s - first_s:.2f} s"
        due_s = at_s + wait_s
    starts_s = [at_s for at_s, frame in commands if frame == StartCharging()]
    for start_s in starts_s:
        in_cycle_a = [
            frame.current_a
            for at_s, frame in listener.heard
            if isinstance(frame, MeasuredCurrent) and start_s <= at_s < start_s + 4.5
        ]
        assert 100 in in_cycle_a
        assert in_cycle_a[-1] == 0

    programs[1].wait_for("the anomaly is over")
    plot.wait_for("ANOMALY DETECTED")
    assert plot.wait(30) == 0
    assert picture.stat().st_size > 10_000
    for program in programs:
        assert program.stop() == 0
        assert "Traceback" not in program.output
    ids = [transaction_id for transaction_id, _, reason in suite.transactions() if reason]
    assert ids == [1, 2, 3]


def test_the_programs_may_start_in_any_order(suite: Suite, listener: Listener) -> None:
    cp = suite.cp(connected=False)
    cp.wait_for("nobody listens there")
    suite.csms()
    cp.wait_for("Connected to CSMS")
    cp.wait_for("connector 1: Faulted")
    suite.charger()
    cp.wait_for("connector 1: Available", RECOVERY_S)
    listener.wait_for(is_current(100, 100), 25)


def test_a_killed_charger_is_told_again_what_to_do(suite: Suite, listener: Listener) -> None:
    charger = suite.charger()
    suite.csms("--cycles", "1")
    suite.cp()
    listener.wait_for(is_frame(StartCharging()), 20)
    charger.kill()
    listener.heard.clear()
    suite.charger()
    _, said_again = listener.wait_for(lambda frame: isinstance(frame, SetLimit), RECOVERY_S)
    assert said_again == SetLimit(100)


def test_a_killed_charger_in_a_long_transaction_charges_again(
    suite: Suite, listener: Listener
) -> None:
    charger, cp = suite.charger(), None
    csms = suite.csms("--cycles", "1")
    cp = suite.cp()
    listener.wait_for(is_current(100, 100), 20)
    csms.kill()  # nobody stops the transaction now: it goes on
    cp.wait_for("is lost; connecting again")
    charger.kill()
    suite.charger()
    listener.heard.clear()
    listener.wait_for(is_current(0, 0), RECOVERY_S)  # off until it is told to start
    listener.wait_for(is_current(100, 100), RECOVERY_S)


def test_a_silent_charger_is_faulted_and_then_ends_the_transaction(
    suite: Suite, listener: Listener
) -> None:
    charger = suite.charger()
    csms = suite.csms("--cycles", "1")
    cp = suite.cp()
    listener.wait_for(is_frame(StartCharging()), 20)
    csms.kill()
    charger.kill()
    cp.wait_for("connector 1: Faulted", 8)
    cp.wait_for("the charger stays silent", 8)
    csms = suite.csms("--no-anomaly")
    csms.wait_for("stopped: Other", RECOVERY_S + 5)
    suite.charger()
    cp.wait_for("connector 1: Available", RECOVERY_S)
    listener.wait_for(is_frame(StopCharging()), 5)


def test_a_killed_central_system_does_not_stop_the_charging(
    suite: Suite, listener: Listener
) -> None:
    suite.charger()
    csms = suite.csms()
    suite.cp()
    listener.wait_for(is_current(100, 100), 20)
    csms.kill()
    for _ in range(3):
        listener.wait_for(is_current(0, 200), 2)
        assert is_current(100, 100)(listener.heard[-1][1])
    csms = suite.csms("--no-anomaly", "--log-level", "debug")
    csms.wait_for("CP_1: connected", RECOVERY_S)
    csms.wait_for("100 A", RECOVERY_S)  # the meter values of the transaction that goes on
    assert [stopped_at for _, stopped_at, _ in suite.transactions()] == [None]


def test_a_restarted_central_system_stops_what_runs_and_plays_on(
    suite: Suite, listener: Listener
) -> None:
    suite.charger()
    csms = suite.csms()
    suite.cp()
    listener.wait_for(is_current(100, 100), 20)
    csms.kill()
    csms = suite.csms("--cycles", "1")
    csms.wait_for("transaction 1 is still running", RECOVERY_S + 3)
    csms.wait_for("transaction 1 stopped: Remote")
    csms.wait_for("transaction 2 started")
    csms.wait_for("transaction 2 stopped: Remote")


def test_a_killed_charge_point_ends_its_transaction_after_the_restart(
    suite: Suite, listener: Listener
) -> None:
    suite.charger()
    csms = suite.csms()
    cp = suite.cp()
    listener.wait_for(is_current(100, 100), 20)
    cp.kill()
    listener.heard.clear()
    suite.cp()
    listener.wait_for(is_frame(StopCharging()), RECOVERY_S)
    listener.wait_for(is_current(0, 0), 2)
    csms.wait_for("transaction 1 stopped: PowerLoss", RECOVERY_S)
    csms.wait_for("transaction 2 started", 20)


def test_a_charge_point_that_exits_stops_charging_first(suite: Suite, listener: Listener) -> None:
    suite.charger()
    suite.csms()
    cp = suite.cp()
    listener.wait_for(is_current(100, 100), 20)
    assert cp.stop() == 0
    listener.wait_for(is_frame(StopCharging()), 1)
    assert suite.transactions()[0][2] == "Reboot"


def test_a_killed_plot_can_be_started_again(start_script: StartScript, suite: Suite) -> None:
    suite.charger()
    never = str(suite.db.with_name("never.png"))
    plot = start_script("plot_current.py", "--save", never, "--duration", "100")
    plot.wait_for("Plotting CAN frame 0x300")
    plot.kill()
    again = start_script(
        "plot_current.py", "--save", str(suite.db.parent / "a.png"), "--duration", "5"
    )
    again.wait_for("Plotting CAN frame 0x300")
    assert again.wait() == 0
    assert "NO DATA" not in again.output  # which it says after 3 s without a frame


def test_several_charge_points_at_once(suite: Suite) -> None:
    csms = suite.csms("--cycles", "1")
    suite.charger()
    for number in (1, 2, 3):
        suite.cp("--id", f"CP_{number}")
    for number in (1, 2, 3):
        csms.wait_for(f"CP_{number}: the anomaly is over", 30)
    assert len(suite.transactions()) == 3


def test_garbage_on_the_bus_stops_nothing(suite: Suite, listener: Listener) -> None:
    suite.charger()
    suite.csms()
    cp = suite.cp()
    bus = listener.bus
    message = encode(StartCharging())
    message.data, message.dlc = bytearray(b"\1"), 1
    for _ in range(100):
        bus.send(message)
    cp.wait_for("said once per kind")
    listener.wait_for(is_current(100, 100), 20)
    assert cp.output.count("said once per kind") == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("csms.py", "--port", "70000"), 2, "not a port"),
        (("csms.py", "--port", "PORT"), 1, "in use"),
        (("csms.py", "--cycles", "0"), 2, "from 1 up"),
        (("csms.py", "--host", "999.1.1.1"), 1, "--host"),
        (("csms.py", "--db", "/proc/no.sqlite"), 1, "cannot"),
        (("cp.py", "--url", "http://127.0.0.1"), 1, "no WebSocket URL"),
        (("cp.py", "--url", "ws://127.0.0.1:99999"), 1, "no WebSocket URL"),
        (("cp.py", "--url", "ws://a..b:9000"), 1, "no WebSocket URL"),
        (("cp.py", "--url", "ws://exa mple:9000"), 1, "no WebSocket URL"),
        (("cp.py", "--url", "ws://CP_1:secret@127.0.0.1:9000"), 1, "--key-file"),
        (("cp.py", "--seed", "-1"), 2, "from 0 up"),
        (("charger_module.py", "--seed", "-1"), 2, "from 0 up"),
        (("csms.py", "--host", "a..b"), 1, "--host"),
        (("cp.py", "--meter-interval", "0"), 2, "above 0"),
        (("cp.py", "--can-interface", "carrier-pigeon"), 1, "carrier-pigeon"),
        (("cp.py", "--can-interface", "evsim", "--can-channel", "vcan0"), 1, "multicast"),
        (("cp.py", "--state", "/proc/state"), 1, "cannot"),
        (("cp.py", "--config", "X=Y"), 1, "no configuration key 'X'"),
        (("cp.py", "--id", ""), 2, "--id"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_one_clear_line(
    start_script: StartScript, suite: Suite, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    suite.csms()
    script = start_script(*[a.replace("PORT", str(suite.port)) for a in arguments])
    assert script.wait() == exit_code
    assert words in script.lines[-1]
    assert "Traceback" not in script.output
    if exit_code == 1:
        assert len(script.lines) == 1


def test_a_second_charge_point_with_the_same_id_says_so(suite: Suite) -> None:
    suite.csms()
    suite.cp()
    second = suite.cp(connected=False)
    assert second.wait() == 1
    assert "another program is using it" in second.lines[-1]
