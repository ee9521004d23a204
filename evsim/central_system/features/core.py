"""Core: availability, configuration, the cache, data transfer, reset and unlock."""

from __future__ import annotations

import logging

from ocpp.v16 import call, call_result
from ocpp.v16.enums import (
    AvailabilityStatus,
    AvailabilityType,
    ConfigurationStatus,
    ResetType,
    UnlockStatus,
)

from evsim.central_system.features.asking import Asking, chosen

log = logging.getLogger("evsim.csms")


class CoreCommands(Asking):
    """What the Core profile lets a central system ask, but for transactions."""

    async def change_availability(
        self, connector_id: int, availability_type: str
    ) -> call_result.ChangeAvailability:
        """Make it Operative or Inoperative; Scheduled, while a transaction runs, is a yes."""
        kind = chosen(AvailabilityType, availability_type)
        log.info("%s: connector %d is to be %s", self.id, connector_id, kind)
        answer: call_result.ChangeAvailability = await self.ask(
            call.ChangeAvailability(connector_id, kind),
            f"that connector {connector_id} be {kind}",
            AvailabilityStatus.accepted,
            AvailabilityStatus.scheduled,
        )
        return answer

    async def get_configuration(self, *keys: str) -> call_result.GetConfiguration:
        """Read configuration keys, all of them without a name; unknown ones are no refusal."""
        answer: call_result.GetConfiguration = await self.call(
            call.GetConfiguration(list(keys) or None)
        )
        return answer

    async def change_configuration(self, key: str, value: str) -> call_result.ChangeConfiguration:
        """Set a configuration key; RebootRequired is a yes."""
        answer: call_result.ChangeConfiguration = await self.ask(
            call.ChangeConfiguration(key, value),
            f"the change of {key}",
            ConfigurationStatus.accepted,
            ConfigurationStatus.reboot_required,
        )
        return answer

    async def clear_cache(self) -> call_result.ClearCache:
        """Let it forget the id tags that it has seen."""
        answer: call_result.ClearCache = await self.ask(
            call.ClearCache(), "the clearing of the cache"
        )
        return answer

    async def data_transfer(
        self, vendor_id: str, message_id: str | None = None, data: str | None = None
    ) -> call_result.DataTransfer:
        """Send what OCPP doesn't know."""
        answer: call_result.DataTransfer = await self.ask(
            call.DataTransfer(vendor_id, message_id, data), f"the data for {vendor_id}"
        )
        return answer

    async def reset(self, reset_type: str = ResetType.soft) -> call_result.Reset:
        """Let it start anew, Soft or Hard; it is gone for a while."""
        kind = chosen(ResetType, reset_type)
        log.info("%s: %s reset", self.id, kind.lower())
        answer: call_result.Reset = await self.ask(call.Reset(kind), f"the {kind.lower()} reset")
        return answer

    async def unlock(self, connector_id: int = 1) -> call_result.UnlockConnector:
        """Release the cable; that ends a transaction."""
        log.info("%s: unlock connector %d", self.id, connector_id)
        answer: call_result.UnlockConnector = await self.ask(
            call.UnlockConnector(connector_id),
            f"the unlocking of connector {connector_id}",
            UnlockStatus.unlocked,
        )
        return answer
