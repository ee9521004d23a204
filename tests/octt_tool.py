"""The charge point of the compliance tests: it says what the test says, and takes nothing amiss.

It speaks JSON as it is on the wire and allows only what the text of OCPP 1.6 does: no second CALL
before the first is answered, no id twice, no payload that breaks a schema, no CALLERROR, and no
CALL that the test doesn't expect, not even at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Mapping
from typing import Any

import pytest

from evsim.ocpp_link import Connection
from evsim.ocpp_schemas import check_request, check_response
from evsim.ocpp_wire import LONGEST_ID

Payload = dict[str, Any]

#: Virtual, or what a busy machine may take: longer than the central system waits for any answer.
PATIENCE_S = 60.0


class Tool:
    """A charge point's end of a connection; the test says what it says, and when.

    It reads only when the test waits for something, so that what goes wrong fails the test there.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._numbers = 0
        self._asked: deque[tuple[str, str, Payload]] = deque()
        self._unanswered: str | None = None
        self._ids: set[str] = set()

    async def call(self, action: str, payload: Mapping[str, Any] | None = None) -> Payload:
        """Send a CALL and give the CALLRESULT's payload; anything else fails the test."""
        self._numbers += 1
        unique_id = f"tool-{self._numbers}"
        message = dict(payload or {})
        check_request(action, message)
        await self.connection.send(json.dumps([2, unique_id, action, message]))
        while (answer := await self._receive()) is None:
            pass
        assert answer[0] == 3, f"{action} was answered with a CALLERROR: {answer}"
        assert answer[1] == unique_id, f"nobody asked for {answer}"
        check_response(action, answer[2])
        return dict(answer[2])

    async def expect(self, action: str) -> Payload:
        """Wait for the next CALL, which must be of that action, and give its payload."""
        asked, payload = await self.expect_any()
        assert asked == action, f"{action} was expected, but it asks for {asked}: {payload}"
        return payload

    async def expect_any(self) -> tuple[str, Payload]:
        """Wait for the next CALL and give its action and payload."""
        while not self._asked:
            answer = await self._receive()
            assert answer is None, f"nobody asked for {answer}"
        self._unanswered, action, payload = self._asked.popleft()
        return action, payload

    async def answer(self, payload: Mapping[str, Any]) -> None:
        """Answer the CALL that expect() gave; the payload may be nonsense."""
        await self._reply([3, self._unanswered, payload])

    async def refuse(self, code: str, description: str = "", details: object = None) -> None:
        """Answer it with a CALLERROR."""
        await self._reply([4, self._unanswered, code, description, details or {}])

    async def _reply(self, message: list[Any]) -> None:
        assert self._unanswered is not None
        self._unanswered = None
        await self.connection.send(json.dumps(message))

    async def nothing_for(self, duration_s: float) -> None:
        """Fail the test if anything comes in that time."""
        assert not self._asked, f"it asks for {self._asked}"
        with contextlib.suppress(TimeoutError):
            raw = await asyncio.wait_for(self.connection.recv(), duration_s)
            pytest.fail(f"nothing was expected, but this came: {raw!r}")

    async def close(self) -> None:
        """Leave; what the central system asked without being expected to fails the test."""
        await self.connection.close()
        assert not self._asked, f"it asked for {self._asked}"

    async def _receive(self) -> list[Any] | None:
        """Take the next message: give an answer, or queue a CALL and give None."""
        async with asyncio.timeout(PATIENCE_S):
            raw = await self.connection.recv()
        assert isinstance(raw, str), "OCPP-J is text"
        message = json.loads(raw)
        if message[0] != 2:
            return list(message)
        _, unique_id, action, payload = message
        assert isinstance(unique_id, str), f"the id of {message} is no text"
        assert 0 < len(unique_id) <= LONGEST_ID, f"the id of {message} is too long or empty"
        assert unique_id not in self._ids, f"it used the id of {message} before"
        assert self._unanswered is None, f"{message} comes before the last CALL is answered"
        assert not self._asked, f"{message} comes before {self._asked[0]} is answered"
        check_request(action, payload)
        self._ids.add(unique_id)
        self._asked.append((unique_id, action, payload))
        return None
