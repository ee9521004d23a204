"""What a person sees of a program: log lines, colours, a quiet stop, errors in one line."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TextIO

from evsim.errors import UserError
from evsim.text import visible

_COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m", logging.CRITICAL: "\033[1;31m"}
_RESET = "\033[0m"
_LOG_LEVELS = ("debug", "info", "warning", "error")


def argument_parser(docstring: str, example: str) -> argparse.ArgumentParser:
    """Make a parser with --log-level, the script's docstring as description and an example."""
    parser = argparse.ArgumentParser(
        description=docstring,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--log-level", choices=_LOG_LEVELS, default="info", help="default: %(default)s"
    )
    return parser


def positive(text: str) -> float:
    """Read a number above 0 from the command line."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def not_negative(text: str) -> float:
    """Read a number from 0 up from the command line."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up")
    return number


def seed(text: str) -> int:
    """Read the seed of a random generator from the command line, a whole number from 0 up."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 up")
    return number


def at_least_one(text: str) -> int:
    """Read a whole number from 1 up from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return number


def port_number(text: str) -> int:
    """Read a TCP port from the command line; 0 lets the system choose one."""
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port, 0 to 65535")
    return port


def ready(line: str) -> None:
    """Print a ready line: what people and launchers wait for, whatever the log level."""
    if sys.stdout is None:  # started with its standard output closed
        return
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        # Nobody reads, or the disk is full. Python's own last flush would fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UserError(f"cannot write to standard output: {error.strerror}") from error


def wants_colour(stream: TextIO) -> bool:
    """Colours only on a terminal and never when NO_COLOR is set.

    FORCE_COLOR says that a terminal is at the end of a pipe, as run_all.sh has it.
    """
    if os.environ.get("NO_COLOR"):
        return False
    return stream.isatty() or bool(os.environ.get("FORCE_COLOR"))


class LineFormatter(logging.Formatter):
    """One event, one line: control characters in a message are shown, not obeyed.

    A peer that puts a newline in an id can't forge a line of the log, nor move the cursor.
    Tracebacks, which are ours, keep their lines.
    """

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self.colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format the line without its traceback."""
        text = visible(super().formatMessage(record))
        if record.levelno >= logging.WARNING:
            text = text.replace(" ", f" {record.levelname.lower()}: ", 1)
        colour = _COLOURS.get(record.levelno) if self.colour else None
        return f"{colour}{text}{_RESET}" if colour else text


def set_up_logging(level: str) -> None:
    """Log to standard error at `level`; libraries speak up from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(colour=wants_colour(sys.stderr)))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("evsim").setLevel(level.upper())
    if level == "debug":
        logging.getLogger("websockets").setLevel(logging.INFO)


def run(main: Callable[[], Coroutine[None, None, None]]) -> int:
    """Run an asyncio program and give its exit code.

    Ctrl-C, SIGTERM and a closed terminal cancel `main`, which then has time to clean up: 0. A
    second signal interrupts the clean-up too. A UserError is one line on standard error: 1.
    """

    async def stoppable() -> None:
        task = asyncio.current_task()
        assert task is not None
        _on_stop_signals(asyncio.get_running_loop(), task.cancel)
        await main()

    try:
        # A selector loop everywhere: it watches the CAN bus's descriptor on Windows too.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(stoppable())
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 0
    except UserError as error:
        return fail(error)
    except BaseExceptionGroup as group:
        errors = group.subgroup(UserError)
        if errors is None or group.split(UserError)[1] is not None:
            raise
        return fail(_first(errors))
    return 0


def fail(error: Exception) -> int:
    """Print an error as one line on standard error; the exit code for it."""
    program = os.path.basename(sys.argv[0])
    if program == "__main__.py":  # of a package: python -m evsim.recording
        program = os.path.basename(os.path.dirname(sys.argv[0]))
    if sys.stderr is not None:
        sys.stderr.write(f"{program}: {visible(str(error))}\n")
    return 1


def _first(group: BaseExceptionGroup[UserError]) -> UserError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _on_stop_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], object]) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
