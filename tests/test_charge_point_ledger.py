"""The charge point's durable queue: nothing lost, nothing twice, everything in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ocpp.exceptions import InternalError
from ocpp.v16 import call, call_result

from evsim.charge_point.delivery import MESSAGE_ATTEMPTS, Delivery
from evsim.charge_point.ledger import Ledger
from evsim.ocpp_link import NotConnectedError
from evsim.sqlite import StorageError

AT = datetime(2026, 1, 1, tzinfo=UTC)
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
        return call_result.MeterValues()


def deliver(
    path: Path,
    central: Central,
    watch: Callable[[Delivery], Coroutine[Any, Any, None]] | None = None,
) -> list[tuple[int, Any]]:
    """Deliver everything in the ledger at `path`; give what on_started was called with."""
    started: list[tuple[int, Any]] = []

    async def run() -> None:
        ledger = Ledger(path)
        delivery = Delivery(ledger, central.call, lambda *answer: started.append(answer))
        delivery.resume()
        running = asyncio.create_task(delivery.run())
        try:
            async with asyncio.timeout(20):
                if watch is not None:
                    await watch(delivery)
                await delivery.all_sent()
            assert ledger.waiting == 0
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            ledger.close()

    asyncio.run(run())
    return started


def test_messages_arrive_in_order_with_the_central_systems_id(path: Path) -> None:
    ledger = Ledger(path)
    local_id = fill(ledger)
    fill(ledger)
    ledger.close()
    central = Central()
    started = deliver(path, central)
    names = [type(request).__name__ for request in central.got]
    one = ["StartTransaction", "MeterValues", "MeterValues", "StopTransaction"]
    assert names == one * 2
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


def test_a_message_refused_for_good_is_given_up_and_the_rest_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evsim.charge_point.delivery.RETRY_INTERVAL_S", 0.001)
    ledger = Ledger(path)
    fill(ledger)
    fill(ledger)
    ledger.close()
    central = Central()
    central.fail = [InternalError() for _ in range(MESSAGE_ATTEMPTS)]
    started = deliver(path, central)
    # The first StartTransaction is given up, and what belongs to it with it: it has no id.
    assert type(central.got[0]).__name__ == "StartTransaction"
    assert len(central.got) == 4
    assert started[0][1] is None
