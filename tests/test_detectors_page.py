"""docs/detectors.md says what a few of its runs, made anew from their seeds, come to."""

from __future__ import annotations

import re

import pytest

from docs.make_detectors import BEGIN, END, PAGE, RUNS, Row, made_anew, put_into, told
from evsim.errors import UserError

TEXT = PAGE.read_text("utf-8")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(made_anew())


def seconds(cell: str) -> float | None:
    """The delay in a cell, None where the detector kept silent."""
    found = re.match(r"([\d.]+) s", cell)
    return float(found[1]) if found else None


def test_runs_made_anew_come_to_what_the_page_says(rows: list[Row]) -> None:
    section = TEXT[TEXT.index("## A few runs by themselves") : TEXT.index(END)]
    on_page = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| run_")
    ]
    assert [cells[0] for cells in on_page] == list(RUNS)
    for row, cells in zip(rows, on_page, strict=True):
        assert row.cells()[:3] == cells[:3]
        for ours, told_cell in zip(row.cells()[3:], cells[3:], strict=True):
            message = f"{row.run}: {ours}, on the page {told_cell}; make it: docs.make_detectors"
            assert ("false" in ours) == ("false" in told_cell), message
            delay_s, told_s = seconds(ours), seconds(told_cell)
            if delay_s is None or told_s is None:
                assert delay_s == told_s, message
            else:  # a message more or less of the programs may move it by so much
                assert delay_s == pytest.approx(told_s, abs=2.0), message


def test_the_page_lists_them_as_missed_only_if_they_are(rows: list[Row]) -> None:
    listed = set(re.findall(r"^\| (run_\d+) \| \w+ \| \w+ \| \w+ \| \w+ \|$", TEXT, re.M))
    for row in rows:
        if row.what.count(","):  # an anomaly
            assert (row.delays_s[-1] is None) == (row.run in listed)
        else:
            assert set(row.delays_s) == {None}
            assert set(row.false_alarms) == {0}


def test_the_base_scenario_is_heard_within_two_cycles(rows: list[Row]) -> None:
    for row in rows:
        if row.what.startswith("repeated_fluctuation"):
            by_current, by_commands, combined = row.delays_s
            assert by_commands is not None
            assert by_commands <= 16
            assert (by_current is None) == (row.plant == "ac")
            assert combined is not None
            assert by_current is None or by_current <= 16


def test_figures_replace_those_before() -> None:
    once = put_into(f"a\n{BEGIN}\nold\n{END}\nb\n", told("# Title\n\nnew\n", []))
    assert once.startswith(f"a\n{BEGIN}\nnew\n")
    assert once.endswith(f"{END}\nb\n")
    assert put_into(once, told("# Title\n\nnew\n", [])) == once
    with pytest.raises(UserError, match="to put the figures between"):
        put_into("no marks", "")
