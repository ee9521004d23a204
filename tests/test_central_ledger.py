"""The central system's record: repetitions recognised, others' transactions left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from evsim.central_system.ledger import Ledger
from evsim.sqlite import StorageError


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "csms.sqlite")
    yield made
    made.close()


def test_ids_are_never_used_twice(ledger: Ledger, tmp_path: Path) -> None:
    first = ledger.start_transaction("CP_1", 1, "TAG", "2026-01-01T00:00:00Z", 0)
    again = Ledger(tmp_path / "csms.sqlite")
    second = again.start_transaction("CP_1", 1, "TAG", "2026-01-01T00:00:01Z", 0)
    again.close()
    assert second > first > 0


def test_reservation_ids_are_never_used_twice(ledger: Ledger, tmp_path: Path) -> None:
    reservation = ("CP_1", 1, "TAG", "2026-01-01T00:00:00Z")
    ids = [ledger.new_reservation(*reservation) for _ in range(2)]
    with closing(Ledger(tmp_path / "csms.sqlite")) as again:
        ids.append(again.new_reservation(*reservation))
    assert len(set(ids)) == 3


def test_a_repeated_start_gets_the_id_it_had(ledger: Ledger) -> None:
    start = ("CP_1", 1, "TAG", "2026-01-01T00:00:00Z", 0)
    first = ledger.start_transaction(*start)
    assert ledger.start_transaction(*start) == first
    assert ledger.start_transaction("CP_2", *start[1:]) != first
    assert len(ledger.transactions("CP_1")) == 1


def test_the_first_stop_counts(ledger: Ledger) -> None:
    transaction_id = ledger.start_transaction("CP_1", 1, "TAG", "then", 0)
    assert ledger.open_transactions("CP_1") == [transaction_id]
    assert ledger.stop_transaction("CP_1", transaction_id, "a", 10, "Remote")
    assert ledger.stop_transaction("CP_1", transaction_id, "b", 20, "Local")
    (recorded,) = ledger.transactions("CP_1")
    assert (recorded.stopped_at, recorded.meter_stop_wh, recorded.reason) == ("a", 10, "Remote")
    assert ledger.open_transactions("CP_1") == []
    assert ledger.is_stopped("CP_1", transaction_id)


def test_nobody_stops_another_charge_points_transaction(ledger: Ledger) -> None:
    transaction_id = ledger.start_transaction("CP_1", 1, "TAG", "then", 0)
    assert not ledger.stop_transaction("CP_2", transaction_id, "a", 10, None)
    assert not ledger.is_stopped("CP_1", transaction_id)


@pytest.mark.parametrize("number", [-1, 0, 2**63, -(2**80), 10**300])
def test_absurd_numbers_are_recorded_as_near_as_can_be(ledger: Ledger, number: int) -> None:
    transaction_id = ledger.start_transaction("CP_1", number, "TAG", "then", number)
    ledger.meter_values("CP_1", number, number, [{"timestamp": "x", "sampled_value": []}])
    ledger.stop_transaction("CP_1", number, "a", number, None)
    assert ledger.stop_transaction("CP_1", transaction_id, "a", number, None)


def test_a_directory_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot"):
        Ledger(tmp_path)


def test_a_rotated_key_outlives_the_files_but_not_a_new_one_there(ledger: Ledger) -> None:
    ledger.issue_keys({"CP_1": b"first", "CP_2": b"other"})
    ledger.offer_key("CP_1", b"rotated")
    assert ledger.key_digests("CP_1") == (b"first", b"rotated")
    ledger.adopt_key("CP_1")
    ledger.issue_keys({"CP_1": b"first", "CP_2": b"other"})
    assert ledger.key_digests("CP_1") == (b"rotated", None)
    ledger.issue_keys({"CP_1": b"second", "CP_2": b"other"})
    assert ledger.key_digests("CP_1") == (b"second", None)
    assert ledger.key_digests("CP_2") == (b"other", None)


def test_who_is_no_longer_in_the_file_loses_the_key(ledger: Ledger) -> None:
    ledger.issue_keys({"CP_1": b"first", "CP_2": b"other"})
    ledger.issue_keys({"CP_2": b"other"})
    assert ledger.key_digests("CP_1") == (None, None)
