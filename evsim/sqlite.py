"""How every SQLite file here is opened, and what is said when it can't be."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from evsim.errors import UserError


class StorageError(UserError):
    """A file that must be kept cannot be opened or written."""


def state_directory() -> Path:
    """Return where this user's programs keep state: $XDG_STATE_HOME, else ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "ev-anomaly-sim"


def open_database(path: Path, schema: str, *, alone: bool = False) -> sqlite3.Connection:
    """Open the database at `path`, made with its directory if it is new, and apply `schema`.

    Every statement commits by itself unless BEGIN says otherwise. What is committed survives a
    SIGKILL of the process at any point (write-ahead log); a power cut of the whole machine may
    cost the last moments, but never the consistency. With `alone` a second process that opens
    the file is refused.

    Raises StorageError with one line that says what to do.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"cannot open {path}: {error}; is its directory writable?") from error
    try:
        if alone:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA foreign_keys = ON")
        database.executescript(f"BEGIN IMMEDIATE; {schema}; COMMIT")
    except sqlite3.OperationalError as error:
        database.close()
        remedy = (
            "another program is using it; end that one or choose another file"
            if "locked" in str(error)
            else "is the disk full, or its directory not writable?"
        )
        raise StorageError(f"cannot use {path}: {error}; {remedy}") from error
    except sqlite3.DatabaseError as error:
        database.close()
        raise StorageError(
            f"{path} is damaged or no database of ours: {error}; move it away to start anew"
        ) from error
    return database
