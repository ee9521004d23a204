"""Security events: what happened is logged on disk, and the central system is told of it.

The events that can really happen to a simulated charge point, by the names that the OCA security
white paper gives them (edition 3, appendix on security events).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from ocpp.v16 import call

from evsim.charge_point.outbox import Outbox
from evsim.clock import Clock, from_ocpp, to_ocpp
from evsim.sqlite import Database
from evsim.text import visible

#: Beyond, the oldest entry is dropped.
MOST_ENTRIES = 10_000
LONGEST_TECH_INFO = 255

_SCHEMA = """
CREATE TABLE IF NOT EXISTS security_log (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    type TEXT NOT NULL,
    tech_info TEXT NOT NULL
)
"""

log = logging.getLogger("evsim.charge_point")


class SecurityEvent(StrEnum):
    """A security event's type."""

    firmware_updated = "FirmwareUpdated"
    failed_to_authenticate_at_central_system = "FailedToAuthenticateAtCentralSystem"
    startup_of_the_device = "StartupOfTheDevice"
    reset_or_reboot = "ResetOrReboot"
    security_log_was_cleared = "SecurityLogWasCleared"
    reconfiguration_of_security_parameters = "ReconfigurationOfSecurityParameters"
    invalid_firmware_signature = "InvalidFirmwareSignature"
    invalid_firmware_signing_certificate = "InvalidFirmwareSigningCertificate"
    invalid_central_system_certificate = "InvalidCentralSystemCertificate"
    invalid_charge_point_certificate = "InvalidChargePointCertificate"


class SecurityEvents:
    """The security log of one charge point, and who tells the central system.

    :param enabled: whether the security extension is in use (security profile 1 or higher): only
        then is the central system told, for many of OCPP 1.6 do not know the message.
    """

    def __init__(
        self, database: Database, outbox: Outbox, *, enabled: Callable[[], bool], now: Clock
    ) -> None:
        database.add_tables(_SCHEMA)
        self._database = database
        self._outbox = outbox
        self._enabled = enabled
        self._now = now

    def note(self, event: SecurityEvent, tech_info: str = "") -> None:
        """Log an event, and tell the central system as soon as that is there."""
        at, tech_info = to_ocpp(self._now()), visible(tech_info)[:LONGEST_TECH_INFO]
        log.info("security event %s%s", event, f": {tech_info}" if tech_info else "")
        with self._database.writing():
            cursor = self._database.execute(
                "INSERT INTO security_log (at, type, tech_info) VALUES (?, ?, ?)",
                (at, event, tech_info),
            )
            self._database.execute(
                "DELETE FROM security_log WHERE number <= ?",
                (int(cursor.lastrowid or 0) - MOST_ENTRIES,),
            )
        if self._enabled():
            self._outbox.put(call.SecurityEventNotification(event, at, tech_info or None))

    def clear(self) -> None:
        """Empty the log, which is an event itself."""
        self._database.write("DELETE FROM security_log", ())
        self.note(SecurityEvent.security_log_was_cleared)

    def lines(self, oldest: datetime | None = None, latest: datetime | None = None) -> list[str]:
        """Give the entries between two moments, both included, the oldest first."""
        rows = self._database.execute(
            "SELECT at, type, tech_info FROM security_log ORDER BY number"
        )
        return [
            f"{at} {event} {tech_info}".rstrip()
            for at, event, tech_info in rows
            if (oldest is None or from_ocpp(at) >= oldest)
            and (latest is None or from_ocpp(at) <= latest)
        ]
