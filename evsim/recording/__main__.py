"""Make a recording of real programs a whole run, when they have ended.

    python -m evsim.recording DIR

DIR is the directory that csms.py and cp.py recorded into. Adds series.csv, trace.jsonl,
charger.dbc and run.json to it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from evsim import console
from evsim.errors import UserError
from evsim.recording import finish_live


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = console.argument_parser(__doc__ or "", "python -m evsim.recording runs/monday")
    parser.prog = "python -m evsim.recording"
    parser.add_argument("directory", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    console.set_up_logging(options.log_level)
    try:
        info = finish_live(options.directory)
    except UserError as error:
        return console.fail(error)
    console.ready(
        f"{options.directory} is a whole run now: {info['duration_s']:g} s of "
        f"{', '.join(info['charge_points']) or 'nothing'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
