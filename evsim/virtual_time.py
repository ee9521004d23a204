"""An asyncio event loop whose clock leaps over waits.

When every task waits, the time jumps to the moment when the first of them goes on: an hour of
sleeping costs nothing, and what happens in which order depends on nothing outside the program.
Nothing that waits for the real world may run in it: no socket, no thread, no child process.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

#: When virtual time begins, unless told otherwise. Any moment would do.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class StuckError(RuntimeError):
    """Every task waits for something that no timer will bring about."""


class _LeapingSelector(selectors.BaseSelector):
    """Moves the clock on instead of waiting; knows no file that ever becomes ready."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._files: dict[int, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError("every task waits, and no timer is set that could wake one")
        self.now_s += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, descriptor, events, data)
        self._files[descriptor] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._files.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._files


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop; its time() begins at 0."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Return the virtual time, s since the loop was made."""
        return self._leaping.now_s


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time; StuckError if it can't go on."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def clock(start: datetime = EPOCH) -> Callable[[], datetime]:
    """Return a wall clock that shows `start` when the running loop's time is 0."""
    loop = asyncio.get_running_loop()
    return lambda: start + timedelta(seconds=loop.time())
