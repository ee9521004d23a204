"""run_all.sh: every kind of terminal, every way to end, and its set-up of .venv.

Each test runs it in a directory of its own whose name has spaces and both kinds of quotes. Where
the four programs add nothing, stand-ins that print the ready line and wait take their place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import ROOT, Script, environment
from terminal import need, until

from evsim.recording import load

pytestmark = pytest.mark.processes

READY_LINES = {
    "charger": "Listening for CAN commands",
    "csms": "CSMS WebSocket server running on ws://127.0.0.1:1",
    "cp": "Connected to CSMS",
    "plot": "Plotting CAN frame 0x300",
}
SCRIPTS = {
    "charger": "charger_module.py",
    "csms": "csms.py",
    "cp": "cp.py",
    "plot": "plot_current.py",
}
#: Runs only for an anomaly on the CAN bus.
ATTACKER = "attack_can.py"
STAND_IN = """
import signal, sys, time
def stop(*_):
    if "--save" in sys.argv:
        open(sys.argv[sys.argv.index("--save") + 1], "w").write("a plot")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print({ready!r}, flush=True)
print("arguments:", *sys.argv[1:], flush=True)
while True:
    time.sleep(0.1)
"""
#: Tests in the background of a shell inherit that SIGINT is ignored, which bash can't undo.
IN_FOLDER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.chdir(sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
"""
#: As gnome-terminal, konsole and xfce4-terminal: runs what follows the option that says so.
TERMINAL_STAND_IN = """#!/bin/bash
printf '%s\\n' "$0 $*" >>"$RECORD"
while [ "$1" != -- ] && [ "$1" != -e ] && [ "$1" != -x ]; do shift; done
shift
exec setsid "$@" >/dev/null 2>&1
"""
#: As python3, and as .venv/bin/python once it has "made" that; for all else it is the real one.
PYTHON_STAND_IN = """#!/bin/bash
printf '%s\\n' "$*" >>"$RECORD"
case "$*" in
  '-m venv --clear '*)
    rm -rf "$4"
    mkdir -p "$4/bin"
    cp "$0" "$4/bin/python"
    printf 'VIRTUAL_ENV="%s"\\n' "$4" >"$4/bin/activate" ;;
  '-m pip --version') ;;
  '-m pip install '*)
    echo Collecting can
    if [ "$PIP" = hang ]; then
      exec "$REAL_PYTHON" -c 'import os, time
open(os.environ["RECORD"], "a").write("hangs")
time.sleep(60)'
    fi ;;
  '-m ruff '* | '-m mypy'* | '-m pytest'*) ;;
  *) exec "$REAL_PYTHON" "$@" ;;
esac
"""


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has fetched yet does not."""
    ps = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return ps.stdout.strip()[:1] not in ("", "Z")


@dataclass
class Checkout:
    """A copy of the launcher, and what its runs leave behind."""

    folder: Path
    #: The launcher's TMPDIR, short because the path of a socket must be.
    temporary: Path
    port: int
    environment: dict[str, str]
    started: list[Script] = field(default_factory=list)
    seen_pids: set[int] = field(default_factory=set)

    def run(self, *arguments: str, **variables: str) -> Script:
        """Start ./run_all.sh on a port of its own."""
        command = [sys.executable, "-c", IN_FOLDER, str(self.folder), *self.command, *arguments]
        script = Script(command, self.environment | variables)
        self.started.append(script)
        return script

    @property
    def command(self) -> list[str]:
        """Its start without a choice of terminal."""
        return ["./run_all.sh", "--port", str(self.port)]

    def replace(self, name: str, text: str) -> None:
        """Put a script of this text in a program's place."""
        path = self.folder / SCRIPTS.get(name, name)
        path.unlink(missing_ok=True)
        path.write_text(text)

    def command_on_path(self, name: str, text: str) -> None:
        """Make a command that the launcher finds before the machine's own."""
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def pid(self, name: str, kind: str = "pid") -> int:
        """Wait for a component's program ("pid") or its wrapper ("wrapper"); its pid."""
        return until(lambda: self._pids(f"{name}.{kind}"), f"{name} runs").pop()

    def all_run(self) -> None:
        """Wait until all four run, and remember what must be gone in the end."""
        for name in SCRIPTS:
            self.seen_pids |= {self.pid(name), self.pid(name, "wrapper")}

    def nothing_is_left(self) -> None:
        """Check that no process and no file of a run is left."""
        until(lambda: not any(map(is_alive, self.seen_pids)), "all processes are gone", 20)
        until(lambda: not list(self.temporary.glob("ev_anomaly.*")), "its files are gone", 5)

    def plot(self) -> Path:
        """Return the one plot that was saved."""
        (path,) = self.folder.glob("ev_anomaly_*.png")
        return path

    def recorded(self) -> list[str]:
        """Return what stand-ins for commands were asked to do, one line each."""
        path = Path(self.environment["RECORD"])
        return path.read_text().splitlines() if path.exists() else []

    def clean_up(self) -> None:
        """Kill what a failed test has left."""
        for script in self.started:
            script.clean_up()
        for pid in self._pids("*.pid") | self._pids("*.wrapper") | self._pids("launcher.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _pids(self, name: str) -> set[int]:
        texts = set()
        for path in self.temporary.glob(f"ev_anomaly.*/{name}"):
            with contextlib.suppress(FileNotFoundError):
                texts.add(path.read_text())
        return {int(text) for text in texts if text.strip()}


@pytest.fixture
def checkout(tmp_path: Path, can_channel: str, free_port: int) -> Iterator[Checkout]:
    """A copy with the real programs."""
    folder = tmp_path / 'it\'s a "copy"'
    (folder / "bin").mkdir(parents=True)
    for name in ("run_all.sh", "scripts", ATTACKER, *SCRIPTS.values()):
        (folder / name).symlink_to(ROOT / name)
    temporary = Path(tempfile.mkdtemp(prefix="ev", dir="/tmp"))
    variables: dict[str, str | None] = {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "EVSIM_PYTHON": sys.executable,
        "TMPDIR": str(temporary),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "RECORD": str(tmp_path / "record"),
        "DISPLAY": None,
        "WAYLAND_DISPLAY": None,
        "TMUX": None,
    }
    made = Checkout(folder, temporary, free_port, environment(can_channel, variables))
    yield made
    made.clean_up()


@pytest.fixture
def stand_ins(checkout: Checkout) -> Checkout:
    """A copy whose four programs only say that they are ready."""
    for name, ready in READY_LINES.items():
        checkout.replace(name, STAND_IN.format(ready=ready))
    checkout.replace(ATTACKER, STAND_IN.format(ready="Attacking the CAN bus"))
    return checkout


@pytest.fixture
def display() -> Iterator[str]:
    """An X server of its own."""
    need("Xvfb", "xterm", "xdotool")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as answer:
        yield f":{answer.readline().strip()}"
    server.terminate()
    server.wait(10)


# ── In this terminal ─────────────────────────────────────────────────────────────────────────


def test_headless_ends_by_itself_with_the_plot(checkout: Checkout) -> None:
    launcher = checkout.run("--headless", "--for", "12")
    checkout.all_run()
    assert launcher.wait(60) == 0
    for name, ready in READY_LINES.items():
        line = ready.removesuffix("1") + str(checkout.port)[:1] if name == "csms" else ready
        assert f"{name:7} | {line}" in launcher.output
    assert "100 A" in launcher.output
    assert "\033" not in launcher.output
    assert f"Plot saved: {checkout.plot()}" in launcher.output
    assert checkout.plot().read_bytes().startswith(b"\x89PNG")
    checkout.nothing_is_left()


def test_options_reach_the_programs(stand_ins: Checkout) -> None:
    launcher = stand_ins.run(
        "--headless",
        "--cycles=2",
        "--plant",
        "ac",
        "--log-level",
        "debug",
        "--id",
        "A 1",
        "--can-channel",
        "a b",
    )
    bus = "--log-level debug --can-channel a b"
    port = stand_ins.port
    launcher.wait_for(f"charger | arguments: --plant ac {bus}")
    launcher.wait_for(f"csms    | arguments: --port {port} --cycles 2 --log-level debug")
    cp_alone = f"--url ws://127.0.0.1:{port} --plant ac --id A 1"
    launcher.wait_for(f"cp      | arguments: {cp_alone} {bus}")
    launcher.wait_for(f"plot    | arguments: --web --save {stand_ins.folder}/ev_anomaly_")
    assert launcher.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--for", "soon"], "--for takes a whole number from 1"),
        (["--for=0"], "--for takes a whole number from 1"),
        (["--port", "65536"], "--port takes a whole number from 1 to 65535, not '65536'"),
        (["--cycles"], "--cycles needs a value"),
        (["--terminal", "none such"], "--terminal takes one of"),
        (["40"], "unknown argument '40'"),
        (["--anomaly", "rain"], "no anomaly 'rain'; known are: repeated_fluctuation"),
        (["--benign=rain"], "no benign behaviour 'rain'"),
        (["--severity", "low"], "--severity belongs to an --anomaly"),
        (["--anomaly=can_drift", "--severity=worst"], "worst"),
        (["--anomaly=can_drift", "--parameter", "load=1"], "it has: rate_a_per_s"),
        (["--anomaly", "mass_on_off"], "is about several charge points"),
        (["--anomaly=can_drift", "--can-interface=socketcan"], "--charger-channel"),
        (["--record", ""], "--record needs a directory"),
    ],
)
def test_wrong_arguments(stand_ins: Checkout, arguments: list[str], words: str) -> None:
    launcher = stand_ins.run(*arguments)
    assert launcher.wait() == 2
    (line,) = launcher.lines
    assert line.startswith("run_all.sh: ")
    assert words in line


