"""The CAN frames of another charger, read with its DBC, as frames of our protocol.

Only what is named is read: the current, and if it is there the limit and the state of charge. The
current is given at most once per CURRENT_PERIOD_S, as our charger sends it and as detectors were
made for, whatever the other one's period is.
"""

from __future__ import annotations

import argparse
import enum
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import can

from evsim.detectors.base import Detector
from evsim.detectors.can_timing import CanTiming
from evsim.detectors.combined import PARTS
from evsim.detectors.plateau import Plateau
from evsim.detectors.unexplained_change import UnexplainedChange
from evsim.errors import UserError
from evsim.events import CanEvent, Event
from evsim.frames import (
    CURRENT_PERIOD_S,
    Frame,
    MeasuredCurrent,
    SetLimit,
    StateOfCharge,
    encode,
)

if TYPE_CHECKING:
    from cantools.database import Message, Signal

#: The parts of `combined` that rest on nothing but what these signals and OCPP tell: the others
#: know the timetable, the start and stop frames and the meter's noise of this project's charger.
FOREIGN_PARTS: Sequence[Callable[[], Detector]] = tuple(
    part for part in PARTS if part not in (CanTiming, UnexplainedChange, Plateau)
)
#: So many signals are listed where one is not found.
MOST_LISTED = 40
#: Readings come a little early now and then.
_SHORTEST_PERIOD_S = 0.95 * CURRENT_PERIOD_S

_PERCENT: Mapping[str, float] = {"%": 1.0, "percent": 1.0, "pct": 1.0}
_AMPERES: Mapping[str, float] = {
    **dict.fromkeys(("A", "a", "Amp", "amp", "Amps", "amps", "Ampere", "ampere", "Amperes"), 1.0),
    "kA": 1e3,
    "dA": 0.1,
    "cA": 0.01,
    "mA": 1e-3,
}

log = logging.getLogger("evsim.logs")


class Quantity(enum.StrEnum):
    """What a signal may be."""

    CURRENT = "current"
    LIMIT = "limit"
    STATE_OF_CHARGE = "state_of_charge"


class _Reading(NamedTuple):
    quantity: Quantity
    message: Message
    signal: str
    factor: float


def signal_option(text: str) -> tuple[Quantity, str]:
    """Read one --signal: NAME of the current, or current=NAME, limit=NAME …."""
    what, is_named, name = text.rpartition("=")
    if not name or (is_named and what not in list(Quantity)):
        known = ", ".join(f"{quantity}=NAME" for quantity in Quantity)
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME, nor one of {known}")
    return Quantity(what) if is_named else Quantity.CURRENT, name


