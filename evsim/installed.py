"""Say how to get the packages, instead of an ImportError, when they are not installed.

Every root script imports this module first. It uses the standard library only and the syntax of
old Pythons, so that it can speak on a machine that has neither our packages nor our Python.
"""

import importlib.util
import os
import signal
import sys

OLDEST_PYTHON = (3, 11)
PACKAGES = (
    "can",
    "msgpack",
    "ocpp",
    "jsonschema_rs",
    "websockets",
    "matplotlib",
    "numpy",
    "rainflow",
    "rich",
    "prompt_toolkit",
)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def complaint():
    # type: () -> str
    """What is missing and what to do, or "" if nothing is."""
    venv_python = os.path.join(ROOT, ".venv", "bin", "python")
    if os.path.exists(venv_python):
        remedy = "activate the virtual environment first: source .venv/bin/activate"
    else:
        remedy = (
            "make the virtual environment first, either with ./run_all.sh (which then starts all "
            "programs) or by hand: python3 -m venv .venv && source .venv/bin/activate && "
            "pip install -r requirements.txt"
        )
    if sys.version_info < OLDEST_PYTHON:
        version = "%s.%s" % sys.version_info[:2]  # noqa: UP031 - for old Pythons too
        return "this is Python " + version + ", but 3.11 or newer is needed; " + remedy
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return "not installed here: {}; {}".format(", ".join(missing), remedy)
    return ""


if complaint():
    sys.exit(os.path.basename(sys.argv[0]) + ": " + complaint())

if os.path.dirname(os.path.abspath(sys.argv[0])) == ROOT:
    # A Ctrl-C while the packages are still being imported ends a script quietly, too.
    for _name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, _name):
            signal.signal(getattr(signal, _name), lambda *_: sys.exit(0))
