"""croissant.json: the set in Croissant 1.1 (mlcommons.org/croissant), for machine learning tools.

Files of one kind are a FileSet, which has no checksum in Croissant. So SHA256SUMS lists every file
of every run, and its own checksum, which is in here, covers them all.
"""

from __future__ import annotations

import datetime
from typing import Any

from evsim.recording.datapackage import LICENCE
from evsim.recording.tables import LABELS, RUNS, SERIES, Column, Table, Type

CHECKSUMS = "SHA256SUMS"
CONFORMS_TO = "http://mlcommons.org/croissant/1.1"

#: The terms of Croissant 1.1, as its specification's appendix lists them.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {Type.NUMBER: "sc:Float", Type.INTEGER: "sc:Integer", Type.STRING: "sc:Text"}
#: Id, pattern, media type and what it is.
_FILE_SETS = (
    ("series-files", "runs/*/series.csv", "text/csv", "1 Hz values of every charge point."),
    ("labels-files", "runs/*/labels.csv", "text/csv", "The labels: intervals, apart from values."),
    ("can-files", "runs/*/can.*", "text/plain", "CAN frames of every charge point's bus."),
    ("ocpp-files", "runs/*/ocpp.jsonl", "application/jsonlines", "OCPP messages, one a line."),
    ("trace-files", "runs/*/trace.jsonl", "application/jsonlines", "What became of each command."),
    ("dbc-files", "runs/*/charger.dbc", "text/plain", "The CAN protocol, for CAN tools."),
    ("info-files", "runs/*/run.json", "application/json", "How each run was made."),
)


def croissant(
    *,
    name: str,
    description: str,
    version: str,
    published: datetime.date,
    url: str,
    files: dict[str, tuple[str, str]],
) -> dict[str, Any]:
    """Describe the set.

    :param files: the set's own files: name -> (media type, SHA-256 in hex).
    """
    day = published.isoformat()
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": description,
        "license": LICENCE["path"],
        "url": url,
        "version": version,
        "datePublished": day,
        "creator": {"@type": "sc:Organization", "name": "The ev-anomaly-sim authors"},
        "keywords": ["anomaly detection", "electric vehicle charging", "OCPP 1.6", "CAN"],
        "citeAs": f"@misc{{{name}, title={{{name}}}, author={{{{The ev-anomaly-sim authors}}}}, "
        f"year={{{published.year}}}, note={{version {version}, {url}}}}}",
        "isLiveDataset": False,
        "distribution": [
            *(
                {
                    "@type": "cr:FileObject",
                    "@id": file,
                    "name": file,
                    "contentUrl": file,
                    "encodingFormat": media_type,
                    "sha256": sha256,
                }
                for file, (media_type, sha256) in sorted(files.items())
            ),
            *(
                {
                    "@type": "cr:FileSet",
                    "@id": identifier,
                    "name": identifier,
                    "description": description,
                    "encodingFormat": media_type,
                    "includes": pattern,
                }
                for identifier, pattern, media_type, description in _FILE_SETS
            ),
        ],
        "recordSet": [
            _record_set("runs", RUNS, {"fileObject": {"@id": "runs.csv"}}, "One record per run."),
            _record_set(
                "series",
                SERIES,
                {"fileSet": {"@id": "series-files"}},
                "One record per run, charge point and second. No label is in here.",
            ),
            _record_set(
                "labels",
                LABELS,
                {"fileSet": {"@id": "labels-files"}},
                "One record per anomalous episode.",
            ),
        ],
    }


def _record_set(
    identifier: str, table: Table, source: dict[str, Any], description: str
) -> dict[str, Any]:
    fields = [_field(identifier, column, source) for column in table.columns]
    if "fileSet" in source:
        fields.insert(0, _run_field(identifier, source))
    record_set: dict[str, Any] = {
        "@type": "cr:RecordSet",
        "@id": identifier,
        "name": identifier,
        "description": description,
        "field": fields,
    }
    if table.key:
        of_run = ["run"] if "fileSet" in source else []
        record_set["key"] = [{"@id": f"{identifier}/{name}"} for name in [*of_run, *table.key]]
    return record_set


def _field(identifier: str, column: Column, source: dict[str, Any]) -> dict[str, Any]:
    unit = f" Unit: {column.unit}." if column.unit else ""
    return {
        "@type": "cr:Field",
        "@id": f"{identifier}/{column.name}",
        "name": column.name,
        "description": column.description + unit,
        "dataType": _TYPES[column.type],
        "source": {**source, "extract": {"column": column.name}},
    }


def _run_field(identifier: str, source: dict[str, Any]) -> dict[str, Any]:
    """Which run a row is from: the tables don't say it, the path does."""
    return {
        "@type": "cr:Field",
        "@id": f"{identifier}/run",
        "name": "run",
        "description": "The run's directory.",
        "dataType": "sc:Text",
        "source": {
            **source,
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": "(?:.*/)?runs/([^/]+)/.*"},
        },
    }
