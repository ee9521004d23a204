"""ExtendedTriggerMessage: TriggerMessage with the messages of the security extension."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ocpp.v16 import call_result
from ocpp.v16.enums import Action, MessageTrigger, TriggerMessageStatus

from evsim.charge_point.features.certificates import Certificates
from evsim.charge_point.features.log_upload import LogUpload
from evsim.charge_point.features.remote_trigger import Trigger
from evsim.charge_point.features.signed_firmware import SignedFirmware
from evsim.ocpp_link import after, on


class ExtendedTriggers:
    """Answers first, then sends what is asked for.

    :param triggers: the messages that have nothing to do with security, by the names that
        MessageTrigger has for them.
    :param connectors: how many there are.
    """

    def __init__(
        self,
        *,
        triggers: Mapping[str, Trigger],
        certificates: Certificates,
        signed_firmware: SignedFirmware,
        log_upload: LogUpload,
        connectors: int = 1,
    ) -> None:
        self._connectors = connectors
        self._certificates = certificates
        self._triggers: Mapping[str, Trigger] = {
            **triggers,
            MessageTrigger.firmware_status_notification: lambda _: signed_firmware.report_status(),
            MessageTrigger.log_status_notification: lambda _: log_upload.report_status(),
            MessageTrigger.sign_charge_point_certificate: (
                lambda _: certificates.request_certificate()
            ),
        }
        self._asked: Callable[[], Awaitable[None]] | None = None

    @on(Action.extended_trigger_message)
    def on_extended_trigger_message(
        self, requested_message: str, connector_id: int | None = None, **_: object
    ) -> call_result.ExtendedTriggerMessage:
        """Say whether the message will come."""
        trigger = self._triggers.get(requested_message)
        self._asked = None
        if trigger is None:
            status = TriggerMessageStatus.not_implemented
        elif (
            connector_id is not None and not 0 <= connector_id <= self._connectors
        ) or not self._can(requested_message):
            status = TriggerMessageStatus.rejected
        else:
            status = TriggerMessageStatus.accepted
            self._asked = lambda: trigger(connector_id)
        return call_result.ExtendedTriggerMessage(status)

    @after(Action.extended_trigger_message)
    def after_extended_trigger_message(self, **_: object) -> Awaitable[None] | None:
        """Send it; at once, for the next request may be there already."""
        asked, self._asked = self._asked, None
        return asked() if asked is not None else None

    def _can(self, message: str) -> bool:
        sign = MessageTrigger.sign_charge_point_certificate
        return message != sign or self._certificates.can_request()
