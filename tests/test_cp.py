"""The charge point, with a central system and a charger played by the test, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ocpp.exceptions import NotSupportedError
from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action

from cp import ChargePoint
from evsim import virtual_time
from evsim.charge_point.ledger import Ledger
from evsim.charger import PLANTS
from evsim.frames import Frame, MeasuredCurrent, SetLimit, StartCharging, StopCharging
from evsim.in_memory import websocket_pair
from evsim.ocpp_link import OcppLink, on


class Node:
    """Stands for the CAN bus: the test hears what is sent, and speaks as the charger."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, Frame]] = []
        self.on_frame: Callable[[Frame], None] = lambda _: None
        self.counts: Counter[str] = Counter()

    def send(self, frame: Frame) -> bool:
        self.sent.append((asyncio.get_running_loop().time(), frame))
        return True

    def since(self, start_s: float) -> list[tuple[float, Frame]]:
        return [(round(at_s - start_s, 3), f) for at_s, f in self.sent if at_s >= start_s]


class Central(OcppLink):
    """A central system that keeps what it is told and answers as the test wants."""

    def __init__(self) -> None:
        super().__init__("central", response_timeout=5)
        self.got: list[tuple[float, str, dict[str, Any]]] = []
        self.boots = [("Accepted", 300)]
        self.tag_status = "Accepted"
        self.authorize_delay_s = 0.0
        self.start_delay_s = 0.0
        self.stop_delay_s = 0.0
        self.status_delay_s = 0.0
        self.mute_meter_values = 0
        self.next_id = 1

    def note(self, action: str, payload: dict[str, Any]) -> None:
        self.got.append((asyncio.get_running_loop().time(), action, payload))

    def all(self, action: str) -> list[dict[str, Any]]:
        return [payload for _, name, payload in self.got if name == action]

    @property
    def statuses(self) -> list[str]:
        return [p["status"] for p in self.all("StatusNotification") if p["connector_id"] == 1]

    @on(Action.boot_notification)
    def on_boot(self, **payload: Any) -> call_result.BootNotification:
        self.note("BootNotification", payload)
        status, interval = self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]
        return call_result.BootNotification("2026-01-01T00:00:00Z", interval, status)  # type: ignore[arg-type]

    @on(Action.status_notification)
    async def on_status(self, **payload: Any) -> call_result.StatusNotification:
        self.note("StatusNotification", payload)
        await asyncio.sleep(self.status_delay_s)
        return call_result.StatusNotification()

    @on(Action.heartbeat)
    def on_heartbeat(self, **payload: Any) -> call_result.Heartbeat:
        self.note("Heartbeat", payload)
        return call_result.Heartbeat("2026-01-01T00:00:00Z")

    @on(Action.authorize)
    async def on_authorize(self, **payload: Any) -> call_result.Authorize:
        self.note("Authorize", payload)
        await asyncio.sleep(self.authorize_delay_s)
        return call_result.Authorize({"status": self.tag_status})  # type: ignore[arg-type]

    @on(Action.start_transaction)
    async def on_start(self, **payload: Any) -> call_result.StartTransaction:
        self.note("StartTransaction", payload)
        await asyncio.sleep(self.start_delay_s)
        self.next_id += 1
        return call_result.StartTransaction(self.next_id, {"status": self.tag_status})  # type: ignore[arg-type]

    @on(Action.meter_values)
    async def on_meter_values(self, **payload: Any) -> call_result.MeterValues:
        self.note("MeterValues", payload)
        first = self.all("MeterValues")[0]
        if self.mute_meter_values and payload["meter_value"] == first["meter_value"]:
            await asyncio.sleep(6)  # the first one is always answered too late
        return call_result.MeterValues()

    @on(Action.stop_transaction)
    async def on_stop(self, **payload: Any) -> call_result.StopTransaction:
        self.note("StopTransaction", payload)
        await asyncio.sleep(self.stop_delay_s)
        return call_result.StopTransaction()

    async def start_remotely(self, connector_id: int | None = 1) -> str:
        answer = await self.call(call.RemoteStartTransaction("TAG", connector_id))
        return str(answer.status)

    async def stop_remotely(self, transaction_id: int) -> str:
        return str((await self.call(call.RemoteStopTransaction(transaction_id))).status)

    async def limit(
        self, *periods: tuple[int, float], unit: str = "A", connector_id: int = 1, **more: Any
    ) -> str:
        profile = {
            "charging_profile_id": 1,
            "stack_level": 0,
            "charging_profile_purpose": "TxDefaultProfile",
            "charging_profile_kind": "Relative",
            "charging_schedule": {
                "charging_rate_unit": unit,
                "charging_schedule_period": [
                    {"start_period": start, "limit": limit} for start, limit in periods
                ],
            },
            **more,
        }
        answer = await self.call(call.SetChargingProfile(connector_id, profile))
        return str(answer.status)


