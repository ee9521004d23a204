"""Sends what waits in the ledger, in order, until each message has arrived.

What the central system refuses is tried again, as OCPP 1.6 section 3.7.1 has it, and then it is
no longer in the way of the rest. But a transaction is never thrown away: one whose start or stop
was refused too often is set aside for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ocpp.exceptions import (
    GenericError,
    InternalError,
    OCPPError,
    PropertyConstraintViolationError,
)
from ocpp.v16 import call, call_result

from evsim.charge_point.configuration import Configuration
from evsim.charge_point.ledger import Ledger, Message
from evsim.ocpp_wire import explain

#: The configuration keys of OCPP 1.6 section 9.1 that say how often, and after how many s.
ATTEMPTS = "TransactionMessageAttempts"
RETRY_INTERVAL = "TransactionMessageRetryInterval"
#: The ids of transactions that can be kept: 64 bits.
TRANSACTION_IDS = range(-(2**63), 2**63)
#: How long a transaction is set aside.
ASIDE_S = 60.0
#: The central system's own trouble, which may pass; every other refusal would come again.
PASSING = (InternalError, GenericError)

log = logging.getLogger("evsim.charge_point")


class Delivery:
    """The one sender of transaction messages.

    :param send: makes a call() on the link; raises as OcppLink.call does.
    :param on_started: called with the local id and the answer to each StartTransaction; the
        answer is None if the central system gave none that can be used.
    :param on_id_tag_info: called with the id tag of a StopTransaction and what its answer says
        of it.
    """

    def __init__(
        self,
        ledger: Ledger,
        configuration: Configuration,
        send: Callable[[Any], Awaitable[Any]],
        on_started: Callable[[int, call_result.StartTransaction | None], None],
        on_id_tag_info: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self._ledger = ledger
        self._configuration = configuration
        self._send = send
        self._on_started = on_started
        self._on_id_tag_info = on_id_tag_info
        self._open = asyncio.Event()
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        #: Local ids of the transactions that are set aside.
        self._aside: set[int] = set()

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
        """Wait until nothing waits to be sent, but what is set aside."""
        await self._empty.wait()

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self._news.clear()
            message = self._ledger.next_message(besides=self._aside)
            if message is None:
                self._empty.set()
                await self._news.wait()
                continue
            self._empty.clear()
            await self._open.wait()
            await self._deliver(message)

    async def _deliver(self, message: Message) -> None:
        try:
            answer = await self._send(getattr(call, message.action)(**message.payload))
        except ConnectionError:
            # Sent again after the reconnect; the central system recognises a repetition.
            self.pause()
        except TimeoutError as error:
            # The connection lives, or this would be a ConnectionError: this message is the matter.
            await self._after_refusal(message, GenericError(str(error)))
        except OCPPError as error:
            await self._after_refusal(message, error)
        else:
            await self._after_answer(message, answer)

    async def _after_answer(self, message: Message, answer: Any) -> None:
        if message.action == "StopTransaction" and answer.id_tag_info is not None:
            self._on_id_tag_info(message.payload["id_tag"], answer.id_tag_info)
        if message.action != "StartTransaction":
            self._ledger.delivered(message)
        elif answer.transaction_id not in TRANSACTION_IDS:
            error = PropertyConstraintViolationError("its transactionId is beyond 64 bits")
            await self._after_refusal(message, error)
        else:
            self._ledger.delivered(message, answer.transaction_id)
            self._on_started(message.local_id, answer)

    async def _after_refusal(self, message: Message, error: OCPPError) -> None:
        """Wait longer after each refusal; give up after the last."""
        failures = message.failures + 1
        attempts = self._configuration.number(ATTEMPTS)
        if failures < attempts and isinstance(error, PASSING):
            self._ledger.failed(message)
            wait_s = self._configuration.number(RETRY_INTERVAL) * failures
            log.warning("%s was refused, again in %g s: %s", message.action, wait_s, explain(error))
            await asyncio.sleep(wait_s)
        elif message.action == "MeterValues":
            log.error("%s is refused and given up: %s", message.action, explain(error))
            self._ledger.delivered(message)
        else:
            log.error("%s is refused, again in %g s: %s", message.action, ASIDE_S, explain(error))
            self._set_aside(message.local_id)
            if message.action == "StartTransaction":
                self._on_started(message.local_id, None)

    def _set_aside(self, local_id: int) -> None:
        def take_up() -> None:
            self._aside.discard(local_id)
            self.wake()

        self._aside.add(local_id)
        asyncio.get_running_loop().call_later(ASIDE_S, take_up)
