"""The feature profile Reservation: ReserveNow and CancelReservation."""

from __future__ import annotations

from ocpp.v16 import call_result
from ocpp.v16.enums import Action

from evsim.charge_point.reservations import Reservations
from evsim.ocpp_link import on


class ReservationProfile:
    """Answers the central system about reservations."""

    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations

    @on(Action.reserve_now)
    def on_reserve_now(
        self,
        connector_id: int,
        expiry_date: str,
        id_tag: str,
        reservation_id: int,
        parent_id_tag: str | None = None,
        **_: object,
    ) -> call_result.ReserveNow:
        """Reserve a connector, or any one."""
        return call_result.ReserveNow(
            self._reservations.reserve(
                reservation_id, connector_id, id_tag, expiry_date, parent_id_tag
            )
        )

    @on(Action.cancel_reservation)
    def on_cancel_reservation(
        self, reservation_id: int, **_: object
    ) -> call_result.CancelReservation:
        """Cancel a reservation."""
        return call_result.CancelReservation(self._reservations.cancel(reservation_id))
