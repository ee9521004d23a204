"""Mutated messages against both real ends: nothing raises, every CALL gets exactly one reply.

Scenario: a raw peer sends valid messages of all 39 actions, broken in their payload, in their
envelope and in their text, to the central system's and to the charge point's link; and it answers
calls with broken answers. After each round comes a Heartbeat, which must be replied to.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ocpp.exceptions import OCPPError
from ocpp.v16 import call
from ocpp_corpus import Mutation, examples, mutations, nested, places, reply_is_due, schema_of

import cp
import csms
from evsim.central_system.ledger import Ledger as CentralLedger
from evsim.charge_point.ledger import Ledger as ChargePointLedger
from evsim.charger import PLANTS
from evsim.in_memory import InMemoryConnection, websocket_pair
from evsim.ocpp_link import OcppLink
from evsim.ocpp_schemas import ACTIONS
from evsim.ocpp_wire import to_snake_case

NOW = "2026-01-01T00:00:00.000Z"
ROUND_S = 10.0  # long before this a round is over
HEARTBEAT = [2, "last", "Heartbeat", {}]
MESSAGES = 12  # in a round: fewer than what is a flood

#: The same on every run: a failure in CI is one that can be repeated.
fuzz = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=150,
    # The only fixture reads the log, of all examples together.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


# ── Messages ─────────────────────────────────────────────────────────────────────────────────


@functools.cache
def material(action: str, kind: str) -> tuple[list[Any], list[Mutation]]:
    """Give valid payloads, and changes that break the fullest of them."""
    schema = schema_of(action, kind)
    payloads = examples(schema)
    fullest = payloads[1]
    return payloads, [m for place in places(schema, fullest) for m in mutations(place, fullest)]


@st.composite
def payload_of(draw: st.DrawFn, action: str, kind: str) -> Any:
    """Draw a payload, valid or with some changes."""
    payloads, changes = material(action, kind)
    payload = draw(st.sampled_from(payloads))
    for mutation in draw(st.lists(st.sampled_from(changes), max_size=2)):
        with contextlib.suppress(LookupError, TypeError):  # that place is not in this payload
            payload = mutation.applied_to(payload)
    return payload


ODD = [None, True, 2, 2.0, -1, 10**30, "", "2", "x" * 37, [], [[]], {}, {"a": 1}, nested(50)]
SNIPPETS = [
    *('"', "[", "]", "{", "}", ",", ":", "\\", "\0", "null", "NaN", "Infinity", "1e400", "-"),
    *("\\ud800", "\\u0000", "é", "𝄞", "9" * 5000, "[" * 5000, '"x":', "\n", "2"),
]


@st.composite
def frame(draw: st.DrawFn, envelope: list[Any]) -> str:
    """Draw the text of a message: as it is, with a broken envelope, or broken as a text."""
    how = draw(st.sampled_from(["whole", "whole", "envelope", "arity", "text"]))
    if how == "envelope":
        envelope = list(envelope)
        envelope[draw(st.integers(0, len(envelope) - 1))] = draw(st.sampled_from(ODD))
    elif how == "arity":
        cut = draw(st.integers(0, len(envelope)))
        envelope = [*envelope[:cut], *draw(st.lists(st.sampled_from(ODD), max_size=2))]
    text = json.dumps(envelope)
    if how == "text":
        edits = st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(SNIPPETS))
        for where, removed, snippet in draw(st.lists(edits, min_size=1, max_size=3)):
            where %= len(text)
            text = text[:where] + snippet + text[where + removed :]
    return text


@st.composite
def round_of_calls(draw: st.DrawFn) -> list[str | bytes]:
    """Draw the messages of a round, each with an id of its own."""
    return [
        draw(frame([2, f"id {number}", action, draw(payload_of(action, "request"))]))
        for number, action in enumerate(
            draw(st.lists(st.sampled_from(sorted(ACTIONS)), min_size=1, max_size=MESSAGES))
        )
    ]


@st.composite
def answered_call(draw: st.DrawFn) -> tuple[Any, str]:
    """Draw a valid request (a dataclass) and the text of an answer with the id "ID"."""
    action = draw(st.sampled_from(sorted(ACTIONS)))
    request = getattr(call, action)(**to_snake_case(examples(schema_of(action, "request"))[1]))
    answer = [3, "ID", draw(payload_of(action, "response"))]
    if draw(st.integers(0, 4)) == 0:
        answer = [4, "ID", draw(st.sampled_from(["GenericError", "?", ""])), "why", {}]
    return request, draw(frame(answer))


# ── The two ends ─────────────────────────────────────────────────────────────────────────────


class Peer:
    """The other end: answers what it is asked and keeps the ids of the replies it gets."""

    def __init__(self, connection: InMemoryConnection) -> None:
        self.connection = connection
        self.replies: list[str] = []

    async def send(self, message: str | bytes | list[Any]) -> None:
        """Send what may be anything."""
        await self.connection.send(json.dumps(message) if isinstance(message, list) else message)

    async def next_call(self) -> list[Any]:
        """Give the next CALL; keep the replies that come before it."""
        while not await self._hears_call():
            pass
        return self._call

    async def answer_until(self, unique_id: str) -> None:
        """Answer CALLs until the reply with that id comes."""
        while unique_id not in self.replies:
            if await self._hears_call():
                _, called_id, action, _ = self._call
                if action == "BootNotification":
                    accepted = {"currentTime": NOW, "interval": 600, "status": "Accepted"}
                    await self.send([3, called_id, accepted])
                else:
                    await self.send([4, called_id, "NotSupported", "", {}])

    async def _hears_call(self) -> bool:
        message = json.loads(await self.connection.recv())
        if message[0] == 2:
            self._call: list[Any] = message
            return True
        self.replies.append(message[1])
        return False

    async def check_round(self, texts: Sequence[str | bytes]) -> None:
        """Send messages and a Heartbeat: all that want a reply get one, in order."""
        self.replies.clear()
        for text in texts:
            await self.send(text)
        await self.send(HEARTBEAT)
        await self.answer_until("last")
        due = [unique_id for text in texts if (unique_id := reply_is_due(text)) is not None]
        assert self.replies == [*due, "last"]


@contextlib.asynccontextmanager
async def peer_of(serve: Callable[[InMemoryConnection], Awaitable[None]]) -> AsyncIterator[Peer]:
    """Serve one end of a connection, which must last as long as the context; give the other."""
    ours, theirs = websocket_pair()

    async def serve_and_close() -> None:
        try:
            await serve(ours)
        finally:
            await ours.close()  # should it end too early, nobody waits for its replies

    serving = asyncio.create_task(serve_and_close())
    try:
        async with asyncio.timeout(ROUND_S):
            yield Peer(theirs)
        assert not serving.done()
    finally:
        await theirs.close()
        await serving


@contextlib.contextmanager
def new_file() -> Iterator[Path]:
    """Give the path of a ledger to be made; each example has its own."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "ledger.sqlite"