class Bench:
    """A charge point between a played charger and a played central system."""

    def __init__(self, state: Path, plant: str, **more: Any) -> None:
        self.node = Node()
        self.central = Central()
        self.loop = asyncio.get_running_loop()
        self.ledger = Ledger(state / "cp.sqlite")
        self.cp = ChargePoint(
            "CP_1",
            node=self.node,  # type: ignore[arg-type] # offers what is used of a CanNode
            ledger=self.ledger,
            plant=PLANTS[plant],
            now=virtual_time.clock(),
            **more,
        )
        self.current_a = 0
        self.charger_speaks = True
        self.running: list[asyncio.Task[None]] = []

    def end(self) -> None:
        """End the charge point, as SIGTERM does."""
        for task in self.running:
            task.cancel()

    async def charger(self) -> None:
        while True:
            if self.charger_speaks:
                self.node.on_frame(MeasuredCurrent(self.current_a))
            await asyncio.sleep(1)

    async def connect(self) -> Callable[[], Awaitable[None]]:
        """Connect both ends; gives what disconnects them."""
        ours, theirs = websocket_pair()
        talking = [
            asyncio.create_task(self.cp.talk(ours)),
            asyncio.create_task(self.central.serve(theirs)),
        ]

        async def disconnect() -> None:
            await theirs.close()
            await asyncio.gather(*talking)

        await asyncio.sleep(0.1)
        return disconnect

    async def stay_connected(self) -> None:
        """Connect both ends again and again, as a charge point does."""

        async def keep_connected() -> None:
            while True:
                ours, theirs = websocket_pair()
                await asyncio.gather(self.cp.talk(ours), self.central.serve(theirs))
                await asyncio.sleep(1)

        self.running.append(asyncio.create_task(keep_connected()))
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def bench(state: Path, plant: str = "dc", **more: Any) -> AsyncIterator[Bench]:
    made = Bench(state, plant, **more)
    made.running = [asyncio.create_task(made.cp.run()), asyncio.create_task(made.charger())]
    await asyncio.sleep(0.5)
    try:
        yield made
    finally:
        if not any(task.cancelling() for task in made.running):
            made.end()
        await asyncio.gather(*made.running, return_exceptions=True)
        made.ledger.close()


def play(test: Awaitable[None]) -> None:
    async def run() -> None:
        async with asyncio.timeout(10_000):
            await test

    virtual_time.run(run())


# ── Boot ─────────────────────────────────────────────────────────────────────────────────────


def test_it_boots_once_accepted_and_tells_its_statuses(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            disconnect = await it.connect()
            assert [action for _, action, _ in it.central.got] == [
                "BootNotification",
                "StatusNotification",
                "StatusNotification",
            ]
            connectors = [p["connector_id"] for p in it.central.all("StatusNotification")]
            assert connectors == [0, 1]
            await disconnect()
            await it.connect()
            assert len(it.central.all("BootNotification")) == 1
            assert len(it.central.all("StatusNotification")) == 4

    play(test())


def test_until_it_is_accepted_it_says_nothing_else_and_asks_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, configuration={"ClockAlignedDataInterval": "5"}) as it:
            it.central.boots = [("Rejected", 30), ("Pending", 40), ("Accepted", 10)]
            await it.connect()
            await asyncio.sleep(60)
            assert {action for _, action, _ in it.central.got} == {"BootNotification"}
            assert await it.central.start_remotely() == "Rejected"
            await asyncio.sleep(50)
            boots_s = [at_s for at_s, action, _ in it.central.got if action == "BootNotification"]
            gaps = [b - a for a, b in itertools.pairwise(boots_s)]
            assert gaps == pytest.approx([30, 40], abs=0.01)
            assert len(it.central.all("Heartbeat")) == 4

    play(test())


