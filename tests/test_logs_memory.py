"""A log streams: what detect.py needs does not grow with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

#: Runs a program and prints its peak memory. Light itself: a process that is started counts what
#: the one that starts it had, and this one tests pytest's.
MEASURE = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(ended.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
START_S = 1_767_225_600


def can_log(path: Path, size: int) -> Path:
    """Write candump lines at 100 frames/s, 0x300 once a second, until there are `size` bytes."""
    written = number = 0
    with path.open("w") as file:
        while written < size:
            second, hundredth = divmod(number, 100)
            swings = second % 4000 < 80 and second % 8 in (4, 5)
            frame = f"{0x100 + number % 64:03X}#{number:016X}"
            if hundredth == 0:
                frame = f"300#{100 if swings else 0:02X}00"
            written += file.write(f"({START_S + second}.{hundredth:02}0000) can0 {frame}\n")
            number += 1
    return path


def ocpp_log(path: Path, size: int) -> Path:
    """Write a CALL or an answer each 100 ms, from one of ten charge points."""
    written = number = 0
    with path.open("w") as file:
        while written < size:
            unique_id = f"id {number // 20}"
            message = [3, unique_id, {}] if number // 10 % 2 else [2, unique_id, "Heartbeat", {}]
            value = {"time": START_S + number / 10, "cp": f"CP_{number % 10}", "message": message}
            written += file.write(json.dumps(value) + "\n")
            number += 1
    return path


def peak(*arguments: object) -> int:
    """Give the peak memory of detect.py run, in the system's unit."""
    measured = subprocess.run(
        [sys.executable, "-I", "-c", MEASURE, sys.executable, str(ROOT / "detect.py"), "run",
         *map(str, arguments), "--detector", "turning_points", "--detector", "command_rate"],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    code, most = map(int, measured.stdout.split())
    assert code in (0, 3), measured.stderr
    return most


@pytest.mark.processes
@pytest.mark.timeout(400)
def test_ten_times_the_log_needs_no_more_memory(tmp_path: Path) -> None:
    """2 MB, then 20 MB, both kinds merged; kept as events, the latter would be beyond 200 MB."""
    of_2_mb, of_20_mb = (
        peak(
            can_log(tmp_path / f"{size}.log", size // 4 * 3),
            ocpp_log(tmp_path / f"{size}.jsonl", size // 4),
        )
        for size in (2_000_000, 20_000_000)
    )
    assert of_20_mb < 1.1 * of_2_mb
