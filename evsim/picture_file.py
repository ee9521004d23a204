"""A figure's picture in a file: whole or not at all, and one clear line when that can't be."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from evsim.errors import UserError

FORMATS = (".png", ".pdf", ".svg")


def picture_path(text: str) -> Path:
    """Read a picture's file name from the command line."""
    if Path(text).suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text} does not end in {', '.join(FORMATS)}")
    return Path(os.path.realpath(text))


def check_writable(path: Path) -> None:
    """Find out at the start, not after an hour, that `path` can't be written; UserError."""
    with _unfinished_beside(path) as probe:
        probe.touch(exist_ok=False)
        if path.is_dir():
            raise UserError(f"cannot save {path}: it is a directory; a file is needed")


def save(figure: Figure, path: Path, dpi: float) -> None:
    """Write the picture to `path`, whole or not at all; UserError if it can't be written."""
    # For PDF, fonts that journals accept: TrueType, not Type 3.
    with _unfinished_beside(path) as unfinished, mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(unfinished, format=path.suffix[1:].lower(), dpi=dpi)
        unfinished.replace(path)


@contextlib.contextmanager
def _unfinished_beside(path: Path) -> Iterator[Path]:
    """Give the name of a file to become `path`, gone at the end; an OSError is a UserError."""
    unfinished = path.with_name(f".plot-{secrets.token_hex(6)}.tmp")
    try:
        try:
            yield unfinished
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot save {path}: {error.strerror}; a file is needed, in a directory that "
            "exists, may be written to and has space"
        ) from error
