"""A charge point under the compliance tool's tests: the real one, with a real charger behind it.

The central system is played (tests/octt_central.py), the person is the charge point's own verbs,
and all of it runs in virtual time:

    @octt(configuration={"ConnectionTimeOut": "20"})
    async def test_tc_004_2_cs_no_cable(it: Bench) -> None:
        await it.cp.tag("TAG")
        await it.central.expect("Authorize", id_tag="TAG")
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from ocpp.v16 import call
from octt_central import PlayedCentral, wanted, wanted_status

from charger_module import ChargerModule
from cp import ChargePoint
from evsim import virtual_time
from evsim.charge_point.credentials import Credentials
from evsim.charge_point.hardware import Cable, Hardware
from evsim.charge_point.ledger import Ledger
from evsim.charger import PLANTS, PowerModule
from evsim.frames import Frame, SetLimit, decode
from evsim.in_memory import InMemoryBus, InMemoryNode, websocket_pair
from evsim.ocpp_link import Connection
from evsim.sqlite import IN_MEMORY

#: Between a lost connection and the next attempt.
RECONNECT_S = 1.0
#: A test of virtual time that takes longer hangs.
LONGEST_S = 1_000_000.0
#: Configuration keys that can only be read.
OF_THE_STATION = ("ReserveConnectorZeroSupported", "SupportedFeatureProfiles")
#: A person plugs and unplugs, unless a test says otherwise.
BY_HAND = Hardware(cable=Cable.BY_HAND)
FIXED = Hardware(cable=Cable.BY_HAND, is_fixed_cable=True)
BROKEN_LOCK = Hardware(cable=Cable.BY_HAND, lock_fails=True)

P = ParamSpec("P")


class Bench:
    """A charge point, its charger on a CAN bus, and the central system that the test plays."""

    def __init__(
        self,
        hardware: Hardware,
        configuration: Mapping[str, str],
        plant: str,
        credentials: Callable[[Ledger], Credentials] | None,
        state: Path,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = virtual_time.clock()
        self.central = PlayedCentral(self.now)
        bus = InMemoryBus()
        self.frames: list[tuple[float, Frame]] = []
        bus.taps.append(lambda m: self.frames.append((self.loop.time(), decode(m))))
        self.charger = ChargerModule(PowerModule(PLANTS[plant]), InMemoryNode(bus))
        self.ledger = Ledger(state)
        self.cp = ChargePoint(
            "CP_1",
            node=InMemoryNode(bus),
            ledger=self.ledger,
            plant=PLANTS[plant],
            now=self.now,
            credentials=None if credentials is None else credentials(self.ledger),
            hardware=hardware,
            configuration=configuration,
        )
        self._online = asyncio.Event()
        self._wire: Connection | None = None

    # ── The network ──────────────────────────────────────────────────────────────────────────

    async def keep_connected(self) -> None:
        """Connect both ends, again and again, while the network is there."""
        while True:
            await self._online.wait()
            ours, theirs = websocket_pair()
            self._wire = ours
            await asyncio.gather(self.central.serve(ours), self.cp.talk(theirs))
            await asyncio.sleep(RECONNECT_S)

    def go_online(self) -> None:
        """Let the network be there."""
        self._online.set()

    async def go_offline(self) -> None:
        """Take the network away."""
        self._online.clear()
        assert self._wire is not None
        await self._wire.close(1001, "the network is gone")
        await asyncio.sleep(0.1)

    # ── What many tests begin with ───────────────────────────────────────────────────────────

    async def boot(self) -> None:
        """Connect for the first time, and hear that all is well."""
        self.go_online()
        await self.booted("Available", "Available")

    async def booted(self, *statuses: str) -> None:
        """Hear of a boot, then of these statuses of the connectors, 0 first."""
        await self.central.expect("BootNotification", within_s=300)
        for connector_id, status in enumerate(statuses):
            await self.central.status(status, connector_id)

    async def plug(self) -> None:
        """Plug in, as the first step of a session."""
        self.cp.plug()
        await self.central.status("Preparing")

    async def start(self, id_tag: str = "TAG") -> int:
        """Begin a session, cable first; give the transaction's id."""
        await self.plug()
        await self.cp.tag(id_tag)
        await self.central.expect("Authorize", id_tag=id_tag)
        return await self.started(id_tag)

    async def started(self, id_tag: str = "TAG", **fields: object) -> int:
        """Hear of a transaction's start; give its id."""
        what = wanted("StartTransaction", connector_id=1, id_tag=id_tag, **fields)
        ((_, _, started),) = await self.central.expect_each(what)
        assert isinstance(started["meter_start"], int)
        assert "timestamp" in started
        await self.central.status("Charging")
        return self.central.next_transaction_id - 1

    async def stopped(self, transaction_id: int, reason: str, **fields: object) -> dict[str, Any]:
        """Hear of a transaction's end and of Finishing; give the StopTransaction."""
        what = wanted("StopTransaction", transaction_id=transaction_id, **fields)
        stop, _ = await self.central.expect_each(what, wanted_status("Finishing"))
        # Local is what a missing reason means.
        assert stop.payload.get("reason", "Local") == reason
        assert isinstance(stop.payload["meter_stop"], int)
        return stop.payload

    async def stop(self, transaction_id: int) -> None:
        """End a session from afar, and take the cable away."""
        await self.ask("Accepted", call.RemoteStopTransaction(transaction_id))
        await self.stopped(transaction_id, "Remote")
        await self.unplug()

    async def unplug(self) -> None:
        """Take the cable away after a session."""
        self.cp.unplug()
        await self.central.status("Available")

    async def ask(self, status: str, request: Any) -> Any:
        """Ask the charge point; its answer must have this status."""
        return await self.central.ask(status, request)

    async def set(self, **configuration: str) -> None:
        """Change configuration keys."""
        for key, value in configuration.items():
            await self.ask("Accepted", call.ChangeConfiguration(key, value))

    async def get(self, key: str) -> str | None:
        """Read a configuration key; None if it is unknown."""
        answer = await self.central.call(call.GetConfiguration([key]))
        if answer.unknown_key:
            assert answer.unknown_key == [key]
            return None
        (entry,) = answer.configuration_key
        assert entry["key"] == key
        return str(entry["value"])

    # ── The charger ──────────────────────────────────────────────────────────────────────────

    @property
    def current_a(self) -> float:
        """What flows into the car, A."""
        self.charger.catch_up()
        return self.charger.module.current_a

    def limits(self, since_s: float) -> list[tuple[float, int]]:
        """Give the limits on the CAN bus: s after `since_s`, A; repeated ones once."""
        found: list[tuple[float, int]] = []
        for at_s, frame in self.frames:
            if at_s < since_s or not isinstance(frame, SetLimit):
                continue
            if not found or found[-1][1] != frame.limit_a:
                found.append((round(at_s - since_s), frame.limit_a))
        return found


