"""asyncio.timeout() for what is done often and hardly ever takes too long.

asyncio.timeout() sets a timer and cancels it each time, and what is cancelled stays in the loop's
heap until its time has come: most of the cost of a quick exchange. Here one timer serves all that
is under way: it rings when the oldest is due, and is then set for whatever is the oldest by then.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Deadlines:
    """`with deadlines.begin():` raises TimeoutError after `limit_s`, as asyncio.timeout() does."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        #: What is under way, the oldest first.
        self._under_way: dict[_Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> _Deadline:
        """Limit what the calling task does within the context that this gives."""
        task = asyncio.current_task()
        assert task is not None, "called in a task"
        return _Deadline(self, task)

    def add(self, deadline: _Deadline) -> None:
        """Watch over a deadline that begins now."""
        self._under_way[deadline] = None
        if self._timer is None:
            self._timer = deadline.loop.call_at(deadline.due_s, self._ring)

    def remove(self, deadline: _Deadline) -> None:
        """Forget a deadline whose work is done."""
        self._under_way.pop(deadline, None)

    def _ring(self) -> None:
        self._timer = None
        for deadline in list(self._under_way):
            if deadline.due_s > deadline.loop.time():
                self._timer = deadline.loop.call_at(deadline.due_s, self._ring)
                return
            del self._under_way[deadline]
            deadline.expire()


class _Deadline:
    """One work under way; made by Deadlines.begin()."""

    def __init__(self, deadlines: Deadlines, task: asyncio.Task[object]) -> None:
        self.loop = task.get_loop()
        self.due_s = self.loop.time() + deadlines.limit_s
        self._deadlines = deadlines
        self._task = task
        self._cancellations = task.cancelling()
        self._expired = False

    def expire(self) -> None:
        """End the work."""
        self._expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        self._deadlines.add(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._deadlines.remove(self)
        # Somebody else may have cancelled the task too: that goes first.
        ours = self._expired and self._task.uncancel() <= self._cancellations
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError from error
