"""Make a set of finished runs one that can be published: metadata, datasheet, pictures."""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evsim.errors import UserError
from evsim.recording import layout
from evsim.recording.composition import Described, Summarised
from evsim.recording.counts import FILES, RunCounts, count
from evsim.recording.croissant import CHECKSUMS, croissant
from evsim.recording.datapackage import SCHEMAS, data_package, resource_name, schema
from evsim.recording.datasheet import datasheet
from evsim.recording.errors import CannotWriteError, RecordingError
from evsim.recording.loading import load
from evsim.recording.pictures import draw_run, png
from evsim.recording.tables import RUNS
from evsim.recording.tsb_ad import csv_text, file_name, values_and_label

#: An example is best of this severity: the middle is what the anomaly's parameters default to.
_BEST_SEVERITY = ("medium", "high", "low", "")
#: And of this plant: the default one, on which most effects are visible.
_BEST_PLANT = ("dc", "ideal")
#: Whose version the set's is.
_SOFTWARE = "ev-anomaly-sim"


class NoRunsError(UserError):
    """There is nothing to describe."""


def describe(
    set_directory: Path,
    *,
    command: str,
    tsb_ad: bool = False,
    anomalies: Mapping[str, Described] | None = None,
    benign: Mapping[str, Summarised] | None = None,
    published: datetime.date | None = None,
    url: str | None = None,
) -> None:
    """Write runs.csv, the metadata, the datasheet and the pictures of SET/runs/*.

    The same runs give the same bytes. Each file appears whole or not at all, README.md last.

    :param command: what made the set, for the datasheet.
    :param tsb_ad: write the layout of the TSB-AD benchmark too.
    :param anomalies: the catalogue, for the datasheet; so `benign`.
    :param published: for croissant.json, which wants a date; default: the data's own first day.
    :param url: for croissant.json, which wants one; default: a URN of the runs' checksum.
    :raises UserError: if there is no run, or one is damaged.
    """
    # Reads them all: what is damaged shows before anything is written.
    directories = _directories_of_runs(set_directory)
    counts = [count(load(directory)) for directory in directories]
    if tsb_ad:
        _write_tsb_ad(set_directory / "tsb_ad", directories)
    pictures = _draw(set_directory, counts)

    _write(set_directory / "runs.csv", _runs_csv(counts))
    sums = "".join(
        f"{_sha256(path)}  {path.relative_to(set_directory).as_posix()}\n"
        for path in _files(set_directory, counts)
    )
    _write(set_directory / CHECKSUMS, sums)
    digest = hashlib.sha256(sums.encode()).hexdigest()

    # Not the directory's name: the same runs elsewhere are the same set.
    name = f"{_SOFTWARE}-{digest[:12]}"
    version = max((dict(run.versions).get(_SOFTWARE, "") for run in counts), default="") or "0.0.0"
    hours = sum(run.duration_s for run in counts) / 3600
    description = (
        f"Simulated electric-vehicle charging with labelled anomalies: {len(counts)} runs, "
        f"{hours:.1f} hours of OCPP 1.6 messages, CAN frames and 1 Hz series, made by "
        f"ev-anomaly-sim {version}. Labels are intervals, kept apart from the values."
    )
    for schema_file, table in SCHEMAS.items():
        _write(set_directory / schema_file, _json(schema(table)))
    package = data_package(
        counts,
        name=name,
        title="Anomalies in electric-vehicle charging",
        description=description,
        version=version,
    )
    _write(set_directory / "datapackage.json", _json(package))
    first_day = datetime.datetime.fromtimestamp(min(run.start_s for run in counts), datetime.UTC)
    metadata = croissant(
        name=name,
        description=description,
        version=version,
        published=published or first_day.date(),
        url=url or f"urn:sha256:{digest}",
        files={
            "runs.csv": ("text/csv", _sha256(set_directory / "runs.csv")),
            CHECKSUMS: ("text/plain", digest),
        },
    )
    _write(set_directory / "croissant.json", _json(metadata))
    readme = datasheet(
        counts,
        name=name,
        command=command,
        anomalies=anomalies or {},
        benign=benign or {},
        pictures=pictures,
        tsb_ad=tsb_ad,
    )
    _write(set_directory / "README.md", readme)


def _directories_of_runs(set_directory: Path) -> list[Path]:
    """Find the runs; a hidden directory is one that is being written."""
    runs = set_directory / "runs"
    found = sorted(path for path in runs.glob("[!.]*") if path.is_dir())
    if not found:
        raise NoRunsError(f"{runs} has no runs; make a set with ./simulate.py --suite first")
    names: dict[str, Path] = {}
    for path in found:
        other = names.setdefault(resource_name(path.name), path)
        if other != path:
            raise RecordingError(
                path, f"the name is too like that of {other.name}", remedy="rename one of them"
            )
    return found


def _write_tsb_ad(directory: Path, runs: Sequence[Path]) -> None:
    written: set[Path] = set()
    for number, run in enumerate(runs, 1):
        columns, label = values_and_label(load(run))
        path = directory / file_name(number, label)
        _write(path, csv_text(columns, label))
        written.add(path)
    # What an earlier description of other runs has left.
    for old in set(directory.glob("*_evsim_id_*.csv")) - written:
        old.unlink()


def _draw(set_directory: Path, counts: Sequence[RunCounts]) -> dict[str, str]:
    """Draw an example of every anomaly; say which run each is."""
    examples: dict[str, str] = {}
    for anomaly in sorted({one.anomaly for run in counts for one in run.labels}):
        having = [run for run in counts if any(one.anomaly == anomaly for one in run.labels)]
        name = min(having, key=lambda run: _fitness(run, anomaly)).name
        run = load(set_directory / "runs" / name)
        episodes = [one for one in run.labels if one.anomaly == anomaly]
        visible = [one for one in episodes if one.effect_start_s is not None]
        figure = draw_run(run, episode=(visible or episodes)[0])
        _write(set_directory / "pictures" / f"{anomaly}.png", png(figure))
        examples[anomaly] = name
    return examples


def _fitness(run: RunCounts, anomaly: str) -> tuple[bool, int, int, str]:
    """Order runs by how good an example they are, the best first."""
    visible = any(one.anomaly == anomaly and one.effect_start_s is not None for one in run.labels)
    return (
        not visible,
        _rank(run.severity, _BEST_SEVERITY),
        _rank(run.plant, _BEST_PLANT),
        run.name,
    )


def _rank(value: str, order: Sequence[str]) -> int:
    return order.index(value) if value in order else len(order)


def _runs_csv(counts: Sequence[RunCounts]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RUNS.header)
    for run in counts:
        duration = f"{run.duration_s:g}" if run.duration_s < 1e6 else repr(run.duration_s)
        row = (run.name, run.seed, run.plant, run.benign, run.anomaly, run.severity, duration)
        writer.writerow(row)
    return text.getvalue()


def _files(set_directory: Path, counts: Sequence[RunCounts]) -> Iterator[Path]:
    """Give runs.csv, every file of every run, and the Parquet file that a run may have."""
    yield set_directory / "runs.csv"
    for run in counts:
        directory = set_directory / "runs" / run.name
        names = [run.can_file, *FILES]
        if (directory / layout.PARQUET).is_file():
            names.append(layout.PARQUET)
        yield from (directory / name for name in sorted(names))


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it: nobody sees half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CannotWriteError(path, error) from error
