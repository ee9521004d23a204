"""The central system's record in SQLite, committed before a message is answered.

Repetitions are recognised: a charge point that did not get our answer sends its message again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evsim.central_system.id_tags import IdTags
from evsim.sqlite import open_database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS charge_points (
    charge_point_id TEXT PRIMARY KEY,
    vendor TEXT NOT NULL,
    model TEXT NOT NULL,
    booted_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS authorization_keys (
    charge_point_id TEXT NOT NULL,
    key_digest BLOB NOT NULL,
    is_next INTEGER NOT NULL,  -- sent to the charge point, which has not used it yet
    PRIMARY KEY (charge_point_id, is_next)
);
CREATE TABLE IF NOT EXISTS issued_keys (  -- as --keys had them at the last start
    charge_point_id TEXT PRIMARY KEY,
    key_digest BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS transactions (
    transaction_id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice
    charge_point_id TEXT NOT NULL,
    connector_id INTEGER NOT NULL,
    id_tag TEXT NOT NULL,
    started_at TEXT NOT NULL,
    meter_start_wh INTEGER NOT NULL,
    stopped_at TEXT,
    meter_stop_wh INTEGER,
    reason TEXT,
    UNIQUE (charge_point_id, connector_id, id_tag, started_at, meter_start_wh)
);
CREATE INDEX IF NOT EXISTS open_transactions ON transactions (charge_point_id)
    WHERE stopped_at IS NULL;
CREATE TABLE IF NOT EXISTS reservations (
    reservation_id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: that would replace one
    charge_point_id TEXT NOT NULL,
    connector_id INTEGER NOT NULL,
    id_tag TEXT NOT NULL,
    expires_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS meter_values (
    charge_point_id TEXT NOT NULL,
    connector_id INTEGER NOT NULL,
    transaction_id INTEGER,
    sampled_at TEXT NOT NULL,
    sampled_values TEXT NOT NULL  -- a JSON array of OCPP SampledValue
);
CREATE UNIQUE INDEX IF NOT EXISTS each_meter_value_once ON meter_values
    (charge_point_id, sampled_at, connector_id, IFNULL(transaction_id, 0), sampled_values)
"""


@dataclass(frozen=True)
class RecordedTransaction:
    """A transaction as the central system knows it; energy in Wh, time stamps as they came."""

    transaction_id: int
    charge_point_id: str
    connector_id: int
    id_tag: str
    started_at: str
    meter_start_wh: int
    stopped_at: str | None
    meter_stop_wh: int | None
    reason: str | None


