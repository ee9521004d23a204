#!/usr/bin/env python3
"""An OCPP 1.6-J central system that plays an anomaly with every charge point that boots.

The anomaly is send_anomaly() below: change its limits and waits, and the pattern changes. --anomaly
plays another one of the catalogue instead, --scenario a coroutine from a file of yours. In a
terminal it also takes commands: type help.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from typing import Any
from uuid import uuid4

from ocpp.exceptions import OCPPError
from ocpp.v16 import call_result
from ocpp.v16.datatypes import IdTagInfo
from ocpp.v16.enums import Action, AuthorizationStatus, DataTransferStatus, RegistrationStatus

from evsim import console
from evsim.central_system.admission import Admission, keep_keys, tls_context
from evsim.central_system.features.security import Signer
from evsim.central_system.id_tags import IdTag, keep_tags
from evsim.central_system.ledger import Ledger
from evsim.central_system.options import address, read_options, signer, warn_if_open
from evsim.central_system.registry import LinkRecorder, Registry
from evsim.central_system.scenario import Scenario
from evsim.central_system.securing import Securing
from evsim.central_system.server import OcppServer
from evsim.central_system.station import Station
from evsim.central_system.terminal import Terminal
from evsim.clock import Clock, to_ocpp, utc_now
from evsim.errors import RefusedError, UserError
from evsim.live.central_stage import CentralStage
from evsim.live.recording import Recording
from evsim.man_in_the_middle import ManInTheMiddle
from evsim.ocpp_link import Connection, NotConnectedError, after, on
from evsim.ocpp_wire import explain
from evsim.rate_limit import Rate

# ── Edit me ──────────────────────────────────────────────────────────────────────────────────
STARTUP_DELAY_S = 3.0  # from the boot of a charge point to its first cycle

LOW_LIMIT_A = 0  # step 1
AFTER_LOW_LIMIT_S = 2.0
HIGH_LIMIT_A = 100  # step 2
AFTER_HIGH_LIMIT_S = 1.0
AFTER_START_S = 2.0  # step 3
AFTER_STOP_S = 3.0  # step 4
SHORTEST_PAUSE_S = 1.0  # after a cycle that ended early, whatever AFTER_STOP_S is

ID_TAG = "USER"
CONNECTOR = 1
WATTS_PER_A = 400.0  # at a charge point that takes limits in W only, until it measures
HEARTBEAT_INTERVAL_S = 10
MESSAGE_RATE = Rate(per_s=50, burst=500)  # of one charge point's CALLs; more are answered later
ANSWER_TIMEOUT_S = 10.0  # for each answer of a charge point
TRANSACTION_TIMEOUT_S = 10.0  # for the StartTransaction or StopTransaction that must follow

log = logging.getLogger("evsim.csms")


async def send_anomaly(charge_point: ChargePoint) -> None:
    """Repeated Current Fluctuation During Charging: one cycle, 0 A to 100 A and back in 8 s."""
    await charge_point.set_limit(LOW_LIMIT_A, CONNECTOR)
    await asyncio.sleep(AFTER_LOW_LIMIT_S)

    await charge_point.set_limit(HIGH_LIMIT_A, CONNECTOR)
    await asyncio.sleep(AFTER_HIGH_LIMIT_S)

    await charge_point.remote_start(ID_TAG, CONNECTOR)
    await asyncio.sleep(AFTER_START_S)

    await charge_point.remote_stop(await charge_point.started_transaction())
    await asyncio.sleep(AFTER_STOP_S)


async def repeat_anomaly(
    charge_point: ChargePoint, cycles: int | None, played: Counter[str]
) -> None:
    """Play send_anomaly() `cycles` times, or for ever; each cycle begins from a known state.

    `played` counts the cycles of each charge point since its boot, over all its connections.
    """
    await asyncio.gather(charge_point.learn_rate_unit(), asyncio.sleep(STARTUP_DELAY_S))
    while cycles is None or played[charge_point.id] < cycles:
        cycle = played[charge_point.id] + 1
        log.info("%s: cycle %d%s", charge_point.id, cycle, f" of {cycles}" if cycles else "")
        try:
            await charge_point.stop_all_transactions()
            await send_anomaly(charge_point)
        except NotConnectedError:
            log.warning(
                "%s: left in cycle %d; it starts over when it is back", charge_point.id, cycle
            )
            return
        except (RefusedError, UserError, TimeoutError, OCPPError) as error:
            text = explain(error)
            log.error("%s: cycle %d ended early: %s", charge_point.id, cycle, text)  # noqa: TRY400
            await asyncio.sleep(max(AFTER_STOP_S, SHORTEST_PAUSE_S))
        played[charge_point.id] = cycle
    log.info("%s: the anomaly is over", charge_point.id)


class ChargePoint(Station):
    """A connected charge point, as the central system sees it."""

    def __init__(self, charge_point_id: str, central_system: CentralSystem) -> None:
        super().__init__(
            charge_point_id,
            ledger=central_system.ledger,
            rate=MESSAGE_RATE,
            answer_timeout_s=ANSWER_TIMEOUT_S,
            transaction_timeout_s=TRANSACTION_TIMEOUT_S,
            watts_per_a=WATTS_PER_A,
            sign=central_system.sign,
            message_ids=central_system.message_ids,
        )
        self.central_system = central_system
        self.now = central_system.now
        self.has_booted = False  # over this connection
        self._run: asyncio.Task[None] | None = None

    # ── What the charge point reports ────────────────────────────────────────────────────────

    @on(Action.boot_notification)
    def on_boot_notification(
        self, charge_point_vendor: str, charge_point_model: str, **_: object
    ) -> call_result.BootNotification:
        """Accept every charge point."""
        now = to_ocpp(self.now())
        log.info("%s: boots (%s, %s)", self.id, charge_point_vendor, charge_point_model)
        self.ledger.booted(self.id, charge_point_vendor, charge_point_model, now)
        self.has_booted = True
        self.note(Action.boot_notification, vendor=charge_point_vendor, model=charge_point_model)
        return call_result.BootNotification(now, HEARTBEAT_INTERVAL_S, RegistrationStatus.accepted)

    @after(Action.boot_notification)
    def after_boot_notification(self, **_: object) -> None:
        """Begin, once it knows that it is accepted."""
        self._begin()

    @on(Action.heartbeat)
    def on_heartbeat(self, **_: object) -> call_result.Heartbeat:
        """Tell the time."""
        self.note(Action.heartbeat)
        return call_result.Heartbeat(to_ocpp(self.now()))

    @on(Action.status_notification)
    def on_status_notification(
        self, connector_id: int, status: str, error_code: str, **_: object
    ) -> call_result.StatusNotification:
        """Show the status."""
        fault = "" if error_code == "NoError" else f" ({error_code})"
        log.info("%s: connector %d is %s%s", self.id, connector_id, status, fault)
        self.note_status(connector_id, status, error_code)
        return call_result.StatusNotification()

    @after(Action.status_notification)
    def after_status_notification(self, **_: object) -> None:
        """Begin with one that reconnected: it reports its status, but does not boot again."""
        self._begin()

    @on(Action.authorize)
    def on_authorize(self, id_tag: str, **_: object) -> call_result.Authorize:
        """Say whether a tag may charge."""
        info = self.ledger.id_tags.get(id_tag).info(self.now())
        self.note(Action.authorize, id_tag=id_tag, status=info.status)
        return call_result.Authorize(info)

    @on(Action.start_transaction)
    def on_start_transaction(
        self, connector_id: int, id_tag: str, meter_start: int, timestamp: str, **_: object
    ) -> call_result.StartTransaction:
        """Record it and give it its id, whatever is said of the tag."""
        transaction_id = self.ledger.start_transaction(
            self.id, connector_id, id_tag, timestamp, meter_start
        )
        log.info("%s: transaction %d started by %s", self.id, transaction_id, id_tag)
        self.note_started(connector_id, id_tag, transaction_id)
        info = self.ledger.id_tags.get(id_tag).info(self.now())
        alone = self.central_system.one_transaction_per_tag
        accepted = info.status == AuthorizationStatus.accepted
        if alone and accepted and self.ledger.runs_elsewhere(id_tag, transaction_id):
            info = IdTagInfo(AuthorizationStatus.concurrent_tx)
        return call_result.StartTransaction(transaction_id, info)

    @on(Action.meter_values)
    def on_meter_values(
        self,
        connector_id: int,
        meter_value: list[Mapping[str, Any]],
        transaction_id: int | None = None,
        **_: object,
    ) -> call_result.MeterValues:
        """Record them."""
        self.ledger.meter_values(self.id, connector_id, transaction_id, meter_value)
        self.note_meter_values(connector_id, transaction_id, meter_value)
        return call_result.MeterValues()

    @on(Action.stop_transaction)
    def on_stop_transaction(
        self,
        transaction_id: int,
        meter_stop: int,
        timestamp: str,
        reason: str = "Local",
        id_tag: str | None = None,
        transaction_data: list[Mapping[str, Any]] | None = None,
        **_: object,
    ) -> call_result.StopTransaction:
        """Record it; a stop cannot be refused."""
        if self.ledger.stop_transaction(self.id, transaction_id, timestamp, meter_stop, reason):
            log.info("%s: transaction %d stopped: %s", self.id, transaction_id, reason)
        else:
            log.warning("%s: it stops transaction %d, which isn't its", self.id, transaction_id)
        self.ledger.transaction_data(self.id, transaction_id, transaction_data or [])
        self.note_stopped(transaction_id, reason)
        info = None if id_tag is None else self.ledger.id_tags.get(id_tag).info(self.now())
        return call_result.StopTransaction(info)

    @on(Action.data_transfer)
    def on_data_transfer(
        self, vendor_id: str, message_id: str | None = None, **_: object
    ) -> call_result.DataTransfer:
        """Know no vendor's extensions."""
        self.note(Action.data_transfer, vendor_id=vendor_id, message_id=message_id)
        return call_result.DataTransfer(DataTransferStatus.unknown_vendor_id)

    # ── The session ──────────────────────────────────────────────────────────────────────────

    async def talk(self, connection: Connection) -> None:
        """Serve a connection; the anomaly is played as long as it lasts."""
        log.info("%s: connected", self.id)
        try:
            await self.serve(connection)
        finally:
            if self._run is not None:
                self._run.cancel()
            log.info("%s: disconnected", self.id)

    def _begin(self) -> None:
        if self._run is None and self.connected:
            self._run = self.run_in_background(self.central_system.begin(self))


