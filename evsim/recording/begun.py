"""What is being played now: its label waits in a file of its own until it is whole.

So a program that is killed in the middle of an anomaly leaves no recording that says nothing of it.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import logging
import os
from pathlib import Path

from evsim.labels import LABEL_COLUMNS, Label
from evsim.recording.errors import CannotWriteError

_PREFIX = ".begun."
_numbers = itertools.count(1)

log = logging.getLogger("evsim.recording")


def note_begun(directory: Path, label: Label) -> Path:
    """Write down that something has begun; remove the file that this gives with its label."""
    path = directory / f"{_PREFIX}{os.getpid()}.{next(_numbers)}"
    try:
        path.write_text(label.to_csv(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise CannotWriteError(path, error) from error
    return path


def take_begun(directory: Path, known: list[Label], last_s: float) -> list[Label]:
    """Remove what is written down; give labels for it that last until `last_s`.

    :param known: the labels that were written; what is among them is no longer being played.
    """
    labels = []
    written = {(label.anomaly, label.target, label.t_start_s) for label in known}
    for path in sorted(directory.glob(f"{_PREFIX}*")):
        try:
            (row,) = csv.reader([path.read_text(encoding="utf-8")])
            begun = Label.from_row(dict(zip(LABEL_COLUMNS, row, strict=True)))
        except (ValueError, KeyError):  # killed while it wrote: nothing had begun yet
            pass
        else:
            if (begun.anomaly, begun.target, begun.t_start_s) not in written:
                log.warning(
                    "%s: who played %s was killed; its label lasts to the end, with no effect",
                    directory,
                    begun.anomaly,
                )
                end_s = max(begun.t_start_s, last_s)
                labels.append(dataclasses.replace(begun, t_end_s=end_s))
        path.unlink()
    return labels
