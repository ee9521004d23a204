"""A described set in the eyes of others: frictionless and mlcroissant."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import frictionless
import mlcroissant
import pytest
from data_set_example import EPOCH_S, write_set

from evsim.anomalies import ANOMALIES, BENIGN
from evsim.lab.run_spec import RunSpec
from evsim.recording.describe import describe
from simulate import simulate

pytestmark = [
    # rdflib's own JSON-LD parser uses a class that rdflib has deprecated.
    pytest.mark.filterwarnings(
        r"ignore:ConjunctiveGraph is deprecated:DeprecationWarning:rdflib\.plugins\.parsers\.jsonld"
    ),
]


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    directory = write_set(tmp_path / "set")
    describe(directory, command="./simulate.py --suite standard", tsb_ad=True)
    return directory


# ── Data Package ─────────────────────────────────────────────────────────────────────────────


def validate(data_set: Path) -> frictionless.Report:
    report = frictionless.validate(str(data_set / "datapackage.json"))
    assert isinstance(report, frictionless.Report)
    return report


def test_the_data_package_is_valid(data_set: Path) -> None:
    report = validate(data_set)
    assert report.valid, report.flatten(["name", "type", "note"])
    tables = {task.name for task in report.tasks if task.type == "table"}
    assert tables == {
        f"{kind}-{run}"
        for kind in ("series", "labels")
        for run in ("mass-on-off", "fluctuation", "quiet")
    } | {"runs"}


@pytest.mark.parametrize(
    ("file", "old", "new", "task", "error"),
    [
        ("runs/quiet/series.csv", ",80.0,", ",eighty,", "series-quiet", "type-error"),
        ("runs/quiet/series.csv", ",80.0,", ",", "series-quiet", "missing-cell"),
        ("runs/quiet/series.csv", ",limit_a,", ",limit,", "series-quiet", "incorrect-label"),
        ("runs/quiet/series.csv", "601.0", "600.0", "series-quiet", "primary-key"),
        ("runs/fluctuation/labels.csv", "medium", "", "labels-fluctuation", "constraint-error"),
        ("runs.csv", ",9,", ",nine,", "runs", "type-error"),
    ],
)
def test_a_broken_table_is_found(
    data_set: Path, file: str, old: str, new: str, task: str, error: str
) -> None:
    text = (data_set / file).read_text()
    assert old in text
    (data_set / file).write_text(text.replace(old, new, 1))
    report = validate(data_set)
    assert not report.valid
    [broken] = [one for one in report.tasks if not one.valid]
    assert broken.name == task
    assert error in {found.type for found in broken.errors}


def test_a_lost_file_is_found(data_set: Path) -> None:
    (data_set / "runs" / "quiet" / "series.csv").unlink()
    assert not validate(data_set).valid


def test_a_table_reads_with_its_types(data_set: Path) -> None:
    package = frictionless.Package(str(data_set / "datapackage.json"))
    rows = package.get_resource("labels-fluctuation").read_rows()  # type: ignore[attr-defined]
    assert [(row["anomaly"], float(row["t_start"])) for row in rows] == [
        ("repeated_fluctuation", EPOCH_S + 120)
    ]


def test_every_path_of_the_package_exists(data_set: Path) -> None:
    package = json.loads((data_set / "datapackage.json").read_text())
    for resource in package["resources"]:
        paths = resource["path"] if isinstance(resource["path"], list) else [resource["path"]]
        assert paths
        for path in paths:
            assert (data_set / path).is_file()


# ── Croissant ────────────────────────────────────────────────────────────────────────────────


def croissant(data_set: Path) -> Any:
    return mlcroissant.Dataset(jsonld=str(data_set / "croissant.json"))


def records(dataset: Any, name: str) -> list[dict[str, Any]]:
    """Give the records with text instead of mlcroissant's bytes and without its prefix."""
    return [
        {
            key.partition("/")[2]: value.decode() if isinstance(value, bytes) else value
            for key, value in record.items()
        }
        for record in dataset.records(name)
    ]


def test_croissant_is_valid_1_1(data_set: Path) -> None:
    dataset = croissant(data_set)
    context = dataset.metadata.ctx
    assert context.is_v1_1()
    assert context.issues.errors == set()
    assert context.issues.warnings == set()
    names = {record_set.uuid for record_set in dataset.metadata.record_sets}
    assert names == {"runs", "series", "labels"}


def test_croissant_gives_the_labels_with_their_run(data_set: Path) -> None:
    dataset = croissant(data_set)
    hidden, visible = records(dataset, "labels")
    assert (hidden["run"], hidden["anomaly"]) == ("Mass on-off", "mass_on_off")
    assert hidden["effect_start"] is None
    assert visible["run"] == "fluctuation"
    assert visible["effect_start"] == EPOCH_S + 125


def test_croissant_gives_the_series_and_the_runs(data_set: Path) -> None:
    dataset = croissant(data_set)
    rows = records(dataset, "series")
    assert len(rows) == 2 * 300 + 300 + 300
    of_quiet = [row for row in rows if row["run"] == "quiet"]
    assert of_quiet[0]["current_a"] == 80
    assert of_quiet[0]["limit_a"] is None
    assert [row["seed"] for row in records(dataset, "runs")] == [8, 7, 9]


def test_croissant_finds_a_changed_table(data_set: Path) -> None:
    with (data_set / "runs.csv").open("a") as file:
        file.write("more,1,dc,,,,300\n")
    dataset = croissant(data_set)
    with pytest.raises(mlcroissant.GenerationError):
        records(dataset, "runs")


def test_croissant_wants_the_url_and_the_date_of_the_publisher(data_set: Path) -> None:
    describe(
        data_set,
        command="./simulate.py",
        published=datetime.date(2027, 5, 1),
        url="https://example.org/set",
    )
    metadata = croissant(data_set).metadata
    assert metadata.url == "https://example.org/set"
    assert metadata.date_published.date() == datetime.date(2027, 5, 1)


def test_what_the_lab_makes_is_valid_too(tmp_path: Path) -> None:
    for seed, anomaly in ((1, "can_suppress"), (2, "meter_scaling"), (3, None)):
        spec = RunSpec(seed=seed, duration_s=400, anomaly=anomaly)
        simulate(spec, tmp_path / "runs" / f"run_{seed}")
    describe(tmp_path, command="a test", anomalies=ANOMALIES, benign=BENIGN, tsb_ad=True)
    report = validate(tmp_path)
    assert report.valid, report.stats
    issues = croissant(tmp_path).metadata.ctx.issues
    assert not issues.errors
    assert len(list((tmp_path / "tsb_ad").iterdir())) == 3
