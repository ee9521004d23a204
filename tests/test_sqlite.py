"""Writing to a database: all or nothing, and what is said when it cannot be."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evsim.sqlite import IN_MEMORY, Database, StorageError, open_database

#: A break of the reference is found out by COMMIT only.
SCHEMA = """
CREATE TABLE IF NOT EXISTS parents (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS children (
    parent INTEGER NOT NULL REFERENCES parents DEFERRABLE INITIALLY DEFERRED
)
"""


def write_both(database: Database, *statements: Any) -> None:
    with database.writing():
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize(
    "statement",
    ["INSERT INTO children VALUES (NULL)", "INSERT INTO children VALUES (7)"],
    ids=["the statement fails", "the commit fails"],
)
def test_what_cannot_be_written_leaves_nothing_behind(statement: str) -> None:
    with closing(open_database(IN_MEMORY, SCHEMA)) as database:
        with pytest.raises(StorageError, match="cannot write"):
            write_both(database, "INSERT INTO parents VALUES (1)", statement)
        with pytest.raises(StorageError, match="cannot write"):
            database.write(statement, ())
        database.write("INSERT INTO parents VALUES (?)", (2,))
        assert database.execute("SELECT * FROM parents").fetchall() == [(2,)]
        assert database.execute("SELECT * FROM children").fetchall() == []


def test_an_error_of_the_caller_rolls_back_and_goes_through() -> None:
    with closing(open_database(IN_MEMORY, SCHEMA)) as database:
        with pytest.raises(TypeError):
            write_both(database, "INSERT INTO parents VALUES (1)", None)
        assert not database.in_transaction
        assert database.execute("SELECT * FROM parents").fetchall() == []


def test_one_statement_is_committed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite"
    with closing(open_database(path, SCHEMA)) as database:
        database.write("INSERT INTO parents VALUES (?)", (1,))
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT * FROM parents").fetchall() == [(1,)]
        path.unlink()
        with pytest.raises(StorageError, match="was removed"):
            database.write("INSERT INTO parents VALUES (?)", (2,))


def test_another_part_adds_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    for _ in range(2):  # the second time they exist
        with closing(open_database(path, SCHEMA)) as database:
            database.add_tables("CREATE TABLE IF NOT EXISTS others (name TEXT)")
            database.write("INSERT INTO others VALUES (?)", ("one",))
    with closing(open_database(path, SCHEMA)) as database:
        assert database.execute("SELECT COUNT(*) FROM others").fetchone() == (2,)
        with pytest.raises(StorageError, match="cannot write"):
            database.add_tables("CREATE TABLE twice (a TEXT); CREATE TABLE twice (a TEXT)")
        database.add_tables("CREATE TABLE twice (a TEXT)")  # nothing was left half made
