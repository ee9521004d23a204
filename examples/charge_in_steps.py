"""One session with a limit that comes down in steps, and a look at what was measured.

    ./csms.py --scenario examples/charge_in_steps.py

Every verb of evsim/central_system/station.py and its features can be awaited like these. A no of
the charge point raises RefusedError, which ends the scenario with one line; catch it where a no is
what you want to see. It is played again whenever the charge point boots.
"""

from __future__ import annotations

import asyncio

from evsim.central_system.station import Station

STEPS_A = (100, 60, 20)
STEP_S = 3.0
ID_TAG = "EXAMPLE"


async def scenario(charge_point: Station) -> None:
    """Charge with each limit for a while, then stop."""
    await charge_point.set_limit(STEPS_A[0])
    await charge_point.remote_start(ID_TAG)
    transaction_id = await charge_point.started_transaction()
    await charge_point.report("StatusNotification", connector_id=1, status="Charging")

    for limit_a in STEPS_A[1:]:
        await asyncio.sleep(STEP_S)
        await charge_point.set_limit(limit_a)
        await charge_point.report("MeterValues", transaction_id=transaction_id)

    await asyncio.sleep(STEP_S)
    await charge_point.remote_stop(transaction_id)
    stop = await charge_point.report("StopTransaction", transaction_id=transaction_id)
    assert stop["reason"] == "Remote"
