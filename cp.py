#!/usr/bin/env python3
"""An OCPP 1.6-J charge point with one connector, and a charger behind it on the CAN bus.

It takes commands from a central system, passes them on to the charger as CAN frames, and reports
what it hears from the charger. In a terminal it also takes what a driver does: type help.
"""

from __future__ import annotations

import evsim.installed  # noqa: F401 - first: says how to install what is missing

import argparse
import contextlib
import functools
import logging
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
from ocpp.v16 import call_result
from ocpp.v16.enums import (
    Action,
    AvailabilityType,
    DataTransferStatus,
    Reason,
    RemoteStartStopStatus,
    ResetStatus,
    ResetType,
    UnlockStatus,
)

from evsim import console
from evsim.bus import open_bus
from evsim.can_node import CanNode
from evsim.charge_point.assembly import CONNECTOR, ID_ON_ITS_WAY_S, Assembly
from evsim.charge_point.charging_profiles import ProfileError
from evsim.charge_point.credentials import Credentials
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.options import read_options
from evsim.charge_point.restarts import STOP_S
from evsim.charge_point.terminal import verbs
from evsim.charger import PLANTS
from evsim.live.recording import Recording
from evsim.network_faults import FaultyConnection, parse_faults
from evsim.ocpp_client import keep_connected
from evsim.ocpp_link import Connection, after, on
from evsim.prompt import Prompt

# ── Edit me ──────────────────────────────────────────────────────────────────────────────────
VENDOR = "ev-anomaly-sim"
MODEL = "Virtual charger"

log = logging.getLogger("evsim.cp")


class ChargePoint(Assembly):
    """A charge point: OCPP on one side, a charger on the CAN bus on the other."""

    made_by = VENDOR
    built_as = MODEL

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
        if self.restarts.is_ending:
            refusal = "this charge point is about to end"
        elif not self.accepted:
            refusal = "the central system has not accepted this charge point"
        elif connector_id != CONNECTOR:
            refusal = f"there is no connector {connector_id} to start on"
        else:
            refusal = self.charging.refusal(id_tag)
        if charging_profile is not None and not refusal and self.has("SmartCharging"):
            try:
                profile = self.smart_charging.read_for_start(connector_id, charging_profile)
            except ProfileError as error:
                refusal = str(error)
        if refusal:
            log.warning("RemoteStart rejected: %s", refusal)
            return call_result.RemoteStartTransaction(RemoteStartStopStatus.rejected)
        authorize = self.configuration.flag("AuthorizeRemoteTxRequests")
        at_begin = None
        if profile is not None:
            at_begin = functools.partial(self.smart_charging.begin, profile)
        self.charging.start(id_tag, authorize=authorize, at_begin=at_begin)
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

    @on(Action.change_availability)
    def on_change_availability(
        self,
        connector_id: int,
        type: str,  # noqa: A002 - OCPP's name for it
        **_: object,
    ) -> call_result.ChangeAvailability:
        """Take a connector, or with 0 the whole, in or out of service."""
        operative = type == AvailabilityType.operative
        return call_result.ChangeAvailability(self.availability.change(connector_id, operative))

    @on(Action.reset)
    def on_reset(self, **_: object) -> call_result.Reset:
        """Answer first, then start anew."""
        status = ResetStatus.rejected if self.restarts.is_ending else ResetStatus.accepted
        return call_result.Reset(status)

    @after(Action.reset)
    def after_reset(self, type: str, **_: object) -> None:  # noqa: A002 - OCPP's name for it
        """End what goes on, then boot anew."""
        if not self.restarts.is_ending:
            soft = type == ResetType.soft
            self.restarts.begin(Reason.soft_reset if soft else Reason.hard_reset)

    @on(Action.unlock_connector)
    async def on_unlock_connector(
        self, connector_id: int, **_: object
    ) -> call_result.UnlockConnector:
        """Release the cable; a transaction ends first."""
        if connector_id != CONNECTOR or self.hardware.is_fixed_cable:
            return call_result.UnlockConnector(UnlockStatus.not_supported)
        await self.charging.end(Reason.unlock_command, STOP_S)
        if self.hardware.lock_fails:
            return call_result.UnlockConnector(UnlockStatus.unlock_failed)
        self.charging.unlock()
        return call_result.UnlockConnector(UnlockStatus.unlocked)

    @on(Action.get_configuration)
    def on_get_configuration(
        self, key: list[str] | None = None, **_: object
    ) -> call_result.GetConfiguration:
        """Tell the values of the keys asked for, or of all."""
        known, unknown = self.configuration.read(key)
        return call_result.GetConfiguration(known or None, unknown or None)

    @on(Action.change_configuration)
    def on_change_configuration(
        self, key: str, value: str, **_: object
    ) -> call_result.ChangeConfiguration:
        """Take a key's new value."""
        return call_result.ChangeConfiguration(self.configuration.change(key, value))

    @after(Action.change_configuration)
    async def after_change_configuration(self, **_: object) -> None:
        """Connect anew with what was changed of the credentials."""
        await self.use_new_credentials()

    @on(Action.clear_cache)
    def on_clear_cache(self, **_: object) -> call_result.ClearCache:
        """Forget what the central system has said of id tags."""
        return call_result.ClearCache(self.cache.clear())

    @on(Action.data_transfer)
    def on_data_transfer(self, **_: object) -> call_result.DataTransfer:
        """Know no vendor's extensions."""
        return call_result.DataTransfer(DataTransferStatus.unknown_vendor_id)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    return read_options(__doc__, arguments)


async def main(options: argparse.Namespace) -> None:
    """Run the charge point until it is cancelled."""
    faults = parse_faults(options.network_faults or "")
    rng = np.random.default_rng(options.seed)
    ledger = Ledger(options.state / f"charge_point_{quote(options.id, safe='')}.sqlite")
    bus = open_bus(options.can_interface, options.can_channel)
    with contextlib.closing(ledger), CanNode(bus) as node:
        credentials = Credentials(options.id, options, ledger)
        charge_point = ChargePoint(
            options.id,
            node=node,
            ledger=ledger,
            plant=PLANTS[options.plant],
            credentials=credentials,
            hardware=options.hardware,
            configuration=options.configuration,
            meter_interval_s=options.meter_interval,
        )
        said = False

        async def talk(connection: Connection) -> None:
            nonlocal said
            if not said:
                console.ready(f"Connected to CSMS {credentials.endpoint().url}")
            said = True
            faulty = FaultyConnection(connection, faults, rng) if options.network_faults else None
            await charge_point.talk(faulty or connection)

        with Recording(options.record, can=True) as recording:
            if recording.is_on:
                node.taps.append(functools.partial(recording.can, options.id))
            await charge_point.run(
                Prompt("cp", verbs(charge_point)).run(),
                charge_point.maintenance.remember_log(),
                keep_connected(
                    charge_point.endpoint,
                    talk,
                    rng=np.random.default_rng(),
                    on_failure=charge_point.maintenance.on_no_connection,
                ),
                node.watch(),
                recording.watch(),
            )


if __name__ == "__main__":
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    sys.exit(console.run(lambda: main(options)))