def test_help_starts_nothing(stand_ins: Checkout) -> None:
    launcher = stand_ins.run("--help")
    assert launcher.wait() == 0
    assert "example: ./run_all.sh --headless --for 40" in launcher.output


# ── Anomalies of the catalogue ───────────────────────────────────────────────────────────────


def test_an_attacker_stands_between_the_charger_and_the_bus(
    stand_ins: Checkout, can_channel: str
) -> None:
    beside = can_channel.replace("239.74.", "239.75.")
    record = stand_ins.folder / "a run"
    launcher = stand_ins.run(
        *(
            "--headless",
            "--anomaly",
            "can_drift",
            "--severity=high",
            "--parameter",
            "rate_a_per_s=2",
        ),
        *("--after", "5", "--id", "A 1", "--record", "a run"),
    )
    launcher.wait_for(f"charger | arguments: --noise 0.3 --can-channel {beside}")
    launcher.wait_for(
        "attack  | arguments: --anomaly can_drift --target A 1 --severity high --after 5.0 "
        f"--parameter rate_a_per_s=2.0 --charger-channel {beside} --record {record}"
    )
    launcher.wait_for(
        f"csms    | arguments: --port {stand_ins.port} --benign plain_session --record {record}"
    )
    launcher.wait_for(f"--id A 1 --record {record}")
    launcher.wait_for("plot    | arguments")
    assert launcher.lines[0].startswith("Starting five programs here.")
    stand_ins.seen_pids |= {stand_ins.pid("attack"), stand_ins.pid("attack", "wrapper")}
    assert launcher.stop() == 0
    stand_ins.nothing_is_left()


