"""Fetch and deliver files, as a central system asks by URL: file:// and http:// on this machine.

A central system that may name any URL could make a charge point read or write whatever its user
can, and talk to whatever it can reach. So: `http` only on the loopback interface, without
redirects, proxies or credentials; `file` only regular files without a symbolic link on the way;
nothing is ever overwritten; all has a size and a time limit.

http:// is done in a thread, so it needs an event loop that has some; file:// needs none.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import http.client
import ipaddress
import logging
import os
import secrets
import socket
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from io import FileIO
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import url2pathname

#: The largest file that is fetched.
LARGEST_BYTES = 16 * 1024 * 1024
#: For one attempt over http, all in all.
TIMEOUT_S = 60.0
#: How long the other end may be silent.
SILENCE_S = 10.0
#: Between two chunks other tasks have their turn.
CHUNK_BYTES = 256 * 1024
#: When the central system leaves it to the charge point how often it tries again, and when.
DEFAULT_RETRIES = 1
DEFAULT_RETRY_INTERVAL_S = 5.0
MOST_RETRIES = 100
LONGEST_RETRY_INTERVAL_S = 86_400

# What Windows doesn't have, it doesn't need: it has no fifos, and links need a privilege there.
_CAREFULLY = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)

T = TypeVar("T")
log = logging.getLogger("evsim.file_transfer")


class Fault(Enum):
    """Why a transfer failed."""

    #: The URL, or what it asks of the server, is nothing that can be done here: never retried.
    UNSUPPORTED = auto()
    DENIED = auto()
    #: The other end speaks no HTTP, or broke off.
    PROTOCOL = auto()
    FAILED = auto()


# What an HTTP status means; any other is a plain failure.
_FAULTS = {
    401: Fault.DENIED,
    403: Fault.DENIED,
    405: Fault.UNSUPPORTED,
    501: Fault.UNSUPPORTED,
}


class TransferError(Exception):
    """A file was not fetched or delivered; says why in one line."""

    def __init__(self, text: str, fault: Fault = Fault.FAILED) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True)
class Retries:
    """How often a transfer that failed is tried again, and how long after."""

    count: int = DEFAULT_RETRIES
    interval_s: float = DEFAULT_RETRY_INTERVAL_S

    @classmethod
    def wanted(cls, count: int | None, interval_s: int | None) -> Retries:
        """Take what a message says, within reason; None leaves it to us."""
        return cls(
            DEFAULT_RETRIES if count is None else max(0, min(count, MOST_RETRIES)),
            DEFAULT_RETRY_INTERVAL_S
            if interval_s is None
            else float(max(0, min(interval_s, LONGEST_RETRY_INTERVAL_S))),
        )

    async def of(self, transfer: Callable[[], Awaitable[T]]) -> T:
        """Do `transfer`, again if it fails; the last TransferError is raised."""
        for left in range(self.count, -1, -1):
            try:
                return await transfer()
            except TransferError as error:
                if not left or error.fault is Fault.UNSUPPORTED:
                    raise
                log.warning("%s; again in %g s", error, self.interval_s)
            await asyncio.sleep(self.interval_s)
        raise AssertionError("the last attempt returns or raises")


async def download(url: str) -> bytes:
    """Fetch a file; TransferError if it can't be had as a whole."""
    parts = _split(url)
    if parts.scheme == "file":
        return await _read_file(_path(parts))
    return await _in_thread(parts, _get)


async def upload(url: str, name: str, content: bytes) -> None:
    """Deliver a file called `name`, as a whole or not at all; TransferError if it can't be.

    A file:// URL names the directory. An http:// URL is what is PUT; the name is added to one
    that ends with a slash.
    """
    parts = _split(url)
    if parts.scheme == "file":
        await _write_file(_path(parts), name, content)
        return
    if parts.path.endswith("/"):
        parts = parts._replace(path=parts.path + quote(name, safe=""))

    await _in_thread(parts, functools.partial(_put, content=content))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port  # ValueError unless it is a number
    except ValueError as error:
        raise TransferError(f"{url!r} is no URL: {error}", Fault.UNSUPPORTED) from None
    if parts.scheme not in ("file", "http"):
        raise TransferError(
            f"a URL with {parts.scheme[:20] or 'no scheme'!r}; file:// and http:// are known here",
            Fault.UNSUPPORTED,
        )
    host = parts.hostname or ""
    if "@" in parts.netloc or (parts.scheme == "http" and not _is_loopback(host)):
        raise TransferError(
            f"{host!r} in the URL: only this machine, 127.0.0.1, without a password, is talked to",
            Fault.UNSUPPORTED,
        )
    if parts.scheme == "file" and (host not in ("", "localhost") or port is not None):
        raise TransferError(f"file://{host[:50]}/… is not of this machine", Fault.UNSUPPORTED)
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ── file:// ──────────────────────────────────────────────────────────────────────────────────


