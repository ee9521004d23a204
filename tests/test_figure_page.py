"""The plot as a page: what a real browser sees, and whom the page does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest
from browser import ANSWER_S, Browser
from conftest import Script, StartScript
from matplotlib.colors import to_rgb
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import plot_current
from evsim import figure_page
from evsim.bus import open_bus
from evsim.errors import UserError
from evsim.figure_page import FigurePage
from evsim.frames import MeasuredCurrent, encode

Image = npt.NDArray[np.float64]


def pixels_of(image: Image, colour: str) -> int:
    distance = np.abs(image[..., :3] - np.array(to_rgb(colour))).max(axis=-1)
    return int((distance < 0.03).sum())


# ── In a browser ─────────────────────────────────────────────────────────────────────────────


def start_page(start_script: StartScript, port: int = 0) -> tuple[Script, str]:
    plot = start_script("plot_current.py", "--web", "--web-port", str(port))
    line = plot.wait_for("Plotting CAN frame 0x300")
    found = re.search(r"on (http://127\.0\.0\.1:\d+/)$", line)
    assert found, line
    return plot, found[1]


def wait_for_colour(browser: Browser, colour: str, pixels: int) -> Image:
    """Look at the page until there are more than `pixels` of `colour` on it."""
    given_up_s = time.monotonic() + ANSWER_S
    while pixels_of(image := browser.screenshot(), colour) <= pixels:
        found = pixels_of(image, colour)
        assert time.monotonic() < given_up_s, f"{found} pixels of {colour}, not {pixels}"
    return image


@pytest.mark.display
@pytest.mark.processes
@pytest.mark.timeout(240)
def test_a_browser_sees_the_figure_change_and_the_indicator_appear(
    start_script: StartScript, can_channel: str, free_port: int, tmp_path: Path
) -> None:
    plot, address = start_page(start_script, free_port)
    with open_bus("evsim", can_channel) as bus, Browser(tmp_path) as browser:
        browser.open(address)
        browser.wait_until("document.title === 'Charging current'")
        calm = wait_for_colour(browser, plot_current.BLACK, 20)
        assert pixels_of(calm, plot_current.RED) == 0

        for current_a in [0, 100, 0, 100, 0, 100, 0]:
            bus.send(encode(MeasuredCurrent(current_a)))
        plot.wait_for("ANOMALY DETECTED")
        alarmed = wait_for_colour(browser, plot_current.RED, 2000)
        assert pixels_of(alarmed, plot_current.BLUE) > pixels_of(calm, plot_current.BLUE)
        assert browser.evaluate("document.getElementById('problem').hidden")

        plot.send_signal(signal.SIGTERM)
        assert plot.wait() == 0
        browser.wait_until("!document.getElementById('problem').hidden")
        start_page(start_script, free_port)  # the page finds it again by itself
        browser.wait_until("document.getElementById('problem').hidden")
        given_up_s = time.monotonic() + ANSWER_S
        while pixels_of(browser.screenshot(), plot_current.RED):
            assert time.monotonic() < given_up_s, "the former figure is still shown"


@pytest.mark.processes
def test_a_port_that_is_taken_is_one_clear_line(start_script: StartScript) -> None:
    _, address = start_page(start_script)
    port = address.rstrip("/").rpartition(":")[2]
    second = start_script("plot_current.py", "--web-port", port)
    assert second.wait() == 1
    assert len(second.lines) == 1
    assert f"cannot serve the plot on 127.0.0.1:{port}" in second.output
    assert "--web-port" in second.output


# ── The page's server ────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[tuple[FigurePage, str]]:
    page = FigurePage("A figure", (4, 3))
    axes = page.figure.add_axes((0.1, 0.1, 0.8, 0.8))
    (line,) = axes.plot([0, 1], [0, 1], color="#ff0000", linewidth=20)
    page.show([line])
    async with page.listen(0) as address:
        yield page, address


def connect_as_page(address: str, **options: Any) -> connect:
    at = address.removeprefix("http://").rstrip("/")
    return connect(f"ws://{at}/socket", origin=f"http://{at}", proxy=None, max_size=None, **options)  # type: ignore[arg-type]


async def next_picture(socket: ClientConnection) -> tuple[str, Image]:
    """Return a picture's mode and its pixels; WebAgg says the mode when it changes."""
    mode = "full"
    async with asyncio.timeout(30):
        while isinstance(message := await socket.recv(), str):
            said = json.loads(message)
            mode = said.get("mode", mode)
    return mode, np.asarray(matplotlib.image.imread(io.BytesIO(message)), dtype=np.float64)


async def read_to_the_end(socket: ClientConnection) -> None:
    async with asyncio.timeout(30):
        while True:
            await socket.recv()


