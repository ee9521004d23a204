#!/usr/bin/env python3
"""An OCPP 1.6-J charge point with one connector, and a charger behind it on the CAN bus.

It takes commands from a central system, passes them on to the charger as CAN frames, and reports
what it hears from the charger.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import asyncio
import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import numpy as np
from ocpp.v16 import call_result
from ocpp.v16.enums import (
    Action,
    AuthorizationStatus,
    ChargePointStatus,
    ChargingRateUnitType,
    ConfigurationStatus,
    DataTransferStatus,
    Reason,
    RemoteStartStopStatus,
)

from evsim import console
from evsim.bus import add_bus_arguments, open_bus
from evsim.can_node import CanNode
from evsim.charge_point.charging_profiles import (
    RATE_UNITS,
    Profile,
    ProfileError,
    ProfileRules,
)
from evsim.charge_point.connector import Connector
from evsim.charge_point.credentials import (
    AUTHORIZATION_KEY,
    SECURITY_PROFILE,
    Credentials,
    add_security_arguments,
)
from evsim.charge_point.delivery import Delivery
from evsim.charge_point.features.smart_charging import SmartCharging, rate_units
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.profile_store import ProfileStore
from evsim.charge_point.session import SessionLink
from evsim.charge_point.transaction import Transaction
from evsim.charger import DEFAULT_PLANT, PLANTS, Plant
from evsim.clock import Clock, to_ocpp, utc_now
from evsim.live.options import add_record_argument
from evsim.live.recording import Recording
from evsim.network_faults import FaultyConnection, parse_faults
from evsim.ocpp_client import keep_connected
from evsim.ocpp_link import Connection, after, on
from evsim.sqlite import state_directory
from evsim.text import is_charge_point_id

# ── Edit me ──────────────────────────────────────────────────────────────────────────────────
VENDOR = "ev-anomaly-sim"
MODEL = "Virtual charger"
CONNECTOR = 1
ANSWER_S = 10.0  # how long a StartTransaction's answer is waited for before charging offline
ID_ON_ITS_WAY_S = (
    3.0  # how long a RemoteStop waits for the id that StartTransaction's answer brings
)
STOP_BEFORE_EXIT_S = 3.0  # how long an exit waits for the StopTransaction to be answered

log = logging.getLogger("evsim.cp")


class ChargePoint(SessionLink):
    """A charge point: OCPP on one side, a charger on the CAN bus on the other."""

    def __init__(
        self,
        charge_point_id: str,
        *,
        node: CanNode,
        ledger: Ledger,
        plant: Plant,
        credentials: Credentials | None = None,
        meter_interval_s: float = 1.0,
        units: frozenset[ChargingRateUnitType] = RATE_UNITS,
        now: Clock = utc_now,
        message_ids: Callable[[], object] = uuid4,
    ) -> None:
        super().__init__(
            charge_point_id, vendor=VENDOR, model=MODEL, now=now, message_ids=message_ids
        )
        self.ledger = ledger
        self.credentials = credentials
        self.meter_interval_s = meter_interval_s
        self.delivery = Delivery(ledger, self.call, self.on_start_answered)
        self.connector = Connector(
            CONNECTOR,
            plant,
            ProfileStore(ledger.database, ProfileRules(plant, CONNECTOR, units)),
            send=node.send,
            report=self.report_status,
            now=now,
            register_wh=ledger.register_wh,
        )
        node.on_frame = self.connector.hear
        self.smart_charging = SmartCharging(
            self.connector, now=now, id_on_its_way_s=ID_ON_ITS_WAY_S
        )
        self.add_handlers(self.smart_charging)
        self._tasks = asyncio.TaskGroup()
        self._charging: asyncio.Task[None] | None = None
        self._connect_anew = False
        self._ending = False
        self.report_status(0, ChargePointStatus.available)
        self.report_status(CONNECTOR, self.connector.status)

    # ── What the central system asks ─────────────────────────────────────────────────────────

    @on(Action.remote_start_transaction)
    def on_remote_start(
        self,
        id_tag: str,
        connector_id: int = CONNECTOR,
        charging_profile: Mapping[str, Any] | None = None,
        **_: object,
    ) -> call_result.RemoteStartTransaction:
        """Answer first, then start."""
        refusal, profile = "", None
        if self._ending:
            refusal = "this charge point is about to end"
        elif not self.accepted:
            refusal = "the central system has not accepted this charge point"
        elif connector_id != CONNECTOR:
            refusal = f"there is no connector {connector_id} to start on"
        elif self.connector.status != ChargePointStatus.available:
            refusal = f"connector {CONNECTOR} is {self.connector.status}"
        elif charging_profile is not None:
            try:
                profile = self.smart_charging.read_for_start(connector_id, charging_profile)
            except ProfileError as error:
                refusal = str(error)
        if refusal:
            log.warning("RemoteStart rejected: %s", refusal)
            return call_result.RemoteStartTransaction(RemoteStartStopStatus.rejected)
        self.connector.enter(ChargePointStatus.preparing)
        self._charging = self._tasks.create_task(self.charge(id_tag, profile))
        return call_result.RemoteStartTransaction(RemoteStartStopStatus.accepted)

    @on(Action.remote_stop_transaction)
    async def on_remote_stop(
        self, transaction_id: int, **_: object
    ) -> call_result.RemoteStopTransaction:
        """Stop the running transaction, if it is that one."""
        transaction = self.connector.transaction
        if transaction is not None:
            await transaction.wait_for_id(ID_ON_ITS_WAY_S)
        if transaction is None or transaction.transaction_id != transaction_id:
            log.warning("RemoteStop rejected: transaction %s is not running here", transaction_id)
            return call_result.RemoteStopTransaction(RemoteStartStopStatus.rejected)
        transaction.end(Reason.remote)
        return call_result.RemoteStopTransaction(RemoteStartStopStatus.accepted)

    @on(Action.change_configuration)
    def on_change_configuration(
        self, key: str, value: str, **_: object
    ) -> call_result.ChangeConfiguration:
        """Take a new AuthorizationKey or a higher SecurityProfile; no other key is known yet."""
        if self.credentials is None or key not in (AUTHORIZATION_KEY, SECURITY_PROFILE):
            return call_result.ChangeConfiguration(ConfigurationStatus.not_supported)
        if key == AUTHORIZATION_KEY:
            taken = self.credentials.change_key(value)
        else:
            taken = self.credentials.raise_profile(value)
        self._connect_anew = self._connect_anew or taken
        return call_result.ChangeConfiguration(
            ConfigurationStatus.accepted if taken else ConfigurationStatus.rejected
        )

    @after(Action.change_configuration)
    async def after_change_configuration(self, **_: object) -> None:
        """Connect anew with what was changed."""
        if self._connect_anew:
            self._connect_anew = False
            await self.disconnect("credentials changed")

    @on(Action.data_transfer)
    def on_data_transfer(self, **_: object) -> call_result.DataTransfer:
        """Know no vendor's extensions."""
        return call_result.DataTransfer(DataTransferStatus.unknown_vendor_id)

    # ── One transaction ──────────────────────────────────────────────────────────────────────

    async def charge(self, id_tag: str, profile: Profile | None = None) -> None:
        """Run a transaction from its start to its end, under the profile that came with it."""
        connector, started_at = self.connector, self.now()
        meter_wh = round(connector.read_meter_wh())
        local_id = self.ledger.begin(CONNECTOR, id_tag, meter_wh, started_at)
        transaction = connector.transaction = Transaction(local_id, id_tag, started_at)
        self.delivery.wake()
        if profile is not None:
            self.smart_charging.begin(profile)
        await transaction.wait_for_id(ANSWER_S)  # without it, the charging goes on offline
        if not transaction.stop.done():
            await connector.start()

        reason = await transaction.stop

        connector.stop()
        connector.enter(ChargePointStatus.finishing)
        register_wh = connector.read_meter_wh()
        self.ledger.end(local_id, reason=reason, register_wh=register_wh, at=self.now())
        self.delivery.wake()
        connector.transaction = None
        connector.profiles.end_transaction()
        connector.apply_limit(again=False)
        log.info("transaction %s ended: %s", transaction.transaction_id, reason)
        connector.enter(ChargePointStatus.available)

    def on_start_answered(self, local_id: int, answer: call_result.StartTransaction | None) -> None:
        """Take the transaction's id from the central system, and its word on the id tag."""
        transaction = self.connector.transaction
        if transaction is None or transaction.local_id != local_id:
            return  # it has ended meanwhile
        if answer is None:
            transaction.end(Reason.other)
            return
        transaction.transaction_id = answer.transaction_id
        log.info("transaction %s started", answer.transaction_id)
        id_tag_info: Any = answer.id_tag_info  # a dict, whatever its annotation says
        if id_tag_info["status"] != AuthorizationStatus.accepted:
            log.warning("id tag %s is refused", transaction.id_tag)
            transaction.end(Reason.de_authorized)
        transaction.decided.set()

    async def sample_meter(self) -> None:
        """Queue the meter values of a running transaction once an interval, without drift."""
        loop, connector = asyncio.get_running_loop(), self.connector
        due_s = loop.time()
        while True:
            due_s = max(due_s + self.meter_interval_s, loop.time())
            await asyncio.sleep(due_s - loop.time())
            if connector.transaction is None or not connector.charger.charging:
                continue
            register_wh = connector.meter.register_wh  # as of the last reading, like its current
            values = {
                "timestamp": to_ocpp(self.now()),
                "sampled_value": connector.meter.sampled_values(),
            }
            payload = {"connector_id": CONNECTOR, "meter_value": [values]}
            self.ledger.meter_values(connector.transaction.local_id, payload, register_wh)
            self.delivery.wake()

    def on_accepted(self) -> None:
        """Send the transaction messages that wait."""
        self.delivery.resume()

    def on_disconnected(self) -> None:
        """Go on offline."""
        self.delivery.pause()
        if self.connector.transaction is not None:
            self.connector.transaction.decided.set()

    # ── The whole ────────────────────────────────────────────────────────────────────────────

    def recover(self) -> None:
        """End what was running when the program was killed, and the charging with it."""
        self.connector.stop()
        for old in self.ledger.open_transactions():
            log.warning("a transaction of %s was left open; ending it", to_ocpp(old.started_at))
            self.ledger.end(
                old.local_id,
                reason=Reason.power_loss,
                register_wh=self.ledger.register_wh,
                at=self.now(),
            )

    async def run(self, *services: Coroutine[Any, Any, None]) -> None:
        """Do everything, and `services`, until cancelled; stop the charging before the end."""
        async with self._tasks as tasks:
            for service in (
                *services,
                self.delivery.run(),
                self.connector.follow_profiles(),
                self.connector.watch_charger(),
                self.sample_meter(),
            ):
                tasks.create_task(service)
            try:
                self.recover()  # the tasks begin when this waits for the first time
                await asyncio.Event().wait()
            finally:
                await self._stop_before_exit()

    async def _stop_before_exit(self) -> None:
        self._ending = True
        if self.connector.transaction is not None:
            self.connector.transaction.end(Reason.reboot)
        if self._charging is not None:
            await asyncio.wait([self._charging], timeout=STOP_BEFORE_EXIT_S)
        self.connector.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_BEFORE_EXIT_S if self.connected else 0):
                await self.delivery.all_sent()
        if self.ledger.waiting:
            log.warning("%d messages will be sent after the next start", self.ledger.waiting)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__, "./cp.py --id CP_2 --url ws://127.0.0.1:9000")
    parser.add_argument("--id", default="CP_1", help="charge point id (default: %(default)s)")
    parser.add_argument(
        "--url",
        default="ws://127.0.0.1:9000",
        help="central system, without the charge point id (default: %(default)s)",
    )
    parser.add_argument(
        "--meter-interval",
        type=console.positive,
        default=1.0,
        metavar="S",
        help="between MeterValues in a transaction (default: %(default)s s)",
    )
    parser.add_argument(
        "--plant",
        choices=PLANTS,
        default=DEFAULT_PLANT,
        help="the charger's kind, for voltage and phases (default: %(default)s)",
    )
    parser.add_argument(
        "--rate-units",
        type=rate_units,
        default=RATE_UNITS,
        metavar="UNITS",
        help="of the limits that charging profiles may have: A, W or A,W (default: A,W)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=state_directory(),
        metavar="DIR",
        help="where transactions are kept until they are delivered (default: %(default)s)",
    )
    parser.add_argument(
        "--network-faults",
        metavar="SPEC",
        help='trouble on the OCPP link, e.g. "latency=80ms,jitter=40ms,loss=5min,duplicate=1%%,'
        'reorder=1%%,throttle=2kB/s" (default: none)',
    )
    parser.add_argument(
        "--seed", type=console.seed, default=1, help="of --network-faults (default: %(default)s)"
    )
    add_record_argument(parser, "record the CAN bus in DIR/can.log")
    add_bus_arguments(parser)
    add_security_arguments(parser)
    options = parser.parse_args(arguments)
    if not is_charge_point_id(options.id):
        parser.error(f"argument --id: {options.id!r} is not 1 to 48 printable characters")
    return options


