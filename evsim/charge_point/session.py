"""A charge point's side of a session with its central system: boot, heartbeats, statuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from typing import Any

from ocpp.exceptions import OCPPError
from ocpp.v16 import call
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, RegistrationStatus

from evsim.charge_point.configuration import Access, Key
from evsim.charge_point.connector_status import Fault
from evsim.charge_point.value_types import Whole
from evsim.clock import Clock, to_ocpp
from evsim.network_faults import abort
from evsim.ocpp_link import Connection, OcppLink
from evsim.ocpp_wire import explain
from evsim.rate_limit import Rate

#: Until something else is said: by `heartbeat_s`, or by the central system as it accepts us.
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

    Until the central system has accepted the BootNotification nothing else is sent but what it
    triggers, and while it has rejected it, nothing is answered either. A mere reconnect does not
    boot again; after one, only the current statuses are reported.
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
        self._booted = asyncio.Event()
        #: How long to wait, when the central system accepts us no longer.
        self._turned_away: asyncio.Queue[float] = asyncio.Queue()
        self.vendor = vendor
        self.model = model
        self.firmware_version: str | None = None
        self._heartbeat_s = HEARTBEAT_S
        self._heartbeat_changed = asyncio.Event()
        self._to_report: asyncio.Queue[call.StatusNotification] = asyncio.Queue()
        #: The last known status of each connector.
        self._statuses: dict[int, call.StatusNotification] = {}
        self._up = asyncio.Event()
        self._up.set()

    async def talk(self, connection: Connection) -> None:
        """Hold a session over `connection` until it closes, and it is up again if it went down."""
        await self._up.wait()
        session = self.run_in_background(self._session())
        try:
            await self.serve(connection)
        finally:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
            self.on_disconnected()
        await self._up.wait()

    # ── Down and up ──────────────────────────────────────────────────────────────────────────

    @property
    def is_down(self) -> bool:
        """Whether it is without power, or starting anew."""
        return not self._up.is_set()

    def go_down(self) -> None:
        """Forget that the central system has accepted us; there is no session until come_up()."""
        self.accepted = False
        self._booted.clear()
        self._up.clear()

    def lose_connection(self) -> None:
        """Lose it without a farewell, if there is one."""
        if self.connected:
            abort(self._connection)

    def come_up(self) -> None:
        """Let the next session begin, with a BootNotification."""
        self._up.set()

    # ── What the rest of the charge point is told ────────────────────────────────────────────

    def on_accepted(self) -> None:
        """Called when transaction messages may be sent, from now on or again."""

    def on_disconnected(self) -> None:
        """Called when they can no longer be sent."""

    # ── What the central system is told ──────────────────────────────────────────────────────

    def report_status(
        self, connector_id: int, status: ChargePointStatus, fault: Fault | None = None
    ) -> None:
        """Report a connector's status in the order of these calls; while offline, only the last."""
        notification = call.StatusNotification(
            connector_id=connector_id,
            error_code=fault.error_code if fault else ChargePointErrorCode.no_error,
            status=status,
            timestamp=to_ocpp(self.now()),
            info=fault.info if fault else None,
        )
        self._statuses[connector_id] = notification
        if self.connected and self.accepted:
            if self._to_report.qsize() >= MOST_WAITING_STATUSES:
                self._to_report.get_nowait()  # the central system is slow; the newest matter
            self._to_report.put_nowait(notification)

    async def report_statuses_again(self, connector_id: int | None = None) -> None:
        """Report the present status of a connector, or of all, because it was asked for."""
        for number in sorted(self._statuses):
            if connector_id in (None, number):
                await self.try_call(self._statuses[number])

    async def tell(self, request: Any) -> None:
        """Send what nobody has asked for, unless the central system has not accepted us yet."""
        if self.connected and self.accepted:
            await self.try_call(request)

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
        wait_s = 0.0
        while True:
            while not self.accepted:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):  # or until one asked for is accepted
                        await self._booted.wait()
                if not self.accepted:
                    wait_s = await self.boot()
            self._to_report = asyncio.Queue()
            for connector_id in sorted(self._statuses):
                self._to_report.put_nowait(self._statuses[connector_id])
            self.on_accepted()
            wait_s = await self._tell_until_turned_away()
            self.on_disconnected()

    async def _tell_until_turned_away(self) -> float:
        """Tell what there is to be told; give how long to wait with the next BootNotification."""
        self._turned_away = asyncio.Queue()
        async with asyncio.TaskGroup() as tasks:
            told = [tasks.create_task(self._report()), tasks.create_task(self._send_heartbeats())]
            wait_s = await self._turned_away.get()
            for task in told:
                task.cancel()
        return wait_s

    async def boot_again(self) -> None:
        """Send a BootNotification because it was asked for; its answer may turn us away."""
        was_accepted = self.accepted
        wait_s = await self.boot()
        if was_accepted and not self.accepted:
            self._turned_away.put_nowait(wait_s)

    async def boot(self) -> float:
        """Send a BootNotification; give how long to wait with the next if it is not accepted."""
        self.silent = False
        answer = await self.try_call(
            call.BootNotification(
                charge_point_model=self.model,
                charge_point_vendor=self.vendor,
                firmware_version=self.firmware_version,
            )
        )
        interval_s = None
        if answer is not None and answer.interval > 0:
            interval_s = float(min(answer.interval, LONGEST_INTERVAL_S))
        if answer is not None and answer.status == RegistrationStatus.accepted:
            self.accepted = True
            self._booted.set()
            if interval_s is not None:
                self.heartbeat_s = interval_s
            return 0.0
        if answer is not None:
            self.accepted = False
            self._booted.clear()
            self.silent = answer.status == RegistrationStatus.rejected
        wait_s = interval_s or BOOT_RETRY_S
        said = answer.status if answer is not None else "was not answered"
        log.warning("BootNotification: %s; again in %g s", said, wait_s)
        return wait_s

    async def _report(self) -> None:
        while True:
            await self.try_call(await self._to_report.get())

    @property
    def heartbeat_s(self) -> float:
        """Between heartbeats, s; 0: there are none."""
        return self._heartbeat_s

    @heartbeat_s.setter
    def heartbeat_s(self, seconds: float) -> None:
        self._heartbeat_s = seconds
        self._heartbeat_changed.set()

    def heartbeat_key(self) -> Key:
        """Give the configuration key HeartbeatInterval; a boot sets it anew if it tells one."""

        def write(text: str) -> bool:
            self.heartbeat_s = float(Whole(1, LONGEST_INTERVAL_S).read(text))
            return True

        return Key(
            "HeartbeatInterval",
            Access.READ_WRITE,
            read=lambda: f"{self.heartbeat_s:.0f}",
            write=write,
        )

    async def _send_heartbeats(self) -> None:
        while True:
            self._heartbeat_changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s or None):
                    await self._heartbeat_changed.wait()
                    continue
            await self.heartbeat()

    async def heartbeat(self) -> None:
        """Send a heartbeat."""
        await self.try_call(call.Heartbeat())
