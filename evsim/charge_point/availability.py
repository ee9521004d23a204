"""In and out of service: as the central system has set it, and while firmware is installed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

from ocpp.v16.enums import AvailabilityStatus, ChargePointStatus

from evsim.charge_point.charging import Charging
from evsim.charge_point.connector import Connector
from evsim.charge_point.ledger import Ledger

#: The setting that keeps which connectors are out of service; 0 is the charge point as a whole.
_OUT_OF_SERVICE = "OutOfService"


class Availability:
    """Takes a charge point's only connector, and the whole, in and out of service.

    :param report: called with each new status of the charge point as a whole.
    :param tasks: where what is Scheduled waits.
    """

    def __init__(
        self,
        connector: Connector,
        charging: Charging,
        ledger: Ledger,
        *,
        report: Callable[[ChargePointStatus], None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._connector = connector
        self._charging = charging
        self._ledger = ledger
        self._report = report
        self._tasks = tasks
        self._out_of_service = set(json.loads(ledger.setting(_OUT_OF_SERVICE) or "[]"))
        self._installing = False
        self._reported: ChargePointStatus | None = None

    @property
    def status(self) -> ChargePointStatus:
        """That of the charge point as a whole, connector 0."""
        out = 0 in self._out_of_service
        return ChargePointStatus.unavailable if out else ChargePointStatus.available

    def change(self, connector_id: int, operative: bool) -> AvailabilityStatus:
        """Take a connector, or with 0 the whole, in or out of service, also for the next start.

        What is under way goes on first: Scheduled, then.
        """
        number = self._connector.number
        if connector_id not in (0, number):
            return AvailabilityStatus.rejected
        meant = {0, number} if connector_id == 0 else {connector_id}
        out = self._out_of_service - meant if operative else self._out_of_service | meant
        self._ledger.set_setting(_OUT_OF_SERVICE, json.dumps(sorted(out)))
        self._out_of_service = out
        if not operative and self._charging.is_under_way:
            self._tasks.create_task(self._show_when_idle())
            return AvailabilityStatus.scheduled
        self.show()
        return AvailabilityStatus.accepted

    async def _show_when_idle(self) -> None:
        await self._charging.idle()
        self.show()

    def show(self) -> None:
        """Let the statuses say it."""
        out = self._connector.number in self._out_of_service or self._installing
        self._connector.change(inoperative=out)
        if self.status != self._reported:
            self._reported = self.status
            self._report(self.status)

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Let what is under way end, and nothing begin, for as long as the context lasts."""
        self._installing = True
        try:
            self.show()
            await self._charging.idle()
            yield
        finally:
            self.end_quiet()

    def end_quiet(self) -> None:
        """Let charging begin again: the reboot that ends an installation is over."""
        self._installing = False
        self.show()
