"""A prompt in the terminal of a program that runs: verbs with completion and history.

The program goes on meanwhile, and what it logs appears above the line that is being typed. Where
no person sits at a terminal there is no prompt, and nothing of it is in the way.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from ocpp.exceptions import OCPPError
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_session
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import History
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.patch_stdout import StdoutProxy
from prompt_toolkit.shortcuts import CompleteStyle

from evsim import console
from evsim.errors import RefusedError, UserError
from evsim.ocpp_wire import explain
from evsim.sqlite import state_directory
from evsim.text import visible

#: So many lines of former runs does Up bring back.
LONGEST_HISTORY = 1000
#: Wait so long for more log lines before the typed line is drawn again below them.
BUNDLE_LOG_S = 0.05
#: A usage longer than this moves its summary to the right, and no other.
HELP_WIDTH = 36
QUIT = ("quit", "exit")

log = logging.getLogger("evsim.prompt")


@dataclass(frozen=True)
class Verb:
    """Something that a person may have done.

    :param usage: the arguments for people, e.g. "A [CONNECTOR]"; may be empty.
    :param run: called with the words after the name; gives what to print. What a person can
        mend it raises as UserError, RefusedError, or as call() does: shown as one line.
    :param complete: called with the words after the name that are there already; gives what may
        come next.
    """

    name: str
    usage: str
    summary: str
    run: Callable[..., Awaitable[str | None] | str | None]
    complete: Callable[[Sequence[str]], Iterable[str]] = lambda words: ()

    def __str__(self) -> str:
        return f"{self.name} {self.usage}".rstrip()


class Prompt:
    """Reads lines from the terminal and has the verbs in them done, one after the other.

    :param name: of the program; its history is kept under it.
    :param verbs: `help` and `quit` come by themselves.
    :param sign: what stands before the cursor; asked anew for each line.
    :param end: ends the program quietly, as Ctrl-C does where there is no prompt.
    """

    def __init__(
        self,
        name: str,
        verbs: Sequence[Verb],
        *,
        sign: Callable[[], str] | None = None,
        end: Callable[[], None] = lambda: signal.raise_signal(signal.SIGINT),
    ) -> None:
        self.name = name
        ours = [
            Verb("help", "[VERB]", "say what can be typed", self._help, self._complete_help),
            Verb("quit", "", "end the program, as Ctrl-C and Ctrl-D do", end),
        ]
        self.verbs = {verb.name: verb for verb in (*verbs, *ours)}
        self.sign = sign or (lambda: name)
        self._end = end

    async def run(self) -> None:
        """Talk with the person at the terminal until cancelled; without one, only wait."""
        if has_person():
            with _above_the_line():
                async with asyncio.TaskGroup() as tasks:
                    lines: asyncio.Queue[str] = asyncio.Queue()
                    obeying = tasks.create_task(self._obey_all(lines))
                    await self._read(lines)
                    obeying.cancel()
            self._end()
        await asyncio.Event().wait()

    async def _read(self, lines: asyncio.Queue[str]) -> None:
        """Take lines into the queue until the person wants to end the program."""
        session: PromptSession[str] = PromptSession(
            completer=_VerbCompleter(self.candidates),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            history=_History(state_directory() / f"{self.name}_history"),
            reserve_space_for_menu=0,
        )
        while True:
            try:
                line = await session.prompt_async(
                    lambda: f"{visible(self.sign())}> ",
                    # Its own would wait for ENTER after a failure anywhere in the program, and
                    # would take away our way to end at Ctrl-C.
                    set_exception_handler=False,
                    handle_sigint=False,
                )
            except (EOFError, KeyboardInterrupt):
                return
            if line.strip() in QUIT:
                await lines.join()  # what was typed before it; Ctrl-C doesn't wait
                return
            lines.put_nowait(line)

    async def _obey_all(self, lines: asyncio.Queue[str]) -> None:
        while True:
            if text := await self.obey(await lines.get()):
                console.ready(text)
            lines.task_done()

    async def obey(self, line: str) -> str:
        """Have a line done; give what is to be printed, which also says what was wrong."""
        try:
            words = split(line)
            if not words:
                return ""
            verb = self.verbs.get(words[0])
            if verb is None:
                raise UserError(f"there is no verb {words[0]!r}; help lists what there is")
            try:
                inspect.signature(verb.run).bind(*words[1:])
            except TypeError:
                raise UserError(f"usage: {verb}") from None
            said: Any = verb.run(*words[1:])
            if inspect.isawaitable(said):
                said = await said
        except (UserError, RefusedError, ConnectionError, TimeoutError, OCPPError) as error:
            said = explain(error)
        except Exception:
            log.exception("%r failed", line)
            said = None
        return "\n".join(visible(row) for row in (said or "").splitlines())

    def candidates(self, before: str) -> list[str]:
        """Give what may stand where the text `before`, which ends with a half word, goes on."""
        try:
            words = split(before)
        except UserError:
            return []
        half = "" if not before or before[-1].isspace() else words.pop()
        if not words:
            known: Iterable[str] = self.verbs
        elif words[0] in self.verbs:
            known = self.verbs[words[0]].complete(words[1:])
        else:
            known = ()
        return sorted(word for word in known if word.lower().startswith(half.lower()))

    def _help(self, name: str = "") -> str:
        if name:
            if name not in self.verbs:
                raise UserError(f"there is no verb {name!r}; help lists what there is")
            return f"{self.verbs[name]}: {self.verbs[name].summary}"
        width = min(HELP_WIDTH, max(len(str(verb)) for verb in self.verbs.values()))
        return "\n".join(f"{verb!s:<{width}}  {verb.summary}" for verb in self.verbs.values())

    def _complete_help(self, words: Sequence[str]) -> Iterable[str]:
        return self.verbs if not words else ()


def split(line: str) -> list[str]:
    """Cut a line into words as a shell does; JSON, from { or [ on, stays as it is, one word.

    Raises UserError for a quotation mark that has no partner, and for bytes that are no text.
    """
    if any("\ud800" <= character <= "\udfff" for character in line):
        raise UserError("cannot read this line: it has bytes that are not UTF-8")
    json_at = re.search(r"(?<=\s)[{\[].*", line, re.DOTALL)
    if json_at is not None:
        try:
            return [*shlex.split(line[: json_at.start()]), json_at.group().strip()]
        except ValueError:
            pass  # the bracket is within quotation marks
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UserError(f"cannot read this line: {error}") from None


def has_person() -> bool:
    """Whether a person can type here: a terminal, in the foreground, that is not a dumb one."""
    if sys.stdin is None or sys.stdout is None:
        return False
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    if os.environ.get("TERM", "dumb" if os.name == "posix" else "") == "dumb":
        return False
    # Started with &, it would be stopped by the terminal at its first attempt to read.
    return os.name != "posix" or os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


@contextmanager
def _above_the_line() -> Iterator[None]:
    """Let all that is printed and logged to the terminal appear above the line that is typed."""
    output = get_app_session().output
    if isinstance(output, Vt100_Output):
        # It would ask where the cursor is: not every terminal answers, and an answer that comes
        # too late is typed into the shell.
        output.enable_cpr = False
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler)
        and handler.stream is sys.stderr
        and sys.stderr.isatty()
    ]
    out = sys.stdout
    with StdoutProxy(BUNDLE_LOG_S, raw=True) as proxy:
        sys.stdout = cast(TextIO, proxy)
        for handler in handlers:
            handler.setStream(sys.stdout)
        try:
            yield
        finally:
            sys.stdout = out
            for handler in handlers:
                handler.setStream(sys.stderr)


class _VerbCompleter(Completer):
    def __init__(self, candidates: Callable[[str], list[str]]) -> None:
        self._candidates = candidates

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        half = re.search(r"\S*$", before)
        assert half is not None
        for word in self._candidates(before):
            yield Completion(f"{word} ", -len(half.group()), display=word)


class _History(History):
    """Lines in a file, the newest last. Without the file, only those of this run."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._works = True

    def load_history_strings(self) -> Iterable[str]:
        """Give the lines of former runs, the newest first."""
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()[-LONGEST_HISTORY:]
        except FileNotFoundError:
            return []
        except OSError as error:
            self._note(error)
            return []
        return reversed(lines)

    def store_string(self, string: str) -> None:
        """Keep a line, unless there may be a key in it."""
        if not self._works or "authorizationkey" in string.lower():
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(string.replace("\n", " ").strip() + "\n")
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        self._works = False
        log.warning("what is typed is not kept: %s", error)
