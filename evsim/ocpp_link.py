"""One end of an OCPP 1.6-J connection that no peer can kill.

Built on the `ocpp` package's ChargePoint: its `@on` and `@after` decorators, its `call()` and its
message classes work as they do there. What happens to a message is decided anew:

                            ┌ answer: resolves the pending call() with that id; others are dropped
    connection ─ reader ────┤
                            └ CALL ─ bounded queue ─ one worker ─ @on handler ─ exactly one reply

The reader never waits, so a handler may itself call() the peer. CALLs beyond the rate are answered
later, and a peer that floods all the same is closed with 1008. One deadline spans the lock, the
sending and the waiting of a call(), and when the connection closes, what is pending fails at once.
An object outlives its connections: serve() may be called again with the next one, which lets a
charge point keep its handlers and state while it reconnects.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import ocpp.exceptions
import ocpp.routing
from ocpp.exceptions import FormationViolationError, InternalError, OCPPError
from ocpp.v16 import ChargePoint
from ocpp.v16.enums import Action
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from evsim import ocpp_schemas
from evsim.deadline import Deadlines
from evsim.errors import UserError
from evsim.ocpp_wire import (
    CALL,
    CALL_RESULT,
    UnreadableError,
    call_error,
    dump,
    error_code,
    error_from_wire,
    field_names,
    parse,
    to_snake_case,
    to_wire,
    visible_name,
    without_keys,
)
from evsim.rate_limit import Rate, TokenBucket

SUBPROTOCOL = Subprotocol("ocpp1.6")
#: An OCPP 1.6 message is a few KiB; a larger one closes the connection with 1009.
LARGEST_MESSAGE_BYTES = 64 * 1024
OPEN_TIMEOUT_S = 10.0
PING_INTERVAL_S = 20.0
RESPONSE_TIMEOUT_S = 30.0
#: OCPP-J allows a peer one unanswered CALL; one with this many is flooding.
MAX_WAITING_CALLS = 64
POLICY_VIOLATION = 1008

log = logging.getLogger("evsim.ocpp")


class Connection(Protocol):
    """What a link needs of a WebSocket; `evsim.in_memory` offers it without a socket."""

    async def recv(self) -> str | bytes:
        """Give the next message; ConnectionClosed when there will be none."""

    async def send(self, message: str, /) -> None:
        """Send a text message; ConnectionClosed if that is too late."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection."""


Handler = TypeVar("Handler", bound=Callable[..., Any])


def on(action: Action) -> Callable[[Handler], Handler]:
    """Mark the method that answers `action`: ocpp.routing.on, typed."""
    decorate: Callable[[Handler], Handler] = ocpp.routing.on(action)
    return decorate


def after(action: Action) -> Callable[[Handler], Handler]:
    """Mark the method to run once `action` has been answered: ocpp.routing.after, typed."""
    decorate: Callable[[Handler], Handler] = ocpp.routing.after(action)
    return decorate


class NotConnectedError(ConnectionError):
    """A call() could not be made or answered, because there is no connection (any more)."""


#: Called with (sent, message) for each message that this end sends or receives: the array of
#: OCPP-J, or the text of what could not be read.
Tap = Callable[[bool, list[Any] | str], None]
#: What an @after handler is to do, if there is one.
_After = Callable[[], object] | None


