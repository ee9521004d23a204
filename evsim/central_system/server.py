"""The WebSocket server of a central system: who may connect, one connection per charge point."""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from evsim.central_system.admission import Admission, Applicant
from evsim.errors import UserError
from evsim.ocpp_link import LARGEST_MESSAGE_BYTES, OPEN_TIMEOUT_S, PING_INTERVAL_S, SUBPROTOCOL
from evsim.security import common_name
from evsim.text import is_charge_point_id

#: Sockets at once, and those among them that have not (yet) become a charge point's. When there
#: is one more, the handshake that has taken longest gives way: idle sockets lock nobody out.
MOST_CONNECTIONS = 5000
MOST_HANDSHAKES = 500
#: What may wait for a peer that does not read (it is sent pongs as fast as it sends pings).
MOST_UNREAD_BYTES = 1024 * 1024
#: A charge point that connects twice: the first connection must answer a ping within this time,
#: else the second takes its place.
DUPLICATE_PING_S = 2.0
CLOSE_TIMEOUT_S = 2.0
POLICY_VIOLATION = 1008
#: What a refused applicant reads, whatever the reason.
REFUSAL = "refused\n"

log = logging.getLogger("evsim.central_system")


@dataclass
class _Session:
    """A charge point's connection, and word of its end."""

    connection: ServerConnection
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class OcppServer:
    """Lets charge points in and hands their connections on.

    :param talk: holds the session with a charge point until its connection closes.
    :param admission: decides who may connect.
    :param tls: for the profiles that encrypt.
    """

    def __init__(
        self,
        talk: Callable[[str, ServerConnection], Awaitable[None]],
        admission: Admission,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._talk = talk
        self._admission = admission
        self._tls = tls
        self._sessions: dict[str, _Session] = {}
        #: Those that are no session (yet), the oldest first.
        self._handshakes: dict[_Connection, None] = {}

    @asynccontextmanager
    async def listen(self, host: str, port: int) -> AsyncIterator[Server]:
        """Listen while the context lasts; then close every connection.

        Raises UserError with one line if the address cannot be used.
        """
        _allow_many_sockets()

        def create_connection(*arguments: Any, **options: Any) -> _Connection:
            connection = _Connection(*arguments, **options, handshakes=self._handshakes)
            self._make_room()
            return connection

        try:
            server = await serve(
                self._hold,
                host,
                port,
                create_connection=create_connection,  # type: ignore[arg-type]
                subprotocols=[SUBPROTOCOL],
                process_request=self._admit,
                compression=None,
                max_size=LARGEST_MESSAGE_BYTES,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=PING_INTERVAL_S,
                server_header=None,  # who refuses need not tell its version
                ssl=self._tls,
                ssl_handshake_timeout=OPEN_TIMEOUT_S if self._tls else None,
                close_timeout=CLOSE_TIMEOUT_S,
            )
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                text = "is in use; end what listens there or choose another with --port"
            else:
                text = f"cannot be listened on: {error}; check --host and --port"
            raise UserError(f"port {port} on {host} {text}") from error
        async with server:
            try:
                yield server
            finally:
                for connection in list(self._handshakes):
                    connection.drop()

    def _make_room(self) -> None:
        sockets = len(self._sessions) + len(self._handshakes)
        if sockets > MOST_CONNECTIONS or len(self._handshakes) > MOST_HANDSHAKES:
            next(iter(self._handshakes)).drop()

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide before the upgrade; a response refuses the connection."""
        charge_point_id = charge_point_id_of(request.path)
        if charge_point_id is None:
            return connection.respond(HTTPStatus.NOT_FOUND, REFUSAL)
        tls = connection.transport.get_extra_info("ssl_object")
        applicant = Applicant(
            charge_point_id,
            str(connection.remote_address[0]),
            authorization=" ".join(request.headers.get_all("Authorization")[:1]),
            certificate_name=common_name(tls),
        )
        now_s = asyncio.get_running_loop().time()
        refusal = self._admission.judge(applicant, now_s)
        if refusal is not None:
            return connection.respond(refusal, REFUSAL)
        former = self._sessions.get(charge_point_id)
        if former is None:
            return None
        if await _is_alive(former.connection):
            _raise_alarm(charge_point_id, applicant.address)
            self._admission.count_refusal(applicant, now_s)
            return connection.respond(HTTPStatus.CONFLICT, REFUSAL)
        log.warning("%s: its dead connection is replaced", charge_point_id)
        former.connection.transport.abort()
        await former.ended.wait()
        return None

    async def _hold(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        charge_point_id = charge_point_id_of(connection.request.path)
        assert charge_point_id is not None
        if charge_point_id in self._sessions:  # another was quicker while this one was let in
            _raise_alarm(charge_point_id, connection.remote_address[0])
            await connection.close(POLICY_VIOLATION, REFUSAL.strip())
            return
        session = self._sessions[charge_point_id] = _Session(connection)
        assert isinstance(connection, _Connection)
        connection.end_handshake()
        try:
            await self._talk(charge_point_id, connection)
        finally:
            del self._sessions[charge_point_id]
            session.ended.set()


class _Connection(ServerConnection):
    """A connection that is known from the moment when its socket is accepted.

    :param handshakes: it is in here until it becomes a session or is gone.
    """

    def __init__(
        self, *arguments: Any, handshakes: dict[_Connection, None], **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._handshakes = handshakes
        self._handshakes[self] = None
        # asyncio accepts each socket in a task of its own, which lasts until TLS is established.
        accepting = asyncio.current_task()
        assert accepting is not None
        self._accepting = accepting
        self._accepting.add_done_callback(self._accepted)

    def end_handshake(self) -> None:
        """Count it no longer among the handshakes."""
        self._handshakes.pop(self, None)

    def drop(self) -> None:
        """Close the socket at once, whatever state it is in."""
        self.end_handshake()
        if not self._accepting.done():
            self._accepting.cancel()
        elif self._is_established():
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Drop a peer that sends and doesn't read."""
        super().data_received(data)
        if self.transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.end_handshake()
        super().connection_lost(exc)

    def _accepted(self, _: asyncio.Task[Any]) -> None:
        if not self._is_established():  # TLS failed: connection_lost() is never called
            self.end_handshake()

    def _is_established(self) -> bool:
        return hasattr(self, "transport")


def _raise_alarm(charge_point_id: str, address: str) -> None:
    log.error(
        "ALARM: a second connection, from %s, claims to be %s, which is connected; refused",
        address,
        charge_point_id,
    )


def charge_point_id_of(path: str) -> str | None:
    """Read the charge point id: the last path segment, percent-decoded; None if there is none."""
    try:
        segment = urlsplit(path).path.rsplit("/", 1)[-1]
        charge_point_id = unquote(segment, errors="strict")
    except ValueError:
        return None
    return charge_point_id if is_charge_point_id(charge_point_id) else None


def _allow_many_sockets() -> None:
    """Raise the limit of open files, 1,024 or less by default, as far as the system allows."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 100
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _is_alive(connection: ServerConnection) -> bool:
    try:
        async with asyncio.timeout(DUPLICATE_PING_S):
            await (await connection.ping())
    except (TimeoutError, ConnectionClosed):
        return False
    return True
