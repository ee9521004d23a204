"""The charge point's transactions and the messages about them, on disk before they are sent.

Whatever happens to the process, what was committed here is sent later, once and in order: the
queue of OCPP 1.6 section 3.7. A transaction is known by a local id until the central system has
given it one, which is then put into the messages that follow.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from evsim.clock import from_ocpp, to_ocpp
from evsim.sqlite import open_database

#: A central system that is away for days must not fill the disk: when more meter values than this
#: wait, every second one is dropped, so that the course of the current stays visible, the older
#: the sparser. No StartTransaction or StopTransaction ever is. At one a second: a day, 50 MB.
MOST_METER_VALUES = 86_400
#: Readings that a StopTransaction carries: with five measurands they fill 50 of the 64 KiB that a
#: message may have (evsim.ocpp_link). When there are more, every second one is dropped.
MOST_READINGS = 80
#: They are counted with every so many messages.
COUNT_EACH = 1000

log = logging.getLogger("evsim.charge_point")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS transactions (
    local_id INTEGER PRIMARY KEY AUTOINCREMENT,
    transaction_id INTEGER,            -- the central system's; NULL until it has answered
    connector_id INTEGER NOT NULL,
    id_tag TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    local_id INTEGER NOT NULL REFERENCES transactions,
    action TEXT NOT NULL,
    payload TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS readings (  -- for the transactionData of the StopTransaction
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    local_id INTEGER NOT NULL REFERENCES transactions,
    meter_value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS meter (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), wh REAL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)
"""


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction that was begun and not ended."""

    local_id: int
    connector_id: int
    id_tag: str
    started_at: datetime


@dataclass(frozen=True)
class Message:
    """A message that waits to be sent; `payload` has the fields of the ocpp.v16.call class."""

    number: int
    local_id: int
    action: str
    payload: dict[str, Any]
    failures: int


class Ledger:
    """The durable queue of one charge point; one process at a time may hold it."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; StorageError if it cannot be, or another process holds it."""
        #: The file, which other parts of a charge point keep their tables in too.
        self.database = open_database(path, _SCHEMA, alone=True)

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def begin(
        self,
        connector_id: int,
        id_tag: str,
        meter_wh: int,
        at: datetime,
        reservation_id: int | None = None,
    ) -> int:
        """Begin a transaction and queue its StartTransaction; give its local id."""
        with self.database.writing():
            cursor = self.database.execute(
                "INSERT INTO transactions (connector_id, id_tag, started_at) VALUES (?, ?, ?)",
                (connector_id, id_tag, to_ocpp(at)),
            )
            local_id = int(cursor.lastrowid or 0)
            payload: dict[str, Any] = {
                "connector_id": connector_id,
                "id_tag": id_tag,
                "meter_start": meter_wh,
                "timestamp": to_ocpp(at),
            }
            if reservation_id is not None:
                payload["reservation_id"] = reservation_id
            self._queue(local_id, "StartTransaction", payload)
        return local_id

    def meter_values(self, local_id: int, payload: dict[str, Any], register_wh: float) -> None:
        """Queue the meter values of a transaction and keep the register."""
        with self.database.writing():
            number = self._queue(local_id, "MeterValues", payload)
            self._keep_register(register_wh)
            if number % COUNT_EACH == 0:
                self._thin_meter_values()

    def keep_reading(self, local_id: int, meter_value: dict[str, Any]) -> None:
        """Keep a reading of a transaction until its StopTransaction, which carries it."""
        with self.database.writing():
            self.database.execute(
                "INSERT INTO readings (local_id, meter_value) VALUES (?, ?)",
                (local_id, json.dumps(meter_value)),
            )
            (count,) = self.database.execute(
                "SELECT COUNT(*) FROM readings WHERE local_id = ?", (local_id,)
            ).fetchone()
            if count > MOST_READINGS:  # the first one stays: it is that of the beginning
                self.database.execute(
                    "DELETE FROM readings WHERE number IN (SELECT number FROM"
                    " (SELECT number, ROW_NUMBER() OVER (ORDER BY number) AS place FROM readings"
                    " WHERE local_id = ?) WHERE place % 2 = 0)",
                    (local_id,),
                )

    def end(
        self,
        local_id: int,
        *,
        reason: str,
        register_wh: float,
        at: datetime,
        stopped_by: str | None = None,
    ) -> None:
        """End a transaction and queue its StopTransaction.

        :param stopped_by: the id tag that ended it, if it is not the one that began it.
        """
        with self.database.writing():
            (id_tag,) = self.database.execute(
                "SELECT id_tag FROM transactions WHERE local_id = ?", (local_id,)
            ).fetchone()
            readings = self.database.execute(
                "SELECT meter_value FROM readings WHERE local_id = ? ORDER BY number", (local_id,)
            ).fetchall()
            self.database.execute("DELETE FROM readings WHERE local_id = ?", (local_id,))
            self.database.execute(
                "UPDATE transactions SET ended = 1 WHERE local_id = ?", (local_id,)
            )
            payload: dict[str, Any] = {
                "meter_stop": round(register_wh),
                "timestamp": to_ocpp(at),
                "reason": reason,
                "id_tag": stopped_by or id_tag,
            }
            if readings:
                payload["transaction_data"] = [json.loads(text) for (text,) in readings]
            self._queue(local_id, "StopTransaction", payload)
            self._keep_register(register_wh)

    def _queue(self, local_id: int, action: str, payload: dict[str, Any]) -> int:
        cursor = self.database.execute(
            "INSERT INTO messages (local_id, action, payload) VALUES (?, ?, ?)",
            (local_id, action, json.dumps(payload)),
        )
        return int(cursor.lastrowid or 0)

    def _thin_meter_values(self) -> None:
        (count,) = self.database.execute(
            "SELECT COUNT(*) FROM messages WHERE action = 'MeterValues'"
        ).fetchone()
        if count <= MOST_METER_VALUES:
            return
        # The oldest stays: it may just be on its way.
        self.database.execute(
            "DELETE FROM messages WHERE number IN (SELECT number FROM"
            " (SELECT number, ROW_NUMBER() OVER (ORDER BY number) AS place FROM messages"
            " WHERE action = 'MeterValues') WHERE place % 2 = 0)"
        )
        log.warning("%d meter values wait to be sent; every second one is dropped", count)

    def _keep_register(self, register_wh: float) -> None:
        self.database.execute("INSERT OR REPLACE INTO meter VALUES (1, ?)", (register_wh,))

    # ── Sending ──────────────────────────────────────────────────────────────────────────────

    def next_message(self, besides: Collection[int] = ()) -> Message | None:
        """Give the oldest waiting message, with the transaction's id where that is known.

        :param besides: local ids of transactions whose messages are passed over.
        """
        row = self.database.execute(
            "SELECT number, local_id, action, payload, failures, transaction_id"
            " FROM messages JOIN transactions USING (local_id)"
            + (" WHERE local_id NOT IN (SELECT value FROM json_each(:besides))" if besides else "")
            + " ORDER BY number LIMIT 1",
            {"besides": json.dumps([*besides])} if besides else {},
        ).fetchone()
        if row is None:
            return None
        number, local_id, action, text, failures, transaction_id = row
        payload = json.loads(text)
        if action != "StartTransaction":
            payload["transaction_id"] = transaction_id
        return Message(number, local_id, action, payload, failures)

    def delivered(self, message: Message, transaction_id: int | None = None) -> None:
        """Forget a message that has been answered; a StartTransaction's answer brings the id."""
        forget = "DELETE FROM messages WHERE number = ?"
        if message.action == "MeterValues":
            self.database.write(forget, (message.number,))
            return
        with self.database.writing():
            self.database.execute(forget, (message.number,))
            if transaction_id is not None:
                self.database.execute(
                    "UPDATE transactions SET transaction_id = ? WHERE local_id = ?",
                    (transaction_id, message.local_id),
                )
            if message.action == "StopTransaction":
                self.database.execute(
                    "DELETE FROM transactions WHERE local_id = ?", (message.local_id,)
                )

    def failed(self, message: Message) -> None:
        """Count a failure of the central system to process a message."""
        self.database.write(
            "UPDATE messages SET failures = failures + 1 WHERE number = ?", (message.number,)
        )

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    @property
    def waiting(self) -> int:
        """How many messages wait to be sent."""
        (count,) = self.database.execute("SELECT COUNT(*) FROM messages").fetchone()
        return int(count)

    @property
    def register_wh(self) -> float:
        """The energy register as last kept, Wh."""
        row = self.database.execute("SELECT wh FROM meter").fetchone()
        return float(row[0]) if row else 0.0

    def setting(self, name: str) -> str | None:
        """Give what the central system has set, or None."""
        row = self.database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def set_setting(self, name: str, value: str) -> None:
        """Keep what the central system has set."""
        self.database.write("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def open_transactions(self) -> list[OpenTransaction]:
        """Give the transactions that were begun and not ended."""
        rows = self.database.execute(
            "SELECT local_id, connector_id, id_tag, started_at FROM transactions"
            " WHERE NOT ended ORDER BY local_id"
        )
        return [OpenTransaction(i, c, tag, from_ocpp(at)) for i, c, tag, at in rows]
