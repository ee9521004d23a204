"""When the meter is read, and what for: sampled and clock-aligned values, and those of the stop.

OCPP 1.6 section 3.16: sampled values come once an interval while a transaction runs, clock-aligned
ones at the same times of every day, also without one. Readings that the configuration keys StopTxn…
ask for are kept until the StopTransaction, which carries them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from ocpp.v16 import call
from ocpp.v16.enums import ReadingContext

from evsim.charge_point.configuration import Configuration
from evsim.charge_point.connector import Connector
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.transaction import Transaction
from evsim.clock import Clock, to_ocpp

SAMPLE_INTERVAL = "MeterValueSampleInterval"
ALIGNED_INTERVAL = "ClockAlignedDataInterval"
#: The clock is looked at this often at least, in case it was set.
LOOK_AT_CLOCK_S = 60.0


class Metering:
    """Reads the meter of a connector when it is due.

    :param interval_s: between samples, as long as MeterValueSampleInterval says the same, rounded
        up to the whole number that it must be.
    :param send: sends a message that belongs to no transaction, if there is somebody to send to
        and that may be done unasked.
    :param queued: called when a message was put into the ledger.
    """

    def __init__(
        self,
        connector: Connector,
        ledger: Ledger,
        configuration: Configuration,
        *,
        interval_s: float,
        now: Clock,
        send: Callable[[Any], Awaitable[object]],
        queued: Callable[[], None],
    ) -> None:
        self._connector = connector
        self._ledger = ledger
        self._configuration = configuration
        self._finer_interval_s = interval_s
        self._now = now
        self._send = send
        self._queued = queued
        self._changed = {SAMPLE_INTERVAL: asyncio.Event(), ALIGNED_INTERVAL: asyncio.Event()}
        configuration.listen(SAMPLE_INTERVAL, self._changed[SAMPLE_INTERVAL].set)
        configuration.listen(ALIGNED_INTERVAL, self._changed[ALIGNED_INTERVAL].set)

    @property
    def _interval_s(self) -> float:
        whole_s = self._configuration.number(SAMPLE_INTERVAL)
        return self._finer_interval_s if math.ceil(self._finer_interval_s) == whole_s else whole_s

    def _reading(self, key: str, context: ReadingContext, at: datetime) -> dict[str, Any] | None:
        """Read what `key` asks for; None if that is nothing."""
        measurands = self._configuration.words(key)
        values = self._connector.meter.sampled_values(measurands, context)
        return {"timestamp": to_ocpp(at), "sampled_value": values} if values else None

    def _keep(
        self, transaction: Transaction, key: str, context: ReadingContext, at: datetime
    ) -> None:
        if (reading := self._reading(key, context, at)) is not None:
            self._ledger.keep_reading(transaction.local_id, reading)

    def begin(self, transaction: Transaction) -> None:
        """Take the reading of a transaction's beginning, from which its samples are counted."""
        at = transaction.started_at
        self._keep(transaction, "StopTxnSampledData", ReadingContext.transaction_begin, at)
        self._changed[SAMPLE_INTERVAL].set()

    def end(self, transaction: Transaction) -> None:
        """Take the reading of its end."""
        self._keep(transaction, "StopTxnSampledData", ReadingContext.transaction_end, self._now())

    async def sample(self) -> None:
        """Queue samples of a running transaction once an interval, without drift, for ever."""
        # `changed`: count anew, with another interval or because a transaction has begun.
        loop, changed = asyncio.get_running_loop(), self._changed[SAMPLE_INTERVAL]
        due_s = loop.time()
        while True:
            changed.clear()
            interval_s = self._interval_s
            if interval_s == 0:
                await changed.wait()
                due_s = loop.time()
                continue
            # What was missed is not made up for: two samples of one moment would be the same one.
            due_s += interval_s * int(1.5 + max(0.0, loop.time() - due_s) / interval_s)
            if await _is_set_before(changed, due_s):
                due_s = loop.time()
                continue
            transaction = self._connector.transaction
            if transaction is None or not self._connector.occupancy.charging:
                continue
            context, at = ReadingContext.sample_periodic, self._now()
            reading = self._reading("MeterValuesSampledData", context, at)
            if reading is not None:
                self._queue(transaction, reading)
            self._keep(transaction, "StopTxnSampledData", context, at)

    async def follow_clock(self) -> None:
        """Send clock-aligned values, which begin anew at each midnight (UTC), for ever."""
        loop, changed = asyncio.get_running_loop(), self._changed[ALIGNED_INTERVAL]
        while True:
            changed.clear()
            interval_s = self._configuration.number(ALIGNED_INTERVAL)
            if interval_s == 0:
                await changed.wait()
                continue
            due = next_aligned(self._now(), interval_s)
            while (wait_s := (due - self._now()).total_seconds()) > 0:
                if await _is_set_before(changed, loop.time() + min(wait_s, LOOK_AT_CLOCK_S)):
                    break
                if (due - self._now()).total_seconds() > interval_s:  # the clock was set back
                    break
            else:
                # Unless the clock was set forward, past a time that never was.
                if self._now() - due < timedelta(seconds=LOOK_AT_CLOCK_S):
                    await self._align(due)

    async def _align(self, at: datetime) -> None:
        transaction, context = self._connector.transaction, ReadingContext.sample_clock
        reading = self._reading("MeterValuesAlignedData", context, at)
        if transaction is not None:
            if reading is not None:
                self._queue(transaction, reading)
            self._keep(transaction, "StopTxnAlignedData", context, at)
        elif reading is not None:
            await self._send(call.MeterValues(self._connector.number, [reading]))

    def _queue(self, transaction: Transaction, reading: dict[str, Any]) -> None:
        register_wh = self._connector.meter.register_wh  # as of the last reading, like its current
        payload = {"connector_id": self._connector.number, "meter_value": [reading]}
        self._ledger.meter_values(transaction.local_id, payload, register_wh)
        self._queued()

    def present(self) -> call.MeterValues | None:
        """Give the present values for who asks for them; None if there are none to be told."""
        context = ReadingContext.trigger
        reading = self._reading("MeterValuesSampledData", context, self._now())
        if reading is None:
            return None
        transaction = self._connector.transaction
        transaction_id = None if transaction is None else transaction.transaction_id
        return call.MeterValues(self._connector.number, [reading], transaction_id)


def next_aligned(now: datetime, interval_s: int) -> datetime:
    """Return the first moment after `now` that is a whole number of intervals after midnight.

    The last interval of a day is shorter where the interval is no part of a day.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = now - midnight
    due = midnight + (since // timedelta(seconds=interval_s) + 1) * timedelta(seconds=interval_s)
    return min(due, midnight + timedelta(days=1))


async def _is_set_before(event: asyncio.Event, deadline_s: float) -> bool:
    try:
        async with asyncio.timeout_at(deadline_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
