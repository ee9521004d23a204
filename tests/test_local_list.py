"""The local authorization list: whole updates or none, on disk before they are answered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linked import linked
from ocpp.v16 import call
from ocpp.v16.enums import AuthorizationStatus, UpdateStatus, UpdateType

from evsim import virtual_time
from evsim.charge_point.authorization_cache import AuthorizationCache
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.features.local_auth_list import LocalAuthListManagement
from evsim.charge_point.id_tags import TagInfo, belongs_to
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.local_list import VERSIONS, LocalList
from evsim.sqlite import IN_MEMORY, StorageError

FULL, DIFFERENTIAL = UpdateType.full, UpdateType.differential
ACCEPTED = {"status": "Accepted"}
SHORT = {"SendLocalListMaxLength": "3", "LocalAuthListMaxLength": "4"}


def entry(id_tag: str, **info: str) -> dict[str, Any]:
    return {"id_tag": id_tag, "id_tag_info": ACCEPTED | info}


class Kept:
    """A list in a file, as it is after each start of the program."""

    def __init__(self, path: Path = IN_MEMORY, **initial: str) -> None:
        self.ledger = Ledger(path)
        self.configuration = Configuration(self.ledger.database, initial=initial)
        self.list = LocalList(self.ledger.database, self.configuration)
        self.cache = AuthorizationCache(self.ledger.database, self.configuration)

    def tags(self, *candidates: str) -> list[str]:
        return [tag for tag in candidates if self.list.find(tag)]


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept(IN_MEMORY, **SHORT)
    yield kept
    kept.ledger.close()


def test_an_empty_list_has_version_0(kept: Kept) -> None:
    assert kept.list.version == 0
    assert kept.list.find("A") is None


def test_full_and_differential_updates(kept: Kept) -> None:
    until = "2030-01-01T01:00:00+01:00"
    first = [entry("A", parent_id_tag="GROUP", expiry_date=until), entry("B")]
    assert kept.list.update(5, FULL, first) == UpdateStatus.accepted
    assert kept.list.version == 5
    assert kept.list.find("a") == TagInfo(
        AuthorizationStatus.accepted, "GROUP", datetime(2030, 1, 1, tzinfo=UTC)
    )
    changes = [{"id_tag": "a"}, entry("b", status="Blocked"), entry("C")]
    assert kept.list.update(7, DIFFERENTIAL, changes) == UpdateStatus.accepted
    assert kept.list.version == 7
    assert kept.tags("A", "B", "C") == ["B", "C"]
    assert kept.list.find("B") == TagInfo(AuthorizationStatus.blocked)
    assert kept.list.update(2, FULL, [entry("D")]) == UpdateStatus.accepted, (
        "a full one may go back"
    )
    assert (kept.list.version, kept.tags("A", "B", "C", "D")) == (2, ["D"])


@pytest.mark.parametrize("version", [-1, 0, 4, 5])
def test_a_differential_update_of_the_past_is_a_mismatch(kept: Kept, version: int) -> None:
    kept.list.update(5, FULL, [entry("A")])
    status = kept.list.update(version, DIFFERENTIAL, [entry("B")])
    assert status == UpdateStatus.version_mismatch
    assert (kept.list.version, kept.tags("A", "B")) == (5, ["A"])


def test_a_list_that_becomes_empty_has_version_0_again(kept: Kept) -> None:
    kept.list.update(5, FULL, [entry("A")])
    assert kept.list.update(6, FULL, []) == UpdateStatus.accepted
    assert kept.list.version == 0
    kept.list.update(1, DIFFERENTIAL, [entry("A")])
    assert kept.list.update(2, DIFFERENTIAL, [{"id_tag": "A"}]) == UpdateStatus.accepted
    assert kept.list.version == 0


@pytest.mark.parametrize(
    ("version", "kind", "entries"),
    [
        (6, FULL, [entry("B"), entry("b")]),
        (6, FULL, [entry("B"), {"id_tag": "C"}]),
        (6, FULL, [entry("B"), {"id_tag": "C", "id_tag_info": None}]),
        (6, FULL, [entry(tag) for tag in "BCDE"]),
        (6, DIFFERENTIAL, [entry("B"), {"id_tag": "B"}]),
        (6, DIFFERENTIAL, [entry(tag) for tag in "BCDE"]),
        (6, DIFFERENTIAL, [entry("B"), entry("")]),
        (6, DIFFERENTIAL, [entry("B"), entry("a\nb")]),
        (6, DIFFERENTIAL, [entry("B"), entry("\ud800")]),
        (6, DIFFERENTIAL, [entry("B"), entry("x" * 21)]),
        (6, DIFFERENTIAL, [entry("B"), entry("C", expiry_date="tomorrow")]),
        (6, DIFFERENTIAL, [entry("B"), entry("C", expiry_date="0001-01-01T00:00:00+14:00")]),
        (6, DIFFERENTIAL, [entry("B"), entry("C", expiry_date="99999-01-01T00:00:00Z")]),
        (6, DIFFERENTIAL, [entry("B"), entry("C", parent_id_tag="x" * 21)]),
        (0, FULL, [entry("B")]),
        (-1, FULL, [entry("B")]),
        (VERSIONS.stop, DIFFERENTIAL, [entry("B")]),
        (2**70, FULL, [entry("B")]),
    ],
)
def test_what_is_wrong_in_a_part_fails_as_a_whole(
    kept: Kept, version: int, kind: UpdateType, entries: list[dict[str, Any]]
) -> None:
    kept.list.update(5, FULL, [entry("A")])
    assert kept.list.update(version, kind, entries) == UpdateStatus.failed
    assert (kept.list.version, kept.tags("A", "B", "C", "D")) == (5, ["A"])


def test_a_list_that_would_grow_too_long_stays(kept: Kept) -> None:
    kept.list.update(1, FULL, [entry("A"), entry("B"), entry("C")])
    assert kept.list.update(2, DIFFERENTIAL, [entry("C"), entry("D")]) == UpdateStatus.accepted
    assert kept.list.update(3, DIFFERENTIAL, [entry("E")]) == UpdateStatus.failed
    assert (kept.list.version, kept.tags(*"ABCDE")) == (2, [*"ABCD"])
    swap = [{"id_tag": "A"}, entry("E")]
    assert kept.list.update(3, DIFFERENTIAL, swap) == UpdateStatus.accepted


def test_a_list_that_is_switched_off_is_not_supported_and_says_nothing(kept: Kept) -> None:
    kept.list.update(5, FULL, [entry("A")])
    kept.configuration.change("LocalAuthListEnabled", "false")
    assert kept.list.version == -1
    assert kept.list.find("A") is None
    assert kept.list.update(6, FULL, []) == UpdateStatus.not_supported
    kept.configuration.change("LocalAuthListEnabled", "true")
    assert (kept.list.version, kept.tags("A")) == (5, ["A"])


def test_it_outlives_the_program(tmp_path: Path) -> None:
    first = Kept(tmp_path / "cp.sqlite")
    first.list.update(5, FULL, [entry("A", expiry_date="2030-01-01T00:00:00Z")])
    found = first.list.find("A")
    first.ledger.close()  # nothing is written then
    again = Kept(tmp_path / "cp.sqlite")
    assert (again.list.version, again.list.find("A")) == (5, found)
    again.ledger.close()


def test_an_update_that_cannot_be_kept_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "cp.sqlite"
    kept = Kept(path)
    kept.list.update(5, FULL, [entry("A")])
    path.rename(tmp_path / "moved")
    with pytest.raises(StorageError):
        kept.list.update(6, FULL, [entry("B")])
    assert (kept.list.version, kept.tags("A", "B")) == (5, ["A"])
    kept.ledger.close()


UPDATES = st.lists(
    st.tuples(
        st.integers(-1, 6),
        st.sampled_from([FULL, DIFFERENTIAL]),
        st.lists(
            st.tuples(st.sampled_from("AaBbCD"), st.sampled_from([None, "Accepted", "Blocked"])),
            max_size=4,
        ),
    ),
    max_size=6,
)


@given(UPDATES)
def test_it_does_as_a_plain_dictionary_would(
    updates: list[tuple[int, UpdateType, list[tuple[str, str | None]]]],
) -> None:
    kept, model, version = Kept(IN_MEMORY, **SHORT), dict[str, str](), 0
    for number, kind, items in updates:
        entries = [
            {"id_tag": tag} if status is None else entry(tag, status=status)
            for tag, status in items
        ]
        got = kept.list.update(number, kind, entries)
        after = {} if kind == FULL else dict(model)
        for tag, status in items:
            after.pop(tag.lower(), None)
            if status is not None:
                after[tag.lower()] = status
        tags = [tag.lower() for tag, _ in items]
        if kind == DIFFERENTIAL and number <= version:
            assert got == UpdateStatus.version_mismatch
        elif (
            number < 1
            or len(items) > 3
            or len(set(tags)) < len(tags)
            or len(after) > 4
            or (kind == FULL and None in [status for _, status in items])
        ):
            assert got == UpdateStatus.failed
        else:
            assert got == UpdateStatus.accepted
            model, version = after, number if after else 0
        assert kept.list.version == version
        found = {tag: kept.list.find(tag.upper()) for tag in "abcd"}
        assert {tag: str(info.status) for tag, info in found.items() if info} == model
    kept.ledger.close()


@pytest.mark.parametrize(
    ("id_tag", "parent", "owner", "owners_parent", "belongs"),
    [
        ("tag", None, "TAG", None, True),
        ("A", "group", "B", "GROUP", True),
        ("A", None, "B", None, False),
        ("A", "", "B", "", False),
        ("A", "G", "B", None, False),
        ("A", "B", "B", None, False),
    ],
)
def test_who_may_use_what_a_tag_has_begun(
    id_tag: str, parent: str | None, owner: str, owners_parent: str | None, belongs: bool
) -> None:
    assert belongs_to(id_tag, parent, owner=owner, owners_parent=owners_parent) is belongs


# ── On the link ──────────────────────────────────────────────────────────────────────────────


def test_the_messages(kept: Kept) -> None:
    kept.cache.keep("A", TagInfo(AuthorizationStatus.accepted))
    kept.cache.keep("B", TagInfo(AuthorizationStatus.accepted))

    async def talk() -> list[object]:
        async with linked(LocalAuthListManagement(kept.list, kept.cache)) as central:
            said: list[object] = []
            entries: Any = [{"idTag": "a", "idTagInfo": {"status": "Blocked"}}]
            for version, kind, sent in [
                (3, FULL, entries),
                (3, DIFFERENTIAL, entries),
                (4, DIFFERENTIAL, entries * 2),
                (9, FULL, None),
            ]:
                request = call.SendLocalList(version, kind, sent)
                said.append((await central.call(request)).status)
                said.append((await central.call(call.GetLocalListVersion())).list_version)
            return said

    said = virtual_time.run(talk())
    assert said == ["Accepted", 3, "VersionMismatch", 3, "Failed", 3, "Accepted", 0]
    assert kept.cache.find("A") is None, "the list speaks of it"
    assert kept.cache.find("B") is not None
