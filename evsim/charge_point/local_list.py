"""The local authorization list: id tags that the central system has sent, on disk.

An update is taken as a whole or not at all, and is on disk before it is answered.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ocpp.v16.enums import UpdateStatus, UpdateType

from evsim.charge_point.configuration import Configuration
from evsim.charge_point.id_tags import TagInfo, is_id_tag, plain, read_tag_info
from evsim.sqlite import Database

#: What GetLocalListVersion answers while the list is switched off.
UNSUPPORTED = -1
#: The version of an empty list.
EMPTY = 0
#: Those that a list with entries may have.
VERSIONS = range(1, 2**31)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS local_list (
    plain_id_tag TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    parent_id_tag TEXT,
    expires_at TEXT
);
CREATE TABLE IF NOT EXISTS local_list_version (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    version INTEGER NOT NULL
)
"""

log = logging.getLogger("evsim.charge_point")


class LocalList:
    """The list; the keys LocalAuthListEnabled and those of its lengths govern it."""

    def __init__(self, database: Database, configuration: Configuration) -> None:
        database.add_tables(_SCHEMA)
        self._database = database
        self._configuration = configuration

    @property
    def is_enabled(self) -> bool:
        """Whether the list is used at all."""
        profiles = self._configuration.words("SupportedFeatureProfiles")
        enabled = self._configuration.flag("LocalAuthListEnabled")
        return enabled and "LocalAuthListManagement" in profiles

    @property
    def version(self) -> int:
        """What GetLocalListVersion answers."""
        if not self.is_enabled:
            return UNSUPPORTED
        row = self._database.execute("SELECT version FROM local_list_version").fetchone()
        return int(row[0]) if row else EMPTY

    def find(self, id_tag: str) -> TagInfo | None:
        """Give what the list says of a tag, or None if it says nothing or is switched off."""
        if not self.is_enabled:
            return None
        row = self._database.execute(
            "SELECT status, parent_id_tag, expires_at FROM local_list WHERE plain_id_tag = ?",
            (plain(id_tag),),
        ).fetchone()
        return None if row is None else TagInfo.from_row(*row)

    def update(
        self, version: int, kind: UpdateType, entries: Sequence[Mapping[str, Any]]
    ) -> UpdateStatus:
        """Take an update as SendLocalList brings it: AuthorizationData in snake_case.

        Raises StorageError, with the list as it was, if it can't be kept.
        """
        if not self.is_enabled:
            return UpdateStatus.not_supported
        if kind == UpdateType.differential and version <= self.version:
            log.warning("the local list is at version %d, not before %d", self.version, version)
            return UpdateStatus.version_mismatch
        try:
            self._take(version, kind, entries)
        except ValueError as error:
            log.warning("the local list stays at version %d: %s", self.version, error)
            return UpdateStatus.failed
        log.info("the local list is at version %d", self.version)
        return UpdateStatus.accepted

    def _take(self, version: int, kind: UpdateType, entries: Sequence[Mapping[str, Any]]) -> None:
        """Take an update, or raise ValueError and leave all as it was."""
        if version not in VERSIONS:
            raise ValueError(f"a version from 1 to {VERSIONS[-1]} was expected")
        most = self._configuration.number("SendLocalListMaxLength")
        if len(entries) > most:
            raise ValueError(f"{len(entries)} entries; at most {most} are taken at once")
        changes = _read_entries(entries)
        if kind == UpdateType.full and None in changes.values():
            raise ValueError("an entry of a full list has no idTagInfo")
        with self._database.writing():
            if kind == UpdateType.full:
                self._database.execute("DELETE FROM local_list")
            for plain_id_tag, info in changes.items():
                self._put(plain_id_tag, info)
            (count,) = self._database.execute("SELECT COUNT(*) FROM local_list").fetchone()
            most = self._configuration.number("LocalAuthListMaxLength")
            if count > most:
                raise ValueError(f"it would have {count} entries; there is room for {most}")
            self._database.execute(
                "INSERT OR REPLACE INTO local_list_version VALUES (1, ?)",
                (version if count else EMPTY,),
            )

    def _put(self, plain_id_tag: str, info: TagInfo | None) -> None:
        """Put an entry in the place of the old one, or remove it."""
        if info is None:
            self._database.execute("DELETE FROM local_list WHERE plain_id_tag = ?", (plain_id_tag,))
            return
        self._database.execute(
            "INSERT OR REPLACE INTO local_list VALUES (?, ?, ?, ?)",
            (plain_id_tag, *info.to_row()),
        )


def _read_entries(entries: Sequence[Mapping[str, Any]]) -> dict[str, TagInfo | None]:
    """Give the info of each plain id tag, None for those that are to be removed."""
    changes: dict[str, TagInfo | None] = {}
    for number, entry in enumerate(entries, 1):
        id_tag, info = entry["id_tag"], entry.get("id_tag_info")
        if not is_id_tag(id_tag):
            raise ValueError(f"entry {number} has no id tag that can be one")
        if plain(id_tag) in changes:
            raise ValueError(f"entry {number} has an id tag that came before")
        try:
            changes[plain(id_tag)] = None if info is None else read_tag_info(info)
        except ValueError as error:
            raise ValueError(f"entry {number}: {error}") from error
    return changes