class OcppLink(ChargePoint):
    """One end of an OCPP 1.6-J connection, central system or charge point.

    :param id: charge point id; names this link in the log.
    :param connection: what start() serves; serve() takes another.
    :param response_timeout: one deadline for a whole call(), s.
    :param rate: of the peer's CALLs that are answered, and of the messages that nobody asked for;
        None for no limit.
    :param message_ids: gives the unique id of each CALL, whose str() counts.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - ocpp's name for it
        connection: Connection | None = None,
        response_timeout: float = RESPONSE_TIMEOUT_S,
        *,
        rate: Rate | None = None,
        message_ids: Callable[[], object] = uuid.uuid4,
    ) -> None:
        super().__init__(id, connection, response_timeout, log)  # type: ignore[no-untyped-call]
        self.rate = rate
        self._deadlines = Deadlines(response_timeout)
        self._message_ids = message_ids
        #: For recorders. A tap sees everything, keys too; it must change nothing and not fail.
        self.taps: list[Tap] = []
        #: How often each kind of trouble was met; each is logged the first time.
        self.troubles: Counter[str] = Counter()
        #: While it is, CALLs are neither obeyed nor answered: OCPP 1.6 section 4.2 has a charge
        #: point so whose BootNotification was rejected.
        self.silent = False
        self._connected = False
        self._pending: dict[str, asyncio.Future[dict[str, Any]]] = {}
        #: CALLs, and the CALLERRORs that are the ready replies to what could not be read.
        self._to_answer: asyncio.Queue[list[Any]] = asyncio.Queue(MAX_WAITING_CALLS)
        self._background: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether a connection is being served."""
        return self._connected

    def add_handlers(self, *parts: object) -> None:
        """Let the `@on` and `@after` methods of `parts` answer too, e.g. of a feature profile."""
        for part in parts:
            self.route_map.update(ocpp.routing.create_route_map(part))

    # ── Receiving ────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Serve the connection given to the constructor until it closes."""
        await self.serve(self._connection)

    async def serve(self, connection: Connection) -> None:
        """Talk OCPP over `connection` until it closes; never raises for what the peer does."""
        if self._connected:
            raise RuntimeError(f"{self.id} is already being served")
        self._connection = connection
        self._connected = True
        self._to_answer = asyncio.Queue(MAX_WAITING_CALLS)
        worker = asyncio.create_task(self._answer_calls(connection))
        reader = asyncio.create_task(self._read(connection))
        try:
            await asyncio.wait([reader, worker], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connected = False
            self._fail_pending()
            for task in (reader, worker):
                task.cancel()
            ended = await asyncio.gather(reader, worker, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, ConnectionClosed):
                raise error

    async def _read(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        bucket = TokenBucket(self.rate, loop.time()) if self.rate else None
        while True:
            raw = await connection.recv()
            self._log_frame("receives", raw)
            try:
                wanted = self._take(raw)
            except asyncio.QueueFull:
                return await self._drain(connection, "too many unanswered messages")
            if bucket and not wanted and not bucket.take(loop.time()):
                return await self._drain(connection, "too many messages that nobody asked for")

    def _take(self, raw: str | bytes) -> bool:
        """Sort a message: an answer to its call(), all that wants a reply to the worker.

        Returns False for what is neither. Raises asyncio.QueueFull.
        """
        try:
            message = parse(raw)
        except UnreadableError as error:
            text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
            self._tap(text, sent=False)
            self._note_trouble("unreadable message", str(error))
            fault = FormationViolationError(str(error))
            if not error.wants_reply:
                return self._resolve(error.unique_id, fault)
            self._to_answer.put_nowait(call_error(error.unique_id, fault))
            return True
        self._tap(message, sent=False)
        kind, unique_id = message[0], message[1]
        if kind == CALL:
            self._to_answer.put_nowait(message)
            return True
        answer = message[2] if kind == CALL_RESULT else error_from_wire(*message[2:])
        return self._resolve(unique_id, answer)

    def _resolve(self, unique_id: str, answer: dict[str, Any] | OCPPError) -> bool:
        """Give the pending call() of that id its answer; False if there is none."""
        future = self._pending.pop(unique_id, None)
        if future is None or future.done():
            self._note_trouble("unsolicited answer", "it has the id of no pending call")
            return False
        if isinstance(answer, OCPPError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return True

    async def disconnect(self, reason: str) -> None:
        """Close the connection normally, if there is one."""
        if self._connected:
            await self._connection.close(1000, reason)

    async def _drain(self, connection: Connection, reason: str) -> None:
        """Close, and drop what still comes: behind it is the peer's half of the closing."""
        closing = asyncio.create_task(self._close_flood(connection, reason))
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
        await closing

    async def _close_flood(self, connection: Connection, reason: str) -> None:
        self._note_trouble("flood", f"{reason}; closing the connection with {POLICY_VIOLATION}")
        await connection.close(POLICY_VIOLATION, reason)

    # ── Answering ────────────────────────────────────────────────────────────────────────────

    async def _answer_calls(self, connection: Connection) -> None:
        """Answer CALLs one by one, in the order they came and no faster than the rate.

        A peer that waits for each answer, as OCPP-J has it, is slowed down by that; one that does
        not wait fills the queue.
        """
        loop = asyncio.get_running_loop()
        bucket = TokenBucket(self.rate, loop.time()) if self.rate else None
        while True:
            request = await self._to_answer.get()
            if self.silent:
                continue
            if bucket is not None and (wait_s := bucket.reserve(loop.time())) > 0:
                await asyncio.sleep(wait_s)
            after: _After = None
            if request[0] == CALL:
                reply, frame, after = await self._answer(request)
            else:
                reply, frame = request, dump(request)
            if not await self._reply(connection, reply, frame):
                return
            if after is not None:
                self._run_after(after)

    async def _answer(self, request: list[Any]) -> tuple[list[Any], str, _After]:
        """Give the reply to a CALL, the same as text, and what its @after handler is to do."""
        _, unique_id, action, payload = request
        error: OCPPError
        try:
            reply, after = await self._handle(unique_id, action, payload)
            return reply, dump(reply), after
        except OCPPError as refusal:
            log.warning("%s: %s answered with %s", self.id, action, error_code(refusal))
            error = refusal
        except UserError as trouble:  # e.g. the disk is full: whoever runs this can mend it
            log.error("%s: %s not processed: %s", self.id, action, trouble)  # noqa: TRY400
            error = InternalError()
        except Exception:
            log.exception("%s: the handler of %s failed", self.id, action)
            error = InternalError()
        reply = call_error(unique_id, error)
        return reply, dump(reply), None

    async def _handle(
        self, unique_id: str, action: str, payload: dict[str, Any]
    ) -> tuple[list[Any], _After]:
        if action not in ocpp_schemas.ACTIONS:
            raise ocpp.exceptions.NotImplementedError(f"{visible_name(action)} is not of OCPP 1.6")
        routes = self.route_map.get(action, {})
        if "_on_action" not in routes:
            raise ocpp.exceptions.NotSupportedError(f"{action} is known, but not supported here")
        validate = not routes.get("_skip_schema_validation", False)
        if validate:
            ocpp_schemas.check_request(action, payload)
        arguments = to_snake_case(payload)
        response = _invoke(routes["_on_action"], arguments, unique_id)
        if field_names(type(response)) is None and inspect.isawaitable(response):
            response = await response
        if field_names(type(response)) is None:
            raise TypeError(f"the handler of {action} returned {type(response).__name__}")
        answer = to_wire(response)
        if validate:
            try:
                ocpp_schemas.check_response(action, answer)
            except OCPPError as error:
                raise ValueError(f"the handler's response is invalid: {error}") from error
        after = routes.get("_after_action")
        if after is not None:
            after = functools.partial(_invoke, after, arguments, unique_id)
        return [CALL_RESULT, unique_id, answer], after

    def _run_after(self, after: Callable[[], object]) -> None:
        """Run an @after handler, as a task if it waits; what it raises is logged, no more."""
        try:
            result = after()
        except Exception:
            log.exception("%s: an @after handler failed", self.id)
            return
        if result is not None and inspect.isawaitable(result):
            self.run_in_background(self._await_after(result))

    async def _await_after(self, result: Awaitable[object]) -> None:
        try:
            await result
        except (NotConnectedError, TimeoutError, OCPPError) as error:
            log.warning("%s: after answering: %s", self.id, error)
        except Exception:
            log.exception("%s: an @after handler failed", self.id)

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task that is kept referenced until it is done; its failure is logged."""

        def done(task: asyncio.Task[None]) -> None:
            self._background.discard(task)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Exception):  # SystemExit ends the program by itself
                log.error("%s: a task failed: %r", self.id, error, exc_info=error)

        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(done)
        return task

    async def _reply(self, connection: Connection, reply: list[Any], frame: str) -> bool:
        """Send a reply; False if the connection is closed or the peer doesn't read."""
        self._tap(reply, sent=True)
        self._log_frame("sends", frame)
        try:
            with self._deadlines.begin():
                await connection.send(frame)
        except ConnectionClosed:
            return False
        except TimeoutError:
            await self._close_flood(connection, "the peer does not read")
            return False
        return True

    # ── Calling ──────────────────────────────────────────────────────────────────────────────

    async def call(
        self,
        payload: Any,
        suppress: bool = False,
        unique_id: str | None = None,
        skip_schema_validation: bool = False,
    ) -> Any:
        """Send a request (a dataclass of ocpp.v16.call) and give the response's dataclass.

        Raises OCPPError if the peer answers with a CALLERROR (unless `suppress`: then None) or
        with an invalid payload, TimeoutError after `response_timeout` s in all, and
        NotConnectedError when there is no connection or it closes meanwhile.
        """
        action = type(payload).__name__
        wire = to_wire(payload)
        if not skip_schema_validation:
            ocpp_schemas.check_request(action, wire)
        unique_id = str(self._message_ids()) if unique_id is None else unique_id
        message = [CALL, unique_id, action, wire]
        frame = dump(message)
        try:
            with self._deadlines.begin():
                answer = await self._exchange(message, frame)
        except TimeoutError:
            raise TimeoutError(
                f"{self.id}: no answer to {action} within {self._deadlines.limit_s:g} s"
            ) from None
        except OCPPError as error:
            if suppress:
                log.warning("%s: %s was answered with %s", self.id, action, error_code(error))
                return None
            raise
        if not skip_schema_validation:
            ocpp_schemas.check_response(action, answer)
        response_class = getattr(self._call_result, action)
        known = field_names(response_class) or ()
        arguments = {key: v for key, v in to_snake_case(answer).items() if key in known}
        return response_class(**arguments)

    async def _exchange(self, message: list[Any], frame: str) -> dict[str, Any]:
        """Send one CALL, when it is its turn, and wait for its answer."""
        _, unique_id, action, _ = message
        async with self._call_lock:
            if not self._connected:
                raise NotConnectedError(f"{self.id} is not connected; {action} was not sent")
            if unique_id in self._pending:
                raise ValueError(f"id {unique_id} is already in use")
            future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._pending[unique_id] = future
            try:
                self._tap(message, sent=True)
                self._log_frame("sends", frame)
                await self._connection.send(frame)
                return await future
            except ConnectionClosed as error:
                raise NotConnectedError(f"{self.id}: the connection closed: {error}") from error
            finally:
                self._pending.pop(unique_id, None)
                if future.done() and not future.cancelled():
                    future.exception()  # seen, also when the sending failed first

    def _fail_pending(self) -> None:
        for future in self._pending.values():
            if not future.done():
                future.set_exception(
                    NotConnectedError(f"{self.id}: the connection closed before the answer")
                )
        self._pending.clear()

    # ── Taps and logging ─────────────────────────────────────────────────────────────────────────

    def _tap(self, message: list[Any] | str, *, sent: bool) -> None:
        for tap in self.taps:
            tap(sent, message)

    def _note_trouble(self, kind: str, text: str) -> None:
        self.troubles[kind] += 1
        if self.troubles[kind] == 1:
            log.warning("%s: %s (said once): %s", self.id, kind, text)

    def _log_frame(self, verb: str, raw: str | bytes) -> None:
        if log.isEnabledFor(logging.DEBUG):
            text = raw if isinstance(raw, str) else repr(raw[:200])
            log.debug("%s %s %s", self.id, verb, without_keys(text))


def _invoke(handler: Callable[..., object], arguments: dict[str, Any], unique_id: str) -> object:
    if _wants_id(handler):
        return handler(**arguments, call_unique_id=unique_id)
    return handler(**arguments)


def _wants_id(handler: Callable[..., object]) -> bool:
    return _function_wants_id(getattr(handler, "__func__", handler))


@functools.lru_cache(maxsize=512)
def _function_wants_id(function: Callable[..., object]) -> bool:
    return "call_unique_id" in inspect.signature(function).parameters
