"""The central system and its scenario, with a charge point played by the test, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action, AuthorizationStatus

import csms
from csms import CentralSystem
from evsim import virtual_time
from evsim.central_system.id_tags import IdTag
from evsim.central_system.ledger import Ledger
from evsim.in_memory import InMemoryConnection, websocket_pair
from evsim.ocpp_link import OcppLink, on

CYCLE = ["limit 0", "limit 100", "start", "stop"]
WAITS_S = [2.0, 1.0, 2.0, 3.0]


class Station(OcppLink):
    """A charge point that obeys at once, and misbehaves when told to."""

    def __init__(self) -> None:
        super().__init__("station")
        self.asked: list[tuple[float, str]] = []
        self.refuse: set[str] = set()
        self.mute: set[str] = set()
        self.start_after_s = 0.0
        self.running: int | None = None
        self.unit_key = "Current"
        self.asked_for_its_unit = 0

    async def ask(self, what: str, detail: object = "") -> str:
        self.asked.append((asyncio.get_running_loop().time(), f"{what} {detail}".strip()))
        if what in self.mute:
            await asyncio.Event().wait()
        return "Rejected" if what in self.refuse else "Accepted"

    @on(Action.get_configuration)
    async def on_get_configuration(self, key: list[str], **_: object) -> Any:
        assert key == ["ChargingScheduleAllowedChargingRateUnit"]
        self.asked_for_its_unit += 1
        if "unit" in self.mute:
            await asyncio.Event().wait()
        entry = {"key": key[0], "readonly": True, "value": self.unit_key}
        return call_result.GetConfiguration([entry])

    @on(Action.set_charging_profile)
    async def on_profile(
        self, connector_id: int, cs_charging_profiles: dict[str, Any], **_: object
    ) -> call_result.SetChargingProfile:
        (period,) = cs_charging_profiles["charging_schedule"]["charging_schedule_period"]
        assert cs_charging_profiles["charging_profile_purpose"] == "TxDefaultProfile"
        assert period["start_period"] == 0
        unit = cs_charging_profiles["charging_schedule"]["charging_rate_unit"]
        assert unit == ("W" if self.unit_key == "Power" else "A")
        status = await self.ask("limit", f"{period['limit']:g}")
        return call_result.SetChargingProfile(status)  # type: ignore[arg-type]

    @on(Action.remote_start_transaction)
    async def on_start(self, id_tag: str, **_: object) -> call_result.RemoteStartTransaction:
        status = await self.ask("start")
        if status == "Accepted":
            self.run_in_background(self.begin(id_tag))
        return call_result.RemoteStartTransaction(status)  # type: ignore[arg-type]

    async def begin(self, id_tag: str) -> None:
        await asyncio.sleep(self.start_after_s)
        at_s = asyncio.get_running_loop().time()
        request = call.StartTransaction(1, id_tag, 0, f"2026-01-01T00:00:{at_s}")
        self.running = (await self.call(request)).transaction_id

    @on(Action.remote_stop_transaction)
    async def on_stop(self, transaction_id: int, **_: object) -> call_result.RemoteStopTransaction:
        status = await self.ask("stop")
        if transaction_id != self.running:
            status = "Rejected"
        if status == "Accepted":
            self.running = None
            self.run_in_background(self.end(transaction_id))
        return call_result.RemoteStopTransaction(status)  # type: ignore[arg-type]

    async def end(self, transaction_id: int) -> None:
        await self.call(call.StopTransaction(10, "2026-01-01T01:00:00Z", transaction_id))

    async def boot(self) -> str:
        answer = await self.call(call.BootNotification("model", "vendor"))
        return str(answer.status)

    async def report(self, status: str = "Available") -> None:
        await self.call(call.StatusNotification(1, "NoError", status))  # type: ignore[arg-type]

    @property
    def words(self) -> list[str]:
        return [word for _, word in self.asked]


class Bench:
    """A central system, and as many charge points as the test connects."""

    def __init__(self, state: Path, cycles: int | None) -> None:
        self.ledger = Ledger(state / "csms.sqlite")
        self.central = CentralSystem(self.ledger, cycles=cycles, now=virtual_time.clock())
        self.talking: list[asyncio.Task[None]] = []
        self.ends: list[InMemoryConnection] = []

    async def connect(self, station: Station, name: str = "CP_1") -> InMemoryConnection:
        ours, theirs = websocket_pair()
        self.ends.append(theirs)
        self.talking.append(asyncio.create_task(self.central.talk(name, ours)))
        self.talking.append(asyncio.create_task(station.serve(theirs)))
        await asyncio.sleep(0)
        return theirs


@contextlib.asynccontextmanager
async def bench(state: Path, cycles: int | None = None) -> AsyncIterator[Bench]:
    made = Bench(state, cycles)
    try:
        yield made
    finally:
        for end in made.ends:
            await end.close()
        await asyncio.gather(*made.talking)
        made.ledger.close()


def play(test: Coroutine[Any, Any, None]) -> None:
    async def run() -> None:
        async with asyncio.timeout(10_000):
            await test

    virtual_time.run(run())


def test_the_scenario_is_played_after_the_delay_with_its_waits(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=3) as it:
            station = Station()
            await it.connect(station)
            assert await station.boot() == "Accepted"
            await asyncio.sleep(60)
            assert station.words == CYCLE * 3
            due_s = csms.STARTUP_DELAY_S
            for (at_s, _), wait_s in zip(station.asked, WAITS_S * 3, strict=True):
                assert at_s == pytest.approx(due_s, abs=0.001)
                due_s += wait_s
            ids = [t.transaction_id for t in it.ledger.transactions("CP_1")]
            assert ids == [1, 2, 3]
            assert it.ledger.open_transactions("CP_1") == []

    play(test())


def test_the_scenario_is_played_in_watts_with_who_takes_nothing_else(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=2) as it:
            station = Station()
            station.unit_key = "Power"
            await it.connect(station)
            await station.boot()
            await asyncio.sleep(9)
            measured: Any = {
                "timestamp": "2026-01-01T00:00:00Z",
                "sampled_value": [
                    {"value": "100", "measurand": "Current.Import"},
                    {"value": "69", "unit": "kW", "measurand": "Power.Active.Import"},
                ],
            }
            await station.call(call.MeterValues(1, [measured]))
            await asyncio.sleep(60)
            first, second = ([*CYCLE[:1], f"limit {w}", *CYCLE[2:]] for w in (40000, 69000))
            assert station.words == [*first, *second]
            assert station.asked[0][0] == csms.STARTUP_DELAY_S
            assert station.asked_for_its_unit == 1

    play(test())


def test_who_does_not_tell_its_unit_gets_amperes_and_the_scenario(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            station.route_map = {
                action: route
                for action, route in station.route_map.items()
                if action != "GetConfiguration"
            }
            await it.connect(station)
            await station.boot()
            await asyncio.sleep(60)
            assert station.words == CYCLE

    play(test())


def test_who_leaves_while_it_is_asked_for_its_unit_is_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            station.mute = {"unit"}
            end = await it.connect(station)
            await station.boot()
            await asyncio.sleep(5)
            await end.close()
            await asyncio.sleep(5)
            station.mute.clear()
            station.asked.clear()
            await it.connect(station)
            await station.report()
            await asyncio.sleep(60)
            assert station.words == CYCLE

    play(test())
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_a_tag_is_answered_with_what_is_known_of_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=0) as it:
            station = Station()
            await it.connect(station)
            now = virtual_time.clock()()
            it.ledger.id_tags.set(
                IdTag("BLOCKED", AuthorizationStatus.blocked),
                IdTag("INVALID", AuthorizationStatus.invalid),
                IdTag("OLD", expires_at=now),
                IdTag("CHILD", expires_at=now + timedelta(hours=1), parent_id_tag="FAMILY"),
            )
            for tag, status in (
                ("blocked", "Blocked"),
                ("INVALID", "Invalid"),
                ("OLD", "Expired"),
                ("CHILD", "Accepted"),
                ("STRANGER", "Accepted"),
            ):
                answer = await station.call(call.Authorize(tag))
                assert answer.id_tag_info["status"] == status
                start = call.StartTransaction(1, tag, 0, f"2026-01-01T00:00:00Z {tag}")
                answer = await station.call(start)
                assert answer.transaction_id > 0  # whatever is said of the tag
                assert answer.id_tag_info["status"] == status
            child = (await station.call(call.Authorize("CHILD"))).id_tag_info
            assert child["parent_id_tag"] == "FAMILY"
            assert child["expiry_date"].endswith("Z")
            stop = call.StopTransaction(9, "2026-01-01T01:00:00Z", 4, id_tag="CHILD")
            assert (await station.call(stop)).id_tag_info == child

    play(test())


def test_the_meter_values_of_a_stop_are_recorded_for_its_connector(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=0) as it:
            station = Station()
            await it.connect(station)
            await station.call(call.StartTransaction(2, "TAG", 0, "2026-01-01T00:00:00Z"))
            begin: Any = {
                "timestamp": "2026-01-01T00:00:00Z",
                "sampled_value": [{"value": "0", "context": "Transaction.Begin"}],
            }
            end = begin | {"timestamp": "2026-01-01T01:00:00Z"}
            for transaction_id in (1, 99):
                stop = call.StopTransaction(
                    9, "2026-01-01T01:00:00Z", transaction_id, transaction_data=[begin, end]
                )
                await station.call(stop)
                await station.call(stop)  # a repetition
            rows = it.ledger._database.execute(
                "SELECT connector_id, transaction_id, sampled_at FROM meter_values"
            ).fetchall()
            assert rows == [
                (connector_id, transaction_id, value["timestamp"])
                for connector_id, transaction_id in ((2, 1), (0, 99))
                for value in (begin, end)
            ]

    play(test())


@pytest.mark.parametrize("refused", [False, True])
def test_a_tag_that_charges_elsewhere_starts_in_vain_only_if_that_is_asked_for(
    tmp_path: Path, refused: bool
) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=0) as it:
            it.central.one_transaction_per_tag = refused
            stations = [Station(), Station()]
            for number, station in enumerate(stations):
                await it.connect(station, f"CP_{number}")
            statuses = []
            for station, tag in zip([*stations, stations[0]], ["tag", "TAG", "TAG"], strict=True):
                start = call.StartTransaction(1, tag, 0, f"2026-01-01T00:00:00Z {tag}")
                answer = await station.call(start)
                statuses.append(answer.id_tag_info["status"])
            concurrent = "ConcurrentTx" if refused else "Accepted"
            assert statuses == ["Accepted", concurrent, concurrent]
            for number in (2, 3):
                stop = call.StopTransaction(1, "2026-01-01T00:00:00Z", number)
                await stations[number % 2 == 0].call(stop)
            # A repetition of the first StartTransaction is no other transaction.
            start = call.StartTransaction(1, "tag", 0, "2026-01-01T00:00:00Z tag")
            assert (await stations[0].call(start)).id_tag_info["status"] == "Accepted"

    play(test())


def test_without_an_anomaly_nothing_is_asked(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=0) as it:
            station = Station()
            await it.connect(station)
            await station.boot()
            await asyncio.sleep(100)
            assert station.words == []

    play(test())


def test_edits_of_the_constants_take_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csms, "HIGH_LIMIT_A", 32)
    monkeypatch.setattr(csms, "AFTER_LOW_LIMIT_S", 10.0)

    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            await it.connect(station)
            await station.boot()
            await asyncio.sleep(60)
            assert station.words == ["limit 0", "limit 32", "start", "stop"]
            assert station.asked[1][0] - station.asked[0][0] == pytest.approx(10)

    play(test())


def test_each_charge_point_gets_its_own_run(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=2) as it:
            stations = [Station() for _ in range(5)]
            for number, station in enumerate(stations):
                await it.connect(station, f"CP_{number}")
                await station.boot()
                await asyncio.sleep(0.7)
            await asyncio.sleep(60)
            assert [station.words for station in stations] == [CYCLE * 2] * 5

    play(test())


@pytest.mark.parametrize("refused", ["limit", "start", "stop"])
def test_a_refusal_is_one_line_and_the_next_cycle_begins_from_a_known_state(
    tmp_path: Path, refused: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=2) as it:
            station = Station()
            station.refuse = {refused}
            await it.connect(station)
            await station.boot()
            await asyncio.sleep({"limit": 4, "start": 7, "stop": 9}[refused])
            assert "ended early" in caplog.text
            station.refuse.clear()
            await asyncio.sleep(60)
            # A transaction that would not stop is stopped before the next cycle begins.
            rest = ["stop", *CYCLE] if refused == "stop" else CYCLE
            assert station.words[-len(rest) :] == rest
            assert it.ledger.open_transactions("CP_1") == []

    play(test())
    (line,) = [r.message for r in caplog.records if r.levelno >= logging.ERROR]
    assert "CP_1: cycle 1 ended early: " in line
    assert "Rejected" in line


def test_a_start_that_comes_late_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            station.start_after_s = 5
            await it.connect(station)
            await station.boot()
            await asyncio.sleep(60)
            assert station.words == CYCLE
            assert station.asked[3][0] - station.asked[2][0] == pytest.approx(5, abs=0.01)

    play(test())
    assert "no StartTransaction yet" in caplog.text


def test_a_start_that_never_comes_ends_the_cycle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            station.start_after_s = 1e6
            await it.connect(station)
            await station.boot()
            await asyncio.sleep(60)
            assert station.words == ["limit 0", "limit 100", "start"]

    play(test())
    assert "cycle 1 ended early: no StartTransaction within 10 s" in caplog.text


def test_no_answer_is_a_time_out_and_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            station.mute = {"limit"}
            await it.connect(station)
            await station.boot()
            await asyncio.sleep(60)

    play(test())
    assert "cycle 1 ended early: CP_1: no answer to SetChargingProfile within 10 s" in caplog.text


def test_after_a_disconnection_the_transaction_is_stopped_and_the_run_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            end = await it.connect(station)
            await station.boot()
            await asyncio.sleep(7)
            assert station.running == 1
            await end.close()
            await asyncio.sleep(100)
            assert station.words == CYCLE[:3]
            await it.connect(station)
            await station.report("Charging")  # a mere reconnect: it does not boot again
            await asyncio.sleep(60)
            assert station.words == [*CYCLE[:3], "stop", *CYCLE]
            assert it.ledger.open_transactions("CP_1") == []

    play(test())
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_a_transaction_that_only_meter_values_tell_of_is_stopped_too(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            station.running = 77  # begun with another central system, or before the record was lost
            await it.connect(station)
            value: Any = {"timestamp": "2026-01-01T00:00:00Z", "sampled_value": [{"value": "1"}]}
            await station.call(call.MeterValues(1, [value], 77))
            await station.report("Charging")
            await asyncio.sleep(60)
            assert station.words == ["stop", *CYCLE]

    play(test())


def test_stops_and_meter_values_of_strange_transactions_are_answered(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=0) as it:
            station = Station()
            await it.connect(station)
            for transaction_id in (-1, 0, 999, 2**70):
                await station.call(call.StopTransaction(10, "garbage", transaction_id))
                value: Any = {"timestamp": "garbage", "sampled_value": [{"value": "x"}]}
                await station.call(call.MeterValues(-5, [value], transaction_id))
            start = call.StartTransaction(10**30, "TAG", -(10**30), "garbage")
            assert (await station.call(start)).transaction_id == 1
            answer = await station.call(call.DataTransfer("vendor"))
            assert answer.status == "UnknownVendorId"
            assert (await station.call(call.Authorize("TAG"))).id_tag_info == {"status": "Accepted"}
            assert (await station.call(call.Heartbeat())).current_time.endswith("Z")

    play(test())


def test_another_transaction_is_not_taken_for_the_one_that_was_asked_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            station.start_after_s = 1
            await it.connect(station)
            await station.boot()
            await asyncio.sleep(6.5)  # the start has been asked for
            await station.call(call.StartTransaction(2, "SOMEBODY", 0, "2026-01-01T00:00:00Z"))
            await asyncio.sleep(20)
            assert station.words == CYCLE
            (somebody, anomaly) = it.ledger.transactions("CP_1")
            assert (somebody.id_tag, somebody.stopped_at) == ("SOMEBODY", None)
            assert anomaly.stopped_at is not None

    play(test())


def test_cycles_are_counted_over_reconnects_until_the_next_boot(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=2) as it:
            station = Station()
            end = await it.connect(station)
            await station.boot()
            await asyncio.sleep(60)
            for _ in range(3):
                await end.close()
                await asyncio.sleep(5)
                end = await it.connect(station)
                await station.report()
                await asyncio.sleep(60)
            assert station.words == CYCLE * 2
            await station.boot()
            await asyncio.sleep(5)
            await end.close()
            await asyncio.sleep(5)
            end = await it.connect(station)
            await station.boot()
            await asyncio.sleep(60)
            assert station.words == CYCLE * 4

    play(test())


def test_a_mistake_in_send_anomaly_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def mistaken(_: object) -> None:
        raise NameError("name 'HIHG_LIMIT_A' is not defined")

    monkeypatch.setattr(csms, "send_anomaly", mistaken)

    async def test() -> None:
        async with bench(tmp_path, cycles=1) as it:
            station = Station()
            await it.connect(station)
            await station.boot()
            await asyncio.sleep(60)

    play(test())
    assert "HIHG_LIMIT_A" in caplog.text
    assert "Traceback" in caplog.text


def test_invented_transactions_are_answered_and_not_all_kept_in_mind(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, cycles=0) as it:
            station = Station()
            await it.connect(station)
            for number in range(300):
                await station.call(call.StartTransaction(number, "TAG", 0, "2026-01-01T00:00:00Z"))
            assert len(it.central.charge_points["CP_1"].running) == 100
            assert len(it.ledger.transactions("CP_1")) == 300

    play(test())
