"""The diagnostics file of a charge point: how it stands, and what it logged of late.

It holds no secrets: what is logged has none, and of the configuration only what may be read.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from urllib.parse import quote

from evsim.clock import Clock, to_ocpp
from evsim.text import visible

#: How many log lines are remembered.
MOST_LINES = 2000

#: Gives the lines of one section of the file.
Section = Callable[[], Iterable[str]]


class RecentLog(logging.Handler):
    """Remembers the last log lines; `logging.getLogger("evsim").addHandler(...)` begins it."""

    def __init__(self, now: Clock, most_lines: int = MOST_LINES) -> None:
        super().__init__()
        self._now = now
        self._lines: deque[tuple[datetime, str]] = deque(maxlen=most_lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a line."""
        try:
            at = self._now()
            text = visible(record.getMessage())
            self._lines.append((at, f"{to_ocpp(at)} {record.levelname} {record.name}: {text}"))
        except Exception:  # noqa: BLE001 - as every logging handler has it
            self.handleError(record)

    def lines(self, oldest: datetime | None = None, latest: datetime | None = None) -> list[str]:
        """Give the lines between two moments, both included, the oldest first."""
        return [
            line
            for at, line in self._lines
            if (oldest is None or at >= oldest) and (latest is None or at <= latest)
        ]


class Diagnostics:
    """Writes the file.

    :param sections: what else to write before the log: a heading, and what gives its lines.
    """

    def __init__(
        self,
        charge_point_id: str,
        recent: RecentLog,
        *,
        sections: Mapping[str, Section],
        now: Clock,
    ) -> None:
        self._id = charge_point_id
        self._recent = recent
        self._sections = sections
        self._now = now

    def file_name(self, kind: str = "diagnostics") -> str:
        """Name a file that is written now; no two of one charge point have the same name."""
        stamp = to_ocpp(self._now()).translate({ord(sign): None for sign in "-:."})
        return f"{kind}_{quote(self._id, safe='')}_{stamp}.log"

    def write(self, oldest: datetime | None = None, latest: datetime | None = None) -> bytes:
        """Give the file's content; empty if a period is asked for of which nothing is known."""
        lines = self._recent.lines(oldest, latest)
        if not lines and (oldest or latest):
            return b""
        text = [f"# {visible(self._id)}, {to_ocpp(self._now())}"]
        for heading, section in self._sections.items():
            text += ["", f"[{heading}]", *section()]
        text += ["", "[log]", *lines]
        return "\n".join([*text, ""]).encode("utf-8", "backslashreplace")
