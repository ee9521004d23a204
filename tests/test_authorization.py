"""Who may charge: the cache, the local list, the central system, and the keys over them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ocpp.v16.enums import AuthorizationStatus, ClearCacheStatus, UpdateType

from evsim.charge_point import authorization_cache
from evsim.charge_point.authorization import Authorizer
from evsim.charge_point.authorization_cache import AuthorizationCache
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.id_tags import TagInfo
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.local_list import LocalList
from evsim.sqlite import IN_MEMORY
from evsim.virtual_time import EPOCH

ACCEPTED = TagInfo(AuthorizationStatus.accepted)
BLOCKED = TagInfo(AuthorizationStatus.blocked)
SOON = EPOCH + timedelta(hours=1)


class Station:
    """The parts that decide, with a clock that the test sets and a central system that it plays."""

    def __init__(self, path: Path = IN_MEMORY, **initial: str) -> None:
        self.ledger = Ledger(path)
        database = self.ledger.database
        self.configuration = Configuration(database, initial=initial)
        self.list = LocalList(database, self.configuration)
        self.cache = AuthorizationCache(database, self.configuration)
        self.time = EPOCH
        self.authorizer = Authorizer(self.configuration, self.list, self.cache, self.now)
        self.asked: list[str] = []
        self.answers: dict[str, Mapping[str, Any] | None] = {}

    def now(self) -> datetime:
        return self.time

    async def ask(self, id_tag: str) -> Mapping[str, Any] | None:
        self.asked.append(id_tag)
        return self.answers.get(id_tag, {"status": "Invalid"})

    def put_on_list(self, id_tag: str, **info: str) -> None:
        entry = {"id_tag": id_tag, "id_tag_info": {"status": "Accepted"} | info}
        self.list.update(self.list.version + 1, UpdateType.differential, [entry])

    def authorize(self, id_tag: str, *, online: bool = True) -> TagInfo:
        call = self.ask if online else None
        return asyncio.run(self.authorizer.authorize(id_tag, online_call=call))

    def may_stop(self, id_tag: str, started_by: str, parent: str | None, online: bool) -> bool:
        return asyncio.run(
            self.authorizer.may_stop(
                id_tag,
                started_by=started_by,
                parent_id_tag=parent,
                online_call=self.ask if online else None,
            )
        )


@pytest.fixture
def station() -> Iterator[Station]:
    station = Station()
    yield station
    station.ledger.close()


# ── The cache ────────────────────────────────────────────────────────────────────────────────


def test_the_cache_keeps_the_last_word_over_a_restart(tmp_path: Path) -> None:
    first = Station(tmp_path / "cp.sqlite")
    first.cache.keep("Tag", TagInfo(AuthorizationStatus.accepted, "GROUP", SOON))
    first.cache.keep("TAG", TagInfo(AuthorizationStatus.blocked, "GROUP", SOON))
    first.ledger.close()
    again = Station(tmp_path / "cp.sqlite")
    assert again.cache.find("tag") == TagInfo(AuthorizationStatus.blocked, "GROUP", SOON)
    again.ledger.close()


def test_clearing_and_switching_off_the_cache(station: Station) -> None:
    station.cache.keep("A", ACCEPTED)
    assert station.cache.clear() == ClearCacheStatus.accepted
    assert station.cache.find("A") is None
    station.cache.keep("A", ACCEPTED)
    station.configuration.change("AuthorizationCacheEnabled", "false")
    station.cache.keep("B", ACCEPTED)
    assert station.cache.find("A") is None
    assert station.cache.clear() == ClearCacheStatus.rejected
    station.configuration.change("AuthorizationCacheEnabled", "true")
    assert station.cache.find("A") == ACCEPTED
    assert station.cache.find("B") is None


def test_a_full_cache_first_forgets_who_may_not_charge_then_the_oldest(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorization_cache, "MOST_ENTRIES", 3)
    for tag, info in [("A", ACCEPTED), ("B", BLOCKED), ("C", ACCEPTED), ("D", ACCEPTED)]:
        station.cache.keep(tag, info)
    assert [tag for tag in "ABCD" if station.cache.find(tag)] == ["A", "C", "D"]
    station.cache.keep("a", ACCEPTED)  # is now the newest
    station.cache.keep("E", BLOCKED)
    assert [tag for tag in "ACDE" if station.cache.find(tag)] == ["A", "D", "E"]


@pytest.mark.parametrize("id_tag", ["", "x" * 21, "a\nb", "\ud800"])
def test_what_is_no_id_tag_is_neither_kept_nor_asked_about(station: Station, id_tag: str) -> None:
    station.configuration.change("AllowOfflineTxForUnknownId", "true")
    station.cache.keep(id_tag, ACCEPTED)
    assert not station.authorize(id_tag).is_accepted
    assert not station.authorize(id_tag, online=False).is_accepted
    assert station.asked == []


def test_that_a_tag_charges_elsewhere_is_not_kept(station: Station) -> None:
    station.authorizer.hear("A", {"status": "Accepted"})
    info = station.authorizer.hear("A", {"status": "ConcurrentTx"})
    assert not info.is_accepted
    assert station.cache.find("A") == ACCEPTED


# ── The decision ─────────────────────────────────────────────────────────────────────────────

FLAGS = ("LocalPreAuthorize", "LocalAuthorizeOffline", "AllowOfflineTxForUnknownId")


@pytest.mark.parametrize("place", ["list", "cache"])
@pytest.mark.parametrize("known", ["nothing", "Accepted", "Blocked", "expired"])
def test_every_case_of_the_table(station: Station, place: str, known: str) -> None:
    info = {"status": "Accepted" if known == "expired" else known}
    if known == "expired":
        info["expiry_date"] = "2025-12-31T23:59:59Z"
    for reach, *flags in itertools.product(["online", "offline", "lost"], *[[False, True]] * 3):
        station.cache.clear()
        if known != "nothing":
            if place == "list":
                station.put_on_list("A", **info)
            else:
                station.authorizer.hear("A", info)
        for key, value in zip(FLAGS, flags, strict=True):
            station.configuration.change(key, str(value))
        pre_authorize, authorize_offline, allow_unknown = flags
        station.answers["A"] = {"status": "Invalid"} if reach == "online" else None
        station.asked = []
        got = station.authorize("A", online=reach != "offline")

        case = (reach, flags)
        taken_here = known == "Accepted" and pre_authorize and reach != "offline"
        assert station.asked == ([] if taken_here or reach == "offline" else ["A"]), case
        if taken_here:
            assert got.is_accepted, case
        elif reach == "online":
            assert got.status == "Invalid", case
        elif known in ("Blocked", "expired"):
            assert got.status == known.capitalize(), case
        else:
            may = allow_unknown or (known == "Accepted" and authorize_offline)
            assert got.is_accepted is may, case


def test_the_list_goes_before_the_cache(station: Station) -> None:
    station.cache.keep("A", ACCEPTED)
    station.put_on_list("a", status="Blocked")
    assert station.authorize("A", online=False).status == "Blocked"


def test_an_answer_about_a_tag_on_the_list_is_obeyed_and_not_cached(station: Station) -> None:
    station.put_on_list("A")
    station.answers["A"] = {"status": "Blocked"}
    assert station.authorize("A").status == "Blocked"
    assert station.cache.find("A") is None
    assert station.authorize("A", online=False).is_accepted


def test_a_tag_of_the_cache_expires_in_time(station: Station) -> None:
    station.answers["A"] = {"status": "Accepted", "expiry_date": "2026-01-01T01:00:00Z"}
    assert station.authorize("A").expires_at == SOON
    station.time = SOON - timedelta(seconds=1)
    assert station.authorize("A", online=False).is_accepted
    station.time = SOON
    assert station.authorize("A", online=False).status == "Expired"


@pytest.mark.parametrize(
    "oddity",
    [
        {"expiry_date": "soon"},
        {"expiry_date": "0001-01-01T00:00:00+14:00"},
        {"expiry_date": "9999-12-31T23:59:59-14:00"},
        {"parent_id_tag": "two\nlines"},
    ],
)
def test_an_odd_answer_counts_once_and_is_not_kept(
    station: Station, oddity: dict[str, str]
) -> None:
    station.cache.keep("A", ACCEPTED)
    station.answers["A"] = {"status": "Accepted"} | oddity
    assert station.authorize("A").is_accepted
    assert station.cache.find("A") is None


# ── Stopping ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("online", [True, False])
def test_the_same_tag_stops_and_nobody_is_asked(station: Station, online: bool) -> None:
    assert station.may_stop("tag", "TAG", None, online)
    assert station.asked == []


def test_an_accepted_tag_of_the_same_parent_stops(station: Station) -> None:
    station.answers = {
        "FRIEND": {"status": "Accepted", "parent_id_tag": "group"},
        "ENEMY": {"status": "Blocked", "parent_id_tag": "GROUP"},
        "OTHER": {"status": "Accepted", "parent_id_tag": "OTHERS"},
        "LONER": {"status": "Accepted"},
    }
    stops = {tag: station.may_stop(tag, "TAG", "GROUP", online=True) for tag in station.answers}
    assert stops == {"FRIEND": True, "ENEMY": False, "OTHER": False, "LONER": False}
    assert station.asked == [*station.answers]
    assert not station.may_stop("FRIEND", "TAG", None, online=True), "no parent is known"
    station.authorizer.hear("TAG", {"status": "Accepted", "parent_id_tag": "GROUP"})
    assert station.may_stop("FRIEND", "TAG", None, online=True)
    assert station.may_stop("FRIEND", "TAG", None, online=False), "both are in the cache"
