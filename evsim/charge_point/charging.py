"""What happens at a connector: from the cable and the id tag to the end of a transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ocpp.v16 import call_result
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, Reason

from evsim.charge_point.authorization import Ask, Authorizer
from evsim.charge_point.cable import ConnectorCable
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.connector import Connector
from evsim.charge_point.connector_status import LOCK_FAILURE, Fault
from evsim.charge_point.delivery import Delivery
from evsim.charge_point.hardware import Cable, Hardware
from evsim.charge_point.id_tags import TagInfo
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.metering import Metering
from evsim.charge_point.reservations import Refused, Reservations
from evsim.charge_point.transaction import Transaction
from evsim.clock import Clock, to_ocpp

#: How long a StartTransaction's answer is waited for before the charging goes on offline.
ANSWER_S = 10.0

log = logging.getLogger("evsim.charge_point")


class Charging:
    """The life of a connector; everything here happens in one event loop.

    :param online: gives what asks the central system of an id tag, None while that can't be.
    :param tasks: where the task of a start runs.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        ledger: Ledger,
        delivery: Delivery,
        metering: Metering,
        configuration: Configuration,
        authorizer: Authorizer,
        online: Callable[[], Ask | None],
        reservations: Reservations,
        hardware: Hardware,
        now: Clock,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.connector = connector
        self.hardware = hardware
        self._cable = ConnectorCable(connector, hardware, configuration)
        self._ledger = ledger
        self._delivery = delivery
        self._metering = metering
        self._configuration = configuration
        self._authorizer = authorizer
        self._online = online
        self._reservations = reservations
        self._now = now
        self._tasks = tasks
        self._start: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    # ── What a driver does ───────────────────────────────────────────────────────────────────

    def plug(self) -> None:
        """Connect a car with a cable; UserError if one is connected."""
        self._cable.plug()
        transaction = self.connector.transaction
        if transaction is not None and not transaction.stop.done():
            self._tasks.create_task(self._deliver(transaction))

    def unplug(self) -> None:
        """Pull the cable out of the car; UserError if there is none."""
        self._cable.unplug()
        if self.connector.occupancy.fault == LOCK_FAILURE:
            self.clear()
        transaction = self.connector.transaction
        if transaction is None:
            self._cable.free_connector()
            return
        self.connector.stop()
        if self._configuration.flag("StopTransactionOnEVSideDisconnect"):
            transaction.end(Reason.ev_disconnected)

    async def tag(self, id_tag: str) -> str:
        """Hold an id tag to the reader; say what came of it."""
        if self._cable.opens_for(id_tag):
            self._cable.unlock()
            return "the cable is unlocked"
        if self.connector.transaction is not None:
            return await self._tag_to_stop(id_tag, self.connector.transaction)
        refusal = self.refusal(id_tag)
        if refusal:
            return refusal
        asking = self._ask(id_tag)
        start = self._claim(id_tag, asking)
        await asyncio.wait([asking, start], return_when=asyncio.FIRST_COMPLETED)
        if start.done() and not asking.done():
            return "the start was called off"
        info = asking.result()
        if not info.is_accepted:
            return f"{id_tag} may not charge: {info.status}"
        if self.connector.occupancy.plugged or self.hardware.cable is Cable.AUTOMATIC:
            return "charging begins"
        timeout_s = self._configuration.number("ConnectionTimeOut")
        return f"accepted; plug the cable in within {timeout_s} s"

    def _ask(self, id_tag: str) -> asyncio.Task[TagInfo]:
        """Ask whether a tag may charge.

        In a task of its own: a start that is called off must not set the link free for another
        CALL before this one is answered.
        """
        online_call = self._online()
        return self._tasks.create_task(self._authorizer.authorize(id_tag, online_call=online_call))

    async def _tag_to_stop(self, id_tag: str, transaction: Transaction) -> str:
        may_stop = await self._authorizer.may_stop(
            id_tag,
            started_by=transaction.id_tag,
            parent_id_tag=transaction.parent_id_tag,
            online_call=self._online(),
        )
        if not may_stop:
            return f"another id tag is charging here; {id_tag} can't stop it"
        transaction.end(Reason.local, stopped_by=id_tag)
        return "charging ends"

    def fail(self, error_code: ChargePointErrorCode) -> None:
        """Let the connector be faulty until clear(); that ends its transaction."""
        self.connector.change(fault=Fault(error_code, "caused by hand"))
        if self.connector.transaction is not None:
            self.connector.transaction.end(Reason.other)

    def clear(self) -> None:
        """Let the fault be over."""
        self.connector.change(fault=None)

    # ── A start ──────────────────────────────────────────────────────────────────────────────

    def refusal(self, id_tag: str) -> str:
        """Say why nobody, or not this tag, may start now; empty if it may."""
        connector = self.connector
        is_free = connector.status in (
            ChargePointStatus.available,
            ChargePointStatus.preparing,
            ChargePointStatus.reserved,
        )
        # The same car once more (OCPP 1.6 section 4.9, F2).
        again = (
            connector.status == ChargePointStatus.finishing
            and connector.occupancy.plugged
            and not connector.occupancy.inoperative
        )
        if not is_free and not again:
            return f"connector {connector.number} is {connector.status}"
        if connector.occupancy.claimed:
            return f"connector {connector.number} is claimed by another start"
        reservations = self._reservations
        admits = reservations.admits(connector.number, id_tag)
        if not admits and not reservations.needs_parent(connector.number, id_tag):
            return f"connector {connector.number} is reserved for another id tag"
        return ""

    def start(
        self, id_tag: str, *, authorize: bool, at_begin: Callable[[], None] | None = None
    ) -> None:
        """Start, because the central system asks for it; refusal() was asked before.

        :param authorize: the tag has to be authorised first.
        :param at_begin: called when the transaction runs.
        """
        authorize = authorize or self._reservations.needs_parent(self.connector.number, id_tag)
        self._claim(id_tag, self._ask(id_tag) if authorize else None, at_begin)

    def _claim(
        self,
        id_tag: str,
        asking: asyncio.Task[TagInfo] | None,
        at_begin: Callable[[], None] | None = None,
    ) -> asyncio.Task[None]:
        """Begin a start; give its task."""

        def give_up(start: asyncio.Task[None]) -> None:
            if start is self._start:  # and not the next one, as soon as the transaction has ended
                self._idle.set()
                self.connector.change(claimed=False)

        start = self._tasks.create_task(self._from_claim_to_end(id_tag, asking, at_begin))
        # No `finally` in the task: there is none in one that is cancelled before its first turn.
        start.add_done_callback(give_up)
        self._start = start
        self._idle.clear()
        # After the tasks were made: OCPP's sequence is to ask about the tag, then to be Preparing.
        self.connector.change(claimed=True)
        return start

    async def _from_claim_to_end(
        self,
        id_tag: str,
        asking: asyncio.Task[TagInfo] | None,
        at_begin: Callable[[], None] | None,
    ) -> None:
        parent, number = None, self.connector.number
        if asking is not None:
            info = await asyncio.shield(asking)
            if not info.is_accepted:
                log.warning("id tag %s may not charge: %s", id_tag, info.status)
                return
            parent = info.parent_id_tag
        if not self._reservations.admits(number, id_tag, parent):
            log.warning("connector %d is reserved for another id tag", number)
            return
        timeout_s = self._configuration.number("ConnectionTimeOut")
        if not await self._cable.comes_within(timeout_s):
            log.warning("no cable was plugged in within %d s", timeout_s)
            return
        if self.connector.status == ChargePointStatus.faulted:
            log.error("connector %d became faulty before the charging began", number)
            return
        if self.hardware.lock_fails and not self.hardware.is_fixed_cable:
            log.error("the cable can't be locked, so nothing is charged")
            self.connector.change(fault=LOCK_FAILURE)
            return
        await self._charge(id_tag, parent, at_begin)

    # ── One transaction ──────────────────────────────────────────────────────────────────────

    async def _charge(
        self, id_tag: str, parent_id_tag: str | None, at_begin: Callable[[], None] | None
    ) -> None:
        """Run a transaction from its start to its end."""
        connector, started_at = self.connector, self._now()
        meter_wh = round(connector.read_meter_wh())
        reservation_id = self._reservations.claim(connector.number, id_tag, parent_id_tag)
        if reservation_id is Refused.RESERVED:  # while the cable was waited for
            log.warning("connector %d is reserved for another id tag", connector.number)
            return
        local_id = self._ledger.begin(
            connector.number, id_tag, meter_wh, started_at, reservation_id
        )
        transaction = connector.transaction = Transaction(local_id, id_tag, started_at)
        transaction.parent_id_tag = parent_id_tag
        self._cable.unlock()  # it is in the car once more
        connector.change(finishing=False)
        self._metering.begin(transaction)
        self._delivery.wake()
        if at_begin is not None:
            at_begin()
        # Without it, the charging goes on offline.
        await transaction.wait_for_id(ANSWER_S if self._online() is not None else 0.0)
        if not transaction.stop.done():
            await self._deliver(transaction)

        reason = await transaction.stop

        connector.stop()
        connector.change(claimed=False, charging=False, blocked=False, finishing=True)
        register_wh = connector.read_meter_wh()
        self._metering.end(transaction)
        self._ledger.end(
            local_id,
            reason=reason,
            register_wh=register_wh,
            at=self._now(),
            stopped_by=transaction.stopped_by,
        )
        self._delivery.wake()
        connector.end_transaction()
        log.info("transaction %s ended: %s", transaction.transaction_id, reason)
        self._cable.leave(transaction.id_tag, reason)

    async def _deliver(self, transaction: Transaction) -> None:
        """Let the charger deliver what the transaction may have, if it still runs by then."""
        await self.connector.may_start()
        if transaction is not self.connector.transaction or transaction.stop.done():
            return
        occupancy = self.connector.occupancy
        if occupancy.plugged and not occupancy.blocked:
            self.connector.start()
        self.connector.change(charging=True)

    def on_start_answered(self, local_id: int, answer: call_result.StartTransaction | None) -> None:
        """Take the transaction's id from the central system, and its word on the id tag."""
        transaction = self.connector.transaction
        if transaction is None or transaction.local_id != local_id:
            return  # it has ended meanwhile
        if answer is None:
            transaction.end(Reason.other)
            return
        transaction.transaction_id = answer.transaction_id
        log.info("transaction %s started", answer.transaction_id)
        wire: Any = answer.id_tag_info  # a dict, whatever its annotation says
        info = self._authorizer.hear(transaction.id_tag, wire)
        transaction.parent_id_tag = info.parent_id_tag or transaction.parent_id_tag
        if not info.is_accepted:
            log.warning("id tag %s is refused", transaction.id_tag)
            if self._configuration.flag("StopTransactionOnInvalidId"):
                transaction.end(Reason.de_authorized)
            else:
                self.connector.stop()
                self.connector.change(charging=True, blocked=True)
        transaction.decided.set()

    # ── Ends from outside ────────────────────────────────────────────────────────────────────

    def unlock(self) -> None:
        """Release a cable that is locked in the socket."""
        self._cable.unlock()

    async def end(self, reason: Reason, timeout_s: float) -> None:
        """End whatever goes on, and wait until that is written down, `timeout_s` at most."""
        if self._start is None or self._start.done():
            return
        if self.connector.transaction is not None:
            self.connector.transaction.end(reason)
            await asyncio.wait([self._start], timeout=timeout_s)
        else:
            self._start.cancel()
            await asyncio.wait([self._start])

    @property
    def is_under_way(self) -> bool:
        """Whether somebody charges or is about to."""
        return not self._idle.is_set()

    async def idle(self) -> None:
        """Wait until nobody charges or is about to."""
        await self._idle.wait()

    async def lose_power(self) -> None:
        """Forget what goes on, as a power cut makes one; the ledger still has its beginning."""
        if self._start is not None:
            self._start.cancel()
            await asyncio.wait([self._start])
        self.connector.stop()
        self._idle.set()
        self.connector.change(claimed=False, charging=False, blocked=False, finishing=False)
        self._cable.lose_power()
        self.connector.end_transaction()

    def recover(self) -> None:
        """End what was running when the power or the program went, and the charging with it."""
        self.connector.stop()
        for old in self._ledger.open_transactions():
            log.warning("a transaction of %s was left open; ending it", to_ocpp(old.started_at))
            self._ledger.end(
                old.local_id,
                reason=Reason.power_loss,
                register_wh=self.connector.read_meter_wh(),
                at=self._now(),
            )
        self._delivery.wake()
