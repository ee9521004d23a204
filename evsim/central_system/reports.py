"""What a charge point has reported, so that it can be awaited, in the order it came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from evsim.errors import RefusedError

#: Unread reports of one kind that are kept; it may send more than anybody asks for.
MOST_KEPT = 50


class Reports:
    """The reports of one charge point that nobody has read yet."""

    def __init__(self) -> None:
        self._unread: dict[str, deque[Mapping[str, Any]]] = {}
        self._news = asyncio.Event()

    def note(self, action: str, fields: Mapping[str, Any]) -> None:
        """Keep a report."""
        self._unread.setdefault(action, deque(maxlen=MOST_KEPT)).append(fields)
        self._news.set()

    def forget(self) -> None:
        """Take all that has come so far for read."""
        self._unread.clear()

    async def next(self, action: str, timeout_s: float, **wanted: object) -> Mapping[str, Any]:
        """Give the first unread report of `action` with the wanted fields; wait for it if need be.

        All that came before it is read, too. Raises RefusedError if it doesn't come.
        """
        seen: deque[str] = deque(maxlen=3)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    unread = self._unread.get(action, ())
                    while unread:
                        fields = unread.popleft()
                        if all(fields.get(name) == value for name, value in wanted.items()):
                            return fields
                        seen.append(", ".join(str(fields.get(name)) for name in wanted))
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            asked = ", ".join(f"{name} {value}" for name, value in wanted.items())
            came = f"; there came {'; '.join(seen)}" if seen else ""
            raise RefusedError(
                f"no {action} with {asked} within {timeout_s:g} s{came}"
                if asked
                else f"no {action} within {timeout_s:g} s"
            ) from None
