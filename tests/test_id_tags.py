"""Id tags: what is kept of them, what a charge point is told, and the file of --id-tags."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ocpp.v16.enums import AuthorizationStatus

from evsim.central_system.id_tags import IdTag, parse_tag, read_tags_file
from evsim.central_system.ledger import Ledger
from evsim.errors import UserError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BLOCKED = AuthorizationStatus.blocked


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with contextlib.closing(Ledger(tmp_path / "csms.sqlite")) as made:
        yield made


def test_what_is_not_known_is_accepted(ledger: Ledger) -> None:
    info = ledger.id_tags.get("TAG").info(NOON)
    assert (info.status, info.parent_id_tag, info.expiry_date) == ("Accepted", None, None)
    assert list(ledger.id_tags) == []


def test_tags_are_compared_without_regard_to_case(ledger: Ledger) -> None:
    ledger.id_tags.set(IdTag("tag", BLOCKED))
    assert ledger.id_tags.get("TAG").info(NOON).status == "Blocked"
    ledger.id_tags.set(IdTag("TAG"))
    assert [str(tag) for tag in ledger.id_tags] == ["TAG Accepted"]


def test_a_tag_expires_and_tells_its_parent(ledger: Ledger) -> None:
    ledger.id_tags.set(IdTag("TAG", expires_at=NOON, parent_id_tag="FAMILY"))
    tag = ledger.id_tags.get("tag")
    before = tag.info(NOON - timedelta(seconds=1))
    assert before.status == "Accepted"
    assert before.parent_id_tag == "FAMILY"
    assert before.expiry_date == "2026-01-01T12:00:00.000Z"
    assert tag.info(NOON).status == "Expired"
    assert str(tag) == "tag Accepted until 2026-01-01T12:00:00.000Z of FAMILY"


def test_a_blocked_tag_stays_blocked_when_it_has_expired() -> None:
    assert IdTag("TAG", BLOCKED, NOON).info(NOON + timedelta(days=1)).status == "Blocked"


def test_tags_outlive_the_program_and_may_be_set_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "csms.sqlite"
    with contextlib.closing(Ledger(path)) as ledger:
        ledger.id_tags.set(IdTag("A", BLOCKED, NOON, "B"))
        # As the README tells.
        ledger._database.execute("INSERT OR REPLACE INTO id_tags VALUES ('HAND', 'Invalid')")
    with contextlib.closing(Ledger(path)) as ledger:
        assert list(ledger.id_tags) == [
            IdTag("A", BLOCKED, NOON, "B"),
            IdTag("HAND", AuthorizationStatus.invalid),
        ]


def test_a_file_of_tags(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("# tag, status, expiry, parent\n\nA\nB, blocked\nC,,2026-01-01T12:00Z\nD,,,A\n")
    assert read_tags_file(path) == [
        IdTag("A"),
        IdTag("B", BLOCKED),
        IdTag("C", expires_at=NOON),
        IdTag("D", parent_id_tag="A"),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("A,stolen", "'stolen' is none of: Accepted, Blocked"),
        ("A,,tomorrow", "'tomorrow' is no moment"),
        ("A,,9999-12-31T23:59:59-01:00", "is no moment"),
        (",Blocked", "'' is not 1 to 20 printable characters"),
        ("A" * 21, "is not 1 to 20"),
        ("A,,," + "B" * 21, "is not 1 to 20"),
        ("A,,,,", "not more"),
        ("first", "first has come before"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_it(
    tmp_path: Path, line: str, problem: str
) -> None:
    path = tmp_path / "tags.csv"
    path.write_text(f"FIRST\n{line}\n")
    with pytest.raises(UserError, match=f"line 2: .*{problem}"):
        read_tags_file(path)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the id tags in"):
        read_tags_file(tmp_path / "none")


def test_words_of_the_terminal_are_the_same_fields() -> None:
    assert parse_tag(["A", "Blocked", "2026-01-01T12:00:00Z", "B"]) == IdTag(
        "A", BLOCKED, NOON, "B"
    )
