"""The authorization cache: what the central system last said of each id tag, on disk."""

from __future__ import annotations

from ocpp.v16.enums import AuthorizationStatus, ClearCacheStatus

from evsim.charge_point.configuration import Configuration
from evsim.charge_point.id_tags import TagInfo, is_id_tag, plain
from evsim.sqlite import Database

#: Beyond, the oldest make room, those that are not accepted first.
MOST_ENTRIES = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS authorization_cache (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- the older the smaller
    plain_id_tag TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    parent_id_tag TEXT,
    expires_at TEXT
)
"""


class AuthorizationCache:
    """The cache; the key AuthorizationCacheEnabled governs it."""

    def __init__(self, database: Database, configuration: Configuration) -> None:
        database.add_tables(_SCHEMA)
        self._database = database
        self._configuration = configuration

    @property
    def is_enabled(self) -> bool:
        """Whether the cache is used at all."""
        return self._configuration.flag("AuthorizationCacheEnabled")

    def find(self, id_tag: str) -> TagInfo | None:
        """Give what the central system last said of a tag, None if unknown or switched off."""
        if not self.is_enabled:
            return None
        row = self._database.execute(
            "SELECT status, parent_id_tag, expires_at FROM authorization_cache"
            " WHERE plain_id_tag = ?",
            (plain(id_tag),),
        ).fetchone()
        return None if row is None else TagInfo.from_row(*row)

    def keep(self, id_tag: str, info: TagInfo) -> None:
        """Keep what the central system has just said of a tag."""
        if not self.is_enabled or not is_id_tag(id_tag):
            return
        if info.status == AuthorizationStatus.concurrent_tx:
            return  # it is about this moment, not about the tag
        with self._database.writing():
            self._database.execute(
                "DELETE FROM authorization_cache WHERE plain_id_tag = ?", (plain(id_tag),)
            )
            self._make_room()
            self._database.execute(
                "INSERT INTO authorization_cache (plain_id_tag, status, parent_id_tag, expires_at)"
                " VALUES (?, ?, ?, ?)",
                (plain(id_tag), *info.to_row()),
            )

    def _make_room(self) -> None:
        """Make room for one more."""
        self._database.execute(
            "DELETE FROM authorization_cache WHERE number IN"
            " (SELECT number FROM authorization_cache"
            " ORDER BY status = 'Accepted' DESC, number DESC LIMIT -1 OFFSET ?)",
            (MOST_ENTRIES - 1,),
        )

    def forget(self, *id_tags: str) -> None:
        """Forget some tags, e.g. because the local list speaks of them."""
        with self._database.writing():
            self._database.executemany(
                "DELETE FROM authorization_cache WHERE plain_id_tag = ?",
                [(plain(id_tag),) for id_tag in id_tags],
            )

    def clear(self) -> ClearCacheStatus:
        """Forget all, as ClearCache asks; Rejected while the cache is switched off."""
        if not self.is_enabled:
            return ClearCacheStatus.rejected
        self._database.write("DELETE FROM authorization_cache", ())
        return ClearCacheStatus.accepted
