"""A live figure as a page in a browser on this machine, through Matplotlib's WebAgg.

WebAgg's core makes the pictures and speaks with the page. Its own server is not used: that one
needs Tornado, listens to whatever page of the web the browser has open, and lets it resize and
redraw the figure as it likes. Here the WebSocket library that the project has anyway serves it:

    GET /  /figure_page.js  /figure_page.css     the page
    GET /socket                                  its WebSocket

Only what is asked under a name of this machine is answered, and only the page itself may open the
WebSocket. So neither a foreign page (by its Origin) nor a foreign name that leads to 127.0.0.1
("DNS rebinding", by Host) gets to the figure. A port that ssh forwards works.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from matplotlib.artist import Artist
from matplotlib.backends.backend_webagg_core import FigureCanvasWebAggCore, FigureManagerWebAgg
from matplotlib.figure import Figure
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from evsim.errors import UserError
from evsim.figure_window import Redrawer

DEFAULT_PORT = 8988
HOST = "127.0.0.1"
#: What a browser on this machine may call it.
OUR_NAMES = {"127.0.0.1", "localhost", "::1"}
SOCKET = "/socket"
#: Pages that are open at once.
MOST_PAGES = 16
#: Messages that wait for a page that does not read; then it is given up, and connects anew.
MOST_WAITING = 64
LARGEST_MESSAGE_BYTES = 4096
#: Pages that come at the same time get one whole redraw.
REFRESH_AFTER_S = 0.05
#: Sharper than this no screen needs it, and drawing takes the square of it.
HIGHEST_PIXEL_RATIO = 2.0
FILES = {
    "/": ("figure_page.html", "text/html; charset=utf-8"),
    "/figure_page.js": ("figure_page.js", "text/javascript; charset=utf-8"),
    "/figure_page.css": ("figure_page.css", "text/css; charset=utf-8"),
}
HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
    "style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

# What strangers do wrong in the handshake is no news for the terminal.
_handshakes = logging.getLogger("evsim.figure_page.handshakes")
_handshakes.setLevel(logging.CRITICAL)


class _Canvas(FigureCanvasWebAggCore):
    supports_blit = True  # the core can, but says that it has bugs; the page here has not


class _Page:
    """One open page, as WebAgg's core wants it."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[str | bytes] = asyncio.Queue(MOST_WAITING)
        self.given_up = asyncio.Event()

    def send_json(self, content: object) -> None:
        """Send one of the core's messages."""
        self._send(json.dumps(content))

    def send_binary(self, png: bytes) -> None:
        """Send a picture."""
        self._send(png)

    def _send(self, message: str | bytes) -> None:
        try:
            self.waiting.put_nowait(message)
        except asyncio.QueueFull:  # a difference that is left out would stay wrong
            self.given_up.set()


class FigurePage:
    """Shows a figure to all pages that are open."""

    def __init__(self, title: str, size_in: tuple[float, float]) -> None:
        self.figure = Figure(figsize=size_in)
        canvas: Any = _Canvas  # WebAgg has no annotations
        manager: Any = FigureManagerWebAgg
        self._canvas = canvas(self.figure)
        self._manager = manager(self._canvas, 1)
        self._manager.set_window_title(title)
        self._redrawer: Redrawer | None = None
        self._pixel_ratio = 1.0
        self._refresh: asyncio.TimerHandle | None = None
        self.serve_every_s = float("inf")

    def show(self, changing: Iterable[Artist]) -> None:
        """Begin to redraw."""
        self._redrawer = Redrawer(self.figure, changing)

    def redraw(self) -> None:
        """Show the figure as it is now to whoever looks."""
        if self._manager.web_sockets and self._redrawer is not None:
            self._redrawer.redraw()

    def serve(self) -> None:
        """Nothing to do: pages are answered by the event loop."""

    @contextlib.asynccontextmanager
    async def listen(self, port: int | None) -> AsyncIterator[str]:
        """Serve the page while the context lasts, which is given its address.

        :param port: None: DEFAULT_PORT, or a free one if that is taken.

        Raises UserError if the port can't be used.
        """
        async with await self._server(port) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            try:
                yield f"http://{HOST}:{port}/"
            finally:
                if self._refresh is not None:
                    self._refresh.cancel()

    async def _server(self, port: int | None) -> Server:
        try:
            return await serve(
                self._talk,
                HOST,
                DEFAULT_PORT if port is None else port,
                process_request=self._answer,
                compression=None,  # pictures are compressed
                max_size=LARGEST_MESSAGE_BYTES,
                close_timeout=1,
                logger=_handshakes,
            )
        except OSError as error:
            if port is None and error.errno == errno.EADDRINUSE:
                return await self._server(0)
            raise UserError(
                f"cannot serve the plot on {HOST}:{port}: {error.strerror}; choose another with "
                "--web-port, or 0 for a free one"
            ) from error

    def _answer(self, _: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if (why := refusal(request.headers, is_socket=path == SOCKET)) is not None:
            return _response(HTTPStatus.FORBIDDEN, why)
        if path == SOCKET:
            if len(self._manager.web_sockets) >= MOST_PAGES:
                return _response(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages are open\n")
            return None
        if path not in FILES:
            return _response(HTTPStatus.NOT_FOUND, "there is nothing here\n")
        name, kind = FILES[path]
        return _response(HTTPStatus.OK, (Path(__file__).parent / name).read_text("utf-8"), kind)

    async def _talk(self, connection: ServerConnection) -> None:
        page = _Page()
        self._manager.add_web_socket(page)
        tasks = [
            asyncio.create_task(work)
            for work in (
                _hand_on(page, connection),
                self._listen_to(connection),
                page.given_up.wait(),
            )
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._manager.remove_web_socket(page)
            for task in tasks:
                task.cancel()
            if page.given_up.is_set():
                connection.transport.abort()

    async def _listen_to(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                self._obey(text)

    def _obey(self, text: str | bytes) -> None:
        """Do what a page asks for; of all that WebAgg's pages may, only this."""
        try:
            message = json.loads(text)
            kind = message["type"]
            ratio = float(message.get("device_pixel_ratio", 1))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return
        if kind == "set_device_pixel_ratio" and ratio > self._pixel_ratio:
            # The sharpest screen counts: there is one figure for all.
            self._pixel_ratio = min(ratio, HIGHEST_PIXEL_RATIO)
        elif kind == "refresh" and self._refresh is None:
            loop = asyncio.get_running_loop()
            self._refresh = loop.call_later(REFRESH_AFTER_S, self._draw_whole)

    def _draw_whole(self) -> None:
        self._refresh = None
        self._canvas.handle_event(
            {"type": "set_device_pixel_ratio", "device_pixel_ratio": self._pixel_ratio}
        )
        self._canvas.handle_event({"type": "refresh"})  # the next picture is a whole one
        self._canvas.draw()


async def _hand_on(page: _Page, connection: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.send(await page.waiting.get())


def refusal(headers: Headers, *, is_socket: bool) -> str | None:
    """Say why a request does not come from our own page in a browser, or None if it does."""
    hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
    if len(hosts) != 1 or _name_in(f"http://{hosts[0]}") not in OUR_NAMES:
        return "this page is served under 127.0.0.1 and localhost only\n"
    if is_socket and origins != [f"http://{hosts[0]}"]:
        return "another page may not look at the plot\n"
    return None


def _name_in(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _response(status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> Response:
    body = text.encode()
    headers = Headers({**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))})
    return Response(status.value, status.phrase, headers, body)
