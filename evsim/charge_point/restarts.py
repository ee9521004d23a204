"""How a charge point goes down and comes up: resets, power cuts, the end of the program."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from ocpp.v16.enums import Reason

from evsim.charge_point.availability import Availability
from evsim.charge_point.charging import Charging
from evsim.charge_point.delivery import Delivery
from evsim.charge_point.hardware import Hardware
from evsim.charge_point.maintenance import Maintenance
from evsim.charge_point.security_events import SecurityEvent
from evsim.charge_point.session import SessionLink
from evsim.errors import UserError

#: How long an exit or a reset waits until the transaction is ended, and that is delivered.
STOP_S = 3.0

log = logging.getLogger("evsim.charge_point")


class Restarts:
    """Ends what goes on, and lets the charge point boot anew; one restart at a time.

    :param tasks: where a restart runs.
    """

    def __init__(
        self,
        link: SessionLink,
        *,
        charging: Charging,
        delivery: Delivery,
        availability: Availability,
        maintenance: Maintenance,
        hardware: Hardware,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._link = link
        self._charging = charging
        self._delivery = delivery
        self._availability = availability
        self._maintenance = maintenance
        self._hardware = hardware
        self._tasks = tasks
        self._is_exiting = False
        self._running = asyncio.Lock()

    @property
    def is_ending(self) -> bool:
        """Whether it is about to end, or to start anew: nothing begins any more."""
        return self._is_exiting or self._running.locked()

    def begin(self, reason: Reason) -> None:
        """End what goes on, then boot anew."""
        self._tasks.create_task(self._restart(reason))

    def cut_power(self, *, announced: bool) -> None:
        """Be without power for a while; if `announced`, there is time to end the transaction.

        UserError while it is without power, or starting anew.
        """
        if self._running.locked():
            raise UserError("the charge point is down already, or about to be")
        self._tasks.create_task(self._lose_power(announced))

    async def _restart(self, reason: Reason) -> None:
        async with self._running:
            self._maintenance.events.note(SecurityEvent.reset_or_reboot, reason)
            await self._end_and_send(reason)
            self._link.go_down()
            await self._link.disconnect("restarting")
            await asyncio.sleep(self._hardware.reboot_s)
            self._link.firmware_version = self._maintenance.firmware_version
            self._availability.end_quiet()
            self._link.come_up()

    async def _lose_power(self, announced: bool) -> None:
        async with self._running:
            if announced:
                await self._end_and_send(Reason.power_loss)
            self._link.go_down()
            self._link.lose_connection()
            await self._charging.lose_power()
            await asyncio.sleep(self._hardware.outage_s)
            self._charging.recover()
            self._link.come_up()

    async def _end_and_send(self, reason: Reason) -> None:
        await self._charging.end(reason, STOP_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S if self._link.connected else 0):
                await self._delivery.all_sent()

    async def exit(self) -> None:
        """Stop the charging, because the program ends."""
        self._is_exiting = True
        await self._end_and_send(Reason.reboot)
        self._charging.connector.stop()
