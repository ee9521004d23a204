"""A gateway between two CAN buses: hears what the charger says before anybody else does.

It stands for a charger's CAN controller in the wrong hands. The charger is alone on its side of
the gateway; while that does nothing, every message passes both ways.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import can

from evsim.can_node import CanNode


class CanGateway:
    """Passes messages on between two nodes, which it takes over.

    :param charger_side: the node on the charger's own bus.
    :param bus_side: the node on the bus that everybody else is on.
    """

    def __init__(self, charger_side: CanNode, bus_side: CanNode) -> None:
        self.rewrite: Callable[[can.Message], can.Message | None] | None = None
        self._charger_side, self._bus_side = charger_side, bus_side
        charger_side.on_message = self._from_charger
        bus_side.on_message = self._from_bus

    def _from_charger(self, message: can.Message) -> None:
        passed = message if self.rewrite is None else self.rewrite(message)
        if passed is not None:
            self._bus_side.send_message(copy.copy(passed))

    def _from_bus(self, message: can.Message) -> None:
        self._charger_side.send_message(copy.copy(message))