@pytest.mark.parametrize("interval", [0, -1])
def test_an_absurd_heartbeat_interval_is_replaced_by_its_own(tmp_path: Path, interval: int) -> None:
    async def test() -> None:
        async with bench(tmp_path, configuration={"HeartbeatInterval": "60"}) as it:
            it.central.boots = [("Accepted", interval)]
            await it.connect()
            await asyncio.sleep(600)
            assert len(it.central.all("Heartbeat")) == 10
            answer = await it.central.call(call.GetConfiguration(["HeartbeatInterval"]))
            assert answer.configuration_key[0]["value"] == "60"

    play(test())


def test_a_feature_profile_that_it_is_said_not_to_have_is_not_supported(tmp_path: Path) -> None:
    async def test() -> None:
        only = {"SupportedFeatureProfiles": "Core"}
        async with bench(tmp_path, configuration=only) as it:
            await it.connect()
            requests = [
                call.ClearChargingProfile(),
                call.TriggerMessage("Heartbeat"),  # type: ignore[arg-type]
                call.GetDiagnostics("file:///tmp"),
            ]
            for request in requests:
                with pytest.raises(NotSupportedError):
                    await it.central.call(request)
            for_connector_0_only = {
                "charging_profile_id": 1,
                "stack_level": 0,
                "charging_profile_purpose": "ChargePointMaxProfile",
                "charging_profile_kind": "Relative",
                "charging_schedule": {
                    "charging_rate_unit": "A",
                    "charging_schedule_period": [{"start_period": 0, "limit": 6}],
                },
            }
            start = call.RemoteStartTransaction("TAG", 1, for_connector_0_only)
            assert (await it.central.call(start)).status == "Accepted"  # the profile is ignored

    play(test())


# ── Limits ───────────────────────────────────────────────────────────────────────────────────


