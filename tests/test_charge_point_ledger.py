"""The charge point's durable queue: nothing lost, nothing twice, everything in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ocpp.exceptions import FormatViolationError, InternalError, NotSupportedError
from ocpp.v16 import call, call_result

from evsim import virtual_time
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.delivery import ASIDE_S, ATTEMPTS, Delivery
from evsim.charge_point.ledger import Ledger
from evsim.ocpp_link import NotConnectedError
from evsim.sqlite import IN_MEMORY, StorageError

AT = datetime(2026, 1, 1, tzinfo=UTC)
WHOLE = ["StartTransaction", "MeterValues", "MeterValues", "StopTransaction"]
VALUES = {
    "connector_id": 1,
    "meter_value": [{"timestamp": "2026-01-01T00:00:01Z", "sampled_value": [{"value": "1"}]}],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.sqlite"


def fill(ledger: Ledger) -> int:
    """Record one whole transaction with two meter values; give its local id."""
    local_id = ledger.begin(1, "TAG", 100, AT)
    ledger.meter_values(local_id, VALUES, 150.5)
    ledger.meter_values(local_id, VALUES, 160.5)
    ledger.end(local_id, reason="Remote", register_wh=200.4, at=AT)
    return local_id


def test_what_is_written_is_there_after_a_crash(path: Path) -> None:
    first = Ledger(path)
    local_id = first.begin(1, "TAG", 100, AT)
    first.meter_values(local_id, VALUES, 150.5)
    first.close()  # nothing else is done at the end of a process; a SIGKILL is in test_ledgers.py
    again = Ledger(path)
    assert again.register_wh == 150.5
    assert [t.local_id for t in again.open_transactions()] == [local_id]
    assert again.waiting == 2
    again.close()


def test_two_processes_cannot_hold_the_same_ledger(path: Path) -> None:
    first = Ledger(path)
    with pytest.raises(StorageError, match="another program is using it"):
        Ledger(path)
    first.close()
    Ledger(path).close()


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_a_clear_error(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StorageError, match="move it away"):
        Ledger(path)
    assert path.read_bytes() == content


class Central:
    """Stands for the central system: keeps what it got, fails when told to."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.fail: list[Exception | None] = []
        self.lost = asyncio.Event()

    async def call(self, request: Any) -> Any:
        await asyncio.sleep(0)
        error = self.fail.pop(0) if self.fail else None
        if isinstance(error, NotConnectedError):
            self.lost.set()
        if error:
            raise error
        self.got.append(request)
        if isinstance(request, call.StartTransaction):
            tag: Any = {"status": "Accepted"}
            return call_result.StartTransaction(41 + len(self.got), tag)
        if isinstance(request, call.StopTransaction):
            return call_result.StopTransaction()
        return call_result.MeterValues()


def attempts() -> int:
    with contextlib.closing(Ledger(IN_MEMORY)) as ledger:
        return Configuration(ledger.database).number(ATTEMPTS)


def deliver(
    path: Path,
    central: Central,
    watch: Callable[[Delivery], Coroutine[Any, Any, None]] | None = None,
) -> list[tuple[int, Any]]:
    """Deliver everything in the ledger at `path`; give what on_started was called with."""
    started: list[tuple[int, Any]] = []

    async def run() -> None:
        ledger = Ledger(path)
        delivery = Delivery(
            ledger,
            Configuration(ledger.database),
            central.call,
            on_started=lambda *answer: started.append(answer),
            on_id_tag_info=lambda *_: None,
        )
        delivery.resume()
        running = asyncio.create_task(delivery.run())
        try:
            async with asyncio.timeout(1000):
                if watch is not None:
                    await watch(delivery)
                await delivery.all_sent()
            assert ledger.waiting == 0
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            ledger.close()

    virtual_time.run(run())
    return started


