"""Sends what waits in the ledger, in order, until each message has arrived."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ocpp.exceptions import OCPPError
from ocpp.v16 import call, call_result

from evsim.charge_point.ledger import Ledger, Message

#: TransactionMessageAttempts and TransactionMessageRetryInterval of OCPP 1.6.
MESSAGE_ATTEMPTS = 3
RETRY_INTERVAL_S = 2.0

log = logging.getLogger("evsim.charge_point")


class Delivery:
    """The one sender of transaction messages.

    :param send: makes a call() on the link; raises as OcppLink.call does.
    :param on_started: called with the local id and the answer to each StartTransaction; the
        answer is None if the central system gave none that can be used.
    """

    def __init__(
        self,
        ledger: Ledger,
        send: Callable[[Any], Awaitable[Any]],
        on_started: Callable[[int, call_result.StartTransaction | None], None],
    ) -> None:
        self._ledger = ledger
        self._send = send
        self._on_started = on_started
        self._open = asyncio.Event()
        self._news = asyncio.Event()
        self._empty = asyncio.Event()

    def resume(self) -> None:
        """Go on sending: the central system is there and has accepted us."""
        self._open.set()

    def pause(self) -> None:
        """Send nothing for now."""
        self._open.clear()

    def wake(self) -> None:
        """Look into the ledger: something was queued."""
        self._empty.clear()
        self._news.set()

    async def all_sent(self) -> None:
        """Wait until nothing waits to be sent."""
        await self._empty.wait()

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self._news.clear()
            message = self._ledger.next_message()
            if message is None:
                self._empty.set()
                await self._news.wait()
                continue
            self._empty.clear()
            await self._open.wait()
            await self._deliver(message)

    async def _deliver(self, message: Message) -> None:
        if message.action != "StartTransaction" and message.payload["transaction_id"] is None:
            log.error("a %s is dropped: its StartTransaction was never accepted", message.action)
            self._ledger.delivered(message)
            return
        try:
            answer = await self._send(getattr(call, message.action)(**message.payload))
        except ConnectionError:
            # Sent again after the reconnect; the central system recognises a repetition.
            self.pause()
        except TimeoutError as error:
            log.warning("%s; sending it again", error)
        except OCPPError as error:
            await self._after_refusal(message, error)
        else:
            if message.action == "StartTransaction":
                self._ledger.delivered(message, answer.transaction_id)
                self._on_started(message.local_id, answer)
            else:
                self._ledger.delivered(message)

    async def _after_refusal(self, message: Message, error: OCPPError) -> None:
        """Wait longer after each refusal; give up after the last, as OCPP has it."""
        failures = message.failures + 1
        if failures < MESSAGE_ATTEMPTS:
            self._ledger.failed(message)
            wait_s = RETRY_INTERVAL_S * failures
            log.warning("%s was refused, again in %g s: %s", message.action, wait_s, error)
            await asyncio.sleep(wait_s)
            return
        log.error("%s was refused %d times and is given up: %s", message.action, failures, error)
        self._ledger.delivered(message)
        if message.action == "StartTransaction":
            self._on_started(message.local_id, None)
