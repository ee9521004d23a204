"""The compliance tool's cases for a central system: reservations."""

from __future__ import annotations

from datetime import timedelta

from octt_central_bench import TAG, Bench, moment, octt

from evsim.central_system.id_tags import IdTag

LIFETIME = timedelta(minutes=10)


async def reserve(it: Bench, connector_id: int = 1, parent_id_tag: str | None = None) -> int:
    """Reserve, with a payload that is right to the letter; give the reservation's id."""
    expiry = it.now() + LIFETIME
    verb = it.station.reserve(connector_id, TAG, expiry, 17, parent_id_tag=parent_id_tag)
    asked = await it.asked(verb, "ReserveNow")
    assert moment(asked.pop("expiryDate")) == expiry
    parent = {} if parent_id_tag is None else {"parentIdTag": parent_id_tag}
    assert asked == {"connectorId": connector_id, "idTag": TAG, "reservationId": 17, **parent}
    return 17


@octt
async def test_tc_046_csms_reserve_a_connector_for_a_transaction(it: Bench) -> None:
    reservation_id = await reserve(it)
    await it.status("Reserved")
    await it.authorize()
    transaction_id = await it.start(reservationId=reservation_id)
    await it.status("Charging")
    await it.stop(transaction_id)


@octt
async def test_tc_047_csms_reservation_expires(it: Bench) -> None:
    await reserve(it)
    await it.status("Reserved")
    await it.tool.nothing_for(LIFETIME.total_seconds())
    await it.status("Available")
    await it.stop(await it.charging("OTHER"))


async def show_refusal(it: Bench, status: str) -> None:
    verb = it.station.reserve(1, TAG, it.now() + LIFETIME)
    asked = await it.refused(verb, "ReserveNow", status)
    assert asked["connectorId"] == 1
    assert asked["idTag"] == TAG
    assert isinstance(asked["reservationId"], int)


@octt
async def test_tc_048_1_csms_reserve_a_faulted_connector(it: Bench) -> None:
    await it.status("Faulted", error_code="GroundFailure")
    await show_refusal(it, "Faulted")


@octt
async def test_tc_048_2_csms_reserve_an_occupied_connector(it: Bench) -> None:
    await it.charging()
    await show_refusal(it, "Occupied")


@octt
async def test_tc_048_3_csms_reserve_an_unavailable_connector(it: Bench) -> None:
    await it.status("Unavailable")
    await show_refusal(it, "Unavailable")


@octt
async def test_tc_048_4_csms_reservation_rejected(it: Bench) -> None:
    await show_refusal(it, "Rejected")


@octt
async def test_tc_049_csms_reserve_the_charge_point(it: Bench) -> None:
    reservation_id = await reserve(it, connector_id=0)
    await it.authorize()
    await it.status("Preparing")
    transaction_id = await it.start(reservationId=reservation_id)
    await it.status("Charging")
    await it.stop(transaction_id)


@octt
async def test_tc_051_csms_cancel_a_reservation(it: Bench) -> None:
    reservation_id = await reserve(it)
    await it.status("Reserved")
    verb = it.station.cancel_reservation(reservation_id)
    assert await it.asked(verb, "CancelReservation") == {"reservationId": reservation_id}
    await it.status("Available")


@octt
async def test_tc_052_csms_cancellation_rejected(it: Bench) -> None:
    verb = it.station.cancel_reservation(99)
    assert await it.refused(verb, "CancelReservation", "Rejected") == {"reservationId": 99}


@octt
async def test_tc_053_csms_reserve_for_a_parent_id_tag(it: Bench) -> None:
    it.ledger.id_tags.set(*(IdTag(tag, parent_id_tag="FAMILY") for tag in (TAG, "SIBLING")))
    reservation_id = await reserve(it, parent_id_tag="FAMILY")
    await it.status("Reserved")
    assert (await it.authorize("SIBLING"))["parentIdTag"] == "FAMILY"
    transaction_id = await it.start("SIBLING", reservationId=reservation_id)
    await it.status("Charging")
    await it.stop(transaction_id)


@octt
async def test_reservations_get_ids_of_their_own(it: Bench) -> None:
    ids = []
    for _ in range(3):  # a new connection must not use an id again: that would replace the first
        for _ in range(2):
            verb = it.station.reserve(1, TAG, it.now() + LIFETIME)
            ids.append((await it.asked(verb, "ReserveNow"))["reservationId"])
        await it.disconnect()
        await it.connect()
    assert len(set(ids)) == len(ids)