async def main(options: argparse.Namespace) -> None:
    """Run the charge point until it is cancelled."""
    faults = parse_faults(options.network_faults or "")
    rng = np.random.default_rng(options.seed)
    ledger = Ledger(options.state / f"charge_point_{quote(options.id, safe='')}.sqlite")
    with contextlib.closing(ledger):
        credentials = Credentials(options.id, options, ledger)
        node = CanNode(open_bus(options.can_interface, options.can_channel))
        charge_point = ChargePoint(
            options.id,
            node=node,
            ledger=ledger,
            plant=PLANTS[options.plant],
            credentials=credentials,
            meter_interval_s=options.meter_interval,
            units=options.rate_units,
        )
        said = False

        async def talk(connection: Connection) -> None:
            nonlocal said
            if not said:
                console.ready(f"Connected to CSMS {credentials.endpoint().url}")
            said = True
            faulty = FaultyConnection(connection, faults, rng) if options.network_faults else None
            await charge_point.talk(faulty or connection)

        with Recording(options.record, can=True) as recording, node:
            if recording.is_on:
                node.taps.append(functools.partial(recording.can, options.id))
            await charge_point.run(
                keep_connected(credentials.endpoint, talk, rng=np.random.default_rng()),
                node.watch(),
                recording.watch(),
            )


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    sys.exit(console.run(lambda: main(options)))
