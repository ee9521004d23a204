"""A real terminal for tests: a tmux server of the test's own, whose screen can be read."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from conftest import ROOT

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, timeout_s: float = 30) -> T:
    """Wait for a condition to give something true; return that."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        threading.Event().wait(0.05)
    return value


def need(*tools: str) -> None:
    """Skip without these tools; fail where CI must have them."""
    for tool in tools:
        if shutil.which(tool) is None:
            if os.environ.get("EVSIM_REQUIRE_DISPLAY_TESTS"):
                pytest.fail(f"{tool} is not installed")
            pytest.skip(f"needs {tool}")


class Terminal:
    """A terminal in which one program runs; its screen stays when that has ended."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._runs = 0

    def start(self, *command: str, env: dict[str, str], after: str = "") -> None:
        """Run a command in it, and say afterwards how it ended."""
        self._runs += 1
        line = f'{shlex.join(command)} {after}; echo "exit code $?"; exec cat'
        self._tmux("new-session", "-d", "-x", "100", "-y", "40", line, env=env)

    def type(self, *keys: str) -> None:
        """Press keys, by tmux' names for them: Enter, Tab, Up, C-c; other words as they are."""
        self._tmux("send-keys", *keys)

    @property
    def screen(self) -> str:
        """What is to be seen now, long lines not cut."""
        return self._tmux("capture-pane", "-p", "-J").rstrip()

    @property
    def last_line(self) -> str:
        """Where the cursor is."""
        return self.screen.splitlines()[-1] if self.screen else ""

    def wait_for(self, words: str) -> None:
        """Wait until the words are on the screen."""
        until(lambda: words in self.screen, f"{words!r} on the screen\n{self.screen}")

    def wait_for_line(self, line: str) -> None:
        """Wait until the last line is that one."""
        until(lambda: self.last_line.rstrip() == line, f"{line!r} last\n{self.screen}")

    def close(self) -> None:
        """End all that runs in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")

    def _tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        socket_path = str(self._directory / f"tmux{self._runs}")
        environment = {**(env or os.environ), "TERM": "xterm-256color"}
        return subprocess.run(
            ["tmux", "-u", "-S", socket_path, "-f", "/dev/null", *words],
            env=environment,
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Give a terminal of the test's own."""
    need("tmux")
    made = Terminal(tmp_path)
    yield made
    made.close()
