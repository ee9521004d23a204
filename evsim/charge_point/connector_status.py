"""The status of a connector, as OCPP 1.6 section 4.9 has it, from what is the matter with it."""

from __future__ import annotations

from dataclasses import dataclass

from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus


@dataclass(frozen=True)
class Fault:
    """What is wrong: the code, and words of at most 50 characters."""

    error_code: ChargePointErrorCode
    info: str


FAULT_CODES = [code.value for code in ChargePointErrorCode if code != "NoError"]
#: A charger that is not heard of any more. OCPP 1.6 has no code of its own for it.
SILENT_CHARGER = Fault(ChargePointErrorCode.internal_error, "the charger is silent on the CAN bus")
LOCK_FAILURE = Fault(ChargePointErrorCode.connector_lock_failure, "the cable cannot be locked")


@dataclass
class Occupancy:
    """What is the matter with a connector, but for its current.

    :param plugged: the cable connects it to a car.
    :param claimed: somebody is about to charge: authorised, or started from afar.
    :param charging: energy is offered in a transaction.
    :param blocked: none is offered though its transaction goes on: the id tag is not valid.
    :param finishing: the transaction has ended, and the cable is still there.
    """

    plugged: bool = False
    claimed: bool = False
    charging: bool = False
    blocked: bool = False
    finishing: bool = False
    reserved: bool = False
    inoperative: bool = False
    fault: Fault | None = None


def status_of(
    occupancy: Occupancy,
    *,
    limit_a: float,
    car_takes_current: bool,
    charger_is_silent: bool = False,
) -> ChargePointStatus:
    """Return the status; SuspendedEVSE outranks SuspendedEV."""
    if occupancy.fault is not None or charger_is_silent:
        return ChargePointStatus.faulted
    if occupancy.charging:
        if occupancy.blocked or limit_a == 0:
            return ChargePointStatus.suspended_evse
        if not (occupancy.plugged and car_takes_current):
            return ChargePointStatus.suspended_ev
        return ChargePointStatus.charging
    if occupancy.claimed:
        return ChargePointStatus.preparing  # also anew, with the cable of the last transaction
    if occupancy.finishing:
        return ChargePointStatus.finishing
    if occupancy.inoperative:
        return ChargePointStatus.unavailable
    if occupancy.plugged:
        return ChargePointStatus.preparing
    return ChargePointStatus.reserved if occupancy.reserved else ChargePointStatus.available
