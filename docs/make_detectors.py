"""Writes the figures into docs/detectors.md.

    ./simulate.py --suite benchmark --seeds 4-4 --out sets/b
    ./simulate.py --suite benign --seeds 4-4 --out sets/n
    ./detect.py score sets/b sets/n --out scores && python -m docs.make_detectors scores

What `./detect.py score` has reported goes between the marks, after a few of its runs by themselves,
which are simulated anew from their seeds; a test does the same and compares.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from evsim import console
from evsim.detectors import DEFAULT, DETECTORS
from evsim.detectors.combined import Combined
from evsim.detectors.command_rate import CommandRate
from evsim.errors import UserError
from evsim.lab.suite import benchmark
from evsim.scoring.sets import score_run
from simulate import simulate

PAGE = Path(__file__).with_name("detectors.md")
BEGIN = "<!-- figures: python -m docs.make_detectors -->"
END = "<!-- end of figures -->"
#: Runs of the test seeds that are made anew: the base scenario on three plants, and others.
RUNS = ("run_4000", "run_4070", "run_4206", "run_4128", "run_4157")
ASKED = (DEFAULT, CommandRate.name, Combined.name)
HEAD = ["run", "what", "plant", *ASKED]


class Row(NamedTuple):
    """What came of one run: of each asked detector how long its first true alarm took, s."""

    run: str
    what: str
    plant: str
    delays_s: tuple[float | None, ...]
    false_alarms: tuple[int, ...]

    def cells(self) -> list[str]:
        """Write it as a row of the page."""
        told = []
        for delay_s, false in zip(self.delays_s, self.false_alarms, strict=True):
            found = "silent" if delay_s is None else f"{delay_s:.1f} s"
            told.append(f"{found}, {false} false" if false else found)
        return [self.run, self.what, self.plant, *told]


def made_anew(names: Sequence[str] = RUNS) -> Iterator[Row]:
    """Simulate runs of the benchmark from their seeds, and score them."""
    specs = benchmark([4])
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            spec = specs[name]
            simulate(spec, Path(temporary) / name)
            run = score_run(Path(temporary) / name, {asked: DETECTORS[asked] for asked in ASKED})
            what = f"{spec.anomaly}, {spec.severity}" if spec.anomaly else spec.benign
            yield Row(
                name,
                what,
                spec.plant,
                tuple(
                    next((one.delay_s for one in run.outcomes[asked].found), None)
                    for asked in ASKED
                ),
                tuple(len(run.outcomes[asked].false_alarms) for asked in ASKED),
            )


def told(report: str, rows: Sequence[Row]) -> str:
    """Put the report, without its title, and the runs together."""
    table = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    lines = [f"| {' | '.join(cells)} |".replace("| --- |", "|---|") for cells in table]
    _, _, body = report.partition("\n")
    return "\n".join(
        [
            BEGIN,
            body.strip(),
            "",
            "## A few runs by themselves",
            "",
            "From the anomaly's start to the first true alarm. A test makes these runs anew.",
            "",
            *lines,
            END,
        ]
    )


def put_into(page: str, figures: str) -> str:
    """Replace what is between the marks; UserError if they are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{PAGE} has no {BEGIN} … {END} to put the figures between")
    return before + figures + after


def main() -> int:
    """Write the page; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", type=Path, help="what ./detect.py score --out has written")
    options = parser.parse_args()
    logging.disable()  # what a run has to say is in its recording
    try:
        report = (options.scores / "report.md").read_text("utf-8")
        figures = told(report, list(made_anew()))
        PAGE.write_text(put_into(PAGE.read_text("utf-8"), figures), "utf-8")
    except (UserError, OSError) as error:
        return console.fail(error if isinstance(error, UserError) else UserError(str(error)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
