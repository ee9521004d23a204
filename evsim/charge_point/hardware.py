"""What a simulated station is built like, and how its driver behaves."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Cable(enum.Enum):
    """Who plugs the cable in."""

    #: The car does once a start is under way, and it leaves when the transaction has ended. A
    #: cable that a person plugged in stays until that person unplugs it.
    AUTOMATIC = "automatic"
    #: Only a person does.
    BY_HAND = "by-hand"


@dataclass(frozen=True)
class Hardware:
    """A station's build.

    :param is_fixed_cable: the cable belongs to the station, so there is nothing to unlock.
    :param lock_fails: the lock of a detachable cable neither closes nor opens.
    :param reboot_s: from a reset to the next BootNotification.
    :param outage_s: how long a power cut lasts.
    """

    cable: Cable = Cable.AUTOMATIC
    is_fixed_cable: bool = False
    lock_fails: bool = False
    reboot_s: float = 2.0
    outage_s: float = 5.0


USUAL = Hardware()
