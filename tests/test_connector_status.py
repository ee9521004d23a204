"""The status of a connector follows from what is the matter with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus

from evsim.charge_point.connector_status import Fault, Occupancy, status_of

FAULT = Fault(ChargePointErrorCode.ground_failure, "")


@pytest.mark.parametrize(
    ("occupancy", "status"),
    [
        ({}, "Available"),
        ({"reserved": True}, "Reserved"),
        ({"plugged": True}, "Preparing"),
        ({"claimed": True}, "Preparing"),
        ({"claimed": True, "reserved": True}, "Preparing"),
        ({"plugged": True, "claimed": True, "charging": True}, "Charging"),
        ({"plugged": True, "charging": True, "blocked": True}, "SuspendedEVSE"),
        ({"charging": True}, "SuspendedEV"),
        ({"plugged": True, "finishing": True}, "Finishing"),
        ({"finishing": True}, "Finishing"),
        ({"inoperative": True}, "Unavailable"),
        ({"inoperative": True, "reserved": True, "plugged": True}, "Unavailable"),
        ({"inoperative": True, "plugged": True, "charging": True}, "Charging"),
        ({"inoperative": True, "claimed": True}, "Preparing"),
        ({"inoperative": True, "finishing": True}, "Finishing"),
        ({"fault": FAULT, "plugged": True, "charging": True}, "Faulted"),
        ({"fault": FAULT, "inoperative": True}, "Faulted"),
    ],
    ids=str,
)
def test_what_is_the_matter_gives_the_status(occupancy: dict[str, Any], status: str) -> None:
    found = status_of(Occupancy(**occupancy), limit_a=32, car_takes_current=True)
    assert found == status


@pytest.mark.parametrize(
    ("limit_a", "takes", "status"),
    [(0, True, "SuspendedEVSE"), (0, False, "SuspendedEVSE"), (6, False, "SuspendedEV")],
)
def test_whose_fault_it_is_that_nothing_flows(limit_a: int, takes: bool, status: str) -> None:
    charging = Occupancy(plugged=True, claimed=True, charging=True)
    assert status_of(charging, limit_a=limit_a, car_takes_current=takes) == status


@given(
    st.builds(Occupancy, fault=st.none()),
    st.sampled_from([0, 1, 100]),
    st.booleans(),
)
def test_energy_is_never_offered_without_a_transaction(
    occupancy: Occupancy, limit_a: int, takes: bool
) -> None:
    status = status_of(occupancy, limit_a=limit_a, car_takes_current=takes)
    offering = status in (
        ChargePointStatus.charging,
        ChargePointStatus.suspended_ev,
        ChargePointStatus.suspended_evse,
    )
    assert offering == occupancy.charging
    assert status != ChargePointStatus.faulted
