"""A damaged run is named with file and line, and what to do; it is never taken for a whole one."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from recorded_run import record_run

from evsim.recording import RecordingError, load, read_events
from evsim.recording.layout import LONGEST_LINE_BYTES

Damage = Callable[[list[bytes]], object]


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def set_line(index: int, line: bytes) -> Damage:
    def damage(lines: list[bytes]) -> None:
        lines[index] = line

    return damage


def swap(one: int, other: int) -> Damage:
    def damage(lines: list[bytes]) -> None:
        lines[one], lines[other] = lines[other], lines[one]

    return damage


def replace(index: int, old: bytes, new: bytes) -> Damage:
    def damage(lines: list[bytes]) -> None:
        assert old in lines[index]
        lines[index] = lines[index].replace(old, new, 1)

    return damage


def cut(lines: list[bytes]) -> None:
    lines[-1] = lines[-1][:-5]


TEXT_FILES = ["can.log", "ocpp.jsonl", "series.csv", "labels.csv", "trace.jsonl"]
HUGE = b"x" * (LONGEST_LINE_BYTES + 1) + b"\n"


@pytest.mark.parametrize("name", TEXT_FILES)
@pytest.mark.parametrize(
    ("damage", "line", "words"),
    [
        (cut, -1, "ends in the middle"),
        (set_line(1, b"\xff\xfe\n"), 2, "not UTF-8"),
        (set_line(1, b"a\0b\n"), 2, "NUL"),
        (set_line(1, HUGE), 2, "longer than"),
        (set_line(1, b"\n"), 2, " "),
        (set_line(1, b"rubbish\n"), 2, " "),
    ],
    ids=["truncated", "not UTF-8", "NUL", "huge", "empty line", "rubbish"],
)
def test_any_text_file(tmp_path: Path, name: str, damage: Damage, line: int, words: str) -> None:
    path = record_run(tmp_path / "run") / name
    lines = lines_of(path)
    damage(lines)
    path.write_bytes(b"".join(lines))
    with pytest.raises(RecordingError, match=words) as caught:
        load(tmp_path / "run")
    assert caught.value.path == path
    assert caught.value.line == (len(lines) if line == -1 else line)
    assert str(caught.value).startswith(f"{path}, line {caught.value.line}: ")
    assert "record the run again" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "damage", "line", "words"),
    [
        ("can.log", swap(2, 3), 4, "the time goes back from 1767225602.020000 to 1767225601.5"),
        ("can.log", replace(3, b"CP_1 200#", b"200# CP_1"), 4, "no candump line"),
        ("ocpp.jsonl", swap(1, 2), 3, "the time goes back"),
        ("ocpp.jsonl", replace(1, b'"time":', b'"when":'), 2, "expected the keys"),
        ("ocpp.jsonl", replace(1, b"1767225601.000000", b"NaN"), 2, "NaN"),
        ("ocpp.jsonl", replace(1, b"1767225601.000000", b"1e999"), 2, "time is no number"),
        ("ocpp.jsonl", replace(1, b"1767225601.000000", b"true"), 2, "time is no number"),
        ("ocpp.jsonl", replace(1, b"1767225601.000000", b'"1"'), 2, "time is no number"),
        ("ocpp.jsonl", replace(1, b"to_charge_point", b"up"), 2, "'up' is not a valid Direction"),
        ("ocpp.jsonl", replace(1, b'"CALL"', b'"CAL"'), 2, "'CAL' is not a valid Kind"),
        ("ocpp.jsonl", replace(1, b'"id":"a"', b'"id":7'), 2, "expected a text, found 7"),
        ("ocpp.jsonl", set_line(0, b"[1]\n"), 1, "no JSON object"),
        ("ocpp.jsonl", set_line(0, b"[" * 100_000 + b"\n"), 1, "not JSON"),
        (
            "series.csv",
            replace(0, b"current_a,limit_a", b"limit_a,current_a"),
            1,
            "expected the col",
        ),
        ("series.csv", replace(0, b",commands", b""), 1, "expected the columns"),
        ("series.csv", replace(3, b",Charging,", b","), 4, "9 cells, but 10 columns"),
        ("series.csv", replace(3, b",10,", b",nan,"), 4, "current_a is no number: 'nan'"),
        ("series.csv", replace(3, b",10,", b",inf,"), 4, "current_a is no number: 'inf'"),
        ("series.csv", replace(3, b"10,16,Charging", b"Charging,16,10"), 4, "current_a is no numb"),
        (
            "series.csv",
            replace(3, b"1767225602.000000,CP_1", b"CP_1,1767225602.0"),
            4,
            "time is no",
        ),
        ("series.csv", replace(3, b",CP_1,", b",,"), 4, "no charge_point"),
        ("series.csv", replace(3, b",CP_1,", b',"CP_1,'), 4, "no CSV row"),
        ("series.csv", swap(2, 3), 4, "the time goes back"),
        ("labels.csv", replace(0, b"anomaly,layer", b"layer,anomaly"), 1, "expected the columns"),
        ("labels.csv", replace(1, b"1767225603.000000", b"nan"), 2, "no interval"),
        ("labels.csv", replace(1, b",low", b",lowest"), 2, "severity"),
        (
            "labels.csv",
            replace(1, b"1767225603.000000,1767225605", b"1767225605,1767225603"),
            2,
            "no",
        ),
        ("trace.jsonl", replace(0, b'"command"', b'"comand"'), 1, "expected a text, found None"),
        ("trace.jsonl", swap(0, 1), 2, "the time goes back"),
    ],
)
def test_one_file(tmp_path: Path, name: str, damage: Damage, line: int, words: str) -> None:
    path = record_run(tmp_path / "run") / name
    lines = lines_of(path)
    damage(lines)
    path.write_bytes(b"".join(lines))
    with pytest.raises(RecordingError) as caught:
        load(tmp_path / "run")
    assert (caught.value.path, caught.value.line) == (path, line)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*TEXT_FILES, "run.json"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    path = record_run(tmp_path / "run") / name
    path.unlink()
    words = "half written: was the program killed" if name == "run.json" else "file is missing"
    with pytest.raises(RecordingError, match=words):
        load(tmp_path / "run")


@pytest.mark.parametrize("name", ["series.csv", "labels.csv"])
def test_an_empty_table_has_not_even_columns(tmp_path: Path, name: str) -> None:
    (record_run(tmp_path / "run") / name).write_bytes(b"")
    with pytest.raises(RecordingError, match=f"{name}, line 1: expected the columns .* found none"):
        load(tmp_path / "run")


def test_empty_logs_are_a_run_in_which_nothing_happened(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run")
    for name in ("can.log", "ocpp.jsonl", "trace.jsonl"):
        (directory / name).write_bytes(b"")
    assert list(read_events(directory)) == []


def test_lines_that_a_spreadsheet_program_ended_are_read(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run")
    before = load(directory)
    for name in ("series.csv", "labels.csv"):
        path = directory / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    after = load(directory)
    assert after.labels == before.labels
    assert after.series["commands"].tolist() == before.series["commands"].tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ('{"format": ', "ends in the middle"),
        ("[]\n", 'no JSON object with a "format"'),
        ("{}\n", 'no JSON object with a "format"'),
        ('{"format": "ev-anomaly-sim run 2", "complete": true}\n', "format 'ev-anomaly-sim run 2'"),
        ('{"format": "ev-anomaly-sim run 1", "complete": false}\n', "complete"),
        ('{"format": "ev-anomaly-sim run 1"}\n', "complete"),
        ('{"format": "ev-anomaly-sim run 1", "complete": true, "can": 1}\n', "no object"),
        (
            '{"format": "ev-anomaly-sim run 1", "complete": true, "can": {"format": "../x"}}\n',
            "unknown CAN format",
        ),
        (
            '{"format": "ev-anomaly-sim run 1", "complete": true, "can": {"format": "blf"}}\n',
            "does not say how",
        ),
    ],
)
def test_run_json(tmp_path: Path, text: str, words: str) -> None:
    directory = record_run(tmp_path / "run")
    (directory / "run.json").write_text(text)
    with pytest.raises(RecordingError) as caught:
        load(directory)
    assert words in str(caught.value)
    assert "run.json" in str(caught.value)


def test_what_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no such directory.*which holds a run.json"):
        load(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="it is no directory"):
        load(tmp_path / "file")
    (tmp_path / "can.log").mkdir()
    with pytest.raises(RecordingError, match="half written"):
        load(tmp_path)


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run")
    (directory / "ocpp.jsonl").unlink()
    (directory / "ocpp.jsonl").mkdir()
    with pytest.raises(RecordingError, match=r"ocpp.jsonl: cannot be read"):
        load(directory)


@pytest.mark.parametrize("can_format", ["blf", "asc"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_cut_file_of_python_can(tmp_path: Path, can_format: str, keep: float) -> None:
    path = record_run(tmp_path / "run", can_format=can_format) / f"can.{can_format}"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(RecordingError) as caught:
        load(tmp_path / "run")
    assert caught.value.path == path


def test_channels_that_run_json_does_not_name(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run", can_format="blf")
    info = json.loads((directory / "run.json").read_text())
    info["can"]["channels"] = []
    (directory / "run.json").write_text(json.dumps(info) + "\n")
    with pytest.raises(RecordingError, match=r"can.blf: python-can cannot read it"):
        load(directory)


def test_streaming_takes_no_more_memory_for_a_longer_run(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run")
    (directory / "can.log").write_text(
        "".join(f"({number}.000000) CP_1 300#6400\n" for number in range(20_000))
    )
    tracemalloc.start()
    count = sum(1 for _ in read_events(directory))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000 + 11
    assert peak_bytes < 500_000
