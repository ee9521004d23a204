"""The series says for each second what was known when it was over."""

from __future__ import annotations

import csv
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_run import meter_values

from evsim.events import Direction, Kind, OcppEvent
from evsim.frames import MeasuredCurrent, SetLimit, StartCharging
from evsim.recording.layout import SERIES_COLUMNS
from evsim.recording.series import GapError, Series, csv_cell

T0 = 1_767_225_600


def call(
    at_s: float,
    direction: Direction,
    action: str,
    payload: dict[str, Any],
    charge_point: str = "CP_1",
) -> OcppEvent:
    return OcppEvent(T0 + at_s, charge_point, direction, Kind.CALL, "id", action, payload)


def received(at_s: float, action: str, payload: dict[str, Any]) -> OcppEvent:
    return call(at_s, Direction.TO_CENTRAL_SYSTEM, action, payload)


def command(at_s: float, action: str) -> OcppEvent:
    return call(at_s, Direction.TO_CHARGE_POINT, action, {})


class Table:
    """A series and its rows so far."""

    def __init__(self, **options: Any) -> None:
        self.lines: list[str] = []
        self.series = Series(self.lines.append, **options)

    def rows(self) -> list[dict[str, str]]:
        reader = csv.reader("".join(self.lines).splitlines(), strict=True)
        return [dict(zip(SERIES_COLUMNS, cells, strict=True)) for cells in reader]

    def column(self, name: str, charge_point: str = "CP_1") -> list[str]:
        return [row[name] for row in self.rows() if row["charge_point"] == charge_point]


def test_a_row_is_as_of_the_end_of_its_second() -> None:
    table = Table()
    for at_s, current_a in ((0.2, 1), (0.9, 2), (1.0, 3), (3.999999, 4)):
        table.series.frame(T0 + at_s, "CP_1", MeasuredCurrent(current_a))
    table.series.finish(T0 + 4)
    assert table.column("current_a") == ["2", "3", "3", "4"]
    assert table.column("time") == [f"{T0 + second}.000000" for second in range(4)]


def test_no_row_tells_what_comes_later() -> None:
    table = Table()
    table.series.frame(T0 + 0.5, "CP_1", MeasuredCurrent(1))
    table.series.frame(T0 + 0.999999, "CP_1", SetLimit(9))
    assert table.lines == []
    table.series.frame(T0 + 1.0, "CP_1", None)
    assert table.column("limit_a") == ["9"]


def test_each_column_has_its_source() -> None:
    table = Table()
    series = table.series
    series.frame(T0 + 0.1, "CP_1", SetLimit(32))
    series.frame(T0 + 0.2, "CP_1", StartCharging())
    series.message(received(0.3, "StatusNotification", {"connectorId": 1, "status": "Charging"}))
    series.message(received(0.4, "StatusNotification", {"connectorId": 0, "status": "Faulted"}))
    series.message(received(0.5, "MeterValues", meter_values("15.75", "1.25", "40.5")))
    series.message(received(0.6, "MeterValues", {**meter_values("1", "1", "1"), "connectorId": 2}))
    series.message(command(0.7, "SetChargingProfile"))
    series.message(command(0.8, "RemoteStartTransaction"))
    series.finish(T0 + 2)
    first, second = table.rows()
    assert first == {
        "time": f"{T0}.000000",
        "charge_point": "CP_1",
        "current_a": "",
        "limit_a": "32",
        "status": "Charging",
        "meter_current_a": "15.75",
        "meter_power_w": "",
        "meter_energy_wh": "1250",
        "state_of_charge_percent": "40.5",
        "commands": "SetChargingProfile;RemoteStartTransaction",
    }
    assert second == {**first, "time": f"{T0 + 1}.000000", "commands": ""}


def test_what_the_central_system_sends_is_no_reading_and_answers_are_no_commands() -> None:
    table = Table()
    forged = call(0.1, Direction.TO_CHARGE_POINT, "MeterValues", meter_values("9", "9", "9"))
    table.series.message(forged)
    table.series.message(received(0.2, "Heartbeat", {}))
    table.series.message(command(0.3, "Reset")._replace(kind=Kind.CALL_RESULT))
    table.series.finish(T0 + 1)
    (row,) = table.rows()
    assert row["meter_current_a"] == ""
    assert row["commands"] == "MeterValues"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
SAMPLES = st.dictionaries(st.sampled_from(["value", "measurand", "unit", "phase"]), JSON) | JSON


@given(st.lists(SAMPLES, max_size=3) | JSON, JSON, st.text())
def test_no_payload_of_a_hostile_peer_breaks_a_row(samples: Any, junk: Any, action: str) -> None:
    table = Table()
    meter_value = [{"sampledValue": samples}, junk]
    for payload in (
        {"connectorId": 1, "meterValue": meter_value},
        {"connectorId": 1, "meterValue": junk},
    ):
        table.series.message(received(0.1, "MeterValues", payload))
    table.series.message(
        received(0.1, "StatusNotification", {"connectorId": 1, "status": f"{junk}"})
    )
    table.series.message(command(0.2, action))
    table.series.finish(T0 + 1)
    (row,) = table.rows()
    assert row["status"] == ""
    for name in ("meter_current_a", "meter_power_w", "meter_energy_wh"):
        assert row[name] == "" or float(row[name]) < float("inf")


@pytest.mark.parametrize("value", ["nan", "inf", "", "x", "1e999"])
def test_what_is_no_number_is_no_reading(value: str) -> None:
    table = Table()
    table.series.message(received(0.1, "MeterValues", meter_values("5", "1", "2")))
    table.series.message(received(0.2, "MeterValues", meter_values(value, "1", "2")))
    table.series.finish(T0 + 1)
    assert table.column("meter_current_a") == ["5"]


def test_a_charge_point_has_rows_from_its_first_event_or_from_the_start_if_named() -> None:
    table = Table(start_s=T0 - 1, charge_points=["CP_1"])
    table.series.frame(T0 + 0.5, "CP_2", MeasuredCurrent(1))
    table.series.finish(T0 + 1)
    assert len(table.column("time", "CP_1")) == 2
    assert table.column("time", "CP_2") == [f"{T0}.000000"]


def test_a_gap_is_filled_up_to_a_day() -> None:
    table = Table()
    table.series.frame(T0, "CP_1", MeasuredCurrent(7))
    table.series.frame(T0 + 86_400.5, "CP_1", None)
    assert table.column("current_a") == ["7"] * 86_400
    with pytest.raises(GapError, match="the time jumps by 86401 s"):
        table.series.frame(T0 + 2 * 86_400 + 1, "CP_1", None)


def test_a_flood_of_commands_is_bounded() -> None:
    table = Table()
    for number in range(5000):
        table.series.message(command(number / 10_000, "Reset"))
    table.series.finish(T0 + 1)
    assert table.column("commands") == [";".join(["Reset"] * 1000)]


def test_memory_does_not_grow() -> None:
    series = Series(len)
    reading = MeasuredCurrent(1)

    def some_hours(first_s: int) -> None:
        for second in range(first_s, first_s + 10_000):
            series.frame(T0 + second, "CP_1", reading)
            series.message(command(second, "Reset"))

    some_hours(0)
    tracemalloc.start()
    some_hours(10_000)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 5_000


@given(st.text())
def test_every_text_makes_one_cell(text: str) -> None:
    (line,) = f"before,{csv_cell(text)}".splitlines()
    (row,) = csv.reader([line], strict=True)
    assert row[0] == "before"
    assert len(row) == 2
    if text.isprintable():
        assert row[1] == text
