"""Following a file that is being written: it appears, grows, is rotated, cut or garbage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import StartScript

from evsim.logs import LogError
from evsim.logs.follow import READ_BYTES, Follower, follow_messages, record_of
from evsim.virtual_time import run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ocpp.jsonl"


@contextlib.contextmanager
def following(path: Path) -> Iterator[Follower]:
    with contextlib.closing(Follower(path)) as follower:
        yield follower


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def all_of(follower: Follower) -> list[str]:
    """Read until nothing comes in two calls: one may find out that the file was replaced."""
    found: list[str] = []
    silent = 0
    while silent < 2:
        lines = follower.read()
        silent = 0 if lines else silent + 1
        found += lines
    return found


def test_a_file_that_is_there_is_followed_from_its_end(path: Path) -> None:
    path.write_text("old\n")
    with following(path) as follower:
        assert all_of(follower) == []
        append(path, "new\n")
        assert all_of(follower) == ["new"]


def test_a_file_that_appears_is_followed_from_its_beginning(path: Path) -> None:
    with following(path) as follower:
        assert not follower.is_there
        assert all_of(follower) == []
        path.write_text("first\nsecond\n")
        assert all_of(follower) == ["first", "second"]


def test_a_line_counts_when_it_has_come_to_its_end(path: Path) -> None:
    path.write_text("in the mid")
    with following(path) as follower:
        append(path, "dle\nha")
        assert all_of(follower) == []  # nobody knows how it began
        append(path, "lf")
        assert all_of(follower) == []
        append(path, " and half\n\nx\n")
        assert all_of(follower) == ["half and half", "x"]


@pytest.mark.parametrize("late", ["", "written after the move\n", "torn"])
def test_a_file_that_is_rotated_is_read_to_its_end_then_the_new_one(path: Path, late: str) -> None:
    path.write_text("")
    with following(path) as follower, path.open("a") as writer:
        writer.write("before\n")
        writer.flush()
        assert all_of(follower) == ["before"]
        path.rename(path.with_suffix(".1"))
        writer.write(late)
        writer.flush()
        assert all_of(follower) == ([late.strip()] if late.endswith("\n") else [])
        path.write_text("in the new one\n")
        assert all_of(follower) == ["in the new one"]
        append(path, "and on\n")
        assert all_of(follower) == ["and on"]


def test_a_file_that_is_cut_is_followed_from_its_beginning(path: Path) -> None:
    path.write_text("")
    with following(path) as follower:
        append(path, "a long line before\nand half a l")
        assert all_of(follower) == ["a long line before"]
        os.truncate(path, 0)
        append(path, "after\n")
        assert all_of(follower) == ["after"]


def test_a_line_that_never_ends_fills_no_memory(path: Path) -> None:
    path.write_text("")
    with following(path) as follower:
        for _ in range(20):
            append(path, "x" * READ_BYTES)
            assert all_of(follower) == []
            assert len(follower._rest) <= 1024 * 1024
        append(path, "the end of it\nnext\n")
        assert all_of(follower) == ["next"]


def test_what_cannot_be_followed_is_told(tmp_path: Path, path: Path) -> None:
    path.mkdir()
    with pytest.raises(LogError, match="cannot be followed: Is a directory"):
        Follower(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="cannot be followed: Not a directory"):
        Follower(tmp_path / "file" / "ocpp.jsonl")


def test_the_record_is_named_by_its_directory_or_itself(tmp_path: Path) -> None:
    assert record_of(tmp_path) == tmp_path / "ocpp.jsonl"
    assert record_of(tmp_path / "later") == tmp_path / "later" / "ocpp.jsonl"
    assert record_of(tmp_path / "later.jsonl") == tmp_path / "later.jsonl"
    (tmp_path / "messages").write_text("")
    assert record_of(tmp_path / "messages") == tmp_path / "messages"


def test_messages_come_as_they_are_written_and_garbage_is_passed_over(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = json.dumps([5, [2, "1", "Heartbeat", {}]]) + "\n"
    taken: list[tuple[float, str]] = []

    async def take() -> None:
        async for event in follow_messages(path, "CP_7"):
            at_s = asyncio.get_running_loop().time()
            taken.append((at_s, event.charge_point))

    async def write() -> None:
        task = asyncio.create_task(take())
        for text in (line, "garbage\n\0\n[]\nmore garbage\n" + line, line[:10], line[10:]):
            await asyncio.sleep(10)
            append(path, text)
        await asyncio.sleep(10)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    run(write())
    assert [at_s for at_s, _ in taken] == pytest.approx([10, 20, 40], abs=0.3)
    assert {charge_point for _, charge_point in taken} == {"CP_7"}
    assert caplog.text.count("a line is passed over (said once)") == 2  # not JSON; JSON, but none


@pytest.mark.processes
def test_live_what_the_central_system_commands_raises_the_alarm(
    start_script: StartScript, free_port: int, tmp_path: Path
) -> None:
    """The base scenario brings 8 commands in 14 s; this detector sees nothing of the current."""
    record = tmp_path / "record"
    watching = start_script(
        "detect.py", "live", "--csms", str(record), "--detector", "command_rate", "--once"
    )
    watching.wait_for("Watching the CAN bus and ")
    watching.wait_for(f"waiting for {record / 'ocpp.jsonl'}")
    charger = start_script("charger_module.py")
    charger.wait_for("Listening for CAN commands")
    csms = start_script(
        "csms.py", "--port", str(free_port), "--db", str(tmp_path / "db"), "--record", str(record)
    )
    csms.wait_for("CSMS WebSocket server running on")
    cp = start_script("cp.py", "--url", f"ws://127.0.0.1:{free_port}")
    cp.wait_for("Connected to CSMS")
    watching.wait_for("CP_1  command_rate: 8 commands in 20 s", 60)
    assert watching.wait() == 3


@pytest.mark.processes
def test_live_without_an_alarm_the_end_is_quiet(start_script: StartScript, tmp_path: Path) -> None:
    path = tmp_path / "ocpp.jsonl"
    path.write_text("")
    watching = start_script("detect.py", "live", "--csms", str(path), "--for", "1")
    watching.wait_for(f"Watching the CAN bus and {path}")
    assert watching.wait() == 0


@pytest.mark.processes
def test_live_a_record_that_cannot_be_followed_ends_with_one_line(
    start_script: StartScript, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    watching = start_script("detect.py", "live", "--csms", str(tmp_path / "file" / "x.jsonl"))
    assert watching.wait() == 1
    assert "cannot be followed: Not a directory" in watching.output
    assert "Traceback" not in watching.output
