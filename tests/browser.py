"""A real Chromium without a window, driven over its DevTools protocol.

with Browser(tmp_path) as browser:
    browser.open("http://127.0.0.1:8988/")
    browser.evaluate("document.title")
    browser.screenshot()
"""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest
from websockets.sync.client import connect

#: The first start of Chromium on a busy machine takes its time.
ANSWER_S = 60.0
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1000,760",
    "--remote-debugging-port=0",
)


def chromium() -> str:
    """Return the path of Chromium; skip the test without one, unless CI asks for it."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    if os.environ.get("EVSIM_REQUIRE_DISPLAY_TESTS"):
        pytest.fail("no Chromium is installed")
    pytest.skip("no Chromium is installed")


class Browser:
    """One Chromium with one page; `directory` is for its profile."""

    def __init__(self, directory: Path) -> None:
        self._profile = directory / "chromium"
        self._log = directory / "chromium.log"
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        command = [chromium(), *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that its helpers end with it
            )
        with contextlib.ExitStack() as stack:
            stack.callback(self._end)
            address = self._page_address()
            self._page = stack.enter_context(
                connect(address, max_size=None, proxy=None, compression=None)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _page_address(self) -> str:
        given_up_s = time.monotonic() + ANSWER_S
        while time.monotonic() < given_up_s and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                port = (self._profile / "DevToolsActivePort").read_text().split()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                    for target in json.load(answer):
                        if target["type"] == "page":
                            return str(target["webSocketDebuggerUrl"])
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        pytest.fail(f"Chromium opened no page:\n{self._log.read_text(errors='replace')}")

    def _ask(self, method: str, **parameters: object) -> Any:
        number = next(self._numbers)
        self._page.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._page.recv(timeout=ANSWER_S))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, address: str) -> None:
        """Go to `address`."""
        assert "errorText" not in self._ask("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        given_up_s = time.monotonic() + ANSWER_S
        while not self.evaluate(expression):
            assert time.monotonic() < given_up_s, f"never true: {expression}"

    def screenshot(self) -> npt.NDArray[np.float64]:
        """Return what the page shows: rows × columns × channels from 0 to 1."""
        picture = base64.b64decode(self._ask("Page.captureScreenshot")["data"])
        return np.asarray(matplotlib.image.imread(io.BytesIO(picture)), dtype=np.float64)
