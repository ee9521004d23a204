"""What the values of configuration keys may be: read as text, kept in one spelling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evsim.text import visible

#: OCPP's longest value, in characters.
LONGEST_VALUE = 500
_ROTATIONS = ("NotApplicable", "Unknown", "RST", "RTS", "SRT", "STR", "TRS", "TSR")


class ValueType(Protocol):
    """What a key takes."""

    def read(self, text: str) -> str:
        """Give `text` as it is kept; ValueError says what was expected."""


class Flag:
    """true or false, in any case."""

    def read(self, text: str) -> str:
        """Give it in lower case."""
        if text.lower() not in ("true", "false"):
            raise ValueError("true or false was expected")
        return text.lower()


@dataclass(frozen=True)
class Whole:
    """A whole number between two others, both included."""

    lowest: int
    highest: int

    def read(self, text: str) -> str:
        """Give it without leading zeros."""
        # Not int() alone, which takes spaces, underscores and the digits of every script too.
        if not re.fullmatch(r"-?[0-9]{1,10}", text) or not self.lowest <= int(text) <= self.highest:
            raise ValueError(f"a whole number from {self.lowest} to {self.highest} was expected")
        return str(int(text))


@dataclass(frozen=True)
class Words:
    """A list with commas, of known words; empty is a list too."""

    known: Sequence[str]

    def read(self, text: str) -> str:
        """Give it without spaces and repetitions."""
        words = split(text)
        for word in words:
            if word not in self.known:
                raise ValueError(f"{visible(word)!r} is none of {', '.join(self.known)}")
        return ",".join(dict.fromkeys(words))


@dataclass(frozen=True)
class PhaseRotation:
    """How the phases of each connector, from 0 on, are wired to the meter: 0.RST,1.RTS."""

    connectors: int

    def read(self, text: str) -> str:
        """Give it without spaces."""
        words = split(text)
        known = {f"{n}.{rotation}" for n in range(self.connectors + 1) for rotation in _ROTATIONS}
        connectors = {word.partition(".")[0] for word in words}
        if not words or not known.issuperset(words) or len(connectors) != len(words):
            raise ValueError(
                f"connectors (0 to {self.connectors}) and rotations were expected, like 0.RST,1.RTS"
            )
        return ",".join(words)


@dataclass(frozen=True)
class Only:
    """The one value that is true."""

    value: str

    def read(self, text: str) -> str:
        """Give it."""
        if text != self.value:
            raise ValueError(f"it is {self.value} here, whatever is said of it")
        return text


@dataclass(frozen=True)
class Text:
    """Printable text."""

    longest: int = LONGEST_VALUE

    def read(self, text: str) -> str:
        """Give it as it is."""
        if len(text) > self.longest or not text.isprintable():
            raise ValueError(f"at most {self.longest} printable characters were expected")
        return text


def split(text: str) -> list[str]:
    """Split a list with commas, which may have spaces around them; an empty text has no words."""
    return [word.strip() for word in text.split(",")] if text.strip() else []
