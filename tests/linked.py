"""A link in memory between the handlers of a feature profile and a central system's end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from evsim.in_memory import websocket_pair
from evsim.ocpp_link import OcppLink


@contextlib.asynccontextmanager
async def linked(*profiles: object) -> AsyncIterator[OcppLink]:
    """Give the central system's end of a link, at whose other end `profiles` answer."""
    central, station = OcppLink("central", response_timeout=5), OcppLink("station")
    station.add_handlers(*profiles)
    ends = websocket_pair()
    tasks = [
        asyncio.create_task(link.serve(end))
        for link, end in zip((central, station), ends, strict=True)
    ]
    await asyncio.sleep(0)  # for both to begin
    try:
        yield central
    finally:
        await central.disconnect("over")
        await asyncio.gather(*tasks)
