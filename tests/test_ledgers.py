"""Nothing is lost: the ledgers of both ends are equal, whatever was killed, and whenever.

Real processes, real SIGKILLs and real WebSockets, except where a clock has to be stepped.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import can
import ledger_journals
import numpy as np
import pytest
from conftest import READY_S, Script, StartScript

import cp
import csms
from evsim import virtual_time
from evsim.bus import open_bus
from evsim.central_system.ledger import Ledger as CentralLedger
from evsim.charge_point.ledger import Ledger
from evsim.charger import PLANTS
from evsim.clock import to_ocpp
from evsim.frames import Frame, MeasuredCurrent, SetLimit, StopCharging, decode
from evsim.in_memory import websocket_pair

SEED = 20260101
ROUNDS = 60
CHARGE_POINTS = ("CP_1", "CP_2")
METER_INTERVAL_S = 0.05
#: A victim is killed at most this long after the line that was waited for.
LONGEST_DELAY_S = 0.4
#: Those lines; "" for none: killed just after its start.
CP_SAYS = ("", "Connected to CSMS", "Preparing", "started", "Charging", "ended")
CSMS_SAYS = ("", "running on", "connected", "started by", "stopped:")

AT = datetime.fromisoformat("2026-01-01T12:00:00Z")
VALUES = [{"value": "1", "measurand": "Current.Import", "unit": "A"}]

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]


class Bench:
    """A charger, a central system in a hurry, charge points; both ends keep journals."""

    def __init__(self, start: StartScript, port: int, directory: Path) -> None:
        self._start = start
        self._port = port
        self.state = directory / "charge_points"
        self.db = directory / "csms.sqlite"
        ledger_journals.keep_central_journal(self.db)
        for charge_point_id in CHARGE_POINTS:
            ledger_journals.keep_charge_point_journal(self.ledger_path(charge_point_id))
        charger = start("charger_module.py")
        charger.wait_for("Listening for CAN commands")

    def ledger_path(self, charge_point_id: str) -> Path:
        return self.state / f"charge_point_{charge_point_id}.sqlite"

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    def csms(self, point: str = "never", *arguments: str) -> Script:
        """Start csms.py, to die at `point` (see hurried.py)."""
        place = ("--port", str(self._port), "--db", str(self.db))
        return self._start("tests/hurried.py", point, "csms.py", *place, *arguments)

    def cp(self, charge_point_id: str, point: str = "never", *arguments: str) -> Script:
        """Start cp.py, to die at `point`."""
        place = ("--url", self.url, "--state", str(self.state))
        options = ("--id", charge_point_id, "--meter-interval", str(METER_INTERVAL_S))
        return self._start("tests/hurried.py", point, "cp.py", *place, *options, *arguments)

    def start(self, name: str, point: str = "never") -> Script:
        return self.csms(point) if name == "csms" else self.cp(name, point)

    def waiting(self, charge_point_id: str) -> int:
        """How many messages a charge point, which does not run now, has still to send."""
        with closing(Ledger(self.ledger_path(charge_point_id))) as ledger:
            return ledger.waiting

    def settle(self, running: dict[str, Script]) -> None:
        """End all transactions and let everything be delivered; then no charge point runs."""
        running["csms"].kill()
        csms = self.csms("never", "--no-anomaly")
        csms.wait_for("running on")
        for charge_point_id in CHARGE_POINTS:
            if charge_point_id not in running:
                continue
            cp = running[charge_point_id]
            while cp.stop() or self.waiting(charge_point_id):
                cp = self.cp(charge_point_id)
                cp.wait_for("Connected to CSMS")

    def assert_equal(self, charge_point_id: str) -> list[ledger_journals.Event]:
        path = self.ledger_path(charge_point_id)
        return ledger_journals.assert_equal(path, self.db, charge_point_id)


@pytest.fixture
def bench(start_script: StartScript, free_port: int, tmp_path: Path) -> Bench:
    return Bench(start_script, free_port, tmp_path)


def test_both_ledgers_are_equal_after_many_kills_at_random_moments(bench: Bench) -> None:
    rng = np.random.default_rng(SEED)
    pause = threading.Event()
    running = {name: bench.start(name) for name in ("csms", *CHARGE_POINTS)}
    for _ in range(ROUNDS):
        victims = [("CP_1",), ("CP_2",), ("csms",), ("csms", "CP_1")][rng.choice(4)]
        running[victims[0]].wait_for(rng.choice(CSMS_SAYS if "csms" in victims else CP_SAYS))
        pause.wait(rng.uniform(0, LONGEST_DELAY_S))
        for name in victims:
            running[name].kill()
            running[name] = bench.start(name)
    bench.settle(running)
    for charge_point_id in CHARGE_POINTS:
        events = bench.assert_equal(charge_point_id)
        stops = [rest[-1] for action, _, _, rest in events if action == "StopTransaction"]
        assert stops.count("PowerLoss") >= 5, "hardly ever killed in a transaction"
        assert "Remote" in stops
        assert len([action for action, *_ in events if action == "MeterValues"]) > 20


#: Each leaves its process just before or just after a commit.
CP_POINTS = [
    f"{when} {call}"
    for call in ("begin 1", "delivered 1", "meter_values 1", "delivered 2", "meter_values 4")
    for when in ("before", "after")
] + [f"{when} {call}" for call in ("end 1", "delivered 9") for when in ("before", "after")]
CSMS_POINTS = [
    f"{when} {call}"
    for call in ("start_transaction 1", "meter_values 1", "meter_values 5", "stop_transaction 1")
    for when in ("before", "after")
]


def test_both_ledgers_are_equal_after_a_kill_on_each_side_of_each_commit(bench: Bench) -> None:
    running = {name: bench.start(name) for name in ("csms", "CP_1")}
    points = [("CP_1", point) for point in CP_POINTS] + [("csms", point) for point in CSMS_POINTS]
    for name, point in points:
        running[name].kill()
        running[name] = bench.start(name, point)
        assert running[name].wait() == -signal.SIGKILL, point
        running[name] = bench.start(name)
    bench.settle(running)
    bench.assert_equal("CP_1")


# ── Away for long ────────────────────────────────────────────────────────────────────────────


def test_what_happened_offline_arrives_in_order_before_what_happens_next(bench: Bench) -> None:
    central, charge_point = bench.csms(), bench.cp("CP_1")
    charge_point.wait_for("transaction 1 started")
    central.kill()
    # Started online; its end, a restart and all meter values are offline.
    charge_point.wait_for("is lost; connecting again")
    assert charge_point.stop() == 0
    charge_point.wait_for("messages will be sent after the next start")
    queued = ledger_journals.queued_events(bench.ledger_path("CP_1"))
    assert queued[-1][3][-1] == "Reboot"
    charge_point = bench.cp("CP_1")
    charge_point.wait_for("nobody listens there")
    running = {"csms": bench.csms(), "CP_1": charge_point}
    running["csms"].wait_for("transaction 1 stopped: Reboot")
    running["csms"].wait_for("transaction 2 started")
    bench.settle(running)
    assert bench.assert_equal("CP_1")[: len(queued)] == queued


def test_a_day_offline_is_caught_up_with(bench: Bench) -> None:
    with closing(Ledger(bench.ledger_path("CP_1"))) as ledger:
        for hour in range(3):
            at = AT + timedelta(hours=hour)
            local_id = ledger.begin(1, "TAG", hour, at)
            for minute in range(1, 600):
                stamp = to_ocpp(at + timedelta(seconds=minute))
                values = {"timestamp": stamp, "sampled_value": VALUES}
                payload = {"connector_id": 1, "meter_value": [values]}
                ledger.meter_values(local_id, payload, hour)
            ledger.end(local_id, reason="Local", register_wh=hour, at=at + timedelta(minutes=30))
    central, charge_point = bench.csms("never", "--no-anomaly"), bench.cp("CP_1")
    central.wait_for("transaction 3 stopped: Local", 120)
    bench.settle({"csms": central, "CP_1": charge_point})
    assert len(bench.assert_equal("CP_1")) == 3 * 601


# ── Disks ────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def full_disk(script: Script) -> Iterator[None]:
    """Let a running process write to no file."""
    import resource

    limits = resource.prlimit(script.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(script.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    yield
    with suppress(ProcessLookupError):  # it may have ended
        resource.prlimit(script.pid, resource.RLIMIT_FSIZE, limits)


def assert_stops_its_charger_and_ends(script: Script, bus: can.BusABC, words: str) -> None:
    """Check that it ends by itself with one line that contains `words`."""
    assert script.wait() == 1
    assert words in script.lines[-1]
    assert script.lines[-1].startswith("cp.py: ")
    assert "Traceback" not in script.output
    message = bus.recv(0)
    heard = []
    while message is not None:
        heard.append(decode(message))
        message = bus.recv(0)
    commands = [frame for frame in heard if not isinstance(frame, MeasuredCurrent)]
    assert commands[-1] == StopCharging()


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files")
def test_a_charge_point_whose_disk_is_full_stops_and_later_goes_on(
    bench: Bench, can_channel: str
) -> None:
    central, charge_point = bench.csms(), bench.cp("CP_1")
    charge_point.wait_for("connector 1: Charging")
    with open_bus("evsim", can_channel) as bus, full_disk(charge_point):
        assert_stops_its_charger_and_ends(charge_point, bus, "is the disk full?")
    running = {"csms": central, "CP_1": bench.cp("CP_1")}
    central.wait_for("transaction 1 stopped: PowerLoss")
    bench.settle(running)
    bench.assert_equal("CP_1")


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files")
def test_a_central_system_whose_disk_is_full_lives_and_what_it_refused_comes_again(
    bench: Bench,
) -> None:
    central, charge_point = bench.csms(), bench.cp("CP_1")
    charge_point.wait_for("connector 1: Charging")
    with full_disk(central):
        line = central.wait_for("not processed: cannot write")
        assert "is the disk full?" in line
        charge_point.wait_for("was refused, again in 4 s")
    central.wait_for("transaction 2 stopped")
    bench.settle({"csms": central, "CP_1": charge_point})
    bench.assert_equal("CP_1")
    assert "Traceback" not in central.output + charge_point.output


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are open")
def test_a_charge_point_whose_state_directory_is_removed_stops(
    bench: Bench, can_channel: str
) -> None:
    bench.csms()
    charge_point = bench.cp("CP_1")
    charge_point.wait_for("connector 1: Charging")
    with open_bus("evsim", can_channel) as bus:
        shutil.rmtree(bench.state)
        assert_stops_its_charger_and_ends(charge_point, bus, "was removed while it was in use")


def test_two_central_systems_share_one_database(bench: Bench) -> None:
    other = bench.csms("never", "--port", "0")
    words = "CSMS WebSocket server running on "
    url = other.wait_for(words).removeprefix(words)
    centrals = {"CP_1": bench.csms(), "CP_2": other}
    fast = ("--meter-interval", "0.01")
    running = {
        "CP_1": bench.cp("CP_1", "never", *fast),
        "CP_2": bench.cp("CP_2", "never", *fast, "--url", url),
    }
    for charge_point_id, central in centrals.items():
        for _ in range(5):
            central.wait_for(f"{charge_point_id}: transaction")
    other.kill()
    bench.settle({"csms": centrals["CP_1"], **running})
    for charge_point_id, central in centrals.items():
        assert len(bench.assert_equal(charge_point_id)) > 50
        assert "locked" not in central.output


def test_a_torn_or_damaged_log_costs_its_end_and_never_the_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "whole.sqlite")
    for hour in range(8):
        at = AT + timedelta(hours=hour)
        ledger.end(ledger.begin(1, "TAG", 0, at), reason="Local", register_wh=0, at=at)
    whole = {suffix: (tmp_path / f"whole.sqlite{suffix}").read_bytes() for suffix in ("", "-wal")}
    ledger.close()
    log = whole["-wal"]
    rng = np.random.default_rng(SEED)
    survived = set()
    for number in range(60):
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(whole[""])
        at_byte = int(rng.integers(len(log)))
        torn = log[:at_byte] if number % 2 else log[:at_byte] + b"?" + log[at_byte + 1 :]
        path.with_name(f"{number}.sqlite-wal").write_bytes(torn)
        with closing(Ledger(path)) as again:
            left = again.waiting
            survived.add(left)
            assert len(again.open_transactions()) == left % 2  # begun, and its end is torn off
            message = again.next_message()
            assert message is None or message.number == 1
    assert len(survived) > 8


# ── Clocks ───────────────────────────────────────────────────────────────────────────────────


class Node:
    """Stands for the CAN bus: the charger is heard once a second, and what it is told is kept."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []
        self.on_frame: Callable[[Frame], None] = lambda _: None

    def send(self, frame: Frame) -> bool:
        self.sent.append(frame)
        return True

    async def speak(self) -> None:
        while True:
            self.on_frame(MeasuredCurrent(7))
            await asyncio.sleep(1)


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(days=400)], ids=str)
def test_a_stepped_clock_changes_no_order_no_time_stamp_and_no_limit(
    tmp_path: Path, step: timedelta
) -> None:
    ours, theirs = tmp_path / "charge_point.sqlite", tmp_path / "csms.sqlite"
    ledger_journals.keep_charge_point_journal(ours)
    ledger_journals.keep_central_journal(theirs)
    stamped: list[str] = []
    node = Node()

    async def play(ledger: Ledger, central_ledger: CentralLedger) -> None:
        clock, stepped = virtual_time.clock(AT), timedelta()

        def now() -> datetime:
            stamped.append(to_ocpp(clock() + stepped))
            return clock() + stepped

        charge_point = cp.ChargePoint(
            "CP_1",
            node=node,  # type: ignore[arg-type] # offers what is used of a CanNode
            ledger=ledger,
            plant=PLANTS["dc"],
            now=now,
        )
        central = csms.CentralSystem(central_ledger, cycles=0)
        one, other = websocket_pair()
        everything = [charge_point.run(), charge_point.talk(one), node.speak()]
        running = [asyncio.create_task(each) for each in everything]
        running.append(asyncio.create_task(central.talk("CP_1", other)))
        await asyncio.sleep(1)
        station = central.charge_points["CP_1"]
        await station.set_limit(50)
        node.sent.clear()
        for _ in range(3):
            await station.remote_start("TAG")
            for _ in range(2):
                await asyncio.sleep(90)
                stepped += step
            await station.remote_stop(await station.started_transaction())
            await asyncio.sleep(90)
            stepped -= step
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    with closing(Ledger(ours)) as ledger, closing(CentralLedger(theirs)) as central_ledger:
        virtual_time.run(play(ledger, central_ledger))
    events = ledger_journals.assert_equal(ours, theirs, "CP_1")
    assert len(events) > 3 * 170
    stamps = [at for _, _, at, _ in events]
    assert stamps != sorted(stamps)
    read = iter(stamped)
    assert all(at in read for at in stamps), "stamps are times that were read, in that order"
    assert {frame.limit_a for frame in node.sent if isinstance(frame, SetLimit)} <= {50}


def open_each(paths: list[Path], together: Barrier) -> None:
    for path in paths:
        together.wait(READY_S)
        CentralLedger(path).close()


def test_many_processes_may_make_the_same_new_database_at_once(tmp_path: Path) -> None:
    spawning = multiprocessing.get_context("spawn")
    together = spawning.Barrier(4)
    paths = [tmp_path / f"{number}.sqlite" for number in range(200)]
    openers = [
        spawning.Process(target=open_each, args=(paths, together)) for _ in range(together.parties)
    ]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
    assert [opener.exitcode for opener in openers] == [0] * together.parties
