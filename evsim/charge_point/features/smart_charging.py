"""Smart charging: what the central system asks about charging profiles."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ocpp.v16 import call_result
from ocpp.v16.enums import (
    Action,
    ChargingProfilePurposeType,
    ChargingProfileStatus,
    ChargingRateUnitType,
    ClearChargingProfileStatus,
    GetCompositeScheduleStatus,
)

from evsim.charge_point.charging_profiles import (
    Profile,
    ProfileError,
    read_profile,
    read_start_profile,
)
from evsim.charge_point.connector import Connector
from evsim.clock import Clock, to_ocpp
from evsim.ocpp_link import on
from evsim.sqlite import StorageError

log = logging.getLogger("evsim.charge_point")


class SmartCharging:
    """The handlers of the SmartCharging profile, for a charge point's only connector.

    :param id_on_its_way_s: how long a TxProfile waits for the id of a transaction that has begun.
    """

    def __init__(self, connector: Connector, *, now: Clock, id_on_its_way_s: float) -> None:
        self.connector = connector
        self.rules = connector.profiles.rules
        self._now = now
        self._id_on_its_way_s = id_on_its_way_s

    @on(Action.set_charging_profile)
    async def on_set_charging_profile(
        self, connector_id: int, cs_charging_profiles: Mapping[str, Any], **_: object
    ) -> call_result.SetChargingProfile:
        """Take a profile; its limit goes to the charger at once."""
        await self._wait_for_its_transaction(cs_charging_profiles)
        try:
            profile = read_profile(
                connector_id,
                cs_charging_profiles,
                now=self._now(),
                rules=self.rules,
                transaction=self.connector.transaction,
            )
            self.connector.take_profile(profile)
        except (ProfileError, StorageError) as error:
            log.warning("charging profile rejected: %s", error)
            return call_result.SetChargingProfile(ChargingProfileStatus.rejected)
        return call_result.SetChargingProfile(ChargingProfileStatus.accepted)

    async def _wait_for_its_transaction(self, wire: Mapping[str, Any]) -> None:
        """Let the answer to a StartTransaction, which brings the id, be taken note of first."""
        transaction = self.connector.transaction
        purpose, transaction_id = wire["charging_profile_purpose"], wire.get("transaction_id")
        is_named = purpose == ChargingProfilePurposeType.tx_profile and transaction_id is not None
        if transaction is not None and is_named:
            await transaction.wait_for_id(self._id_on_its_way_s)

    @on(Action.clear_charging_profile)
    def on_clear_charging_profile(self, **criteria: Any) -> call_result.ClearChargingProfile:
        """Drop the profiles that meet all criteria; what limits then goes to the charger."""
        try:
            count = self.connector.profiles.clear(
                profile_id=criteria.get("id"),
                connector_id=criteria.get("connector_id"),
                purpose=criteria.get("charging_profile_purpose"),
                stack_level=criteria.get("stack_level"),
            )
        except StorageError as error:
            log.warning("charging profiles stay: %s", error)
            count = 0
        self.connector.apply_limit(again=False)
        log.info("%d charging profiles cleared", count)
        return call_result.ClearChargingProfile(
            ClearChargingProfileStatus.accepted if count else ClearChargingProfileStatus.unknown
        )

    @on(Action.get_composite_schedule)
    def on_get_composite_schedule(
        self,
        connector_id: int,
        duration: int,
        charging_rate_unit: ChargingRateUnitType | None = None,
        **_: object,
    ) -> call_result.GetCompositeSchedule:
        """Tell the limits from now on, in A unless the charge point takes W only.

        Connector 0 is the grid connection: what it must be ready for is what the connectors may
        draw together, here the only one, whether or not it is charging now.
        """
        unit = charging_rate_unit or min(self.rules.units, default=ChargingRateUnitType.amps)
        refusal = ""
        if connector_id not in (0, self.connector.number):
            refusal = f"there is no connector {connector_id}"
        elif duration <= 0:
            refusal = "a duration of 0 s or less has no schedule"
        elif unit not in self.rules.units:
            refusal = f"limits in {unit} are not known here"
        if refusal:
            log.warning("GetCompositeSchedule rejected: %s", refusal)
            return call_result.GetCompositeSchedule(GetCompositeScheduleStatus.rejected)
        schedule = self.connector.profiles.composite_schedule(
            self._now(), duration, ChargingRateUnitType(unit), self.connector.transaction
        )
        start = to_ocpp(schedule.start)
        return call_result.GetCompositeSchedule(
            GetCompositeScheduleStatus.accepted,
            connector_id=connector_id,
            schedule_start=start,
            charging_schedule={
                "duration": schedule.duration_s,
                "start_schedule": start,
                "charging_rate_unit": schedule.unit,
                "charging_schedule_period": [
                    {"start_period": start_s, "limit": limit} for start_s, limit in schedule.periods
                ],
            },
        )

    def read_for_start(self, connector_id: int, wire: Mapping[str, Any]) -> Profile:
        """Read the profile of a RemoteStartTransaction; begin() puts it in place.

        Raises ProfileError where the start must be rejected.
        """
        profile = read_start_profile(connector_id, wire, now=self._now(), rules=self.rules)
        self.connector.profiles.check_room(profile)
        return profile

    def begin(self, profile: Profile) -> None:
        """Take the profile that the running transaction was started with."""
        try:
            self.connector.take_profile(profile)
        except (ProfileError, StorageError) as error:
            log.warning("charging profile of the start dropped: %s", error)
