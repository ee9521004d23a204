"""Which charge points are connected, and who listens to what is said with them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from evsim.man_in_the_middle import ManInTheMiddle
from evsim.network_faults import abort
from evsim.ocpp_link import Connection, Tap


class LinkRecorder(Protocol):
    """Who records the OCPP links: evsim.recording has one."""

    def ocpp(self, charge_point_id: str, sent: bool, message: list[Any] | str) -> None:
        """Take a message that we sent or received, as OcppLink.taps has it."""

    def link(self, charge_point_id: str, event: str) -> None:
        """Take note that a connection is there, or is not any more."""


class Connected(Protocol):
    """A charge point while it is connected."""

    taps: list[Tap]

    async def talk(self, connection: Connection) -> None:
        """Hold the session until the connection closes."""


ConnectedT = TypeVar("ConnectedT", bound=Connected)


class Registry(Generic[ConnectedT]):
    """The connected charge points, by id.

    :param make: makes the charge point of that id when it connects.
    :param record: takes what goes over the links and how they begin and end.
    :param wires: for the charge points whose link is in the hands of a man in the middle.
    """

    def __init__(
        self,
        make: Callable[[str], ConnectedT],
        record: LinkRecorder | None,
        wires: Callable[[str], ManInTheMiddle | None],
    ) -> None:
        self._make = make
        self._record = record
        self._wires = wires
        self.charge_points: dict[str, ConnectedT] = {}

    async def talk(self, charge_point_id: str, connection: Connection) -> None:
        """Hold the session with a charge point until its connection closes."""
        wire = self._wires(charge_point_id)
        if wire is not None:
            if wire.is_cut:
                abort(connection)
                return
            connection = wire.attach(connection)
        charge_point = self._make(charge_point_id)
        self.charge_points[charge_point_id] = charge_point
        if self._record is not None:
            charge_point.taps.append(functools.partial(self._record.ocpp, charge_point_id))
            self._record.link(charge_point_id, "connected")
        try:
            await charge_point.talk(connection)
        finally:
            del self.charge_points[charge_point_id]
            if self._record is not None:
                self._record.link(charge_point_id, "disconnected")