class Ledger:
    """The record of one central system; several processes may share the file.

    Everything that writes raises StorageError if that cannot be.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file; StorageError if it cannot be."""
        self._database = open_database(path, _SCHEMA)
        self.id_tags = IdTags(self._database)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _write(self, statement: str, *rows: tuple[object, ...]) -> None:
        """Commit a statement, for each of the rows."""
        if len(rows) == 1:
            self._database.write(statement, rows[0])
            return
        with self._database.writing():
            self._database.executemany(statement, rows)

    def booted(self, charge_point_id: str, vendor: str, model: str, at: str) -> None:
        """Record a BootNotification."""
        self._write(
            "INSERT OR REPLACE INTO charge_points VALUES (?, ?, ?, ?)",
            (charge_point_id, vendor, model, at),
        )

    # ── AuthorizationKeys: only their digests are kept ───────────────────────────────────────

    def issue_keys(self, digests: Mapping[str, bytes]) -> None:
        """Take the keys of --keys.

        A rotated key outlives the one in the file that it replaced, but not a new one there. Who
        was in the file and is no more loses the key.
        """
        issued = dict(self._database.execute("SELECT * FROM issued_keys").fetchall())
        changed = {i: d for i, d in digests.items() if issued.get(i) != d}
        gone = issued.keys() - digests.keys()
        with self._database.writing():
            for table in ("authorization_keys", "issued_keys"):
                self._database.executemany(
                    f"DELETE FROM {table} WHERE charge_point_id = ?",
                    [(charge_point_id,) for charge_point_id in (*changed, *gone)],
                )
            self._database.executemany(
                "INSERT INTO authorization_keys VALUES (?, ?, 0)", changed.items()
            )
            self._database.executemany("INSERT INTO issued_keys VALUES (?, ?)", changed.items())

    def offer_key(self, charge_point_id: str, key_digest: bytes) -> None:
        """Keep a key that is about to be sent: until it is known which counts, both do."""
        self._write(
            "INSERT OR REPLACE INTO authorization_keys VALUES (?, ?, 1)",
            (charge_point_id, key_digest),
        )

    def withdraw_key(self, charge_point_id: str) -> None:
        """Forget the key that was offered: the charge point has refused it."""
        self._write(
            "DELETE FROM authorization_keys WHERE charge_point_id = ? AND is_next",
            (charge_point_id,),
        )

    def adopt_key(self, charge_point_id: str) -> None:
        """Let the offered key be the only one: the charge point has taken it."""
        self._write(
            "UPDATE OR REPLACE authorization_keys SET is_next = 0"
            " WHERE charge_point_id = ? AND is_next",
            (charge_point_id,),
        )

    def key_digests(self, charge_point_id: str) -> tuple[bytes | None, bytes | None]:
        """Give the digests of its key and of the key that it has been offered."""
        rows = dict(
            self._database.execute(
                "SELECT is_next, key_digest FROM authorization_keys WHERE charge_point_id = ?",
                (charge_point_id,),
            ).fetchall()
        )
        return rows.get(0), rows.get(1)

    # ── Transactions ─────────────────────────────────────────────────────────────────────────

    def start_transaction(
        self,
        charge_point_id: str,
        connector_id: int,
        id_tag: str,
        started_at: str,
        meter_start_wh: int,
    ) -> int:
        """Record a StartTransaction and give its id; for a repetition the id it got before."""
        key = (
            charge_point_id,
            _storable(connector_id),
            id_tag,
            started_at,
            _storable(meter_start_wh),
        )
        self._write(
            "INSERT OR IGNORE INTO transactions"
            " (charge_point_id, connector_id, id_tag, started_at, meter_start_wh)"
            " VALUES (?, ?, ?, ?, ?)",
            key,
        )
        (transaction_id,) = self._database.execute(
            "SELECT transaction_id FROM transactions WHERE charge_point_id = ?"
            " AND connector_id = ? AND id_tag = ? AND started_at = ? AND meter_start_wh = ?",
            key,
        ).fetchone()
        return int(transaction_id)

    def stop_transaction(
        self,
        charge_point_id: str,
        transaction_id: int,
        stopped_at: str,
        meter_stop_wh: int,
        reason: str | None,
    ) -> bool:
        """Record a StopTransaction; False if that charge point has no such transaction.

        The first one counts; a repetition changes nothing.
        """
        self._write(
            "UPDATE transactions SET stopped_at = ?, meter_stop_wh = ?, reason = ?"
            " WHERE transaction_id = ? AND charge_point_id = ? AND stopped_at IS NULL",
            (
                stopped_at,
                _storable(meter_stop_wh),
                reason,
                _storable(transaction_id),
                charge_point_id,
            ),
        )
        known = self._database.execute(
            "SELECT 1 FROM transactions WHERE transaction_id = ? AND charge_point_id = ?",
            (_storable(transaction_id), charge_point_id),
        ).fetchone()
        return known is not None

    def meter_values(
        self,
        charge_point_id: str,
        connector_id: int,
        transaction_id: int | None,
        values: list[Mapping[str, Any]],
    ) -> None:
        """Record the meterValue list of a message (snake_case keys); repetitions are ignored."""
        self._write(
            "INSERT OR IGNORE INTO meter_values VALUES (?, ?, ?, ?, ?)",
            *(
                (
                    charge_point_id,
                    _storable(connector_id),
                    None if transaction_id is None else _storable(transaction_id),
                    value["timestamp"],
                    json.dumps(value["sampled_value"]),
                )
                for value in values
            ),
        )

    def new_reservation(
        self, charge_point_id: str, connector_id: int, id_tag: str, expires_at: str
    ) -> int:
        """Record a reservation that is about to be asked for, and give its id."""
        row = self._database.write(
            "INSERT INTO reservations (charge_point_id, connector_id, id_tag, expires_at)"
            " VALUES (?, ?, ?, ?)",
            (charge_point_id, connector_id, id_tag, expires_at),
        )
        assert row.lastrowid is not None
        return row.lastrowid

    def transaction_data(
        self, charge_point_id: str, transaction_id: int, values: list[Mapping[str, Any]]
    ) -> None:
        """Record the meter values that come with a StopTransaction, for its connector."""
        if not values:
            return
        row = self._database.execute(
            "SELECT connector_id FROM transactions"
            " WHERE transaction_id = ? AND charge_point_id = ?",
            (_storable(transaction_id), charge_point_id),
        ).fetchone()
        self.meter_values(charge_point_id, row[0] if row else 0, transaction_id, values)

    def transactions(self, charge_point_id: str) -> list[RecordedTransaction]:
        """Give a charge point's transactions in the order of their ids."""
        rows = self._database.execute(
            "SELECT * FROM transactions WHERE charge_point_id = ? ORDER BY transaction_id",
            (charge_point_id,),
        )
        return [RecordedTransaction(*row) for row in rows]

    def is_stopped(self, charge_point_id: str, transaction_id: int) -> bool:
        """Whether that charge point's transaction is known and has been stopped."""
        row = self._database.execute(
            "SELECT stopped_at FROM transactions WHERE transaction_id = ? AND charge_point_id = ?",
            (_storable(transaction_id), charge_point_id),
        ).fetchone()
        return row is not None and row[0] is not None

    def runs_elsewhere(self, id_tag: str, transaction_id: int) -> bool:
        """Whether a tag has another transaction that has not been stopped, wherever."""
        row = self._database.execute(
            "SELECT 1 FROM transactions WHERE id_tag = ? COLLATE NOCASE"
            " AND stopped_at IS NULL AND transaction_id != ?",
            (id_tag, transaction_id),
        ).fetchone()
        return row is not None

    def open_transactions(self, charge_point_id: str) -> list[int]:
        """Give the ids of a charge point's transactions that have not been stopped."""
        rows = self._database.execute(
            "SELECT transaction_id FROM transactions"
            " WHERE charge_point_id = ? AND stopped_at IS NULL",
            (charge_point_id,),
        )
        return [row[0] for row in rows]


def _storable(number: int) -> int:
    """Give the nearest number that SQLite can hold: a message must be answered all the same."""
    return max(-(2**63), min(number, 2**63 - 1))
