"""The gateway passes all on but for what it changes, and keeps to the charger's side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import can
import pytest

from evsim import virtual_time
from evsim.can_gateway import CanGateway
from evsim.frames import CURRENT_ID, MeasuredCurrent, SetLimit, StartCharging, encode
from evsim.in_memory import InMemoryBus, InMemoryNode

STRANGE = [
    can.Message(arbitration_id=0x7FF, data=b"\1\2\3", is_extended_id=False),
    can.Message(arbitration_id=0x300, data=b"\1\2\3", is_extended_id=False),
    can.Message(arbitration_id=0x123, is_remote_frame=True, dlc=4, is_extended_id=False),
]


class Setting:
    """A charger on its own bus, a gateway, and everybody else."""

    def __init__(self) -> None:
        charger_bus, bus = InMemoryBus(), InMemoryBus()
        self.charger, self.others = InMemoryNode(charger_bus), InMemoryNode(bus)
        self.gateway = CanGateway(InMemoryNode(charger_bus), InMemoryNode(bus))
        self.heard_by_charger: list[can.Message] = []
        self.heard_by_others: list[can.Message] = []
        self.charger.on_message = self.heard_by_charger.append
        self.others.on_message = self.heard_by_others.append


def play(act: Callable[[Setting], Coroutine[None, None, None]]) -> Setting:
    async def main() -> Setting:
        setting = Setting()
        await act(setting)
        await asyncio.sleep(1)
        return setting

    return virtual_time.run(main())


def texts(messages: list[can.Message]) -> list[tuple[int, bytes, bool]]:
    return [(m.arbitration_id, bytes(m.data), m.is_remote_frame) for m in messages]


def test_without_a_rewrite_everything_passes_both_ways() -> None:
    sent = [encode(MeasuredCurrent(77)), *STRANGE]
    commands = [encode(SetLimit(32)), encode(StartCharging()), *STRANGE]

    async def act(setting: Setting) -> None:
        for message in sent:
            setting.charger.send_message(message)
            await asyncio.sleep(0.01)
        for message in commands:
            setting.others.send_message(message)
            await asyncio.sleep(0.01)

    setting = play(act)
    assert texts(setting.heard_by_others) == texts(sent)
    assert texts(setting.heard_by_charger) == texts(commands)  # and no echo of its own


def test_it_changes_what_the_charger_says_but_not_what_it_is_told() -> None:
    def double(message: can.Message) -> can.Message:
        if message.arbitration_id != CURRENT_ID:
            return message
        return encode(MeasuredCurrent(message.data[0] * 2))

    async def act(setting: Setting) -> None:
        setting.gateway.rewrite = double
        setting.charger.send(MeasuredCurrent(20))
        setting.others.send(MeasuredCurrent(30))
        setting.others.send(SetLimit(32))
        await asyncio.sleep(0.1)
        setting.gateway.rewrite = None
        setting.charger.send(MeasuredCurrent(21))

    setting = play(act)
    assert texts(setting.heard_by_others) == texts(
        [encode(MeasuredCurrent(40)), encode(MeasuredCurrent(21))]
    )
    assert texts(setting.heard_by_charger) == texts(
        [encode(MeasuredCurrent(30)), encode(SetLimit(32))]
    )


def test_it_keeps_back_what_it_wants() -> None:
    async def act(setting: Setting) -> None:
        setting.gateway.rewrite = lambda message: None
        setting.charger.send(MeasuredCurrent(20))
        setting.others.send(SetLimit(32))

    setting = play(act)
    assert setting.heard_by_others == []
    assert len(setting.heard_by_charger) == 1


def test_a_changed_frame_comes_one_frame_later_and_no_later() -> None:
    arrived_s: list[float] = []

    async def act(setting: Setting) -> None:
        setting.others.on_message = lambda message: arrived_s.append(
            asyncio.get_running_loop().time()
        )
        setting.gateway.rewrite = lambda message: message
        setting.charger.send(MeasuredCurrent(20))

    play(act)
    assert arrived_s == [pytest.approx(0.00026, abs=0.0001)]  # two frames of about 64 bits
