"""What is recorded comes back as it was, and a directory that is there is whole."""

from __future__ import annotations

import filecmp
import json
import os
import re
import resource
import textwrap
from pathlib import Path
from typing import Any

import can
import cantools
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from recorded_run import LABEL, RECEIVED, SENT, START_S, record_run

import evsim.recording
from evsim.errors import UserError
from evsim.events import CanEvent, Direction, Event, Kind, OcppEvent
from evsim.frames import CURRENT_ID, LIMIT_ID, MeasuredCurrent, encode
from evsim.labels import Label
from evsim.recording import (
    CanFlag,
    CannotWriteError,
    Recorder,
    RecordingError,
    load,
    read_events,
    row_labels,
)
from evsim.recording.layout import CAN_FORMATS

FILES = [
    "can.log",
    "charger.dbc",
    "labels.csv",
    "ocpp.jsonl",
    "run.json",
    "series.csv",
    "trace.jsonl",
]
#: Each example has a directory of its own name.
IN_ONE_DIRECTORY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def comparable(event: Event) -> tuple[Any, ...]:
    """What is to be equal of two events; can.Message has no ==."""
    if isinstance(event, OcppEvent):
        return tuple(event)
    m = event.message
    identity = None if m.is_error_frame else (m.arbitration_id, m.is_extended_id)
    flags = (m.is_remote_frame, m.is_error_frame, m.is_fd, m.bitrate_switch)
    return (event.time_s, event.charge_point, identity, flags, m.dlc, bytes(m.data))


# ── Round trips ──────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(
    st.text(max_size=10).filter(lambda key: key not in ("key", "configurationKey")),
    JSON,
    max_size=4,
)
IDS = st.text(max_size=36)
CHARGE_POINTS = st.sampled_from(["CP_1", "CP 2", "100%", "007", 'Säule,"3"', "%20"])


@st.composite
def classic_frames(draw: st.DrawFn) -> can.Message:
    extended = draw(st.booleans())
    remote = draw(st.booleans())
    return can.Message(
        arbitration_id=draw(st.integers(0, 0x1FFFFFFF if extended else 0x7FF)),
        is_extended_id=extended,
        is_remote_frame=remote,
        dlc=draw(st.integers(0, 8)) if remote else None,
        data=None if remote else draw(st.binary(max_size=8)),
    )


FD_FRAMES = st.builds(
    can.Message,
    arbitration_id=st.integers(0, 0x7FF),
    is_extended_id=st.just(value=False),
    is_fd=st.just(value=True),
    bitrate_switch=st.booleans(),
    data=st.sampled_from([0, 8, 12, 64]).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
)
ERROR_FRAMES = st.builds(
    can.Message,
    is_error_frame=st.just(value=True),
    data=st.binary(max_size=8),
)
MESSAGES = st.one_of(
    st.tuples(st.just(2), IDS, st.text(max_size=20), OBJECTS).map(list),
    st.tuples(st.just(3), IDS, OBJECTS).map(list),
    st.tuples(st.just(4), IDS, st.text(max_size=20), JSON, JSON).map(list),
    st.text(max_size=100).filter(lambda text: "key" not in text.lower()),
)
#: Microseconds since the event before, charge point, and what happened.
HAPPENINGS = st.lists(
    st.tuples(
        st.integers(0, 3_000_000),
        CHARGE_POINTS,
        st.one_of(
            classic_frames(),
            FD_FRAMES,
            ERROR_FRAMES,
            st.tuples(st.booleans(), MESSAGES),
        ),
    ),
    max_size=20,
)


