"""All detectors over all runs of a set, on all cores."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.detectors.base import ALARM, Detector
from evsim.errors import UserError
from evsim.events import Event
from evsim.lab.many_runs import RUNS
from evsim.lab.suite import purpose
from evsim.labels import Label
from evsim.recording import read_events
from evsim.recording.reading import read_info, read_labels
from evsim.scoring.metrics import Outcome, judge
from evsim.scoring.ranges import Widened, count_ranges
from evsim.scoring.running import STEP_S, Runner

#: Events that are handed to one detector after the other: so that its time can be taken.
BATCH = 2000


@dataclass(frozen=True)
class RunOutcome:
    """What the detectors brought on one run, by name, and what the run was."""

    directory: Path
    info: Mapping[str, Any]
    outcomes: dict[str, Outcome]

    @property
    def name(self) -> str:
        """That of its directory."""
        return self.directory.name


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


def purpose_of(directory: Path) -> str:
    """Say what a run is for, by its seed: train, validation or test."""
    return purpose(int(read_info(directory)["seed"]))


def score_run(directory: Path, detectors: Mapping[str, Callable[[], Detector]]) -> RunOutcome:
    """Run detectors over one recording and judge them."""
    info, labels = read_info(directory), read_labels(directory)
    runners = {name: Runner({name: make}) for name, make in detectors.items()}
    took_s = dict.fromkeys(detectors, 0.0)
    count = 0
    for batch in batched(read_events(directory), BATCH):
        count += len(batch)
        for name, runner in runners.items():
            began_s = time.process_time()
            for event in batch:
                runner.observe(event)
            took_s[name] += time.process_time() - began_s
    hours = info["duration_s"] / 3600 * len(info["charge_points"])
    outcomes: dict[str, Outcome] = {}
    widened: Widened | None = None
    for name, runner in runners.items():
        runner.finish()
        scores = runner.highest_scores()
        visible = visible_seconds(labels, runner.begin_s or 0.0, len(scores))
        if widened is None and visible.any():  # all runners have the same seconds
            widened = Widened(visible)
        outcomes[name] = dataclasses.replace(
            judge(labels, runner.alarms, hours),
            vus_pr=widened.vus_pr(scores) if widened is not None else float("nan"),
            ranges=count_ranges(visible, scores >= ALARM),
            events=count,
            took_s=took_s[name],
        )
    return RunOutcome(directory, info, outcomes)


def batched(events: Iterable[Event], most: int) -> Iterator[list[Event]]:
    """Give the events in lists of so many."""
    waiting = iter(events)
    while batch := list(itertools.islice(waiting, most)):
        yield batch


def visible_seconds(labels: Sequence[Label], begin_s: float, count: int) -> NDArray[np.bool_]:
    """Say for each second from begin_s on whether an effect shows in it."""
    ends_s = begin_s + STEP_S * np.arange(1, count + 1)
    visible = np.zeros(count, dtype=np.bool_)
    for label in labels:
        if label.effect_start_s is not None and label.effect_end_s is not None:
            visible |= (ends_s >= label.effect_start_s) & (ends_s - STEP_S <= label.effect_end_s)
    return visible


def score_set(
    runs: Sequence[Path],
    detectors: Mapping[str, Callable[[], Detector]],
    *,
    jobs: int,
    on_done: Callable[[], object],
) -> Iterator[RunOutcome]:
    """Score all runs with `jobs` processes, in the order of their names.

    :param detectors: made by a module's function, or by one of functools.partial.
    """
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