class ForeignDbc:
    """Makes events of our protocol from a CAN bus with another one; OCPP is passed on as it is.

    :param path: the DBC, or what else cantools reads (.kcd, .arxml, .sym).
    :param signals: NAME or MESSAGE.NAME of each quantity.

    Raises UserError if the file or a signal in it can't be used.
    """

    def __init__(self, path: Path, signals: Mapping[Quantity, str]) -> None:
        self._path = path
        self._messages = _load(path)
        self._readings: dict[tuple[int, bool], list[_Reading]] = {}
        for quantity, name in signals.items():
            message, signal = self._find(name)
            factor = self._factor(quantity, signal)
            key = (message.frame_id, message.is_extended_frame)
            reading = _Reading(quantity, message, signal.name, factor)
            self._readings.setdefault(key, []).append(reading)
        self._given_s: dict[str, float] = {}
        self._said: set[tuple[str, str]] = set()

    def __call__(self, event: Event) -> Iterator[Event]:
        """Give what an event is in our protocol."""
        if not isinstance(event, CanEvent):
            yield event
            return
        time_s, charge_point, message = event
        readings = self._readings.get((message.arbitration_id, message.is_extended_id))
        if readings is None or message.is_remote_frame or message.is_error_frame:
            return
        for reading in readings:
            value = self._value(reading, message)
            if value is None:
                continue
            frame = self._frame(reading, charge_point, time_s, value)
            if frame is not None:
                ours = encode(frame)
                ours.timestamp, ours.channel = time_s, charge_point
                yield CanEvent(time_s, charge_point, ours)

    def _value(self, reading: _Reading, message: can.Message) -> float | None:
        """Read a signal in its own unit; None if it is not in this frame."""
        from cantools.database import DecodeError

        try:
            values = reading.message.decode(bytes(message.data), decode_choices=False)
        except (DecodeError, ValueError) as error:
            self._once(reading.message.name, "a frame that does not fit: ", error)
            return None
        value = values.get(reading.signal) if isinstance(values, dict) else None
        if not isinstance(value, int | float):
            return None  # of another multiplexer's turn
        if not math.isfinite(value):
            self._once(reading.signal, "no number, but ", value)
            return None
        return value * reading.factor

    def _frame(
        self, reading: _Reading, charge_point: str, time_s: float, value: float
    ) -> Frame | None:
        if value < 0:
            self._once(reading.signal, "below 0, so taken as 0: ", f"{value:g}")
        if reading.quantity is Quantity.LIMIT:
            return SetLimit.at_most(value)
        if reading.quantity is Quantity.STATE_OF_CHARGE:
            return StateOfCharge.nearest(value / 100)
        if 0 <= time_s - self._given_s.get(charge_point, -math.inf) < _SHORTEST_PERIOD_S:
            return None
        self._given_s[charge_point] = time_s
        return MeasuredCurrent.nearest(value)

    def _once(self, name: str, problem: str, detail: object = "") -> None:
        """Say it once for each name and problem."""
        if (name, problem) not in self._said:
            self._said.add((name, problem))
            log.warning("%s: %s%s (said once)", name, problem, detail)

    def _find(self, name: str) -> tuple[Message, Signal]:
        found = [
            (message, signal)
            for message in self._messages
            for signal in message.signals
            if name in (signal.name, f"{message.name}.{signal.name}")
        ]
        if not found:
            raise UserError(f"no signal {name!r} in {self._path}; there are: {self._listed()}")
        if len(found) > 1:
            names = ", ".join(f"{message.name}.{signal.name}" for message, signal in found)
            raise UserError(f"{name!r} is in several messages of {self._path}; name one: {names}")
        return found[0]

    def _listed(self) -> str:
        """List the signals, first those in amperes."""
        signals = [
            (signal.unit not in _AMPERES, f"{message.name}.{signal.name} [{signal.unit or ''}]")
            for message in self._messages
            for signal in message.signals
        ]
        names = [name for _, name in sorted(signals)]
        more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
        return ", ".join(names[:MOST_LISTED]) + more if names else "none"

    def _factor(self, quantity: Quantity, signal: Signal) -> float:
        """Give what makes amperes, or percent, of a signal's unit."""
        units = _PERCENT if quantity is Quantity.STATE_OF_CHARGE else _AMPERES
        unit = (signal.unit or "").strip()
        if not unit:
            log.warning("%s: the DBC names no unit; taken as %s", signal.name, next(iter(units)))
            return 1.0
        if unit not in units:
            raise UserError(
                f"{signal.name} is in {unit!r}, no unit of {quantity}; expected {', '.join(units)}"
            )
        return units[unit]


def _load(path: Path) -> list[Message]:
    try:
        import cantools
    except ImportError:
        raise UserError("--dbc needs the package cantools: pip install -e '.[dbc]'") from None
    try:
        # Not strict: overlapping signals are common, and no fault of what is asked for here.
        database = cantools.database.load_file(path, strict=False)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (cantools.Error, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path} is no DBC that can be read ({type(error).__name__}: {reason}); expected one "
            "that describes the CAN frames of the log"
        ) from error
    if not isinstance(database, cantools.database.Database):
        raise UserError(f"{path} describes no CAN frames; expected a DBC")
    return list(database.messages)
