"""The parts of a charge point, put together; cp.py answers the messages of the Core profile."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar
from uuid import uuid4

from ocpp.v16 import call, call_result
from ocpp.v16.enums import (
    ChargePointErrorCode,
    ChargePointStatus,
    MessageTrigger,
    Reason,
)

from evsim.can_node import CanNode
from evsim.charge_point.authorization import Authorizer
from evsim.charge_point.authorization_cache import AuthorizationCache
from evsim.charge_point.availability import Availability
from evsim.charge_point.charging import Charging
from evsim.charge_point.charging_profiles import RATE_UNIT_KEY, ProfileRules, rate_units_of
from evsim.charge_point.configuration import Configuration
from evsim.charge_point.connector import Connector
from evsim.charge_point.connector_status import FAULT_CODES, Fault
from evsim.charge_point.credentials import Credentials
from evsim.charge_point.delivery import Delivery
from evsim.charge_point.features.local_auth_list import LocalAuthListManagement
from evsim.charge_point.features.remote_trigger import RemoteTrigger, Trigger
from evsim.charge_point.features.reservation import ReservationProfile
from evsim.charge_point.features.smart_charging import SmartCharging
from evsim.charge_point.hardware import USUAL, Hardware
from evsim.charge_point.ledger import Ledger
from evsim.charge_point.local_list import LocalList
from evsim.charge_point.maintenance import Maintenance
from evsim.charge_point.metering import SAMPLE_INTERVAL, Metering
from evsim.charge_point.profile_store import ProfileStore
from evsim.charge_point.reservations import Reservations
from evsim.charge_point.restarts import Restarts
from evsim.charge_point.security_events import SecurityEvent
from evsim.charge_point.session import SessionLink
from evsim.charger import Plant
from evsim.clock import Clock, to_ocpp, utc_now
from evsim.errors import UserError
from evsim.ocpp_client import Endpoint

#: The only connector.
CONNECTOR = 1
#: How long what names a transaction waits for its id, which StartTransaction's answer brings.
ID_ON_ITS_WAY_S = 3.0

log = logging.getLogger("evsim.charge_point")


class Assembly(SessionLink):
    """A charge point but for its answers to the Core profile's messages.

    A subclass says who made it: `made_by` and `built_as` go into the BootNotification.

    :param configuration: values of configuration keys until the central system changes them.
    :param meter_interval_s: between samples, unless `configuration` or the central system has said
        otherwise; unlike MeterValueSampleInterval, any number.
    """

    made_by: ClassVar[str]
    built_as: ClassVar[str]

    def __init__(
        self,
        charge_point_id: str,
        *,
        node: CanNode,
        ledger: Ledger,
        plant: Plant,
        credentials: Credentials | None = None,
        hardware: Hardware = USUAL,
        configuration: Mapping[str, str] | None = None,
        meter_interval_s: float = 1.0,
        now: Clock = utc_now,
        message_ids: Callable[[], object] = uuid4,
    ) -> None:
        super().__init__(
            charge_point_id,
            vendor=self.made_by,
            model=self.built_as,
            now=now,
            message_ids=message_ids,
        )
        self.ledger = ledger
        self.hardware = hardware
        interval_s = str(math.ceil(meter_interval_s))  # samples may come faster than a key can say
        self.configuration = Configuration(
            ledger.database, initial={SAMPLE_INTERVAL: interval_s, **(configuration or {})}
        )
        self.heartbeat_s = float(self.configuration.number("HeartbeatInterval"))
        self.configuration.provide(self.heartbeat_key())
        self._credentials = credentials
        if credentials is not None:
            for key in credentials.configuration_keys():
                self.configuration.provide(key)
                self.configuration.listen(key.name, self._note_new_credentials)
        self.delivery = Delivery(
            ledger, self.configuration, self.call, self._on_start_answered, self._on_id_tag_info
        )
        units = rate_units_of(self.configuration.words(RATE_UNIT_KEY))
        self.connector = Connector(
            CONNECTOR,
            plant,
            ProfileStore(ledger.database, ProfileRules(plant, CONNECTOR, units)),
            send=node.send,
            report=self._note_status,
            now=now,
            register_wh=ledger.register_wh,
        )
        node.on_frame = self.connector.hear
        self.metering = Metering(
            self.connector,
            ledger,
            self.configuration,
            interval_s=meter_interval_s,
            now=now,
            send=self.tell,
            queued=self.delivery.wake,
        )
        self._tasks = asyncio.TaskGroup()
        self.local_list = LocalList(ledger.database, self.configuration)
        self.cache = AuthorizationCache(ledger.database, self.configuration)
        self.authorizer = Authorizer(self.configuration, self.local_list, self.cache, now)
        self.reservations = Reservations(
            ledger.database,
            self.configuration,
            status_of=self._status_of,
            on_change=lambda _: self._show_reservations(),
            now=now,
        )
        self.charging = Charging(
            self.connector,
            ledger=ledger,
            delivery=self.delivery,
            metering=self.metering,
            configuration=self.configuration,
            authorizer=self.authorizer,
            online=lambda: self._ask if self.connected and self.accepted else None,
            reservations=self.reservations,
            hardware=hardware,
            now=now,
            tasks=self._tasks,
        )
        self.availability = Availability(
            self.connector,
            self.charging,
            ledger,
            report=functools.partial(self.report_status, 0),
            tasks=self._tasks,
        )
        self.smart_charging = SmartCharging(
            self.connector, now=now, id_on_its_way_s=ID_ON_ITS_WAY_S
        )
        triggers: dict[str, Trigger] = {
            MessageTrigger.boot_notification: lambda _: self.boot_again(),
            MessageTrigger.heartbeat: lambda _: self.heartbeat(),
            MessageTrigger.meter_values: lambda _: self._report_meter(),
            MessageTrigger.status_notification: self.report_statuses_again,
        }
        self.maintenance = Maintenance(
            charge_point_id,
            ledger.database,
            self.configuration,
            send=self.call,
            spawn=self.run_in_background,
            security_profile=lambda: credentials.profile if credentials else 0,
            sections={
                "Status": lambda: [self.status()],
                "Configuration": self._show_configuration,
                "Transactions that run": self._show_transactions,
                "CAN frames": lambda: [f"{kind}: {count}" for kind, count in node.counts.items()],
            },
            triggers=triggers,
            idle=self.availability.quiet,
            reboot=lambda: self.restarts.begin(Reason.reboot),
            on_new_certificate=functools.partial(self.disconnect, "new certificate"),
            revocations=lambda: credentials.revocations() if credentials else None,
            now=now,
        )
        self.firmware_version = self.maintenance.firmware_version
        self.add_handlers(
            LocalAuthListManagement(self.local_list, self.cache),
            ReservationProfile(self.reservations),
            *self.maintenance.parts,
        )
        if self.has("SmartCharging"):
            self.add_handlers(self.smart_charging)
        if self.has("FirmwareManagement"):
            self.add_handlers(self.maintenance.firmware_management)
            triggers |= self.maintenance.triggers
        if self.has("RemoteTrigger"):
            self.add_handlers(RemoteTrigger(triggers, connectors=CONNECTOR))
        self.restarts = Restarts(
            self,
            charging=self.charging,
            delivery=self.delivery,
            availability=self.availability,
            maintenance=self.maintenance,
            hardware=hardware,
            tasks=self._tasks,
        )
        self._connect_anew = False
        self.availability.show()
        self._show_reservations()
        self.report_status(CONNECTOR, self.connector.status)

    def has(self, profile: str) -> bool:
        """Whether it is said to support a feature profile; what it doesn't is NotSupported."""
        return profile in self.configuration.words("SupportedFeatureProfiles")

    # ── What the parts need of each other ────────────────────────────────────────────────────

    def _note_new_credentials(self) -> None:
        self.maintenance.events.note(SecurityEvent.reconfiguration_of_security_parameters)
        self._connect_anew = True

    def endpoint(self) -> Endpoint:
        """Say where and how to connect now. Only for one that has credentials."""
        assert self._credentials is not None
        ping_s = self.configuration.number("WebSocketPingInterval")
        return dataclasses.replace(self._credentials.endpoint(), ping_interval_s=ping_s or None)

    async def use_new_credentials(self) -> None:
        """Connect anew if the central system has changed what we prove ourselves with."""
        if self._connect_anew:
            self._connect_anew = False
            await self.disconnect("credentials changed")

    async def _ask(self, id_tag: str) -> Mapping[str, Any] | None:
        """Ask the central system of an id tag; None if it gives no answer."""
        answer = await self.try_call(call.Authorize(id_tag))
        return None if answer is None else answer.id_tag_info

    def _on_start_answered(
        self, local_id: int, answer: call_result.StartTransaction | None
    ) -> None:
        self.charging.on_start_answered(local_id, answer)

    def _on_id_tag_info(self, id_tag: str, info: Mapping[str, Any]) -> None:
        self.authorizer.hear(id_tag, info)

    async def _report_meter(self) -> None:
        if (request := self.metering.present()) is not None:
            await self.try_call(request)

    def _show_reservations(self) -> None:
        self.connector.change(reserved=self.reservations.is_reserved(CONNECTOR))

    def _note_status(
        self, connector_id: int, status: ChargePointStatus, fault: Fault | None
    ) -> None:
        self.report_status(connector_id, status, fault)
        if status in (ChargePointStatus.faulted, ChargePointStatus.unavailable):
            self.reservations.end_at(connector_id)

    def _status_of(self, connector_id: int) -> ChargePointStatus:
        return self.connector.status if connector_id else self.availability.status

    def _show_configuration(self) -> list[str]:
        known, _ = self.configuration.read(None)
        return [f"{key['key']} = {key.get('value', '')}" for key in known]

    def _show_transactions(self) -> list[str]:
        return [
            f"connector {running.connector_id} since {to_ocpp(running.started_at)}"
            for running in self.ledger.open_transactions()
        ]

    def on_accepted(self) -> None:
        """Send what waits."""
        self.maintenance.on_accepted()
        self.delivery.resume()

    def on_disconnected(self) -> None:
        """Go on offline."""
        self.delivery.pause()
        self.maintenance.on_disconnected()
        if self.connector.transaction is not None:
            self.connector.transaction.decided.set()

    # ── What a driver, and the world, does ───────────────────────────────────────────────────

    def plug(self) -> None:
        """Connect a car; UserError if one is connected."""
        self.charging.plug()

    def unplug(self) -> None:
        """Pull the cable out of the car; UserError if there is none."""
        self.charging.unplug()

    async def tag(self, id_tag: str) -> str:
        """Hold an id tag to the reader; say what came of it. UserError while it is down."""
        if self.is_down:
            raise UserError("the charge point has no power")
        if self.restarts.is_ending:
            raise UserError("the charge point is about to end, or to start anew")
        return await self.charging.tag(id_tag)

    def fault(self, error_code: str) -> None:
        """Let the connector fail; UserError for what is no ChargePointErrorCode."""
        if error_code not in FAULT_CODES:
            raise UserError(f"no fault {error_code!r}; known are: {', '.join(FAULT_CODES)}")
        self.charging.fail(ChargePointErrorCode(error_code))

    def clear(self) -> None:
        """Let the fault be over."""
        self.charging.clear()

    def power_cut(self, *, announced: bool = False) -> None:
        """Be without power for a while; if `announced`, there is time to end the transaction.

        UserError while it is without power, or starting anew.
        """
        self.restarts.cut_power(announced=announced)

    def status(self) -> str:
        """Say in a line what goes on."""
        connector = self.connector
        transaction = connector.transaction
        parts = [
            "no power" if self.is_down else "online" if self.connected else "offline",
            f"connector {CONNECTOR}: {connector.status}",
            "cable in" if connector.occupancy.plugged else "no cable",
            f"{connector.meter.current_a} A of at most {connector.charger.limit.limit_a} A",
            f"{connector.meter.register_wh:.0f} Wh",
        ]
        if transaction is not None:
            parts.append(f"transaction {transaction.transaction_id} of {transaction.id_tag}")
        if self.ledger.waiting:
            parts.append(f"{self.ledger.waiting} messages to be sent")
        return ", ".join(parts)

    # ── The whole ────────────────────────────────────────────────────────────────────────────

    async def run(self, *services: Coroutine[Any, Any, None]) -> None:
        """Do everything, and `services`, until cancelled; stop the charging before the end."""
        async with self._tasks as tasks:
            for service in (
                *services,
                self.delivery.run(),
                self.connector.follow_profiles(),
                self.connector.watch_charger(),
                self.metering.sample(),
                self.metering.follow_clock(),
                self.reservations.run(),
                *self.maintenance.services(),
            ):
                tasks.create_task(service)
            try:
                self.maintenance.events.note(SecurityEvent.startup_of_the_device)
                self.charging.recover()  # the tasks begin when this waits for the first time
                await asyncio.Event().wait()
            finally:
                await self.restarts.exit()
                if self.ledger.waiting:
                    log.warning(
                        "%d messages will be sent after the next start", self.ledger.waiting
                    )