class CentralSystem(Registry[ChargePoint]):
    """The connected charge points, by id; what outlives a connection is in the ledger.

    :param cycles: of the anomaly with each charge point; None for ever, 0 for none.
    :param play: what to do with a charge point that has booted, in place of these cycles.
    :param record: takes what goes over the links and how they begin and end.
    :param wires: for the charge points whose link is in the hands of a man in the middle.
    :param message_ids: gives the unique ids of our CALLs.
    :param securing: gives charge points new credentials before anything is played.
    :param one_transaction_per_tag: a tag that is charging elsewhere starts in vain.
    :param sign: signs the certificate requests of charge points; None refuses them.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        cycles: int | None,
        play: Callable[[ChargePoint], Awaitable[None]] | None = None,
        record: LinkRecorder | None = None,
        wires: Callable[[str], ManInTheMiddle | None] = lambda charge_point_id: None,
        message_ids: Callable[[], object] = uuid4,
        securing: Securing | None = None,
        one_transaction_per_tag: bool = False,
        sign: Signer | None = None,
        now: Clock = utc_now,
    ) -> None:
        super().__init__(lambda charge_point_id: ChargePoint(charge_point_id, self), record, wires)
        self.ledger = ledger
        self.cycles = cycles
        self.play = play
        self.message_ids = message_ids
        self.securing = securing or Securing()
        self.one_transaction_per_tag = one_transaction_per_tag
        self.sign = sign
        self.now = now
        #: Cycles of each charge point since its boot.
        self.played: Counter[str] = Counter()

    async def begin(self, charge_point: ChargePoint) -> None:
        """Do with a charge point that has booted, or is back, what is to be done."""
        if await self.securing.sends_away(charge_point):
            return  # everything begins when it is back
        if charge_point.has_booted:
            del self.played[charge_point.id]
        if self.play is not None:
            await self.play(charge_point)
        elif self.cycles != 0:
            await repeat_anomaly(charge_point, self.cycles, self.played)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return read_options(__doc__, arguments)


async def main(options: argparse.Namespace) -> None:
    """Run the central system until it is cancelled."""
    tls, sign = tls_context(options), signer(options)
    scenario = None if options.scenario is None else Scenario(options.scenario)
    with closing(Ledger(options.db)) as ledger, Recording(options.record, ocpp=True) as recording:
        keep_keys(options, ledger)
        keep_tags(options, ledger.id_tags)
        stage = CentralStage(
            options.benign,
            options.playing,
            recording,
            cycle=send_anomaly,
            invalidate_tag=lambda tag: ledger.id_tags.set(IdTag(tag, AuthorizationStatus.invalid)),
        )

        async def play_and_label(charge_point: ChargePoint) -> None:
            cycles = repeat_anomaly(charge_point, options.cycles, central_system.played)
            await stage.label(charge_point, cycles)

        play: Callable[[ChargePoint], Awaitable[None]] | None = None
        if scenario is not None:
            play = scenario.play
        elif stage.is_set:
            play = stage.play
        elif recording.is_on and not options.no_anomaly:
            play = play_and_label
        central_system = CentralSystem(
            ledger,
            cycles=0 if options.no_anomaly else options.cycles,
            play=play,
            record=stage if stage.listens else None,
            wires=stage.wire,
            securing=Securing(
                rotate_keys=options.rotate_keys, raise_to_profile=options.raise_to_profile
            ),
            one_transaction_per_tag=options.one_transaction_per_tag,
            sign=sign,
        )
        server = OcppServer(central_system.talk, Admission(options.security_profile, ledger), tls)
        terminal = Terminal(central_system.charge_points, ledger.id_tags, id_tag=ID_TAG)
        async with server.listen(options.host, options.port) as listening:
            warn_if_open(options)
            console.ready(f"CSMS WebSocket server running on {address(options, listening)}")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(listening.serve_forever())
                tasks.create_task(stage.run())
                tasks.create_task(terminal.prompt().run())


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    sys.exit(console.run(lambda: main(options)))
