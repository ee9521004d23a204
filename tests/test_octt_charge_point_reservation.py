"""The compliance tool's cases for a charge point: reservations.

What each row is about is in tests/octt16.tsv; the bench is tests/octt_bench.py.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from ocpp.v16 import call
from ocpp.v16.enums import AvailabilityType
from octt_bench import Bench, octt
from octt_central import wanted, wanted_status

from evsim.clock import to_ocpp

RESERVATION = 17
FAMILY = {"status": "Accepted", "parent_id_tag": "FAMILY"}


def reserve_now(
    it: Bench,
    connector_id: int = 1,
    *,
    for_s: float = 600,
    id_tag: str = "TAG",
    parent_id_tag: str | None = None,
) -> call.ReserveNow:
    expiry = to_ocpp(it.now() + timedelta(seconds=for_s))
    return call.ReserveNow(connector_id, expiry, id_tag, RESERVATION, parent_id_tag)


async def reserve(it: Bench, connector_id: int = 1, *, parent_id_tag: str | None = None) -> None:
    await it.ask("Accepted", reserve_now(it, connector_id, parent_id_tag=parent_id_tag))
    await it.central.status("Reserved")


async def use_locally(it: Bench, id_tag: str) -> int:
    """Show the tag, plug in, and begin a session by the reservation; give the transaction's id."""
    await it.cp.tag(id_tag)
    await it.central.expect("Authorize", id_tag=id_tag)
    await it.central.status("Preparing")
    it.cp.plug()
    return await it.started(id_tag, reservation_id=RESERVATION)


# ── A connector ──────────────────────────────────────────────────────────────────────────────


@octt()
async def test_tc_046_1_cs_used_locally(it: Bench) -> None:
    await reserve(it)
    await it.stop(await use_locally(it, "TAG"))
    await it.ask("Rejected", call.CancelReservation(RESERVATION))  # it is used up


@octt()
async def test_tc_046_1_cs_others_are_turned_away(it: Bench) -> None:
    await reserve(it)
    await it.cp.tag("STRANGER")
    await asyncio.sleep(30)
    it.central.pass_over()  # whose tag it is may be asked for
    assert not it.central.all("StartTransaction")
    await it.ask("Rejected", call.RemoteStartTransaction("STRANGER", 1))
    await it.central.silence(30)


@octt()
async def test_tc_046_2_cs_used_remotely(it: Bench) -> None:
    await reserve(it)
    await it.ask("Accepted", call.RemoteStartTransaction("TAG", 1))
    await it.central.status("Preparing")
    it.cp.plug()
    await it.started("TAG", reservation_id=RESERVATION)


@octt()
async def test_tc_047_cs_expires(it: Bench) -> None:
    await it.ask("Accepted", reserve_now(it, for_s=90))
    reserved_s = it.loop.time()
    await it.central.status("Reserved")
    await it.central.status("Available", within_s=120)
    assert it.loop.time() - reserved_s == pytest.approx(90, abs=1)
    await it.ask("Rejected", call.CancelReservation(RESERVATION))
    await it.start("STRANGER")
    (start,) = it.central.all("StartTransaction")
    assert "reservation_id" not in start


async def refused(it: Bench, connector_id: int, status: str) -> None:
    await it.ask(status, reserve_now(it, connector_id))
    await it.central.silence(30)


async def faulted(it: Bench, connector_id: int) -> None:
    it.cp.fault("OtherError")
    await it.central.status("Faulted", error_code="OtherError")
    await refused(it, connector_id, "Faulted")


async def occupied(it: Bench, connector_id: int) -> None:
    await it.start()
    await refused(it, connector_id, "Occupied")


async def unavailable(it: Bench, connector_id: int) -> None:
    request = call.ChangeAvailability(connector_id, AvailabilityType.inoperative)
    await it.ask("Accepted", request)
    changed = [wanted_status("Unavailable", n) for n in range(connector_id, 2)]
    await it.central.expect_each(*changed)
    await refused(it, connector_id, "Unavailable")


@octt()
async def test_tc_048_1_cs_faulted(it: Bench) -> None:
    await faulted(it, 1)


@octt()
async def test_tc_048_2_cs_occupied(it: Bench) -> None:
    await occupied(it, 1)


@octt()
async def test_tc_048_3_cs_unavailable(it: Bench) -> None:
    await unavailable(it, 1)


@octt(configuration={"SupportedFeatureProfiles": "Core,SmartCharging"})
async def test_tc_048_4_cs_rejected(it: Bench) -> None:
    await refused(it, 1, "Rejected")


# ── The charge point as a whole ──────────────────────────────────────────────────────────────


@octt()
async def test_tc_049_cs_charge_point_reserved_and_used(it: Bench) -> None:
    await reserve(it, 0)  # its only connector is the one that is kept free
    await it.ask("Rejected", call.RemoteStartTransaction("STRANGER", 1))
    await use_locally(it, "TAG")


@octt()
async def test_tc_050_1_cs_faulted(it: Bench) -> None:
    await faulted(it, 0)


@octt()
async def test_tc_050_2_cs_occupied(it: Bench) -> None:
    await occupied(it, 0)


@octt()
async def test_tc_050_3_cs_unavailable(it: Bench) -> None:
    await unavailable(it, 0)


@octt(configuration={"ReserveConnectorZeroSupported": "false"})
async def test_tc_050_4_cs_rejected(it: Bench) -> None:
    await refused(it, 0, "Rejected")
    await reserve(it, 1)


# ── Cancelled, or used by a group ────────────────────────────────────────────────────────────


@octt()
async def test_tc_051_cs_cancelled(it: Bench) -> None:
    await reserve(it)
    await it.ask("Accepted", call.CancelReservation(RESERVATION))
    await it.central.status("Available")
    await it.start("STRANGER")


@octt()
async def test_tc_052_cs_cancel_an_unknown_reservation(it: Bench) -> None:
    await reserve(it)
    await it.ask("Rejected", call.CancelReservation(RESERVATION + 1))
    await it.central.silence(30)


@octt()
async def test_tc_053_1_cs_used_by_the_group_locally(it: Bench) -> None:
    it.central.tags = {"SISTER": FAMILY}
    await reserve(it, parent_id_tag="FAMILY")
    await use_locally(it, "SISTER")


@octt()
async def test_tc_053_2_cs_used_by_the_group_remotely(it: Bench) -> None:
    it.central.tags = {"SISTER": FAMILY}
    await reserve(it, parent_id_tag="FAMILY")
    await it.ask("Accepted", call.RemoteStartTransaction("SISTER", 1))
    # Only the central system knows whose child the tag is.
    asked = wanted("Authorize", id_tag="SISTER")
    await it.central.expect_each(asked, wanted_status("Preparing"))
    it.cp.plug()
    await it.started("SISTER", reservation_id=RESERVATION)
