"""The bench of the compliance tests of the central system: the real one, and a strict charge point.

A test is a script: what the charge point says, and what it is asked next.

    @octt
    async def test_tc_013_csms_hard_reset(it: Bench) -> None:
        asked = await it.asked(it.station.reset(ResetType.hard), "Reset")
        assert asked == {"type": "Hard"}
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from octt_tool import PATIENCE_S, Payload, Tool

import csms
from evsim import virtual_time
from evsim.central_system.ledger import Ledger
from evsim.clock import from_ocpp, to_ocpp
from evsim.errors import RefusedError
from evsim.in_memory import InMemoryConnection, websocket_pair
from evsim.ocpp_schemas import check_response

Result = TypeVar("Result")

ACCEPTED = {"status": "Accepted"}
REJECTED = {"status": "Rejected"}
TAG = "04A1B2C3"


class Bench:
    """A central system, and the charge point CP_1 that the test plays."""

    def __init__(self, central: csms.CentralSystem) -> None:
        self.central = central
        self.ledger = central.ledger
        self.now = central.now
        self.tool: Tool
        self._end: InMemoryConnection
        self._talking: asyncio.Task[None] | None = None

    @property
    def station(self) -> csms.ChargePoint:
        """CP_1 as the central system commands it."""
        return self.central.charge_points["CP_1"]

    async def connect(self) -> None:
        """Connect CP_1."""
        theirs, self._end = websocket_pair()
        self._talking = asyncio.create_task(self.central.talk("CP_1", theirs))
        self.tool = Tool(self._end)
        await asyncio.sleep(0)

    async def disconnect(self, *, abruptly: bool = False) -> None:
        """Close the connection, or lose it; then the central system knows that CP_1 is gone."""
        if abruptly:
            self._end.abort()
        else:
            await self.tool.close()
        if self._talking is not None:
            await self._talking
            self._talking = None

    # ── What the central system asks ─────────────────────────────────────────────────────────

    async def asked(
        self, verb: Awaitable[Any], action: str, answer: Mapping[str, Any] = ACCEPTED
    ) -> Payload:
        """Let the central system do `verb`, answer its CALL, and give what it asked."""
        payload, _ = await self.gave(verb, action, answer)
        return payload

    async def gave(
        self, verb: Awaitable[Result], action: str, answer: Mapping[str, Any] = ACCEPTED
    ) -> tuple[Payload, Result]:
        """Do the same, and give what `verb` returned too."""
        check_response(action, dict(answer))
        doing = asyncio.ensure_future(verb)
        payload = await self._expect(action, doing)
        await self.tool.answer(answer)
        async with asyncio.timeout(PATIENCE_S):
            return payload, await doing

    async def refused(self, verb: Awaitable[Any], action: str, status: str) -> Payload:
        """Refuse it: `verb` must raise RefusedError with that status in one line."""
        doing = asyncio.ensure_future(verb)
        payload = await self._expect(action, doing)
        await self.tool.answer({"status": status})
        with pytest.raises(RefusedError) as refusal:
            await doing
        (line,) = str(refusal.value).splitlines()
        assert status in line
        return payload

    async def _expect(self, action: str, doing: asyncio.Future[Any]) -> Payload:
        """Wait for the CALL; if the verb fails instead, so does the test, with its error."""
        expecting = asyncio.ensure_future(self.tool.expect(action))
        await asyncio.wait({expecting, doing}, return_when=asyncio.FIRST_COMPLETED)
        if not expecting.done():
            expecting.cancel()
            pytest.fail(f"{action} was expected, but nothing asked: {await doing!r}")
        return await expecting

    # ── What the charge point says ───────────────────────────────────────────────────────────

    def stamp(self, ago_s: float = 0.0) -> str:
        """Give the time stamp of now, or of a while ago."""
        return to_ocpp(self.now() - timedelta(seconds=ago_s))

    async def boot(self) -> Payload:
        """Boot as one that is free, and give what the BootNotification was answered with."""
        answer = await self.tool.call(
            "BootNotification",
            {
                "chargePointVendor": "Vendor",
                "chargePointModel": "Model",
                "chargePointSerialNumber": "SN-1",
                "firmwareVersion": "1.0",
            },
        )
        for connector_id in (0, 1):
            await self.status("Available", connector_id)
        return answer

    async def status(self, status: str, connector_id: int = 1, error_code: str = "NoError") -> None:
        """Report a status."""
        said = {"connectorId": connector_id, "status": status, "errorCode": error_code}
        said["timestamp"] = self.stamp()
        assert await self.tool.call("StatusNotification", said) == {}

    async def authorize(self, id_tag: str = TAG, status: str = "Accepted") -> Payload:
        """Ask whether a tag may charge; the answer must be `status`."""
        info = (await self.tool.call("Authorize", {"idTag": id_tag}))["idTagInfo"]
        assert info["status"] == status
        return dict(info)

    async def start(
        self, id_tag: str = TAG, status: str = "Accepted", ago_s: float = 0.0, **more: object
    ) -> int:
        """Start a transaction and give its id; the tag's status must be `status`."""
        said = {"connectorId": 1, "idTag": id_tag, "meterStart": 100, **more}
        answer = await self.tool.call("StartTransaction", {**said, "timestamp": self.stamp(ago_s)})
        assert answer["idTagInfo"]["status"] == status
        return int(answer["transactionId"])

    async def meter(self, transaction_id: int, energy_wh: int, ago_s: float = 0.0) -> None:
        """Report the meter."""
        value = {"timestamp": self.stamp(ago_s), "sampledValue": [{"value": str(energy_wh)}]}
        said = {"connectorId": 1, "transactionId": transaction_id, "meterValue": [value]}
        assert await self.tool.call("MeterValues", said) == {}

    async def stop(
        self, transaction_id: int, reason: str | None = None, ago_s: float = 0.0, **more: object
    ) -> None:
        """Stop a transaction; it must be recorded so."""
        said = {"transactionId": transaction_id, "meterStop": 600, **more}
        if reason is not None:
            said["reason"] = reason
        await self.tool.call("StopTransaction", {**said, "timestamp": self.stamp(ago_s)})
        stopped = self.recorded(transaction_id)
        assert stopped.stopped_at == self.stamp(ago_s)
        assert (stopped.meter_stop_wh, stopped.reason) == (600, reason or "Local")

    async def charging(self, id_tag: str = TAG) -> int:
        """Plug in, identify and charge; give the transaction's id."""
        await self.status("Preparing")
        await self.authorize(id_tag)
        transaction_id = await self.start(id_tag)
        await self.status("Charging")
        return transaction_id

    async def leave(self) -> None:
        """Unplug after a transaction."""
        await self.status("Finishing")
        await self.status("Available")

    def recorded(self, transaction_id: int) -> Any:
        """Give what the central system has recorded of a transaction."""
        (found,) = [
            transaction
            for transaction in self.ledger.transactions("CP_1")
            if transaction.transaction_id == transaction_id
        ]
        return found


