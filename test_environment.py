#!/usr/bin/env python3
"""Check this machine: one line a check, and under each that failed what to do about it.

Looks at Python, the virtual environment, the packages, the CAN bus, the port of the central
system, plot windows and terminals. Nothing is changed, and no running program is disturbed. Exit
code 1 if any check failed.
"""

from __future__ import annotations

# Without `import evsim.installed`, which would end this script where it has most to say: what is
# imported here must work with any Python from 3.8 on and nothing installed.
import argparse
import asyncio
import importlib.metadata
import os
import re
import shutil
import signal
import socket
import sys
from pathlib import Path

from evsim import console
from evsim.errors import UserError

ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
#: The central system's default port.
PORT = 9000
TERMINALS = ("gnome-terminal", "konsole", "xfce4-terminal", "xterm")

MAKE_VENV = "./run_all.sh makes it; by hand: python3 -m venv .venv && source .venv/bin/activate"
INSTALL = "pip install -r requirements.txt (in the virtual environment)"

#: A script for users, not a file of tests: pytest finds nothing here.
__test__ = False


class CheckFailed(Exception):  # noqa: N818 - it is what happened
    """What is wrong, and the remedy."""

    def __init__(self, finding: str, remedy: str) -> None:
        super().__init__(finding)
        self.remedy = remedy


# ── The checks: each returns what it found, or raises CheckFailed ────────────────────────────


def check_python() -> str:
    """Python is new enough."""
    found = "Python {}.{}.{}".format(*sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        raise CheckFailed(
            f"{found}, 3.11 or newer is needed",
            "install it (https://www.python.org/downloads/), then make .venv anew with it",
        )
    return found


def check_virtual_environment() -> str:
    """We run in a virtual environment."""
    if sys.prefix != sys.base_prefix:
        return f"virtual environment {sys.prefix}"
    remedy = "source .venv/bin/activate" if (ROOT / ".venv").exists() else MAKE_VENV
    raise CheckFailed("not in a virtual environment", remedy)


def check_package(name: str, pinned: str) -> str:
    """A package has the version that requirements.txt pins."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise CheckFailed(f"{name} {pinned} is not installed", INSTALL) from None
    if version != pinned:
        raise CheckFailed(f"{name} {version}, but {pinned} is pinned", INSTALL)
    return f"{name} {version}"


def check_plugin() -> str:
    """This project is installed, so that python-can knows our bus."""
    # Not what a build has left in this directory: other programs don't look here.
    elsewhere = [folder for folder in sys.path if folder and Path(folder).resolve() != ROOT]
    for distribution in importlib.metadata.distributions(name="ev-anomaly-sim", path=elsewhere):
        for point in distribution.entry_points:
            if point.group == "can.interface":
                return f"CAN interface {point.name!r} registered with python-can"
    raise CheckFailed("the CAN interface 'evsim' is not registered with python-can", INSTALL)


def check_can() -> str:
    """CAN frames cross from one process to another."""
    try:
        from evsim.bus import DEFAULT_INTERFACE, configured, open_bus
        from evsim.bus_check import exchange_frames
    except (ImportError, TypeError, AttributeError) as error:  # the latter two: an old Python
        raise CheckFailed(f"CAN: cannot be tried: {first_line(error)}", INSTALL) from None
    try:
        interface = configured("interface") or DEFAULT_INTERFACE
        if interface != DEFAULT_INTERFACE:
            with open_bus() as bus:
                return (
                    f"CAN bus {bus.channel_info} opens (nothing sent: a real charger may listen; "
                    "./demo_can.py sends)"
                )
        # A group of our own: the start command that is sent here concerns nobody.
        channel = f"239.74.164.{os.getpid() % 256}"
        exchanges = asyncio.run(exchange_frames(DEFAULT_INTERFACE, channel))
    except UserError as error:
        raise CheckFailed(f"CAN: {error}", "see 'CAN bus' in README.md, troubleshooting") from None
    intact = sum(exchange.intact for exchange in exchanges)
    if intact < len(exchanges):
        raise CheckFailed(
            f"CAN: {intact} of {len(exchanges)} frames crossed from one process to another",
            "let a firewall pass UDP port 43113 on the loopback interface (127.0.0.1)",
        )
    return f"CAN: all {intact} frames crossed from one process to another, on loopback"


def check_port(port: int) -> str:
    """The central system can listen."""
    with socket.socket() as probe:
        if os.name != "nt":  # there the option would let us take a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            raise CheckFailed(
                f"port {port} on 127.0.0.1 is not free: {error.strerror}",
                f"end what listens there (find it: lsof -i :{port}), or start csms.py with "
                "another --port and cp.py with the same in its --url",
            ) from None
    return f"port {port} on 127.0.0.1 is free"


def check_plot() -> str:
    """The plot can be shown, or at least saved."""
    try:
        import matplotlib.pyplot  # noqa: F401 - resolves the back end
        from matplotlib import get_backend

        backend = get_backend().lower()
    except ValueError as error:
        raise CheckFailed(f"plot: {first_line(error)}", "unset MPLBACKEND") from None
    except (ImportError, OSError) as error:
        raise CheckFailed(f"plot: matplotlib does not work: {first_line(error)}", INSTALL) from None
    if backend not in ("agg", "pdf", "ps", "svg", "cairo", "template"):
        return f"plot: windows open with {backend}"
    if os.environ.get("MPLBACKEND"):
        return f"plot: MPLBACKEND asks for {backend}, so no window but a page for a browser"
    if not has_display():
        return "plot: no display, so no window but a page for a browser; --save FILE.png works"
    raise CheckFailed(
        "plot: there is a display, but no window opens on it",
        "install a GUI toolkit: sudo apt install python3-tk (Debian, Ubuntu), brew install "
        "python-tk (macOS) or pip install PyQt6; without one, ./plot_current.py --web is a page",
    )


def check_launcher() -> str:
    """./run_all.sh finds terminals to open."""
    if shutil.which("bash") is None:
        raise CheckFailed(
            "launcher: no bash", "install bash, or start each script by hand: see QUICKSTART.md"
        )
    if sys.platform == "darwin":
        if shutil.which("osascript"):
            return "launcher: four tabs of Terminal"
    elif has_display():
        for terminal in TERMINALS:
            if shutil.which(terminal):
                return f"launcher: {terminal}"
    if shutil.which("tmux"):
        return "launcher: tmux, four panes"
    return "launcher: no terminal to open, no tmux; all in one terminal, as with --headless"


# ── Around them ──────────────────────────────────────────────────────────────────────────────


def pinned_versions() -> dict[str, str]:
    """Read requirements.txt, the one home of the pins: package -> version."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", text, re.MULTILINE))