def test_a_page_gets_the_whole_figure_then_what_changes() -> None:
    async def look() -> None:
        async with served() as (page, address), connect_as_page(address) as socket:
            await socket.send(json.dumps({"type": "refresh"}))
            mode, whole = await next_picture(socket)
            assert mode == "full"
            assert whole.shape == (300, 400, 4)
            assert pixels_of(whole, "#ff0000") > 1000

            page.figure.axes[0].lines[0].set_color("#0000ff")
            page.redraw()
            mode, difference = await next_picture(socket)
            assert mode == "diff"
            changed = difference[difference[..., 3] > 0]
            assert 1000 < len(changed) < 30_000, "what did not change is transparent"
            assert pixels_of(difference, "#0000ff") > 1000

    asyncio.run(look())


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        '{"type": []}',
        '{"type": "resize", "width": 100000, "height": 100000}',
        '{"type": "set_device_pixel_ratio", "device_pixel_ratio": "NaN"}',
        '{"type": "set_device_pixel_ratio", "device_pixel_ratio": 1e300}',
        '{"type": "set_device_pixel_ratio", "device_pixel_ratio": -1}',
        '{"type": "key_press", "key": "q"}',
        "[" * 4000,
        b"\x00\xff",
    ],
)
def test_nonsense_from_a_page_changes_nothing(nonsense: str | bytes) -> None:
    async def look() -> None:
        async with served() as (_, address), connect_as_page(address) as socket:
            await socket.send(nonsense)
            await socket.send(json.dumps({"type": "refresh"}))
            _, whole = await next_picture(socket)
            assert whole.shape in {(300, 400, 4), (600, 800, 4)}, "at most twice as sharp"

    asyncio.run(look())


def test_a_message_that_is_too_long_closes_its_own_socket_only() -> None:
    async def look() -> None:
        async with served() as (_, address), connect_as_page(address) as other:
            async with connect_as_page(address) as socket:
                await socket.send("x" * 100_000)
                with pytest.raises(ConnectionClosed):
                    await read_to_the_end(socket)
            await other.send(json.dumps({"type": "refresh"}))
            await next_picture(other)

    asyncio.run(look())


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None, "https://127.0.0.1"])
def test_a_foreign_page_does_not_get_the_socket(origin: str | None) -> None:
    async def look() -> None:
        async with served() as (_, address):
            socket = f"ws://{address.removeprefix('http://')}socket"
            with pytest.raises(InvalidStatus) as refused:
                async with connect(socket, origin=origin, proxy=None):  # type: ignore[arg-type]
                    pass
            assert refused.value.response.status_code == 403

    asyncio.run(look())


def in_thread(work: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
    return asyncio.to_thread(work)


def fetch(address: str, **headers: str) -> tuple[int, str, Any]:
    request = urllib.request.Request(address, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def test_the_page_and_its_parts_are_served_and_nothing_else() -> None:
    async def look() -> None:
        async with served() as (_, address):
            status, text, headers = await in_thread(lambda: fetch(address))
            assert status == 200
            assert "default-src 'self'" in headers["Content-Security-Policy"]
            for part in re.findall(r'(?:href|src)="(figure_page[^"]+)"', text):
                status, body, _ = await in_thread(partial(fetch, address + part))
                assert (status, len(body) > 100) == (200, True), part
            for path in ("figure_page.py", "../pyproject.toml", "%2e%2e/pyproject.toml", "x?y"):
                status, _, _ = await in_thread(partial(fetch, address + path))
                assert status == 404, path

    asyncio.run(look())


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8988", "[", "10.0.0.1"])
def test_a_foreign_name_that_leads_here_is_refused(host: str) -> None:
    async def look() -> None:
        async with served() as (_, address):
            status, text, _ = await in_thread(lambda: fetch(address, Host=host))
            assert status == 403
            assert "127.0.0.1 and localhost only" in text

    asyncio.run(look())


def test_localhost_is_one_of_our_names() -> None:
    async def look() -> None:
        async with served() as (_, address):
            status, _, _ = await in_thread(lambda: fetch(address, Host="localhost:1234"))
            assert status == 200

    asyncio.run(look())


def test_no_more_pages_than_can_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_page, "MOST_PAGES", 2)

    async def look() -> None:
        async with served() as (_, address), connect_as_page(address), connect_as_page(address):
            with pytest.raises(InvalidStatus) as refused:
                async with connect_as_page(address):
                    pass
            assert refused.value.response.status_code == 503

    asyncio.run(look())


def test_a_page_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_page, "MOST_WAITING", 8)

    async def look() -> None:
        async with served() as (page, address):
            sockets: Any = page._manager.web_sockets
            async with connect_as_page(address, max_queue=1) as socket:
                noise = np.random.default_rng(1)
                for _ in range(200):
                    page.figure.images.clear()
                    page.figure.figimage(noise.random((300, 400)))
                    page.redraw()
                    await asyncio.sleep(0)
                    if not sockets:
                        break
                assert not sockets, "pictures pile up for a page that does not read"
                with pytest.raises(ConnectionClosed):
                    await read_to_the_end(socket)

    asyncio.run(look())


def test_the_default_port_gives_way_to_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            monkeypatch.setattr(figure_page, "DEFAULT_PORT", port)
            page = FigurePage("A figure", (4, 3))
            async with page.listen(None) as address:
                assert address != f"http://127.0.0.1:{port}/"
                status, _, _ = await in_thread(lambda: fetch(address))
                assert status == 200
            with pytest.raises(UserError, match="cannot serve the plot"):
                async with page.listen(port):
                    pass

    asyncio.run(look())
