"""Runs cp.py or csms.py as a process that is in a hurry and may be made to die.

    python tests/hurried.py never csms.py --port 9001
    python tests/hurried.py "after start_transaction 2" csms.py --port 9001

The waits between the steps of the anomaly are cut short. At the point named first the process
sends itself SIGKILL: before or after the n-th call of that method of its ledger. `after` is after
the commit and before anything that follows from it: an answer, a message, a CAN frame.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: The constants of csms.py that are edited: a cycle takes half a second.
HURRIED = {
    "STARTUP_DELAY_S": 0.0,
    "AFTER_LOW_LIMIT_S": 0.0,
    "AFTER_HIGH_LIMIT_S": 0.0,
    "AFTER_START_S": 0.4,
    "AFTER_STOP_S": 0.1,
}


def die_at(point: str, ledger: type) -> None:
    """Make the process die at `point`, e.g. "before delivered 3"."""
    when, name, number = point.split()
    method: Callable[..., Any] = getattr(ledger, name)
    calls = 0

    def deadly(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == int(number) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*arguments, **named)
        if calls == int(number) and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(ledger, name, deadly)


def main(point: str, script: str, *arguments: str) -> int:
    """Run `script` from the root directory with `arguments`."""
    sys.path.insert(0, str(ROOT))
    module = importlib.import_module(Path(script).stem)
    for name, value in HURRIED.items():
        if hasattr(module, name):
            setattr(module, name, value)
    if point != "never":
        die_at(point, module.Ledger)
    sys.argv = [script, *arguments]
    options = module.parse_arguments()
    module.console.set_up_logging(options.log_level)
    code: int = module.console.run(lambda: module.main(options))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
