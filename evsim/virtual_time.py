"""An asyncio event loop whose clock leaps over waits.

When every task waits, the time jumps to the moment when the first of them goes on: an hour of
sleeping costs nothing, and what happens in which order depends on nothing outside the program.
Nothing that waits for the real world may run in it: no socket, no thread, no child process.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: When virtual time begins, unless told otherwise. Any moment would do.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

log = logging.getLogger("evsim.virtual_time")


class StuckError(RuntimeError):
    """Every task waits for something that no timer will bring about."""


class _Callback(asyncio.TimerHandle):
    """What is to be called, soon or at a time; it can be cancelled until then."""

    __slots__ = ("arguments", "at_s", "callback", "is_cancelled", "variables")

    def __init__(
        self,
        at_s: float,
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
        variables: Context | None,
    ) -> None:
        # Not TimerHandle.__init__, which is about the inside of asyncio's own loops.
        self.at_s = at_s
        self.callback = callback
        self.arguments = arguments
        self.variables = contextvars.copy_context() if variables is None else variables
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.at_s

    def __repr__(self) -> str:
        return f"<callback {self.callback!r} at {self.at_s} s>"


class VirtualTimeLoop(asyncio.AbstractEventLoop):
    """The loop; its time() begins at 0.

    It has what tasks, futures and timers need. Callbacks that are due at the same time run in the
    order in which they were set.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        self._soon: deque[_Callback] = deque()
        #: A heap of (when, number, callback); the number makes it first come, first served.
        self._later: list[tuple[float, int, _Callback]] = []
        self._numbers = itertools.count()
        self._running = self._closed = False

    # ── Time ─────────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        """Return the virtual time, s since the loop was made."""
        return self._now_s

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call back in the next turn."""
        called = _Callback(self._now_s, callback, args, context)
        self._soon.append(called)
        return called

    #: What a signal handler uses (Ctrl-C); no other thread may.
    call_soon_threadsafe = call_soon

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back at that time()."""
        called = _Callback(when, callback, args, context)
        heapq.heappush(self._later, (when, next(self._numbers), called))
        return called

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back after that many seconds."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    # ── Running ──────────────────────────────────────────────────────────────────────────────

    def run_until_complete(self, future: Any) -> Any:
        """Run until `future` is done, and give its result; StuckError if it can't be."""
        future = asyncio.ensure_future(future, loop=self)
        asyncio._set_running_loop(self)  # documented as what a loop is to call
        self._running = True
        try:
            while not future.done():
                self._take_turn()
        finally:
            self._running = False
            asyncio._set_running_loop(None)
        return future.result()

    def _take_turn(self) -> None:
        soon, later = self._soon, self._later
        if not soon:
            while later and later[0][2].is_cancelled:
                heapq.heappop(later)
            if not later:
                raise StuckError("every task waits, and no timer is set that could wake one")
            self._now_s = max(self._now_s, later[0][0])
        while later and later[0][0] <= self._now_s:
            soon.append(heapq.heappop(later)[2])
        for _ in range(len(soon)):
            called = soon.popleft()
            if not called.is_cancelled:
                try:
                    called.variables.run(called.callback, *called.arguments)
                except Exception as error:  # noqa: BLE001 - as asyncio's loops have it
                    text = f"{called} failed"
                    self.call_exception_handler({"message": text, "exception": error})

    def is_running(self) -> bool:
        """Whether run_until_complete() is under way."""
        return self._running

    def is_closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    def close(self) -> None:
        """Forget what is set."""
        self._closed = True
        self._soon.clear()
        self._later.clear()

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: the loop keeps no asynchronous generators."""

    async def shutdown_default_executor(self) -> None:
        """Nothing to do: there are no threads."""

    # ── Tasks and futures ────────────────────────────────────────────────────────────────────

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Make a task of this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        """Never: asyncio's debug mode is about the wall clock."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Leave it off."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what nobody else takes note of."""
        log.error("%s", context.get("message"), exc_info=context.get("exception"))


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time; StuckError if it can't go on."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def clock(start: datetime = EPOCH) -> Callable[[], datetime]:
    """Return a wall clock that shows `start` when the running loop's time is 0."""
    loop = asyncio.get_running_loop()
    return lambda: start + timedelta(seconds=loop.time())
