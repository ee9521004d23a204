"""The cable of a connector: in or out, who plugged it in, and whether the socket holds it."""

from __future__ import annotations

import asyncio

from ocpp.v16.enums import Reason

from evsim.charge_point.configuration import Configuration
from evsim.charge_point.connector import Connector
from evsim.charge_point.hardware import Cable, Hardware
from evsim.charge_point.id_tags import plain
from evsim.errors import UserError


class ConnectorCable:
    """Tells the connector whether a car is there; made within a running event loop."""

    def __init__(
        self, connector: Connector, hardware: Hardware, configuration: Configuration
    ) -> None:
        self._connector = connector
        self._hardware = hardware
        self._configuration = configuration
        self._plugged = asyncio.Event()
        self._is_a_persons = False
        #: It is out of the car, but still locked in the station's socket: the id tag that opens it.
        self._locked_for: str | None = None

    def plug(self) -> None:
        """Let a person connect a car; UserError if one is connected."""
        if self._connector.occupancy.plugged:
            raise UserError("the cable is plugged in already")
        self._is_a_persons = True
        self._connect(plugged=True)

    def unplug(self) -> None:
        """Let a person pull it out of the car; UserError if it isn't in one."""
        if not self._connector.occupancy.plugged:
            raise UserError("no cable is plugged in")
        self._is_a_persons = False
        self._connect(plugged=False)

    def _connect(self, *, plugged: bool) -> None:
        if plugged:
            self._plugged.set()
        else:
            self._plugged.clear()
        self._connector.change(plugged=plugged)

    async def comes_within(self, timeout_s: float) -> bool:
        """Wait for it; a car that needs no person comes at once."""
        if self._hardware.cable is Cable.AUTOMATIC and not self._plugged.is_set():
            self._connect(plugged=True)
        try:
            async with asyncio.timeout(timeout_s):
                await self._plugged.wait()
        except TimeoutError:
            return False
        return True

    # ── After a transaction ──────────────────────────────────────────────────────────────────

    def leave(self, id_tag: str, reason: Reason) -> None:
        """Let the car go after a transaction of `id_tag`, if it goes by itself."""
        if (
            reason == Reason.ev_disconnected
            and not self._hardware.is_fixed_cable
            and not self._configuration.flag("UnlockConnectorOnEVSideDisconnect")
        ):
            self._locked_for = id_tag
        if self._hardware.cable is Cable.AUTOMATIC and not self._is_a_persons:
            self._connect(plugged=False)
        self.free_connector()

    def free_connector(self) -> None:
        """Let the connector be free, unless the cable is still there."""
        occupancy = self._connector.occupancy
        if occupancy.finishing and not occupancy.plugged and self._locked_for is None:
            self._connector.change(finishing=False)

    def opens_for(self, id_tag: str) -> bool:
        """Whether the socket holds it until this tag is shown."""
        return self._locked_for is not None and plain(id_tag) == plain(self._locked_for)

    def unlock(self) -> None:
        """Release it."""
        self._locked_for = None
        self.free_connector()

    def lose_power(self) -> None:
        """Let go of it; only a person's car stays."""
        self._locked_for = None
        if not self._is_a_persons:
            self._connect(plugged=False)
