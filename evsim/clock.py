"""The wall clock, for stamps that people read. Durations come from the event loop's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

#: Whatever needs a wall-clock stamp takes one of these, so that the lab can pass its own.
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return now, in UTC."""
    return datetime.now(UTC)


def to_ocpp(moment: datetime) -> str:
    """Write a moment as OCPP wants it: ISO 8601 in UTC with Z, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_ocpp(text: str) -> datetime:
    """Read an OCPP stamp: ISO 8601 with or without fractions, offset or Z.

    A stamp without an offset is taken as UTC. Raises ValueError for anything else, and for what
    leaves the calendar in UTC.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("an ISO 8601 time stamp was expected") from error
