"""What both ledgers have ever held, although a charge point forgets what it has delivered.

SQLite triggers, put into the two files before the programs start, write a journal in the same
commit as the record itself. Nothing in the programs knows of them. Both journals are read as the
same kind of event, so that equal ledgers are equal lists.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import evsim.central_system.ledger
import evsim.charge_point.ledger

_OF_CHARGE_POINT = """
CREATE TABLE journal (number INTEGER PRIMARY KEY, local_id, action, payload);
CREATE TRIGGER queued AFTER INSERT ON messages BEGIN
    INSERT INTO journal VALUES (NEW.number, NEW.local_id, NEW.action, NEW.payload);
END
"""

_OF_CENTRAL_SYSTEM = """
CREATE TABLE journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT, charge_point_id, transaction_id, action, payload
);
CREATE TRIGGER started AFTER INSERT ON transactions BEGIN
    INSERT INTO journal (charge_point_id, transaction_id, action, payload) VALUES (
        NEW.charge_point_id, NEW.transaction_id, 'StartTransaction',
        json_array(NEW.started_at, NEW.connector_id, NEW.id_tag, NEW.meter_start_wh)
    );
END;
CREATE TRIGGER metered AFTER INSERT ON meter_values BEGIN
    INSERT INTO journal (charge_point_id, transaction_id, action, payload) VALUES (
        NEW.charge_point_id, NEW.transaction_id, 'MeterValues',
        json_array(NEW.sampled_at, NEW.connector_id, json(NEW.sampled_values))
    );
END;
CREATE TRIGGER stopped AFTER UPDATE OF stopped_at ON transactions BEGIN
    INSERT INTO journal (charge_point_id, transaction_id, action, payload) VALUES (
        NEW.charge_point_id, NEW.transaction_id, 'StopTransaction',
        json_array(NEW.stopped_at, NEW.meter_stop_wh, NEW.reason)
    );
END
"""

#: Action, which of the charge point's transactions (1, 2, ...), time stamp, everything else.
Event = tuple[str, int, str, Any]


def keep_charge_point_journal(path: Path) -> None:
    """Make the ledger of a charge point at `path`, with a journal."""
    evsim.charge_point.ledger.Ledger(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_OF_CHARGE_POINT)


def keep_central_journal(path: Path) -> None:
    """Make the ledger of a central system at `path`, with a journal."""
    evsim.central_system.ledger.Ledger(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_OF_CENTRAL_SYSTEM)


def queued_events(path: Path) -> list[Event]:
    """Give all that a charge point, which does not run now, has ever queued."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT local_id, action, payload FROM journal ORDER BY number"
        ).fetchall()
    ordinals: dict[int, int] = {}
    return [
        _queued(ordinals.setdefault(local_id, len(ordinals) + 1), action, json.loads(payload))
        for local_id, action, payload in rows
    ]


def _queued(ordinal: int, action: str, payload: dict[str, Any]) -> Event:
    if action == "MeterValues":
        (value,) = payload["meter_value"]
        return (
            action,
            ordinal,
            value["timestamp"],
            [payload["connector_id"], value["sampled_value"]],
        )
    fields = {
        "StartTransaction": ("connector_id", "id_tag", "meter_start"),
        "StopTransaction": ("meter_stop", "reason"),
    }[action]
    return action, ordinal, payload["timestamp"], [payload[name] for name in fields]


def arrived_events(path: Path, charge_point_id: str) -> list[Event]:
    """Give all that a central system has ever recorded of a charge point, as it came."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT transaction_id, action, payload FROM journal"
            " WHERE charge_point_id = ? ORDER BY number",
            (charge_point_id,),
        ).fetchall()
    ordinals: dict[int, int] = {}
    events = []
    for transaction_id, action, payload in rows:
        at, *rest = json.loads(payload)
        ordinal = ordinals.setdefault(transaction_id, len(ordinals) + 1)
        events.append((action, ordinal, at, rest))
    return events


def assert_equal(charge_point: Path, central_system: Path, charge_point_id: str) -> list[Event]:
    """Check that the two ledgers are equal and give what is in them.

    Whatever was queued has arrived once, in order, with its original time and under its own
    transaction; nothing waits, nothing else is there, and every transaction is whole.
    """
    queued = queued_events(charge_point)
    arrived = arrived_events(central_system, charge_point_id)
    for number, (sent, got) in enumerate(zip(queued, arrived, strict=False)):
        assert got == sent, f"message {number} of {len(queued)}"
    assert len(arrived) == len(queued)
    with closing(evsim.charge_point.ledger.Ledger(charge_point)) as ledger:
        assert ledger.waiting == 0
        assert ledger.open_transactions() == []
    whole: dict[int, list[str]] = {}
    for action, ordinal, _, _ in arrived:
        whole.setdefault(ordinal, []).append(action)
    for actions in whole.values():
        assert actions[0] == "StartTransaction"
        assert actions[-1] == "StopTransaction"
        assert set(actions[1:-1]) <= {"MeterValues"}
    return arrived
