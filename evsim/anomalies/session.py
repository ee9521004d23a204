"""A user's session, and the benign behaviours' ways with it."""

from __future__ import annotations

import logging

from ocpp.exceptions import OCPPError

from evsim.anomalies.base import Scene, Station
from evsim.errors import RefusedError
from evsim.ocpp_wire import explain

#: The tag of the user whose sessions these are.
ID_TAG = "USER"
#: How commanding a charge point can fail.
TROUBLE = (RefusedError, ConnectionError, TimeoutError, OCPPError)

log = logging.getLogger("evsim.anomalies")


async def remote_start(station: Station) -> None:
    """Start a transaction, unless one is running."""
    if not station.running:
        await station.remote_start(ID_TAG)
        await station.started_transaction()


async def remote_stop(station: Station) -> None:
    """Stop what is running."""
    await station.stop_all_transactions()


def complain(charge_point_id: str, error: Exception) -> None:
    """Say why a command failed."""
    log.warning("%s: %s", charge_point_id, explain(error) or type(error).__name__)


async def charge_with(scene: Scene, limit_a: float) -> None:
    """Have the target charge with a limit: set it, and start a transaction if none is running."""
    station = scene.station()
    await station.set_limit(round(limit_a, 1))
    await remote_start(station)


def usual_limit_a(scene: Scene) -> float:
    """Choose a limit as a charge point of this kind usually has it, A."""
    lowest_a, highest_a = (10.0, 32.0) if scene.plant.lowest_a else (40.0, 110.0)
    return round(float(scene.rng.uniform(lowest_a, highest_a)), 1)
