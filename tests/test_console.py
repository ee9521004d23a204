"""What a person sees: nothing that a peer sends can forge a line; errors are one line."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim import console
from evsim.errors import UserError
from evsim.text import visible


@given(st.text(max_size=2000))
def test_visible_text_is_one_printable_line(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1


def test_visible_keeps_what_is_printable_and_escapes_the_rest() -> None:
    assert visible("Größe 5 Ω ✅") == "Größe 5 Ω ✅"
    assert visible("a\nb\x1b[2J\u202e") == r"a\nb\x1b[2J\u202e"
    assert len(visible("x" * 100_000)) < 1100


def logged(message: str, *arguments: object, level: int = logging.INFO, colour: bool) -> str:
    record = logging.LogRecord("evsim", level, "file", 1, message, arguments, None)
    return console.LineFormatter(colour=colour).format(record)


def test_a_peers_text_cannot_forge_a_line() -> None:
    line = logged("charge point %s", "X\n12:00:00 error: forged\x1b[31m", colour=False)
    assert "\n" not in line
    assert "\x1b" not in line
    assert r"X\n12:00:00 error: forged\x1b[31m" in line


def test_warnings_say_so_and_are_coloured_only_where_wanted() -> None:
    plain = logged("hot", level=logging.WARNING, colour=False)
    coloured = logged("hot", level=logging.WARNING, colour=True)
    assert plain.endswith(" warning: hot")
    assert coloured == f"\033[33m{plain}\033[0m"
    assert "\033" not in logged("mild", colour=True)


def test_no_color_and_no_terminal_mean_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert console.wants_colour(Terminal())
    assert not console.wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.wants_colour(Terminal())


# ── run() ────────────────────────────────────────────────────────────────────────────────────


async def fails(text: str) -> None:
    raise UserError(text)


async def fails_in_a_group() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fails("no such plant"))
        tasks.create_task(asyncio.Event().wait())


async def succeeds() -> None:
    await asyncio.sleep(0)


def test_a_program_that_ends_is_0() -> None:
    assert console.run(succeeds) == 0


def test_a_users_mistake_is_one_line_and_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/cp.py"])
    assert console.run(lambda: fails("bad\nid")) == 1
    assert capsys.readouterr().err == "cp.py: bad\\nid\n"
    assert console.run(fails_in_a_group) == 1
    assert capsys.readouterr().err == "cp.py: no such plant\n"


def test_a_fault_of_ours_is_not_hidden() -> None:
    async def bug() -> None:
        raise ZeroDivisionError

    async def bug_in_a_group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bug())
            tasks.create_task(fails("at the same time"))

    with pytest.raises(ZeroDivisionError):
        console.run(bug)
    with pytest.raises(ExceptionGroup):
        console.run(bug_in_a_group)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_is_0_and_leaves_time_to_clean_up(name: str) -> None:
    cleaned_up = []

    async def waits() -> None:
        try:
            os.kill(os.getpid(), getattr(signal, name))
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(name)

    assert console.run(waits) == 0
    assert cleaned_up == [name]


# ── Arguments ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (console.positive, ["1", "0.5"], ["0", "-1", "inf", "nan", "x"]),
        (console.not_negative, ["0", "2.5"], ["-0.1", "inf", "nan", "x"]),
        (console.at_least_one, ["1", "7"], ["0", "-1", "1.5", "x"]),
        (console.port_number, ["0", "9000", "65535"], ["-1", "65536", "http"]),
    ],
)
def test_numbers_from_the_command_line(
    kind: type[float], good: list[str], bad: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = console.argument_parser("A test.", "./it.py --number 1")
    parser.add_argument("--number", type=kind)
    for text in good:
        assert parser.parse_args([f"--number={text}"]).number == float(text)
    for text in bad:
        with pytest.raises(SystemExit) as ended:
            parser.parse_args([f"--number={text}"])
        assert ended.value.code == 2
        assert "--number" in capsys.readouterr().err
