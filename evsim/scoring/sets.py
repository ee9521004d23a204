"""All detectors over all runs of a set, on all cores."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evsim.detectors import DETECTORS
from evsim.errors import UserError
from evsim.lab.many_runs import RUNS
from evsim.lab.suite import SEEDS_PER_GROUP
from evsim.recording import load, read_events
from evsim.scoring.metrics import Outcome, judge
from evsim.scoring.running import run_detectors


@dataclass(frozen=True)
class RunOutcome:
    """What the detectors brought on one run, by name, and what the run was."""

    name: str
    info: Mapping[str, Any]
    outcomes: dict[str, Outcome]

    @property
    def group(self) -> int:
        """Its group of seeds, by which runs are split."""
        return int(self.info["seed"]) // SEEDS_PER_GROUP


def runs_of(directory: Path) -> list[Path]:
    """Give the runs of a set (or the one run); UserError if there is none."""
    if (directory / RUNS).is_dir():
        found = sorted(p for p in (directory / RUNS).iterdir() if not p.name.startswith("."))
        if found:
            return found
    raise UserError(
        f"{directory} is no set: there is no run in {directory / RUNS}; "
        "./simulate.py --suite benchmark makes one"
    )


def score_run(directory: Path, detectors: Sequence[str]) -> RunOutcome:
    """Run detectors over one recording and judge them."""
    run = load(directory)
    runner = run_detectors(read_events(directory), {name: DETECTORS[name] for name in detectors})
    hours = run.info["duration_s"] / 3600 * len(run.info["charge_points"])
    outcomes = {
        name: judge(run.labels, [a for a in runner.alarms if a.detector == name], hours)
        for name in detectors
    }
    return RunOutcome(directory.name, run.info, outcomes)


def score_set(
    runs: Sequence[Path], detectors: Sequence[str], *, jobs: int, on_done: Callable[[], object]
) -> Iterator[RunOutcome]:
    """Score all runs with `jobs` processes, in the order of their names."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_leave_ctrl_c) as pool:
        try:
            futures = [pool.submit(score_run, run, detectors) for run in runs]
            for _ in as_completed(futures):
                on_done()
            yield from (future.result() for future in futures)
        except BrokenProcessPool as error:
            raise UserError("a worker was killed; start again") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _leave_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
