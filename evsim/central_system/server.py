"""The WebSocket server of a central system: who may connect, one connection per charge point."""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from evsim.central_system.admission import Admission, Applicant
from evsim.errors import UserError
from evsim.ocpp_link import LARGEST_MESSAGE_BYTES, OPEN_TIMEOUT_S, PING_INTERVAL_S, SUBPROTOCOL
from evsim.security import common_name
from evsim.text import is_charge_point_id

#: Sockets at once, and those among them that have not (yet) become a charge point's.
MOST_CONNECTIONS = 5000
MOST_HANDSHAKES = 500
#: A charge point that connects twice: the first connection must answer a ping within this time,
#: else the second takes its place.
DUPLICATE_PING_S = 2.0
CLOSE_TIMEOUT_S = 2.0
#: What a refused applicant reads, whatever the reason.
REFUSAL = "refused\n"

log = logging.getLogger("evsim.central_system")

# Whoever scans the port with garbage is no event of ours; websockets would log a traceback each.
_websockets_log = logging.getLogger("websockets.evsim")
_websockets_log.addFilter(lambda record: "handshake failed" not in record.getMessage())


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
        self._connections: dict[str, ServerConnection] = {}
        self._sockets = 0

    @asynccontextmanager
    async def listen(self, host: str, port: int) -> AsyncIterator[Server]:
        """Listen while the context lasts; then close every connection.

        Raises UserError with one line if the address cannot be used.
        """
        _allow_many_sockets()
        owner = self

        class Counted(ServerConnection):
            """A connection that is dropped at once when there are too many."""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                owner._sockets += 1
                super().connection_made(transport)
                if owner.is_full():
                    self.transport.abort()

            def connection_lost(self, exc: Exception | None) -> None:
                owner._sockets -= 1
                super().connection_lost(exc)

        try:
            server = await serve(
                self._hold,
                host,
                port,
                create_connection=Counted,
                subprotocols=[SUBPROTOCOL],
                process_request=self._admit,
                compression=None,
                max_size=LARGEST_MESSAGE_BYTES,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=PING_INTERVAL_S,
                ssl=self._tls,
                ssl_handshake_timeout=OPEN_TIMEOUT_S if self._tls else None,
                close_timeout=CLOSE_TIMEOUT_S,
                logger=_websockets_log,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                text = "is in use; end what listens there or choose another with --port"
            else:
                text = f"cannot be listened on: {error.strerror or error}; check --host and --port"
            raise UserError(f"port {port} on {host} {text}") from error
        async with server:
            yield server

    def is_full(self) -> bool:
        """Whether one more socket is too many."""
        handshakes = self._sockets - len(self._connections)
        return self._sockets > MOST_CONNECTIONS or handshakes > MOST_HANDSHAKES

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
        refusal = self._admission.judge(applicant, asyncio.get_running_loop().time())
        if refusal is not None:
            return connection.respond(refusal, REFUSAL)
        former = self._connections.get(charge_point_id)
        if former is not None and await _is_alive(former):
            log.error(
                "ALARM: a second connection claims to be %s, which is connected; refused",
                charge_point_id,
            )
            return connection.respond(HTTPStatus.CONFLICT, REFUSAL)
        return None

    async def _hold(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        charge_point_id = charge_point_id_of(connection.request.path)
        assert charge_point_id is not None
        former = self._connections.pop(charge_point_id, None)
        if former is not None:
            log.warning("%s: its dead connection is replaced", charge_point_id)
            former.transport.abort()
            await former.wait_closed()
        self._connections[charge_point_id] = connection
        try:
            await self._talk(charge_point_id, connection)
        finally:
            if self._connections.get(charge_point_id) is connection:
                del self._connections[charge_point_id]


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

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 100
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _is_alive(connection: ServerConnection) -> bool:
    try:
        async with asyncio.timeout(DUPLICATE_PING_S):
            await (await connection.ping())
    except (TimeoutError, ConnectionClosed):
        return False
    return True
