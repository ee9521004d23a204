"""What can be wrong with a recorded run, and with writing one."""

from __future__ import annotations

from pathlib import Path

from evsim.errors import UserError
from evsim.text import visible

AGAIN = "restore it from a copy, or record the run again"


class RecordingError(UserError):
    """A recorded run cannot be read: names the file, the line, and what to do."""

    def __init__(
        self, path: Path, problem: str, *, line: int | None = None, remedy: str = AGAIN
    ) -> None:
        where = str(path) if line is None else f"{path}, line {line}"
        super().__init__(visible(f"{where}: {problem}; {remedy}"))
        self.path = path
        self.line = line


class CannotWriteError(UserError):
    """A run cannot be written: the disk is full, say."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"cannot write {path}: {error.strerror or error}; "
            "make room there or choose another directory"
        )