@contextlib.asynccontextmanager
async def bench(state: Path, *, booted: bool = True) -> AsyncIterator[Bench]:
    """Give a bench with CP_1 connected and booted; at the end nothing may be left unsaid."""
    with closing(Ledger(state / "csms.sqlite")) as ledger:
        it = Bench(csms.CentralSystem(ledger, cycles=0, now=virtual_time.clock()))
        await it.connect()
        if booted:
            await it.boot()
        yield it
        await it.tool.nothing_for(1.0)
        await it.disconnect()


def octt(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a coroutine that gets a bench first: in virtual time, with CP_1 booted."""

    def run(tmp_path: Path, **parameters: object) -> None:
        async def play() -> None:
            async with asyncio.timeout(100_000), bench(tmp_path) as it:
                await test(it, **parameters)

        virtual_time.run(play())

    functools.update_wrapper(run, test)
    del run.__wrapped__  # type: ignore[attr-defined]
    _, *others = inspect.signature(test).parameters.values()
    path = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = inspect.Signature([path, *others])  # type: ignore[attr-defined]
    return run


def moment(stamp: str) -> datetime:
    """Read a time stamp that the central system sent, which must be in UTC with Z."""
    assert stamp.endswith("Z"), f"{stamp} is not in UTC with Z"
    return from_ocpp(stamp)
