"""What a central system asks of a charge point, as methods that fail loudly."""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ocpp.v16 import call
from ocpp.v16.enums import Action, ConfigurationStatus, ResetType

from evsim.central_system.features.core import CoreCommands
from evsim.central_system.features.firmware import FirmwareCommands
from evsim.central_system.features.local_list import LocalListCommands
from evsim.central_system.features.remote_trigger import TriggerCommands
from evsim.central_system.features.reservation import ReservationCommands
from evsim.central_system.features.security import SecurityCommands, Signer
from evsim.central_system.features.smart_charging import SmartChargingCommands
from evsim.central_system.ledger import Ledger
from evsim.central_system.profiles import checked_profile
from evsim.errors import RefusedError
from evsim.rate_limit import Rate
from evsim.security import KEY_BYTES, digest

#: Transactions of one charge point that are kept in mind; it may invent more.
MOST_RUNNING = 100
#: Connectors of one charge point whose status is kept in mind; it may invent more.
MOST_CONNECTORS = 100
#: A StartTransaction that is not there so soon after the start was accepted is no matter yet.
SOON_S = 0.5

log = logging.getLogger("evsim.csms")


class Station(
    CoreCommands,
    FirmwareCommands,
    LocalListCommands,
    ReservationCommands,
    SecurityCommands,
    SmartChargingCommands,
    TriggerCommands,
):
    """A connected charge point, as a central system commands it.

    All methods raise RefusedError if the charge point says no, and what call() raises. What is
    here is about transactions and keys; the feature profiles bring the rest.

    :param answer_timeout_s: for each answer.
    :param transaction_timeout_s: for the StartTransaction or StopTransaction that must follow, and
        for other reports that are awaited.
    :param watts_per_a: of a charge point that takes limits in watts only and does not measure.
    :param sign: signs certificate requests; None refuses them.
    """

    def __init__(
        self,
        charge_point_id: str,
        *,
        ledger: Ledger,
        rate: Rate,
        answer_timeout_s: float = 10.0,
        transaction_timeout_s: float = 10.0,
        watts_per_a: float = 400.0,
        sign: Signer | None = None,
        message_ids: Callable[[], object] = uuid.uuid4,
    ) -> None:
        super().__init__(
            charge_point_id,
            response_timeout=answer_timeout_s,
            rate=rate,
            watts_per_a=watts_per_a,
            sign=sign,
            message_ids=message_ids,
        )
        self.ledger = ledger
        self.transaction_timeout_s = transaction_timeout_s
        #: Transactions that have not been stopped, as recorded or as its meter values name them.
        self.running = set(ledger.open_transactions(charge_point_id)[-MOST_RUNNING:])
        #: The last status of each connector that it has told over this connection.
        self.statuses: dict[int, str] = {}
        self._started: asyncio.Future[int] | None = None
        self._start_asked: tuple[int, str] | None = None
        self._start_accepted_at_s = 0.0
        self._stopped = asyncio.Event()

    def note_status(self, connector_id: int, status: str, error_code: str) -> None:
        """Take note of a StatusNotification."""
        if connector_id in self.statuses or len(self.statuses) < MOST_CONNECTORS:
            self.statuses[connector_id] = status
        self.note(
            Action.status_notification,
            connector_id=connector_id,
            status=status,
            error_code=error_code,
        )

    def note_running(self, transaction_id: int) -> None:
        """Keep in mind that a transaction runs, unless it has invented too many."""
        if len(self.running) < MOST_RUNNING:
            self.running.add(transaction_id)

    def note_started(self, connector_id: int, id_tag: str, transaction_id: int) -> None:
        """Take note of a StartTransaction; remote_start() may have asked for it."""
        self.note_running(transaction_id)
        asked_for = self._start_asked == (connector_id, id_tag.lower())
        self.note(
            Action.start_transaction,
            connector_id=connector_id,
            id_tag=id_tag,
            transaction_id=transaction_id,
        )
        if asked_for and self._started is not None and not self._started.done():
            self._started.set_result(transaction_id)

    def note_meter_values(
        self,
        connector_id: int,
        transaction_id: int | None,
        meter_value: list[Mapping[str, Any]],
    ) -> None:
        """Take note of the meter values of a connector: what runs there, and what was measured."""
        if transaction_id is not None and not self.ledger.is_stopped(self.id, transaction_id):
            self.note_running(transaction_id)
        self.note(Action.meter_values, connector_id=connector_id, transaction_id=transaction_id)
        for value in meter_value:
            self.note_sampled_values(value["sampled_value"])
            readings = ", ".join(
                f"{sample['value']} {sample.get('unit', 'Wh')}" for sample in value["sampled_value"]
            )
            log.debug("%s: connector %d: %s", self.id, connector_id, readings)

    def note_stopped(self, transaction_id: int, reason: str) -> None:
        """Take note of a StopTransaction."""
        self.running.discard(transaction_id)
        self.note(Action.stop_transaction, transaction_id=transaction_id, reason=reason)
        self._stopped.set()

    async def remote_start(
        self, id_tag: str, connector_id: int = 1, profile: Mapping[str, Any] | None = None
    ) -> None:
        """Start a transaction; RefusedError if it won't.

        :param profile: for this transaction; UserError unless OCPP allows it.
        """
        if profile is not None:
            profile = checked_profile(profile, connector_id, at_start=True)
        self._started = asyncio.get_running_loop().create_future()
        self._start_asked = (connector_id, id_tag.lower())
        log.info("%s: start", self.id)
        await self.ask(call.RemoteStartTransaction(id_tag, connector_id, profile), "the start")
        self._start_accepted_at_s = asyncio.get_running_loop().time()

    async def started_transaction(self) -> int:
        """Give the id of the transaction that remote_start() began; wait for it if need be.

        Raises RefusedError if it doesn't come within self.transaction_timeout_s.
        """
        if self._started is None:
            raise RefusedError("no start was asked for")
        if self._started.done():
            return self._started.result()
        if asyncio.get_running_loop().time() - self._start_accepted_at_s > SOON_S:
            log.warning(
                "%s: no StartTransaction yet; waiting for it up to %g s",
                self.id,
                self.transaction_timeout_s,
            )
        try:
            async with asyncio.timeout(self.transaction_timeout_s):
                return await asyncio.shield(self._started)
        except TimeoutError:
            raise RefusedError(
                f"no StartTransaction within {self.transaction_timeout_s:g} s of an accepted start"
            ) from None

    async def remote_stop(self, transaction_id: int) -> None:
        """Stop a transaction; RefusedError if it won't."""
        log.info("%s: stop transaction %d", self.id, transaction_id)
        await self.ask(
            call.RemoteStopTransaction(transaction_id), f"the stop of transaction {transaction_id}"
        )

    async def stop_all_transactions(self) -> None:
        """Bring it to a known state: no transaction running."""
        for transaction_id in sorted(self.running):
            log.info("%s: transaction %d is still running", self.id, transaction_id)
            try:
                await self.remote_stop(transaction_id)
                async with asyncio.timeout(self.transaction_timeout_s):
                    while transaction_id in self.running:
                        self._stopped.clear()
                        await self._stopped.wait()
            except RefusedError:
                # It runs no such transaction; its StopTransaction may still come.
                self.running.discard(transaction_id)

    async def rotate_key(self) -> ConfigurationStatus:
        """Give it a new AuthorizationKey; RefusedError if it won't take it."""
        return await self.give_key(secrets.token_bytes(KEY_BYTES[-1]))

    async def give_key(self, key: bytes) -> ConfigurationStatus:
        """Give it this AuthorizationKey, which opens from then on; RefusedError if it won't.

        With RebootRequired both keys open until it comes with the new one.
        """
        self.ledger.offer_key(self.id, digest(key))
        answer = await self.call(call.ChangeConfiguration("AuthorizationKey", key.hex()))
        if answer.status == ConfigurationStatus.reboot_required:
            log.info("%s: has a new AuthorizationKey, for when it has been reset", self.id)
            return ConfigurationStatus.reboot_required
        if answer.status != ConfigurationStatus.accepted:
            self.ledger.withdraw_key(self.id)
            raise RefusedError(f"the new AuthorizationKey was answered with {answer.status}")
        self.ledger.adopt_key(self.id)
        log.info("%s: has a new AuthorizationKey", self.id)
        return ConfigurationStatus.accepted

    async def raise_security_profile(self, profile: int) -> ConfigurationStatus:
        """Let it connect with a higher security profile; RefusedError if it won't."""
        answer = await self.ask(
            call.ChangeConfiguration("SecurityProfile", str(profile)),
            f"security profile {profile}",
            ConfigurationStatus.accepted,
            ConfigurationStatus.reboot_required,
        )
        log.info("%s: goes over to security profile %d", self.id, profile)
        return ConfigurationStatus(answer.status)

    async def secure(self, *, rotate_key: bool, raise_to_profile: int | None) -> None:
        """Give it new credentials, with which it then connects anew; RefusedError if it won't."""
        answers = set()
        if rotate_key:
            answers.add(await self.rotate_key())
        if raise_to_profile is not None:
            answers.add(await self.raise_security_profile(raise_to_profile))
        if ConfigurationStatus.reboot_required in answers:
            await self.reset(ResetType.hard)
