"""Notifications that must arrive: on disk until the central system has answered them.

They are sent one by one, in the order in which they were put in, whatever happens to the process
or the connection meanwhile. What the central system refuses is not sent again: many know neither
the security extension nor firmware management.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ocpp.exceptions import OCPPError
from ocpp.v16 import call

from evsim.ocpp_wire import explain
from evsim.sqlite import Database

#: Beyond, the oldest is dropped: a central system that is away must not fill the disk.
MOST_WAITING = 1000
#: How often a notification that is not answered is sent.
ATTEMPTS = 3
RETRY_INTERVAL_S = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS notifications (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    action TEXT NOT NULL,
    payload TEXT NOT NULL
)
"""

log = logging.getLogger("evsim.charge_point")


class Outbox:
    """The one sender of such notifications.

    :param send: makes a call() on the link; raises as OcppLink.call does.
    """

    def __init__(self, database: Database, send: Callable[[Any], Awaitable[Any]]) -> None:
        database.add_tables(_SCHEMA)
        self._database = database
        self._send = send
        self._open = asyncio.Event()
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._refused: set[str] = set()

    def put(self, request: Any) -> None:
        """Keep a request (a dataclass of ocpp.v16.call) and send it when it is its turn."""
        with self._database.writing():
            cursor = self._database.execute(
                "INSERT INTO notifications (action, payload) VALUES (?, ?)",
                (type(request).__name__, json.dumps(dataclasses.asdict(request))),
            )
            self._database.execute(
                "DELETE FROM notifications WHERE number <= ?",
                (int(cursor.lastrowid or 0) - MOST_WAITING,),
            )
        self._empty.clear()
        self._news.set()

    def resume(self) -> None:
        """Send: the central system is there and has accepted us."""
        self._open.set()

    def pause(self) -> None:
        """Send nothing for now."""
        self._open.clear()

    async def all_sent(self) -> None:
        """Wait until nothing waits to be sent."""
        await self._empty.wait()

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self._news.clear()
            row = self._database.execute(
                "SELECT number, action, payload FROM notifications ORDER BY number LIMIT 1"
            ).fetchone()
            if row is None:
                self._empty.set()
                await self._news.wait()
                continue
            number, action, payload = row
            self._empty.clear()
            await self._open.wait()
            if await self._deliver(action, json.loads(payload)):
                self._database.write("DELETE FROM notifications WHERE number = ?", (number,))

    async def _deliver(self, action: str, payload: dict[str, Any]) -> bool:
        """Send one; False if the connection was lost meanwhile, so that it is still to be sent."""
        request = getattr(call, action)(**payload)
        for left in range(ATTEMPTS - 1, -1, -1):
            try:
                await self._send(request)
            except ConnectionError:
                self.pause()
                return False
            except TimeoutError as error:
                log.warning("%s: %s", error, "trying again" if left else "given up")
            except OCPPError as error:
                if action not in self._refused:
                    log.warning("%s is refused (said once): %s", action, explain(error))
                self._refused.add(action)
                return True
            else:
                return True
            await asyncio.sleep(RETRY_INTERVAL_S if left else 0)
        return True
