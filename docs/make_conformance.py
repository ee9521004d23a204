"""Makes docs/conformance.md: what the compliance tool's test cases say of both ends.

python -m docs.make_conformance

It runs the tests that are named after the cases of tests/octt16.tsv: test_tc_012_cs_remote_stop is
one of TC_012_CS. If one does not pass, that is told, and the page is not made.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parent
TESTS = DOCS.parent / "tests"
TABLE = TESTS / "octt16.tsv"
PAGE = DOCS / "conformance.md"

#: Cases that nothing here could show, and why.
NOT_APPLICABLE: Mapping[str, str] = {}

FUNCTION = re.compile(r"^(?:async )?def (test_tc_\w+)\(", re.MULTILINE)

HEAD = """\
# Conformance

The Open Charge Alliance's compliance tool for OCPP 1.6 names its test cases; each is a test here,
whose name contains the id. No certificate: we follow the cases as they are publicly described, and
have not run the tool. `python -m docs.make_conformance` runs the tests and makes this page.

The charge point is the real one of `cp.py`, with the real charger behind it and a central system
that the test plays, strict about order and fields ([`tests/octt_bench.py`](../tests/octt_bench.py),
[`tests/octt_central.py`](../tests/octt_central.py)), in virtual time or over real sockets; the
central system is that of `csms.py`, with a charge point that the test plays
([`tests/octt_central_bench.py`](../tests/octt_central_bench.py)).
"""


class Row(NamedTuple):
    """A test case of the compliance tool."""

    id: str
    side: str
    purpose: str


class Place(NamedTuple):
    """Where a test is."""

    file: str
    name: str


def rows() -> list[Row]:
    """Read the table of test cases."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [Row(r["id"], r["side"], r["purpose"]) for r in csv.DictReader(file, delimiter="\t")]


def places_by_case() -> dict[str, list[Place]]:
    """Give the tests of each case's id, by their names alone: nothing is imported."""
    found: dict[str, list[Place]] = defaultdict(list)
    for path in sorted(TESTS.glob("test_*.py")):
        source = path.read_text("utf-8")
        for name in FUNCTION.findall(source):
            found[case_of(name)].append(Place(path.name, name))
    return dict(found)


def case_of(test: str) -> str:
    """Give the id of the case that a test is named after; ValueError if it names none."""
    match = re.match(r"test_(tc_\d+(?:_\d+)?_(?:csms|cs))_", test)
    if match is None:
        raise ValueError(f"{test} is not named test_tc_NUMBER_cs_… or test_tc_NUMBER_csms_…")
    return match[1].upper()


def page(tests: Mapping[str, Iterable[Place]]) -> str:
    """Write the page, for tests that have passed."""
    parts = [HEAD]
    for side in ("charge point", "central system"):
        cases = [row for row in rows() if row.side == side]
        passed = sum(row.id in tests for row in cases)
        others = sum(row.id in NOT_APPLICABLE for row in cases)
        count = f"{passed} passed" + (f", {others} not applicable" if others else "")
        parts += [f"\n## The {side}\n\n{len(cases)} cases: {count}.\n"]
        parts += ["| case | what it is about | result | shown by |", "|---|---|---|---|"]
        parts += [line(row, tests.get(row.id, ())) for row in cases]
    return "\n".join(parts) + "\n"


def line(row: Row, places: Iterable[Place]) -> str:
    """Write what is to be said of one case."""
    if row.id in NOT_APPLICABLE:
        return f"| {row.id} | {row.purpose} | not applicable | {NOT_APPLICABLE[row.id]} |"
    links = ", ".join(f"[`{p.name}`](../tests/{p.file})" for p in places)
    return f"| {row.id} | {row.purpose} | passed | {links} |"


class Outcomes:
    """A pytest plugin that notes which tests have passed, in all their variants."""

    def __init__(self) -> None:
        self.passed: set[Place] = set()
        self.not_passed: dict[Place, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the outcome of a test's set-up, call or tear-down."""
        file, _, name = report.nodeid.partition("::")
        place = Place(Path(file).name, name.partition("[")[0])
        if report.outcome != "passed":
            self.not_passed[place] = report.outcome
        elif report.when == "call":
            self.passed.add(place)


def main() -> int:
    """Run the tests and make the page; the exit code."""
    tests = places_by_case()
    files = sorted({str(TESTS / place.file) for places in tests.values() for place in places})
    outcomes = Outcomes()
    pytest.main(["-q", "-k", "test_tc_", *files], plugins=[outcomes])
    faults = [
        f"{place.name} in tests/{place.file}: {outcomes.not_passed.get(place, 'not run')}"
        for places in tests.values()
        for place in places
        if place in outcomes.not_passed or place not in outcomes.passed
    ]
    faults += missing(tests)
    if faults:
        sys.stderr.write("\n".join(["docs/conformance.md is not made:", *faults, ""]))
        return 1
    PAGE.write_text(page(tests), "utf-8")
    return 0


def missing(tests: Mapping[str, Iterable[Place]]) -> list[str]:
    """Name what keeps table, tests and reasons from agreeing."""
    ids = [row.id for row in rows()]
    return [
        *(f"{i}: neither a test nor a reason" for i in ids if i not in {*tests, *NOT_APPLICABLE}),
        *(f"{i}: both a test and a reason" for i in ids if i in tests and i in NOT_APPLICABLE),
        *(f"{i}: not in the table" for i in sorted({*tests, *NOT_APPLICABLE} - {*ids})),
    ]


if __name__ == "__main__":
    sys.exit(main())