def has_display() -> bool:
    """Whether windows can be expected to open."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def first_line(error: BaseException) -> str:
    """Cut an error's text to its first line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = console.argument_parser(__doc__ or "", "./test_environment.py --port 9001")
    parser.add_argument(
        "--port",
        type=console.port_number,
        default=PORT,
        help="the port that csms.py shall listen on (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> int:
    """Make all checks; the exit code."""
    checks = [check_python, check_virtual_environment]
    checks += [
        lambda name=name, pinned=pinned: check_package(name, pinned)  # type: ignore[misc]
        for name, pinned in pinned_versions().items()
    ]
    checks += [check_plugin, check_can, lambda: check_port(options.port), check_plot]
    checks += [check_launcher]
    failed = 0
    for check in checks:
        try:
            console.ready(f"✅ {check()}")
        except CheckFailed as failure:
            failed += 1
            console.ready(f"❌ {failure}")
            console.ready(f"   → {failure.remedy}")
    if failed:
        console.ready(f"\n{failed} of {len(checks)} checks failed.")
        return 1
    console.ready(f"\nAll {len(checks)} checks passed. Start with ./run_all.sh")
    return 0


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a Windows console may know no ✅
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    options = parse_arguments()
    console.set_up_logging(options.log_level)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main(options))
    except KeyboardInterrupt:
        sys.exit(0)
    except UserError as error:
        sys.exit(console.fail(error))
