"""A program for test_kept.py: changes what a charge point keeps, and says so after each answer.

Usage: kept_in_a_hurry.py FILE. It goes on until it is killed.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from ocpp.v16.enums import ChargePointStatus, UpdateType

from evsim.charge_point.authorization_cache import AuthorizationCache
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.id_tags import read_tag_info
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.local_list import LocalList
from evsim.charge_point.reservations import Reservations
from evsim.clock import utc_now

ENTRIES = 50
FAR_AWAY = "2999-01-01T00:00:00Z"


class Kept:
    """All that is kept in one file."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path)
        database = self.ledger.database
        self.configuration = Configuration(database)
        self.list = LocalList(database, self.configuration)
        self.cache = AuthorizationCache(database, self.configuration)
        self.reservations = Reservations(
            database,
            self.configuration,
            status_of=lambda _: ChargePointStatus.available,
            on_change=lambda _: None,
            now=utc_now,
        )


def change(kept: Kept, number: int) -> None:
    """Change everything so that it tells `number`."""
    # Each entry has the number as its parent: a list that is half taken would show.
    entries = [
        {"id_tag": f"TAG{i}", "id_tag_info": {"status": "Accepted", "parent_id_tag": str(number)}}
        for i in range(ENTRIES)
    ]
    for said, status in (
        ("configuration", kept.configuration.change("HeartbeatInterval", str(number))),
        ("list", kept.list.update(number, UpdateType.full, entries)),
        ("reservation", kept.reservations.reserve(1, 1, str(number), FAR_AWAY)),
    ):
        assert status == "Accepted", said
    kept.cache.keep("TAG", read_tag_info({"status": "Accepted", "parent_id_tag": str(number)}))


def main() -> None:
    """Change, say so, and again."""
    kept = Kept(Path(sys.argv[1]))
    for number in itertools.count(max(kept.list.version, 0) + 1):
        change(kept, number)
        print(f"answered {number}", flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
