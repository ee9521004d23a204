"""A central system that a test plays: notes what it is told, as strict as a compliance tool.

    await central.expect("Authorize", id_tag="TAG")      the next message is this one, no other
    await central.status("Preparing")                    a StatusNotification of connector 1
    await central.expect_each(wanted(...), wanted(...))  the next ones are these, in any order
    await central.silence(60)                            nothing comes for that long
    await central.ask("Accepted", call.ClearCache())     what it asks, and the answer's status

Heartbeats, MeterValues and security events come when they like: they are passed over unless they
are asked for. All fields are in snake case.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import pytest
from ocpp.v16 import call_result
from ocpp.v16.enums import MessageTrigger

from evsim.clock import Clock, from_ocpp, to_ocpp
from evsim.ocpp_link import Connection, OcppLink

#: What must have come by then, in virtual time.
SOON_S = 60.0
#: They may come between any two other messages.
ANY_TIME = frozenset({"Heartbeat", "MeterValues", "SecurityEventNotification"})
#: Messages without a field in their answers.
PLAIN = (
    "DiagnosticsStatusNotification",
    "FirmwareStatusNotification",
    "LogStatusNotification",
    "MeterValues",
    "SecurityEventNotification",
    "SignedFirmwareStatusNotification",
    "StatusNotification",
)

#: From a status to those that may follow it: the table in OCPP 1.6, section 4.9.
TRANSITIONS = {
    "Available": "Preparing Charging SuspendedEV SuspendedEVSE Reserved Unavailable Faulted",
    "Preparing": "Available Charging SuspendedEV SuspendedEVSE Finishing Faulted",
    "Charging": "Available SuspendedEV SuspendedEVSE Finishing Unavailable Faulted",
    "SuspendedEV": "Available Charging SuspendedEVSE Finishing Unavailable Faulted",
    "SuspendedEVSE": "Available Charging SuspendedEV Finishing Unavailable Faulted",
    "Finishing": "Available Preparing Unavailable Faulted",
    "Reserved": "Available Preparing Unavailable Faulted",
    "Unavailable": "Available Preparing Charging SuspendedEV SuspendedEVSE Faulted",
    "Faulted": "Available Preparing Charging SuspendedEV SuspendedEVSE Finishing Reserved "
    "Unavailable",
}

Answer = Callable[[dict[str, Any]], Any]


class Message(NamedTuple):
    """What came, and when by the event loop's clock."""

    at_s: float
    action: str
    payload: dict[str, Any]


class Wanted(NamedTuple):
    """What is to come: at least these fields have these values."""

    action: str
    fields: dict[str, object]

    def fits(self, message: Message) -> bool:
        """Whether `message` is it."""
        return message.action == self.action and all(
            message.payload.get(name) == value for name, value in self.fields.items()
        )


def wanted(action: str, **fields: object) -> Wanted:
    """Say what is to come."""
    return Wanted(action, fields)


def wanted_status(status: str, connector_id: int = 1, error_code: str = "NoError") -> Wanted:
    """Say which StatusNotification is to come."""
    return wanted(
        "StatusNotification", connector_id=connector_id, status=status, error_code=error_code
    )


