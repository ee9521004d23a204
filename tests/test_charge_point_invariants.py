"""Whatever a driver, a central system, the network and the power do, and in which order.

Random sequences of all that can happen at a connector are played in virtual time, with a real
charger. What must hold at every moment is watched; and in the end, with everything as it should be,
each transaction has been told from its start to its end, and a driver can charge.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ocpp.v16 import call
from ocpp.v16.enums import ChargePointStatus
from octt_bench import BY_HAND, FIXED, LONGEST_S, Bench, bench
from octt_central import Answer

from evsim import virtual_time
from evsim.charge_point.connector_status import Fault
from evsim.charge_point.hardware import Hardware
from evsim.clock import to_ocpp
from evsim.errors import UserError
from evsim.frames import Frame, StartCharging

#: So long a sequence goes on by itself in the end: longer than whatever anything waits for.
SETTLE_S = 200.0
IN_TRANSACTION = {
    ChargePointStatus.charging,
    ChargePointStatus.suspended_ev,
    ChargePointStatus.suspended_evse,
}
#: Changes that OCPP 1.6 section 4.9 does not have: a plugged-in cable is no reason to refuse
#: ChangeAvailability, a start that timed out leaves the reservation, a fault may follow another.
BEYOND_THE_TABLE = {
    ("Preparing", "Unavailable"),
    ("Preparing", "Reserved"),
    ("Faulted", "Faulted"),
}


# ── What can happen ──────────────────────────────────────────────────────────────────────────

HAPPENINGS = [
    *[("plug", ""), ("unplug", "")] * 3,
    *[("tag", "A"), ("remote-start", "A"), ("remote-stop", "")] * 2,
    *[("tag", "B"), ("remote-start", "B")],
    *[("fault", "GroundFailure"), ("clear", "")],
    *[("power-cut", ""), ("power-cut", "announced")],
    *[("reset", "Soft"), ("reset", "Hard"), ("unlock", "")],
    *[("availability", "Inoperative"), ("availability", "Operative")],
    *[("reserve", "A"), ("cancel", "")],
    *[("limit", "0"), ("limit", "100")],
    *[("offline", ""), ("online", "")],
    *[("charger", "silent"), ("charger", "speaks")],
    *[("say-of-a", "Accepted"), ("say-of-a", "Invalid")],
    *[("boots-are", "Accepted"), ("boots-are", "Rejected")],
    *[("trigger", "BootNotification"), ("trigger", "MeterValues")],
    *[("firmware", "2.0"), ("firmware", "none")],
    *[("answers-take", "0"), ("answers-take", "4")],
    *[("StopTransactionOnEVSideDisconnect", v) for v in ("true", "false")],
    *[("StopTransactionOnInvalidId", v) for v in ("true", "false")],
    *[("UnlockConnectorOnEVSideDisconnect", v) for v in ("true", "false")],
    *[("AllowOfflineTxForUnknownId", v) for v in ("true", "false")],
]
#: What happens, with an argument, and the time that passes afterwards, s.
Step = tuple[tuple[str, str], float]
STEPS = st.tuples(
    st.sampled_from(HAPPENINGS), st.sampled_from([0.0, 0.0, 0.01, 0.5, 0.5, 3.0, 8.0, 70.0])
)
HARDWARE = st.sampled_from([BY_HAND, FIXED, Hardware()])


class World:
    """All that is around the charge point."""

    def __init__(self, it: Bench, directory: Path) -> None:
        self.it = it
        self.cp = it.cp
        self.directory = directory
        self.answers_take_s = 0.0
        self.failures: list[BaseException] = []
        self._charger_sends = it.charger.node.send
        self._asking: set[asyncio.Task[None]] = set()
        for action in ("Authorize", "StartTransaction", "StopTransaction"):
            hear = it.central.route_map[action]["_on_action"]
            it.central.route_map[action] = {"_on_action": self._slow(hear)}
        start = it.central.answers["StartTransaction"]
        it.central.answers["StartTransaction"] = self._recognised(start)

    def _slow(self, hear: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def slow(**payload: Any) -> Any:
            await asyncio.sleep(self.answers_take_s)
            return await hear(**payload)

        return slow

    def _recognised(self, answer: Answer) -> Answer:
        """Answer a repetition after a lost connection as before, as a central system has to."""
        given: list[tuple[dict[str, Any], Any]] = []

        def recognise(asked: dict[str, Any]) -> Any:
            if not given or given[-1][0] != asked:
                given.append((asked, answer(asked)))
            return given[-1][1]

        return recognise

    async def play(self, what: str, argument: str = "", then_s: float = 0.0) -> None:
        """Let something happen, without waiting for what comes of it, but for that time."""
        if what in ("plug", "unplug", "clear"):
            self._try(getattr(self.cp, what))
        elif what == "tag":
            self._begin(self._ignoring_user_error(self.cp.tag(argument)))
        elif what == "fault":
            self._try(lambda: self.cp.fault(argument))
        elif what == "power-cut":
            self._try(lambda: self.cp.power_cut(announced=bool(argument)))
        elif what == "offline":
            if self.it._online.is_set():
                await self.it.go_offline()
        elif what == "online":
            self.it.go_online()
        elif what == "charger":
            self._let_the_charger_speak(speaks=argument == "speaks")
        elif what == "say-of-a":
            self.it.central.tags["A"] = {"status": argument}
        elif what == "boots-are":
            self.it.central.boots = [(argument, 20)]
        elif what == "answers-take":
            self.answers_take_s = float(argument)
        else:
            self._begin(self._ask(self._request(what, argument)))
        await asyncio.sleep(then_s)

    def _request(self, what: str, argument: str) -> Any:
        transaction = self.cp.connector.transaction
        match what:
            case "remote-start":
                return call.RemoteStartTransaction(argument, 1)
            case "remote-stop":
                number = transaction.transaction_id if transaction else None
                return call.RemoteStopTransaction(number or self.it.central.next_transaction_id)
            case "reset":
                return call.Reset(argument)  # type: ignore[arg-type]
            case "unlock":
                return call.UnlockConnector(1)
            case "availability":
                return call.ChangeAvailability(1, argument)  # type: ignore[arg-type]
            case "reserve":
                until = self.it.now() + timedelta(seconds=90)
                return call.ReserveNow(1, to_ocpp(until), argument, 7)
            case "cancel":
                return call.CancelReservation(7)
            case "trigger":
                return call.TriggerMessage(argument)  # type: ignore[arg-type]
            case "firmware":
                location = (self.directory / argument).as_uri()
                return call.UpdateFirmware(location, to_ocpp(self.it.now()))
            case "limit":
                return call.SetChargingProfile(1, _profile(float(argument)))
        return call.ChangeConfiguration(what, argument)

    def _let_the_charger_speak(self, *, speaks: bool) -> None:
        send = self._charger_sends if speaks else lambda frame: True
        self.it.charger.node.send = send  # type: ignore[method-assign]

    def _try(self, verb: Callable[[], object]) -> None:
        with contextlib.suppress(UserError):  # a person is told so, and nothing has happened
            verb()

    async def _ignoring_user_error(self, verb: Coroutine[Any, Any, object]) -> None:
        with contextlib.suppress(UserError):
            await verb

    async def _ask(self, request: Any) -> None:
        # Offline, or down; but an OCPPError would be a failure.
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self.it.central.call(request)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        def done(task: asyncio.Task[None]) -> None:
            self._asking.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.failures.append(error)

        task = asyncio.create_task(work)
        self._asking.add(task)
        task.add_done_callback(done)

    async def calm_down(self) -> None:
        """Set everything right, and let all that was begun end."""
        self.answers_take_s = 0.0
        self.it.central.tags.clear()
        self.it.central.boots = [("Accepted", 300)]
        self._let_the_charger_speak(speaks=True)
        self.it.go_online()
        await asyncio.sleep(SETTLE_S)
        for what in ("cancel", "availability", "remote-stop", "limit"):
            argument = {"availability": "Operative", "limit": "100"}.get(what, "")
            await self.play(what, argument, 10.0)
        self._try(self.cp.unplug)
        self._try(self.cp.clear)
        await self.play("unlock", then_s=SETTLE_S)


def _profile(limit_a: float) -> dict[str, Any]:
    return {
        "charging_profile_id": 1,
        "stack_level": 0,
        "charging_profile_purpose": "TxDefaultProfile",
        "charging_profile_kind": "Relative",
        "charging_schedule": {
            "charging_rate_unit": "A",
            "charging_schedule_period": [{"start_period": 0, "limit": limit_a}],
        },
    }


# ── What must hold ───────────────────────────────────────────────────────────────────────────


class Watch(logging.Handler):
    """Watches a charge point; what it finds is in `broken`."""

    def __init__(self, it: Bench) -> None:
        super().__init__(logging.ERROR)
        self.cp = it.cp
        self.broken: list[str] = []
        self.statuses = [it.cp.connector.status]
        connector = it.cp.connector
        self._report, connector._report = connector._report, self._note_status
        self._send, connector.charger._send = connector.charger._send, self._note_frame

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a traceback in the log."""
        if record.exc_info:
            self._break(f"{record.getMessage()}: {record.exc_info[1]!r}")

    def _break(self, what: str) -> None:
        at_s = asyncio.get_running_loop().time()
        self.broken.append(f"{at_s:.3f} s: {what}; {self.cp.connector.occupancy}")

    def _note_status(
        self, connector_id: int, status: ChargePointStatus, fault: Fault | None
    ) -> None:
        if self.statuses[-1] == ChargePointStatus.finishing and status in IN_TRANSACTION:
            self._break(f"Finishing, then {status}")
        if status in IN_TRANSACTION and self.cp.connector.transaction is None:
            self._break(f"{status} without a transaction")
        self.statuses.append(status)
        self._report(connector_id, status, fault)

    def _note_frame(self, frame: Frame) -> object:
        if frame == StartCharging():
            connector = self.cp.connector
            transaction = connector.transaction
            if transaction is None or transaction.stop.done():
                self._break("StartCharging without a transaction")
            if not connector.occupancy.plugged:
                self._break("StartCharging without a cable")
            if connector.occupancy.blocked:
                self._break("StartCharging for an id tag that is refused")
        return self._send(frame)

    def look(self) -> None:
        """Look at what must hold at every moment."""
        connector, occupancy = self.cp.connector, self.cp.connector.occupancy
        transaction = connector.transaction
        open_ones = self.cp.ledger.open_transactions()
        rules = {
            "two transactions": len(open_ones) > 1,
            "a transaction that is not in the ledger": transaction is not None and not open_ones,
            "offers energy without a transaction": transaction is None and occupancy.charging,
            "blocked without a transaction": transaction is None and occupancy.blocked,
            "the charger delivers without a transaction": transaction is None
            and connector.charger.charging,
            "the charger delivers without a cable": not occupancy.plugged
            and connector.charger.charging,
            "finishing in a transaction": transaction is not None and occupancy.finishing,
            "a claim of nobody": occupancy.claimed and not self.cp.charging.is_under_way,
            "charges without power": self.cp.is_down and transaction is not None,
        }
        for what, is_so in rules.items():
            if is_so:
                self._break(what)


