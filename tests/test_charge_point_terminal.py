"""What can be typed at the terminal of cp.py, and what is said to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from test_cp import bench, play

from evsim.charge_point.hardware import Cable, Hardware
from evsim.charge_point.terminal import verbs
from evsim.prompt import Prompt


def test_a_driver_at_the_terminal(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path, hardware=Hardware(cable=Cable.BY_HAND)) as it:
            await it.stay_connected()
            prompt = Prompt("cp", verbs(it.cp))
            assert await prompt.obey("unplug") == "no cable is plugged in"
            assert await prompt.obey("plug") == ""
            assert await prompt.obey("plug") == "the cable is plugged in already"
            assert await prompt.obey("tag") == "usage: tag ID"
            assert await prompt.obey("tag TAG") == "charging begins"
            it.current_a = 32
            await asyncio.sleep(2)
            assert await prompt.obey("status") == (
                "online, connector 1: Charging, cable in, 32 A of at most 150 A, 4 Wh, "
                "transaction 2 of TAG"
            )
            assert await prompt.obey("tag OTHER") == (
                "another id tag is charging here; OTHER can't stop it"
            )
            assert await prompt.obey("tag TAG") == "charging ends"
            await asyncio.sleep(1)
            assert "Finishing" in await prompt.obey("status")
            await prompt.obey("unplug")
            assert (await prompt.obey("fault Nonsense")).startswith("no fault 'Nonsense'")
            await prompt.obey("fault GroundFailure")
            assert await prompt.obey("tag TAG") == "connector 1 is Faulted"
            await prompt.obey("clear")
            assert "Available" in await prompt.obey("status")
            assert (await prompt.obey("power-cut now")).startswith("power-cut takes nothing")
            await prompt.obey("power-cut announced")
            await asyncio.sleep(0.1)
            assert await prompt.obey("tag TAG") == "the charge point has no power"
            assert (await prompt.obey("status")).startswith("no power")
            await asyncio.sleep(20)
            assert (await prompt.obey("status")).startswith("online")

    play(test())


def test_what_may_be_typed_next(tmp_path: Path) -> None:
    async def test() -> None:
        async with bench(tmp_path) as it:
            prompt = Prompt("cp", verbs(it.cp))
            assert prompt.candidates("p") == ["plug", "power-cut"]
            assert "GroundFailure" in prompt.candidates("fault Gr")
            assert "NoError" not in prompt.candidates("fault ")
            assert prompt.candidates("power-cut ") == ["announced"]

    play(test())
