"""How every SQLite file here is opened, and what is said when it can't be."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from evsim.errors import UserError

#: How long a statement waits for another process that is writing.
BUSY_S = 5.0
#: How long a file that only one process may hold is waited for: its last holder may just be ending.
HELD_S = 1.0
#: Processes that make the same new file at once may collide this often.
MOST_COLLISIONS = 10


#: A database that is gone with the program, for the lab.
IN_MEMORY = Path(":memory:")


class StorageError(UserError):
    """A file that must be kept cannot be opened or written."""


def state_directory() -> Path:
    """Return where this user's programs keep state: $XDG_STATE_HOME, else ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "ev-anomaly-sim"


class Database(sqlite3.Connection):
    """A connection that knows its file; made by open_database()."""

    path: Path
    _file: os.stat_result | None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Commit all that is done in the context, or nothing of it.

        Raises StorageError with one line if that cannot be: the disk is full, or the file was
        removed and what is written would be gone with the end of the process.
        """
        self._check_place()
        try:
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.commit()
            except BaseException:
                self.rollback()
                raise
        except sqlite3.Error as error:
            raise self._not_written(error) from error

    def write(self, statement: str, parameters: Sequence[object]) -> sqlite3.Cursor:
        """Commit one statement, as writing() does: alone, it is a transaction by itself."""
        self._check_place()
        try:
            return self.execute(statement, parameters)
        except sqlite3.Error as error:
            raise self._not_written(error) from error

    def add_tables(self, schema: str) -> None:
        """Make the tables of another part of the program in this file too, unless they exist.

        Raises StorageError.
        """
        try:
            self.executescript(f"BEGIN IMMEDIATE; {schema}; COMMIT")
        except sqlite3.Error as error:
            self.rollback()
            raise self._not_written(error) from error

    def _check_place(self) -> None:
        if self._file is not None and not self._is_in_place(self._file):
            raise StorageError(f"{self.path} was removed while it was in use; start again")

    def _not_written(self, error: sqlite3.Error) -> StorageError:
        return StorageError(
            f"cannot write {self.path}: {error}; is the disk full? "
            "Nothing that was written before is lost"
        )

    def note_file(self, path: Path) -> None:
        """Remember which file it is."""
        self.path, self._file = path, None if path == IN_MEMORY else path.stat()

    def _is_in_place(self, file: os.stat_result) -> bool:
        try:
            return os.path.samestat(file, self.path.stat())
        except OSError:
            return False


def open_database(path: Path, schema: str, *, alone: bool = False) -> Database:
    """Open the database at `path`, made with its directory if it is new, and apply `schema`.

    Every statement commits by itself unless BEGIN says otherwise. What is committed survives a
    SIGKILL of the process at any point (write-ahead log); a power cut of the whole machine may
    cost the last moments, but never the consistency. With `alone` a second process that opens
    the file is refused.

    Raises StorageError with one line that says what to do.
    """
    try:
        if path != IN_MEMORY:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # it may hold keys
        timeout_s = HELD_S if alone else BUSY_S
        database = sqlite3.connect(path, timeout_s, isolation_level=None, factory=Database)
        database.note_file(path)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"cannot open {path}: {error}; --db or --state names another place"
        ) from error
    try:
        if alone:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
        _use_write_ahead_log(database)
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


def _use_write_ahead_log(database: sqlite3.Connection) -> None:
    """Switch to the write-ahead log: alone among SQLite's statements it does not wait its turn."""
    for collisions in range(MOST_COLLISIONS + 1):
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if collisions == MOST_COLLISIONS:
                raise
            database.executescript("BEGIN IMMEDIATE; COMMIT")  # this one does
        else:
            return