def expected_ocpp(
    calls: dict[tuple[str, bool, str], str],
    time_s: float,
    charge_point: str,
    sent: bool,
    message: list[Any] | str,
) -> OcppEvent:
    direction = Direction.TO_CHARGE_POINT if sent else Direction.TO_CENTRAL_SYSTEM
    if isinstance(message, str):
        payload = {"text": message}
        return OcppEvent(time_s, charge_point, direction, Kind.LINK, "", "unreadable", payload)
    if message[0] == 2:
        calls[charge_point, sent, message[1]] = message[2]
        return OcppEvent(time_s, charge_point, direction, Kind.CALL, *message[1:])
    action = calls.pop((charge_point, not sent, message[1]), "")
    if message[0] == 3:
        return OcppEvent(
            time_s, charge_point, direction, Kind.CALL_RESULT, message[1], action, message[2]
        )
    error = dict(zip(("code", "description", "details"), message[2:], strict=True))
    return OcppEvent(time_s, charge_point, direction, Kind.CALL_ERROR, message[1], action, error)


@IN_ONE_DIRECTORY
@given(HAPPENINGS)
def test_all_events_come_back_in_order(tmp_path: Path, happenings: list[Any]) -> None:
    directory = tmp_path / "run"
    told: list[Event] = []
    calls: dict[tuple[str, bool, str], str] = {}
    now_us = int(START_S) * 1_000_000
    with Recorder(directory, force=True) as recorder:
        for later_us, charge_point, what in happenings:
            now_us += later_us
            time_s = now_us / 1e6
            if isinstance(what, can.Message):
                recorder.can(charge_point, what, time_s)
                told.append(CanEvent(time_s, charge_point, what))
            else:
                sent, message = what
                recorder.ocpp(charge_point, sent, message, time_s)
                told.append(expected_ocpp(calls, time_s, charge_point, sent, message))
        recorder.finish({})
    told.sort(key=lambda event: (event.time_s, isinstance(event, CanEvent)))
    assert [comparable(e) for e in read_events(directory)] == [comparable(e) for e in told]
    run = load(directory)
    assert run.ocpp == [e for e in told if isinstance(e, OcppEvent)]
    frames = [e for e in told if isinstance(e, CanEvent)]
    assert run.can.time_s.tolist() == [e.time_s for e in frames]
    assert run.can.charge_point.tolist() == [e.charge_point for e in frames]
    assert run.can.dlc.tolist() == [e.message.dlc for e in frames]
    assert [bytes(row) for row in run.can.data] == [
        bytes(e.message.data[:8]).ljust(8, b"\0") for e in frames
    ]
    # As many rows as seconds, for each charge point from its first one on.
    names = {e.charge_point for e in told}
    assert set(run.series["charge_point"].tolist()) == names


def test_the_arrays_of_a_run(tmp_path: Path) -> None:
    run = load(record_run(tmp_path / "run", start_s=START_S, charge_points=["CP_1"]))
    assert len(run.can) == 8
    assert run.can.arbitration_id.dtype == np.uint32
    assert run.can.arbitration_id.tolist().count(CURRENT_ID) == 5
    assert run.can.data.shape == (8, 8)
    assert run.can.data[run.can.arbitration_id == LIMIT_ID].tolist() == [[16] + [0] * 7]
    assert run.can.flags.tolist() == [0] * 8
    assert run.series["time"].tolist() == [START_S + second for second in range(8)]
    currents_a = run.series["current_a"]
    assert currents_a.dtype == np.float64
    assert currents_a.tolist() == [0, 0, 10, 16, 16, 16, 16, 0]
    limits_a = run.series["limit_a"]
    assert np.isnan(limits_a[0])
    assert limits_a[1:].tolist() == [16] * 7
    assert run.labels == [LABEL]
    assert run.info["seed"] == 1
    assert run.info["complete"] is True
    assert [record["command"] for record in run.trace] == [
        "SetChargingProfile",
        "RemoteStartTransaction",
        "RemoteStopTransaction",
    ]


