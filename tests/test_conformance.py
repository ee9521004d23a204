"""docs/conformance.md is what the tests named after the compliance tool's cases make of it."""

from __future__ import annotations

import pytest

from docs import make_conformance
from docs.make_conformance import PAGE, Place, case_of, missing, page, places_by_case, rows


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text("utf-8") == page(places_by_case()), "python -m docs.make_conformance"


def test_each_case_has_a_test_or_a_reason_and_not_both() -> None:
    assert missing(places_by_case()) == []


def test_the_table_holds_each_case_once() -> None:
    ids = [row.id for row in rows()]
    assert len(ids) == len(set(ids)) == 184
    for row in rows():
        assert row.side == ("central system" if row.id.endswith("_CSMS") else "charge point")
        assert row.purpose


def test_what_is_missing_or_twofold_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = places_by_case()
    first, second = [row.id for row in rows()][:2]
    monkeypatch.setattr(make_conformance, "NOT_APPLICABLE", {second: "a reason"})
    there = {**tests, second: [Place("test_x.py", "test_x")], "TC_999_CS": []}
    del there[first]
    faults = missing(there)
    assert f"{first}: neither a test nor a reason" in faults
    assert f"{second}: both a test and a reason" in faults
    assert "TC_999_CS: not in the table" in faults


@pytest.mark.parametrize(
    ("test", "case"),
    [
        ("test_tc_043_cs_full", "TC_043_CS"),
        ("test_tc_043_1_cs_not_supported", "TC_043_1_CS"),
        ("test_tc_019_2_csms_one_key", "TC_019_2_CSMS"),
    ],
)
def test_a_test_is_of_the_case_in_its_name(test: str, case: str) -> None:
    assert case_of(test) == case


def test_a_name_without_a_case_is_an_error() -> None:
    with pytest.raises(ValueError, match="is not named"):
        case_of("test_tc_cold_boot")
