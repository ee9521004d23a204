"""What a person can type in the terminal of cp.py: what a driver, and the world, does to it."""

from __future__ import annotations

from collections.abc import Sequence

from evsim.charge_point.assembly import Assembly
from evsim.charge_point.connector_status import FAULT_CODES
from evsim.errors import UserError
from evsim.prompt import Verb

ANNOUNCED = "announced"


def verbs(charge_point: Assembly) -> Sequence[Verb]:
    """Give the verbs, which are the charge point's methods."""

    def power_cut(how: str = "") -> None:
        if how not in ("", ANNOUNCED):
            raise UserError(f"power-cut takes nothing, or {ANNOUNCED}: time to end what goes on")
        charge_point.power_cut(announced=how == ANNOUNCED)

    return (
        Verb("plug", "", "connect a car with the cable", charge_point.plug),
        Verb("unplug", "", "pull the cable out of the car", charge_point.unplug),
        Verb("tag", "ID", "hold an id tag to the reader: it starts, or stops", charge_point.tag),
        Verb(
            "fault",
            "CODE",
            "let the connector fail, e.g. GroundFailure",
            charge_point.fault,
            lambda words: () if words else FAULT_CODES,
        ),
        Verb("clear", "", "let the fault be over", charge_point.clear),
        Verb(
            "power-cut",
            f"[{ANNOUNCED}]",
            "be without power for a while",
            power_cut,
            lambda words: () if words else (ANNOUNCED,),
        ),
        Verb("status", "", "say what goes on", charge_point.status),
    )