def test_the_flags_of_frames(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run") as recorder:
        for message in (
            can.Message(arbitration_id=0x1ABCDEF0, is_extended_id=True, data=b"\1"),
            can.Message(arbitration_id=1, is_extended_id=False, is_remote_frame=True, dlc=3),
            can.Message(is_error_frame=True, data=b""),
            can.Message(arbitration_id=2, is_extended_id=False, is_fd=True, data=bytes(12)),
        ):
            recorder.can("CP_1", message, START_S)
        recorder.finish({})
    frames = load(tmp_path / "run").can
    assert [CanFlag(flag) for flag in frames.flags.tolist()] == [
        CanFlag.EXTENDED,
        CanFlag.REMOTE,
        CanFlag.ERROR,
        CanFlag.FD,
    ]
    assert frames.arbitration_id.tolist() == [0x1ABCDEF0, 1, 0, 2]
    assert frames.dlc.tolist() == [1, 3, 0, 12]


@pytest.mark.parametrize("can_format", CAN_FORMATS)
def test_every_can_format_gives_the_same_frames(tmp_path: Path, can_format: str) -> None:
    frames: list[tuple[float, str, can.Message]] = [
        (START_S + 0.123456, "CP_1", encode(MeasuredCurrent(100))),
        (START_S + 0.123457, "CP 2", encode(MeasuredCurrent(0))),
        (START_S + 1.5, "CP_1", can.Message(arbitration_id=0x1ABCDEF0, data=b"\xff" * 8)),
        (START_S + 2, "CP_1", can.Message(arbitration_id=5, is_remote_frame=True, dlc=2)),
        (START_S + 3600.000001, "CP 2", can.Message(is_error_frame=True)),
        (START_S + 3601, "CP_1", encode(MeasuredCurrent(65535))),
    ]
    directory = tmp_path / "run"
    with Recorder(directory, can_format=can_format) as recorder:
        for time_s, charge_point, message in frames:
            recorder.can(charge_point, message, time_s)
        recorder.finish({})
    assert (directory / f"can.{can_format}").exists()
    read = [comparable(event) for event in read_events(directory)]
    assert read == [comparable(CanEvent(t, name, m)) for t, name, m in frames]


@pytest.mark.parametrize("can_format", CAN_FORMATS)
def test_a_run_without_frames(tmp_path: Path, can_format: str) -> None:
    with Recorder(tmp_path / "run", can_format=can_format) as recorder:
        recorder.finish({})
    run = load(tmp_path / "run")
    assert len(run.can) == 0
    assert run.can.data.shape == (0, 8)
    assert run.ocpp == []
    assert all(len(column) == 0 for column in run.series.values())
    assert [len(rows) for rows in row_labels(run)] == [0, 0]


@pytest.mark.parametrize("can_format", CAN_FORMATS)
def test_two_recordings_of_the_same_events_are_equal_byte_for_byte(
    tmp_path: Path, can_format: str
) -> None:
    one = record_run(tmp_path / "one", can_format=can_format)
    other = record_run(tmp_path / "other", can_format=can_format)
    files = sorted(path.name for path in one.iterdir())
    assert files == sorted([*FILES[1:], f"can.{can_format}"])
    assert filecmp.cmpfiles(one, other, files, shallow=False) == (files, [], [])


def test_other_tools_read_the_frames(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run")
    database = cantools.database.load_file(directory / "charger.dbc")
    assert isinstance(database, cantools.database.Database)
    with can.LogReader(directory / "can.log") as reader:
        messages = list(reader)
    assert {message.channel for message in messages} == {"CP_1"}
    currents_a = [
        database.decode_message(message.arbitration_id, bytes(message.data))["current_a"]  # type: ignore[call-overload]
        for message in messages
        if message.arbitration_id == CURRENT_ID
    ]
    assert currents_a == [0, 0, 10, 16, 0]
    assert messages[0].timestamp == START_S + 0.5


def test_the_first_lines_of_each_file(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run")
    assert sorted(path.name for path in directory.iterdir()) == FILES
    first = {path.name: path.read_text().splitlines() for path in directory.iterdir()}
    assert first["can.log"][0] == "(1767225600.500000) CP_1 300#0000"
    assert first["ocpp.jsonl"][1] == (
        '{"time":1767225601.000000,"charge_point":"CP_1","direction":"to_charge_point",'
        '"kind":"CALL","id":"a","action":"SetChargingProfile","payload":{"connectorId":1,'
        '"csChargingProfiles":{"chargingSchedule":{"chargingRateUnit":"A",'
        '"chargingSchedulePeriod":[{"startPeriod":0,"limit":16.9}]}}}}'
    )
    assert first["series.csv"][3] == (
        "1767225602.000000,CP_1,10,16,Charging,,,,,RemoteStartTransaction"
    )
    assert first["labels.csv"][1].startswith("can_drift,can,CP_1,1767225603.000000,")
    info = json.loads((directory / "run.json").read_text())
    assert info["format"] == "ev-anomaly-sim run 1"
    assert list(info)[-1] == "complete"


def test_only_labels_and_run_json_name_the_anomaly(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run")
    named = {path.name for path in directory.iterdir() if LABEL.anomaly in path.read_text("utf-8")}
    assert named == {"labels.csv"}


def test_the_example_in_the_documentation_runs(tmp_path: Path) -> None:
    documentation = evsim.recording.__doc__ or ""
    example = re.search(r"To load one:\n\n(.*?)\nWho writes", documentation, re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {"directory": record_run(tmp_path / "run")}
    exec(textwrap.dedent(example[1]), names)
    assert names["limits"].tolist() == [[16] + [0] * 7]
    assert len(names["starts"]) == 2  # the CALL and its answer
    assert names["active"].tolist() == [False] * 3 + [True] * 3 + [False] * 2


def test_every_module_is_on_the_map() -> None:
    documentation = evsim.recording.__doc__ or ""
    for name in (
        "recorder",
        "live",
        "writers",
        "candump",
        "messages",
        "layout",
        "derived",
        "loading",
        "reading",
        "errors",
        "series",
        "trace",
    ):
        assert re.search(rf"\b{name}\b", documentation), name


def test_at_the_same_moment_ocpp_comes_before_can(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run") as recorder:
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S)
        recorder.ocpp("CP_1", SENT, [2, "a", "Reset", {}], START_S + 4e-7)  # rounded off
        recorder.can("CP_1", encode(MeasuredCurrent(2)), START_S + 6e-7)  # rounded up
        recorder.finish({})
    events = list(read_events(tmp_path / "run"))
    assert [type(event) for event in events] == [OcppEvent, CanEvent, CanEvent]
    assert [event.time_s for event in events] == [START_S, START_S, START_S + 1e-6]


@pytest.mark.parametrize(
    ("last_s", "duration_s", "rows"),
    [(7.5, None, 8), (8.0, None, 9), (7.5, 8.0, 8), (8.0, 8.0, 8), (8.1, 8.0, 9), (1.0, 7.5, 8)],
)
def test_how_long_the_series_lasts(
    tmp_path: Path, last_s: float, duration_s: float | None, rows: int
) -> None:
    with Recorder(tmp_path / "run", start_s=START_S, charge_points=["CP_1"]) as recorder:
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S + last_s)
        recorder.finish({"duration_s": duration_s})
    assert len(load(tmp_path / "run").series["time"]) == rows


# ── Labels of rows ───────────────────────────────────────────────────────────────────────────


def test_rows_are_labelled_by_second_and_target(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", start_s=START_S, charge_points=["CP_1", "CP_2"]) as recorder:
        recorder.label(
            Label("a", "can", "CP_1", START_S + 1.5, START_S + 3, START_S + 3, START_S + 3.2, "low")
        )
        recorder.label(Label("b", "can", "CP_2", START_S + 5, START_S + 5, None, None, "low"))
        recorder.label(
            Label("c", "ocpp", "CP_1;CP_2", START_S + 7, START_S + 7.5, None, None, "high")
        )
        recorder.finish({"duration_s": 9.0})
    run = load(tmp_path / "run")
    active, visible = row_labels(run)

    def seconds(rows: NDArray[np.bool_], charge_point: str) -> list[float]:
        is_it = run.series["charge_point"] == charge_point
        found: list[float] = (run.series["time"][is_it & rows] - START_S).tolist()
        return found

    assert len(active) == 18
    assert seconds(active, "CP_1") == [1, 2, 7]
    assert seconds(active, "CP_2") == [5, 7]
    assert seconds(visible, "CP_1") == [3]
    assert seconds(visible, "CP_2") == []


# ── The directory ────────────────────────────────────────────────────────────────────────────


def test_nothing_has_the_final_name_before_it_is_whole(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "run"
    with Recorder(directory) as recorder:
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S)
        assert not directory.exists()
        recorder.finish({})
        assert directory.exists()
    assert list(directory.parent.iterdir()) == [directory]


def test_without_finish_nothing_remains(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run") as recorder:
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S)
    with pytest.raises(ZeroDivisionError), Recorder(tmp_path / "run") as recorder:
        raise ZeroDivisionError
    with pytest.raises(TypeError), Recorder(tmp_path / "run") as recorder:
        recorder.finish({"seed": object()})
    assert list(tmp_path.iterdir()) == []


def test_what_an_interrupted_recording_left_is_removed(tmp_path: Path) -> None:
    killed = Recorder(tmp_path / "run")
    killed.can("CP_1", encode(MeasuredCurrent(1)), START_S)
    (partial,) = tmp_path.iterdir()
    (partial / "rubbish").touch()
    record_run(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not (tmp_path / "run" / "rubbish").exists()
    killed.close()


def test_a_directory_that_is_there_is_refused(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run")
    before = (directory / "can.log").read_bytes()
    with pytest.raises(UserError, match="is there already"):
        Recorder(directory)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is there already"):
        Recorder(tmp_path / "file")
    assert (directory / "can.log").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run"]


def test_a_directory_that_came_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run") as recorder:
        (tmp_path / "run").mkdir()
        with pytest.raises(UserError, match="is there already"):
            recorder.finish({})
    assert list((tmp_path / "run").iterdir()) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_force_replaces_a_run_when_the_new_one_is_whole(tmp_path: Path) -> None:
    directory = record_run(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), Recorder(directory, force=True):
        raise ZeroDivisionError
    assert len(load(directory).can) == 8
    with Recorder(directory, force=True) as recorder:
        recorder.finish({})
    assert len(load(directory).can) == 0
    assert list(tmp_path.iterdir()) == [directory]


def test_force_replaces_nothing_but_a_run(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    with pytest.raises(UserError, match="no recorded run"):
        Recorder(tmp_path / "home", force=True)
    assert (tmp_path / "home" / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["file/run", "n" * 300])
def test_where_nothing_can_be_written_is_one_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*choose another directory"):
        Recorder(tmp_path / name)


def test_an_unknown_can_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'pcap'.*log, blf, asc"):
        Recorder(tmp_path / "run", can_format="pcap")


@pytest.mark.parametrize("can_format", CAN_FORMATS)
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path, can_format: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    message = can.Message(arbitration_id=1, is_extended_id=False)

    def record() -> None:
        with Recorder(tmp_path / "run", can_format=can_format) as recorder:
            for number in range(200_000):
                message.data = bytearray(os.urandom(8))  # so that it can't be compressed
                message.dlc = 8
                recorder.can("CP_1", message, START_S + number / 1000)
            recorder.finish({})

    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # no file grows beyond
    try:
        with pytest.raises(CannotWriteError, match=rf"cannot write .*can\.{can_format}: .*room"):
            record()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_at_the_very_end_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    recorder = Recorder(tmp_path / "run")
    for number in range(1000):
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S + number / 1000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with recorder, pytest.raises(CannotWriteError):  # still in the buffers until now
            recorder.finish({})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


# ── What is refused, and what is written in other words ──────────────────────────────────────


@pytest.mark.parametrize("time_s", [START_S - 0.001, float("nan"), float("-inf")])
def test_a_time_that_goes_back_is_refused(tmp_path: Path, time_s: float) -> None:
    with Recorder(tmp_path / "run") as recorder:
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S)
        with pytest.raises(ValueError, match="order of time"):
            recorder.can("CP_1", encode(MeasuredCurrent(1)), time_s)


@pytest.mark.parametrize(
    "message",
    [
        can.Message(arbitration_id=0x800, is_extended_id=False),
        can.Message(arbitration_id=0x20000000),
        can.Message(arbitration_id=-1),
        can.Message(arbitration_id=1, is_extended_id=False, data=bytes(9)),
        can.Message(arbitration_id=1, is_fd=True, data=bytes(65)),
        can.Message(is_error_frame=True, data=bytes(9)),
    ],
    ids=str,
)
@pytest.mark.parametrize("can_format", CAN_FORMATS)
def test_what_no_can_bus_carries_is_refused(
    tmp_path: Path, message: can.Message, can_format: str
) -> None:
    with Recorder(tmp_path / "run", can_format=can_format) as recorder:
        with pytest.raises(ValueError, match=r"CAN|error frame"):
            recorder.can("CP_1", message, START_S)
        recorder.finish({})
    assert list(read_events(tmp_path / "run")) == []


@pytest.mark.parametrize("charge_point", ["", "a\nb", "..", "\ud800", "x" * 49])
def test_what_is_no_charge_point_id_is_refused(tmp_path: Path, charge_point: str) -> None:
    with Recorder(tmp_path / "run") as recorder:
        with pytest.raises(ValueError, match="charge point id"):
            recorder.can(charge_point, encode(MeasuredCurrent(1)), START_S)
        with pytest.raises(ValueError, match="charge point id"):
            recorder.ocpp(charge_point, SENT, [3, "a", {}], START_S)
    with pytest.raises(ValueError, match="charge point id"):
        Recorder(tmp_path / "run", charge_points=[charge_point])


def nested(depth: int) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for _ in range(depth):
        payload = {"a": payload}
    return payload


@pytest.mark.parametrize(
    "payload",
    [{"a": float("inf")}, nested(100_000), {"a": "\u20ac" * 300_000}],
    ids=["inf", "deep", "long"],
)
def test_what_no_line_can_hold_is_recorded_as_unreadable(
    tmp_path: Path, payload: dict[str, Any]
) -> None:
    with Recorder(tmp_path / "run") as recorder:
        recorder.ocpp("CP_1", RECEIVED, [2, "a", "DataTransfer", payload], START_S)
        recorder.finish({})
    (event,) = read_events(tmp_path / "run")
    assert isinstance(event, OcppEvent)
    assert (event.kind, event.action) == (Kind.LINK, "unreadable")
    assert "DataTransfer" in event.payload["text"]


def test_no_authorization_key_is_recorded(tmp_path: Path) -> None:
    secret = "0123456789abcdef"
    change = {"key": "AuthorizationKey", "value": secret}
    with Recorder(tmp_path / "run") as recorder:
        recorder.ocpp("CP_1", SENT, [2, "a", "ChangeConfiguration", change], START_S)
        recorder.ocpp("CP_1", SENT, f'[2,"b","ChangeConfiguration",{json.dumps(change)},]', START_S)
        keys = {"configurationKey": [{"readonly": False, **change}, "x"], "unknownKey": []}
        recorder.ocpp("CP_1", RECEIVED, [3, "c", keys], START_S)
        recorder.finish({})
    assert change["value"] == secret  # the message itself goes on as it was
    for path in (tmp_path / "run").iterdir():
        assert secret not in path.read_text("utf-8"), path.name


def test_a_flood_of_calls_keeps_memory_bounded(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run") as recorder:
        for number in range(2000):
            recorder.ocpp("CP_1", RECEIVED, [2, str(number), "Heartbeat", {}], START_S)
        recorder.ocpp("CP_1", SENT, [3, "0", {}], START_S)
        recorder.ocpp("CP_1", SENT, [3, "1999", {}], START_S)
        recorder.finish({})
    *_, oldest, newest = read_events(tmp_path / "run")
    assert isinstance(oldest, OcppEvent)
    assert isinstance(newest, OcppEvent)
    assert (oldest.action, newest.action) == ("", "Heartbeat")


def test_a_leap_of_more_than_a_day_is_an_error(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run") as recorder:
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S)
        recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S + 86_400)
        with pytest.raises(UserError, match="the time jumps by 172800 s"):
            recorder.can("CP_1", encode(MeasuredCurrent(1)), START_S + 3 * 86_400)
    with pytest.raises(RecordingError):
        load(tmp_path / "run")
