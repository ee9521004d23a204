"""The clock that leaps."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from evsim import virtual_time
from evsim.virtual_time import StuckError


def test_a_day_of_sleeping_is_over_at_once_and_in_order() -> None:
    woken: list[tuple[float, str]] = []

    async def sleeper(name: str, *waits_s: float) -> None:
        for wait_s in waits_s:
            await asyncio.sleep(wait_s)
            woken.append((asyncio.get_running_loop().time(), name))

    async def main() -> timedelta:
        now = virtual_time.clock()
        start = now()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sleeper("slow", 86_400))
            tasks.create_task(sleeper("fast", *[1.0] * 10))
        return now() - start

    assert virtual_time.run(main()) == timedelta(days=1)
    assert woken == [(float(n), "fast") for n in range(1, 11)] + [(86_400.0, "slow")]


def test_a_time_out_comes_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.sleep(7200)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == 3600


def test_a_stuck_program_says_so() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        await asyncio.Event().wait()

    with pytest.raises(StuckError, match="no timer"):
        virtual_time.run(main())


def test_what_is_due_at_the_same_time_comes_in_the_order_it_was_set() -> None:
    async def main() -> list[int]:
        loop, come = asyncio.get_running_loop(), list[int]()
        for number in range(100):
            loop.call_at(1.0, come.append, number)
        await asyncio.sleep(2)
        return come

    assert virtual_time.run(main()) == list(range(100))


def test_a_cancelled_timer_neither_rings_nor_moves_the_clock() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        loop.call_at(5.0, pytest.fail, "cancelled").cancel()
        loop.call_at(0.5, loop.call_at(1.0, pytest.fail, "cancelled").cancel)
        await asyncio.sleep(2)
        return loop.time()

    assert virtual_time.run(main()) == 2


def test_an_error_in_a_callback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    virtual_time.run(main())
    assert "ZeroDivisionError" in caplog.text
