"""Follows a log that is being written, as tail -F does."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from evsim.events import OcppEvent
from evsim.logs.ocpp import OcppLines
from evsim.logs.text import LogError
from evsim.recording.layout import LONGEST_LINE_BYTES, OCPP

#: How often is looked whether there is more.
POLL_S = 0.2
#: So much is read at a time.
READ_BYTES = 256 * 1024

log = logging.getLogger("evsim.logs")


class Follower:
    """Gives the lines that are appended to a file.

    A file that is there already is followed from its end, one that appears later, or takes its
    place, from its beginning; so is one that is cut. A file that is moved away is read to its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        #: Until the next line begins: we came in the middle of one, or one was too long.
        self._skips = False
        if self._open():
            assert self._file is not None
            end = self._file.seek(0, os.SEEK_END)
            if end:
                self._file.seek(end - 1)
                self._skips = self._file.read(1) != b"\n"

    @property
    def is_there(self) -> bool:
        """Whether there is a file."""
        return self._file is not None

    def read(self) -> list[str]:
        """Give what was completed since the last call, READ_BYTES at most; LogError on failure."""
        try:
            return self._read()
        except OSError as error:
            problem = f"cannot be followed: {error.strerror or error}"
            raise LogError(self._path, problem) from error

    def _read(self) -> list[str]:
        if self._file is None and not self._open():
            return []
        assert self._file is not None
        data = self._file.read(READ_BYTES)
        if data:
            return self._lines(data)
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            log.warning("%s was cut: followed from its beginning", self._path)
            self._file.seek(0)
            self._rest, self._skips = b"", False
        elif self._is_replaced():
            log.info("%s is a new file: followed from its beginning", self._path)
            self.close()
        return []

    def _is_replaced(self) -> bool:
        """Whether another file has the name now; while there is none, ours may still grow."""
        assert self._file is not None
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return not os.path.samestat(there, os.fstat(self._file.fileno()))

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return False
        except OSError as error:
            problem = f"cannot be followed: {error.strerror or error}"
            raise LogError(self._path, problem) from error
        return True

    def _lines(self, data: bytes) -> list[str]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._skips and lines:
            lines, self._skips = lines[1:], False
        if len(self._rest) > LONGEST_LINE_BYTES:
            log.warning("%s: a line of more than 1 MiB is passed over", self._path)
            self._rest, self._skips = b"", True
        texts = (line.decode("utf-8", "replace").strip() for line in lines)
        return [text for text in texts if text]

    def close(self) -> None:
        """Let go of the file, and of a line that has not come to its end."""
        if self._file is not None:
            self._file.close()
        self._file, self._rest, self._skips = None, b"", False


def record_of(path: Path) -> Path:
    """Give the file that csms.py --record writes, for its directory or for the file itself."""
    is_directory = path.is_dir() or (not path.exists() and not path.suffix)
    return path / OCPP if is_directory else path


async def follow_messages(path: Path, nameless: str) -> AsyncIterator[OcppEvent]:
    """Give the OCPP messages that are appended to a file, for ever.

    What is no message is passed over, told once for each kind of fault.

    :param nameless: the charge point of messages that name none.
    """
    follower = Follower(path)
    reader = OcppLines(nameless)
    said: set[str] = set()
    if not follower.is_there:
        log.info("waiting for %s", path)
    try:
        while True:
            lines = follower.read()
            for line in lines:
                try:
                    event = reader.read(line)
                except ValueError as error:
                    kind = str(error).partition(":")[0].partition("(")[0]
                    if kind not in said and len(said) < 100:
                        said.add(kind)
                        log.warning("%s: a line is passed over (said once): %s", path, error)
                    continue
                if event is not None:
                    yield event
            await asyncio.sleep(0 if lines else POLL_S)
    finally:
        follower.close()
