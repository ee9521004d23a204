"""datapackage.json: the set as a Data Package (datapackage.org), for frictionless and its kin.

A Data Package takes a list of paths for *one* table cut in pieces. So each run's series and labels
are a table of their own, with a schema in a file that all share; the logs, which are no tables,
are one resource per kind. That stays readable at 500 runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from evsim.recording.counts import RunCounts
from evsim.recording.tables import LABELS, RUNS, SERIES, Table

LICENCE = {
    "name": "CC-BY-4.0",
    "title": "Creative Commons Attribution 4.0",
    "path": "https://creativecommons.org/licenses/by/4.0/",
}
#: Where the schemas of the runs' tables are, below the set.
SCHEMAS = {"schemas/series.json": SERIES, "schemas/labels.json": LABELS}

#: Not "jsonl", which frictionless would read as a table; a Data Package has no word for "no table".
_JSON_LINES = "json-lines"
_LOGS = (
    ("ocpp", "ocpp.jsonl", _JSON_LINES, "application/jsonl", "OCPP messages, one a line."),
    ("trace", "trace.jsonl", _JSON_LINES, "application/jsonl", "What became of every command."),
    ("dbc", "charger.dbc", "dbc", "text/plain", "The CAN protocol, for CAN tools."),
    ("run-info", "run.json", "json", "application/json", "How each run was made."),
)


def data_package(
    runs: Sequence[RunCounts], *, name: str, title: str, description: str, version: str
) -> dict[str, Any]:
    """Describe the set; the same runs give the same description."""
    return {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": name,
        "title": title,
        "description": description,
        "version": version,
        "licenses": [LICENCE],
        "contributors": [{"title": "The ev-anomaly-sim authors", "roles": ["creator"]}],
        "sources": [{"title": f"ev-anomaly-sim {version} (simulated; the code is MIT)"}],
        "keywords": ["anomaly detection", "electric vehicle charging", "OCPP 1.6", "CAN", "labels"],
        "resources": [
            _table("runs", "runs.csv", schema(RUNS), "One line per run."),
            *_logs(runs),
            *_tables_of_runs(runs),
        ],
    }


def schema(table: Table) -> dict[str, Any]:
    """Write a table's columns as a Table Schema; `unit` is our own addition."""
    fields = []
    for column in table.columns:
        field: dict[str, Any] = {
            "name": column.name,
            "type": column.type.value,
            "description": column.description,
        }
        if column.unit:
            field["unit"] = column.unit
        if column.required:
            field["constraints"] = {"required": True}
        fields.append(field)
    described: dict[str, Any] = {"fields": fields, "missingValues": [""]}
    if table.key:
        described["primaryKey"] = list(table.key)
    return described


def resource_name(text: str) -> str:
    """Make a run's name one that a Data Package takes: lower case, digits and `-_.`."""
    return re.sub(r"[^a-z0-9._-]", "-", text.lower())


def _tables_of_runs(runs: Sequence[RunCounts]) -> list[dict[str, Any]]:
    return [
        _table(
            f"{kind}-{resource_name(run.name)}",
            f"runs/{run.name}/{kind}.csv",
            f"schemas/{kind}.json",
        )
        for run in runs
        for kind in ("series", "labels")
    ]


def _table(name: str, path: str, schema: object, description: str = "") -> dict[str, Any]:
    described = {
        "name": name,
        "type": "table",
        "path": path,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "schema": schema,
    }
    if description:
        described["description"] = description
    return described


def _logs(runs: Sequence[RunCounts]) -> list[dict[str, Any]]:
    by_format: dict[str, list[str]] = {}
    for run in runs:
        suffix = run.can_file.rpartition(".")[2]
        by_format.setdefault(suffix, []).append(_path(run, run.can_file))
    can_logs = [
        {
            "name": f"can-{suffix}",
            "description": "CAN frames; a .log is candump's text. The channel is the charge point.",
            "path": paths,
            "format": suffix,
            "mediatype": "text/plain" if suffix in ("log", "asc") else "application/octet-stream",
        }
        for suffix, paths in sorted(by_format.items())
    ]
    return can_logs + [
        {
            "name": name,
            "description": description,
            "path": [_path(run, file) for run in runs],
            "format": suffix,
            "mediatype": mediatype,
        }
        for name, file, suffix, mediatype, description in _LOGS
    ]


def _path(run: RunCounts, file: str) -> str:
    return f"runs/{run.name}/{file}"
