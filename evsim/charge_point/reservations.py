"""Reservations: who has which connector kept free, until when; on disk.

A reservation of connector 0 keeps any one connector free for its tag: the last one that is free is
then as good as reserved. A reservation ends when it is used or cancelled, when its time is over,
and when its connector becomes Faulted or Unavailable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from ocpp.v16.enums import CancelReservationStatus, ChargePointStatus, ReservationStatus

from evsim.charge_point.configuration import Configuration
from evsim.charge_point.id_tags import belongs_to, is_id_tag
from evsim.clock import Clock, from_ocpp, to_ocpp
from evsim.sqlite import Database

#: The whole of the charge point, in the place of a connector.
ANY = 0
#: The ids that can be kept: 64 bits.
RESERVATION_IDS = range(-(2**63), 2**63)
#: The expiry is looked at this often at least, in case the clock was set.
LOOK_AT_CLOCK_S = 60.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reservations (
    reservation_id INTEGER PRIMARY KEY,
    connector_id INTEGER NOT NULL,
    id_tag TEXT NOT NULL,
    parent_id_tag TEXT,
    expires_at TEXT NOT NULL
)
"""
_INOPERATIVE = {
    ChargePointStatus.faulted: ReservationStatus.faulted,
    ChargePointStatus.unavailable: ReservationStatus.unavailable,
}

log = logging.getLogger("evsim.charge_point")


class Refused(Enum):
    """What claim() gives where the connector is kept free for somebody else."""

    RESERVED = "reserved for another id tag"


@dataclass(frozen=True)
class Reservation:
    """What ReserveNow asked for."""

    reservation_id: int
    connector_id: int
    id_tag: str
    parent_id_tag: str | None
    expires_at: datetime

    def is_for(self, id_tag: str, parent_id_tag: str | None) -> bool:
        """Whether a tag may use it."""
        return belongs_to(
            id_tag, parent_id_tag, owner=self.id_tag, owners_parent=self.parent_id_tag
        )


