"""A text file of somebody else's, line by line; never more than one line is in memory."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

from evsim.errors import UserError
from evsim.recording.layout import LONGEST_LINE_BYTES
from evsim.text import visible

T = TypeVar("T")

log = logging.getLogger("evsim.logs")


class LogError(UserError):
    """A log cannot be read: names the file, the line, and what was expected."""

    def __init__(self, path: Path, problem: str, *, line: int | None = None) -> None:
        where = str(path) if line is None else f"{path}, line {line}"
        super().__init__(visible(f"{where}: {problem}"))


def lines(path: Path) -> Generator[tuple[int, str, bool], None, None]:
    """Give the lines that are not blank: number from 1, text, and whether it has its end.

    A file that ends in .gz is decompressed on the way.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(LONGEST_LINE_BYTES + 1):
                number += 1
                text = decoded(path, number, line)
                if number == 1:
                    text = text.removeprefix("\ufeff")  # as Windows' editors begin a file
                if text:
                    yield number, text, line.endswith(b"\n")
    except FileNotFoundError:
        raise LogError(path, "there is no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise LogError(path, problem, line=number + 1) from error


def decoded(path: Path, number: int, line: bytes) -> str:
    """Read the bytes of a line as text without blanks around it."""
    if len(line) > LONGEST_LINE_BYTES:
        raise LogError(path, f"longer than the {LONGEST_LINE_BYTES} bytes of any line", line=number)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise LogError(path, "not UTF-8 text, so this is no text log", line=number) from None
    if "\0" in text:
        raise LogError(path, "a NUL byte, so this is no text log", line=number)
    return text.strip()


def parsed(path: Path, read: Callable[[str], T | None]) -> Iterator[T]:
    """Give what `read` makes of each line, but None; its ValueError becomes a LogError.

    A last line without its end may have been cut off: if it makes no sense, it is passed over.
    """
    for number, text, is_whole in lines(path):
        try:
            value = read(text)
        except ValueError as error:
            if is_whole or number == 1:
                raise LogError(path, f"{error}; found {text[:80]!r}", line=number) from None
            log.warning("%s, line %d: the last line is cut off, passed over", path, number)
            return
        if value is not None:
            yield value
