"""Deadlines that share one timer."""

from __future__ import annotations

import asyncio

import pytest

from evsim import virtual_time
from evsim.deadline import Deadlines


def test_each_work_ends_at_its_own_deadline() -> None:
    ended_s: list[float] = []

    async def work(deadlines: Deadlines, begins_s: float) -> None:
        await asyncio.sleep(begins_s)
        with pytest.raises(TimeoutError), deadlines.begin():
            await asyncio.Event().wait()
        ended_s.append(asyncio.get_running_loop().time())

    async def main() -> None:
        deadlines = Deadlines(30.0)
        async with asyncio.TaskGroup() as tasks:
            for begins_s in (0.0, 1.0, 1.0, 29.0, 100.0):
                tasks.create_task(work(deadlines, begins_s))

    virtual_time.run(main())
    assert ended_s == [30.0, 31.0, 31.0, 59.0, 130.0]


def test_what_is_done_in_time_is_left_alone_afterwards() -> None:
    async def main() -> None:
        deadlines = Deadlines(30.0)
        for _ in range(100):
            with deadlines.begin():
                await asyncio.sleep(1.0)
        await asyncio.sleep(100.0)

    virtual_time.run(main())


def test_an_error_within_goes_through() -> None:
    async def main() -> None:
        with Deadlines(30.0).begin():
            raise KeyError("mine")

    with pytest.raises(KeyError):
        virtual_time.run(main())


@pytest.mark.parametrize("after_s", [29.0, 30.0])
def test_a_cancellation_by_somebody_else_stays_one(after_s: float) -> None:
    async def work() -> None:
        with Deadlines(30.0).begin():
            await asyncio.Event().wait()

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.create_task(work())
        loop.call_at(after_s, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    virtual_time.run(main())


def test_one_timer_serves_them_all() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        timers, call_at = [], loop.call_at

        def count(*arguments: object) -> asyncio.TimerHandle:
            timers.append(arguments)
            return call_at(*arguments)  # type: ignore[arg-type]

        loop.call_at = count  # type: ignore[method-assign, assignment]
        deadlines = Deadlines(30.0)
        for _ in range(1000):
            with deadlines.begin():
                pass
        return len(timers)

    assert virtual_time.run(main()) == 1
