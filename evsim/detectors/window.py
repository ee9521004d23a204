"""Times and values of the last so many seconds, however many come."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Window(Generic[T]):
    """What came in the last `length_s` seconds, the `most` newest of it at most."""

    def __init__(self, length_s: float, most: int = 2000) -> None:
        self.length_s = length_s
        self._items: deque[tuple[float, T]] = deque(maxlen=most)

    def add(self, time_s: float, item: T) -> None:
        """Take one; what goes back in time by more than the window begins anew."""
        if self._items and time_s < self._items[-1][0] - self.length_s:
            self._items.clear()
        self._items.append((time_s, item))

    def at(self, time_s: float) -> list[tuple[float, T]]:
        """Return (time, item) of the window that ends `time_s`, oldest first."""
        begin_s = time_s - self.length_s
        while self._items and self._items[0][0] <= begin_s:
            self._items.popleft()
        return [pair for pair in self._items if pair[0] <= time_s]

    def between(self, begin_s: float, end_s: float) -> list[T]:
        """Return the items from `begin_s` to `end_s`, oldest first; quick where that is lately.

        It supposes that times do not go back, else it may miss some.
        """
        found = []
        for time_s, item in reversed(self._items):
            if time_s < begin_s:
                break
            if time_s <= end_s:
                found.append(item)
        return found[::-1]

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()