def test_a_limit_goes_to_the_charger_at_once_without_a_transaction(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            start_s = it.loop.time()
            assert await it.central.limit((0, 31.9)) == "Accepted"
            assert it.node.since(start_s) == [(0, SetLimit(31))]
            assert await it.central.limit((0, 20_000), unit="W") == "Accepted"
            assert it.node.sent[-1][1] == SetLimit(50)

    play(test())


def test_on_ac_watts_are_the_total_of_three_phases(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, "ac") as it:
            await it.connect()
            assert await it.central.limit((0, 11_040), unit="W") == "Accepted"
            assert it.node.sent[-1][1] == SetLimit(16)

    play(test())


def test_several_periods_take_effect_at_their_time(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            start_s = it.loop.time()
            await it.central.limit((0, 10), (5, 20), (3600, 30))
            await asyncio.sleep(4000)
            seen = [(round(at_s), frame) for at_s, frame in it.node.since(start_s)]
            assert seen == [(0, SetLimit(10)), (5, SetLimit(20)), (3600, SetLimit(30))]

    play(test())


@pytest.mark.parametrize(
    "bad",
    [
        {"periods": [(1, 10)]},
        {"connector_id": 2},
        {"charging_profile_purpose": "TxProfile"},
        {"charging_profile_purpose": "ChargePointMaxProfile"},
        {"stack_level": -1},
    ],
    ids=str,
)
def test_a_wrong_profile_is_rejected_and_changes_nothing(
    tmp_path: Path, bad: dict[str, Any]
) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            start_s = it.loop.time()
            periods = bad.pop("periods", [(0, 10)])
            assert await it.central.limit(*periods, **bad) == "Rejected"
            assert it.node.since(start_s) == []

    play(test())


# ── Transactions ─────────────────────────────────────────────────────────────────────────────


def test_a_transaction_from_start_to_end(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            start_s = it.loop.time()
            assert await it.central.start_remotely() == "Accepted"
            await asyncio.sleep(0.01)
            it.current_a = 100
            assert await it.central.start_remotely() == "Rejected"
            await asyncio.sleep(9.99)
            assert await it.central.stop_remotely(1) == "Rejected"
            assert await it.central.limit((0, 0)) == "Accepted"
            assert await it.central.limit((0, 100)) == "Accepted"
            assert await it.central.stop_remotely(2) == "Accepted"
            await asyncio.sleep(0.01)
            assert it.central.statuses == [
                "Available",
                "Preparing",
                "Charging",
                "SuspendedEVSE",
                "Charging",
                "Finishing",
                "Available",
            ]
            frames = [frame for _, frame in it.node.since(start_s)]
            assert frames == [StartCharging(), SetLimit(0), SetLimit(100), StopCharging()]
            transaction_actions = [
                action for _, action, _ in it.central.got if action.endswith("Transaction")
            ]
            assert transaction_actions == ["StartTransaction", "StopTransaction"]
            (stop,) = it.central.all("StopTransaction")
            # 100 A at 400 V from the first reading of 100 A on, sampled once a second.
            assert stop["meter_stop"] == pytest.approx(100 * 400 * 9.5 / 3600, abs=12)
            assert (stop["transaction_id"], stop["reason"]) == (2, "Remote")

    play(test())


def test_meter_values_carry_units_and_transaction(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(0.5)
            it.current_a = 50
            await asyncio.sleep(10)
            values = it.central.all("MeterValues")
            assert 9 <= len(values) <= 11
            assert {v["transaction_id"] for v in values} == {2}
            (sample,) = values[-1]["meter_value"]
            readings = {s["measurand"]: (s["value"], s["unit"]) for s in sample["sampled_value"]}
            assert readings["Current.Import"] == ("50", "A")
            assert readings["Voltage"] == ("400", "V")
            assert readings["Power.Active.Import"] == ("20000", "W")
            energy_wh, unit = readings["Energy.Active.Import.Register"]
            assert unit == "Wh"
            assert float(energy_wh) == pytest.approx(50 * 400 * 9 / 3600, rel=0.15)
            await it.central.stop_remotely(2)
            await asyncio.sleep(5)
            assert len(it.central.all("MeterValues")) == len(values)

    play(test())


def test_a_refused_tag_is_not_charged(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.central.tag_status = "Blocked"
            await it.connect()
            start_s = it.loop.time()
            assert await it.central.start_remotely() == "Accepted"
            await asyncio.sleep(1)
            assert StartCharging() not in [frame for _, frame in it.node.since(start_s)]
            (stop,) = it.central.all("StopTransaction")
            assert stop["reason"] == "DeAuthorized"

    play(test())


def test_a_stop_that_comes_while_the_start_is_answered_finds_its_transaction(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.central.start_delay_s = 1
            await it.connect()
            await it.central.start_remotely()
            assert await it.central.stop_remotely(2) == "Accepted"

    play(test())


def test_offline_the_transaction_goes_on_and_everything_arrives_later(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            disconnect = await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            it.current_a = 100
            await disconnect()
            it.charger_speaks = False  # for 10 s: ends the transaction while offline
            await asyncio.sleep(120)
            assert not it.central.all("StopTransaction")
            it.charger_speaks = True
            await asyncio.sleep(5)
            await it.connect()
            await asyncio.sleep(1)
            (stop,) = it.central.all("StopTransaction")
            assert (stop["transaction_id"], stop["reason"]) == (2, "Other")
            assert stop["timestamp"] < "2026-01-01T00:00:20"
            order = [a for _, a, _ in it.central.got if a in ("MeterValues", "StopTransaction")]
            assert order == ["MeterValues"] * (len(order) - 1) + ["StopTransaction"]
            assert it.central.statuses[-1] == "Available"

    play(test())


def test_a_silent_charger_is_reported_and_ends_the_transaction(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            it.charger_speaks = False
            silent_s = it.loop.time()
            await asyncio.sleep(20)
            faulted_s = next(at_s for at_s, _, p in it.central.got if p.get("status") == "Faulted")
            stopped_s = next(at_s for at_s, a, _ in it.central.got if a == "StopTransaction")
            assert faulted_s - silent_s == pytest.approx(4.5, abs=0.51)
            assert stopped_s - silent_s == pytest.approx(9.5, abs=0.51)
            faulted = next(
                p for p in it.central.all("StatusNotification") if p["status"] == "Faulted"
            )
            assert faulted["error_code"] != "NoError"
            assert await it.central.start_remotely() == "Rejected"
            it.charger_speaks = True
            await asyncio.sleep(2)
            assert it.central.statuses[-1] == "Available"
            assert await it.central.start_remotely() == "Accepted"

    play(test())


def test_what_was_open_at_a_crash_is_closed_and_the_charger_stopped(tmp_path: Path) -> None:
    async def crash() -> None:
        it = Bench(tmp_path, "dc")
        it.ledger.begin(1, "TAG", 5, it.cp.now())
        it.ledger.close()

    async def test() -> None:
        async with bench(tmp_path) as it:
            assert it.node.sent[0][1] == StopCharging()
            await it.connect()
            await asyncio.sleep(1)
            (start,) = it.central.all("StartTransaction")
            assert start["meter_start"] == 5
            (stop,) = it.central.all("StopTransaction")
            assert stop["reason"] == "PowerLoss"

    virtual_time.run(crash())
    play(test())


def test_an_exit_stops_the_charging_and_says_so_first(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(2)
            central = it.central
        assert it.node.sent[-1][1] == StopCharging()
        (stop,) = central.all("StopTransaction")
        assert stop["reason"] == "Reboot"

    play(test())


def test_connector_0_and_unknown_ones_are_not_started(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            for connector_id in (0, 2, -1):
                assert await it.central.start_remotely(connector_id) == "Rejected"
            assert await it.central.start_remotely(None) == "Accepted"

    play(test())


@pytest.mark.parametrize("transaction_id", [2**63, -(2**63) - 1, 10**400])
def test_an_id_that_cannot_be_kept_is_a_refusal_and_kills_nothing(
    tmp_path: Path, transaction_id: int
) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.central.next_id = transaction_id - 1
            await it.connect()
            start_s = it.loop.time()
            await it.central.start_remotely()
            await asyncio.sleep(10)
            assert StartCharging() not in [frame for _, frame in it.node.since(start_s)]
            it.central.next_id = 1
            await asyncio.sleep(200)
            stops = it.central.all("StopTransaction")
            assert [stop["transaction_id"] for stop in stops] == [2]

    play(test())


def test_a_start_that_comes_during_the_exit_is_rejected(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            it.central.stop_delay_s = 1.0
            it.end()
            await asyncio.sleep(0.3)
            assert await it.central.start_remotely() == "Rejected"
        assert it.node.sent[-1][1] == StopCharging()
        assert len(it.central.all("StartTransaction")) == 1

    play(test())


def test_one_message_that_is_never_answered_does_not_block_the_rest(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            it.cp._deadlines.limit_s = 5
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(0.5)
            it.central.mute_meter_values = 1
            await asyncio.sleep(2)
            await it.central.stop_remotely(2)
            await asyncio.sleep(600)
            assert len(it.central.all("StopTransaction")) == 1

    play(test())


def test_statuses_that_wait_are_bounded_and_the_newest_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            await it.connect()
            await it.central.start_remotely()
            await asyncio.sleep(1)
            it.current_a = 50
            it.central.status_delay_s = 4
            for _ in range(200):
                await it.central.limit((0, 0))
                await it.central.limit((0, 50))
            assert it.cp._to_report.qsize() <= 32
            await asyncio.sleep(1000)
            assert it.central.statuses[-1] == "Charging"

    play(test())
