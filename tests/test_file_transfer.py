"""Fetching and delivering files: what is done, and everything that must not be done."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evsim import file_transfer, virtual_time
from evsim.file_transfer import Fault, Retries, TransferError, download, upload


class Files(BaseHTTPRequestHandler):
    """Answers as the path says, and keeps what is PUT."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        if self.path == "/firmware.bin":
            self.answer(200, b"EVSIM-FIRMWARE 2\n")
        elif self.path == "/truncated":
            self.answer(200, b"half", length=8)
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/firmware.bin")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/large":
            self.answer(200, b"x", length=10**12)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 20))
        elif self.path == "/silent":
            self.server.is_asked.set()
            self.server.released.wait(20)
        else:
            self.answer(int(self.path.strip("/")))

    def do_PUT(self) -> None:
        self.server.asked.append(f"PUT {self.path}")
        self.server.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(403 if "denied" in self.path else 405 if "unable" in self.path else 201)

    def answer(self, status: int, body: bytes = b"", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output free of it."""


class Server(ThreadingHTTPServer):
    """A file server on the loopback interface."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Files)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        self.kept: dict[str, bytes] = {}
        self.is_asked = threading.Event()
        self.released = threading.Event()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        serving = threading.Thread(target=made.serve_forever, args=(0.01,))
        serving.start()
        yield made
        made.released.set()
        made.shutdown()
        serving.join()


def failure(transfer: Awaitable[object]) -> TransferError:
    """Give what a transfer fails with."""

    async def run() -> TransferError:
        with pytest.raises(TransferError) as caught:
            await transfer
        return caught.value

    return asyncio.run(run())


# ── http:// ──────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_fetched(server: Server) -> None:
    assert asyncio.run(download(f"{server.url}/firmware.bin")) == b"EVSIM-FIRMWARE 2\n"
    local = server.url.replace("127.0.0.1", "localhost")
    assert asyncio.run(download(f"{local}/firmware.bin")) == b"EVSIM-FIRMWARE 2\n"


def test_a_file_is_put_at_the_url_or_into_the_directory(server: Server) -> None:
    asyncio.run(upload(f"{server.url}/here?token=1", "a.log", b"text"))
    asyncio.run(upload(f"{server.url}/logs/", "CP%201.log", b"more"))
    assert server.kept == {"/here?token=1": b"text", "/logs/CP%25201.log": b"more"}


@pytest.mark.parametrize(
    ("path", "words", "fault"),
    [
        ("/404", "answered with 404", Fault.FAILED),
        ("/403", "answered with 403", Fault.DENIED),
        ("/501", "answered with 501", Fault.UNSUPPORTED),
        ("/moved", "no redirect", Fault.FAILED),
        ("/truncated", "4 bytes came of 8", Fault.PROTOCOL),
        ("/large", "larger than", Fault.UNSUPPORTED),
        ("/endless", "larger than", Fault.UNSUPPORTED),
    ],
)
def test_what_goes_wrong_is_said(server: Server, path: str, words: str, fault: Fault) -> None:
    error = failure(download(server.url + path))
    assert words in str(error)
    assert error.fault is fault
    assert server.asked == [f"GET {path}"]


def test_what_goes_wrong_with_an_upload_is_said(server: Server) -> None:
    assert failure(upload(f"{server.url}/denied", "a", b"")).fault is Fault.DENIED
    assert failure(upload(f"{server.url}/unable", "a", b"")).fault is Fault.UNSUPPORTED


def test_nobody_listens(free_port: int) -> None:
    assert "refused" in str(failure(download(f"http://127.0.0.1:{free_port}/a")))


def test_a_server_that_is_silent_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_transfer, "TIMEOUT_S", 0.2)
    assert "longer than 0.2 s" in str(failure(download(f"{server.url}/silent")))


def test_a_cancelled_transfer_holds_nobody_up(server: Server) -> None:
    async def cancel() -> None:
        transfer = asyncio.create_task(download(f"{server.url}/silent"))
        await asyncio.to_thread(server.is_asked.wait, 10)
        transfer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await transfer
        async with asyncio.timeout(5):  # the thread is gone too
            await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(cancel())


def test_what_speaks_no_http_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"SSH-2.0\r\n")

        serving = threading.Thread(target=answer)
        serving.start()
        error = failure(download(f"http://127.0.0.1:{listening.getsockname()[1]}/"))
        serving.join()
    assert error.fault is Fault.PROTOCOL


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/a",
        "https://127.0.0.1/a",
        "http://192.0.2.1/a",
        "http://example.com/a",
        "http://127.0.0.1.example.com/a",
        "http://user:secret@127.0.0.1/a",
        "http://127.0.0.1:port/a",
        "http://[::1/a",
        "http:///a",
        "//127.0.0.1/a",
        "",
        "/etc/passwd",
        "file://server/etc/passwd",
        "file:etc/passwd",
        "file:///etc/../etc/passwd",
        "file:///etc/%2e%2e/etc/passwd",
        "file:///etc/passwd%00.bin",
        "file:///dev/zero",
        "file:///",
    ],
)
def test_no_other_url_is_followed(url: str) -> None:
    error = failure(download(url))
    assert "secret" not in str(error)
    if url != "file:///":
        assert error.fault is Fault.UNSUPPORTED


