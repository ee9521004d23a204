"""Keep a charge point connected to its central system, whatever happens to either."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    InvalidMessage,
    InvalidStatus,
    NegotiationError,
    WebSocketException,
)

from evsim.errors import UserError
from evsim.ocpp_link import LARGEST_MESSAGE_BYTES, OPEN_TIMEOUT_S, PING_INTERVAL_S, SUBPROTOCOL

log = logging.getLogger("evsim.ocpp")


@dataclass(frozen=True)
class BackOff:
    """Waits between attempts: doubling from `first_s` to `longest_s`, each shortened by chance.

    The doubling begins anew only after a connection that held for `stable_s`: a server that
    accepts and closes at once is not hammered.
    """

    first_s: float = 0.25
    longest_s: float = 2.0
    stable_s: float = 5.0


@dataclass(frozen=True)
class Endpoint:
    """Where and how to connect.

    :param ping_interval_s: between WebSocket pings; None for none.
    """

    url: str
    authorization: str | None = None
    tls: ssl.SSLContext | None = None
    ping_interval_s: float | None = PING_INTERVAL_S


def endpoint_url(url: str, charge_point_id: str) -> str:
    """Return the WebSocket URL of a charge point: `url` with the percent-encoded id appended.

    Raises UserError if `url` is no WebSocket URL.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        valid = (
            parts.scheme in ("ws", "wss") and bool(host) and url.isprintable() and " " not in url
        )
        valid = valid and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:
        valid = False
    else:
        if parts.username is not None:
            raise UserError("--url holds a user name; keys do not belong there: use --key-file")
    if not valid:
        raise UserError(
            f"--url {url!r} is no WebSocket URL; ws://HOST:PORT or wss://HOST:PORT is expected, "
            "e.g. ws://127.0.0.1:9000"
        )
    return f"{url.rstrip('/')}/{quote(charge_point_id, safe='')}"


async def keep_connected(
    endpoint: Callable[[], Endpoint],
    talk: Callable[[ClientConnection], Awaitable[None]],
    *,
    back_off: BackOff = BackOff(),
    rng: np.random.Generator,
    on_failure: Callable[[Exception], None] = lambda _: None,
) -> None:
    """Connect and `talk` until that connection closes; again and again, for ever.

    `endpoint` is asked before each attempt, so that keys and profiles can change. Each kind of
    failure is logged once, until a connection succeeds, and `on_failure` told of it as often.
    """
    loop = asyncio.get_running_loop()
    wait_s = back_off.first_s
    to = endpoint()
    said = ""

    def say(text: str, error: Exception) -> None:
        nonlocal said
        if text != said:
            log.warning("no connection to %s: %s; trying on", to.url, text)
            on_failure(error)
        said = text

    while True:
        began_s = loop.time()
        headers = {"Authorization": to.authorization} if to.authorization else None
        try:
            async with connect(
                to.url,
                additional_headers=headers,
                ssl=to.tls,
                subprotocols=[SUBPROTOCOL],
                proxy=None,
                compression=None,
                max_size=LARGEST_MESSAGE_BYTES,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=to.ping_interval_s,
            ) as connection:
                if connection.subprotocol != SUBPROTOCOL:
                    raise NegotiationError(f"it does not speak {SUBPROTOCOL}")
                said = ""
                await talk(connection)
            log.warning("the connection to %s is lost; connecting again", to.url)
        except (OSError, TimeoutError, WebSocketException) as error:
            say(_explain(error), error)
        if loop.time() - began_s >= back_off.stable_s:
            wait_s = back_off.first_s
        await asyncio.sleep(wait_s * rng.uniform(0.5, 1.0))
        wait_s = min(2 * wait_s, back_off.longest_s)
        try:
            to = endpoint()
        except UserError as error:  # a certificate is being replaced, say: as before, then
            say(str(error), error)


_REFUSALS = {
    401: "it does not know this id, or not with this key or certificate",
    404: "it takes no such id",
    409: "this id is connected already",
    429: "after too many failures",
}


def _explain(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        reason = _REFUSALS.get(status, "for a reason of its own")
        return f"the central system refuses with HTTP {status}: {reason}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); see --ca"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there; is csms.py running?"
    text = str(error) or type(error).__name__
    if isinstance(error, ssl.SSLError | InvalidMessage | ConnectionResetError):
        text += "; does the other end use another security profile?"
    return text
