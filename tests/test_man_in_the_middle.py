"""The man in the middle hears, changes, drops and adds; what he leaves alone passes untouched."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import pytest
from websockets.exceptions import ConnectionClosed

from evsim import virtual_time
from evsim.events import Direction
from evsim.in_memory import InMemoryConnection, websocket_pair
from evsim.man_in_the_middle import ANSWER_TIMEOUT_S, MOST_WAITING, ManInTheMiddle, like
from evsim.ocpp_link import Connection

UP, DOWN = Direction.TO_CENTRAL_SYSTEM, Direction.TO_CHARGE_POINT
HEARTBEAT = '[2, "41f3ab", "Heartbeat", {}]'


class Setting:
    """A charge point's end, the man, and the end that the central system uses."""

    def __init__(self) -> None:
        self.man = ManInTheMiddle()
        self.connect()

    def connect(self) -> None:
        ours, self.point = websocket_pair()
        self.central: Connection = self.man.attach(ours)

    async def to_central(self, text: str) -> str | bytes:
        await self.point.send(text)
        return await self.central.recv()

    async def to_point(self, text: str) -> str | bytes:
        await self.central.send(text)
        return await self.point.recv()


def play(act: Callable[[Setting], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(1000):
            await act(Setting())

    virtual_time.run(main())


async def nothing_comes(connection: Connection | InMemoryConnection) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await connection.recv()


ODD = ["", "no JSON", "[]", '{"a": 1}', '[2,"x"]', '[9,"x",{}]', '[3,"x",  {}]', " " + HEARTBEAT]


@pytest.mark.parametrize("text", [HEARTBEAT, *ODD])
@pytest.mark.parametrize("rewrites", [False, True])
def test_what_he_leaves_alone_passes_letter_by_letter(text: str, *, rewrites: bool) -> None:
    async def act(setting: Setting) -> None:
        if rewrites:
            setting.man.rewrite = lambda direction, message: message
        assert await setting.to_central(text) == text
        assert await setting.to_point(text) == text

    play(act)


def test_a_binary_message_passes_too() -> None:
    async def act(setting: Setting) -> None:
        setting.man.rewrite = lambda direction, message: None
        await setting.point.send(b"\xff\x00")
        assert await setting.central.recv() == b"\xff\x00"

    play(act)


def test_he_changes_messages_in_both_directions() -> None:
    async def act(setting: Setting) -> None:
        setting.man.rewrite = lambda direction, message: [*message[:3], {"was": str(direction)}]
        assert json.loads(await setting.to_central(HEARTBEAT)) == [
            2,
            "41f3ab",
            "Heartbeat",
            {"was": "to_central_system"},
        ]
        assert json.loads(await setting.to_point(HEARTBEAT))[3] == {"was": "to_charge_point"}
        setting.man.rewrite = None
        assert await setting.to_central(HEARTBEAT) == HEARTBEAT

    play(act)


def test_he_drops_messages_in_both_directions() -> None:
    async def act(setting: Setting) -> None:
        setting.man.rewrite = lambda direction, message: None
        await setting.point.send(HEARTBEAT)
        await nothing_comes(setting.central)
        await setting.central.send(HEARTBEAT)
        await nothing_comes(setting.point)

    play(act)


def test_a_message_that_his_rewriting_stumbles_over_passes_untouched(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def rewrite(direction: Direction, message: list[Any]) -> list[Any]:
        return [*message[:3], {"x": message[3]["missing"]}]

    async def act(setting: Setting) -> None:
        setting.man.rewrite = rewrite
        assert await setting.to_central(HEARTBEAT) == HEARTBEAT
        assert await setting.to_point(HEARTBEAT) == HEARTBEAT

    play(act)
    assert "passed on as it is" in caplog.text


@pytest.mark.parametrize("answer", ['[3,"%s",{}]', '[4,"%s","NotSupported","",{}]'])
@pytest.mark.parametrize("direction", Direction)
def test_he_adds_a_call_and_keeps_its_answer(direction: Direction, answer: str) -> None:
    async def act(setting: Setting) -> None:
        asked, other = (
            (setting.central, setting.point)
            if direction is UP
            else (setting.point, setting.central)
        )
        call = asyncio.create_task(setting.man.call(direction, "Reset", {"type": "Hard"}))
        kind, unique_id, action, payload = json.loads(await asked.recv())
        assert (kind, action, payload) == (2, "Reset", {"type": "Hard"})
        assert not call.done()
        await asked.send(answer % unique_id)
        await nothing_comes(other)
        assert call.done()
        await call
        # An answer to somebody else's call passes, and so does a second one of the same id.
        await asked.send(answer % unique_id)
        assert await other.recv() == answer % unique_id

    play(act)


def test_an_answer_from_the_wrong_end_is_not_his() -> None:
    async def act(setting: Setting) -> None:
        call = asyncio.create_task(setting.man.call(DOWN, "Reset", {"type": "Hard"}))
        unique_id = json.loads(await setting.point.recv())[1]
        answer = f'[3,"{unique_id}",{{}}]'
        assert await setting.to_point(answer) == answer
        assert not call.done()
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        # Nobody waits any more; the charge point's answer is kept all the same.
        await setting.point.send(answer)
        await nothing_comes(setting.central)

    play(act)


def test_a_call_that_is_not_answered_times_out() -> None:
    async def act(setting: Setting) -> None:
        with pytest.raises(TimeoutError):
            await setting.man.call(DOWN, "Reset", {"type": "Hard"})
        assert asyncio.get_running_loop().time() == ANSWER_TIMEOUT_S

    play(act)


def test_a_call_fails_when_the_connection_closes_or_is_none() -> None:
    async def act(setting: Setting) -> None:
        with pytest.raises(ConnectionError):
            await ManInTheMiddle().call(DOWN, "Reset", {})
        pending = asyncio.create_task(setting.man.call(DOWN, "Reset", {}))
        await setting.point.recv()
        await setting.point.close()
        with pytest.raises(ConnectionError, match="closed"):
            await pending
        with pytest.raises(ConnectionError):
            await setting.man.call(UP, "Heartbeat", {})

    play(act)


def test_the_end_of_an_old_connection_is_not_that_of_the_new_one() -> None:
    async def act(setting: Setting) -> None:
        old = setting.point
        setting.connect()
        call = asyncio.create_task(setting.man.call(DOWN, "Reset", {}))
        unique_id = json.loads(await setting.point.recv())[1]
        await old.close()
        await asyncio.sleep(1)
        assert not call.done()
        await setting.point.send(f'[3,"{unique_id}",{{}}]')
        await call

    play(act)


def test_a_cut_breaks_the_connection_at_both_ends() -> None:
    async def act(setting: Setting) -> None:
        call = asyncio.create_task(setting.man.call(DOWN, "Reset", {}))
        await setting.point.recv()
        setting.man.cut()
        assert setting.man.is_cut
        for end in (setting.central, setting.point):
            with pytest.raises(ConnectionClosed):
                await end.recv()
            with pytest.raises(ConnectionClosed):
                await end.send(HEARTBEAT)
        with pytest.raises(ConnectionError):
            await call
        setting.man.mend()
        assert not setting.man.is_cut
        setting.connect()
        assert await setting.to_central(HEARTBEAT) == HEARTBEAT

    play(act)


def test_what_had_arrived_before_the_end_is_still_received() -> None:
    async def act(setting: Setting) -> None:
        await setting.point.send(HEARTBEAT)
        await setting.point.close()
        assert await setting.central.recv() == HEARTBEAT
        with pytest.raises(ConnectionClosed):
            await setting.central.recv()

    play(act)


def test_closing_goes_through_him() -> None:
    async def act(setting: Setting) -> None:
        await setting.central.close(1008, "too much")
        with pytest.raises(ConnectionClosed) as caught:
            await setting.point.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "too much")

    play(act)


def test_a_central_system_that_does_not_read_slows_the_charge_point_down() -> None:
    async def act(setting: Setting) -> None:
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await setting.point.send(HEARTBEAT)
                sent += 1

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(10)
        assert MOST_WAITING <= sent < 2 * MOST_WAITING
        before = sent
        for _ in range(10):
            await setting.central.recv()
        await asyncio.sleep(1)
        assert sent == before + 10
        flooding.cancel()

    play(act)


def test_where_ids_are_random_uuids_his_are_too() -> None:
    seen = "7f2c1b9e-0c4d-4e8f-9a3b-5d6e7f809112"
    ids = [like(seen, number) for number in range(50)]
    assert len({seen, *ids}) == 51
    assert all(str(UUID(one)) == one and UUID(one).version == 4 for one in ids)


@pytest.mark.parametrize("unique_id", ["41f3ab90-17", "", "A"])
def test_his_ids_look_like_those_that_he_saw(unique_id: str) -> None:
    ids = {like(unique_id, number) for number in range(50)}
    form = re.sub("[0-9]", "9", re.sub("[a-zA-Z]", "a", unique_id)).ljust(8, "9")
    assert {re.sub("[0-9]", "9", re.sub("[a-z]", "a", one)) for one in ids} == {form}
    assert len(ids) == 50
    assert unique_id not in ids


def test_he_takes_the_form_of_the_end_that_he_speaks_for() -> None:
    async def act(setting: Setting) -> None:
        await setting.to_central('[2,"aa11","Heartbeat",{}]')
        await setting.to_point('[2,"9-9-9-9","ClearCache",{}]')
        up = asyncio.create_task(setting.man.call(UP, "Heartbeat", {}))
        down = asyncio.create_task(setting.man.call(DOWN, "ClearCache", {}))
        assert re.fullmatch("[a-f]{2}[0-9]{6}", json.loads(await setting.central.recv())[1])
        assert re.fullmatch("[0-9]-[0-9]-[0-9]-[0-9]{2}", json.loads(await setting.point.recv())[1])
        up.cancel()
        down.cancel()

    play(act)
