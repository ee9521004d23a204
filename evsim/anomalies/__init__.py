"""The catalogue: 20 anomalies and 8 benign behaviours, by name.

base.py            what every entry has, and the scene it is played over
central_system.py  commands of a hostile central system
ocpp_link.py       a man in the middle on the OCPP link
can_bus.py         a node on the CAN bus, or a gateway between charger and bus
vehicle.py         car and power module
benign.py          what an ordinary day brings
session.py         a user's session, as benign behaviours begin and end it
stage.py           a benign behaviour in the background, anomalies in front
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from evsim.anomalies import benign, can_bus, central_system, ocpp_link, vehicle
from evsim.anomalies.base import Anomaly, Benign, CatalogueError

__all__ = ["ANOMALIES", "BENIGN", "anomaly_named", "benign_named", "listing"]

ANOMALIES: Mapping[str, Anomaly] = MappingProxyType(
    {
        anomaly.name: anomaly
        for anomaly in (
            central_system.REPEATED_FLUCTUATION,
            central_system.FLEET_OSCILLATION,
            central_system.MASS_ON_OFF,
            ocpp_link.PROFILE_MANIPULATION,
            ocpp_link.DENIAL_OF_CHARGE,
            ocpp_link.HEARTBEAT_FLOOD,
            ocpp_link.UNAUTHORISED_COMMANDS,
            ocpp_link.METER_SCALING,
            ocpp_link.METER_REPLAY,
            vehicle.SESSION_EXTENSION,
            can_bus.CAN_PLATEAU,
            can_bus.CAN_DRIFT,
            can_bus.CAN_PLAYBACK,
            can_bus.CAN_SUPPRESS,
            can_bus.CAN_FLOODING,
            can_bus.CAN_MASQUERADE,
            can_bus.CAN_FUZZING,
            vehicle.LIMIT_IGNORED,
            vehicle.CONTACTOR_CYCLING,
            ocpp_link.STATION_DISCONNECTION,
        )
    }
)

BENIGN: Mapping[str, Benign] = MappingProxyType(
    {
        behaviour.name: behaviour
        for behaviour in (
            benign.PLAIN_SESSION,
            benign.TAPER,
            benign.SOLAR_SURPLUS,
            benign.LOAD_SHARING,
            benign.LONG_PAUSE,
            benign.ABORTED_START,
            benign.INTEGER_REQUESTS,
            benign.USER_RESTART,
        )
    }
)


def anomaly_named(name: str) -> Anomaly:
    """Give an anomaly; CatalogueError that lists the known ones."""
    if name not in ANOMALIES:
        raise CatalogueError(f"no anomaly {name!r}; known are: {', '.join(ANOMALIES)}")
    return ANOMALIES[name]


def benign_named(name: str) -> Benign:
    """Give a benign behaviour; CatalogueError that lists the known ones."""
    if name not in BENIGN:
        raise CatalogueError(f"no benign behaviour {name!r}; known are: {', '.join(BENIGN)}")
    return BENIGN[name]
