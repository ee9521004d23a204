"""The OCPP link: what it answers, what it survives, what it never does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing
from typing import Any

import pytest
from ocpp.exceptions import (
    FormationViolationError,
    GenericError,
    OCPPError,
    PropertyConstraintViolationError,
)
from ocpp.v16 import call, call_result
from ocpp.v16.datatypes import IdTagInfo
from ocpp.v16.enums import Action, AuthorizationStatus, RegistrationStatus
from websockets.exceptions import ConnectionClosed

from evsim import virtual_time
from evsim.central_system.ledger import Ledger
from evsim.central_system.station import Station as AskedStation
from evsim.charge_point.session import SessionLink
from evsim.clock import utc_now
from evsim.in_memory import BUFFERED_MESSAGES, InMemoryConnection, websocket_pair
from evsim.ocpp_link import MAX_WAITING_CALLS, NotConnectedError, OcppLink, after, on
from evsim.rate_limit import Rate
from evsim.sqlite import IN_MEMORY

NOW = "2026-01-01T00:00:00.000Z"
HEARTBEAT = [2, "1", "Heartbeat", {}]


class Central(OcppLink):
    """A central system for the tests."""

    heard_after: list[str]

    @on(Action.heartbeat)
    def on_heartbeat(self, **_: object) -> call_result.Heartbeat:
        return call_result.Heartbeat(NOW)

    @on(Action.boot_notification)
    async def on_boot(self, **_: object) -> call_result.BootNotification:
        """Ask the charge point for something before answering it."""
        answer = await self.call(call.GetConfiguration())
        assert answer.configuration_key == [{"key": "a", "readonly": False}]
        return call_result.BootNotification(NOW, 10, RegistrationStatus.accepted)

    @on(Action.authorize)
    def on_authorize(self, id_tag: str, **_: object) -> call_result.Authorize:
        if id_tag == "raise":
            raise KeyError("a secret")
        if id_tag == "refuse":
            raise PropertyConstraintViolationError("no such tag")
        if id_tag == "none":
            return None  # type: ignore[return-value] # what a careless handler does
        if id_tag == "invalid":
            return call_result.Authorize({"status": "Perhaps"})  # type: ignore[arg-type]
        return call_result.Authorize(IdTagInfo(AuthorizationStatus.accepted))

    @after(Action.authorize)
    async def after_authorize(self, id_tag: str, **_: object) -> None:
        if id_tag == "raise after":
            raise KeyError("after")
        self.heard_after = [id_tag]


class Station(OcppLink):
    """A charge point for the tests."""

    @on(Action.get_configuration)
    def on_get_configuration(self, **_: object) -> call_result.GetConfiguration:
        return call_result.GetConfiguration(configuration_key=[{"key": "a", "readonly": False}])


@contextlib.asynccontextmanager
async def raw_peer(link: OcppLink) -> AsyncIterator[InMemoryConnection]:
    """Serve `link` and give the other end of its connection, to send anything on."""
    ours, theirs = websocket_pair()
    serving = asyncio.create_task(link.serve(ours))
    try:
        yield theirs
    finally:
        await theirs.close()
        await serving


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test

    asyncio.run(bounded())


async def ask(peer: InMemoryConnection, *frames: str | bytes | list[Any]) -> Any:
    """Send frames and give the answer to the last one."""
    for frame in frames:
        await peer.send(json.dumps(frame) if isinstance(frame, list) else frame)
    return json.loads(await peer.recv())


# ── The right answer to each kind of CALL ────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("frame", "unique_id", "code"),
    [
        ("no JSON", "-1", "FormationViolation"),
        ("{}", "-1", "FormationViolation"),
        ("[]", "-1", "FormationViolation"),
        ('["2", "1", "Heartbeat", {}]', "-1", "FormationViolation"),
        ('[2, 1, "Heartbeat", {}]', "-1", "FormationViolation"),
        ('[2, "1", "Heartbeat"]', "1", "FormationViolation"),
        ('[2, "1", "Heartbeat", {}, {}]', "1", "FormationViolation"),
        ('[2, "1", [], {}]', "1", "FormationViolation"),
        ('[2, "1", "Heartbeat", []]', "1", "FormationViolation"),
        ('[2, "1", "Heartbeat", null]', "1", "FormationViolation"),
        (f'[2, "{"i" * 37}", "Heartbeat", {{}}]', "-1", "FormationViolation"),
        ('[2, "1", "Levitate", {}]', "1", "NotImplemented"),
        ('[2, "1", "heartbeat", {}]', "1", "NotImplemented"),
        ('[2, "1", "Reset", {"type": "Soft"}]', "1", "NotSupported"),
        ('[2, "1", "Heartbeat", {"x": 1}]', "1", "FormationViolation"),
        ('[2, "1", "Authorize", {}]', "1", "ProtocolError"),
        ('[2, "1", "Authorize", {"idTag": 5}]', "1", "TypeConstraintViolation"),
        (f'[2, "1", "Authorize", {{"idTag": "{"x" * 21}"}}]', "1", "TypeConstraintViolation"),
        ('[2, "1", "Authorize", {"idTag": "\\ud800"}]', "-1", "FormationViolation"),
        ('[2, "1", "Authorize", {"idTag": NaN}]', "-1", "FormationViolation"),
        ('[2, "1", "Authorize", {"idTag": "raise"}]', "1", "InternalError"),
        ('[2, "1", "Authorize", {"idTag": "none"}]', "1", "InternalError"),
        ('[2, "1", "Authorize", {"idTag": "invalid"}]', "1", "InternalError"),
        ('[2, "1", "Authorize", {"idTag": "refuse"}]', "1", "PropertyConstraintViolation"),
        ("[" * 100_000, "-1", "FormationViolation"),
        (f"[{'9' * 5000}]", "-1", "FormationViolation"),
        (b"\x00\xff", "-1", "FormationViolation"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_call_gets_its_error_and_the_connection_lives(
    frame: str | bytes, unique_id: str, code: str
) -> None:
    async def test() -> None:
        link = Central("CP_1")
        async with raw_peer(link) as peer:
            kind, answered_id, answered_code, description, details = await ask(peer, frame)
            assert (kind, answered_id, answered_code) == (4, unique_id, code)
            assert "secret" not in description
            assert details == {}
            assert await ask(peer, HEARTBEAT) == [3, "1", {"currentTime": NOW}]

    run(test())


@pytest.mark.parametrize(
    "frame",
    [
        '[3, "never asked", {}]',
        '[3, "never asked"]',
        "[3]",
        '[4, "never asked", "GenericError", "", {}]',
        '[4, "never asked"]',
        '[5, "1", "Heartbeat", {}]',
        "[7]",
    ],
)
def test_what_is_no_call_is_never_answered(frame: str) -> None:
    async def test() -> None:
        link = Central("CP_1")
        async with raw_peer(link) as peer:
            assert await ask(peer, frame, HEARTBEAT) == [3, "1", {"currentTime": NOW}]
            assert link.troubles.total() > 0

    run(test())


def test_every_call_gets_exactly_one_reply_in_order() -> None:
    async def test() -> None:
        async with raw_peer(Central("CP_1")) as peer:
            for number in range(MAX_WAITING_CALLS):
                await peer.send(json.dumps([2, str(number), "Heartbeat", {}]))
            ids = [json.loads(await peer.recv())[1] for _ in range(MAX_WAITING_CALLS)]
            assert ids == [str(number) for number in range(MAX_WAITING_CALLS)]

    run(test())


def test_a_failing_after_handler_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        link = Central("CP_1")
        async with raw_peer(link) as peer:
            for tag in ("raise after", "fine"):
                assert (await ask(peer, [2, "1", "Authorize", {"idTag": tag}]))[0] == 3
            assert await ask(peer, HEARTBEAT) == [3, "1", {"currentTime": NOW}]
            assert link.heard_after == ["fine"]

    run(test())
    assert "an @after handler failed" in caplog.text


# ── call() ───────────────────────────────────────────────────────────────────────────────────


def test_a_handler_may_call_the_peer_before_it_answers() -> None:
    async def test() -> None:
        central, station = Central("CP_1"), Station("CP_1")
        one, other = websocket_pair()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(central.serve(one))
            tasks.create_task(station.serve(other))
            await asyncio.sleep(0)
            answer = await station.call(call.BootNotification("model", "vendor"))
            assert answer.status == RegistrationStatus.accepted
            await one.close()

    run(test())


async def pending_call(
    link: OcppLink, peer: InMemoryConnection, **options: Any
) -> tuple[asyncio.Task[Any], str]:
    """Make the link call, and give the task and the id that the peer received."""
    task = asyncio.create_task(link.call(call.GetConfiguration(), **options))
    frame = json.loads(await peer.recv())
    assert frame[2] == "GetConfiguration"
    return task, frame[1]


def test_answers_are_matched_by_id_and_strange_ones_dropped() -> None:
    async def test() -> None:
        link = Central("CP_1")
        async with raw_peer(link) as peer:
            task, unique_id = await pending_call(link, peer)
            for number in range(3000):
                await peer.send(json.dumps([3, f"other {number}", {}]))
            await peer.send(json.dumps([3, unique_id, {"unknownKey": ["b"]}]))
            await peer.send(json.dumps([3, unique_id, {"unknownKey": ["late"]}]))
            assert (await task).unknown_key == ["b"]
            assert await ask(peer, HEARTBEAT) == [3, "1", {"currentTime": NOW}]
            assert link.troubles["unsolicited answer"] == 3001

    run(test())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ([4, "ID", "FormationViolation", "because", {}], FormationViolationError),
        ([4, "ID", "Whatever", "because", {}], GenericError),
        ([4, "ID"], FormationViolationError),
        ([3, "ID"], FormationViolationError),
        ([3, "ID", []], FormationViolationError),
        ([3, "ID", {"surprise": 1}], OCPPError),
    ],
)
def test_a_bad_answer_is_an_error_at_once(answer: list[Any], error: type[Exception]) -> None:
    async def test() -> None:
        link = Central("CP_1")
        async with raw_peer(link) as peer:
            task, unique_id = await pending_call(link, peer)
            answer[1] = unique_id
            await peer.send(json.dumps(answer))
            with pytest.raises(error):
                await task

    run(test())


def test_suppress_gives_none_for_a_refusal() -> None:
    async def test() -> None:
        link = Central("CP_1")
        async with raw_peer(link) as peer:
            task, unique_id = await pending_call(link, peer, suppress=True)
            await peer.send(json.dumps([4, unique_id, "GenericError", "", {}]))
            assert await task is None

    run(test())


def test_one_deadline_spans_waiting_for_the_lock_and_the_answer() -> None:
    async def test() -> None:
        link = Central("CP_1", response_timeout=0.2)
        loop = asyncio.get_running_loop()
        async with raw_peer(link) as peer:
            began_s = loop.time()
            calls = [asyncio.create_task(link.call(call.GetConfiguration())) for _ in range(5)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [TimeoutError] * 5
            assert loop.time() - began_s < 5 * 0.2
            first = json.loads(await peer.recv())
            await peer.send(json.dumps([3, first[1], {}]))  # too late: must not shift answers
            task, unique_id = await pending_call(link, peer)
            await peer.send(json.dumps([3, unique_id, {"unknownKey": ["right"]}]))
            assert (await task).unknown_key == ["right"]

    run(test())


def test_the_deadline_spans_sending_to_a_peer_that_does_not_read() -> None:
    async def test() -> None:
        link = Central("CP_1", response_timeout=0.2)
        ours, theirs = websocket_pair()
        serving = asyncio.create_task(link.serve(ours))
        await asyncio.sleep(0)
        for _ in range(BUFFERED_MESSAGES):
            await ours.send("full")
        with pytest.raises(TimeoutError):
            await link.call(call.GetConfiguration())
        await theirs.close()
        await serving

    run(test())


def test_a_closed_connection_fails_pending_and_later_calls_at_once() -> None:
    async def test() -> None:
        link = Central("CP_1", response_timeout=1000)
        async with raw_peer(link) as peer:
            task, _ = await pending_call(link, peer)
            waiting_for_lock = asyncio.create_task(link.call(call.GetConfiguration()))
            await peer.close()
            for failed in (task, waiting_for_lock):
                with pytest.raises(NotConnectedError):
                    await failed
        with pytest.raises(NotConnectedError):
            await link.call(call.GetConfiguration())

    run(test())


def test_an_invalid_request_is_not_sent() -> None:
    async def test() -> None:
        link = Central("CP_1")
        async with raw_peer(link) as peer:
            with pytest.raises(OCPPError):
                await link.call(call.ChangeConfiguration(key="x" * 51, value=""))
            assert await ask(peer, HEARTBEAT) == [3, "1", {"currentTime": NOW}]

    run(test())


def test_a_link_serves_one_connection_after_another() -> None:
    async def test() -> None:
        link = Central("CP_1")
        for _ in range(3):
            async with raw_peer(link) as peer:
                assert await ask(peer, HEARTBEAT) == [3, "1", {"currentTime": NOW}]
                with pytest.raises(RuntimeError, match="already"):
                    await link.serve(websocket_pair()[0])
            assert not link.connected

    run(test())


# ── Taps, and ids of one's own ───────────────────────────────────────────────────────────────


def test_a_tap_sees_every_message_that_is_sent_or_received() -> None:
    async def test() -> None:
        link = Central("CP_1")
        seen: list[tuple[bool, list[Any] | str]] = []
        link.taps.append(lambda sent, message: seen.append((sent, message)))
        async with raw_peer(link) as peer:
            await ask(peer, HEARTBEAT)
            await ask(peer, "no JSON")
            await ask(peer, b"\xff")
            task, unique_id = await pending_call(link, peer)
            await peer.send(json.dumps([3, unique_id, {}]))
            await task
        unreadable = "not JSON that can be read (JSONDecodeError)"
        assert seen == [
            (False, HEARTBEAT),
            (True, [3, "1", {"currentTime": NOW}]),
            (False, "no JSON"),
            (True, [4, "-1", "FormationViolation", unreadable, {}]),
            (False, "\ufffd"),
            (True, [4, "-1", "FormationViolation", "a binary message; OCPP-J is text", {}]),
            (True, [2, unique_id, "GetConfiguration", {}]),
            (False, [3, unique_id, {}]),
        ]

    run(test())


def make_station(message_ids: Callable[[], object]) -> OcppLink:
    with closing(Ledger(IN_MEMORY)) as ledger:
        rate = Rate(per_s=10, burst=10)
        return AskedStation("CP_1", ledger=ledger, rate=rate, message_ids=message_ids)


@pytest.mark.parametrize(
    "make_link",
    [
        lambda ids: OcppLink("CP_1", message_ids=ids),
        lambda ids: SessionLink("CP_1", vendor="v", model="m", now=utc_now, message_ids=ids),
        make_station,
    ],
    ids=["link", "charge point", "central system"],
)
def test_the_ids_of_calls_can_be_chosen(
    make_link: Callable[[Callable[[], object]], OcppLink],
) -> None:
    async def test() -> None:
        link = make_link(itertools.count(7).__next__)
        async with raw_peer(link) as peer:
            for expected in ("7", "8"):
                task, unique_id = await pending_call(link, peer)
                assert unique_id == expected
                await peer.send(json.dumps([3, unique_id, {}]))
                await task

    run(test())


# ── Floods ───────────────────────────────────────────────────────────────────────────────────


class Slow(OcppLink):
    """Answers nothing until it may."""

    @on(Action.heartbeat)
    async def on_heartbeat(self, **_: object) -> call_result.Heartbeat:
        await asyncio.Event().wait()
        raise AssertionError("never")


async def closes_with(link: OcppLink, frame: str, limit: int) -> int | None:
    async with raw_peer(link) as peer:
        for _ in range(limit):
            if peer.close_code is not None:
                break
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                await asyncio.wait_for(peer.send(frame), 1)
        return peer.close_code


@pytest.mark.parametrize(
    ("make_link", "frame"),
    [
        (lambda: Slow("CP_1"), json.dumps(HEARTBEAT)),
        (lambda: Slow("CP_1", response_timeout=0.1), "no JSON"),
        (lambda: Central("CP_1", rate=Rate(10, 50)), '[3, "unsolicited", {}]'),
    ],
    ids=["unanswered calls", "unreadable, answers not read", "rate"],
)
def test_a_flood_closes_with_1008(make_link: Callable[[], OcppLink], frame: str) -> None:
    async def test() -> None:
        assert await closes_with(make_link(), frame, 1000) == 1008

    run(test())


def test_a_peer_that_waits_for_its_answers_is_slowed_and_not_closed() -> None:
    async def test() -> None:
        link = Central("CP_1", rate=Rate(per_s=10, burst=5))
        async with raw_peer(link) as peer:
            for number in range(105):
                answer = await ask(peer, [2, str(number), "Heartbeat", {}])
                assert answer == [3, str(number), {"currentTime": NOW}]
            assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.2)

    virtual_time.run(test())


# ── The log ──────────────────────────────────────────────────────────────────────────────────


def test_the_log_contains_no_key(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        link = Central("CP_1")
        async with raw_peer(link) as peer:
            request = call.ChangeConfiguration(key="AuthorizationKey", value="c0ffee" * 6)
            task = asyncio.create_task(link.call(request))
            unique_id = json.loads(await peer.recv())[1]
            await peer.send(json.dumps([3, unique_id, {"status": "Accepted"}]))
            await task
            payload = {"value": "c0ffee" * 6, "key": "AuthorizationKey"}
            await ask(peer, [2, "1", "ChangeConfiguration", payload])

            for hidden in (
                r'[2,"2","ChangeConfiguration",{"key":"Authorization\u004bey","value":"c0ffee"}]',
                r'[2,"3","ChangeConfiguration",{"key":"AuthorizationKey","\u0076alue":"c0ffee"}]',
                r'[2,"4","ChangeConfiguration",{"key":"AuthorizationKey","value":"c0ffee"',
            ):
                await ask(peer, hidden)

    with caplog.at_level(logging.DEBUG):
        run(test())
    assert "ChangeConfiguration" in caplog.text
    assert "c0ffee" not in caplog.text


def test_a_task_that_ends_the_program_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async def leave() -> None:
            raise SystemExit(5)

        OcppLink("CP_1").run_in_background(leave())
        await asyncio.sleep(1)

    with pytest.raises(SystemExit, match="5"):
        asyncio.run(test())
    assert caplog.text == ""
