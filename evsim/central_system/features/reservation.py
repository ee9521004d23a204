"""Reservation: a connector is kept for an id tag."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ocpp.v16 import call, call_result

from evsim.central_system.features.asking import Asking
from evsim.central_system.ledger import Ledger
from evsim.clock import to_ocpp


class ReservationCommands(Asking):
    """What a central system asks about reservations."""

    ledger: Ledger

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.last_reservation_id = 0

    async def reserve(
        self,
        connector_id: int,
        id_tag: str,
        expiry: datetime,
        reservation_id: int | None = None,
        parent_id_tag: str | None = None,
    ) -> call_result.ReserveNow:
        """Keep a connector, 0 for any, for a tag and those with the same parent until `expiry`.

        A reservation of the same id is replaced; without one it gets an id that no other has had,
        and self.last_reservation_id tells it.
        """
        if reservation_id is None:
            reservation_id = self.ledger.new_reservation(
                self.id, connector_id, id_tag, to_ocpp(expiry)
            )
        self.last_reservation_id = reservation_id
        answer: call_result.ReserveNow = await self.ask(
            call.ReserveNow(connector_id, to_ocpp(expiry), id_tag, reservation_id, parent_id_tag),
            f"the reservation of connector {connector_id}",
        )
        return answer

    async def cancel_reservation(self, reservation_id: int) -> call_result.CancelReservation:
        """Give a reservation up."""
        answer: call_result.CancelReservation = await self.ask(
            call.CancelReservation(reservation_id),
            f"the cancelling of reservation {reservation_id}",
        )
        return answer