def _path(parts: SplitResult) -> Path:
    """Give the path that a URL names; TransferError unless it leads straight there."""
    text = url2pathname(parts.path)
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts or not text.isprintable():
        raise TransferError(
            f"{text[:200]!r} is no absolute path without '..'; file:///… is expected",
            Fault.UNSUPPORTED,
        )
    # macOS's /tmp and /var are links too: there, the real path is to be named.
    if (real := os.path.realpath(path)) != str(path):
        raise TransferError(
            f"there is a symbolic link in {path}, which leads to {real}", Fault.UNSUPPORTED
        )
    return path


async def _read_file(path: Path) -> bytes:
    try:
        with _open_regular(path) as file:
            content = bytearray()
            while chunk := file.read(CHUNK_BYTES):
                content += chunk
                _check_size(len(content))
                await asyncio.sleep(0)
    except OSError as error:
        raise _failed(f"cannot read {path}", error) from error
    return bytes(content)


def _open_regular(path: Path) -> FileIO:
    # Not blocking: to open a fifo would wait for a writer.
    file = FileIO(os.open(path, os.O_RDONLY | _CAREFULLY), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise TransferError(f"{path} is not a regular file", Fault.UNSUPPORTED)
    return file


async def _write_file(directory: Path, name: str, content: bytes) -> None:
    assert name == Path(name).name, "a name, no path"
    part = directory / f".{secrets.token_hex(8)}.part"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CAREFULLY, 0o600)
        try:
            with FileIO(descriptor, "wb") as file:
                left = memoryview(content)
                while left:
                    left = left[file.write(left[:CHUNK_BYTES]) :]
                    await asyncio.sleep(0)
                os.fsync(file.fileno())
            os.link(part, directory / name)  # unlike a renaming, this replaces nothing
        finally:
            part.unlink()
    except OSError as error:
        raise _failed(f"cannot write {name} to {directory}", error) from error


def _check_size(size: int) -> None:
    if size > LARGEST_BYTES:
        raise TransferError(f"larger than {LARGEST_BYTES} bytes", Fault.UNSUPPORTED)


def _failed(what: str, error: OSError) -> TransferError:
    denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return TransferError(
        f"{what}: {error.strerror or error}", Fault.DENIED if denied else Fault.FAILED
    )


# ── http:// ──────────────────────────────────────────────────────────────────────────────────


async def _in_thread(parts: SplitResult, work: Callable[[http.client.HTTPConnection, str], T]) -> T:
    """Do `work` with the connection and the request's target that a URL names."""
    where = f"http://{parts.netloc}"
    target = parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl()
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=SILENCE_S
    )

    def exchange() -> T:
        with contextlib.closing(connection):
            try:
                connection.connect()
                if not _is_loopback(connection.sock.getpeername()[0]):
                    raise TransferError(f"{where} is not this machine", Fault.UNSUPPORTED)
                return work(connection, target)
            except http.client.InvalidURL as error:
                raise TransferError(f"{where}: {error}", Fault.UNSUPPORTED) from error
            except http.client.HTTPException as error:
                raise TransferError(f"{where} broke off: {error!r}", Fault.PROTOCOL) from error
            except OSError as error:
                raise _failed(where, error) from error

    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await asyncio.to_thread(exchange)
    except TimeoutError:
        raise TransferError(f"{where} took longer than {TIMEOUT_S:g} s") from None
    except NotImplementedError:
        raise TransferError(
            "http:// needs the real clock; in virtual time use file://", Fault.UNSUPPORTED
        ) from None
    finally:
        # The thread can't be cancelled: whatever it still waits for, it is to wait no longer.
        if (sock := connection.sock) is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _get(connection: http.client.HTTPConnection, target: str) -> bytes:
    connection.request("GET", target)
    with connection.getresponse() as answer:
        _check_answer(answer)
        promised = answer.length
        _check_size(promised or 0)
        content = bytearray()
        while chunk := answer.read1(CHUNK_BYTES):
            content += chunk
            _check_size(len(content))
    if promised is not None and len(content) != promised:
        raise TransferError(f"{len(content)} bytes came of {promised}", Fault.PROTOCOL)
    return bytes(content)


def _put(connection: http.client.HTTPConnection, target: str, content: bytes) -> None:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    connection.request("PUT", target, content, headers)
    with connection.getresponse() as answer:
        _check_answer(answer)


def _check_answer(answer: http.client.HTTPResponse) -> None:
    if not 200 <= answer.status < 300:
        raise TransferError(
            f"the file server answered with {answer.status}; 2xx is expected, and no redirect is "
            "followed",
            _FAULTS.get(answer.status, Fault.FAILED),
        )