class PlayedCentral(OcppLink):
    """A central system that keeps what it is told and answers as the test wants."""

    def __init__(self, now: Clock) -> None:
        super().__init__("central", response_timeout=SOON_S)
        self.now = now
        self.got: list[Message] = []
        #: (status, interval) of the next answers to BootNotification; the last one stays.
        self.boots: list[tuple[str, int]] = [("Accepted", 300)]
        #: The idTagInfo of each id tag; one that is not here is accepted.
        self.tags: dict[str, dict[str, str]] = {}
        self.next_transaction_id = 1001
        #: Changes of a status that a test allows beyond TRANSITIONS.
        self.also_allowed: set[tuple[str, str]] = set()
        #: May be replaced by a test.
        self.answers: dict[str, Answer] = {
            "Authorize": lambda asked: call_result.Authorize(self._info(asked)),  # type: ignore[arg-type]
            "BootNotification": self._answer_boot,
            "Heartbeat": lambda _: call_result.Heartbeat(to_ocpp(self.now())),
            "SignCertificate": lambda _: call_result.SignCertificate("Accepted"),  # type: ignore[arg-type]
            "StartTransaction": self._answer_start,
            "StopTransaction": lambda _: call_result.StopTransaction(),
            **{action: self._answer_plainly(action) for action in PLAIN},
        }
        for action in self.answers:
            self.route_map[action] = {"_on_action": functools.partial(self._hear, action)}
        self._seen = 0
        #: How many messages there were when each connection began, and each trigger of a status.
        self._began: list[int] = []
        self._news = asyncio.Event()

    # ── Answering ────────────────────────────────────────────────────────────────────────────

    async def _hear(self, action: str, **payload: Any) -> Any:
        at_s = asyncio.get_running_loop().time()
        if "timestamp" in payload and from_ocpp(payload["timestamp"]) > self.now():
            raise ValueError(f"{action} is of {payload['timestamp']}, which is yet to come")
        self.got.append(Message(at_s, action, payload))
        self._news.set()
        return self.answers[action](payload)

    def _info(self, asked: dict[str, Any]) -> dict[str, str]:
        return self.tags.get(asked["id_tag"], {"status": "Accepted"})

    def _answer_boot(self, _: dict[str, Any]) -> call_result.BootNotification:
        status, interval = self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]
        return call_result.BootNotification(to_ocpp(self.now()), interval, status)  # type: ignore[arg-type]

    def _answer_start(self, asked: dict[str, Any]) -> call_result.StartTransaction:
        self.next_transaction_id += 1
        transaction_id = self.next_transaction_id - 1
        return call_result.StartTransaction(transaction_id, self._info(asked))  # type: ignore[arg-type]

    @staticmethod
    def _answer_plainly(action: str) -> Answer:
        return lambda _: getattr(call_result, action)()

    async def ask(self, status: str, request: Any) -> Any:
        """Ask the charge point; its answer must have this status."""
        if getattr(request, "requested_message", "") == MessageTrigger.status_notification:
            self._began.append(len(self.got))
        answer = await self.call(request)
        assert str(answer.status) == status, f"{request} was answered with {answer}"
        return answer

    async def serve(self, connection: Connection) -> None:
        """Talk over `connection` until it closes."""
        self._began.append(len(self.got))
        await super().serve(connection)

    # ── What came ────────────────────────────────────────────────────────────────────────────

    def all(self, action: str) -> list[dict[str, Any]]:
        """Give all messages of that kind so far."""
        return [message.payload for message in self.got if message.action == action]

    def actions(self, first: int = 0) -> list[str]:
        """Name what has come, from number `first` on."""
        return [message.action for message in self.got[first:]]

    async def expect(
        self, action: str, within_s: float = SOON_S, **fields: object
    ) -> dict[str, Any]:
        """Wait for the next message: it must be this one, with at least these fields."""
        (message,) = await self.expect_each(wanted(action, **fields), within_s=within_s)
        return message.payload

    async def status(
        self,
        status: str,
        connector_id: int = 1,
        error_code: str = "NoError",
        within_s: float = SOON_S,
    ) -> dict[str, Any]:
        """Wait for the next message: it must be this StatusNotification."""
        what = wanted_status(status, connector_id, error_code)
        (message,) = await self.expect_each(what, within_s=within_s)
        return message.payload

    async def expect_each(
        self, *expected: Wanted, within_s: float = SOON_S, besides: Collection[str] = ANY_TIME
    ) -> list[Message]:
        """Wait for these messages in any order, as OCPP leaves it open; give them as named.

        :param besides: actions that are passed over unless they are named.
        """
        asked_for = {what.action for what in expected}
        found: dict[int, Message] = {}
        while len(found) < len(expected):
            missing = [what for n, what in enumerate(expected) if n not in found]
            message = await self._next(within_s, missing)
            if message.action in besides and message.action not in asked_for:
                continue
            fitting = [n for n, w in enumerate(expected) if n not in found and w.fits(message)]
            if not fitting:
                pytest.fail(f"{missing} was expected, {message} came after\n{self._told()}")
            found[fitting[0]] = message
        return [found[n] for n in range(len(expected))]

    async def hear_of(self, action: str, within_s: float = SOON_S, **fields: object) -> None:
        """Wait until such a message has come, wherever among the others, read or not."""
        what = wanted(action, **fields)
        try:
            async with asyncio.timeout(within_s):
                while not any(map(what.fits, self.got)):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"{what} has not come within {within_s:g} s, after\n{self._told()}")

    def check_statuses(self) -> None:
        """Check that each status told follows from the one before, as OCPP has it."""
        before: dict[int, str] = {}
        for number, message in enumerate(self.got):
            if number in self._began or message.action == "BootNotification":
                before.clear()
            if message.action == "StatusNotification":
                connector_id, status = message.payload["connector_id"], message.payload["status"]
                if connector_id == 0:
                    assert status in ("Available", "Unavailable", "Faulted"), f"{message}"
                former = before.get(connector_id)
                may_follow = (
                    former is None
                    or status in TRANSITIONS[former].split()
                    or (former, status) in self.also_allowed
                )
                assert may_follow, f"{former}, then {message}"
                before[connector_id] = status

    async def silence(self, for_s: float) -> None:
        """Wait that long: nothing may come."""
        first = self._seen
        await asyncio.sleep(for_s)
        came = [message for message in self.got[first:] if message.action not in ANY_TIME]
        assert not came, f"{came} came after\n{self._told()}"
        self._seen = len(self.got)

    def pass_over(self) -> None:
        """Take what has come as read."""
        self._seen = len(self.got)

    async def _next(self, within_s: float, missing: list[Wanted]) -> Message:
        try:
            async with asyncio.timeout(within_s):
                while self._seen >= len(self.got):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"{missing} has not come within {within_s:g} s, after\n{self._told()}")
        self._seen += 1
        return self.got[self._seen - 1]

    def _told(self) -> str:
        lines = [f"{m.at_s:9.3f} s {m.action} {m.payload}" for m in self.got[-12:]]
        return "\n".join(lines) or "nothing"
