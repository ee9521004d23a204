"""Reservations: who is let in, what is refused, when they end; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from linked import linked
from ocpp.v16 import call
from ocpp.v16.enums import CancelReservationStatus, ChargePointStatus, ReservationStatus

from evsim import virtual_time
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.features.reservation import ReservationProfile
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.reservations import LOOK_AT_CLOCK_S, Refused, Reservations
from evsim.clock import to_ocpp
from evsim.sqlite import IN_MEMORY, StorageError
from evsim.virtual_time import EPOCH

AVAILABLE = ChargePointStatus.available
ACCEPTED, OCCUPIED = ReservationStatus.accepted, ReservationStatus.occupied
REJECTED = ReservationStatus.rejected
IN_AN_HOUR = to_ocpp(EPOCH + timedelta(hours=1))


class Place:
    """A charge point with one connector and a clock that the test may set."""

    def __init__(self, path: Path = IN_MEMORY, **initial: str) -> None:
        self.ledger = Ledger(path)
        self.statuses = {0: AVAILABLE, 1: AVAILABLE}
        self.time: Callable[[], datetime] = lambda: EPOCH
        self.changes: list[int] = []
        self.reservations = Reservations(
            self.ledger.database,
            Configuration(self.ledger.database, initial=initial),
            status_of=self.statuses.__getitem__,
            on_change=self.changes.append,
            now=lambda: self.time(),
        )

    def reserve(
        self,
        number: int = 1,
        connector_id: int = 1,
        tag: str = "A",
        until: str = IN_AN_HOUR,
        parent: str | None = None,
    ) -> ReservationStatus:
        return self.reservations.reserve(number, connector_id, tag, until, parent)

    @property
    def ids(self) -> list[int]:
        return [r.reservation_id for r in self.reservations.live()]


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.ledger.close()


def test_a_reserved_connector_is_kept_free_for_its_tag_and_used_once(place: Place) -> None:
    assert place.reserve(7) == ACCEPTED
    assert place.reservations.is_reserved(1)
    assert not place.reservations.is_reserved(0)
    assert not place.reservations.admits(1, "B")
    assert place.reservations.claim(1, "B") == Refused.RESERVED
    assert place.reservations.admits(1, "a")
    assert place.ids == [7]
    assert place.reservations.claim(1, "a") == 7
    assert place.reservations.claim(1, "B") is None
    assert (place.ids, place.changes) == ([], [1, 1])


@pytest.mark.parametrize("connector_id", [0, 1])
def test_a_tag_of_the_same_parent_may_use_it(place: Place, connector_id: int) -> None:
    place.reserve(7, connector_id, parent="GROUP")
    assert place.reservations.claim(1, "B") == Refused.RESERVED
    assert place.reservations.claim(1, "B", "OTHER") == Refused.RESERVED
    assert place.reservations.claim(1, "B", "group") == 7


@pytest.mark.parametrize("connector_id", [0, 1])
def test_whose_parent_must_be_known(place: Place, connector_id: int) -> None:
    assert not place.reservations.needs_parent(1, "B")
    place.reserve(7, connector_id)
    assert not place.reservations.needs_parent(1, "B"), "no parent would help"
    place.reserve(7, connector_id, parent="GROUP")
    assert place.reservations.needs_parent(1, "B")
    assert not place.reservations.needs_parent(1, "A")


def test_a_reservation_without_a_parent_is_for_its_tag_alone(place: Place) -> None:
    place.reserve(7, parent="")
    assert place.reservations.claim(1, "B", "") == Refused.RESERVED


def test_connector_0_keeps_the_last_free_connector(place: Place) -> None:
    assert place.reserve(7, 0) == ACCEPTED
    assert place.reservations.is_reserved(1), "it is the last one"
    place.statuses[1] = ChargePointStatus.preparing  # somebody has plugged in
    assert place.reservations.claim(1, "B") == Refused.RESERVED
    assert place.reservations.claim(1, "A") == 7
    assert place.changes == [1, 1]
    assert not place.reservations.is_reserved(1)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("second", [0, 1])
def test_one_connector_is_not_reserved_twice(place: Place, first: int, second: int) -> None:
    assert place.reserve(1, first) == ACCEPTED
    place.statuses[1] = ChargePointStatus.reserved
    assert place.reserve(2, second) == OCCUPIED
    assert place.reserve(1, second, "B") == ACCEPTED, "the same id replaces"
    assert place.reservations.admits(1, "B")
    assert not place.reservations.admits(1, "A")
    assert place.ids == [1]


def test_who_is_told_when_a_reservation_moves(place: Place) -> None:
    place.reserve(1, 0)
    place.reserve(1, 1)
    assert place.changes == [1, 1]
    assert place.reservations.is_reserved(1)


@pytest.mark.parametrize("connector_id", [0, 1])
@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("Available", "Accepted"),
        ("Preparing", "Occupied"),
        ("Charging", "Occupied"),
        ("SuspendedEV", "Occupied"),
        ("SuspendedEVSE", "Occupied"),
        ("Finishing", "Occupied"),
        ("Faulted", "Faulted"),
        ("Unavailable", "Unavailable"),
    ],
)
def test_the_answer_by_the_connectors_status(
    place: Place, connector_id: int, status: str, answer: str
) -> None:
    place.statuses[1] = ChargePointStatus(status)
    assert place.reserve(1, connector_id) == answer
    assert place.ids == ([1] if answer == "Accepted" else [])


def test_a_charge_point_that_is_faulted_as_a_whole(place: Place) -> None:
    place.statuses[0] = ChargePointStatus.faulted
    assert place.reserve(1, 0) == ReservationStatus.faulted


@pytest.mark.parametrize(
    "wrong",
    [
        {"connector_id": 2},
        {"connector_id": -1},
        {"connector_id": 2**70},
        {"number": 2**70},
        {"number": -(2**70)},
        {"tag": ""},
        {"tag": "x" * 21},
        {"tag": "a\0b"},
        {"tag": "\ud800"},
        {"parent": "x" * 21},
        {"until": ""},
        {"until": "tomorrow"},
        {"until": "2025-12-31T23:59:59Z"},
        {"until": "2026-01-01T00:00:00Z"},
        {"until": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59-14:00"},
        {"until": "10000-01-01T00:00:00Z"},
    ],
)
def test_what_makes_no_sense_is_rejected_and_the_old_one_stays(
    place: Place, wrong: dict[str, Any]
) -> None:
    place.reserve(1)
    asked: dict[str, Any] = {"number": 1, "tag": "B"} | wrong
    assert place.reserve(**asked) == REJECTED
    assert place.ids == [1]
    assert place.reservations.admits(1, "A")


@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, -(2**63)])
def test_every_id_that_can_be_kept_is_taken(place: Place, number: int) -> None:
    assert place.reserve(number) == ACCEPTED
    assert place.reservations.cancel(number) == CancelReservationStatus.accepted


def test_connector_0_can_be_unsupported() -> None:
    place = Place(ReserveConnectorZeroSupported="false")
    assert place.reserve(1, 0) == REJECTED
    assert place.reserve(1, 1) == ACCEPTED
    place.ledger.close()


def test_cancelling(place: Place) -> None:
    place.reserve(7)
    for unknown in (8, 2**70, -1):
        assert place.reservations.cancel(unknown) == CancelReservationStatus.rejected
    assert place.reservations.cancel(7) == CancelReservationStatus.accepted
    assert place.reservations.cancel(7) == CancelReservationStatus.rejected
    assert (place.ids, place.changes) == ([], [1, 1])


@pytest.mark.parametrize("status", ["Faulted", "Unavailable"])
@pytest.mark.parametrize("connector_id", [0, 1])
def test_a_connector_that_fails_ends_its_reservation(
    place: Place, connector_id: int, status: str
) -> None:
    place.reserve(7, connector_id)
    place.statuses[1] = ChargePointStatus(status)
    place.reservations.end_at(1)
    assert (place.ids, place.changes) == ([], [1, 1])


def test_the_whole_charge_point_fails(place: Place) -> None:
    place.reserve(7, 1)
    place.reservations.end_at(0)
    assert place.ids == []


def test_what_works_keeps_a_reservation_of_connector_0(place: Place) -> None:
    place.reserve(7, 0)
    place.reservations.end_at(1)
    assert place.ids == [7]


# ── On disk ──────────────────────────────────────────────────────────────────────────────────


def test_reservations_outlive_the_program(tmp_path: Path) -> None:
    path = tmp_path / "cp.sqlite"
    first = Place(path)
    first.reserve(7, parent="GROUP")
    kept = first.reservations.live()
    first.ledger.close()  # nothing is written then: what was answered was on disk before
    second = Place(path)
    assert second.reservations.live() == kept
    assert second.reservations.claim(1, "A") == 7
    second.ledger.close()
    third = Place(path)
    assert third.ids == [], "what was used is not offered again"
    third.ledger.close()


def test_a_reservation_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    path = tmp_path / "cp.sqlite"
    place = Place(path)
    place.reserve(7)
    path.rename(tmp_path / "moved")
    with pytest.raises(StorageError):
        place.reserve(7, tag="B")
    with pytest.raises(StorageError):
        place.reservations.cancel(7)
    assert (place.ids, place.changes) == ([7], [1])
    place.ledger.close()


# ── In time ──────────────────────────────────────────────────────────────────────────────────


def play(place: Place, scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Let `scene` happen in virtual time while the reservations' clock runs."""

    async def run() -> None:
        place.time = virtual_time.clock()
        running = asyncio.create_task(place.reservations.run())
        try:
            await scene()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            place.ledger.close()

    virtual_time.run(run())