@pytest.mark.parametrize(
    ("arguments", "charger", "csms"),
    [
        (["--anomaly=limit_ignored"], "--anomaly limit_ignored", "--benign plain_session"),
        (["--anomaly=meter_scaling"], "", "--anomaly meter_scaling --target CP_1"),
        (["--anomaly=repeated_fluctuation"], "", "--anomaly repeated_fluctuation"),
        (["--benign=taper"], "--state-of-charge 74 --battery 18.5", "--benign taper"),
    ],
    ids=str,
)
def test_the_right_program_plays(
    stand_ins: Checkout, arguments: list[str], charger: str, csms: str
) -> None:
    launcher = stand_ins.run("--headless", *arguments)
    assert charger in launcher.wait_for("charger | arguments:")
    assert csms in launcher.wait_for("csms    | arguments:")
    launcher.wait_for("plot    | arguments")
    assert "attack" not in launcher.output
    assert launcher.stop() == 0


def test_the_list_starts_nothing(checkout: Checkout) -> None:
    launcher = checkout.run("--list")
    assert launcher.wait() == 0
    assert any(line.startswith("can_masquerade ") for line in launcher.lines)
    assert "Starting" not in launcher.output


def test_a_recording_is_not_written_over(stand_ins: Checkout) -> None:
    (stand_ins.folder / "old").mkdir()
    (stand_ins.folder / "old" / "run.json").write_text("{}")
    launcher = stand_ins.run("--record", "old")
    assert launcher.wait() == 1
    (line,) = launcher.lines
    assert "already holds a recording (run.json)" in line
    assert "Starting" not in launcher.output