@asynccontextmanager
async def bench(
    *,
    hardware: Hardware = BY_HAND,
    configuration: Mapping[str, str] | None = None,
    plant: str = "dc",
    credentials: Callable[[Ledger], Credentials] | None = None,
    state: Path = IN_MEMORY,
    boot: bool = True,
) -> AsyncIterator[Bench]:
    """Run a charge point and all around it; unless `boot` is False, it has booted.

    :param configuration: what a key is to be. Once it has booted, the central system sets the keys
        that can be, as the compliance tool does; the others are a matter of the station.
    :param state: the charge point's file, for what outlives the program.
    """
    # A sample every second, as the base scenario has it, would only fill the list of messages.
    wanted_keys = {"MeterValueSampleInterval": "0", **(configuration or {})}
    initial = {
        key: value for key, value in wanted_keys.items() if not boot or key in OF_THE_STATION
    }
    made = Bench(hardware, initial, plant, credentials, state)
    running = [
        asyncio.create_task(made.charger.run()),
        asyncio.create_task(made.cp.run(made.keep_connected())),
    ]
    test = asyncio.current_task()
    assert test is not None

    def end_test(_: object) -> None:
        test.cancel()

    for task in running:  # what ends before the test does has failed
        task.add_done_callback(end_test)
    await asyncio.sleep(0.5)
    try:
        if boot:
            await made.boot()
            await made.set(**{k: v for k, v in wanted_keys.items() if k not in initial})
        yield made
        made.central.check_statuses()
        assert not made.cp.troubles
        assert not made.central.troubles
    finally:
        failed = [task for task in running if task.done()]
        for task in running:
            task.remove_done_callback(end_test)
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        made.ledger.close()
        for task in failed:
            task.result()


def octt(
    **options: Any,
) -> Callable[[Callable[Concatenate[Bench, P], Awaitable[None]]], Callable[P, None]]:
    """Run the decorated test in virtual time on a bench with these options (see bench())."""

    def decorate(test: Callable[Concatenate[Bench, P], Awaitable[None]]) -> Callable[P, None]:
        async def play(*args: P.args, **kwargs: P.kwargs) -> None:
            async with asyncio.timeout(LONGEST_S), bench(**options) as it:
                await test(it, *args, **kwargs)

        @functools.wraps(test)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            virtual_time.run(play(*args, **kwargs))

        # What is left for pytest to fill in: all but the bench.
        signature = inspect.signature(test)
        parameters = [p for name, p in signature.parameters.items() if name != "it"]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate
