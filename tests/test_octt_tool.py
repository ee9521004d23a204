"""The compliance tests' charge point is as strict as they rely on."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any

import pytest
from ocpp.exceptions import OCPPError
from octt_tool import Tool

from evsim import virtual_time
from evsim.in_memory import InMemoryConnection, websocket_pair

RESET = [2, "1", "Reset", {"type": "Hard"}]
BEAT = {"currentTime": "2026-01-01T00:00:00Z"}


def play(test: Coroutine[Any, Any, None]) -> None:
    virtual_time.run(test)


async def tool_that_hears(*messages: list[Any]) -> tuple[Tool, InMemoryConnection]:
    ours, theirs = websocket_pair()
    for message in messages:
        await ours.send(json.dumps(message))
    return Tool(theirs), ours


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ([2, "1", "Reset", {"type": "Lukewarm"}], "breaks the rule"),
        ([2, "1", "ClearCache", {}], "Reset was expected, but it asks for ClearCache"),
        ([2, "x" * 37, "Reset", {"type": "Hard"}], "the id of"),
        ([2, "", "Reset", {"type": "Hard"}], "the id of"),
        ([3, "1", {}], "nobody asked for"),
    ],
)
def test_what_was_not_to_come_fails_the_test(message: list[Any], words: str) -> None:
    async def test() -> None:
        tool, _ = await tool_that_hears(message)
        with pytest.raises((AssertionError, OCPPError), match=words):
            await tool.expect("Reset")

    play(test())


@pytest.mark.parametrize(
    "answer",
    [
        [4, "tool-1", "InternalError", "", {}],
        [3, "tool-2", BEAT],
        [3, "tool-1", {}],
        [3, "tool-1", {**BEAT, "more": 1}],
    ],
)
def test_what_is_no_right_answer_fails_the_test(answer: list[Any]) -> None:
    async def test() -> None:
        tool, _ = await tool_that_hears(answer)
        with pytest.raises((AssertionError, OCPPError)):
            await tool.call("Heartbeat")

    play(test())


def test_a_second_call_before_the_answer_fails_the_test() -> None:
    async def test() -> None:
        tool, _ = await tool_that_hears(RESET, [2, "2", "ClearCache", {}], [3, "tool-1", BEAT])
        with pytest.raises(AssertionError, match="is answered"):
            await tool.call("Heartbeat")

    play(test())


def test_an_id_that_comes_twice_fails_the_test() -> None:
    async def test() -> None:
        tool, peer = await tool_that_hears(RESET)
        await tool.expect("Reset")
        await tool.answer({"status": "Accepted"})
        await peer.send(json.dumps(RESET))
        with pytest.raises(AssertionError, match="used the id"):
            await tool.expect("Reset")

    play(test())


def test_a_call_that_nobody_expected_fails_the_test_at_its_end() -> None:
    async def test() -> None:
        tool, _ = await tool_that_hears(RESET)
        with pytest.raises(pytest.fail.Exception, match="nothing was expected"):
            await tool.nothing_for(1.0)
        tool, _ = await tool_that_hears(RESET, [3, "tool-1", BEAT])
        await tool.call("Heartbeat")
        with pytest.raises(AssertionError, match="it asked for"):
            await tool.close()

    play(test())
