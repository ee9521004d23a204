"""When the meter is read: at its interval, at the times of the clock, and for the stop."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim import virtual_time
from evsim.charge_point.charging_profiles import ProfileRules
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.connector import Connector
from evsim.charge_point.ledger import MOST_READINGS, Ledger
from evsim.charge_point.metering import Metering, next_aligned
from evsim.charge_point.profile_store import ProfileStore
from evsim.charge_point.transaction import Transaction
from evsim.charger import PLANTS
from evsim.frames import MeasuredCurrent
from evsim.sqlite import IN_MEMORY

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


class Bench:
    """A connector whose meter is read, with what was queued and sent."""

    def __init__(self, interval_s: float = 10.0, **configuration: str) -> None:
        self.loop = asyncio.get_running_loop()
        self._clock = virtual_time.clock()
        #: By how much the wall clock was set since.
        self.clock_was_set = timedelta()
        self.ledger = Ledger(IN_MEMORY)
        initial = {"MeterValueSampleInterval": str(math.ceil(interval_s)), **configuration}
        self.configuration = Configuration(self.ledger.database, initial=initial)
        self.connector = Connector(
            1,
            PLANTS["dc"],
            ProfileStore(self.ledger.database, ProfileRules(PLANTS["dc"], 1)),
            send=lambda _: True,
            report=lambda *_: None,
            now=self.now,
        )
        self.sent: list[tuple[float, Any]] = []
        self.metering = Metering(
            self.connector,
            self.ledger,
            self.configuration,
            interval_s=interval_s,
            now=self.now,
            send=self.send,
            queued=lambda: None,
        )
        self.tasks = [
            asyncio.create_task(self.metering.sample()),
            asyncio.create_task(self.metering.follow_clock()),
        ]

    def now(self) -> datetime:
        return self._clock() + self.clock_was_set

    async def send(self, message: Any) -> None:
        self.sent.append((self.loop.time(), message))

    async def begin(self) -> Transaction:
        local_id = self.ledger.begin(1, "TAG", 0, self.now())
        transaction = self.connector.transaction = Transaction(local_id, "TAG", self.now())
        self.metering.begin(transaction)
        self.connector.start()
        self.connector.change(charging=True)
        self.connector.hear(MeasuredCurrent(50))
        return transaction

    def end(self, transaction: Transaction) -> dict[str, Any]:
        """End it and give its StopTransaction."""
        self.metering.end(transaction)
        self.ledger.end(transaction.local_id, reason="Local", register_wh=1, at=self.now())
        self.connector.transaction = None
        return self.queued()[-1]

    def queued(self) -> list[dict[str, Any]]:
        """Give what waits in the ledger, which is empty then."""
        found = []
        while (message := self.ledger.next_message()) is not None:
            found.append({"action": message.action, **message.payload})
            self.ledger.delivered(message)
        return found

    def meter_values(self) -> list[dict[str, Any]]:
        return [m["meter_value"][0] for m in self.queued() if m["action"] == "MeterValues"]


@contextlib.contextmanager
def bench(interval_s: float = 10.0, **configuration: str) -> Iterator[Bench]:
    made = Bench(interval_s, **configuration)
    try:
        yield made
    finally:
        for task in made.tasks:
            task.cancel()
        made.ledger.close()


def contexts(values: list[dict[str, Any]]) -> list[str]:
    return [value["sampled_value"][0]["context"] for value in values]


def test_samples_come_at_the_interval_and_follow_its_changes() -> None:
    async def test() -> None:
        with bench() as it:
            await it.begin()
            await asyncio.sleep(35)
            assert contexts(it.meter_values()) == ["Sample.Periodic"] * 3
            it.configuration.change("MeterValueSampleInterval", "0")
            await asyncio.sleep(1000)
            assert it.meter_values() == []
            it.configuration.change("MeterValueSampleInterval", "2")
            await asyncio.sleep(9)
            assert len(it.meter_values()) == 4
            it.configuration.change("MeterValuesSampledData", "Voltage")
            await asyncio.sleep(2)
            (value,) = it.meter_values()
            assert [sample["measurand"] for sample in value["sampled_value"]] == ["Voltage"]
            assert it.sent == []

    virtual_time.run(test())


def test_an_interval_of_the_command_line_may_be_shorter_than_a_second() -> None:
    async def test() -> None:
        with bench(0.25) as it:
            await it.begin()
            await asyncio.sleep(2.1)
            assert len(it.meter_values()) == 8

    virtual_time.run(test())


def test_samples_are_counted_from_the_start_of_the_transaction() -> None:
    async def test() -> None:
        with bench(60.0) as it:
            await asyncio.sleep(45)
            transaction = await it.begin()
            await asyncio.sleep(121)
            times = [datetime.fromisoformat(value["timestamp"]) for value in it.meter_values()]
            assert [(at - transaction.started_at).total_seconds() for at in times] == [60, 120]

    virtual_time.run(test())


def test_the_key_goes_before_the_command_line() -> None:
    async def test() -> None:
        with bench(1.0, MeterValueSampleInterval="5") as it:
            await it.begin()
            await asyncio.sleep(21)
            assert len(it.meter_values()) == 4

    virtual_time.run(test())


def test_a_transaction_is_sampled_also_while_nothing_may_flow() -> None:
    async def test() -> None:
        with bench() as it:
            await it.begin()
            it.connector.stop()
            it.connector.change(blocked=True)
            await asyncio.sleep(35)
            assert len(it.meter_values()) == 3

    virtual_time.run(test())


def test_samples_that_were_missed_are_not_made_up_for() -> None:
    async def test() -> None:
        with bench(0.5) as it:
            await it.begin()
            await asyncio.sleep(1.1)
            it.loop._now_s += 1.7  # type: ignore[attr-defined] # the process stood still
            await asyncio.sleep(1.0)
            stamps = [value["timestamp"] for value in it.meter_values()]
            assert len(stamps) == len(set(stamps)) >= 4

    virtual_time.run(test())


def test_clock_aligned_values_carry_the_time_of_the_clock() -> None:
    async def test() -> None:
        with bench(ClockAlignedDataInterval="900", MeterValueSampleInterval="0") as it:
            await asyncio.sleep(60)
            await it.begin()
            await asyncio.sleep(1900)
            values = it.meter_values()
            assert contexts(values) == ["Sample.Clock"] * 2
            stamps = [datetime.fromisoformat(value["timestamp"]) for value in values]
            for stamp in stamps:
                assert stamp.timestamp() % 900 == 0
            assert stamps[1] - stamps[0] == timedelta(minutes=15)

    virtual_time.run(test())


@pytest.mark.parametrize("days", [1, -1])
def test_when_the_clock_is_set_nothing_is_read_for_times_that_never_were(days: int) -> None:
    async def test() -> None:
        with bench(ClockAlignedDataInterval="900") as it:
            await asyncio.sleep(1000)
            it.clock_was_set = timedelta(days=days, minutes=1)
            await asyncio.sleep(1000)
            stamps = [message.meter_value[0]["timestamp"] for _, message in it.sent]
            other_day = "2026-01-02" if days > 0 else "2025-12-31"
            assert stamps == ["2026-01-01T00:15:00.000Z", f"{other_day}T00:30:00.000Z"]

    virtual_time.run(test())


def test_without_a_transaction_clock_aligned_values_are_sent_all_the_same() -> None:
    async def test() -> None:
        with bench(ClockAlignedDataInterval="300") as it:
            await asyncio.sleep(650)
            assert len(it.sent) == 2
            assert it.queued() == []
            assert it.sent[0][1].transaction_id is None
            it.configuration.change("ClockAlignedDataInterval", "0")
            await asyncio.sleep(5000)
            assert len(it.sent) == 2

    virtual_time.run(test())


def test_the_stop_carries_what_its_keys_ask_for() -> None:
    async def test() -> None:
        keys = {
            "StopTxnSampledData": "Energy.Active.Import.Register",
            "StopTxnAlignedData": "Voltage",
            "ClockAlignedDataInterval": "20",
        }
        with bench(10, **keys) as it:
            transaction = await it.begin()
            await asyncio.sleep(25)
            stop = it.end(transaction)
            assert stop["action"] == "StopTransaction"
            assert contexts(stop["transaction_data"]) == [
                "Transaction.Begin",
                "Sample.Periodic",
                "Sample.Clock",
                "Sample.Periodic",
                "Transaction.End",
            ]
            second = it.end(await it.begin())
            assert contexts(second["transaction_data"])[0] == "Transaction.Begin"

    virtual_time.run(test())


def test_a_long_transaction_keeps_no_more_readings_than_a_message_may_have() -> None:
    async def test() -> None:
        with bench(StopTxnSampledData="Voltage,SoC,Current.Import") as it:
            transaction = await it.begin()
            await asyncio.sleep(5000)
            it.queued()
            data = it.end(transaction)["transaction_data"]
            assert MOST_READINGS / 2 < len(data) <= MOST_READINGS + 1
            assert contexts(data)[0] == "Transaction.Begin"
            assert contexts(data)[-1] == "Transaction.End"

    virtual_time.run(test())


def test_readings_outlive_the_program(tmp_path: Path) -> None:
    path = tmp_path / "cp.sqlite"
    with contextlib.closing(Ledger(path)) as ledger:
        local_id = ledger.begin(1, "TAG", 0, MIDNIGHT)
        ledger.keep_reading(local_id, {"timestamp": "t", "sampled_value": [{"value": "1"}]})
    with contextlib.closing(Ledger(path)) as ledger:
        ledger.end(local_id, reason="PowerLoss", register_wh=0, at=MIDNIGHT)
        messages = []
        while (message := ledger.next_message()) is not None:
            messages.append(message)
            ledger.delivered(message)
        assert messages[-1].payload["transaction_data"][0]["sampled_value"] == [{"value": "1"}]


@given(
    st.integers(0, 86_399_999).map(lambda ms: MIDNIGHT + timedelta(milliseconds=ms)),
    st.integers(1, 86_400),
)
def test_aligned_times_are_those_of_every_day(now: datetime, interval_s: int) -> None:
    due = next_aligned(now, interval_s)
    assert now < due <= now + timedelta(seconds=interval_s)
    since_midnight_s = (due - MIDNIGHT).total_seconds()
    assert since_midnight_s % interval_s == 0 or since_midnight_s == 86_400


@pytest.mark.parametrize("interval_s", [1, 7, 86_400])
def test_midnight_is_aligned(interval_s: int) -> None:
    assert next_aligned(MIDNIGHT - timedelta(milliseconds=1), interval_s) == MIDNIGHT