def check_what_was_told(it: Bench) -> None:
    """Check that each transaction was told in order: one start, then one stop."""
    told = [m for m in it.central.got if m.action in ("StartTransaction", "StopTransaction")]
    # After a lost connection the last one is said again.
    once = [m for n, m in enumerate(told) if n == 0 or m[1:] != told[n - 1][1:]]
    assert [m.action for m in once] == ["StartTransaction", "StopTransaction"] * (len(once) // 2)
    meters = [int(m.payload.get("meter_start", m.payload.get("meter_stop", -1))) for m in once]
    assert meters == sorted(meters)
    stamps = [m.payload["timestamp"] for m in once]
    assert stamps == sorted(stamps)
    stopped = [m.payload["transaction_id"] for m in once if m.action == "StopTransaction"]
    assert stopped == [1001 + n for n in range(len(stopped))]


async def check_that_a_driver_can_charge(it: Bench) -> None:
    """Play a session as it should be."""
    statuses, currents_a = [it.cp.connector.status], [it.current_a > 0]
    it.cp.plug()
    await asyncio.sleep(1)
    for said in ("charging begins", "charging ends"):
        assert await it.cp.tag("C") == said
        await asyncio.sleep(20)
        statuses.append(it.cp.connector.status)
        currents_a.append(it.current_a > 0)
    it.cp.unplug()
    await asyncio.sleep(1)
    statuses.append(it.cp.connector.status)
    assert statuses == ["Available", "Charging", "Finishing", "Available"]
    assert currents_a == [False, True, False]


# ── The tests ────────────────────────────────────────────────────────────────────────────────


async def play(hardware: Hardware, steps: Sequence[Step], directory: Path) -> None:
    """Play a sequence, and check all of it."""
    async with (
        asyncio.timeout(LONGEST_S),
        bench(hardware=hardware, configuration={"MeterValueSampleInterval": "5"}) as it,
    ):
        it.central.also_allowed |= BEYOND_THE_TABLE
        world, watch = World(it, directory), Watch(it)
        logging.getLogger("evsim").addHandler(watch)
        try:
            for (what, argument), then_s in steps:
                await world.play(what, argument, then_s)
                if then_s:  # and what one happening brings is over
                    watch.look()
            await world.calm_down()
            watch.look()
            await check_that_a_driver_can_charge(it)
            await asyncio.sleep(30)
        finally:
            logging.getLogger("evsim").removeHandler(watch)
        assert not watch.broken, watch.broken
        assert not world.failures, world.failures
        assert it.ledger.waiting == 0
        assert it.ledger.open_transactions() == []
        check_what_was_told(it)
        told = [m["status"] for m in it.central.all("StatusNotification") if m["connector_id"] == 1]
        assert told[-1] == it.cp.connector.status


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with firmware 2.0."""
    directory = tmp_path_factory.mktemp("firmware")
    (directory / "2.0").write_text("EVSIM-FIRMWARE 2.0\n")
    return directory


@pytest.mark.parametrize(
    ("hardware", "steps"),
    [
        (  # plugged in again, and the end comes while the charger still waits after its stop
            BY_HAND,
            [
                (("StopTransactionOnEVSideDisconnect", "false"), 0.5),
                (("plug", ""), 0.0),
                (("tag", "A"), 8.0),
                (("unplug", ""), 0.0),
                (("plug", ""), 0.01),
                (("remote-stop", ""), 3.0),
            ],
        ),
        (  # while the transaction is still being told of
            Hardware(),
            [
                (("AllowOfflineTxForUnknownId", "true"), 0.5),
                (("tag", "A"), 3.0),
                (("answers-take", "4"), 0.0),
                (("reset", "Soft"), 0.5),
                (("tag", "B"), 3.0),
            ],
        ),
        (  # while the tag is being asked about
            BY_HAND,
            [
                (("answers-take", "4"), 0.0),
                (("AllowOfflineTxForUnknownId", "true"), 0.5),
                (("plug", ""), 0.0),
                (("tag", "A"), 0.5),
                (("reset", "Hard"), 8.0),
            ],
        ),
        (BY_HAND, [(("tag", "B"), 0.0), (("unlock", ""), 8.0)]),
        (BY_HAND, [(("boots-are", "Rejected"), 0.0), (("trigger", "BootNotification"), 70.0)]),
    ],
)
def test_a_sequence_that_once_broke_something(
    firmware: Path, hardware: Hardware, steps: list[Step]
) -> None:
    virtual_time.run(play(hardware, steps, firmware))


@settings(deadline=None, max_examples=25, derandomize=True)
@given(HARDWARE, st.lists(STEPS, min_size=8, max_size=30))
def test_whatever_happens_transactions_stay_whole(
    firmware: Path, hardware: Hardware, steps: list[Step]
) -> None:
    virtual_time.run(play(hardware, steps, firmware))
