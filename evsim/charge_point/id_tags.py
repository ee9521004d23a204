"""Id tags, which OCPP compares without regard to case, and what is known of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ocpp.v16.enums import AuthorizationStatus

from evsim.clock import from_ocpp, to_ocpp

#: OCPP's IdToken is a CiString20Type.
LONGEST_ID_TAG = 20


def is_id_tag(text: str) -> bool:
    """Whether a text may be an id tag: printable, neither empty nor too long."""
    return 0 < len(text) <= LONGEST_ID_TAG and text.isprintable()


def plain(id_tag: str) -> str:
    """Give an id tag as it is compared."""
    return id_tag.lower()


def belongs_to(
    id_tag: str, parent_id_tag: str | None, *, owner: str, owners_parent: str | None
) -> bool:
    """Whether a tag may use what `owner` began or reserved: by the same tag or the same parent."""
    if plain(id_tag) == plain(owner):
        return True
    if not parent_id_tag or not owners_parent:
        return False
    return plain(parent_id_tag) == plain(owners_parent)


@dataclass(frozen=True)
class TagInfo:
    """OCPP's IdTagInfo."""

    status: AuthorizationStatus
    parent_id_tag: str | None = None
    expires_at: datetime | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the tag may charge."""
        return self.status == AuthorizationStatus.accepted

    def at(self, now: datetime) -> TagInfo:
        """Give what counts at `now`: a tag whose time is over is no longer accepted."""
        if self.is_accepted and self.expires_at is not None and self.expires_at <= now:
            return dataclasses.replace(self, status=AuthorizationStatus.expired)
        return self

    def to_row(self) -> tuple[str, str | None, str | None]:
        """Give the columns status, parent_id_tag and expires_at of a table."""
        expires_at = None if self.expires_at is None else to_ocpp(self.expires_at)
        return str(self.status), self.parent_id_tag, expires_at

    @classmethod
    def from_row(cls, status: str, parent_id_tag: str | None, expires_at: str | None) -> TagInfo:
        """Read what to_row() gave."""
        until = None if expires_at is None else from_ocpp(expires_at)
        return cls(AuthorizationStatus(status), parent_id_tag, until)


def read_tag_info(wire: Mapping[str, Any]) -> TagInfo:
    """Read an idTagInfo object (snake_case keys, schema already checked).

    Raises ValueError for a date that is none and for a parent tag that can't be one.
    """
    parent_id_tag, expiry_date = wire.get("parent_id_tag") or None, wire.get("expiry_date")
    if parent_id_tag is not None and not is_id_tag(parent_id_tag):
        raise ValueError("the parentIdTag is no id tag")
    return TagInfo(
        AuthorizationStatus(wire["status"]),
        parent_id_tag,
        None if expiry_date is None else from_ocpp(expiry_date),
    )