def test_each_ends_when_its_time_is_over() -> None:
    place = Place()

    async def scene() -> None:
        await asyncio.sleep(100)  # nothing to wait for yet
        place.reserve(7, until="2026-01-01T00:10:00+00:00")
        await asyncio.sleep(499.9)
        assert place.changes == [1]
        assert not place.reservations.admits(1, "B")
        await asyncio.sleep(0.2)
        assert place.changes == [1, 1]
        assert place.reservations.admits(1, "B")
        assert place.reservations.cancel(7) == CancelReservationStatus.rejected
        assert place.reserve(8, until="2026-01-01T00:20:00Z") == ACCEPTED

    play(place, scene)


def test_one_that_is_replaced_ends_at_its_new_time() -> None:
    place = Place()

    async def scene() -> None:
        place.reserve(7, until="2026-01-01T00:10:00Z")
        await asyncio.sleep(1)
        place.reserve(7, until="2026-01-01T00:00:02Z")
        await asyncio.sleep(1.01)
        assert place.ids == []
        place.reserve(7, until="9999-12-31T23:59:59Z")
        await asyncio.sleep(86_400)
        assert place.ids == [7]

    play(place, scene)


def test_a_clock_that_is_set_forward_is_noticed() -> None:
    place = Place()

    async def scene() -> None:
        place.reserve(7)
        await asyncio.sleep(1)
        place.time = virtual_time.clock(EPOCH + timedelta(hours=2))
        assert not place.reservations.is_reserved(1)
        assert place.reservations.admits(1, "B")
        await asyncio.sleep(LOOK_AT_CLOCK_S)
        assert place.changes == [1, 1]

    play(place, scene)


