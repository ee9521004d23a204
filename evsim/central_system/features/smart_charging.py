"""SmartCharging: limits and profiles, in the unit that the charge point takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from ocpp.exceptions import OCPPError
from ocpp.v16 import call, call_result
from ocpp.v16.enums import ChargingProfilePurposeType, ChargingRateUnitType

from evsim.central_system.features.asking import Asking, chosen
from evsim.central_system.profiles import (
    charging_profile,
    check_composite_schedule,
    checked_profile,
)
from evsim.central_system.rate_unit import UNIT_KEY, unit_in, watts, watts_per_a
from evsim.ocpp_wire import explain

log = logging.getLogger("evsim.csms")


class SmartChargingCommands(Asking):
    """What a central system asks about charging profiles.

    :param watts_per_a: the power of one ampere per phase at a charge point that takes watts only,
        until its own meter values tell it, W.
    """

    def __init__(self, *arguments: Any, watts_per_a: float = 400.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.watts_per_a = watts_per_a
        #: What its limits are in; None until it has been asked.
        self.rate_unit: ChargingRateUnitType | None = None
        self._asking_for_unit = asyncio.Lock()

    async def learn_rate_unit(self) -> ChargingRateUnitType:
        """Ask, once per connection, in which unit it takes limits: A, unless it is W only.

        What refuses, or answers with nonsense or not at all, gets A.
        """
        async with self._asking_for_unit:
            if self.rate_unit is None:
                self.rate_unit = await self._ask_for_unit()
        return self.rate_unit

    async def _ask_for_unit(self) -> ChargingRateUnitType:
        try:
            unit = unit_in(await self.call(call.GetConfiguration([UNIT_KEY])))
        except (OCPPError, TimeoutError, ConnectionError) as error:
            log.debug("%s: does not tell its %s: %s", self.id, UNIT_KEY, explain(error))
            return ChargingRateUnitType.amps
        if unit == ChargingRateUnitType.watts:
            log.info("%s: takes limits in watts only", self.id)
        return unit

    def note_sampled_values(self, sampled_values: list[Mapping[str, Any]]) -> None:
        """Learn from its meter values what an ampere is there."""
        measured = watts_per_a(sampled_values)
        if measured is not None:
            self.watts_per_a = measured

    async def set_limit(self, limit_a: float, connector_id: int = 1) -> None:
        """Limit the current, now and in transactions to come; RefusedError if it won't."""
        unit = await self.learn_rate_unit()
        limit, said = limit_a, ""
        if unit == ChargingRateUnitType.watts:
            limit = watts(limit_a, self.watts_per_a)
            said = f" ({limit:g} W)"
        log.info("%s: limit %g A%s", self.id, limit_a, said)
        profile = charging_profile([(0, limit)], unit=unit)
        await self.ask(
            call.SetChargingProfile(connector_id, profile), f"the {limit_a:g} A limit{said}"
        )

    async def set_profile(
        self, connector_id: int, profile: Mapping[str, Any]
    ) -> call_result.SetChargingProfile:
        """Give it a charging profile (evsim.central_system.profiles makes some).

        Raises UserError for a profile that OCPP doesn't allow; call() sends it all the same.
        """
        wanted = checked_profile(profile, connector_id)
        answer: call_result.SetChargingProfile = await self.ask(
            call.SetChargingProfile(connector_id, wanted), "the charging profile"
        )
        return answer

    async def clear_profiles(
        self,
        profile_id: int | None = None,
        connector_id: int | None = None,
        purpose: str | None = None,
        stack_level: int | None = None,
    ) -> call_result.ClearChargingProfile:
        """Remove the profile of that id, else those that fit; without criteria all of them."""
        kind = None if purpose is None else chosen(ChargingProfilePurposeType, purpose)
        answer: call_result.ClearChargingProfile = await self.ask(
            call.ClearChargingProfile(profile_id, connector_id, kind, stack_level),
            "the clearing of profiles",
        )
        return answer

    async def composite_schedule(
        self, connector_id: int, duration_s: int, unit: str | None = None
    ) -> call_result.GetCompositeSchedule:
        """Read what its profiles together allow; AbsurdAnswerError if that makes no sense."""
        kind = None if unit is None else chosen(ChargingRateUnitType, unit)
        answer: call_result.GetCompositeSchedule = await self.ask(
            call.GetCompositeSchedule(connector_id, duration_s, kind), "the composite schedule"
        )
        check_composite_schedule(answer, connector_id, kind)
        return answer
