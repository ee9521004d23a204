"""The running transaction of a connector."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import datetime

from ocpp.v16.enums import Reason


@dataclass
class Transaction:
    """A transaction from its start to its end; made within a running event loop."""

    local_id: int
    id_tag: str
    started_at: datetime
    #: The central system's id, once it has answered.
    transaction_id: int | None = None
    #: The group of id tags that may stop it too, once it is known.
    parent_id_tag: str | None = None
    #: The id tag that ended it, if it is not the one that began it.
    stopped_by: str | None = None
    #: Set when StartTransaction has been answered, or can't be for now: then it goes on offline.
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    #: Its result is the reason for the end.
    stop: asyncio.Future[Reason] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def wait_for_id(self, timeout_s: float) -> None:
        """Wait until the central system has given the id, or won't for now; no longer than that."""
        if self.decided.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.decided.wait()

    def end(self, reason: Reason, stopped_by: str | None = None) -> None:
        """Ask for its end; the first reason counts, and the id tag that goes with it."""
        if not self.stop.done():
            self.stopped_by = stopped_by
            self.stop.set_result(reason)
        self.decided.set()