def test_a_live_anomaly_is_recorded_with_its_label(checkout: Checkout) -> None:
    launcher = checkout.run(
        *("--headless", "--for", "12", "--record", "runs/a b", "--anomaly", "can_masquerade"),
        *("--after", "1", "--parameter", "duration_s=4", "--plant", "ideal"),
    )
    assert launcher.wait(90) == 0, launcher.output
    directory = checkout.folder / "runs" / "a b"
    assert f"{directory} is a whole run now" in launcher.output
    run = load(directory)
    (label,) = run.labels
    assert (label.anomaly, label.target) == ("can_masquerade", "CP_1")
    assert label.effect_start_s is not None
    time_s, shown_a = run.series["time"], run.series["current_a"]
    inside = (time_s >= label.t_start_s + 1) & (time_s <= label.t_end_s - 1)
    after = (time_s >= label.t_end_s + 1) & (time_s <= label.t_end_s + 3)
    assert inside.sum() >= 2
    assert shown_a[inside].mean() == pytest.approx(shown_a[after].mean() / 2, abs=1)
    assert "Faulted" not in launcher.output
    checkout.nothing_is_left()


# ── Ways to end ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_and_saves_the_plot(stand_ins: Checkout, number: int) -> None:
    launcher = stand_ins.run("--headless")
    launcher.wait_for("plot    | arguments")
    stand_ins.all_run()
    launcher.send_signal(number)
    assert launcher.wait() == 0, launcher.output
    assert stand_ins.plot().read_text() == "a plot"
    assert launcher.lines[-2:] == [f"Plot saved: {stand_ins.plot()}", "Stopped."]
    stand_ins.nothing_is_left()


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("kind", ["pid", "wrapper"])
def test_the_death_of_one_ends_all(stand_ins: Checkout, name: str, kind: str) -> None:
    launcher = stand_ins.run("--headless")
    stand_ins.all_run()
    launcher.wait_for("plot    | arguments")
    os.kill(stand_ins.pid(name, kind), signal.SIGKILL)
    assert launcher.wait() not in (0, 2)
    assert f"{SCRIPTS[name]} ended with exit code" in launcher.output
    stand_ins.nothing_is_left()


def test_nothing_outlives_a_killed_launcher(stand_ins: Checkout) -> None:
    launcher = stand_ins.run("--headless")
    stand_ins.all_run()
    launcher.wait_for("plot    | arguments")
    launcher.kill()
    stand_ins.nothing_is_left()


def test_a_program_that_ignores_the_stop_is_killed(stand_ins: Checkout) -> None:
    deaf = STAND_IN.replace("signal.SIGTERM, stop", "signal.SIGTERM, signal.SIG_IGN")
    stand_ins.replace("cp", deaf.format(ready=READY_LINES["cp"]))
    launcher = stand_ins.run("--headless", "--for", "1")
    stand_ins.all_run()
    assert launcher.wait(40) == 0
    stand_ins.nothing_is_left()


def test_a_program_that_fails_to_start_ends_the_launch_with_its_words(checkout: Checkout) -> None:
    launcher = checkout.run("--headless", "--plant", "steam")
    assert launcher.wait() == 2
    assert "charger_module.py ended with exit code 2" in launcher.output
    assert "argument --plant: invalid choice: 'steam'" in launcher.lines[-1]
    assert "csms" not in launcher.output
    checkout.nothing_is_left()


def test_a_program_that_never_gets_ready_ends_the_launch(stand_ins: Checkout) -> None:
    text = (ROOT / "run_all.sh").read_text()
    (stand_ins.folder / "run_all.sh").unlink()
    (stand_ins.folder / "run_all.sh").write_text(text.replace("WITHIN_S=60", "WITHIN_S=2"))
    (stand_ins.folder / "run_all.sh").chmod(0o755)
    stand_ins.replace("cp", STAND_IN.format(ready="no central system yet"))
    launcher = stand_ins.run("--headless")
    assert launcher.wait() == 1
    assert "cp.py was not ready within 2 s. Its last words:" in launcher.output
    assert "  no central system yet" in launcher.lines
    stand_ins.nothing_is_left()


