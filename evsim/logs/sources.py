"""Which kind of log a file is, and several files as one stream in order of time."""

from __future__ import annotations

import argparse
import contextlib
import heapq
import logging
import math
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import can
from can.io.blf import BLFParseError

from evsim.events import JITTER_S, CanEvent, Event
from evsim.logs import candump
from evsim.logs.ocpp import OcppLines
from evsim.logs.text import LogError, lines, parsed
from evsim.recording import read_events
from evsim.recording.layout import INFO, OCPP, can_file
from evsim.text import is_charge_point_id

#: Whoever is not named: the default id of cp.py.
NAMELESS = "CP_1"
EXPECTED = (
    "expected a run's directory, a candump log, OCPP messages as JSON Lines, or a CAN log that "
    "python-can reads (.asc, .blf, .trc …)"
)

log = logging.getLogger("evsim.logs")


@dataclass(frozen=True)
class ChargePoints:
    """Whose frames and messages they are.

    :param of_channel: charge point of a CAN channel.
    :param of_the_rest: of all other channels, and of OCPP messages that name none; if it is None,
        a channel is called as the log calls it, and messages are NAMELESS's.
    """

    of_channel: Mapping[str, str] = field(default_factory=dict)
    of_the_rest: str | None = None

    def of(self, channel: str) -> str:
        """Give the charge point of a CAN channel."""
        return self.of_channel.get(channel, self.of_the_rest or channel)


def charge_points(texts: Sequence[str]) -> ChargePoints:
    """Read what --charge-point was given: CHANNEL=ID, or an ID alone."""
    of_channel: dict[str, str] = {}
    of_the_rest: str | None = None
    for text in texts:
        channel, is_one, name = text.rpartition("=")
        if is_one:
            of_channel[channel] = name
        else:
            of_the_rest = name
    return ChargePoints(of_channel, of_the_rest)


def charge_point_id(text: str) -> str:
    """Check the id of a charge point."""
    if not is_charge_point_id(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a charge point")
    return text


def charge_point_option(text: str) -> str:
    """Check one --charge-point of recordings."""
    channel, is_one, name = text.rpartition("=")
    if not is_charge_point_id(name) or (is_one and not channel):
        raise argparse.ArgumentTypeError(f"{text!r} is no ID and no CHANNEL=ID")
    return text


def read_logs(paths: Sequence[Path], whose: ChargePoints | None = None) -> Iterator[Event]:
    """Give the events of runs and logs in order of time, as a stream.

    One log alone is given as it is, whatever its times; where several are merged, each must be in
    order by itself. LogError or RecordingError, naming the line, when it comes to what is damaged.
    """
    whose = whose or ChargePoints()
    sources = [_source(path, whose) for path in paths]
    if len(sources) == 1:
        return sources[0][1]
    # At the same moment OCPP comes first: it causes what CAN carries.
    in_order = [
        (rank, _in_order(path, stream)) for path, (rank, stream) in zip(paths, sources, strict=True)
    ]
    streams = [stream for _, stream in sorted(in_order, key=lambda pair: pair[0])]
    return heapq.merge(*streams, key=lambda event: event.time_s)


def _source(path: Path, whose: ChargePoints) -> tuple[int, Iterator[Event]]:
    """Give the events of one, and its rank among events of the same moment."""
    if path.is_dir():
        if not any((path / name).exists() for name in (INFO, OCPP, can_file("log"))):
            problem = f"there is no {INFO} in this directory, nor another file of a run"
            raise LogError(path, f"{problem}; {EXPECTED}")
        return 1, read_events(path)
    if not path.exists():
        raise LogError(path, f"there is no such file; {EXPECTED}")
    if not path.is_file():  # what a pipe gives cannot be looked at first
        raise LogError(path, "no regular file; save what it gives in one")
    if path.suffixes and path.suffix.lower() in set(can.io.MESSAGE_READERS) - {".log"}:
        return 2, _of_python_can(path, whose)
    with contextlib.closing(lines(path)) as numbered:
        number, text, _ = next(numbered, (1, "", True))
    if not text:
        return 2, iter(())
    if text.startswith("("):
        return 2, _named(parsed(path, candump.read), whose)
    if text.startswith(("{", "[")):
        reader = OcppLines(whose.of_the_rest or NAMELESS)
        return 0, parsed(path, reader.read)
    raise LogError(path, f"{EXPECTED}; found {text[:80]!r}", line=number)


def _named(events: Iterator[CanEvent], whose: ChargePoints) -> Iterator[CanEvent]:
    if whose == ChargePoints():
        return events
    return (CanEvent(event[0], whose.of(event[1]), event[2]) for event in events)


def _of_python_can(path: Path, whose: ChargePoints) -> Iterator[CanEvent]:
    try:
        for message in _messages(path):
            if not math.isfinite(message.timestamp):
                raise ValueError(f"a time that is no number: {message.timestamp}")
            channel = "CAN" if message.channel is None else str(message.channel)
            yield CanEvent(message.timestamp, whose.of(channel), message)
    except OSError as error:
        raise LogError(path, f"cannot be read: {error.strerror or error}") from error
    except (
        ValueError, LookupError, TypeError, AttributeError, AssertionError, EOFError,
        NotImplementedError, ImportError, struct.error, zlib.error, sqlite3.Error, BLFParseError,
        can.CanError,
    ) as error:  # fmt: skip
        problem = f"python-can cannot read it ({type(error).__name__}: {error}); {EXPECTED}"
        raise LogError(path, problem) from error


def _messages(path: Path) -> Iterator[can.Message]:
    if path.suffix.lower() != ".blf":
        with can.LogReader(path) as reader:
            yield from reader
        return
    with path.open("rb") as file:  # not by python-can, which leaves it open if it fails
        blf = can.BLFReader(file)
        if blf.file_size != path.stat().st_size:
            log.warning("%s is cut off, or was never finished; read as far as it goes", path)
        yield from blf


def _in_order(path: Path, events: Iterator[Event]) -> Iterator[Event]:
    """Let the time stand still where it goes back a little; LogError where by more."""
    last_s = 0.0
    for event in events:
        if event.time_s >= last_s:
            last_s = event.time_s
            yield event
            continue
        if event.time_s < last_s - JITTER_S:
            raise LogError(
                path,
                f"the time goes back from {last_s:.6f} to {event.time_s:.6f}, so it cannot be "
                "merged with another; cut it there, or sort it",
            )
        yield event._replace(time_s=last_s)