def test_messages_arrive_in_order_with_the_central_systems_id(path: Path) -> None:
    ledger = Ledger(path)
    local_id = fill(ledger)
    fill(ledger)
    ledger.close()
    central = Central()
    started = deliver(path, central)
    assert [type(request).__name__ for request in central.got] == WHOLE * 2
    assert [r.transaction_id for r in central.got if hasattr(r, "transaction_id")] == (
        [42] * 3 + [46] * 3
    )
    assert started[0][0] == local_id
    assert central.got[3].meter_stop == 200
    assert central.got[3].timestamp == "2026-01-01T00:00:00.000Z"


def test_after_a_lost_connection_or_answer_the_same_message_is_sent_again(path: Path) -> None:
    ledger = Ledger(path)
    fill(ledger)
    ledger.close()
    central = Central()
    central.fail = [TimeoutError(), None, NotConnectedError("gone"), None, None, None]

    async def reconnect(delivery: Delivery) -> None:
        await central.lost.wait()
        await asyncio.sleep(0.01)  # a reconnect takes longer than the loss takes to be noticed
        delivery.resume()

    deliver(path, central, reconnect)
    assert len(central.got) == 4


def test_what_is_refused_is_out_of_the_way_and_a_transaction_comes_back_whole(path: Path) -> None:
    ledger = Ledger(path)
    refused = fill(ledger)
    fill(ledger)
    ledger.close()
    central = Central()
    central.fail = [InternalError() for _ in range(attempts())]

    async def take_up(delivery: Delivery) -> None:
        await delivery.all_sent()
        # The second transaction has gone ahead of the first, all of which waits for its start.
        assert len(central.got) == 4
        await asyncio.sleep(ASIDE_S + 1)

    started = deliver(path, central, take_up)
    assert [type(request).__name__ for request in central.got] == WHOLE * 2
    assert [r.transaction_id for r in central.got if hasattr(r, "transaction_id")] == (
        [42] * 3 + [46] * 3
    )
    assert started[0] == (refused, None)
    assert [local_id for local_id, _ in started] == [refused, refused + 1, refused]


def test_meter_values_that_are_refused_for_good_are_not_repeated(path: Path) -> None:
    ledger = Ledger(path)
    fill(ledger)
    ledger.close()
    central = Central()
    central.fail = [None, NotSupportedError(), InternalError(), InternalError()]
    deliver(path, central)
    assert [type(request).__name__ for request in central.got] == [WHOLE[0], *WHOLE[2:]]


def test_a_refused_stop_comes_back_too(path: Path) -> None:
    ledger = Ledger(path)
    fill(ledger)
    ledger.close()
    central = Central()
    central.fail = [None, None, None, FormatViolationError()]

    async def take_up(_: Delivery) -> None:
        await asyncio.sleep(ASIDE_S + 1)

    deliver(path, central, take_up)
    assert [type(request).__name__ for request in central.got] == WHOLE


def test_days_offline_thin_out_the_meter_values_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("evsim.charge_point.ledger.MOST_METER_VALUES", 50)
    monkeypatch.setattr("evsim.charge_point.ledger.COUNT_EACH", 10)
    ledger = Ledger(path)
    for _ in range(4):
        local_id = ledger.begin(1, "TAG", 100, AT)
        for wh in range(100):
            ledger.meter_values(local_id, VALUES, wh)
        ledger.end(local_id, reason="Remote", register_wh=200.4, at=AT)
    assert ledger.waiting < 8 + 50 + 10
    ledger.close()
    assert 5 < caplog.text.count("every second one is dropped") < 20
    central = Central()
    deliver(path, central)
    names = [type(request).__name__ for request in central.got]
    assert names.count("StartTransaction") == names.count("StopTransaction") == 4
    assert names.index("MeterValues") == 1, "the oldest stays"
    assert names.count("MeterValues") > 25


def test_a_ledger_whose_file_is_removed_or_replaced_writes_no_more(path: Path) -> None:
    ledger = Ledger(path)
    fill(ledger)
    kept = path.with_name("kept.sqlite")
    path.rename(kept)
    with pytest.raises(StorageError, match="removed"):
        fill(ledger)
    path.write_bytes(b"another")
    with pytest.raises(StorageError, match="removed"):
        fill(ledger)
    kept.replace(path)
    fill(ledger)
    assert ledger.waiting == 8
    ledger.close()
