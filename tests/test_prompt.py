"""The prompt: what a line does, and a person at a real terminal (tmux)."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import ROOT, environment
from terminal import Terminal, terminal  # noqa: F401 - a fixture

from evsim.errors import RefusedError, UserError
from evsim.prompt import Prompt, Verb, split

#: A program with a prompt that logs all the time.
PROGRAM = """
import asyncio, logging, sys
from evsim import console
from evsim.prompt import Prompt, Verb

async def chatter():
    number = 0
    while True:
        number += 1
        logging.getLogger("evsim.chatter").info("tick %d is here", number)
        await asyncio.sleep(0.1)

async def main():
    console.ready("ready for words")
    fruit = ("apple", "apricot", "banana")
    verbs = [
        Verb("eat", "FRUIT", "say what was eaten", lambda fruit: f"ate {fruit}",
             lambda words: fruit if not words else ()),
        Verb("wait", "", "take for ever", lambda: asyncio.Event().wait()),
        Verb("fail", "", "have a bug", lambda: 1 / 0),
    ]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Prompt("program", verbs).run())
        tasks.create_task(chatter())

console.set_up_logging("info")
sys.exit(console.run(main))
"""


def refuse() -> str:
    raise RefusedError("it was answered with Rejected")


async def wait_in_vain() -> str:
    raise TimeoutError("CP_1: no answer to Reset within 10 s")


async def add(one: str, other: str = "1") -> str:
    try:
        return f"sum {int(one) + int(other)}"
    except ValueError:
        raise UserError(f"{one!r} is not a number") from None


def complete(words: Sequence[str]) -> Sequence[str]:
    return [("one", "once", "Two"), ("three",)][len(words)] if len(words) < 2 else ()


def prompt() -> Prompt:
    return Prompt(
        "test",
        [
            Verb("add", "ONE [OTHER]", "add numbers", add, complete),
            Verb("refuse", "", "be refused", refuse),
            Verb("wait", "", "wait in vain", wait_in_vain),
            Verb("bug", "", "have a bug", lambda: str(1 // 0)),
            Verb("shout", "TEXT", "say it", lambda text: f"{text}!"),
            Verb("nothing", "", "say nothing", lambda: None),
        ],
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("add 1 2", "sum 3"),
        ("  add   4 ", "sum 5"),
        ("add x", "'x' is not a number"),
        ("add", "usage: add ONE [OTHER]"),
        ("add 1 2 3", "usage: add ONE [OTHER]"),
        ("refuse", "it was answered with Rejected"),
        ("refuse now", "usage: refuse"),
        ("wait", "CP_1: no answer to Reset within 10 s"),
        ("nothing", ""),
        ("", ""),
        ("   ", ""),
        ("ad", "there is no verb 'ad'; help lists what there is"),
        ("help ad", "there is no verb 'ad'; help lists what there is"),
        ("help add", "add ONE [OTHER]: add numbers"),
        ('shout "a b', "cannot read this line: No closing quotation"),
        ("shout \udcff", "cannot read this line: it has bytes that are not UTF-8"),
        ("shout 'a b'", "a b!"),
        ('shout {"a": "b c"}', '{"a": "b c"}!'),
        ("shout '\x1b[2Jred'", "\\x1b[2Jred!"),
    ],
)
def test_a_line_does_what_it_says_and_a_bad_one_gives_one_line(line: str, said: str) -> None:
    assert asyncio.run(prompt().obey(line)) == said


def test_a_bug_of_ours_is_shown_and_does_not_end_the_program(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert asyncio.run(prompt().obey("bug")) == ""
    assert "ZeroDivisionError" in caplog.text


def test_help_lists_each_verb_with_its_usage() -> None:
    lines = asyncio.run(prompt().obey("help")).splitlines()
    assert lines[0] == "add ONE [OTHER]  add numbers"
    assert [line.split()[0] for line in lines[-2:]] == ["help", "quit"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a  b", ["a", "b"]),
        ("a 'b c' \"d\"", ["a", "b c", "d"]),
        ('send X {"a": [1, "b c"]} ', ["send", "X", '{"a": [1, "b c"]}']),
        ("send X [1, 2]", ["send", "X", "[1, 2]"]),
        ("say 'no {json} here'", ["say", "no {json} here"]),
        ("a{b}", ["a{b}"]),
    ],
)
def test_lines_are_split_as_in_a_shell_but_json_stays_whole(line: str, words: list[str]) -> None:
    assert split(line) == words


@pytest.mark.parametrize(
    ("before", "candidates"),
    [
        ("", ["add", "bug", "help", "nothing", "quit", "refuse", "shout", "wait"]),
        ("s", ["shout"]),
        ("add ", ["Two", "once", "one"]),
        ("add on", ["once", "one"]),
        ("add t", ["Two"]),
        ("add one ", ["three"]),
        ("add one three ", []),
        ("strange ", []),
        ("help re", ["refuse"]),
        ("add 'o", []),
    ],
)
def test_what_may_come_next(before: str, candidates: list[str]) -> None:
    assert prompt().candidates(before) == candidates


# ── At a terminal ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, "utf-8")
    return [sys.executable, str(path)]


def surroundings(tmp_path: Path) -> dict[str, str]:
    return environment(
        "239.74.166.1",
        {"XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT), "NO_COLOR": None},
    )


@pytest.mark.display
def test_log_lines_arrive_above_a_half_typed_line(
    terminal: Terminal,  # noqa: F811
    program: list[str],
    tmp_path: Path,
) -> None:
    terminal.start(*program, env=surroundings(tmp_path))
    terminal.wait_for_line("program>")
    terminal.type("eat ban")
    terminal.wait_for_line("program> eat ban")
    for tick in (20, 25, 30):
        terminal.wait_for(f"tick {tick} is here")
        terminal.wait_for_line("program> eat ban")
    terminal.type("ana", "Enter")
    terminal.wait_for("ate banana")
    lines = terminal.screen.splitlines()
    # Each line is whole, and is a log line, what was typed, or what was said to it.
    assert all(line.endswith(" is here") or "ban" in line for line in lines[1:-1]), lines
    assert sum("ate banana" in line for line in lines) == 1
    terminal.type("C-d")
    terminal.wait_for_line("exit code 0")


@pytest.mark.display
def test_tab_completes_up_brings_back_and_the_history_outlives_the_program(
    terminal: Terminal,  # noqa: F811
    program: list[str],
    tmp_path: Path,
) -> None:
    for last in ("C-c", "quit"):
        terminal.start(*program, env=surroundings(tmp_path))
        terminal.wait_for_line("program>")
        if last == "quit":
            terminal.type("Up", "Up")
            terminal.wait_for_line("program> eat apricot")
            terminal.type("C-u")
        terminal.type("ea", "Tab", "apr", "Tab", "Enter")
        terminal.wait_for("ate apricot")
        terminal.type("eat ap", "Tab")
        terminal.wait_for("apple")  # both are shown
        terminal.type("C-u", "set AuthorizationKey 00112233", "Enter")
        terminal.wait_for("there is no verb 'set'")
        terminal.type("fail", "Enter")
        terminal.wait_for("ZeroDivisionError")
        terminal.type(*(["quit", "Enter"] if last == "quit" else [last]))
        terminal.wait_for_line("exit code 0")
        terminal.close()
    history = tmp_path / "state" / "ev-anomaly-sim" / "program_history"
    assert history.read_text() == "eat apricot\nfail\n" * 2 + "quit\n"
    assert history.stat().st_mode & 0o777 == 0o600


@pytest.mark.display
@pytest.mark.parametrize("signal_name", ["INT", "TERM", "HUP"])
def test_a_signal_ends_it_quietly_while_a_verb_waits(
    terminal: Terminal,  # noqa: F811
    program: list[str],
    tmp_path: Path,
    signal_name: str,
) -> None:
    pid = tmp_path / "pid"
    start = ["sh", "-c", f'echo $$ >{pid}; exec "$@"', "sh"]
    terminal.start(*start, *program, env=surroundings(tmp_path))
    terminal.wait_for_line("program>")
    terminal.type("wait", "Enter", "eat ")
    terminal.wait_for_line("program> eat")
    subprocess.run(["kill", f"-{signal_name}", pid.read_text().strip()], check=True)
    terminal.wait_for_line("exit code 0")
    assert "Traceback" not in terminal.screen


@pytest.mark.display
@pytest.mark.parametrize("after", ["</dev/null", "| cat", "&"])
def test_without_a_person_there_is_no_prompt(
    terminal: Terminal,  # noqa: F811
    program: list[str],
    tmp_path: Path,
    after: str,
) -> None:
    terminal.start(*program, env=surroundings(tmp_path), after=after + (" wait" * (after == "&")))
    terminal.wait_for("tick 5 is here")
    assert "program>" not in terminal.screen


def test_a_dumb_terminal_gets_no_prompt_and_not_one_control_character(
    program: list[str], tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        program,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=surroundings(tmp_path) | {"TERM": "dumb"},
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    while b"tick 5 is here" not in said:
        said += os.read(ours, 1000)
    process.terminate()
    assert process.wait(10) == 0
    os.close(ours)
    assert b"\x1b" not in said
    assert b"program>" not in said