def test_a_url_cannot_smuggle_a_request(server: Server) -> None:
    error = failure(download(f"{server.url}/a%20b c"))
    assert error.fault is Fault.UNSUPPORTED
    assert not server.asked


# ── file:// ──────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_read_and_written_without_a_thread(tmp_path: Path) -> None:
    async def copy() -> None:
        await upload(tmp_path.as_uri(), "a b.log", bytes(3 * file_transfer.CHUNK_BYTES) + b"end")
        content = await download((tmp_path / "a b.log").as_uri())
        assert content.endswith(b"end")
        assert len(content) == 3 * file_transfer.CHUNK_BYTES + 3

    virtual_time.run(copy())
    assert [path.name for path in tmp_path.iterdir()] == ["a b.log"]


def test_in_virtual_time_there_is_no_http(server: Server) -> None:
    async def run() -> None:
        with pytest.raises(TransferError, match="file://"):
            await download(f"{server.url}/firmware.bin")

    virtual_time.run(run())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("old")
    assert "exists" in str(failure(upload(tmp_path.as_uri(), "a.log", b"new")))
    assert (tmp_path / "a.log").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_is_not_a_directory_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    for name in ("a", "missing"):
        assert "cannot write" in str(failure(upload((tmp_path / name).as_uri(), "b", b"new")))
    assert (tmp_path / "a").read_text() == "old"


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("text")
    (tmp_path / "directory").symlink_to(tmp_path / "real")
    (tmp_path / "file").symlink_to(tmp_path / "real" / "a")
    for name in ("directory/a", "file"):
        assert "symbolic link" in str(failure(download((tmp_path / name).as_uri())))
    assert "symbolic link" in str(failure(upload((tmp_path / "directory").as_uri(), "b", b"")))
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["a"]


@pytest.mark.parametrize("dots", ["..", "%2e%2e", "..%2F"])
def test_no_way_leads_back_up(tmp_path: Path, dots: str) -> None:
    (tmp_path / "a").write_text("text")
    url = f"{tmp_path.as_uri()}/{dots}/{tmp_path.name}/a"
    assert "without '..'" in str(failure(download(url)))


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in str(failure(download((tmp_path / "fifo").as_uri())))


def test_a_large_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_transfer, "LARGEST_BYTES", 10)
    (tmp_path / "a").write_bytes(bytes(11))
    assert "larger than 10" in str(failure(download((tmp_path / "a").as_uri())))


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        error = failure(upload(tmp_path.as_uri(), "a.log", bytes(5000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write a.log" in str(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_directory_that_is_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert failure(upload(tmp_path.as_uri(), "a", b"")).fault is Fault.DENIED
    tmp_path.chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody may write")
def test_a_directory_where_nobody_may_write() -> None:
    assert "cannot write" in str(failure(upload("file:///proc", "a", b"")))


# ── Retries ──────────────────────────────────────────────────────────────────────────────────


def failing(
    times: int, fault: Fault = Fault.FAILED
) -> tuple[Callable[[], Awaitable[str]], list[float]]:
    """Make a transfer that fails so often, and the list of when it was tried."""
    tried_s: list[float] = []

    async def transfer() -> str:
        tried_s.append(asyncio.get_running_loop().time())
        if len(tried_s) <= times:
            raise TransferError("not now", fault)
        return "done"

    return transfer, tried_s


def test_it_is_tried_again_as_often_as_wanted() -> None:
    transfer, tried_s = failing(2)
    assert virtual_time.run(Retries.wanted(2, 30).of(transfer)) == "done"
    assert tried_s == [0, 30, 60]
    transfer, tried_s = failing(3)
    with pytest.raises(TransferError):
        virtual_time.run(Retries.wanted(2, 30).of(transfer))
    assert len(tried_s) == 3


def test_what_cannot_be_done_is_not_tried_again() -> None:
    transfer, tried_s = failing(1, Fault.UNSUPPORTED)
    with pytest.raises(TransferError):
        virtual_time.run(Retries(5, 1).of(transfer))
    assert len(tried_s) == 1


def test_absurd_wishes_are_bounded() -> None:
    assert Retries.wanted(10**400, 10**400) == Retries(100, 86_400)
    assert Retries.wanted(-1, -1) == Retries(0, 0)
    assert Retries.wanted(None, None) == Retries()
