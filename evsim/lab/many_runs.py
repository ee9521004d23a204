"""Makes many runs on all cores; what is there already is not made again.

Whatever ends it, Ctrl-C or SIGKILL, a run's directory is whole or not there: the recorder renames
it into place when it is finished. So to resume is to start again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from evsim.errors import UserError
from evsim.lab.run_spec import RunSpec
from evsim.recording.layout import INFO

RUNS = "runs"
#: Holds the lock of the program that is making the set.
LOCK = ".making"
#: Runs that wait in the pool for each worker: enough to keep it busy.
AHEAD = 3


def missing_runs(directory: Path, runs: Mapping[str, RunSpec]) -> dict[str, RunSpec]:
    """Give those runs that are not there yet; UserError if one is there that is another's."""
    missing = {}
    for name, spec in runs.items():
        try:
            info = json.loads((directory / RUNS / name / INFO).read_text("utf-8"))
        except FileNotFoundError:
            missing[name] = spec
            continue
        except (OSError, ValueError) as error:
            raise UserError(f"{directory / RUNS / name / INFO} cannot be read: {error}") from error
        if info.get("configuration_hash") != spec.configuration_hash():
            raise UserError(
                f"{directory / RUNS / name} was made with other settings; choose another --out, or "
                "--force to make the whole set anew"
            )
    return missing


def clear(directory: Path) -> None:
    """Remove the set's runs; UserError if what is there is no set."""
    runs = directory / RUNS
    if not runs.exists():
        return
    for run in runs.iterdir():
        if not (run / INFO).is_file() and not run.name.startswith("."):
            raise UserError(f"{run} is no recorded run, so nothing in {runs} is removed")
    shutil.rmtree(runs)


def make_runs(
    directory: Path,
    runs: Mapping[str, RunSpec],
    make: Callable[[RunSpec, Path], None],
    *,
    jobs: int,
    on_done: Callable[[str], None],
) -> None:
    """Make all runs with `jobs` processes, the longest first.

    :param make: a module's function, which makes one run's directory.
    :param on_done: called with the name of each run that is finished.

    Raises what a run raises; UserError if a worker was killed.
    """
    waiting = sorted(runs.items(), key=lambda item: -item[1].charge_points * item[1].duration_s)
    waiting.reverse()  # taken from the end
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker) as pool:
        under_way: dict[Future[None], str] = {}
        try:
            while waiting or under_way:
                while waiting and len(under_way) < AHEAD * jobs:
                    name, spec = waiting.pop()
                    under_way[pool.submit(make, spec, directory / RUNS / name)] = name
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    name = under_way.pop(future)
                    future.result()
                    on_done(name)
        except BrokenProcessPool as error:
            raise UserError("a worker was killed; start again to go on where it ended") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Hold the directory; UserError if another program is making a set in it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK).open("w")
    except OSError as error:
        raise UserError(f"cannot write to {directory}: {error.strerror}") from error
    with lock:
        try:
            _lock(lock.fileno())
        except OSError:
            raise UserError(f"another program is making a set in {directory}") from None
        try:
            yield
        finally:
            (directory / LOCK).unlink(missing_ok=True)


def _lock(descriptor: int) -> None:
    """Lock a file as long as it is open; OSError if another process has."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