@contextlib.asynccontextmanager
async def central_system() -> AsyncIterator[Peer]:
    """Serve csms.py's end and give the peer."""
    with new_file() as path, contextlib.closing(CentralLedger(path)) as ledger:
        talk = functools.partial(csms.CentralSystem(ledger, cycles=0).talk, "CP_1")
        async with peer_of(talk) as peer:
            yield peer


@contextlib.asynccontextmanager
async def charge_point() -> AsyncIterator[Peer]:
    """Run cp.py's end, let it boot, and give the peer."""
    node: Any = SimpleNamespace(send=lambda frame: None)  # a CAN bus with nobody on it
    with new_file() as path, contextlib.closing(ChargePointLedger(path)) as ledger:
        link = cp.ChargePoint("CP_1", node=node, ledger=ledger, plant=PLANTS["ideal"])
        running = asyncio.create_task(link.run(asyncio.sleep(2 * ROUND_S)))
        try:
            async with peer_of(link.talk) as peer:
                await peer.check_round([])
                yield peer
            assert not running.done()
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


@contextlib.asynccontextmanager
async def bare_link() -> AsyncIterator[Peer]:
    """Serve a link without handlers and give the peer."""
    async with peer_of(OcppLink("CP_1").serve) as peer:
        yield peer


def check(end: Callable[[], AbstractAsyncContextManager[Peer]], texts: list[str | bytes]) -> None:
    async def test() -> None:
        async with end() as peer:
            await peer.check_round(texts)

    asyncio.run(test())


# ── The tests ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
def no_handler_has_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Bad input has its error codes; InternalError and a traceback are for our own faults."""
    yield
    assert "failed" not in caplog.text
    assert "Traceback" not in caplog.text


@fuzz
@given(round_of_calls())
def test_calls_to_the_central_system(texts: list[str | bytes]) -> None:
    check(central_system, texts)


@fuzz
@given(round_of_calls())
def test_calls_to_the_charge_point(texts: list[str | bytes]) -> None:
    check(charge_point, texts)


@fuzz
@given(st.lists(st.text() | st.binary(), max_size=MESSAGES))
def test_any_text_and_any_bytes(texts: list[str | bytes]) -> None:
    check(bare_link, texts)


@fuzz
@given(st.lists(answered_call(), min_size=1, max_size=4))
def test_answers_to_our_calls(calls: list[tuple[Any, str]]) -> None:
    async def test() -> None:
        link = OcppLink("CP_1", response_timeout=ROUND_S)
        async with peer_of(link.serve) as peer:
            for request, answer in calls:
                calling = asyncio.create_task(link.call(request))
                unique_id = (await peer.next_call())[1]
                await peer.send(answer.replace("ID", unique_id, 1))
                # Whatever the broken one was good for, this one ends the call.
                await peer.send([4, unique_id, "GenericError", "", {}])
                with contextlib.suppress(OCPPError):
                    assert type(await calling).__name__ == type(request).__name__
            await peer.send(HEARTBEAT)
            await peer.answer_until("last")

    asyncio.run(test())
