"""A charge point's link with feature profiles on it, and a central system played by the test.

What the profiles want of the rest of a charge point is played here too: whether a transaction
runs, and a reboot.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action, GenericStatus, MessageTrigger

from evsim import virtual_time
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.maintenance import Maintenance
from evsim.clock import Clock
from evsim.in_memory import websocket_pair
from evsim.ocpp_link import OcppLink, on
from evsim.sqlite import open_database


class Central(OcppLink):
    """A central system that keeps what it is told, each with when."""

    def __init__(self) -> None:
        super().__init__("central", response_timeout=5)
        self.got: list[tuple[float, str, dict[str, Any]]] = []
        self._news = asyncio.Event()
        self.answer_delay_s = 0.0

    async def note(self, action: str, payload: dict[str, Any]) -> None:
        self.got.append((asyncio.get_running_loop().time(), action, payload))
        self._news.set()
        await asyncio.sleep(self.answer_delay_s)

    def all(self, action: str) -> list[dict[str, Any]]:
        return [payload for _, name, payload in self.got if name == action]

    def statuses(self, action: str) -> list[str]:
        return [payload["status"] for payload in self.all(action)]

    async def wait_for(self, action: str, **fields: object) -> None:
        """Wait until such a message has come."""
        while not any(fields.items() <= payload.items() for payload in self.all(action)):
            self._news.clear()
            await self._news.wait()

    @on(Action.firmware_status_notification)
    async def on_firmware(self, **payload: Any) -> call_result.FirmwareStatusNotification:
        await self.note("FirmwareStatusNotification", payload)
        return call_result.FirmwareStatusNotification()

    @on(Action.diagnostics_status_notification)
    async def on_diagnostics(self, **payload: Any) -> call_result.DiagnosticsStatusNotification:
        await self.note("DiagnosticsStatusNotification", payload)
        return call_result.DiagnosticsStatusNotification()

    @on(Action.signed_firmware_status_notification)
    async def on_signed(self, **payload: Any) -> call_result.SignedFirmwareStatusNotification:
        await self.note("SignedFirmwareStatusNotification", payload)
        return call_result.SignedFirmwareStatusNotification()

    @on(Action.log_status_notification)
    async def on_log(self, **payload: Any) -> call_result.LogStatusNotification:
        await self.note("LogStatusNotification", payload)
        return call_result.LogStatusNotification()

    @on(Action.security_event_notification)
    async def on_event(self, **payload: Any) -> call_result.SecurityEventNotification:
        await self.note("SecurityEventNotification", payload)
        return call_result.SecurityEventNotification()

    @on(Action.sign_certificate)
    async def on_sign(self, **payload: Any) -> call_result.SignCertificate:
        await self.note("SignCertificate", payload)
        return call_result.SignCertificate(GenericStatus.accepted)

    @on(Action.heartbeat)
    async def on_heartbeat(self, **payload: Any) -> call_result.Heartbeat:
        await self.note("Heartbeat", payload)
        return call_result.Heartbeat("2026-01-01T00:00:00Z")


class Bench:
    """One start of the program of a charge point, with its state in a directory."""

    def __init__(self, state: Path, now: Clock) -> None:
        self.now = now
        self.database = open_database(state / "cp.sqlite", "")
        self.central = Central()
        self.link = OcppLink("CP_1", response_timeout=5)
        self.security_profile = 0
        self.revocations: bytes | None = None
        self.connected_anew_s: list[float] = []
        self.triggered: list[int | None] = []
        self.reboots = 0
        self.reboots_by_itself = True
        self.no_transaction = asyncio.Event()
        self.no_transaction.set()
        self.locked = False
        self.configuration = Configuration(
            self.database, initial={"CpoName": "Operator", "CertificateStoreMaxLength": "3"}
        )
        self.maintenance = Maintenance(
            "CP_1",
            self.database,
            self.configuration,
            send=self.link.call,
            spawn=self.link.run_in_background,
            security_profile=lambda: self.security_profile,
            sections={"statuses": lambda: ["1 Available"]},
            triggers={"Heartbeat": self.send_heartbeat},
            idle=self.idle,
            reboot=self.reboot,
            on_new_certificate=self.connect_anew,
            revocations=lambda: self.revocations,
            now=now,
        )
        self.link.add_handlers(self.maintenance.firmware_management, *self.maintenance.parts)
        self.outbox, self.events = self.maintenance.outbox, self.maintenance.events
        self.updater, self.recent = self.maintenance.updater, self.maintenance.recent
        self.store = self.maintenance.store

    async def trigger(self, message: MessageTrigger) -> None:
        """Have a message sent as TriggerMessage would."""
        await self.maintenance.triggers[message](None)

    async def send_heartbeat(self, connector_id: int | None) -> None:
        self.triggered.append(connector_id)
        await self.link.call(call.Heartbeat())

    async def connect_anew(self) -> None:
        self.connected_anew_s.append(asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def idle(self) -> AsyncIterator[None]:
        await self.no_transaction.wait()
        self.locked = True
        try:
            yield
        finally:
            self.locked = False

    def reboot(self) -> None:
        self.reboots += 1
        if self.reboots_by_itself:
            asyncio.get_running_loop().call_later(3, self.maintenance.on_accepted)

    async def connect(self) -> Callable[[], Awaitable[None]]:
        """Connect both ends, accepted; gives what disconnects them."""
        ours, theirs = websocket_pair()
        talking = [
            asyncio.create_task(self.link.serve(ours)),
            asyncio.create_task(self.central.serve(theirs)),
        ]
        await asyncio.sleep(0)
        self.maintenance.on_accepted()

        async def disconnect() -> None:
            self.maintenance.on_disconnected()
            await theirs.close()
            await asyncio.gather(*talking)

        return disconnect


@contextlib.asynccontextmanager
async def bench(state: Path, now: Clock | None = None) -> AsyncIterator[Bench]:
    """Run a charge point; what it keeps in `state` is there for the next one."""
    made = Bench(state, now or virtual_time.clock())
    services = (*made.maintenance.services(), made.maintenance.remember_log())
    running = [asyncio.create_task(service) for service in services]
    try:
        yield made
    finally:
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
        await made.link.disconnect("the end")
        made.database.close()
        for error in ended:
            if isinstance(error, Exception):
                raise error


def play(test: Awaitable[None]) -> None:
    """Run a test in virtual time."""

    async def run() -> None:
        async with asyncio.timeout(1_000_000):
            await test

    virtual_time.run(run())
