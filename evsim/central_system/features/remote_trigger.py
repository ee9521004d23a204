"""RemoteTrigger: a message is to be sent now."""

from __future__ import annotations

from ocpp.v16 import call, call_result
from ocpp.v16.enums import MessageTrigger

from evsim.central_system.features.asking import Asking, chosen


class TriggerCommands(Asking):
    """What a central system asks about messages; report() then awaits them."""

    async def trigger(
        self, message: str, connector_id: int | None = None
    ) -> call_result.TriggerMessage:
        """Have it send a message, e.g. StatusNotification."""
        kind = chosen(MessageTrigger, message)
        answer: call_result.TriggerMessage = await self.ask(
            call.TriggerMessage(kind, connector_id), f"the trigger of {kind}"
        )
        return answer

    async def extended_trigger(
        self, message: str, connector_id: int | None = None
    ) -> call_result.ExtendedTriggerMessage:
        """Have it send one of the messages that the security extension knows as well."""
        kind = chosen(MessageTrigger, message)
        answer: call_result.ExtendedTriggerMessage = await self.ask(
            call.ExtendedTriggerMessage(kind, connector_id), f"the extended trigger of {kind}"
        )
        return answer
