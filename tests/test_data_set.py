"""What describe() makes of a set's finished runs: tables, datasheet, pictures, TSB-AD files."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from data_set_example import EPOCH_S, write_run, write_set
from matplotlib.patches import Rectangle

from evsim.errors import UserError
from evsim.labels import LABEL_COLUMNS
from evsim.recording import layout
from evsim.recording.counts import count, total
from evsim.recording.describe import describe
from evsim.recording.loading import Run, load
from evsim.recording.pictures import _SECOND_PANEL, draw_run, png
from evsim.recording.tables import LABELS, RUNS, SERIES
from evsim.recording.tsb_ad import values_and_label

COMMAND = "./simulate.py --suite standard --seed 7 --out set"


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    directory = write_set(tmp_path / "set")
    describe(directory, command=COMMAND, tsb_ad=True)
    return directory


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_the_described_columns_are_those_of_the_files() -> None:
    assert tuple(SERIES.header) == layout.SERIES_COLUMNS
    assert tuple(LABELS.header) == LABEL_COLUMNS
    assert set(SERIES.numbers) == {"time", *layout.NUMBERS}


def test_the_same_runs_give_the_same_bytes_wherever_they_are(data_set: Path) -> None:
    first = files_of(data_set)
    other = write_set(data_set.parent / "other")
    describe(other, command=COMMAND, tsb_ad=True)
    assert files_of(other) == first
    describe(data_set, command=COMMAND, tsb_ad=True)
    assert files_of(data_set) == first


def test_runs_csv(data_set: Path) -> None:
    assert (data_set / "runs.csv").read_text() == (
        "run,seed,plant,benign,anomaly,severity,duration_s\n"
        "Mass on-off,8,ac,plain_session,mass_on_off,high,300\n"
        "fluctuation,7,dc,plain_session,repeated_fluctuation,medium,300\n"
        "quiet,9,dc,taper,,,300\n"
    )


def test_the_checksums_cover_every_file_of_every_run(data_set: Path) -> None:
    lines = (data_set / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    runs = {name for name in files_of(data_set) if name.startswith("runs/")}
    assert set(sums) == runs | {"runs.csv"}
    for name, digest in sums.items():
        assert hashlib.sha256((data_set / name).read_bytes()).hexdigest() == digest
    metadata = json.loads((data_set / "croissant.json").read_text())
    digests = {one["@id"]: one.get("sha256") for one in metadata["distribution"]}
    own = hashlib.sha256((data_set / "SHA256SUMS").read_bytes()).hexdigest()
    assert digests["SHA256SUMS"] == own


def test_the_datasheet_counts(data_set: Path) -> None:
    readme = (data_set / "README.md").read_text()
    flat = " ".join(readme.split())
    assert "3 runs, 0.2 hours, 240 OCPP 1.6 messages, 1,200 CAN frames, 2 episodes" in flat
    assert "active in 13.33% of the time and visible in 5.00%" in flat
    assert "| `mass_on_off` | ac | 0 | 0 | 1 | 0.1 | 120 | 600 | 1 (0) | 20.0% |" in readme
    assert "| `taper` |  | 1 | 0.1 | 0 | 0.0 | 60 | 300 |" in readme
    assert "| 0 | 0 | 0 | 0 | 2 | 0 | 0 | 0 | 0 | 0 |" in readme  # both begin at 40 %
    assert "0 of 2 episodes last until the end" in readme
    assert f"```sh\n{COMMAND}\n```" in readme
    assert "Seeds: 3 different, 7 to 9" in readme
    for column in (*SERIES.header, *LABELS.header, *RUNS.header):
        assert f"| `{column}` |" in readme


@dataclass(frozen=True)
class Entry:
    layer: str = "ocpp"
    summary: str = "The limit jumps | up and down."
    signature: str = "Pulses."
    source: str = "arXiv 2302.12890"


def test_the_datasheet_tells_of_the_catalogue(data_set: Path) -> None:
    entry = Entry()
    describe(
        data_set,
        command=COMMAND,
        anomalies={"repeated_fluctuation": entry},
        benign={"taper": Entry(summary="The battery is nearly full.")},
    )
    readme = (data_set / "README.md").read_text()
    assert (
        "| `repeated_fluctuation` | ocpp | The limit jumps \\| up and down. | Pulses. "
        "| arXiv 2302.12890 |" in readme
    )
    assert "| `taper` | The battery is nearly full. | 1 |" in readme


def test_the_datasheet_shows_a_picture_of_every_anomaly(data_set: Path) -> None:
    readme = (data_set / "README.md").read_text()
    for anomaly in ("mass_on_off", "repeated_fluctuation"):
        assert f"(pictures/{anomaly}.png)" in readme
        assert (data_set / "pictures" / f"{anomaly}.png").read_bytes().startswith(b"\x89PNG")


def test_the_example_is_one_with_a_visible_effect(tmp_path: Path) -> None:
    write_run(tmp_path, "a_hidden", anomaly="heartbeat_flood", visible=False)
    write_run(tmp_path, "b_high", anomaly="heartbeat_flood", severity="high")
    write_run(tmp_path, "c_medium_ac", anomaly="heartbeat_flood", plant="ac")
    write_run(tmp_path, "d_medium_dc", anomaly="heartbeat_flood")
    describe(tmp_path, command=COMMAND)
    assert "![heartbeat_flood in run d_medium_dc]" in (tmp_path / "README.md").read_text()


def test_the_example_shows_an_episode_with_a_visible_effect(tmp_path: Path) -> None:
    directory = write_run(tmp_path, "two", anomaly="can_drift", visible=False)
    with (directory / "labels.csv").open("a") as file:
        times = ",".join(f"{EPOCH_S + at_s:.6f}" for at_s in (200, 210, 200, 210))
        file.write(f"can_drift,can,CP_1,{times},low\n")
    describe(tmp_path, command=COMMAND)
    run = load(directory)
    expected = png(draw_run(run, episode=run.labels[1]))
    assert (tmp_path / "pictures" / "can_drift.png").read_bytes() == expected
    assert png(draw_run(run)) == expected
    assert png(draw_run(run, episode=run.labels[0])) != expected


def test_overlapping_episodes_count_once(tmp_path: Path) -> None:
    run = write_run(tmp_path, "two", anomaly="can_drift")
    with (run / "labels.csv").open("a") as file:
        file.write(f"can_plateau,can,CP_1,{EPOCH_S + 150:.6f},{EPOCH_S + 210:.6f},,,low\n")
    numbers = total([count(load(run))])
    assert numbers.active_s == 90
    assert (numbers.episodes, numbers.visible_episodes) == (2, 1)


# ── Pictures ─────────────────────────────────────────────────────────────────────────────────


def spans(run: Run, label: str) -> list[tuple[float, float]]:
    axes = draw_run(run).axes[0]
    patches = [patch for patch in axes.patches if patch.get_label() == label]
    return [
        (patch.get_x(), patch.get_x() + patch.get_width())
        for patch in patches
        if isinstance(patch, Rectangle)
    ]


def test_the_picture_shows_the_episode_in_minutes(tmp_path: Path) -> None:
    run = load(write_run(tmp_path, "one", anomaly="repeated_fluctuation"))
    axes = draw_run(run).axes[0]
    assert axes.get_xlabel() == "time since the run's start [min]"
    assert axes.get_ylabel() == "current [A]"
    assert axes.get_xlim() == (1.0, 4.0)  # active from minute 2 to 3, a minute on each side
    [active], [visible] = spans(run, "anomaly active"), spans(run, "effect visible")
    assert active == pytest.approx((2.0, 3.0))
    assert visible == pytest.approx((125 / 60, 170 / 60))
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    assert set(lines) == {"limit (CAN)", "meter (OCPP)", "current (CAN)"}
    assert lines["limit (CAN)"].get_drawstyle() == "steps-post"


def test_a_limit_far_above_does_not_flatten_the_current(tmp_path: Path) -> None:
    run = write_run(tmp_path, "one")
    rewritten = (run / "series.csv").read_text().replace(",100,", ",65535,")
    (run / "series.csv").write_text(rewritten)
    [axes] = draw_run(load(run)).axes
    assert axes.get_ylim() == pytest.approx((0, 82 * 1.08))


def test_a_run_without_anomaly_is_drawn_whole(tmp_path: Path) -> None:
    run = load(write_run(tmp_path, "quiet", benign="taper"))
    [axes] = draw_run(run).axes
    assert axes.get_xlim() == pytest.approx((0, 299 / 60))
    assert axes.get_title(loc="left").startswith("taper")


@pytest.mark.parametrize("anomaly", _SECOND_PANEL)
def test_what_else_an_anomaly_changes_has_a_panel(tmp_path: Path, anomaly: str) -> None:
    several = ("CP_1", "CP_2")
    run = load(write_run(tmp_path, "one", anomaly=anomaly, charge_points=several))
    current, other = draw_run(run).axes
    assert current.get_ylabel() == "current [A]"
    assert "[" in other.get_ylabel()
    drawn = [line for line in other.get_lines() if len(line.get_xydata())]  # type: ignore[arg-type]
    assert drawn or len(other.patches) > 1


def test_the_rate_of_messages_is_drawn(tmp_path: Path) -> None:
    run = load(write_run(tmp_path, "one", anomaly="heartbeat_flood"))
    stairs = draw_run(run).axes[1].patches[0].get_data()  # type: ignore[attr-defined]
    # In bins of 2 s, from 60 s to 240 s: two messages each 10 s.
    assert stairs.values.sum() * 2 == pytest.approx(19 * 2)


# ── TSB-AD ───────────────────────────────────────────────────────────────────────────────────


def test_tsb_ad_names_and_rows(data_set: Path) -> None:
    names = sorted(path.name for path in (data_set / "tsb_ad").iterdir())
    assert names == [
        "001_evsim_id_1_Facility_tr_120_1st_120.csv",
        "002_evsim_id_2_Facility_tr_120_1st_120.csv",
        "003_evsim_id_3_Facility_tr_300_1st_300.csv",
    ]
    with (data_set / "tsb_ad" / names[1]).open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-1] == "Label"
    numbers = [{name: float(value) for name, value in row.items()} for row in rows]
    assert [row["Label"] for row in numbers] == [120 <= at_s < 180 for at_s in range(300)]
    assert [row["meter_current_a"] for row in numbers[8:11]] == [0, 0, 78.9]  # unknown before
    assert [row["commands"] for row in numbers[2:5]] == [0, 2, 0]
    assert [row["ocpp_messages"] for row in numbers[9:12]] == [0, 2, 0]
    assert sum(row["can_frames"] for row in numbers) == 300
    assert {row["charging"] for row in numbers[:5]} == {0}
    assert {row["charging"] for row in numbers[5:]} == {1}


def test_tsb_ad_holds_the_last_known_value(tmp_path: Path) -> None:
    run = write_run(tmp_path, "gap")
    lines = (run / "series.csv").read_text().splitlines()
    lines[101] = ",".join([*lines[101].split(",")[:2], *[""] * 8])
    (run / "series.csv").write_text("\n".join([*lines, ""]))
    columns, label = values_and_label(load(run))
    assert columns["limit_a"][99:102].tolist() == [100, 100, 100]
    assert columns["current_a"][100] == columns["current_a"][99] > 0
    assert not label.any()


def test_each_charge_point_has_its_columns(data_set: Path) -> None:
    columns, _ = values_and_label(load(data_set / "runs" / "Mass on-off"))
    assert len(columns) == 2 * 10
    assert columns["CP_2.can_frames"].sum() == 300


def test_files_of_runs_that_are_gone_go_too(data_set: Path) -> None:
    shutil.rmtree(data_set / "runs" / "Mass on-off")
    describe(data_set, command=COMMAND, tsb_ad=True)
    assert sorted(path.name for path in (data_set / "tsb_ad").iterdir()) == [
        "001_evsim_id_1_Facility_tr_120_1st_120.csv",
        "002_evsim_id_2_Facility_tr_300_1st_300.csv",
    ]


# ── What is wrong with a run ─────────────────────────────────────────────────────────────────


def rewrite(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))

    return damage


def without(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (without("run.json"), "half written"),
    (without("can.log"), "can.log: the file is missing"),
    (without("charger.dbc"), "charger.dbc: the file is missing"),
    (rewrite("run.json", '"complete": true', '"complete": false'), '"complete"'),
    (rewrite("run.json", '"plant"', '"plan"'), "'plant' is missing"),
    (rewrite("run.json", '"seed": 7', '"seed": "x"'), "'seed' is 'x', not a whole number"),
    (rewrite("run.json", "300", '"long"'), "'duration_s' is 'long', not a number above 0"),
    (rewrite("series.csv", "limit_a", "limit"), "series.csv, line 1"),
    (lambda run: (run / "series.csv").write_text(layout.SERIES_HEADER), "has no rows"),
    (rewrite("labels.csv", ",medium", ",enormous"), "labels.csv, line 2"),
    (rewrite("can.log", "300#5000", "what"), "can.log, line 1"),
    (rewrite("ocpp.jsonl", "{", ""), "ocpp.jsonl, line 1"),
]


@pytest.mark.parametrize(("damage", "says"), DAMAGES, ids=[says for _, says in DAMAGES])
def test_a_damaged_run_is_named_and_nothing_is_published(
    tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    write_run(tmp_path, "another")
    damage(write_run(tmp_path, "fluctuation", anomaly="repeated_fluctuation"))
    with pytest.raises(UserError, match="fluctuation") as error:
        describe(tmp_path, command=COMMAND, tsb_ad=True)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_no_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"runs has no runs; make a set"):
        describe(tmp_path, command=COMMAND)


def test_no_room(data_set: Path) -> None:
    (data_set / "README.md").unlink()
    (data_set / "README.md").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*README.md"):
        describe(data_set, command=COMMAND)
    assert not list(data_set.rglob(".*.tmp"))
