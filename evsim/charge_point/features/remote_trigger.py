"""The RemoteTrigger profile: messages that are sent because the central system asks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ocpp.v16 import call_result
from ocpp.v16.enums import Action, TriggerMessageStatus

from evsim.ocpp_link import after, on

#: Sends a message about a connector; None: about all that there are.
Trigger = Callable[[int | None], Awaitable[None]]


class RemoteTrigger:
    """Answers TriggerMessage; the answer goes before the message.

    :param triggers: by the name of the message.
    :param connectors: from 1 to so many.
    """

    def __init__(self, triggers: Mapping[str, Trigger], connectors: int) -> None:
        self._triggers = triggers
        self._connectors = connectors

    @on(Action.trigger_message)
    def on_trigger_message(
        self, requested_message: str, connector_id: int | None = None, **_: object
    ) -> call_result.TriggerMessage:
        """Say whether it will be sent."""
        if requested_message not in self._triggers:
            return call_result.TriggerMessage(TriggerMessageStatus.not_implemented)
        if connector_id is not None and not 0 < connector_id <= self._connectors:
            return call_result.TriggerMessage(TriggerMessageStatus.rejected)
        return call_result.TriggerMessage(TriggerMessageStatus.accepted)

    @after(Action.trigger_message)
    async def after_trigger_message(
        self, requested_message: str, connector_id: int | None = None, **_: object
    ) -> None:
        """Send it, if that was said."""
        answer = self.on_trigger_message(requested_message, connector_id)
        if answer.status == TriggerMessageStatus.accepted:
            await self._triggers[requested_message](connector_id)