class Reservations:
    """The reservations of a charge point.

    :param status_of: a connector's status, 0 for the charge point itself. Reserved and Available
        mean the same here: what is reserved is known here.
    :param on_change: called with each connector of which is_reserved() may have changed.
    """

    def __init__(
        self,
        database: Database,
        configuration: Configuration,
        *,
        status_of: Callable[[int], ChargePointStatus],
        on_change: Callable[[int], None],
        now: Clock,
    ) -> None:
        database.add_tables(_SCHEMA)
        self._database = database
        self._configuration = configuration
        self._status_of = status_of
        self._on_change = on_change
        self._now = now
        self._news = asyncio.Event()
        #: What is on disk, the first to expire first: a connector's status asks at every CAN frame.
        self._kept = self._load()

    # ── What the central system asks ─────────────────────────────────────────────────────────

    def reserve(
        self,
        reservation_id: int,
        connector_id: int,
        id_tag: str,
        expiry_date: str,
        parent_id_tag: str | None = None,
    ) -> ReservationStatus:
        """Reserve as ReserveNow asks; the same id replaces. It is on disk before this returns."""
        try:
            new = self._read(reservation_id, connector_id, id_tag, expiry_date, parent_id_tag)
        except ValueError as error:
            log.warning("reservation %d rejected: %s", reservation_id, error)
            return ReservationStatus.rejected
        others = [r for r in self.live() if r.reservation_id != reservation_id]
        status = self._judge(new, others)
        if status != ReservationStatus.accepted:
            log.warning("reservation %d of connector %d: %s", reservation_id, connector_id, status)
            return status
        self._database.write(
            "INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?, ?)",
            (reservation_id, connector_id, id_tag, new.parent_id_tag, to_ocpp(new.expires_at)),
        )
        log.info("connector %d is reserved until %s", connector_id, to_ocpp(new.expires_at))
        self._tell()
        return status

    def cancel(self, reservation_id: int) -> CancelReservationStatus:
        """Cancel as CancelReservation asks."""
        cancelled = [r for r in self.live() if r.reservation_id == reservation_id]
        if not cancelled:
            return CancelReservationStatus.rejected
        self._end("cancelled", cancelled)
        return CancelReservationStatus.accepted

    def _read(
        self,
        reservation_id: int,
        connector_id: int,
        id_tag: str,
        expiry_date: str,
        parent_id_tag: str | None,
    ) -> Reservation:
        """Give the reservation that is asked for; ValueError says why it can't be."""
        if "Reservation" not in self._configuration.words("SupportedFeatureProfiles"):
            raise ValueError("SupportedFeatureProfiles has no Reservation")
        if reservation_id not in RESERVATION_IDS:
            raise ValueError("its id is beyond 64 bits")
        if connector_id != ANY and connector_id not in self._connectors:
            raise ValueError(f"there is no connector {connector_id}")
        if connector_id == ANY and not self._configuration.flag("ReserveConnectorZeroSupported"):
            raise ValueError("ReserveConnectorZeroSupported is false")
        if not is_id_tag(id_tag) or (parent_id_tag and not is_id_tag(parent_id_tag)):
            raise ValueError("an id tag of it can't be one")
        expires_at = from_ocpp(expiry_date)
        if expires_at <= self._now():
            raise ValueError("its time is over")
        return Reservation(reservation_id, connector_id, id_tag, parent_id_tag or None, expires_at)

    def _judge(self, new: Reservation, others: Sequence[Reservation]) -> ReservationStatus:
        """Say whether there is a place for `new` beside the others."""
        own = self._status_of(new.connector_id)
        if own in _INOPERATIVE:
            return _INOPERATIVE[own]
        free = self._free(others)
        pledged = sum(other.connector_id == ANY for other in others)
        if (new.connector_id == ANY or new.connector_id in free) and len(free) > pledged:
            return ReservationStatus.accepted
        reasons = {
            _INOPERATIVE.get(self._status_of(connector_id), ReservationStatus.occupied)
            for connector_id in self._connectors
        }
        # Only where no connector works is that the reason.
        return reasons.pop() if len(reasons) == 1 else ReservationStatus.occupied

    # ── What happens at the connectors ───────────────────────────────────────────────────────

    def is_reserved(self, connector_id: int) -> bool:
        """Whether a connector is to be shown as Reserved when nobody uses it and it works."""
        return self._is_kept(connector_id, self.live())

    def admits(self, connector_id: int, id_tag: str, parent_id_tag: str | None = None) -> bool:
        """Whether a tag may start on a connector; nothing is used up."""
        return not isinstance(self._find(connector_id, id_tag, parent_id_tag), Refused)

    def needs_parent(self, connector_id: int, id_tag: str) -> bool:
        """Whether a tag may start there only if its parent is the right one: then look it up."""
        return not self.admits(connector_id, id_tag) and any(
            self.admits(connector_id, id_tag, reservation.parent_id_tag)
            for reservation in self.live()
            if reservation.parent_id_tag is not None
        )

    def claim(
        self, connector_id: int, id_tag: str, parent_id_tag: str | None = None
    ) -> int | Refused | None:
        """Use a reservation for the start of a transaction: give its id, and end it.

        None if the tag needs none, Refused.RESERVED if it may not start there. What it gives is
        on disk already: a transaction must follow.
        """
        found = self._find(connector_id, id_tag, parent_id_tag)
        if not isinstance(found, Reservation):
            return found
        self._end("used", [found])
        return found.reservation_id

    def end_at(self, connector_id: int) -> None:
        """End what is reserved at a connector that became Faulted or Unavailable, 0 for all."""
        works = any(self._status_of(c) not in _INOPERATIVE for c in self._connectors)
        ended = [
            r
            for r in self.live()
            if connector_id in (ANY, r.connector_id) or (r.connector_id == ANY and not works)
        ]
        self._end(f"no longer possible: {self._status_of(connector_id)}", ended)

    def _find(
        self, connector_id: int, id_tag: str, parent_id_tag: str | None
    ) -> Reservation | Refused | None:
        live = self.live()
        own = [r for r in live if r.is_for(id_tag, parent_id_tag)]
        named = [r for r in live if r.connector_id == connector_id]
        usable = [r for r in own if r in named or (r.connector_id == ANY and not named)]
        if usable:
            return usable[0]
        return Refused.RESERVED if self._is_kept(connector_id, live) else None

    def _is_kept(self, connector_id: int, live: Sequence[Reservation]) -> bool:
        """Whether a reservation names a connector, or those of connector 0 need it too."""
        if any(r.connector_id == connector_id for r in live):
            return True
        pledged = sum(r.connector_id == ANY for r in live)
        others = [c for c in self._free(live) if c != connector_id]
        return connector_id in self._connectors and pledged > len(others)

    # ── Their time ───────────────────────────────────────────────────────────────────────────

    def live(self) -> list[Reservation]:
        """Give the reservations that count now, the first to expire first."""
        now = self._now()
        return [r for r in self._kept if r.expires_at > now]

    async def run(self) -> None:
        """End each reservation when its time is over, for ever."""
        while True:
            self._news.clear()
            now = self._now()
            self._end("over", [r for r in self._kept if r.expires_at <= now])
            wait_s = None
            if self._kept:
                wait_s = min((self._kept[0].expires_at - now).total_seconds(), LOOK_AT_CLOCK_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()

    def _load(self) -> list[Reservation]:
        rows = self._database.execute(
            "SELECT reservation_id, connector_id, id_tag, parent_id_tag, expires_at"
            " FROM reservations ORDER BY expires_at"
        )
        return [Reservation(i, c, tag, parent, from_ocpp(at)) for i, c, tag, parent, at in rows]

    def _end(self, why: str, ended: Sequence[Reservation]) -> None:
        if not ended:
            return
        with self._database.writing():
            self._database.executemany(
                "DELETE FROM reservations WHERE reservation_id = ?",
                [(r.reservation_id,) for r in ended],
            )
        for reservation in ended:
            log.info("reservation %d is %s", reservation.reservation_id, why)
        self._tell()

    def _tell(self) -> None:
        """Take note of what was written, and tell the connectors."""
        self._kept = self._load()
        self._news.set()
        for connector_id in self._connectors:
            self._on_change(connector_id)

    @property
    def _connectors(self) -> range:
        return range(1, self._configuration.number("NumberOfConnectors") + 1)

    def _free(self, live: Sequence[Reservation]) -> list[int]:
        """Name the connectors that nobody uses and none of these reservations names."""
        reserved = {r.connector_id for r in live}
        return [
            c
            for c in self._connectors
            if c not in reserved
            and self._status_of(c) in (ChargePointStatus.available, ChargePointStatus.reserved)
        ]
