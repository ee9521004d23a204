"""A connector: its charger, meter and charging profiles, and the status that follows from them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Any

from ocpp.v16.enums import ChargePointStatus, Reason

from evsim.charge_point.charger_control import ChargerControl, Health
from evsim.charge_point.charging_profiles import Profile
from evsim.charge_point.connector_status import SILENT_CHARGER, Fault, Occupancy, status_of
from evsim.charge_point.meter import Meter
from evsim.charge_point.profile_store import ProfileStore
from evsim.charge_point.transaction import Transaction
from evsim.charger import Plant
from evsim.clock import Clock
from evsim.frames import Frame, MeasuredCurrent, StateOfCharge

#: A timer later than this: the process was suspended, or the machine is overloaded.
SUSPENDED_S = 0.5
#: A schedule is looked at this often at least, in case the clock was set.
LOOK_AT_CLOCK_S = 60.0
#: A car that takes nothing of what it is offered for this long has suspended the charging.
SUSPENDED_EV_AFTER_S = 5.0

log = logging.getLogger("evsim.charge_point")


class Connector:
    """One connector; made within a running event loop, whose clock it uses.

    :param number: from 1 up.
    :param profiles: its own and those of connector 0.
    :param send: puts a frame on the charger's bus.
    :param report: called with each new status, and with what is wrong.
    :param register_wh: where the meter stood.
    """

    def __init__(
        self,
        number: int,
        plant: Plant,
        profiles: ProfileStore,
        *,
        send: Callable[[Frame], object],
        report: Callable[[int, ChargePointStatus, Fault | None], None],
        now: Clock,
        register_wh: float = 0.0,
    ) -> None:
        self.number = number
        self.plant = plant
        self.meter = Meter(plant, register_wh)
        self.profiles = profiles
        self.transaction: Transaction | None = None
        self.status = ChargePointStatus.available
        self.occupancy = Occupancy()
        self._reported: tuple[ChargePointStatus, Fault | None] = (self.status, None)
        self._report = report
        self._now = now
        self._loop = asyncio.get_running_loop()
        #: When follow_profiles() next looks, if nothing wakes it up.
        self._looks_at_s = self._loop.time()
        self._wake_up = asyncio.Event()
        #: When the car last took current, or was last not offered any.
        self._took_at_s = self._loop.time()
        self.charger = ChargerControl(
            send,
            self._allowed_a(),
            now_s=self._loop.time(),
            follow_s=plant.hold_s + plant.reaction_s,
            wake_up_s=plant.wake_up_s[1],
        )

    # ── The charger ──────────────────────────────────────────────────────────────────────────

    def hear(self, frame: Frame) -> None:
        """Take a frame from the charger's bus."""
        if isinstance(frame, MeasuredCurrent):
            now_s = self._loop.time()
            self.meter.hear(frame.current_a, now_s)
            self.charger.hear(frame.current_a, now_s)
            if frame.current_a > 0 or not self.charger.charging or self.charger.limit.limit_a == 0:
                self._took_at_s = now_s
            self._update_status()
        elif isinstance(frame, StateOfCharge):
            self.meter.state_of_charge_percent = frame.percent

    async def may_start(self) -> None:
        """Wait until a start would no longer be void because of the charger's last stop."""
        await asyncio.sleep(self.charger.wait_before_start_s(self._loop.time()))

    def start(self) -> None:
        """Let the charger deliver."""
        self.apply_limit(again=False)
        self._took_at_s = self._loop.time()
        self.charger.start(self._took_at_s)

    def stop(self) -> None:
        """Let the charger deliver nothing."""
        self.charger.stop(self._loop.time())

    def read_meter_wh(self) -> float:
        """Return the energy register as it stands now, Wh."""
        return self.meter.run_until(self._loop.time())

    # ── Limits ───────────────────────────────────────────────────────────────────────────────

    def take_profile(self, profile: Profile) -> None:
        """Take a charging profile: its limit goes to the charger at once.

        Raises ProfileError if there is no room for it.
        """
        self.profiles.put(profile)
        self.apply_limit(again=True)

    def apply_limit(self, *, again: bool) -> None:
        """Tell the charger the limit that the profiles give now, if it differs or `again`."""
        if self.charger.set_limit(self._allowed_a(), again=again):
            log.info("limit %d A", self.charger.limit.limit_a)
        self._update_status()
        if self._loop.time() + self._unchanged_for_s() < self._looks_at_s:
            self._wake_up.set()

    def end_transaction(self) -> None:
        """Take note that no transaction runs any more; its profiles end with it."""
        self.transaction = None
        self.profiles.end_transaction()
        self.apply_limit(again=False)

    def _allowed_a(self) -> float:
        limit_a = self.profiles.limit_a(self._now(), self.transaction)
        return self.plant.rated_max_a if limit_a is None else limit_a

    async def follow_profiles(self) -> None:
        """Apply the limit now and anew at each boundary of a schedule, for ever."""
        self.apply_limit(again=False)
        while True:
            self._wake_up.clear()
            self._looks_at_s = self._loop.time() + self._unchanged_for_s()
            try:
                async with asyncio.timeout_at(self._looks_at_s):
                    await self._wake_up.wait()
            except TimeoutError:
                self.apply_limit(again=False)

    def _unchanged_for_s(self) -> float:
        """Return how long the limit stays as it is, at most LOOK_AT_CLOCK_S."""
        now = self._now()
        change = self.profiles.next_change(now, self.transaction)
        wait_s = (change - now).total_seconds() if change else LOOK_AT_CLOCK_S
        return min(wait_s, LOOK_AT_CLOCK_S)

    # ── Status ───────────────────────────────────────────────────────────────────────────────

    def change(self, **occupancy: Any) -> None:
        """Change what is the matter with the connector, by the names of Occupancy."""
        self.occupancy = dataclasses.replace(self.occupancy, **occupancy)
        self._update_status()

    async def watch_charger(self) -> None:
        """Report a charger that falls silent, end its transaction if it stays so, for ever."""
        while True:
            due_s = self.charger.health_may_change_at_s(self._loop.time())
            await asyncio.sleep(due_s - self._loop.time())
            if self._loop.time() - due_s > SUSPENDED_S:
                # It was this process that stood still: first hear what has come meanwhile.
                await asyncio.sleep(SUSPENDED_S)
            self._update_status()
            gone = self.charger.health(self._loop.time()) == Health.GONE
            if gone and self.transaction is not None and not self.transaction.stop.done():
                log.error("the charger stays silent; ending the transaction")
                self.transaction.end(Reason.other)

    def _update_status(self) -> None:
        """Derive the status; report it if it, or what is wrong, has changed."""
        now_s = self._loop.time()
        silent = self.charger.health(now_s) != Health.SPEAKING
        fault = self.occupancy.fault or (SILENT_CHARGER if silent else None)
        self.status = status_of(
            self.occupancy,
            limit_a=self.charger.limit.limit_a,
            car_takes_current=now_s - self._took_at_s < SUSPENDED_EV_AFTER_S,
            charger_is_silent=silent,
        )
        if (self.status, fault) != self._reported:
            self._reported = self.status, fault
            log.info("connector %d: %s", self.number, self.status)
            self._report(self.number, self.status, fault)