def test_what_expired_while_the_program_was_down_is_told_at_the_start(tmp_path: Path) -> None:
    before = Place(tmp_path / "cp.sqlite")
    before.time = lambda: EPOCH - timedelta(hours=1)
    before.reserve(7, until="2025-12-31T23:30:00Z")
    before.ledger.close()
    place = Place(tmp_path / "cp.sqlite")
    assert not place.reservations.is_reserved(1)

    async def scene() -> None:
        await asyncio.sleep(0)
        assert place.changes == [1]
        (count,) = place.ledger.database.execute("SELECT COUNT(*) FROM reservations").fetchone()
        assert count == 0

    play(place, scene)


# ── On the link ──────────────────────────────────────────────────────────────────────────────


def test_the_messages(place: Place) -> None:
    async def talk() -> list[str]:
        async with linked(ReservationProfile(place.reservations)) as central:
            requests = [
                call.ReserveNow(1, IN_AN_HOUR, "A", 7, parent_id_tag="GROUP"),
                call.ReserveNow(1, IN_AN_HOUR, "B", 8),
                call.ReserveNow(1, "garbage", "B", 8),
                call.ReserveNow(-1, IN_AN_HOUR, "B", 8),
                call.CancelReservation(8),
                call.CancelReservation(7),
                call.CancelReservation(7),
            ]
            return [(await central.call(request)).status for request in requests]

    assert virtual_time.run(talk()) == [
        "Accepted",
        "Occupied",
        "Rejected",
        "Rejected",
        "Rejected",
        "Accepted",
        "Rejected",
    ]
    assert place.changes == [1, 1]
