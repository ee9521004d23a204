"""New credentials for the charge points that come, for each of them once."""

from __future__ import annotations

import logging

from ocpp.exceptions import OCPPError

from evsim.central_system.station import Station
from evsim.errors import RefusedError, UserError
from evsim.ocpp_wire import explain

log = logging.getLogger("evsim.csms")


class Securing:
    """Gives each charge point a new key, a higher security profile, both, or nothing.

    :param rotate_keys: a new AuthorizationKey for each.
    :param raise_to_profile: the security profile that each is to raise itself to.
    """

    def __init__(self, *, rotate_keys: bool = False, raise_to_profile: int | None = None) -> None:
        self._rotate_keys = rotate_keys
        self._raise_to_profile = raise_to_profile
        self._tried: set[str] = set()

    async def sends_away(self, station: Station) -> bool:
        """Whether a charge point has got new credentials just now, and will connect with them."""
        if station.id in self._tried or not (self._rotate_keys or self._raise_to_profile):
            return False
        self._tried.add(station.id)
        try:
            await station.secure(
                rotate_key=self._rotate_keys, raise_to_profile=self._raise_to_profile
            )
        except (RefusedError, UserError, ConnectionError, TimeoutError, OCPPError) as error:
            log.error("%s: %s", station.id, explain(error))  # noqa: TRY400
            return False
        return True
