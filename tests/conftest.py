"""What the tests share: a bus of their own, a port of their own, real scripts as processes.

Fixtures:

    can_channel     a multicast group that no other test uses: give it to open_bus(channel=...)
    start_script    start_script("charger_module.py", "--plant", "ideal") -> Script; all scripts of
                    one test are on its `can_channel`, and all are ended with the test
    free_port       a TCP port of 127.0.0.1 that was free a moment ago
    pki             a directory with certificates and keys of 127.0.0.1, CP_1 and CP_2

Types for annotations: `from conftest import Script, StartScript`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from evsim.console import LineFormatter

ROOT = Path(__file__).resolve().parent.parent
#: Long enough for a start of Python with matplotlib on a busy two-core machine.
READY_S = 30.0
#: A script that was told to stop must be gone by then.
STOP_S = 10.0

_FIRST_GROUP = ipaddress.IPv4Address("239.74.166.0")
_LAST_GROUP = ipaddress.IPv4Address("239.74.255.255")
_test_number = itertools.count()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what a program has set up of logging, if the test runs one in its own process."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, LineFormatter):
            root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    for name in ("evsim", "websockets"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)


@pytest.fixture
def can_channel() -> str:
    """A multicast group of its own for this test, hence a CAN bus of its own.

    Different for each test and for each process that runs tests: neighbouring process ids are
    spread over the range by the golden ratio, so that two runs at the same time don't meet.
    """
    groups = int(_LAST_GROUP) - int(_FIRST_GROUP) + 1
    first_of_this_process = os.getpid() * 14239
    return str(_FIRST_GROUP + (first_of_this_process + next(_test_number)) % groups)


@pytest.fixture
def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Script:
    """A program that runs as a process of its own, with what it has printed so far.

    Standard output and standard error come as one list of `lines`. Standard input is empty.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.command = command
        self.lines: list[str] = []
        self._searched: dict[str, int] = {}
        self._ended = False
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # so that clean_up() reaches its children too
        )
        self._reader = threading.Thread(target=self._read, name=f"reads {command}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative if a signal ended it."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """All that it has printed so far, complete after wait(), stop() and kill()."""
        with self._news:
            return "\n".join(self.lines)

    def wait_for(self, words: str, timeout_s: float = READY_S) -> str:
        """Return the next line that contains `words`, printed already or soon.

        A second call with the same words waits for another such line. Fails the test, showing
        the whole output so far, if the line has not come in `timeout_s` or can't come any more.
        """
        with self._news:
            if self._news.wait_for(lambda: self._finds(words) or self._ended, timeout_s):
                line = self._take(words)
                if line is not None:
                    return line
                problem = f"ended with exit code {self.exit_code} before it said"
            else:
                problem = f"has not said within {timeout_s:g} s"
            said = "\n".join(self.lines)
        pytest.fail(
            f"{' '.join(self.command)}\n{problem} {words!r}. It said:\n{said or '(nothing)'}"
        )

    def wait(self, timeout_s: float = READY_S) -> int:
        """Return the exit code when it ends by itself; fail the test if it does not."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(
                f"{' '.join(self.command)}\nstill runs after {timeout_s:g} s. It said:\n"
                f"{self.output}"
            )
        # A grandchild may hold the pipe open longer.
        self._reader.join(STOP_S)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, e.g. signal.SIGINT."""
        self._process.send_signal(number)

    def stop(self, timeout_s: float = STOP_S) -> int:
        """Send SIGTERM and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """Send SIGKILL, as a crash would, and wait until it is gone."""
        self._process.kill()
        self.wait(STOP_S)

    def clean_up(self) -> None:
        """End it and all that it started, whatever state the test left it in."""
        # All gone; or on macOS, only zombies left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(STOP_S)
        self._reader.join(STOP_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        self._process.wait()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _finds(self, words: str) -> bool:
        return any(words in line for line in self.lines[self._searched.get(words, 0) :])

    def _take(self, words: str) -> str | None:
        first = self._searched.get(words, 0)
        for number, line in enumerate(self.lines[first:], first):
            if words in line:
                self._searched[words] = number + 1
                return line
        return None


class StartScript(Protocol):
    """What the fixture `start_script` gives."""

    def __call__(
        self,
        name: str,
        *arguments: str,
        env: dict[str, str | None] | None = None,
        python: tuple[str, ...] = (sys.executable,),
    ) -> Script:
        """Start the script `name` of the root directory.

        :param env: variables to set, or to remove with None.
        :param python: what to start it with; () for a program of its own right, e.g. run_all.sh.
        """


@pytest.fixture
def start_script(can_channel: str, tmp_path: Path) -> Iterator[StartScript]:
    """Start root scripts as real processes; whatever still runs at the test's end is killed.

    They are on the CAN bus of the test's `can_channel` unless told otherwise, whatever the
    machine's own CAN_* variables say, and keep their state in the test's `tmp_path`.
    """
    started: list[Script] = []
    own = {"XDG_STATE_HOME": str(tmp_path / "state")}

    def start(
        name: str,
        *arguments: str,
        env: dict[str, str | None] | None = None,
        python: tuple[str, ...] = (sys.executable,),
    ) -> Script:
        script = Script(
            [*python, str(ROOT / name), *arguments],
            environment(can_channel, {**own, **(env or {})}),
        )
        started.append(script)
        return script

    yield start
    for script in started:
        script.clean_up()


def environment(can_channel: str, changes: dict[str, str | None] | None = None) -> dict[str, str]:
    """Return the environment for a script of a test: its CAN bus, unbuffered UTF-8 output."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("CAN_")}
    own: dict[str, str | None] = {
        "CAN_INTERFACE": "evsim",
        "CAN_CHANNEL": can_channel,
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
    wanted = inherited | own | (changes or {})
    return {key: value for key, value in wanted.items() if value is not None}


def root_scripts() -> list[Path]:
    """Every Python script of the root directory, as it is now."""
    return sorted(ROOT.glob("*.py"))


@pytest.fixture
def no_can_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Free this process of the machine's python-can configuration; set another by calling it.

    `no_can_configuration(CAN_INTERFACE="virtual")` sets a variable for the rest of the test.
    """
    for key in [key for key in os.environ if key.startswith("CAN_")]:
        monkeypatch.delenv(key)
    monkeypatch.setattr("can.util.CONFIG_FILES", [str(tmp_path / "can.conf")])

    def configure(**variables: str) -> None:
        for key, value in variables.items():
            monkeypatch.setenv(key, value)

    return configure


def make_certificates(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Let `python -m evsim.certificates` fill a directory."""
    command = [sys.executable, "-m", "evsim.certificates", str(directory), *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=READY_S
    )


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys of 127.0.0.1, CP_1 and CP_2, by the real command."""
    directory = tmp_path_factory.mktemp("pki") / "made"
    made = make_certificates(directory, "--charge-point", "CP_1", "--charge-point", "CP_2")
    assert made.returncode == 0, made.stderr
    return directory
