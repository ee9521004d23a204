"""A charge point played by a test: it answers with what the test says, however absurd."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from websockets.exceptions import ConnectionClosed

from evsim import virtual_time
from evsim.central_system.features.security import Signer
from evsim.central_system.ledger import Ledger
from evsim.central_system.station import Station
from evsim.in_memory import InMemoryConnection, websocket_pair
from evsim.ocpp_wire import CALL, CALL_ERROR, CALL_RESULT
from evsim.rate_limit import Rate
from evsim.sqlite import IN_MEMORY

#: Answers to all that is asked: yes.
YES: dict[str, Any] = {
    "GetConfiguration": {},
    "GetCompositeSchedule": {
        "status": "Accepted",
        "connectorId": 1,
        "scheduleStart": "2026-01-01T00:00:00Z",
        "chargingSchedule": {
            "duration": 600,
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [
                {"startPeriod": 0, "limit": 16.0},
                {"startPeriod": 300, "limit": 0},
            ],
        },
    },
    "GetDiagnostics": {"fileName": "diagnostics.zip"},
    "GetLocalListVersion": {"listVersion": 7},
    "UnlockConnector": {"status": "Unlocked"},
    "UpdateFirmware": {},
}


class PlayedChargePoint:
    """The other end of a Station.

    :attr answers: by action, a payload, the code of a CALLERROR, or None for no answer at all; what
        is not in it is accepted.
    """

    def __init__(self, connection: InMemoryConnection) -> None:
        self._connection = connection
        self.answers: dict[str, dict[str, Any] | str | None] = {}
        #: What it was asked, as it came over the wire.
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._heard: dict[str, asyncio.Future[Any]] = {}

    async def run(self) -> None:
        """Answer until the connection closes."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = json.loads(await self._connection.recv())
                if message[0] == CALL:
                    await self._answer(*message[1:])
                else:
                    self._heard.pop(message[1]).set_result(message[2])

    async def _answer(self, unique_id: str, action: str, payload: dict[str, Any]) -> None:
        self.asked.append((action, payload))
        answer = self.answers.get(action, YES.get(action, {"status": "Accepted"}))
        if isinstance(answer, str):
            await self._send([CALL_ERROR, unique_id, answer, "as the test wants it", {}])
        elif answer is not None:
            await self._send([CALL_RESULT, unique_id, answer])

    async def tell(self, action: str, **payload: Any) -> Any:
        """Send a CALL with a payload in camelCase and give the payload of the answer."""
        unique_id = f"{action} {len(self._heard)} {len(self.asked)}"[:36]
        future = self._heard[unique_id] = asyncio.get_running_loop().create_future()
        await self._send([CALL, unique_id, action, payload])
        return await future

    async def _send(self, message: list[Any]) -> None:
        await self._connection.send(json.dumps(message))


@contextlib.asynccontextmanager
async def played(
    sign: Signer | None = None, watts_per_a: float = 400.0
) -> AsyncIterator[tuple[Station, PlayedChargePoint]]:
    """Give a station and the charge point at its other end."""
    ours, theirs = websocket_pair()
    ledger = Ledger(IN_MEMORY)
    station = Station(
        "CP_1",
        ledger=ledger,
        rate=Rate(per_s=50, burst=500),
        watts_per_a=watts_per_a,
        sign=sign,
    )
    charge_point = PlayedChargePoint(theirs)
    tasks = [
        asyncio.create_task(station.serve(ours)),
        asyncio.create_task(charge_point.run()),
    ]
    await asyncio.sleep(0)
    try:
        yield station, charge_point
    finally:
        await theirs.close()
        await asyncio.gather(*tasks)
        ledger.close()


def in_virtual_time(test: Coroutine[Any, Any, None]) -> None:
    """Run a test on the clock that leaps."""
    virtual_time.run(test)
