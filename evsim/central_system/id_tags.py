"""The id tags that a central system knows something about, and what it says of each."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ocpp.v16.datatypes import IdTagInfo
from ocpp.v16.enums import AuthorizationStatus

from evsim.clock import from_ocpp, to_ocpp
from evsim.errors import UserError
from evsim.sqlite import Database

#: The longest id tag that OCPP 1.6 takes.
LONGEST = 20

_SCHEMA = """
CREATE TABLE IF NOT EXISTS id_tags (
    id_tag TEXT PRIMARY KEY COLLATE NOCASE,  -- OCPP compares id tags without regard to case
    status TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS id_tag_details (  -- of those of id_tags that have some
    id_tag TEXT PRIMARY KEY COLLATE NOCASE,
    expires_at TEXT,
    parent_id_tag TEXT
)
"""


@dataclass(frozen=True)
class IdTag:
    """What is known about a tag.

    :param expires_at: from then on it is Expired; None for never.
    :param parent_id_tag: of its group, whose members may stop each other's transactions.
    """

    id_tag: str
    status: AuthorizationStatus = AuthorizationStatus.accepted
    expires_at: datetime | None = None
    parent_id_tag: str | None = None

    def info(self, now: datetime) -> IdTagInfo:
        """Give what a charge point is told of it."""
        status, expires_at = self.status, None
        if self.expires_at is not None:
            expires_at = to_ocpp(self.expires_at)
            if self.expires_at <= now and status == AuthorizationStatus.accepted:
                status = AuthorizationStatus.expired
        return IdTagInfo(status, self.parent_id_tag, expires_at)

    def __str__(self) -> str:
        words = [self.id_tag, str(self.status.value)]
        if self.expires_at is not None:
            words.append(f"until {to_ocpp(self.expires_at)}")
        if self.parent_id_tag is not None:
            words.append(f"of {self.parent_id_tag}")
        return " ".join(words)


class IdTags:
    """The table of id tags. The test bench accepts all that are not in it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.add_tables(_SCHEMA)

    def get(self, id_tag: str) -> IdTag:
        """Give what is known about a tag."""
        row = self._database.execute(
            "SELECT status, expires_at, parent_id_tag FROM id_tags"
            " LEFT JOIN id_tag_details USING (id_tag) WHERE id_tag = ?",
            (id_tag,),
        ).fetchone()
        if row is None:
            return IdTag(id_tag)
        status, expires_at, parent_id_tag = row
        expiry = None if expires_at is None else from_ocpp(expires_at)
        return IdTag(id_tag, AuthorizationStatus(status), expiry, parent_id_tag)

    def set(self, *tags: IdTag) -> None:
        """Record what is to be said of tags, all of them or none; StorageError."""
        with self._database.writing():
            self._database.executemany(
                "INSERT OR REPLACE INTO id_tags VALUES (?, ?)",
                [(tag.id_tag, tag.status.value) for tag in tags],
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO id_tag_details VALUES (?, ?, ?)",
                [
                    (
                        tag.id_tag,
                        None if tag.expires_at is None else to_ocpp(tag.expires_at),
                        tag.parent_id_tag,
                    )
                    for tag in tags
                ],
            )

    def __iter__(self) -> Iterator[IdTag]:
        rows = self._database.execute("SELECT id_tag FROM id_tags ORDER BY id_tag").fetchall()
        return (self.get(id_tag) for (id_tag,) in rows)


def parse_tag(words: list[str]) -> IdTag:
    """Read a tag from its fields: TAG, STATUS, EXPIRY and PARENT, of which all but TAG may lack.

    Raises UserError.
    """
    fields = [word.strip() for word in words]
    if not 1 <= len(fields) <= 4:
        raise UserError("a tag, its status, expiry and parent are expected, not more")
    id_tag, status, expiry, parent = (*fields, *[""] * (4 - len(fields)))
    for tag in (id_tag, parent or id_tag):
        if not (0 < len(tag) <= LONGEST and tag.isprintable()):
            raise UserError(f"{tag!r} is not 1 to {LONGEST} printable characters")
    known = {str(s.value).lower(): s for s in AuthorizationStatus}
    if (status or "accepted").lower() not in known:
        raise UserError(f"{status!r} is none of: {', '.join(s.value for s in known.values())}")
    try:
        expires_at = from_ocpp(expiry) if expiry else None
    except ValueError:
        raise UserError(
            f"{expiry!r} is no moment like 2026-12-31T12:00:00Z (without offset it is UTC)"
        ) from None
    return IdTag(id_tag, known[(status or "accepted").lower()], expires_at, parent or None)


def read_tags_file(path: Path) -> list[IdTag]:
    """Read a file of id tags, a line each: TAG,STATUS,EXPIRY,PARENT; UserError names the line."""
    tags: dict[str, IdTag] = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the id tags in {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            tag = parse_tag(line.split(","))
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
        if tag.id_tag.lower() in tags:
            raise UserError(f"{path}, line {number}: {tag.id_tag} has come before")
        tags[tag.id_tag.lower()] = tag
    return list(tags.values())


def keep_tags(options: argparse.Namespace, id_tags: IdTags) -> None:
    """Take the tags of --id-tags into the table; UserError if the file can't be read."""
    if options.id_tags is not None:
        id_tags.set(*read_tags_file(options.id_tags))