def test_a_second_launch_leaves_the_first_alone(stand_ins: Checkout) -> None:
    with socket.create_server(("127.0.0.1", stand_ins.port)) as other:
        other.settimeout(0)
        launcher = stand_ins.run("--headless")
        assert launcher.wait() == 1
        assert f"port {stand_ins.port} on 127.0.0.1 is in use" in launcher.output
        assert "Listening" not in launcher.output
        with pytest.raises(BlockingIOError):  # nobody connected just to look
            other.accept()
    stand_ins.nothing_is_left()


# ── tmux ─────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Tmux:
    """A tmux server of the test's own."""

    checkout: Checkout

    def __call__(self, *words: str) -> str:
        """Run a tmux command."""
        socket_path = str(self.checkout.temporary / "own-tmux")
        return subprocess.run(
            ["tmux", "-u", "-S", socket_path, "-f", "/dev/null", *words],
            env=self.checkout.environment | {"TERM": "xterm-256color"},
            cwd=self.checkout.folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def launch(self, before: str = "") -> None:
        """Start the launcher in its first window, which stays afterwards and says how it ended."""
        line = f'{before} {" ".join(self.checkout.command)}; echo "exit code $?"; exec cat'
        self("new-session", "-d", "-x", "150", "-y", "40", line)

    def shows(self, words: str, target: str = ":0") -> bool:
        """Whether a window shows these words."""
        return words in self("capture-pane", "-p", "-J", "-t", target)


@pytest.fixture
def tmux(checkout: Checkout) -> Iterator[Tmux]:
    """A tmux server with one window."""
    need("tmux")
    server = Tmux(checkout)
    yield server
    with contextlib.suppress(subprocess.CalledProcessError):
        server("kill-server")


@pytest.mark.display
def test_four_panes_in_the_users_tmux(checkout: Checkout, tmux: Tmux) -> None:
    tmux.launch()
    checkout.all_run()
    until(lambda: tmux.shows("All are running. Ctrl-C here"), "the launcher says that all run", 60)
    panes = tmux("list-panes", "-t", ":1", "-F", "#{pane_id} #{pane_title}").splitlines()
    assert [pane.split()[1] for pane in panes] == list(SCRIPTS.values())
    for pane, ready in zip(panes, READY_LINES.values(), strict=True):
        assert tmux.shows(ready.removesuffix("1"), pane.split()[0])
    tmux("send-keys", "-t", ":0", "C-c")
    until(lambda: tmux.shows("exit code 0"), "the launcher ends")
    assert tmux.shows("Stopped.")
    assert tmux("list-windows").count("\n") == 1
    assert checkout.plot().read_bytes().startswith(b"\x89PNG")
    checkout.nothing_is_left()


@pytest.mark.display
def test_a_tmux_of_our_own_shows_the_panes_in_this_terminal(
    stand_ins: Checkout, tmux: Tmux
) -> None:
    tmux.launch("env -u TMUX")
    stand_ins.all_run()
    until(lambda: tmux.shows("plot_current.py (Ctrl-C stops all)"), "the panes are shown")
    until(lambda: tmux.shows("Connected to CSMS"), "the output is shown")
    tmux("send-keys", "C-c")
    until(lambda: tmux.shows("exit code 0"), "the launcher ends")
    assert tmux.shows("has ended, so all have been stopped.")
    stand_ins.nothing_is_left()


@pytest.mark.display
def test_closing_a_pane_ends_all(stand_ins: Checkout, tmux: Tmux) -> None:
    tmux.launch()
    stand_ins.all_run()
    until(lambda: tmux.shows("All are running."), "the launcher says that all run")
    tmux("kill-pane", "-t", ":1.2")
    until(lambda: tmux.shows("exit code"), "the launcher ends")
    assert tmux.shows("cp.py has ended, so all have been stopped.")
    stand_ins.nothing_is_left()


# ── Windows ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.display
def test_four_xterms_and_closing_one_ends_all(checkout: Checkout, display: str) -> None:
    launcher = checkout.run("--terminal", "xterm", DISPLAY=display)
    launcher.wait_for("All are running.", 60)
    checkout.all_run()

    def window(title: str) -> str:
        search = ["xdotool", "search", "--name", f"^{title}$"]
        environment = checkout.environment | {"DISPLAY": display}
        return subprocess.run(search, env=environment, capture_output=True, text=True).stdout

    until(lambda: all(window(title) for title in SCRIPTS.values()), "four windows")
    subprocess.run(
        ["xdotool", "windowkill", window("cp.py").strip()],
        env=checkout.environment | {"DISPLAY": display},
        check=True,
    )
    assert launcher.wait() == 0
    assert "cp.py has ended, so all have been stopped." in launcher.output
    assert not list(checkout.folder.glob("*.png"))  # the plot had a window
    checkout.nothing_is_left()


def test_an_xterm_that_does_not_open_is_said(stand_ins: Checkout) -> None:
    stand_ins.command_on_path("xterm", "#!/bin/sh\necho 'no such display' >&2; exit 1\n")
    launcher = stand_ins.run("--terminal", "xterm", DISPLAY=":1")
    assert launcher.wait() == 1
    assert "xterm opened no window for charger_module.py" in launcher.output
    assert launcher.lines[-1] == "  no such display"
    stand_ins.nothing_is_left()


@pytest.mark.parametrize("terminal", ["gnome-terminal", "konsole", "xfce4-terminal"])
def test_a_window_of_each_terminal(stand_ins: Checkout, terminal: str) -> None:
    need("setsid")
    stand_ins.command_on_path(terminal, TERMINAL_STAND_IN)
    choice = () if terminal == "gnome-terminal" else ("--terminal", terminal)
    launcher = stand_ins.run(*choice, "--for", "1", DISPLAY=":1")
    stand_ins.all_run()
    assert launcher.wait() == 0
    assert f"each in a window of {terminal}" in launcher.output
    assert launcher.lines[-1] == "Ended after 1 s."
    assert len(stand_ins.recorded()) == 4
    stand_ins.nothing_is_left()


def test_macos_opens_four_tabs(stand_ins: Checkout) -> None:
    """What Terminal would type into each tab's shell is run by a shell."""
    need("setsid")
    stand_ins.command_on_path("uname", "#!/bin/sh\necho Darwin\n")
    stand_ins.command_on_path(
        "osascript",
        '#!/bin/bash\nprintf "%s\\n" "$2" >>"$RECORD"; printf "%s\\n" "$3" >>"$RECORD.place"\n'
        '[ -f "$1" ] || exit 1\n'
        "setsid env -i HOME=/ PATH=/usr/bin:/bin "
        'bash -c "$2" </dev/null >/dev/null 2>&1 &\n',
    )
    launcher = stand_ins.run()
    launcher.wait_for("All are running.")
    stand_ins.all_run()
    assert launcher.lines[0] == "Starting four programs, each in a tab of Terminal:"
    for command in stand_ins.recorded():
        assert command.startswith("exec '/")
        assert "/it'\\''s a \"copy\"/scripts/component.sh' " in command
    places = Path(stand_ins.environment["RECORD"] + ".place").read_text()
    assert places.splitlines() == ["first", "", "", ""]
    assert launcher.stop() == 0
    assert not list(stand_ins.folder.glob("*.png"))
    stand_ins.nothing_is_left()


def test_macos_without_the_permission_to_open_tabs(stand_ins: Checkout) -> None:
    stand_ins.command_on_path("uname", "#!/bin/sh\necho Darwin\n")
    stand_ins.command_on_path("osascript", "#!/bin/sh\necho 'Not authorised.' >&2; exit 1\n")
    launcher = stand_ins.run()
    assert launcher.wait() == 1
    assert "Try ./run_all.sh --headless" in launcher.output
    assert launcher.lines[-1] == "  Not authorised."


# ── Set-up ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def fresh(stand_ins: Checkout) -> Checkout:
    """A copy without a virtual environment, and a python3 that records what it is asked."""
    for name in ("pyproject.toml", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, stand_ins.folder / name)
    stand_ins.command_on_path("python3", PYTHON_STAND_IN)
    del stand_ins.environment["EVSIM_PYTHON"]
    stand_ins.environment["REAL_PYTHON"] = sys.executable
    return stand_ins


def set_up(checkout: Checkout) -> list[str]:
    """Run the launcher for a second; the part of the set-up that it did."""
    Path(checkout.environment["RECORD"]).unlink(missing_ok=True)
    assert checkout.run("--headless", "--for", "1").wait() == 0
    doing = {"-m venv": "make", "-m pip install": "install"}
    return [
        word
        for line in checkout.recorded()
        for start, word in doing.items()
        if line.startswith(start)
    ]


def test_only_the_first_start_sets_up(fresh: Checkout) -> None:
    assert set_up(fresh) == ["make", "install"]
    assert set_up(fresh) == []


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_changed_requirements_are_installed(fresh: Checkout, name: str) -> None:
    assert set_up(fresh) == ["make", "install"]
    with (fresh.folder / name).open("a") as file:
        file.write("# another\n")
    assert set_up(fresh) == ["install"]
    assert set_up(fresh) == []


def test_a_moved_directory_gets_a_new_environment(fresh: Checkout) -> None:
    assert set_up(fresh) == ["make", "install"]
    moved = fresh.folder.with_name("elsewhere")
    fresh.folder.rename(moved)
    fresh.folder = moved
    fresh.environment["PATH"] = f"{moved}/bin:{os.environ['PATH']}"
    assert set_up(fresh) == ["make", "install"]
    assert set_up(fresh) == []


def test_an_interrupted_set_up_is_done_again(fresh: Checkout) -> None:
    launcher = fresh.run("--headless", PIP="hang")
    until(lambda: "hangs" in fresh.recorded(), "pip runs")
    os.killpg(launcher.pid, signal.SIGINT)  # as the terminal does
    assert launcher.wait() == 130
    assert "the next start begins the set-up again" in launcher.output
    assert set_up(fresh) == ["install"]


def test_a_broken_environment_is_made_anew(fresh: Checkout) -> None:
    assert set_up(fresh) == ["make", "install"]
    python = fresh.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert set_up(fresh) == ["make", "install"]


def test_run_tests_sets_up_and_runs_every_check(fresh: Checkout) -> None:
    (fresh.folder / "run_tests.sh").symlink_to(ROOT / "run_tests.sh")
    for expected in (["venv", "pip"], []):
        Path(fresh.environment["RECORD"]).unlink(missing_ok=True)
        subprocess.run(
            ["./run_tests.sh", "-k", "a word"],
            cwd=fresh.folder,
            env=fresh.environment,
            check=True,
        )
        calls = [line for line in fresh.recorded() if line.startswith("-m ")]
        assert [call.split()[1] for call in calls if "--version" not in call] == [
            *expected,
            *("ruff", "ruff", "mypy", "pytest"),
        ]
        assert calls[-1] == "-m pytest -k a word"
    # The packages of requirements.txt are among them.
    assert set_up(fresh) == []


def test_an_old_python_is_said(fresh: Checkout) -> None:
    old = '#!/bin/sh\ncase "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac\n'
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        fresh.command_on_path(name, old)
    launcher = fresh.run()
    assert launcher.wait() == 1
    assert launcher.lines[0].startswith(
        "run_all.sh: Python 3.11 or newer is needed. python3 is 3.9."
    )
    assert "brew install python" in launcher.output
    assert "sudo apt install python3" in launcher.output


def test_a_missing_venv_module_is_said(fresh: Checkout) -> None:
    lacking = PYTHON_STAND_IN.replace("  *)", "  *ensurepip*) exit 1 ;;\n  *)")
    fresh.command_on_path("python3", lacking)
    launcher = fresh.run()
    assert launcher.wait() == 1
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"sudo apt install {version}-venv" in launcher.output


def test_a_missing_network_is_said(fresh: Checkout) -> None:
    """With the real venv and pip, which must find no index."""
    fresh.command_on_path("python3", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    launcher = fresh.run(PIP_NO_INDEX="1")
    assert launcher.wait(60) == 1
    assert "the packages could not be installed. pip says:" in launcher.output
    assert "ERROR: No matching distribution found for" in launcher.output
    assert "Is this machine on the network" in launcher.output
    assert not list((fresh.folder / ".venv").glob("installed-*"))
