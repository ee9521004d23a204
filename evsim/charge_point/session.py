"""A charge point's side of a session with its central system: boot, heartbeats, statuses."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any

from ocpp.exceptions import OCPPError
from ocpp.v16 import call
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, RegistrationStatus

from evsim.clock import Clock, to_ocpp
from evsim.ocpp_link import Connection, OcppLink
from evsim.ocpp_wire import explain
from evsim.rate_limit import Rate

#: Used when the central system names no interval.
HEARTBEAT_S = 60.0
#: Between attempts to boot that are not answered, or answered without an interval.
BOOT_RETRY_S = 5.0
#: Of the central system's CALLs; more are answered later.
MESSAGE_RATE = Rate(per_s=500, burst=2000)
#: StatusNotifications that wait to be sent; beyond, the oldest is dropped.
MOST_WAITING_STATUSES = 32
#: No interval is taken to be longer than a day.
LONGEST_INTERVAL_S = 86_400

log = logging.getLogger("evsim.charge_point")


class SessionLink(OcppLink):
    """A link that boots once, then keeps the central system informed over every connection.

    Until the central system has accepted the BootNotification nothing else is sent. A mere
    reconnect does not boot again; after one, only the current statuses are reported.
    """

    def __init__(
        self,
        charge_point_id: str,
        *,
        vendor: str,
        model: str,
        now: Clock,
        message_ids: Callable[[], object] = uuid.uuid4,
    ) -> None:
        super().__init__(charge_point_id, rate=MESSAGE_RATE, message_ids=message_ids)
        self.now = now
        self.accepted = False
        self._boot_notification = call.BootNotification(
            charge_point_model=model, charge_point_vendor=vendor
        )
        self._heartbeat_s = HEARTBEAT_S
        self._to_report: asyncio.Queue[call.StatusNotification] = asyncio.Queue()
        #: The last known status of each connector.
        self._statuses: dict[int, call.StatusNotification] = {}

    async def talk(self, connection: Connection) -> None:
        """Hold a session over `connection` until it closes."""
        session = self.run_in_background(self._session())
        try:
            await self.serve(connection)
        finally:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
            self.on_disconnected()

    def on_accepted(self) -> None:
        """Called when transaction messages may be sent, once in each session."""

    def on_disconnected(self) -> None:
        """Called when they can no longer be sent."""

    def report_status(
        self, connector_id: int, status: ChargePointStatus, fault: str | None = None
    ) -> None:
        """Report a connector's status in the order of these calls; while offline, only the last.

        `fault` tells in words what is wrong (at most 50 characters) when status is Faulted.
        """
        notification = call.StatusNotification(
            connector_id=connector_id,
            error_code=(
                ChargePointErrorCode.internal_error if fault else ChargePointErrorCode.no_error
            ),
            status=status,
            timestamp=to_ocpp(self.now()),
            info=fault,
        )
        self._statuses[connector_id] = notification
        if self.connected and self.accepted:
            if self._to_report.qsize() >= MOST_WAITING_STATUSES:
                self._to_report.get_nowait()  # the central system is slow; the newest matter
            self._to_report.put_nowait(notification)

    async def try_call(self, request: Any) -> Any:
        """Call the central system; None, and a line in the log, if that fails."""
        try:
            return await self.call(request)
        except (ConnectionError, TimeoutError, OCPPError) as error:
            # That the connection is lost is said where it is.
            level = logging.DEBUG if isinstance(error, ConnectionError) else logging.WARNING
            log.log(level, "%s failed: %s", type(request).__name__, explain(error))
            return None

    async def _session(self) -> None:
        while not self.accepted:
            await self._boot()
        self._to_report = asyncio.Queue()
        for connector_id in sorted(self._statuses):
            self._to_report.put_nowait(self._statuses[connector_id])
        self.on_accepted()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report())
            tasks.create_task(self._send_heartbeats())

    async def _boot(self) -> None:
        answer = await self.try_call(self._boot_notification)
        interval_s = None
        if answer is not None and answer.interval > 0:
            interval_s = float(min(answer.interval, LONGEST_INTERVAL_S))
        if answer is not None and answer.status == RegistrationStatus.accepted:
            self.accepted = True
            self._heartbeat_s = interval_s or HEARTBEAT_S
            return
        wait_s = interval_s or BOOT_RETRY_S
        said = answer.status if answer is not None else "was not answered"
        log.warning("BootNotification: %s; again in %g s", said, wait_s)
        await asyncio.sleep(wait_s)

    async def _report(self) -> None:
        while True:
            await self.try_call(await self._to_report.get())

    async def _send_heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            await self.try_call(call.Heartbeat())
