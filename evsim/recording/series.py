"""series.csv: what was known of each charge point, second by second.

A row's time is when its second began; what is in it is how things stood when that second was over,
one second later. So a detector that reads row by row knows it at time + 1 s. Columns:

    time                     Unix s, whole
    charge_point             its id
    current_a                the last current that the charger measured (CAN), A
    limit_a                  the last limit that the charger was told (CAN), A
    status                   the last StatusNotification of connector 1 (OCPP)
    meter_current_a          the last MeterValues of connector 1 (OCPP): current, A,
    meter_power_w            power, W,
    meter_energy_wh          energy register, Wh,
    state_of_charge_percent  state of charge, %
    commands                 what the central system sent in this second, joined with ";"

A cell is empty where nothing has been heard yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ocpp.v16.enums import ChargePointStatus, Measurand, UnitOfMeasure

from evsim.errors import UserError
from evsim.events import Direction, Kind, OcppEvent
from evsim.frames import Frame, MeasuredCurrent, SetLimit
from evsim.recording.layout import SERIES

#: Gaps are filled row by row, but a clock that jumps by more than this is no gap.
LONGEST_GAP_S = 86_400
#: Of the commands of one second so many are named.
MOST_COMMANDS = 1000

_STATUSES = frozenset(str(status) for status in ChargePointStatus)
#: Measurand -> its place among the meter columns; unit -> factor to the column's unit.
_METER_COLUMNS = {
    str(Measurand.current_import): 0,
    str(Measurand.power_active_import): 1,
    str(Measurand.energy_active_import_register): 2,
    str(Measurand.soc): 3,
}
_KILO = {str(UnitOfMeasure.kw): 1000.0, str(UnitOfMeasure.kwh): 1000.0}
_DEFAULT_MEASURAND = str(Measurand.energy_active_import_register)
_CONNECTOR = 1


class GapError(UserError):
    """The time jumps further than any gap of a recording."""


class _Station:
    """One charge point's last values, as the text of its next row."""

    __slots__ = ("commands", "current", "limit", "meter", "name", "status", "text")

    def __init__(self, charge_point: str) -> None:
        self.name = csv_cell(charge_point)
        self.current = ""
        self.limit = ""
        self.status = ""
        self.meter = ["", "", "", ""]
        self.commands: list[str] = []
        self.text = ""
        self.changed()

    def changed(self) -> None:
        """Make the text anew: all columns between time and commands."""
        meter = ",".join(self.meter)
        self.text = f",{self.name},{self.current},{self.limit},{self.status},{meter},"


class Series:
    """Takes events in order of time and writes a row for each second and charge point.

    A charge point that is not named here has rows from its first event on. What is kept is one
    row for each charge point.

    :param write: takes the lines, without a header.
    :param start_s: when the first second begins, Unix s; by default with the first event.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        start_s: float | None = None,
        charge_points: Iterable[str] = (),
    ) -> None:
        self._write = write
        self._second = math.inf  # the one that is being filled
        self._stations = {name: _Station(name) for name in charge_points}
        if start_s is not None:
            self._second = math.floor(start_s)

    def frame(self, time_s: float, charge_point: str, frame: Frame | None) -> None:
        """Take a frame on a charge point's CAN bus; None for one of no interest."""
        station = self._at(time_s, charge_point)
        kind = type(frame)
        if kind is MeasuredCurrent:
            text = str(frame.current_a)  # type: ignore[union-attr]
            if text != station.current:
                station.current = text
                station.changed()
        elif kind is SetLimit:
            station.limit = str(frame.limit_a)  # type: ignore[union-attr]
            station.changed()

    def message(self, event: OcppEvent) -> None:
        """Take an OCPP message or link event."""
        station = self._at(event.time_s, event.charge_point)
        if event.kind is not Kind.CALL:
            return
        if event.direction is Direction.TO_CHARGE_POINT:
            if len(station.commands) < MOST_COMMANDS:
                station.commands.append(event.action)
        elif event.action == "MeterValues":
            self._meter_values(station, event.payload)
        elif event.action == "StatusNotification":
            status = event.payload.get("status")
            if event.payload.get("connectorId") == _CONNECTOR and status in _STATUSES:
                station.status = str(status)
                station.changed()

    def finish(self, end: int) -> None:
        """Write the rows of all seconds that begin before `end`."""
        if self._second != math.inf:
            self._write_until(end)

    def _at(self, time_s: float, charge_point: str) -> _Station:
        if time_s >= self._second + 1:
            self._write_until(math.floor(time_s))
        elif self._second == math.inf:
            self._second = math.floor(time_s)
        station = self._stations.get(charge_point)
        if station is None:
            station = self._stations[charge_point] = _Station(charge_point)
        return station

    def _write_until(self, end: int) -> None:
        gap_s = end - self._second
        if gap_s > LONGEST_GAP_S:
            raise GapError(
                f"the time jumps by {gap_s:.0f} s, from {self._second} to {end}; "
                f"{LONGEST_GAP_S} s are the most that {SERIES} fills; record what is apart apart"
            )
        stations = self._stations.values()
        while self._second < end:
            lines = []
            for station in stations:
                commands = ""
                if station.commands:
                    commands = csv_cell(";".join(station.commands))
                    station.commands.clear()
                lines.append(f"{self._second}.000000{station.text}{commands}\n")
            self._write("".join(lines))
            self._second += 1

    def _meter_values(self, station: _Station, payload: Mapping[str, Any]) -> None:
        """Take the readings of connector 1 over all phases; what is malformed is no reading."""
        if payload.get("connectorId") != _CONNECTOR:
            return
        readings = payload.get("meterValue")
        for reading in readings if isinstance(readings, list) else ():
            samples = reading.get("sampledValue") if isinstance(reading, dict) else None
            for sample in samples if isinstance(samples, list) else ():
                try:
                    column = _METER_COLUMNS.get(sample.get("measurand", _DEFAULT_MEASURAND))
                    if column is None or "phase" in sample:
                        continue
                    value = float(sample["value"]) * _KILO.get(sample.get("unit"), 1.0)
                except (AttributeError, KeyError, TypeError, ValueError):
                    continue
                if math.isfinite(value):
                    station.meter[column] = f"{value:.12g}"
        station.changed()


def csv_cell(text: str) -> str:
    """Quote a cell if need be; it becomes one line whatever is in it."""
    if not text.isprintable():
        text = ascii(text)[1:-1]
    if '"' in text or "," in text:
        return '"' + text.replace('"', '""') + '"'
    return text
