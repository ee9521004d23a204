"""A charge point over real sockets, with a security profile: for the cases that are about those.

The server is that of csms.py and decides who may connect; behind it is the played central system.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import numpy as np
from octt_central import PlayedCentral
from websockets.asyncio.server import ServerConnection

import cp
from charger_module import ChargerModule
from evsim.central_system.admission import Admission
from evsim.central_system.ledger import Ledger as CentralLedger
from evsim.central_system.server import OcppServer
from evsim.charge_point.credentials import Credentials
from evsim.charge_point.hardware import Cable, Hardware
from evsim.charge_point.ledger import Ledger
from evsim.charger import PLANTS, PowerModule
from evsim.clock import utc_now
from evsim.in_memory import InMemoryBus, InMemoryNode
from evsim.ocpp_client import BackOff, keep_connected
from evsim.security import digest, read_key_file, server_context, uses_key, uses_tls
from evsim.sqlite import IN_MEMORY

#: What must have happened by then, on a busy machine too.
SOON_S = 20.0
HARDWARE = Hardware(cable=Cable.BY_HAND, reboot_s=0.1)
BACK_OFF = BackOff(first_s=0.2, longest_s=0.2)


class Secured:
    """The two ends; `pki` is a directory that evsim.certificates has made."""

    def __init__(self, pki: Path, central_ledger: CentralLedger) -> None:
        self.pki = pki
        self.key = read_key_file(pki / "CP_1.authorization-key")
        self.central = PlayedCentral(utc_now)
        self.central_ledger = central_ledger
        central_ledger.issue_keys({"CP_1": digest(self.key)})
        #: Each connection that was let in, with what it proved itself by.
        self.connections: list[ServerConnection] = []
        #: Why the charge point could not connect.
        self.failures: asyncio.Queue[Exception] = asyncio.Queue()

    @asynccontextmanager
    async def listen(
        self,
        profile: int,
        *,
        port: int = 0,
        certificates: Path | None = None,
        trusted: Path | None = None,
    ) -> AsyncIterator[int]:
        """Listen as csms.py does; give the port.

        :param certificates: the directory with the server's own, instead of `pki`.
        :param trusted: who may sign the charge points' certificates, instead of `pki`'s CA.
        """
        directory = certificates or self.pki
        tls: ssl.SSLContext | None = None
        if uses_tls(profile):
            pair = directory / "csms.pem", directory / "csms.key"
            tls = server_context(profile, *pair, trusted or self.pki / "ca.pem")
        server = OcppServer(self._talk, Admission(profile, self.central_ledger), tls)
        async with server.listen("127.0.0.1", port) as listening:
            yield next(iter(listening.sockets)).getsockname()[1]

    async def _talk(self, charge_point_id: str, connection: ServerConnection) -> None:
        assert charge_point_id == "CP_1"
        self.connections.append(connection)
        await self.central.serve(connection)

    def arguments(self, profile: int, port: int) -> list[str]:
        """Give the options of cp.py for a profile."""
        scheme = "wss" if uses_tls(profile) else "ws"
        options = ["--security-profile", str(profile), "--url", f"{scheme}://127.0.0.1:{port}"]
        if uses_key(profile):
            options += ["--key-file", str(self.pki / "CP_1.authorization-key")]
        if uses_tls(profile):
            options += ["--ca", str(self.pki / "ca.pem")]
        if profile == 3:
            options += ["--cert", str(self.pki / "CP_1.pem")]
            options += ["--private-key", str(self.pki / "CP_1.key")]
        return options

    @asynccontextmanager
    async def charge_point(self, arguments: Sequence[str]) -> AsyncIterator[cp.ChargePoint]:
        """Run a charge point with these options of cp.py."""
        plant = PLANTS["dc"]
        bus = InMemoryBus()
        charger = ChargerModule(PowerModule(plant), InMemoryNode(bus))
        with closing(Ledger(IN_MEMORY)) as ledger:
            credentials = Credentials("CP_1", cp.parse_arguments([*arguments]), ledger)
            point = cp.ChargePoint(
                "CP_1",
                node=InMemoryNode(bus),
                ledger=ledger,
                plant=plant,
                credentials=credentials,
                hardware=HARDWARE,
            )

            def note_failure(error: Exception) -> None:
                self.failures.put_nowait(error)
                point.maintenance.on_no_connection(error)

            connecting = keep_connected(
                credentials.endpoint,
                point.talk,
                back_off=BACK_OFF,
                rng=np.random.default_rng(1),
                on_failure=note_failure,
            )
            running = [
                asyncio.create_task(charger.run()),
                asyncio.create_task(point.run(connecting)),
            ]
            try:
                yield point
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

    async def ask(self, status: str, request: Any) -> Any:
        """Ask the charge point; its answer must have this status."""
        return await self.central.ask(status, request)

    async def booted(self) -> None:
        """Hear of a boot and of the connectors."""
        await self.central.expect("BootNotification", within_s=SOON_S)
        await self.reconnected()

    async def reconnected(self) -> None:
        """Hear of a mere reconnect: it does not boot, and tells the connectors' statuses."""
        await self.central.status("Available", 0, within_s=SOON_S)
        await self.central.status("Available", 1, within_s=SOON_S)


@asynccontextmanager
async def secured(pki: Path) -> AsyncIterator[Secured]:
    """Make both ends ready."""
    with closing(CentralLedger(IN_MEMORY)) as ledger:
        async with asyncio.timeout(2 * SOON_S):
            yield Secured(pki, ledger)
