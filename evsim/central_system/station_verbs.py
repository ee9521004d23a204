"""The verbs of a charge point, with words for arguments and for what comes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ocpp.v16.enums import CertificateUse, MessageTrigger, ResetType, UpdateType

from evsim.central_system.station import Station
from evsim.central_system.words import authorization_data, json_object, request, show, whole
from evsim.clock import Clock, from_ocpp
from evsim.errors import UserError
from evsim.ocpp_wire import to_wire
from evsim.security import parse_key

#: Lines of an answer that are shown.
MOST_SHOWN = 100
#: TriggerMessage doesn't know these.
_EXTENDED = {
    MessageTrigger.log_status_notification.lower(),
    MessageTrigger.sign_charge_point_certificate.lower(),
}


class StationVerbs:
    """What can be asked of the charge point that is meant; each gives the line to show.

    All raise UserError for words that make no sense, and what the methods of Station raise.

    :param station: gives that charge point; UserError if there is none.
    :param id_tag: whose transaction `start` starts, unless it is told.
    """

    def __init__(self, station: Callable[[], Station], id_tag: str, now: Clock) -> None:
        self._station = station
        self._id_tag = id_tag
        self._now = now
        self._request_id = 0

    # ── Transactions and limits ──────────────────────────────────────────────────────────────

    async def start(self, id_tag: str = "", connector: str = "1") -> str:
        """Start a transaction and wait for it."""
        station = self._station()
        await station.remote_start(id_tag or self._id_tag, whole(connector))
        return f"transaction {await station.started_transaction()} has started"

    async def stop(self, transaction: str = "") -> str:
        """Stop the running transaction."""
        station = self._station()
        if transaction:
            await station.remote_stop(whole(transaction))
        elif not station.running:
            raise UserError(f"no transaction runs at {station.id}")
        else:
            for number in sorted(station.running):
                await station.remote_stop(number)
        return "Accepted"

    async def limit(self, limit_a: str, connector: str = "1") -> str:
        """Limit the current."""
        try:
            amperes = float(limit_a)
        except ValueError:
            amperes = -1.0
        if not 0 <= amperes < 1e6:
            raise UserError(f"{limit_a!r} is not a current in A")
        await self._station().set_limit(amperes, whole(connector))
        return "Accepted"

    async def profile(self, connector: str, profile: str) -> str:
        """Give it a charging profile."""
        return show(await self._station().set_profile(whole(connector), json_object(profile)))

    async def clear_profile(self, criteria: str = "{}") -> str:
        """Remove charging profiles."""
        wanted = json_object(criteria)
        names = {
            "id": "profile_id",
            "connector_id": "connector_id",
            "charging_profile_purpose": "purpose",
            "stack_level": "stack_level",
        }
        if unknown := wanted.keys() - names:
            raise UserError(f"{', '.join(sorted(unknown))} is no criterion of ClearChargingProfile")
        chosen = {names[name]: value for name, value in wanted.items()}
        return show(await self._station().clear_profiles(**chosen))

    async def composite(self, seconds: str = "3600", connector: str = "1", unit: str = "") -> str:
        """Show what the profiles together allow."""
        answer = await self._station().composite_schedule(
            whole(connector), whole(seconds), unit or None
        )
        schedule: Any = answer.charging_schedule
        rate_unit = schedule["charging_rate_unit"]
        start = answer.schedule_start or schedule.get("start_schedule") or "now"
        periods = [
            f"{period['start_period']:>8} s  {period['limit']:g} {rate_unit}"
            for period in schedule["charging_schedule_period"][:MOST_SHOWN]
        ]
        return "\n".join([f"from {start}", *periods])

    # ── The rest of Core ─────────────────────────────────────────────────────────────────────

    async def reset(self, kind: str = ResetType.soft) -> str:
        """Let it start anew."""
        return show(await self._station().reset(kind))

    async def unlock(self, connector: str = "1") -> str:
        """Release the cable."""
        return show(await self._station().unlock(whole(connector)))

    async def get(self, *keys: str) -> str:
        """Show configuration keys."""
        answer = await self._station().get_configuration(*keys)
        lines = [
            f"{entry['key']} = {entry.get('value', '')}"
            + (" (read only)" if entry.get("readonly") else "")
            for entry in answer.configuration_key or ()
        ]
        lines += [f"{key} is unknown there" for key in answer.unknown_key or ()]
        return "\n".join(lines[:MOST_SHOWN]) or "it has told no key"

    async def set(self, key: str, value: str) -> str:
        """Set a configuration key."""
        station = self._station()
        if key.lower() != "authorizationkey":
            return show(await station.change_configuration(key, value))
        try:
            new_key = parse_key(value)
        except ValueError as error:
            raise UserError(str(error)) from None
        return (await station.give_key(new_key)).value

    async def availability(self, kind: str, connector: str = "0") -> str:
        """Make it operative or inoperative."""
        return show(await self._station().change_availability(whole(connector), kind))

    async def clear_cache(self) -> str:
        """Let it forget the tags that it has seen."""
        return show(await self._station().clear_cache())

    async def data(self, vendor: str, message: str = "", data: str = "") -> str:
        """Send a DataTransfer."""
        return show(await self._station().data_transfer(vendor, message or None, data or None))

    async def trigger(self, message: str, connector: str = "") -> str:
        """Have it send a message."""
        station = self._station()
        number = whole(connector) if connector else None
        if message.lower() in _EXTENDED:
            return show(await station.extended_trigger(message, number))
        return show(await station.trigger(message, number))

    async def send(self, action: str, payload: str = "{}") -> str:
        """Send any request, however odd, and show the answer."""
        return show(await self._station().call(request(action, payload)))

    # ── Lists and reservations ───────────────────────────────────────────────────────────────

    async def local_list(self, version: str = "", kind: str = "", *entries: str) -> str:
        """Show the version of its list, or send it one."""
        station = self._station()
        if not version:
            number = await station.local_list_version()
            return {0: "the list is empty", -1: "it has no local list"}.get(
                number, f"version {number}"
            )
        data = [authorization_data(entry) for entry in entries]
        answer = await station.send_local_list(whole(version), data, kind or UpdateType.full)
        return show(answer)

    async def reserve(
        self, id_tag: str, minutes: str = "15", connector: str = "1", parent: str = ""
    ) -> str:
        """Keep a connector for a tag."""
        station = self._station()
        try:
            expiry = self._now() + timedelta(minutes=whole(minutes))
        except OverflowError:
            raise UserError(f"{minutes} minutes are beyond the calendar") from None
        await station.reserve(whole(connector), id_tag, expiry, None, parent or None)
        return f"reservation {station.last_reservation_id}"

    async def cancel(self, reservation: str) -> str:
        """Give a reservation up."""
        return show(await self._station().cancel_reservation(whole(reservation)))

    # ── Files ────────────────────────────────────────────────────────────────────────────────

    async def firmware(self, location: str, at: str = "") -> str:
        """Have it install firmware."""
        await self._station().update_firmware(location, self._moment(at))
        return "it has been told; its reports follow in the log"

    async def diagnostics(self, location: str) -> str:
        """Have it upload diagnostics."""
        answer = await self._station().get_diagnostics(location)
        return answer.file_name or "it has no diagnostics to upload"

    async def log(self, kind: str, location: str) -> str:
        """Have it upload a log."""
        self._request_id += 1
        return show(await self._station().get_log(kind, self._request_id, location))

    async def certificates(self, kind: str = CertificateUse.central_system_root_certificate) -> str:
        """Show the root certificates that it trusts."""
        answer = await self._station().installed_certificates(kind)
        rows = [json.dumps(to_wire(row)) for row in answer.certificate_hash_data or ()]
        return "\n".join(rows[:MOST_SHOWN]) or "none"

    async def install(self, kind: str, file: str) -> str:
        """Have it trust a root certificate."""
        return show(await self._station().install_certificate(kind, _read(file)))

    async def delete(self, hash_data: str) -> str:
        """Have it forget a certificate."""
        return show(await self._station().delete_certificate(json_object(hash_data)))

    def _moment(self, text: str) -> datetime:
        try:
            return from_ocpp(text) if text else self._now()
        except ValueError:
            raise UserError(f"{text!r} is no moment like 2026-12-31T12:00:00Z") from None


def _read(file: str) -> str:
    try:
        return Path(file).read_text("ascii")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the certificate: {error}") from None
